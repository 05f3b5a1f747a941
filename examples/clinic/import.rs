//! Seals every patient and stores them in one transaction.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use phield::SealError;

use crate::Failure;
use crate::fhir::Record;
use crate::model::Patient;
use crate::store::{BATCH, Store};

/// How long the import of all rows took.
#[derive(Debug)]
pub(crate) struct Timing {
    /// Sealing alone.
    pub(crate) sealing: Duration,
    /// Sealing, inserting and committing.
    pub(crate) storing: Duration,
}

/// A patient that cannot be sealed: where, and why. Never what.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: a value cannot be sealed; nothing was imported")]
struct Refused {
    line: usize,
    #[source]
    source: SealError,
}

/// Imports patients, all or none.
///
/// They are sealed twice, each time under fresh salts and nonces: first for nothing but the measurement and to know that
/// each of them can be sealed, before anything is bound to a statement; then batch by batch to be stored.
pub(crate) async fn import(
    store: &Store,
    records: &[Record],
    patients: &[Patient],
) -> Result<Timing, Failure> {
    let progress = progress_bar(patients.len())?;
    progress.set_message("sealing");
    let started = Instant::now();
    for (batch, records) in patients.chunks(BATCH).zip(records.chunks(BATCH)) {
        Patient::seal_batch(batch, &store.keyring).map_err(|error| refused(store, batch, records, error))?;
        progress.inc(batch.len() as u64);
    }
    let sealing = started.elapsed();

    progress.reset();
    progress.set_message("sealing and storing");
    let started = Instant::now();
    let mut transaction = store.pool.begin().await?;
    for batch in patients.chunks(BATCH) {
        let sealed = Patient::seal_batch(batch, &store.keyring)?;
        phield::sqlx::insert_batch(&mut *transaction, sealed).await?;
        progress.inc(batch.len() as u64);
    }
    transaction.commit().await?;
    progress.finish_and_clear();
    Ok(Timing {
        sealing,
        storing: started.elapsed(),
    })
}

/// Which patient of a batch it was: sealed one by one, once more.
fn refused(store: &Store, batch: &[Patient], records: &[Record], error: SealError) -> Failure {
    let refused = batch.iter().zip(records).find_map(|(patient, record)| {
        let source = patient.seal(&store.keyring).err()?;
        Some(Refused {
            line: record.line,
            source,
        })
    });
    refused.map_or_else(|| error.into(), Failure::from)
}

/// Drawn on standard error, and only on a terminal.
fn progress_bar(rows: usize) -> Result<ProgressBar, Failure> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} patients, {msg}")?;
    Ok(ProgressBar::new(rows as u64).with_style(style))
}
