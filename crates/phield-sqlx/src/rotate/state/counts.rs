//! What is under which key, what does not open, and how far it is.

use std::collections::BTreeMap;

use super::{Record, execute, fetch, integer, string, text};
use crate::rotate::cell::Cell;
use crate::rotate::database::RotationDatabase;
use crate::rotate::error::RotationError;

/// Counts in one statement: SQLite takes 32,766 values, PostgreSQL and MariaDB 65,535.
const COUNTS_OF_A_STATEMENT: usize = 500;

/// What a worker did in a page.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    pub(crate) rows: u64,
    pub(crate) changed: u64,
    /// By phase of the count, column and key.
    pub(crate) counts: BTreeMap<(&'static str, String, String), u64>,
    pub(crate) quarantined: Vec<Quarantined>,
}

/// A value that does not open.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs, reason = "a row of its table")]
pub struct Quarantined {
    /// The table's logical name.
    pub table: String,
    /// The key of the row, as the checkpoint writes it. It may be an MRN: do not log it.
    pub row_key: String,
    /// The column's name in SQL.
    pub column: String,
    /// Why: `unknown-key`, `destroyed-key`, `authentication`, `malformed` or `duplicate`.
    pub reason: String,
    /// The key that the token names, in 8 hex digits; empty when it is no token.
    pub key: String,
    /// When it was noted, in Unix seconds.
    pub noted: i64,
}

/// `ON CONFLICT …` of a database, for a table whose key is `id`.
pub(super) fn upsert<DB: RotationDatabase>(set: &[(&str, bool)]) -> String {
    let [before, after] = DB::EXCLUDED;
    let set = set.iter().map(|(column, adds)| {
        let new = format!("{before}{column}{after}");
        if *adds {
            // Both tables have the column.
            let old = if before.starts_with("excluded") {
                format!("phield_rotation_count.{column}")
            } else {
                (*column).to_owned()
            };
            format!("{column} = {old} + {new}")
        } else {
            format!("{column} = {new}")
        }
    });
    let set = set.collect::<Vec<_>>().join(", ");
    DB::ON_CONFLICT.replace("{key}", "id").replace("{set}", &set)
}

pub(super) async fn add_counts<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    table: &str,
    counts: &BTreeMap<(&'static str, String, String), u64>,
) -> Result<(), RotationError> {
    let mut cells = Vec::with_capacity(counts.len() * 7);
    for ((phase, column, key), n) in counts {
        cells.extend([
            text(digest(&[&record.id, phase, table, column, key])),
            text(&record.id),
            text(*phase),
            text(table),
            text(column),
            text(key),
            Cell::Integer(i64::try_from(*n).unwrap_or(i64::MAX)),
        ]);
    }
    // A column that holds something else than phield's values looks like as many keys as it has values.
    for cells in cells.chunks(7 * COUNTS_OF_A_STATEMENT) {
        let values = vec!["(?, ?, ?, ?, ?, ?, ?)"; cells.len() / 7].join(", ");
        let insert = format!(
            "INSERT INTO phield_rotation_count (id, rotation, phase, tbl, col, key_id, n) VALUES {values} {}",
            upsert::<DB>(&[("n", true)])
        );
        execute::<DB>(connection, &insert, cells).await?;
    }
    Ok(())
}

pub(super) async fn note<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    quarantined: &[Quarantined],
) -> Result<(), RotationError> {
    let set = ["reason", "key_id", "noted", "stamp"].map(|column| (column, false));
    let insert = format!(
        "INSERT INTO phield_quarantine (id, mode, tbl, row_key, col, reason, key_id, noted, stamp) \
         VALUES (?, ?, ?, ?, ?, ?, ?, {}, ?) {}",
        DB::NOW,
        upsert::<DB>(&set)
    );
    for value in quarantined {
        let mode = record.mode.as_str();
        let cells = [
            text(digest(&[mode, &value.table, &value.row_key, &value.column])),
            text(mode),
            text(&value.table),
            text(&value.row_key),
            text(&value.column),
            text(&value.reason),
            text(&value.key),
            text(record.stamp()),
        ];
        execute::<DB>(connection, &insert, &cells).await?;
    }
    Ok(())
}

/// The key of a row of names that may be long: SHA-256 of them, each with its length.
pub(crate) fn digest(parts: &[&str]) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    data_encoding::HEXLOWER.encode(&hash.finalize())
}

/// How far a table is.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs, reason = "a row of its table")]
pub struct TableProgress {
    /// The table's logical name.
    pub table: String,
    /// How many rows it had when the rotation was started; an estimate on PostgreSQL and MariaDB.
    pub total: u64,
    /// How many rows this pass has been through.
    pub rows: u64,
    /// How many rows were written, in all passes.
    pub changed: u64,
}

