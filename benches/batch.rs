//! Inserting and reading 100,000 rows of eight sealed fields with three indexes, beside the same statements with random
//! bytes of the same length in the same tables, on SQLite and on a PostgreSQL server that it starts.
//!
//! `cargo bench -p phield-benches --bench batch` prints the rates: medians of five runs of each side, in turns; of
//! inserting, of reading, and of a run that does both. No ratio ever fails a run; the target is printed beside each.
//! `-- --test` runs a few rows once.
#![allow(clippy::print_stdout, missing_docs, reason = "a benchmark prints")]

mod models;

use std::fs;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use phield::{BlindIndex, Keyring, Sealed};
use phield_testkit::servers::PostgresServer;
use sqlx::{Connection as _, Executor as _, QueryBuilder};
use uuid::Uuid;

use models::{Patient, SealedPatient, keyring, patient};

/// Rows of one statement.
const BATCH: usize = 1000;
/// Runs of each side; odd, so that there is a median.
const RUNS: usize = 5;
/// The rates of phield are at least this part of those without it.
const TARGET: f64 = 0.7;
/// The columns of a row beside its id.
const COLUMNS: usize = 11;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A row of the other side: an id, and random bytes as long as the tokens and index values of phield.
struct Bare {
    id: Uuid,
    columns: [Vec<u8>; COLUMNS],
}

/// The same row as it is read.
#[derive(sqlx::FromRow)]
#[allow(dead_code, reason = "it is read, and dropped")]
struct BareRow {
    id: Uuid,
    name: Vec<u8>,
    ssn: Vec<u8>,
    mrn: Vec<u8>,
    phone: Vec<u8>,
    email: Vec<u8>,
    street: Vec<u8>,
    city: Vec<u8>,
    birth_date: Vec<u8>,
    name_index: Vec<u8>,
    ssn_index: Vec<u8>,
    mrn_index: Vec<u8>,
}

impl Bare {
    fn like(row: &SealedPatient) -> Result<Self, Error> {
        let tokens: [&Sealed<String>; 8] = [
            &row.name,
            &row.ssn,
            &row.mrn,
            &row.phone,
            &row.email,
            &row.street,
            &row.city,
            &row.birth_date,
        ];
        let indexes: [&BlindIndex; 3] = [&row.name_index, &row.ssn_index, &row.mrn_index];
        let lengths = tokens
            .map(|token| token.as_bytes().len())
            .into_iter()
            .chain(indexes.map(|index| index.as_bytes().len()));
        let mut columns: [Vec<u8>; COLUMNS] = Default::default();
        for (column, length) in columns.iter_mut().zip(lengths) {
            column.resize(length, 0);
            getrandom::fill(column)?;
        }
        Ok(Self {
            id: Uuid::now_v7(),
            columns,
        })
    }
}

/// How long each run took to insert the rows and to read them: with phield, and without.
#[derive(Default)]
struct Times {
    insert: [Vec<Duration>; 2],
    read: [Vec<Duration>; 2],
}

impl Times {
    /// Both parts of each run.
    fn both(&self) -> [Vec<Duration>; 2] {
        [0, 1].map(|side| {
            let parts = self.insert[side].iter().zip(&self.read[side]);
            parts.map(|(insert, read)| *insert + *read).collect()
        })
    }
}

