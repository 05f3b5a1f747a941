//! `phield keys`: what is in a ring.

use std::path::PathBuf;

use phield_core::config::Config;
use phield_core::{KeyId, KeyRecord, KeyState, KeyUse, Manifest, Ring, RingKeyPin};
use serde::Serialize;

use crate::backup::{BackupArguments, PublishArguments};
use crate::destroy::DestroyArguments;
use crate::key_file::KeyFileArguments;
use crate::life::{ActivateArguments, AddArguments, RetireArguments};
use crate::rehearsal::VerifyBackupArguments;
use crate::restore::RestoreArguments;
use crate::text::{now, table, utc};
use crate::wraps::{CheckArguments, WrapCommand};
use crate::{Error, Host};

/// The verbs of `phield keys`.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum KeysCommand {
    /// Load and verify the ring, and list its keys
    List(ListArguments),
    /// Make sure that there is a pre-active key, which every process knows before it seals
    ///
    /// The pre-active key of that use and scope that is there already, or a new one, wrapped under every configured
    /// key-encryption key and opened again through each. The configured backup is written and rehearsed. A run that was
    /// interrupted can be repeated.
    Add(AddArguments),
    /// Make a pre-active key active; the key before it becomes decrypt-only in the same step
    ///
    /// Refused before every process can know the key (hard TTL plus 5 minutes after it was published), and while the
    /// configured backup does not hold it. A data key gets its own successor afterwards.
    Activate(ActivateArguments),
    /// Stop sealing with a key; its successor becomes active in the same step
    ///
    /// With --compromised the successor takes over at once, and everything under the key is to be re-sealed.
    Retire(RetireArguments),
    /// Destroy an old key: nothing that it sealed opens any more
    ///
    /// Only a decrypt-only or compromised key that is not pinned, one hard TTL and 5 minutes after it stopped sealing; with
    /// the report of a complete `phield scan` of every database, begun after that, which found no row under it and no column
    /// that is not registered; after the waiting period (destroy_after_days of the policy in phield.toml). Every refusal says what is missing.
    Destroy(DestroyArguments),
    /// Wrap keys under another key-encryption key, or take such wraps away
    #[command(subcommand)]
    Wrap(WrapCommand),
    /// Make a local key file, for a second wrap of every key that is kept elsewhere
    ///
    /// Prints its entry for phield.toml. A ring has one key file by `phield init` already.
    KeyFile(KeyFileArguments),
    /// Try every wrap of every key, and say which open
    Check(CheckArguments),
    /// Write the backup of the ring, and rehearse its restore in a new process
    ///
    /// An existing backup is only replaced by a newer state of the same ring, once the new one was rehearsed.
    Backup(BackupArguments),
    /// Rehearse a restore: check a backup of the ring with the configuration alone
    ///
    /// Verifies the backup under the pinned ring key, unwraps every key by every wrap within reach, checks every check
    /// value. Reads neither the key store nor the epoch witness, and writes nothing. A wrap that is out of reach or refused is
    /// told, and is no failure while another wrap of the key opens.
    VerifyBackup(VerifyBackupArguments),
    /// Store a ring in the configured key store, which holds none yet: to move it from a file into a table
    ///
    /// Creates the table, if there is none. For a ring that was lost, take `restore`.
    Publish(PublishArguments),
    /// Put the ring back from a backup
    ///
    /// Merges what is stored and every other manifest that verifies: no key goes back to an earlier state. Data keys that
    /// were active or about to be seal no more, for nobody knows how much they sealed in the history that is lost; new ones
    /// are made, under the key-encryption keys that answer. The epoch is raised far above every one that is known.
    ///
    /// Refused, until it is said: going on without a manifest that cannot be verified now, and losing what the ring became
    /// after the newest manifest that is here. What was done is appended to a log beside the backup.
    Restore(RestoreArguments),
}

/// Arguments of `phield keys list`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct ListArguments {
    /// The configuration of the ring
    #[arg(long, value_name = "FILE", default_value = "phield.toml")]
    pub config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A ring as it is listed.
#[derive(Serialize)]
struct Listing {
    app: String,
    ring: String,
    epoch: u64,
    keys: Vec<KeyListing>,
}

/// A key as it is listed. Nothing here is secret.
#[derive(Serialize)]
pub(crate) struct KeyListing {
    id: String,
    #[serde(rename = "use")]
    pub(crate) key_use: &'static str,
    suite: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) state: &'static str,
    pub(crate) created: String,
    pub(crate) not_after: Option<String>,
    days_left: Option<i64>,
    /// What configuration pins of a ring key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
    wraps: Vec<String>,
}

