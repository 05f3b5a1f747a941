//! The rehearsal of a restore (I-9): the backup of a ring and its configuration alone, in a new process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use phield_core::config::Config;
use phield_core::{
    ColumnName, Field, FileStore, KeyId, Keyring, OpenError, Phi, Ring, RingError, Row, SealError,
    SealedText, TableName, Unbound, VerifiedRing, WrapCheck, WrapOutcome,
};
use serde::Serialize;

use crate::keys::key_id;
use crate::text::{count, ids};
use crate::{Error, Host};

/// Where test tokens belong.
static TABLE: TableName = TableName::from_static("phield.rehearsal");
static COLUMN: ColumnName = ColumnName::from_static("probe");
/// What they hold.
const PROBE: &str = "phield restore rehearsal";

/// Arguments of `phield keys verify-backup`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct VerifyBackupArguments {
    /// The configuration of the ring: the pin that the backup has to verify under, and the providers
    #[arg(long, value_name = "FILE", default_value = "phield.toml")]
    pub config: PathBuf,
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub backup: PathBuf,
    /// A test token of an earlier rehearsal, to be opened
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Every wrap that configuration has must open now, not one of each key
    #[arg(long)]
    pub every_wrap: bool,
    /// A key that is known not to open; can be repeated
    #[arg(long, value_name = "ID", value_parser = key_id, hide = true)]
    pub closed: Vec<KeyId>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a backup is good for.
#[derive(Serialize)]
struct Report {
    ring: String,
    epoch: u64,
    keys: usize,
    wraps_opened: usize,
    token_opened: bool,
    keks: Vec<KekListing>,
}

/// What one key-encryption key opens.
#[derive(Serialize)]
struct KekListing {
    provider: String,
    kek: String,
    outcome: &'static str,
    keys: usize,
}

pub(crate) async fn verify_backup(
    arguments: &VerifyBackupArguments,
    host: &mut Host<'_>,
) -> Result<(), Error> {
    let stored = FileStore::new(&arguments.backup).read()?;
    let stored = stored.ok_or_else(|| Error::NoBackup(arguments.backup.clone()))?;
    let settings = Config::read(&arguments.config)?.settings(host.backends()).await?;
    let verified = settings.verify_archived(&stored).await?;
    let checks = verified.check(&settings).await;
    let keks = keks(&checks);
    let wraps = opened(checks, arguments)?;
    let keyring = verified.keyring_without(&settings, &arguments.closed).await?;
    let token = match &arguments.token {
        Some(token) => open_probe(&keyring, token).map(|()| "the test token opens")?,
        None => "no test token was given",
    };
    let manifest = verified.manifest();
    let report = Report {
        ring: manifest.ring.to_string(),
        epoch: manifest.epoch,
        keys: manifest.records.len(),
        wraps_opened: wraps,
        token_opened: arguments.token.is_some(),
        keks,
    };
    if arguments.json {
        return host.print_json(&report);
    }
    let mut text = format!(
        "backup of ring {} at epoch {} is good: {} keys, {wraps} wraps opened, {token}",
        report.ring, report.epoch, report.keys
    );
    let closed = |listing: &&KekListing| listing.outcome != WrapOutcome::Opens.as_str();
    for kek in report.keks.iter().filter(closed) {
        let what = if kek.outcome == WrapOutcome::NotConfigured.as_str() {
            "not tried, for it is not configured".to_owned()
        } else {
            format!("not opened now ({})", kek.outcome)
        };
        text += &format!(
            "; {what}: {} {} of {}",
            kek.provider,
            kek.kek,
            count(kek.keys, "key")
        );
    }
    if !arguments.closed.is_empty() {
        text += &format!("; no wrap opens now of {}", ids(&arguments.closed));
    }
    host.print(text)
}

