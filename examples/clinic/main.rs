//! A clinic's patient list: FHIR records sealed into a SQLite file, found by SSN, opened again, and what a thief of the
//! file would hold.
//!
//! ```text
//! cargo run --release --example clinic -- [--input FILE] [--db FILE] [--find SSN]
//! ```
//!
//! `model.rs` is what an application writes; `import.rs` and `store.rs` are how it uses that. The rest is the
//! demonstration: reading FHIR, the screen, and the scan of the files.
#![allow(clippy::print_stderr, reason = "a command-line program")]

mod columns;
mod control;
mod fhir;
mod import;
mod mapping;
mod model;
mod ring;
mod scan;
mod screen;
mod store;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use phield::{Phi, Stretching};

use crate::control::Control;
use crate::fhir::Record;
use crate::model::Patient;
use crate::scan::Scan;
use crate::store::{Place, Store};

/// 240 invented patients; see README.md beside it.
const BUNDLED: &[u8] = include_bytes!("patients.ndjson");

/// Seals patient records into a SQLite file and shows what can be read in it, with the key and without.
///
/// For comparison the records are also written in the clear to a temporary folder, which is removed at the end: use
/// data that may be there.
#[derive(Debug, Parser)]
#[command(name = "clinic")]
struct Arguments {
    /// FHIR R4 Patient records, one JSON object a line [default: the bundled file of 240 invented patients]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Keep the database in FILE and its key ring in FILE.ring/; a second run opens them again
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// Find the patient with this social security number [default: the first patient's that has one]
    #[arg(long, value_name = "SSN")]
    find: Option<String>,
    /// Stretch the passphrase of a new ring no more than the format asks for; for tests
    #[arg(long, hide = true)]
    fast: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await.and_then(|screen| show(&screen)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the screen. A reader that has seen enough (`| head`) is no failure.
fn show(screen: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(screen.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Does everything, and returns the screen.
async fn run(arguments: &Arguments) -> Result<String, Failure> {
    // The whole input is read and checked before a file is made or a row is written.
    let records = fhir::parse(&input(arguments.input.as_deref())?)?;
    let patients: Vec<Patient> = records.iter().map(Patient::from).collect();

    let place = arguments
        .db
        .clone()
        .map_or_else(Place::temporary, |database| Ok(Place::kept(database)))?;
    let stretching = if arguments.fast {
        Stretching::minimal()
    } else {
        Stretching::default()
    };
    let store = Store::open(&place, stretching).await?;
    let is_empty = store.count().await? == 0;
    let timing = if is_empty {
        Some(import::import(&store, &records, &patients).await?)
    } else {
        None
    };
    let reading = read_back(&store, &patients).await?;

    let mut out = String::new();
    screen::summary(&mut out, arguments, timing.as_ref(), &reading)?;
    match arguments
        .find
        .as_ref()
        .or(reading.first_ssn.as_ref().map(Phi::expose))
    {
        Some(ssn) => find(&mut out, &store, ssn).await?,
        None => writeln!(out, "\nNo patient has an SSN: nothing to search for.")?,
    }
    if reading.equal_to_input {
        compare(&mut out, &place, &store, &records, &patients).await?;
    } else {
        writeln!(
            out,
            "\nNo scan: the database was made from another input. Give it with --input."
        )?;
    }
    store.pool.close().await;
    Ok(out)
}

fn input(file: Option<&Path>) -> Result<Cow<'static, [u8]>, InputError> {
    let Some(path) = file else {
        return Ok(BUNDLED.into());
    };
    let content = std::fs::read(path).map_err(|source| InputError {
        path: path.to_owned(),
        source,
    })?;
    Ok(content.into())
}

/// What opening every row again showed.
#[derive(Debug)]
struct Reading {
    rows: usize,
    duration: Duration,
    equal_to_input: bool,
    first_ssn: Option<Phi<String>>,
}

/// Opens every row and compares it with the input.
async fn read_back(store: &Store, patients: &[Patient]) -> Result<Reading, Failure> {
    let started = Instant::now();
    let mut expected = patients.iter();
    let mut reading = Reading {
        rows: 0,
        duration: Duration::ZERO,
        equal_to_input: true,
        first_ssn: None,
    };
    let each = |patient: Patient| {
        reading.rows += 1;
        reading.equal_to_input &= expected
            .next()
            .is_some_and(|expected| expected.says_the_same(&patient));
        if reading.first_ssn.is_none() {
            reading.first_ssn = patient.ssn;
        }
    };
    store.open_all(each).await?;
    reading.equal_to_input &= expected.next().is_none();
    reading.duration = started.elapsed();
    Ok(reading)
}

/// A patient that was found.
#[derive(Debug)]
struct Match {
    patient: Patient,
    matches: usize,
    took: Duration,
}

/// Finds patients by SSN through its blind index, and shows the first one.
async fn find(out: &mut String, store: &Store, ssn: &str) -> Result<(), Failure> {
    let started = Instant::now();
    let found = Patient::find_by_ssn(&store.pool, &store.keyring, ssn).await?;
    let (took, matches) = (started.elapsed(), found.len());
    let Some(patient) = found.into_iter().next() else {
        return Ok(writeln!(
            out,
            "\nNo patient has this SSN: no row has its index value."
        )?);
    };
    let stolen = sqlx::query("SELECT * FROM patients WHERE id = ?")
        .bind(patient.id)
        .fetch_one(&store.pool)
        .await?;
    screen::patient(
        out,
        &Match {
            patient,
            matches,
            took,
        },
        &stolen,
    )
}

/// Scans the database and a plaintext control database for every sealed value of the input.
async fn compare(
    out: &mut String,
    place: &Place,
    store: &Store,
    records: &[Record],
    patients: &[Patient],
) -> Result<(), Failure> {
    let control = Control::create(patients).await?;
    let scan = Scan::new(records, &store.readable_text().await?)?;
    let (sealed, in_the_clear) = (
        scan.database(&place.database)?,
        scan.database(&control.place.database)?,
    );
    control.pool.close().await;
    Ok(screen::scan(out, &scan, &sealed, &in_the_clear)?)
}

/// The input cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
struct InputError {
    path: PathBuf,
    source: std::io::Error,
}

/// Whatever went wrong, with its causes. None of the errors in it carries a value of a patient.
#[derive(Debug)]
pub(crate) struct Failure(Box<dyn std::error::Error + Send + Sync>);

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let causes = std::iter::successors(self.0.source(), |cause| cause.source());
        causes.into_iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}
