//! `rotate data` over rows of nine sealed columns, beside the same loop of pages and updates without cryptography: the same
//! statements, pages and transactions, read and written at once, with random bytes of the same length.
//!
//! `cargo bench -p phield-benches --bench rotate` takes 500,000 rows and prints the medians of five runs of each side, in turns. No
//! ratio ever fails a run; the target is printed beside it. `-- --test` runs a few rows once, `ROWS=100000` that many, three times.
#![allow(clippy::print_stdout, missing_docs, reason = "a benchmark prints")]

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use phield::sqlx::rotate::{Mode, Rotation, RotationOptions};
use phield::{EncryptedPhi, KeyUse, Phi, Rollout, SchemaFile, Suite};
use phield_testkit::TestRing;
use phield_testkit::servers::PostgresServer;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Pool, QueryBuilder};
use uuid::Uuid;

/// Rows of a page.
const PAGE: usize = 1000;
/// The rate of phield is at least this part of the rate without it.
const TARGET: f64 = 0.5;
/// What a compare-and-swap compares: the start of a token.
const START: usize = 45;
const COLUMNS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

type Error = Box<dyn std::error::Error>;

#[derive(Debug, EncryptedPhi)]
#[phi(table = "sealed")]
struct Row {
    #[phi(row_id)]
    id: Uuid,
    a: Phi<String>,
    b: Phi<String>,
    c: Phi<String>,
    d: Phi<String>,
    e: Phi<String>,
    f: Phi<String>,
    g: Phi<String>,
    h: Phi<String>,
    i: Phi<String>,
}

fn row(_: usize) -> Row {
    let value = || Phi::from("a value of 24 characters");
    Row {
        id: Uuid::now_v7(),
        a: value(),
        b: value(),
        c: value(),
        d: value(),
        e: value(),
        f: value(),
        g: value(),
        h: value(),
        i: value(),
    }
}

/// A row of a page: its id, and its columns.
type Read = (Uuid, Vec<Vec<u8>>);

/// Random bytes, drawn once: what the other side writes.
struct Bytes(Vec<u8>, usize);

impl Bytes {
    fn new() -> Result<Self, Error> {
        let mut bytes = vec![0; 1 << 20];
        for part in bytes.chunks_mut(256) {
            getrandom::fill(part)?;
        }
        Ok(Self(bytes, 0))
    }

    fn next(&mut self, len: usize) -> Vec<u8> {
        if self.1 + len > self.0.len() {
            self.1 = 0;
        }
        let bytes = self.0.get(self.1..self.1 + len).unwrap_or_default().to_vec();
        // Another place every time, so that no two values are equal.
        self.1 += len + 7;
        bytes
    }
}

fn select(mark: &str) -> String {
    format!(
        "SELECT id, {} FROM bare WHERE id > {mark} ORDER BY id LIMIT {PAGE}",
        COLUMNS.join(", ")
    )
}

fn changes() -> String {
    let set = COLUMNS
        .map(|column| format!("{column} = v.n_{column}"))
        .join(", ");
    format!("UPDATE bare SET {set} FROM")
}

fn conditions() -> String {
    let same = COLUMNS
        .map(|column| format!(" AND substr(bare.{column}, 1, {START}) = v.o_{column}"))
        .concat();
    format!("bare.id = v.id{same}")
}

fn names() -> String {
    let names = COLUMNS.map(|column| format!("o_{column}, n_{column}")).join(", ");
    format!("v (id, {names})")
}

