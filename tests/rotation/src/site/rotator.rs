//! A rotation as an operator runs it: successor, activation, the passes over the tables, the report.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phield::sqlx::rotate::{Mode, Rotation, RotationError, RotationOptions, RotationStatus};
use phield::{KeyId, KeyUse, SchemaFile};

use super::{migrator, next, table};
use crate::arguments::Arguments;
use crate::model::Patient;
use crate::next::NextPatient;
use crate::{Failed, ring};

/// `folder=` of the ring, `url=`, `mode=` data, pepper, index, kek, ring, migrate or unseal, `report=` a file; `replace=` the active key that is to go, if that is to
/// be done first; `batch=`, `rate=`, `workers=`, `hard_ttl=` and `lease=` in seconds, `alone=yes`, `acknowledged=yes`,
/// and `wait=yes` to wait for the hard TTL instead.
pub async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let folder = PathBuf::from(arguments.text("folder")?);
    let ring = ring::open(&folder).await?;
    let report_file = Path::new(arguments.text("report")?);
    let (mode, key_use) = match arguments.text("mode")? {
        "migrate" => return migrator::run(arguments, &["add", "backfill", "cutover", "drop"]).await,
        "unseal" => return migrator::run(arguments, &["unseal"]).await,
        "ring" => {
            let done = ring::replace_ring_key(&folder, replaced(arguments)?.ok_or("replace=… is missing")?).await?;
            return ring::write_whole(report_file, &done);
        }
        "kek" => return ring::write_whole(report_file, &ring::rekek(&ring).await?),
        "data" => (Mode::Data, KeyUse::Data),
        "pepper" => (Mode::Pepper, KeyUse::Index),
        "index" => (Mode::Index, KeyUse::Index),
        other => return Err(format!("no mode `{other}`").into()),
    };
    if let Some(old) = replaced(arguments)? {
        ring::replace(&ring, key_use, old).await?;
    }
    let keyring = Arc::new(ring.keyring().await?);
    let options = options(arguments)?;
    let pool = table::connect(arguments.text("url")?, 2 * options.workers + 1).await?;
    let schema = if mode == Mode::Index {
        next::add_indexes(&pool).await?;
        NextPatient::SCHEMA
    } else {
        Patient::SCHEMA
    };
    let rotation = Rotation::new(pool, keyring, SchemaFile::of(&[schema])?).with_options(options);
    let status = loop {
        match rotation.run(mode, |_| {}).await {
            Err(RotationError::TooSoon { seconds }) if arguments.is_set("wait") => {
                tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
            }
            other => break other?,
        }
    };
    let text = report(&status);
    rotation.keep_report(&status.id, &text).await?;
    ring::write_whole(report_file, &text)
}

/// The key that is to go.
fn replaced(arguments: &Arguments) -> Result<Option<KeyId>, Failed> {
    let old = arguments.number::<u32>("replace")?;
    Ok(old.map(|old| KeyId::new(old).ok_or("0 is no key")).transpose()?)
}

fn options(arguments: &Arguments) -> Result<RotationOptions, Failed> {
    let mut options = RotationOptions::default();
    options.batch = arguments.number("batch")?.unwrap_or(options.batch);
    options.workers = arguments.number("workers")?.unwrap_or(options.workers);
    options.rate = arguments.number("rate")?;
    options.alone = arguments.is_set("alone");
    options.acknowledged_by_every_instance = arguments.is_set("acknowledged");
    options.who = "the rotator of the tests".to_owned();
    if let Some(seconds) = arguments.number("hard_ttl")? {
        options.hard_ttl = Duration::from_secs(seconds);
    }
    if let Some(seconds) = arguments.number("lease")? {
        options.lease = Duration::from_secs(seconds);
    }
    Ok(options)
}

/// What it did, in lines: `changed patients 12`, `after 1a2b3c4d 12`, `quarantined 0`.
fn report(status: &RotationStatus) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}");
    };
    for table in &status.tables {
        line(format_args!("changed {} {}", table.table, table.changed));
    }
    for count in &status.counts {
        line(format_args!("{} {} {} {}", count.phase, count.column, count.key, count.count));
    }
    let quarantined: u64 = status.quarantined.iter().map(|noted| noted.count).sum();
    line(format_args!("quarantined {quarantined}"));
    text
}
