//! `phield keys destroy`: the end of a key.

use std::fs;
use std::path::{Path, PathBuf};

use phield_core::{CoverageReport, Destruction, KeyId, SignedCoverage};
use serde::Serialize;

use crate::keys::{RingArguments, key_id};
use crate::life::min_epoch_now;
use crate::text::utc;
use crate::{Error, Host, backup};

/// Largest report that is read: a report has a few lines a column.
const MAX_REPORT: u64 = 64 * 1024 * 1024;

/// Arguments of `phield keys destroy`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct DestroyArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub ring: RingArguments,
    /// The key
    #[arg(value_name = "ID", value_parser = key_id)]
    pub id: KeyId,
    /// The report of `phield scan`, of every database that the ring serves; can be repeated
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<PathBuf>,
    /// How many rows in quarantine are given up: as many as the reports have under the key, or without a key id
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub acknowledge_quarantined: u64,
    /// How many rows of shredded subjects are under the key, as the reports have them
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub acknowledge_shredded: u64,
    /// No backup that may have to be put back, of a database or an export, holds anything under the key
    #[arg(long)]
    pub backups_acknowledged: bool,
}

/// What was destroyed, and on which evidence.
#[derive(Serialize)]
struct Listing {
    key: String,
    state: &'static str,
    /// Whether it was destroyed before this command.
    was_destroyed: bool,
    databases: Vec<String>,
    acknowledged_quarantined: u64,
    acknowledged_shredded: u64,
    /// Without an epoch witness: what `min_epoch` has to become now.
    #[serde(skip_serializing_if = "Option::is_none")]
    raise_min_epoch: Option<u64>,
    epoch: u64,
    backup: String,
}

pub(crate) async fn run(arguments: &DestroyArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let (config, ring) = arguments.ring.open(host).await?;
    let id = arguments.id;
    let reports = arguments.reports.iter().map(|path| read_report(path));
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    for (path, signed) in arguments.reports.iter().zip(&reports) {
        let verified = ring.verify_coverage(signed).await;
        verified.map_err(|source| Error::Report {
            path: path.clone(),
            source,
        })?;
    }
    let mut destruction = Destruction::default();
    destruction.reports = reports.iter().collect();
    destruction.acknowledged_quarantined = arguments.acknowledge_quarantined;
    destruction.acknowledged_shredded = arguments.acknowledge_shredded;
    destruction.backups_acknowledged = arguments.backups_acknowledged;
    let destroyed = ring.destroy(id, &destruction).await?;
    let epoch = destroyed.ring.manifest().epoch;
    let reports: Vec<_> = reports.iter().map(SignedCoverage::report).collect();
    let listing = Listing {
        key: id.to_string(),
        state: "destroyed",
        was_destroyed: destroyed.was_destroyed,
        databases: reports.iter().map(|report| report.database.clone()).collect(),
        acknowledged_quarantined: arguments.acknowledge_quarantined,
        acknowledged_shredded: arguments.acknowledge_shredded,
        raise_min_epoch: config.epoch_witness.is_none().then_some(epoch),
        epoch,
        backup: backup::refresh((&arguments.ring.config, &config), &ring, &destroyed.ring, host).await?,
    };
    if arguments.ring.json {
        return host.print_json(&listing);
    }
    host.print(listing.text(id, &reports))
}

/// A coverage report, not verified yet.
pub(crate) fn read_report(path: &Path) -> Result<SignedCoverage, Error> {
    let failed = |source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_REPORT {
        return Err(failed(std::io::Error::other("it is too large to be a report")));
    }
    let file = fs::read(path).map_err(failed)?;
    SignedCoverage::from_json(&file).map_err(|source| Error::Report {
        path: path.to_owned(),
        source,
    })
}

impl Listing {
    fn text(&self, id: KeyId, reports: &[&CoverageReport]) -> String {
        let mut text = if self.was_destroyed {
            format!("Key {id} was destroyed before; nothing was changed.")
        } else {
            format!(
                "Key {id} is destroyed, in epoch {}. Nothing that it sealed opens any more; its record and id stay.",
                self.epoch
            )
        };
        if !self.was_destroyed {
            for report in reports {
                let rows = report.rows_under(id);
                text += &format!(
                    "\n{rows} rows under key {id} in {:?}, counted from {} to {} by {:?}.",
                    report.database,
                    utc(report.count_started),
                    utc(report.ended),
                    report.who
                );
            }
            if self.acknowledged_quarantined + self.acknowledged_shredded > 0 {
                text += &format!(
                    "\nGiven up: {} rows in quarantine, {} of shredded subjects.",
                    self.acknowledged_quarantined, self.acknowledged_shredded
                );
            }
        }
        text += &self.raise_min_epoch.map_or_else(String::new, min_epoch_now);
        text += "\nOlder backups of the ring still hold its wraps: whoever has one, and a key-encryption key, has the key. \
                 Destroy them once nothing else needs them.";
        format!("{text}\n{}", self.backup)
    }
}
