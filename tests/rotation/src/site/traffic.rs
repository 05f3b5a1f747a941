//! An instance of an application: writers and readers that know what they wrote, with keys that refresh themselves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use phield::Keyring;
use phield::sqlx::{Error, update};
use sqlx::Pool;
use tokio::io::AsyncReadExt as _;

use super::{Db, table};
use crate::arguments::Arguments;
use crate::model::{Patient, mrn, written};
use crate::{Failed, ring};

/// Writers of one process, and as many readers.
const WRITERS: i64 = 2;
/// How often a write that the database refused for a moment is tried before it counts as failed.
const TRIES: u64 = 100;

/// What all tasks of the process share.
struct Instance {
    pool: Pool<Db>,
    keyring: Keyring,
    rows: i64,
    stop: AtomicBool,
    writes: AtomicU64,
    reads: AtomicU64,
    retries: AtomicU64,
}

/// `folder=` of the ring, `url=`, `rows=`, `instance=` its number from 0 on, of `instances=`, `soft=` and `hard=` in
/// milliseconds. It says `ready`, works until its input ends, and says what it wrote last: `last <row> <number>`, and what went
/// wrong: `failed …`.
pub async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let number = |name| arguments.number::<i64>(name)?.ok_or_else(|| Failed::from(name));
    let mut ring = ring::open(Path::new(arguments.text("folder")?)).await?;
    let ttl = |name| arguments.number::<u64>(name)?.ok_or_else(|| Failed::from(name));
    ring.settings.cache = ring::short((ttl("soft")?, ttl("hard")?))?;
    let instance = Arc::new(Instance {
        pool: table::connect(arguments.text("url")?, 4).await?,
        keyring: ring.into_keyring().await?,
        rows: number("rows")?,
        stop: AtomicBool::new(false),
        writes: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        retries: AtomicU64::new(0),
    });
    let (first, step) = (number("instance")? * WRITERS, number("instances")? * WRITERS);
    let mut writers = tokio::task::JoinSet::new();
    let mut readers = tokio::task::JoinSet::new();
    for task in first..first + WRITERS {
        let (writer, reader) = (Arc::clone(&instance), Arc::clone(&instance));
        writers.spawn(async move { writer.write((task, step)).await });
        readers.spawn(async move { reader.read(task).await });
    }
    say("ready");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    instance.stop.store(true, Ordering::SeqCst);
    while let Some(joined) = writers.join_next().await {
        let (last, failed) = joined?;
        for (row, number) in last {
            say(&format!("last {row} {number}"));
        }
        failed.iter().for_each(|failed| say(&format!("failed {failed}")));
    }
    while let Some(joined) = readers.join_next().await {
        joined?.iter().for_each(|failed| say(&format!("failed {failed}")));
    }
    let [writes, reads, retries] =
        [&instance.writes, &instance.reads, &instance.retries].map(|count| count.load(Ordering::SeqCst));
    say(&format!("did {writes} writes {reads} reads {retries} retries"));
    Ok(())
}

#[allow(clippy::print_stdout, reason = "what the test reads")]
fn say(line: &str) {
    println!("{line}");
}

impl Instance {
    fn is_running(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// Writes the rows of one writer in turn, and searches for each. Nobody else writes them.
    async fn write(&self, (first, step): (i64, i64)) -> (BTreeMap<i64, u64>, Vec<String>) {
        let (mut last, mut failed) = (BTreeMap::new(), Vec::new());
        let mut number = 0;
        while self.is_running() {
            number += 1;
            for id in (1..=self.rows).filter(|id| id % step == first) {
                let patient = written(id, number);
                match self.write_one(&patient).await {
                    Ok(()) => drop(last.insert(id, number)),
                    Err(error) => failed.push(format!("to write row {id}: {error}")),
                }
                match Patient::find_by_ssn(&self.pool, &self.keyring, patient.ssn.expose().as_str()).await {
                    Ok(found) if found == [patient] => {}
                    Ok(found) => failed.push(format!("{} rows were found for row {id} as it was written", found.len())),
                    Err(error) => failed.push(format!("to search for row {id}: {error}")),
                }
                self.writes.fetch_add(1, Ordering::SeqCst);
            }
        }
        (last, failed)
    }

    async fn write_one(&self, patient: &Patient) -> Result<(), Failed> {
        let sealed = patient.seal(&self.keyring)?;
        for _ in 0..TRIES {
            match update(&self.pool, &sealed).await {
                Ok(1) => return Ok(()),
                Ok(rows) => return Err(format!("{rows} rows were written").into()),
                Err(Error::Database(error)) if error.is_retryable() => {
                    self.retries.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err("it was refused again and again".into())
    }

    /// Reads every row in turn by its id, and searches for it by its medical record number.
    async fn read(&self, start: i64) -> Vec<String> {
        let mut failed = Vec::new();
        let mut ids = (1..=self.rows).cycle().skip(usize::try_from(start * 7).unwrap_or(0));
        while let Some(id) = ids.next().filter(|_| self.is_running()) {
            match Patient::fetch(&self.pool, &self.keyring, &id).await {
                Ok(Some(patient)) if *patient.mrn.expose() == mrn(id) => {}
                Ok(_) => failed.push(format!("row {id} is not there, or another one")),
                Err(error) => failed.push(format!("to read row {id}: {error}")),
            }
            match Patient::find_by_mrn(&self.pool, &self.keyring, mrn(id).as_str()).await {
                Ok(found) if found.len() == 1 && found.iter().all(|patient| patient.id == id) => {}
                Ok(found) => failed.push(format!("{} rows were found for row {id}", found.len())),
                Err(error) => failed.push(format!("to search for row {id}: {error}")),
            }
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        failed
    }
}