async fn update_postgres(
    transaction: &mut sqlx::PgConnection,
    page: &[Read],
    new: &[Vec<Vec<u8>>],
) -> Result<u64, sqlx::Error> {
    let arrays = (2..20)
        .map(|i| format!("${i}::bytea[]"))
        .collect::<Vec<_>>()
        .join(", ");
    let sql = format!(
        "{} unnest($1::uuid[], {arrays}) AS {} WHERE {}",
        changes(),
        names(),
        conditions()
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(page.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    for i in 0..COLUMNS.len() {
        let old = page
            .iter()
            .filter_map(|(_, columns)| columns.get(i)?.get(..START).map(<[u8]>::to_vec));
        query = query.bind(old.collect::<Vec<_>>());
        query = query.bind(
            new.iter()
                .filter_map(|columns| columns.get(i).cloned())
                .collect::<Vec<_>>(),
        );
    }
    Ok(query.execute(transaction).await?.rows_affected())
}

async fn update_sqlite(
    transaction: &mut sqlx::SqliteConnection,
    page: &[Read],
    new: &[Vec<Vec<u8>>],
) -> Result<u64, sqlx::Error> {
    let mut done = 0;
    for (page, new) in page.chunks(100).zip(new.chunks(100)) {
        let mut query = QueryBuilder::<sqlx::Sqlite>::new(format!("WITH {} AS (", names()));
        query.push_values(page.iter().zip(new), |mut values, ((id, old), new)| {
            values.push_bind(*id);
            for (old, new) in old.iter().zip(new) {
                values.push_bind(old.get(..START).unwrap_or_default().to_vec());
                values.push_bind(new.clone());
            }
        });
        query.push(format!(") {} v WHERE {}", changes(), conditions()));
        done += query.build().execute(&mut *transaction).await?.rows_affected();
    }
    Ok(done)
}

/// The loop without cryptography. A macro: the same code, once for each driver.
macro_rules! bare {
    ($pool:expr, $update:path, $mark:literal) => {{
        let mut reader = $pool.acquire().await?;
        let mut writer = $pool.acquire().await?;
        let mut bytes = Bytes::new()?;
        let select = select($mark);
        let start = Instant::now();
        let mut count = 0;
        let mut after = Uuid::nil();
        let mut page: Vec<Read> = Vec::new();
        loop {
            let next = async {
                let rows = sqlx::query(AssertSqlSafe(select.clone()))
                    .bind(after)
                    .fetch_all(&mut *reader)
                    .await?;
                let read = |row: &_| Ok((sqlx::Row::try_get(row, 0)?, columns(row)?));
                rows.iter().map(read).collect::<Result<Vec<Read>, sqlx::Error>>()
            };
            let new: Vec<Vec<Vec<u8>>> = page
                .iter()
                .map(|(_, columns)| columns.iter().map(|column| bytes.next(column.len())).collect())
                .collect();
            let write = async {
                if page.is_empty() {
                    return Ok(0);
                }
                let mut transaction = writer.begin().await?;
                let done = $update(&mut *transaction, &page, &new).await?;
                let checkpoint = format!("UPDATE checkpoint SET done = done + {done}");
                transaction.execute(AssertSqlSafe(checkpoint)).await?;
                transaction.commit().await?;
                Ok::<u64, sqlx::Error>(done)
            };
            let (done, read) = tokio::join!(write, next);
            count += done?;
            page = read?;
            match page.last() {
                Some((id, _)) => after = *id,
                None => break,
            }
        }
        (start.elapsed(), count)
    }};
}

fn columns<'r, R: sqlx::Row>(row: &'r R) -> Result<Vec<Vec<u8>>, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    Vec<u8>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    (1..=COLUMNS.len()).map(|i| row.try_get(i)).collect()
}