pub(crate) async fn progress<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    id: &str,
) -> Result<Vec<TableProgress>, RotationError> {
    let rows = fetch::<DB>(
        connection,
        "SELECT t.tbl, t.row_total, t.row_count, t.changed, s.row_count, s.changed FROM phield_rotation_table t \
         LEFT JOIN phield_rotation_share s ON s.rotation = t.rotation AND s.tbl = t.tbl WHERE t.rotation = ? ORDER BY t.tbl",
        &[text(id)],
    )
    .await?;
    let mut tables: Vec<TableProgress> = Vec::new();
    for row in &rows {
        let int = |i: usize| {
            integer(row.get(i))
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(0)
        };
        let table = string(row.first()).ok_or(RotationError::Checkpoint("phield_rotation_table"))?;
        if tables.last().is_none_or(|last| last.table != table) {
            let (total, rows, changed) = (int(1), int(2), int(3));
            tables.push(TableProgress {
                table,
                total,
                rows,
                changed,
            });
        }
        if let Some(last) = tables.last_mut() {
            last.rows += int(4);
            last.changed += int(5);
        }
    }
    Ok(tables)
}

/// How many values of a column are under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a row of its table")]
pub struct KeyCount {
    /// `before`, `after` or `shredded`.
    pub phase: String,
    /// The table's logical name.
    pub table: String,
    /// The column's name in SQL.
    pub column: String,
    /// The key, in 8 hex digits; `-` for what is no token or index value.
    pub key: String,
    /// How many.
    pub count: u64,
}

pub(crate) async fn counts<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    id: &str,
) -> Result<Vec<KeyCount>, RotationError> {
    let rows = fetch::<DB>(
        connection,
        "SELECT phase, tbl, col, key_id, n FROM phield_rotation_count WHERE rotation = ? ORDER BY tbl, col, key_id, phase",
        &[text(id)],
    )
    .await?;
    let count = |row: &Vec<Cell>| {
        Some(KeyCount {
            phase: string(row.first())?,
            table: string(row.get(1))?,
            column: string(row.get(2))?,
            key: string(row.get(3))?,
            count: u64::try_from(integer(row.get(4))?).ok()?,
        })
    };
    let counts = rows.iter().map(count).collect::<Option<_>>();
    counts.ok_or(RotationError::Checkpoint("phield_rotation_count"))
}

pub(crate) async fn quarantine<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    limit: u32,
) -> Result<Vec<Quarantined>, RotationError> {
    let text = format!(
        "SELECT tbl, row_key, col, reason, key_id, noted FROM phield_quarantine ORDER BY tbl, row_key, col LIMIT {limit}"
    );
    let rows = fetch::<DB>(connection, &text, &[]).await?;
    let value = |row: &Vec<Cell>| {
        Some(Quarantined {
            table: string(row.first())?,
            row_key: string(row.get(1))?,
            column: string(row.get(2))?,
            reason: string(row.get(3))?,
            key: string(row.get(4))?,
            noted: integer(row.get(5))?,
        })
    };
    let values = rows.iter().map(value).collect::<Option<_>>();
    values.ok_or(RotationError::Checkpoint("phield_quarantine"))
}

/// How many values of a column are in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a row of its table")]
pub struct QuarantineCount {
    /// The table's logical name.
    pub table: String,
    /// The column's name in SQL.
    pub column: String,
    /// Why, as in [`Quarantined`].
    pub reason: String,
    /// The key that the tokens name, in 8 hex digits; empty for what is no token.
    pub key: String,
    /// How many.
    pub count: u64,
}

/// How many values are in quarantine, by column, reason and key.
pub(crate) async fn quarantined_by_reason<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
) -> Result<Vec<QuarantineCount>, RotationError> {
    let rows = fetch::<DB>(
        connection,
        "SELECT tbl, col, reason, key_id, count(*) FROM phield_quarantine WHERE mode = ? \
         GROUP BY tbl, col, reason, key_id ORDER BY 1, 2, 3, 4",
        &[text(record.mode.as_str())],
    )
    .await?;
    let value = |row: &Vec<Cell>| {
        Some(QuarantineCount {
            table: string(row.first())?,
            column: string(row.get(1))?,
            reason: string(row.get(2))?,
            key: string(row.get(3))?,
            count: u64::try_from(integer(row.get(4))?).ok()?,
        })
    };
    let values = rows.iter().map(value).collect::<Option<_>>();
    values.ok_or(RotationError::Checkpoint("phield_quarantine"))
}
