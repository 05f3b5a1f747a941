//! `phield keys restore` (format §8.2): a ring from its backup, never backwards.

use std::path::{Path, PathBuf};

use phield_core::config::Config;
use phield_core::{FileStore, Restored, VerifiedRing};
use serde::Serialize;

use crate::backup::{self, with_suffix};
use crate::keys::RingArguments;
use crate::text::{chain, ids};
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
    /// Why; it is printed with what was done, for your records
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Another manifest of the ring that is left: no key goes back behind what it says. Can be repeated. What is stored,
    /// its `.bak` and the configured backup are merged anyway
    #[arg(long, value_name = "FILE")]
    pub merge: Vec<PathBuf>,
}

/// What a restore did.
#[derive(Serialize)]
struct Report<'a> {
    ring: &'a str,
    reason: &'a str,
    epoch: u64,
    keys: usize,
    new_keys: Vec<String>,
    retired: Vec<String>,
    out_of_reach: Vec<String>,
    ignored: Vec<String>,
    min_epoch: u64,
    backup: String,
}

pub(crate) async fn run(arguments: &RestoreArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let stored = FileStore::new(&arguments.backup).read()?;
    let stored = stored.ok_or_else(|| Error::NoBackup(arguments.backup.clone()))?;
    let (names, others) = others(arguments, &config)?;
    let restored = ring.prepare_restore(&stored, &others, &arguments.reason).await?;
    // I-9: the new data keys are in the backup before they are active anywhere.
    let backup = match config.backup_path() {
        Some(path) => {
            let said = backup::write(&ring, &restored.ring, (&arguments.ring.config, &path), host).await?;
            format!("Backed up to {} first: {said}.", path.display())
        }
        None => "No [backup] is configured: run `phield keys backup --backup FILE` now.".to_owned(),
    };
    let published = ring.publish_restored(&restored).await?;
    report(arguments, (&restored, &published), &names, backup, host)
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

fn report(
    arguments: &RestoreArguments,
    (restored, published): (&Restored, &VerifiedRing),
    names: &[String],
    backup: String,
    host: &mut Host<'_>,
) -> Result<(), Error> {
    let manifest = published.manifest();
    let texts = |ids: &[phield_core::KeyId]| ids.iter().map(ToString::to_string).collect();
    let ignored = restored.ignored.iter().map(|(place, error)| {
        let name = names.get(*place).map_or("what was stored", String::as_str);
        format!("{name}: {}", chain(error))
    });
    let report = Report {
        ring: manifest.ring.as_str(),
        reason: &restored.reason,
        epoch: manifest.epoch,
        keys: manifest.records.len(),
        new_keys: texts(&restored.new_keys),
        retired: texts(&restored.retired),
        out_of_reach: texts(&restored.out_of_reach),
        ignored: ignored.collect(),
        min_epoch: manifest.epoch,
        backup,
    };
    if arguments.ring.json {
        return host.print_json(&report);
    }
    let mut text = format!(
        "Restored ring {} from {}: {} keys, epoch {}.\nReason: {}\n{}\n",
        report.ring,
        arguments.backup.display(),
        report.keys,
        report.epoch,
        report.reason,
        report.backup
    );
    text += &format!("New data keys: {}.", ids(&restored.new_keys));
    if !restored.retired.is_empty() {
        text += &format!(" Decrypt-only from now on: {}.", ids(&restored.retired));
    }
    for ignored in &report.ignored {
        text += &format!("\nNot merged, for it does not verify: {ignored}.");
    }
    if !restored.out_of_reach.is_empty() {
        text += &format!(
            "\nTheir providers are out of reach now: {}.",
            ids(&restored.out_of_reach)
        );
    }
    host.print(format_args!(
        "{text}

Now:

  1. Set min_epoch = {epoch} in the configuration of every service (or PHIELD_MIN_EPOCH): an older ring is refused then.
  2. Restart the services, or wait for a hard TTL: each then seals under the new keys.
  3. Look for key ids in your data that the ring does not have: keys of a ring that was lost. Their rows cannot be opened
     now; set them aside and never delete them, for a manifest that turns up later may hold their keys.
     (`phield scan` will do this; this version does not have it yet.)",
        epoch = report.epoch
    ))
}