/// The memory of this process in KiB, now.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Both sides on one database: rates, and the most memory of a rotation.
macro_rules! measure {
    ($database:ty, $pool:expr, $rows:expr, $runs:expr, $types:expr, $update:path, $mark:literal) => {{
        let (pool, rows): (Pool<$database>, usize) = ($pool, $rows);
        let ring = TestRing::new("bench");
        let (id, bytes) = $types;
        for table in ["sealed", "bare"] {
            let columns = COLUMNS
                .map(|column| format!(", {column} {bytes} NOT NULL"))
                .concat();
            pool.execute(AssertSqlSafe(format!(
                "CREATE TABLE {table} (id {id} PRIMARY KEY{columns})"
            )))
            .await?;
        }
        pool.execute("CREATE TABLE checkpoint (done BIGINT)").await?;
        pool.execute("INSERT INTO checkpoint VALUES (0)").await?;
        let keyring = ring.ring().keyring().await?;
        for start in (0..rows).step_by(PAGE) {
            let batch: Vec<_> = (start..start + PAGE).map(row).collect();
            let sealed = Row::seal_batch(&batch, &keyring)?;
            phield::sqlx::insert_batch(&mut *pool.acquire().await?, sealed).await?;
        }
        pool.execute("INSERT INTO bare SELECT * FROM sealed").await?;
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        let most = Arc::new(AtomicU64::new(0));
        let before = memory();
        for _ in 0..$runs {
            let new = ring
                .ring()
                .successor(KeyUse::Data, Some(Suite::Aes256Gcm), None)
                .await?;
            ring.ring()
                .activate(new.key_id, Rollout::AcknowledgedByEveryInstance)
                .await?;
            let mut options = RotationOptions::default();
            (options.alone, options.acknowledged_by_every_instance) = (true, true);
            let keyring = Arc::new(ring.ring().keyring().await?);
            let schema = SchemaFile::of(&[Row::SCHEMA])?;
            let rotation = Rotation::new(pool.clone(), keyring, schema).with_options(options);
            let seen = Arc::clone(&most);
            let counting = Arc::new(OnceLock::new());
            let begun = Arc::clone(&counting);
            let start = Instant::now();
            let status = rotation
                .run(Mode::Data, move |status| {
                    seen.fetch_max(memory(), Ordering::Relaxed);
                    if status.state == "counting" {
                        begun.get_or_init(|| start.elapsed());
                    }
                })
                .await?;
            times[2].push(start.elapsed());
            // The pass that seals; the count after it is the proof, which the other side has none of.
            times[0].push(counting.get().copied().unwrap_or_default());
            assert_eq!(
                status.tables.first().map(|table| table.changed),
                Some(rows as u64),
                "every row is sealed again"
            );
            let (time, count) = bare!(pool, $update, $mark);
            times[1].push(time);
            assert_eq!(count, rows as u64, "every row is written");
        }
        (times, most.load(Ordering::Relaxed).saturating_sub(before))
    }};
}

fn print(what: &str, rows: usize, (times, memory): ([Vec<Duration>; 3], u64)) {
    let [ours, bare, all] = times.map(|mut times| {
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        f64::from(u32::try_from(rows).unwrap_or(u32::MAX)) / median.as_secs_f64()
    });
    let target = format!(">= {TARGET}");
    println!(
        "{what:<28}{ours:>12.0}{bare:>12.0}{:>8.2}{target:>9}{all:>14.0}{:>7} MiB",
        ours / bare,
        memory >> 10
    );
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Error> {
    let smoke = std::env::args().any(|argument| argument == "--test");
    let (rows, runs) = if smoke {
        (2 * PAGE, 1)
    } else if let Ok(rows) = std::env::var("ROWS") {
        (rows.parse()?, 3)
    } else {
        (500_000, 5)
    };

    let folder = tempfile::tempdir()?;
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join("bench.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Normal);
    let pool = sqlx::sqlite::SqlitePoolOptions::new()
        .max_connections(4)
        .connect_with(options)
        .await?;
    let of_sqlite = measure!(
        sqlx::Sqlite,
        pool,
        rows,
        runs,
        ("BLOB", "BLOB"),
        update_sqlite,
        "?"
    );

    let server = PostgresServer::shared();
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(4)
        .connect(&server.url())
        .await?;
    let of_postgres = measure!(
        sqlx::Postgres,
        pool,
        rows,
        runs,
        ("UUID", "BYTEA"),
        update_postgres,
        "$1"
    );

    println!(
        "\n{:<28}{:>12}{:>12}{:>8}{:>9}{:>14}{:>11}",
        format!("{rows} rows, rows/s"),
        "phield",
        "bare",
        "ratio",
        "target",
        "with count",
        "memory"
    );
    print("SQLite, rotate data", rows, of_sqlite);
    print("PostgreSQL, rotate data", rows, of_postgres);
    Ok(())
}
