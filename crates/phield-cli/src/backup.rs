//! `phield keys backup`: a backup is rehearsed before it takes the place of the one before (I-9).

use std::fs;
use std::path::{Path, PathBuf};

use phield_core::config::Config;
use phield_core::{FileStore, FileWitness, KeyId, Ring, VerifiedRing};
use serde::Serialize;

use crate::keys::RingArguments;
use crate::rehearsal::{self, Environment, VerifyBackupArguments};
use crate::{Error, Host};

/// Arguments of `phield keys backup`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct BackupArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// Where it is written [default: the configured backup]
    #[arg(long, value_name = "FILE")]
    pub backup: Option<PathBuf>,
}

/// A backup that was written.
#[derive(Serialize)]
struct Written<'a> {
    backup: &'a Path,
    epoch: u64,
    rehearsal: String,
}

pub(crate) async fn run(arguments: &BackupArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let path = arguments.backup.clone().or_else(|| config.backup_path());
    let path = path.ok_or(Error::NoBackupPath)?;
    let verified = ring.load().await?;
    let rehearsal = write(&ring, (&verified, &[]), (&arguments.ring.config, &path), host).await?;
    if arguments.ring.json {
        return host.print_json(&Written {
            backup: &path,
            epoch: verified.manifest().epoch,
            rehearsal,
        });
    }
    host.print(format_args!(
        "Rehearsed the restore in a new process: {rehearsal}.\nWrote {}. Keep key file and passphrase apart from it.",
        path.display()
    ))
}

/// Arguments of `phield keys publish`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct PublishArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// The file with the ring: the former key store
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

/// A ring that was published.
#[derive(Serialize)]
struct Published {
    place: String,
    epoch: u64,
}

pub(crate) async fn publish(arguments: &PublishArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let stored = FileStore::new(&arguments.from).read()?;
    let stored = stored.ok_or_else(|| Error::NoBackup(arguments.from.clone()))?;
    let verified = ring.settings.verify(&stored).await?;
    if let Some(witness) = config.epoch_witness_path() {
        FileWitness::new(witness).peek(&verified)?;
    }
    ring.create_store().await?;
    ring.publish(&verified).await?;
    let published = Published {
        epoch: ring.load().await?.manifest().epoch,
        place: ring.place(),
    };
    if arguments.ring.json {
        return host.print_json(&published);
    }
    host.print(format_args!(
        "The ring at epoch {} is in {} now. Point every service at it, then take {} away: a ring that is changed in two places \
         is two rings.",
        published.epoch,
        published.place,
        arguments.from.display()
    ))
}

/// After a change: brings the configured backup up to date. What there is to say about it.
pub(crate) async fn refresh(
    (config_path, config): (&Path, &Config),
    ring: &Ring,
    verified: &VerifiedRing,
    host: &Host<'_>,
) -> Result<String, Error> {
    let Some(path) = config.backup_path() else {
        return Ok("No [backup] is configured: run `phield keys backup --backup FILE` now.".to_owned());
    };
    let written = write(ring, (verified, &[]), (config_path, &path), host).await;
    let rehearsal = written.map_err(|source| Error::AfterChange {
        then: "its backup was not brought up to date (`phield keys backup`)",
        source: Box::new(source),
    })?;
    Ok(format!("Backed up to {}: {rehearsal}.", path.display()))
}

/// Writes beside the backup, rehearses that in a new process, and then replaces the backup. What the rehearsal said.
/// `closed`: keys that are known not to open.
pub(crate) async fn write(
    ring: &Ring,
    (verified, closed): (&VerifiedRing, &[KeyId]),
    (config, path): (&Path, &Path),
    host: &Host<'_>,
) -> Result<String, Error> {
    let beside = Beside::new(path);
    let written = async {
        let store = FileStore::new(&beside.0);
        store.replace(store.read()?.as_deref(), verified.stored())?;
        let arguments = VerifyBackupArguments {
            config: config.to_owned(),
            backup: beside.0.clone(),
            token: rehearsal::token(ring, verified, closed).await?,
            every_wrap: false,
            closed: closed.to_vec(),
            json: false,
        };
        let said = rehearsal::rehearse(&arguments, Environment::Inherited, host)?;
        ring.back_up(verified, &FileStore::new(path)).await?;
        Ok(said)
    };
    written.await.map_err(|source: Error| Error::Backup {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// The backup that is rehearsed, beside the one that it will replace. Removed when dropped.
struct Beside(PathBuf);

impl Beside {
    fn new(path: &Path) -> Self {
        Self(with_suffix(path, ".new"))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        for path in [self.0.clone(), with_suffix(&self.0, ".lock")] {
            // Best effort: the next backup writes over what is left.
            let _ = fs::remove_file(path);
        }
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