/// Both sides on one database. A macro: the same code, once for each driver.
macro_rules! measure {
    ($database:ty, $connection:expr, $keyring:expr, $rows:expr, $runs:expr, $bytes:literal) => {{
        let (connection, keyring, rows): (_, &Keyring, usize) = ($connection, $keyring, $rows);
        let mut times = Times::default();
        for table in ["patients", "bare"] {
            connection.execute(sqlx::AssertSqlSafe(table_of(table, $bytes))).await?;
        }
        for _ in 0..$runs {
            let patients: Vec<Patient> = (0..rows).map(patient).collect();
            let sample = patients.first().ok_or("no rows")?.seal(keyring)?;
            let bare = (0..rows).map(|_| Bare::like(&sample)).collect::<Result<Vec<_>, _>>()?;
            for table in ["patients", "bare"] {
                connection.execute(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).await?;
            }

            let start = Instant::now();
            let mut transaction = connection.begin().await?;
            for batch in patients.chunks(BATCH) {
                let sealed = Patient::seal_batch(batch, keyring)?;
                phield::sqlx::insert_batch(&mut *transaction, sealed).await?;
            }
            transaction.commit().await?;
            times.insert[0].push(start.elapsed());

            let start = Instant::now();
            let mut transaction = connection.begin().await?;
            for batch in bare.chunks(BATCH) {
                let mut query: QueryBuilder<$database> = QueryBuilder::new(
                    "INSERT INTO bare (id, name, ssn, mrn, phone, email, street, city, birth_date, name_index, ssn_index, mrn_index) ",
                );
                query.push_values(batch, |mut values, row| {
                    values.push_bind(row.id);
                    for column in &row.columns {
                        values.push_bind(column.as_slice());
                    }
                });
                query.build().execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            times.insert[1].push(start.elapsed());

            // A table's first reader after an insert waits for pages and, on PostgreSQL, marks every row as committed.
            connection.execute("SELECT count(*) FROM patients WHERE length(name) > 0").await?;
            let start = Instant::now();
            let mut count = 0;
            {
                let sealed = sqlx::query_as::<$database, SealedPatient>("SELECT * FROM patients").fetch(&mut *connection);
            let mut opened = std::pin::pin!(phield::sqlx::open_stream::<Patient, _>(sealed, keyring));
            while let Some(row) = opened.try_next().await? {
                count += usize::from(row.name.expose().len() == models::TEXT.len());
            }
            }
            times.read[0].push(start.elapsed());
            assert_eq!(count, rows, "every row opens");

            // A table's first reader after an insert waits for pages and, on PostgreSQL, marks every row as committed.
            connection.execute("SELECT count(*) FROM bare WHERE length(name) > 0").await?;
            let start = Instant::now();
            let mut count = 0;
            {
                let mut read = sqlx::query_as::<$database, BareRow>("SELECT * FROM bare").fetch(&mut *connection);
                while let Some(row) = read.try_next().await? {
                    count += usize::from(row.name.len() > row.id.as_bytes().len());
                }
            }
            times.read[1].push(start.elapsed());
            assert_eq!(count, rows, "every row is read");
        }
        times
    }};
}

fn table_of(name: &str, bytes: &str) -> String {
    let id = if bytes == "BYTEA" { "UUID" } else { "BLOB" };
    // In the order of the model, as `phield schema sql` prints them.
    let columns = [
        "name",
        "name_index",
        "ssn",
        "ssn_index",
        "mrn",
        "mrn_index",
        "phone",
        "email",
        "street",
        "city",
        "birth_date",
    ]
    .map(|column| format!(", {column} {bytes} NOT NULL"))
    .concat();
    let indexes = ["name", "ssn", "mrn"]
        .map(|column| format!("; CREATE INDEX {name}_{column} ON {name} ({column}_index)"))
        .concat();
    format!("CREATE TABLE {name} (id {id} PRIMARY KEY{columns}){indexes}")
}

fn print_times(database: &str, rows: usize, times: Times) {
    let both = times.both();
    print(&format!("{database}, insert_batch"), rows, times.insert);
    print(&format!("{database}, open_stream"), rows, times.read);
    print(&format!("{database}, both"), rows, both);
}

fn print(what: &str, rows: usize, times: [Vec<Duration>; 2]) {
    let [ours, bare] = times.map(|mut times| {
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        f64::from(u32::try_from(rows).unwrap_or(u32::MAX)) / median.as_secs_f64()
    });
    let target = format!(">= {TARGET}");
    println!(
        "{what:<28}{ours:>12.0}{bare:>12.0}{:>8.2}{target:>9}",
        ours / bare
    );
}

/// The memory of this process in KiB, now.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Reads every row of the table and gives the memory that it took at most, beyond what there was.
macro_rules! memory_of_stream {
    ($database:ty, $connection:expr, $keyring:expr) => {{
        let sealed =
            sqlx::query_as::<$database, SealedPatient>("SELECT * FROM patients").fetch(&mut *$connection);
        let mut opened = std::pin::pin!(phield::sqlx::open_stream::<Patient, _>(sealed, $keyring));
        let (before, mut most, mut count) = (memory(), 0, 0_u64);
        while opened.try_next().await?.is_some() {
            count += 1;
            if count % 1000 == 0 {
                most = most.max(memory());
            }
        }
        most.saturating_sub(before)
    }};
}

/// In a task of its own, as the requests of a service are: what waits in `main` is woken by another thread.
#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Error> {
    tokio::spawn(measure_all()).await?
}

async fn measure_all() -> Result<(), Error> {
    let smoke = std::env::args().any(|argument| argument == "--test");
    let (rows, runs) = if smoke { (2 * BATCH, 1) } else { (100_000, RUNS) };
    let keyring = keyring();

    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("bench.db").display());
    let mut sqlite = sqlx::SqliteConnection::connect(&url).await?;
    sqlite
        .execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        .await?;
    let of_sqlite = measure!(sqlx::Sqlite, &mut sqlite, &keyring, rows, runs, "BLOB");
    let sqlite_memory = memory_of_stream!(sqlx::Sqlite, &mut sqlite, &keyring);

    let server = PostgresServer::shared();
    let mut postgres = sqlx::PgConnection::connect(&server.url()).await?;
    let of_postgres = measure!(sqlx::Postgres, &mut postgres, &keyring, rows, runs, "BYTEA");
    let postgres_memory = memory_of_stream!(sqlx::Postgres, &mut postgres, &keyring);

    println!(
        "\n{:<28}{:>12}{:>12}{:>8}{:>9}",
        format!("{rows} rows, rows/s"),
        "phield",
        "bare",
        "ratio",
        "target"
    );
    print_times("SQLite", rows, of_sqlite);
    print_times("PostgreSQL", rows, of_postgres);
    println!(
        "memory that open_stream takes: {sqlite_memory} KiB (SQLite), {postgres_memory} KiB (PostgreSQL)"
    );
    Ok(())
}