pub(crate) async fn list(arguments: &ListArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let verified = Config::read(&arguments.config)?
        .ring(host.backends())
        .await?
        .load()
        .await?;
    let listing = Listing::new(verified.manifest());
    if arguments.json {
        return host.print_json(&listing);
    }
    let Listing {
        app,
        ring,
        epoch,
        keys,
    } = listing;
    let head = [
        "ID",
        "USE",
        "SUITE",
        "SCOPE",
        "STATE",
        "CREATED",
        "NOT AFTER",
        "WRAPS",
    ]
    .map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(keys.iter().map(KeyListing::row))
        .collect();
    let mut text = format!("app {app}, ring {ring}, epoch {epoch}\n\n{}\n", table(&rows));
    for key in keys.iter().filter(|key| key.pin.is_some()) {
        let pin = key.pin.as_deref().unwrap_or_default();
        text += &format!("\nring_key of key {} ({}): {pin}", key.id, key.state);
    }
    host.print(text)
}

/// What configuration pins, of a ring key that can authenticate the ring.
pub(crate) fn pin(record: &KeyRecord) -> Option<String> {
    let is_pinned = record.context.key_use == KeyUse::Ring && record.state < KeyState::Compromised;
    is_pinned.then(|| RingKeyPin::of(record).to_string())
}

impl Listing {
    fn new(manifest: &Manifest) -> Self {
        Self {
            app: manifest.app.to_string(),
            ring: manifest.ring.to_string(),
            epoch: manifest.epoch,
            keys: manifest.records.iter().map(KeyListing::new).collect(),
        }
    }
}

impl KeyListing {
    pub(crate) fn new(record: &KeyRecord) -> Self {
        let context = &record.context;
        let not_after = Some(record.not_after).filter(|seconds| *seconds != 0);
        // Only a key that seals, or is about to, has days left.
        let sealing = record.state.is_current();
        Self {
            id: context.key_id.to_string(),
            key_use: context.key_use.as_str(),
            suite: context.suite.map(|suite| suite.to_string()),
            scope: context.scope.as_ref().map(ToString::to_string),
            state: record.state.as_str(),
            created: utc(record.created),
            not_after: not_after.map(utc),
            days_left: not_after.filter(|_| sealing).map(days_left),
            pin: pin(record),
            wraps: record
                .wraps
                .iter()
                .map(|wrap| format!("{} {}", wrap.provider, wrap.kek))
                .collect(),
        }
    }

    fn row(&self) -> [String; 8] {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let not_after = match self.days_left {
            Some(days) if days < 0 => format!("{} (past)", or_dash(&self.not_after)),
            Some(days) => format!("{} ({days} days left)", or_dash(&self.not_after)),
            None => or_dash(&self.not_after),
        };
        [
            self.id.clone(),
            self.key_use.to_owned(),
            or_dash(&self.suite),
            or_dash(&self.scope),
            self.state.to_owned(),
            self.created.clone(),
            not_after,
            if self.wraps.is_empty() {
                "-".to_owned()
            } else {
                self.wraps.join(", ")
            },
        ]
    }
}

/// Whole days from now on; negative once it is past.
pub(crate) fn days_left(not_after: u64) -> i64 {
    let seconds = i128::from(not_after) - i128::from(now());
    i64::try_from(seconds.div_euclid(86_400)).unwrap_or(i64::MAX)
}

/// What a verb needs to open a ring.
#[derive(Debug, Clone, clap::Args)]
#[non_exhaustive]
pub struct RingArguments {
    /// The configuration of the ring
    #[arg(long, value_name = "FILE", default_value = "phield.toml")]
    pub config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl RingArguments {
    /// The configuration and its ring.
    pub(crate) async fn open(&self, host: &Host<'_>) -> Result<(Config, Ring), Error> {
        let config = Config::read(&self.config)?;
        let ring = config.ring(host.backends()).await?;
        Ok((config, ring))
    }
}

/// A key id on the command line: 8 hex digits.
pub(crate) fn key_id(text: &str) -> Result<KeyId, String> {
    let id = u32::from_str_radix(text, 16).ok().and_then(KeyId::new);
    id.filter(|_| text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| "a key id is 8 hex digits, as `phield keys list` shows them".to_owned())
}
