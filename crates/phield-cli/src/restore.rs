//! `phield keys restore` (format §8.2): a ring from its backup, never backwards.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use phield_core::config::Config;
use phield_core::{AcceptedLosses, FileStore, Restored, RingError};
use serde::Serialize;

use crate::backup::{self, with_suffix};
use crate::keys::RingArguments;
use crate::text::{chain, count, ids, now, utc};
use crate::{Error, Host};

/// Arguments of `phield keys restore`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct RestoreArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub backup: PathBuf,
    /// Why; it is written with what was done into FILE.log beside the configured backup
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Another manifest of the ring that is left: no key goes back behind what it says. Can be repeated. What is stored,
    /// its `.bak` and the configured backup are merged anyway
    #[arg(long, value_name = "FILE")]
    pub merge: Vec<PathBuf>,
    /// Go on without a manifest that is there and cannot be verified now, because its provider or the configuration is at
    /// fault: what it alone knows is lost
    #[arg(long)]
    pub ignore_unverified: bool,
    /// Go on although the epoch witness or min_epoch knows a newer ring than any that is here: keys that were made since are
    /// lost, and states are as they were
    #[arg(long)]
    pub accept_lost_history: bool,
}

/// What a restore does.
#[derive(Serialize)]
struct Report<'a> {
    ring: &'a str,
    reason: &'a str,
    epoch: u64,
    keys: usize,
    new_keys: Vec<String>,
    retired: Vec<String>,
    out_of_reach: Vec<String>,
    closed: Vec<String>,
    closed_wraps: Vec<String>,
    missing_keks: Vec<String>,
    ignored: Vec<String>,
    /// The highest epoch that is known, where the newest manifest is older.
    lost_since: Option<u64>,
    min_epoch: u64,
}

/// What it did, and where.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    report: &'a Report<'a>,
    backup: &'a str,
    log: &'a Path,
    /// Where what was stored is kept, which did not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<&'a Path>,
}

/// A line of the log.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'a str,
    from: &'a Path,
    place: &'a str,
    #[serde(flatten)]
    report: &'a Report<'a>,
}

pub(crate) async fn run(arguments: &RestoreArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let stored = FileStore::new(&arguments.backup).read()?;
    let stored = stored.ok_or_else(|| Error::NoBackup(arguments.backup.clone()))?;
    let (names, others) = others(arguments, &config)?;
    let accepted = AcceptedLosses {
        unverified: arguments.ignore_unverified,
        history: arguments.accept_lost_history,
    };
    let restored = ring
        .prepare_restore(&stored, &others, &arguments.reason, accepted)
        .await;
    let restored = restored.map_err(|error| explain(error, &names))?;
    let report = Report::new(&restored, &names);
    let closed = restored.closed_keys();
    // Everything is said before anything is written.
    if !arguments.ring.json {
        host.print(report.losses(&restored))?;
    }
    // I-9: the new data keys are in the backup before they are active anywhere.
    let backup = match config.backup_path() {
        Some(path) => {
            let config = (arguments.ring.config.as_path(), path.as_path());
            let said = backup::write(&ring, (&restored.ring, &closed), config, host).await?;
            format!("Backed up to {} first: {said}.", path.display())
        }
        None => "No [backup] is configured: run `phield keys backup --backup FILE` now.".to_owned(),
    };
    let log = with_suffix(
        &config.backup_path().unwrap_or_else(|| arguments.backup.clone()),
        ".log",
    );
    let place = ring.place();
    let line = |event| Line {
        time: utc(now()),
        event,
        from: &arguments.backup,
        place: &place,
        report: &report,
    };
    append(&log, &line("restore begins"))?;
    // It was not merged, and nobody knows what is in it.
    let is_unknown = restored.ignored.iter().any(|(place, _)| *place == names.len());
    let kept = with_suffix(&log, &format!(".replaced-{}", restored.ring.manifest().epoch));
    let kept = match restored.replaced().filter(|_| is_unknown) {
        Some(stored) => {
            keep(&kept, stored)?;
            Some(kept)
        }
        None => None,
    };
    ring.publish_restored(&restored).await?;
    let logged = append(&log, &line("restore is done"));
    let done = Done {
        report: &report,
        backup: &backup,
        log: &log,
        kept: kept.as_deref(),
    };
    if arguments.ring.json {
        host.print_json(&done)?;
    } else {
        done.print(arguments, host)?;
    }
    logged.map_err(|source| Error::AfterPublish(Box::new(source)))
}

/// Names the manifest that is meant, and what to do.
fn explain(error: RingError, names: &[String]) -> Error {
    match error {
        RingError::Unverified { place, source } => Error::Unverified {
            name: name(names, place),
            source,
        },
        error @ RingError::HistoryLost { .. } => Error::HistoryLost(error),
        error => error.into(),
    }
}

fn name(names: &[String], place: usize) -> String {
    names
        .get(place)
        .map_or("what is stored", String::as_str)
        .to_owned()
}

/// Appends one line to the log, durably. It is for the operator alone, and holds what was said and nothing secret.
fn append(path: &Path, line: &Line<'_>) -> Result<(), Error> {
    let text = serde_json::to_string(line).map_err(|error| Error::Output(error.into()))?;
    let written = || {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(format!("{text}\n").as_bytes())?;
        file.sync_all()
    };
    written().map_err(|source| Error::File {
        action: "append to",
        path: path.to_owned(),
        source,
    })
}

