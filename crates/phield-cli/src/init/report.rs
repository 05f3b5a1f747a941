//! What `phield init` says at its end: for a tired person.

use std::fmt::Write as _;

use phield_core::VerifiedRing;
use phield_core::config::ProviderConfig;

use super::{CONFIG_FILE, KEY_FILE, PASSPHRASE_FILE, Plan, Prepared, RING_FILE, WITNESS_FILE};
use crate::{Error, Host};

impl Plan {
    /// What was made, what goes where, what comes next.
    pub(super) fn report(
        &self,
        prepared: &Prepared,
        published: &VerifiedRing,
        host: &mut Host<'_>,
    ) -> Result<(), Error> {
        let manifest = published.manifest();
        let pin = prepared
            .settings
            .pins
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        host.print(format_args!(
            "Rehearsed the restore in a new process: {rehearsal}.

Made key ring {ring} for app {app}: {keys} keys, epoch {epoch}, in {folder}

{files}
{back_up}
Keep the pin of the ring key with the configuration of your application, never beside the ring:

  ring_key = \"{pin}\"

Data keys seal for 90 days and open for ever; `keys list` shows the day. Before it, activate the successor that is there
already (`keys activate`). What old keys sealed is sealed again by `phield rotate run data`.

Put {WITNESS_FILE} where nobody who can write the ring can write it ([epoch_witness] in {CONFIG_FILE}).

Next: phield keys list --config {config}",
            rehearsal = prepared.rehearsal,
            ring = manifest.ring,
            app = manifest.app,
            keys = manifest.records.len(),
            epoch = manifest.epoch,
            folder = self.folder.display(),
            files = self.files_made(),
            back_up = self.back_up(&prepared.providers),
            config = self.file(CONFIG_FILE).display(),
        ))
    }

    fn files_made(&self) -> String {
        let mut files = vec![(RING_FILE, "the ring: every key, wrapped")];
        if self.keks.has_key_file() {
            let own = if self.passphrase.is_none() {
                PASSPHRASE_FILE
            } else {
                "(your own)"
            };
            files.push((KEY_FILE, "the key file: what unwraps them"));
            files.push((own, "the passphrase: what opens the key file"));
        }
        files.push((CONFIG_FILE, "the configuration, with the pinned ring key"));
        files.push((WITNESS_FILE, "the highest epoch seen"));
        let mut text = String::new();
        for (name, what) in files {
            let _ = writeln!(text, "  {name:<15} {what}");
        }
        text
    }

    /// What to keep, and how.
    fn back_up(&self, providers: &[ProviderConfig]) -> String {
        let move_it = if self.backup_is_inside {
            "; move it off this machine"
        } else {
            ""
        };
        let ring = format!("the ring         {}{move_it}", self.backup.display());
        let file = format!("the key file     {}", self.file(KEY_FILE).display());
        let passphrase = format!("the passphrase   {}", self.passphrase_path().display());
        let mut others = providers
            .iter()
            .filter(|provider| provider.name != "local")
            .peekable();
        if others.peek().is_none() {
            return format!(
                "Back up now, in three places that nobody reaches together. If one of them is lost, so is the data:\n\n  \
                 1. {ring}\n  2. {file}\n  3. {passphrase}\n"
            );
        }
        let mut text = format!("Back up now:\n\n  1. {ring}\n");
        if self.keks.has_key_file() {
            let _ = writeln!(
                text,
                "  2. {file}, offline\n  3. {passphrase}, offline and apart from both"
            );
        }
        text += "\nEvery key opens by each of these alone";
        let alone = providers
            .iter()
            .map(|provider| provider.keks.len())
            .sum::<usize>()
            == 1;
        text += if alone {
            ": there is one. If it is lost, so is the data: add a second (`phield keys wrap add`).\n\n"
        } else {
            ":\n\n"
        };
        for provider in others {
            let keep = match provider.kind() {
                "aws-kms" => "never schedule it for deletion",
                _ => "back up the HSM as its maker says",
            };
            for kek in &provider.keks {
                let _ = writeln!(text, "  {} {kek}: {keep}", provider.name);
            }
        }
        if self.keks.has_key_file() {
            text += "  local 1: the key file and its passphrase. Taken off this machine, take its [[provider]] out of \
                     phield.toml, too\n";
        }
        text
    }
}
