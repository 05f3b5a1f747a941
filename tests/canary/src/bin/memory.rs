//! A process that reads markers and leaves them, or does not.
//!
//! `memory PART` reads them into a buffer that is erased, does with them a part of what phield does with values, and drops
//! everything; one part a process, since more work would overwrite what the first left on the stack. `memory freed` keeps copies of them for a moment in texts that nobody erases, and `memory kept` keeps them
//! to the end. Then each waits for a line, and aborts: for a core dump in its folder.
//!
//! Its allocator keeps what is freed as it was left: an ordinary one soon overwrites the start of it, and with it most of
//! a short value.
#![deny(unsafe_code)]
#![allow(clippy::print_stdout, reason = "says when it is ready")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::panic::AssertUnwindSafe;

use phield::sqlx::{insert, insert_batch};
use phield::{AppName, Keyring, Phi, TableName};
use phield_canary::child::READY;
use phield_canary::database::SQLITE;
use phield_canary::model::{Licence, Patient, SealedPatient};
use rustix::process::{Resource, Rlimit, setrlimit};
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;
use zeroize::Zeroizing;

/// More than the lines of all markers.
const CAPACITY: usize = 4096;

/// Never gives a freed block to anybody else, and writes nothing into it. A block that grows is copied, and its old place
/// left as it was. Large ones (a slow index takes 64 MiB) are freed: no value is as long.
struct Keeping;

const LARGE: usize = 1 << 20;

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe; this one is the system's, and frees less"
)]
// SAFETY: every block is one of `System`, with the layout that it was asked for; `dealloc` passes the same layout on, or
// leaks the block. `realloc` is the trait's own: `alloc`, copy, `dealloc`.
unsafe impl GlobalAlloc for Keeping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() >= LARGE {
            // SAFETY: as this function.
            unsafe { System.dealloc(block, layout) }
        }
    }
}

#[global_allocator]
static ALLOCATOR: Keeping = Keeping;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    // Without the right to, there will be no core file; the test looks for one.
    let _ = setrlimit(Resource::Core, unlimited);
    // `std::io::stdin` has a buffer that nobody erases.
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let kept = match std::env::args().nth(1).as_deref() {
        Some("freed") => {
            let markers = read(&mut stdin)?;
            let copies: Vec<String> = std::str::from_utf8(&markers)?
                .lines()
                .map(str::to_owned)
                .collect();
            drop(black_box(copies));
            None
        }
        Some("kept") => Some(String::from_utf8(read(&mut stdin)?.to_vec())?),
        Some(part) => {
            seal_and_open(part, &read(&mut stdin)?)?;
            None
        }
        None => return Err("memory freed|kept|PART".into()),
    };
    println!("{READY}");
    let _ = stdin.read(&mut [0])?;
    black_box(&kept); // alive to the end
    std::process::abort();
}

/// Reads to the empty line at the end, into a buffer that never grows.
fn read(stdin: &mut File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(vec![0; CAPACITY]);
    let mut len = 0;
    while !buffer.get(..len).is_some_and(|read| read.ends_with(b"\n\n")) {
        match stdin.read(buffer.get_mut(len..).unwrap_or_default())? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => len += more,
        }
    }
    buffer.truncate(len);
    Ok(buffer)
}

/// `{"id": …, "name": "…", …}` as a request brings it, written without a copy of a value that is not erased.
fn request(markers: &str) -> Result<Zeroizing<String>, Failure> {
    let lines: Vec<&str> = markers.lines().collect();
    let [text, ssn, name, email, ..] = lines.as_slice() else {
        return Err("four lines are wanted".into());
    };
    let (first, rest) = name.split_at(1);
    let mut json = Zeroizing::new(String::with_capacity(CAPACITY));
    write!(
        json,
        r#"{{"id": "{}", "clinic": 7, "name": "Zoë "#,
        Uuid::now_v7()
    )?;
    first
        .chars()
        .flat_map(char::to_uppercase)
        .for_each(|c| json.push(c));
    write!(
        json,
        r#"{rest}-Ærøsund", "ssn": "{ssn}", "licence": "{ssn}", "email": "{email}@example.org", "#
    )?;
    write!(
        json,
        r#""note": "canary {text}", "document": {{"text": "canary {text}", "lines": ["{name}", "{ssn}"]}}}}"#
    )?;
    Ok(json)
}