/// How many wraps open. Of each key one does; what is out of reach or refused besides is told, unless every wrap is to open.
fn opened(checks: Vec<WrapCheck>, arguments: &VerifyBackupArguments) -> Result<usize, Error> {
    let open: BTreeSet<_> = checks
        .iter()
        .filter(|check| check.outcome == WrapOutcome::Opens)
        .map(|check| check.key_id)
        .collect();
    let mut wraps = 0;
    for check in checks {
        let bears =
            !arguments.every_wrap && open.contains(&check.key_id) || arguments.closed.contains(&check.key_id);
        match check.outcome {
            WrapOutcome::Opens => wraps += 1,
            WrapOutcome::NotConfigured => {}
            WrapOutcome::OutOfReach | WrapOutcome::Refused | WrapOutcome::UnknownKek if bears => {}
            _ => return Err(check.error.unwrap_or(RingError::Authentication).into()),
        }
    }
    Ok(wraps)
}

/// How many keys each key-encryption key opens.
fn keks(checks: &[WrapCheck]) -> Vec<KekListing> {
    let mut keks = BTreeMap::new();
    for check in checks {
        *keks
            .entry((&check.provider, &check.kek, check.outcome))
            .or_insert(0) += 1;
    }
    let listings = keks
        .into_iter()
        .map(|((provider, kek, outcome), keys)| KekListing {
            provider: provider.to_string(),
            kek: kek.to_string(),
            outcome: outcome.as_str(),
            keys,
        });
    listings.collect()
}

/// A test token under the active data key of no scope, where there is one that seals.
pub(crate) async fn token(
    ring: &Ring,
    verified: &VerifiedRing,
    closed: &[KeyId],
) -> Result<Option<String>, Error> {
    match seal_probe(&verified.keyring_without(&ring.settings, closed).await?) {
        Ok(token) => Ok(Some(token)),
        Err(Error::Seal(
            SealError::NoActiveKey | SealError::KeyExpired(_) | SealError::KeyUnavailable(_),
        )) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A test token under the active data key: known text, of no row.
pub(crate) fn seal_probe(keyring: &Keyring) -> Result<String, Error> {
    let row = Row::new(&TABLE, &Unbound).map_err(SealError::from)?;
    let probe = Phi::from(PROBE);
    let field = Field::new(COLUMN.clone(), &probe).map_err(SealError::from)?;
    let [token] = keyring.seal_row(&row, [field])?;
    let token: SealedText<String> = token.required()?;
    Ok(token.as_str().to_owned())
}

fn open_probe(keyring: &Keyring, token: &str) -> Result<(), Error> {
    let token = SealedText::<String>::from_text(token.to_owned()).map_err(Error::Token)?;
    let row = Row::new(&TABLE, &Unbound).map_err(|_| Error::Open(OpenError::Authentication))?;
    let opened = keyring
        .opener(&row)
        .and_then(|mut opener| opener.open_field(&COLUMN, None, token));
    if opened.map_err(Error::Open)?.expose() == PROBE {
        Ok(())
    } else {
        Err(Error::OtherToken)
    }
}

/// What a rehearsal has beside backup and configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    /// No variable of phield: what is set here and now may not be there on the day of a restore.
    Bare,
    /// What this process has: in a container that may be where every setting is.
    Inherited,
}

/// Verifies a backup as a restore would: in a new process.
pub(crate) fn rehearse(
    arguments: &VerifyBackupArguments,
    environment: Environment,
    host: &Host<'_>,
) -> Result<String, Error> {
    let VerifyBackupArguments {
        config,
        backup,
        token,
        every_wrap,
        closed,
        json: _,
    } = arguments;
    let failed = |source| Error::File {
        action: "run",
        path: PathBuf::from("phield keys verify-backup"),
        source,
    };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command
        .args(&host.verbs)
        .args(["keys", "verify-backup", "--config"])
        .arg(config)
        .arg("--backup")
        .arg(backup);
    if let Some(token) = token {
        command.arg("--token").arg(token);
    }
    if *every_wrap {
        command.arg("--every-wrap");
    }
    for id in closed {
        command.arg("--closed").arg(id.to_string());
    }
    if environment == Environment::Bare {
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| name.as_encoded_bytes().starts_with(b"PHIELD_")) {
            command.env_remove(name);
        }
    }
    let output = command.stdin(Stdio::null()).output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(Error::Rehearsal {
        status: output.status,
        stderr,
    })
}