/// Writes what was stored aside, durably, whatever it is.
fn keep(path: &Path, stored: &[u8]) -> Result<(), Error> {
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(stored)?;
        file.sync_all()
    };
    written().map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// What is left of the ring beside the backup and the key store, by name.
fn others(arguments: &RestoreArguments, config: &Config) -> Result<(Vec<String>, Vec<Vec<u8>>), Error> {
    let mut paths = Vec::new();
    for path in &arguments.merge {
        if !path.exists() {
            return Err(Error::NoBackup(path.clone()));
        }
        paths.push(path.clone());
    }
    let before = config.key_store_path().map(|path| with_suffix(&path, ".bak"));
    let is_backup = |path: &PathBuf| same_file(path, &arguments.backup);
    paths.extend(
        before
            .into_iter()
            .chain(config.backup_path().filter(|path| !is_backup(path))),
    );
    let (mut names, mut manifests) = (Vec::new(), Vec::new());
    for path in paths {
        if let Some(stored) = FileStore::new(&path).read()? {
            names.push(path.display().to_string());
            manifests.push(stored);
        }
    }
    Ok((names, manifests))
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

impl<'a> Report<'a> {
    fn new(restored: &'a Restored, names: &[String]) -> Self {
        let manifest = restored.ring.manifest();
        let texts = |ids: &[phield_core::KeyId]| ids.iter().map(ToString::to_string).collect();
        let closed = restored.closed.iter();
        let wraps = restored.closed_wraps.iter();
        let missing = restored.missing_keks.iter();
        let ignored = restored.ignored.iter();
        Self {
            ring: manifest.ring.as_str(),
            reason: &restored.reason,
            epoch: manifest.epoch,
            keys: manifest.records.len(),
            new_keys: texts(&restored.new_keys),
            retired: texts(&restored.retired),
            out_of_reach: texts(&restored.out_of_reach),
            closed: closed
                .map(|(id, error)| format!("{id}: {}", chain(error)))
                .collect(),
            closed_wraps: wraps
                .map(|wrap| {
                    format!(
                        "{} under {} {}: {}",
                        wrap.key_id, wrap.provider, wrap.kek, wrap.outcome
                    )
                })
                .collect(),
            missing_keks: missing
                .map(|kek| format!("{} {}: {}", kek.provider, kek.kek, chain(&kek.error)))
                .collect(),
            ignored: ignored
                .map(|(place, error)| format!("{}: {}", name(names, *place), chain(error)))
                .collect(),
            lost_since: restored.lost_since,
            min_epoch: manifest.epoch,
        }
    }

    /// What this restore loses, and what does not open in it: said before it is published.
    fn losses(&self, restored: &Restored) -> String {
        let mut text = format!("New data keys: {}.", ids(&restored.new_keys));
        if !restored.retired.is_empty() {
            text += &format!(" Decrypt-only from now on: {}.", ids(&restored.retired));
        }
        for ignored in &self.ignored {
            text += &format!("\nNot merged, for it does not verify: {ignored}.");
        }
        if let Some(known) = self.lost_since {
            text += &format!(
                "\nLost: what the ring became up to epoch {known}, which is known and is in no manifest here."
            );
        }
        if !self.out_of_reach.is_empty() {
            text += &format!(
                "\nTheir providers are out of reach now: {}.",
                ids(&restored.out_of_reach)
            );
        }
        for closed in &self.closed {
            text += &format!(
                "\nKept, and does not open (a key-encryption key that is not configured keeps services from starting): {closed}."
            );
        }
        if !self.closed_wraps.is_empty() {
            text += &format!(
                "\nThe keys of {} open by another one; these do not open now:\n  {}",
                count(self.closed_wraps.len(), "wrap"),
                self.closed_wraps.join("\n  ")
            );
        }
        for kek in &restored.missing_keks {
            text += &format!(
                "\nThe new keys have no wrap under {0} {1}: {2}. Once it answers: phield keys wrap add --provider {0} --kek '{1}'",
                kek.provider,
                kek.kek,
                chain(&kek.error)
            );
        }
        text
    }
}

impl Done<'_> {
    fn print(&self, arguments: &RestoreArguments, host: &mut Host<'_>) -> Result<(), Error> {
        let report = self.report;
        host.print(format_args!(
            "{backup}
Restored ring {ring} from {from}: {keys} keys, epoch {epoch}.
Reason: {reason} (in {log})

Now:

  1. Set min_epoch = {epoch} in the configuration of every service (or PHIELD_MIN_EPOCH): an older ring is refused then.
  2. Restart the services, or wait for a hard TTL: each then seals under the new keys.
  3. Look for key ids in your data that the ring does not have: keys of a ring that was lost. Their rows cannot be opened
     now; set them aside and never delete them, for a manifest that turns up later may hold their keys.
     phield scan counts them, as keys that are not in the ring.{kept}",
            backup = self.backup,
            ring = report.ring,
            from = arguments.backup.display(),
            keys = report.keys,
            epoch = report.epoch,
            reason = report.reason,
            log = self.log.display(),
            kept = match self.kept {
                Some(kept) => format!(
                    "\n  4. What was stored before is kept in {}, for it did not verify: it may hold keys that are nowhere else.",
                    kept.display()
                ),
                None => String::new(),
            },
        ))
    }
}
