//! `phield keys`: what is in a ring.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use phield_core::config::Config;
use phield_core::{KeyRecord, KeyState, Manifest};
use serde::Serialize;

use crate::rehearsal::VerifyBackupArguments;
use crate::text::{table, utc};
use crate::{Error, Host};

/// The verbs of `phield keys`.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum KeysCommand {
    /// Load and verify the ring, and list its keys
    List(ListArguments),
    /// Rehearse a restore: check a backup of the ring with the configuration alone
    ///
    /// Verifies the backup under the pinned ring key, unwraps every key by every wrap within reach, checks every check
    /// value. Reads neither the key store nor the epoch witness, and writes nothing.
    VerifyBackup(VerifyBackupArguments),
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
    host.print(format_args!(
        "app {app}, ring {ring}, epoch {epoch}\n\n{}",
        table(&rows)
    ))
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
        let sealing = matches!(record.state, KeyState::Active | KeyState::PreActive);
        Self {
            id: context.key_id.to_string(),
            key_use: context.key_use.as_str(),
            suite: context.suite.map(|suite| suite.to_string()),
            scope: context.scope.as_ref().map(ToString::to_string),
            state: record.state.as_str(),
            created: utc(record.created),
            not_after: not_after.map(utc),
            days_left: not_after.filter(|_| sealing).map(days_left),
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
fn days_left(not_after: u64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let seconds = i128::from(not_after) - i128::from(now);
    i64::try_from(seconds.div_euclid(86_400)).unwrap_or(i64::MAX)
}