/// One part of what phield does with values.
fn seal_and_open(part: &str, markers: &Zeroizing<Vec<u8>>) -> Result<(), Failure> {
    let keyring = Keyring::ephemeral(AppName::from_static("emr"))?;
    let patient: Patient = serde_json::from_str(&request(std::str::from_utf8(markers)?)?)?;
    match part {
        "deserialize" => drop(black_box(patient)),
        "seal" => drop(black_box(patient.seal(&keyring)?)),
        "open" => open(&keyring, patient)?,
        "one column" => one_column(&keyring, &patient)?,
        "index" => drop(black_box(Patient::ssn_index(&keyring, &patient.ssn)?)),
        "slow index" => drop(black_box(Patient::licence_index(&keyring, &patient.licence)?)),
        "compound index" => {
            let email = patient.email.as_ref().ok_or("there is an email")?;
            black_box(Patient::name_email_index(&keyring, &patient.name, email)?);
        }
        "batch" => batch(&keyring, patient)?,
        "database" => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(in_a_database(&keyring, &patient))?;
        }
        "failing" => failing(&keyring, patient)?,
        _ => return Err("there is no such part".into()),
    }
    Ok(())
}

fn open(keyring: &Keyring, patient: Patient) -> Result<(), Failure> {
    let sealed = patient.seal(keyring)?;
    drop(patient);
    drop(black_box(sealed.open(keyring)?));
    Ok(())
}

/// Each on its own: sealed with its index, and opened by its handle.
fn one_column(keyring: &Keyring, patient: &Patient) -> Result<(), Failure> {
    let (ssn, _) = Patient::seal_ssn(keyring, &patient.id, &patient.ssn)?;
    let ssn = Patient::SSN.open(keyring, &patient.id, &ssn)?;
    let sealed = patient.seal(keyring)?;
    let note = Patient::NOTE.open(keyring, &patient.id, &sealed.note)?;
    let document = Patient::DOCUMENT.open(keyring, &patient.id, &sealed.document)?;
    same(ssn == patient.ssn && note == patient.note && document == patient.document)
}

fn batch(keyring: &Keyring, patient: Patient) -> Result<(), Failure> {
    let batch = vec![patient.clone(), patient];
    let opened = SealedPatient::open_batch(Patient::seal_batch(&batch, keyring)?, keyring)?;
    black_box(format!("{opened:?}"));
    same(opened == batch)
}

fn same(same: bool) -> Result<(), Failure> {
    if same {
        Ok(())
    } else {
        Err("what was opened is not what was sealed".into())
    }
}

async fn in_a_database(keyring: &Keyring, patient: &Patient) -> Result<(), Failure> {
    let mut db = SqliteConnection::connect("sqlite::memory:").await?;
    sqlx::query(SQLITE).execute(&mut db).await?;
    let mut transaction = db.begin().await?;
    insert_batch(&mut *transaction, vec![patient.seal_async(keyring).await?]).await?;
    let refused = insert(&mut *transaction, &patient.seal(keyring)?).await;
    transaction.commit().await?;
    let (Some(email), ssn) = (&patient.email, &patient.ssn) else {
        return Err("there is an email".into());
    };
    let found = [
        Patient::find_by_ssn(&mut db, keyring, ssn).await?,
        Patient::find_by_licence(&mut db, keyring, &patient.licence).await?,
        Patient::find_by_name_email(&mut db, keyring, &patient.name, email).await?,
        Patient::fetch(&mut db, keyring, &patient.id)
            .await?
            .into_iter()
            .collect(),
    ];
    if refused.is_err()
        && found
            .iter()
            .all(|found| found.as_slice() == std::slice::from_ref(patient))
    {
        Ok(())
    } else {
        Err("a row was not found".into())
    }
}

/// What does not end well: tokens of another row, values that are too long, a panic with values at hand.
fn failing(keyring: &Keyring, patient: Patient) -> Result<(), Failure> {
    let sealed = patient.seal(keyring)?;
    let moved = SealedPatient {
        id: Uuid::now_v7(),
        ..sealed.clone()
    };
    let table = const { TableName::from_static("patients") };
    let row = phield::Row::new(&table, &patient.id)?;
    let short = phield::Padding::Fixed(4);
    let note = Patient::NOTE.field(&patient.note)?.with_padding(short);
    let refused = [
        moved.open(keyring).is_err(),
        Patient::SSN.open(keyring, &Uuid::nil(), &sealed.ssn).is_err(),
        keyring
            .seal_row(&row, [Patient::SSN.field(&patient.ssn)?, note])
            .is_err(),
        serde_json::from_str::<Phi<Licence>>("[1]").is_err(),
    ];
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let patient = black_box(patient);
        assert!(
            patient.ssn.expose().is_empty(),
            "a handler panics while it holds a patient"
        );
    }));
    if refused == [true; 4] && panicked.is_err() {
        Ok(())
    } else {
        Err("something should have failed".into())
    }
}
