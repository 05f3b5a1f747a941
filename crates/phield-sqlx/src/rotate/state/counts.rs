//! What is under which key, what does not open, and how far it is.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use super::{Record, execute, fetch, integer, string, text};
use crate::rotate::cell::Cell;
use crate::rotate::database::RotationDatabase;
use crate::rotate::error::RotationError;
use crate::rotate::noted::SHREDDED;

/// Counts in one statement: SQLite takes 32,766 values, PostgreSQL and MariaDB 65,535.
const COUNTS_OF_A_STATEMENT: usize = 500;
/// Values that are noted in one statement.
const NOTES_OF_A_STATEMENT: usize = 50;

/// What a worker did in a page.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    pub(crate) rows: u64,
    pub(crate) changed: u64,
    /// By phase of the count, column and key.
    pub(crate) counts: BTreeMap<(&'static str, String, String), u64>,
    /// What does not open.
    pub(crate) notes: Vec<Note>,
    /// Values that were opened under a compromised key, to be sealed again: written down with every try at the page, and each once.
    pub(crate) resealed: BTreeMap<(&'static str, String, String), u64>,
}

/// Rows that a pass left to the next one, as another writer was quicker every time; by pass, in place of the key.
pub(crate) const LEFT: &str = "left";

impl Done {
    /// Leaves rows to the next pass.
    pub(crate) fn leave(&mut self, rows: u64, record: &Record) {
        if rows > 0 {
            self.counts
                .insert((LEFT, String::new(), record.pass.to_string()), rows);
        }
    }
}

/// Values that were sealed again and had been under a compromised key.
pub(crate) const COMPROMISED: &str = "compromised";

/// That transactions were open which wrote into the tables before a count: what they wrote is not counted.
pub(crate) const OPEN_WRITERS: &str = "open-writers";

pub(super) async fn note_open_writers<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
) -> Result<(), RotationError> {
    let noted = BTreeMap::from([((OPEN_WRITERS, String::new(), String::new()), 1)]);
    add_counts::<DB>(connection, record, "", &noted).await
}

/// A value that a worker notes.
#[derive(Clone)]
pub(crate) struct Note {
    /// The key of its row.
    pub(crate) row_key: String,
    pub(crate) column: String,
    pub(crate) reason: &'static str,
    /// The key that it names; empty when it is no token.
    pub(crate) key: String,
    /// What it is known by.
    pub(crate) held: String,
}

// Row keys may be MRNs.
impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Note");
        debug.field("column", &self.column).field("reason", &self.reason);
        debug.finish_non_exhaustive()
    }
}

/// What is kept of a value that was noted.
#[derive(Debug, Clone)]
pub(crate) struct KeptNote {
    pub(crate) reason: String,
    pub(crate) key: String,
    pub(crate) held: String,
}

/// A value that does not open.
#[derive(Clone)]
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

// The key of a row may be an MRN.
impl std::fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Quarantined");
        debug.field("table", &self.table).field("column", &self.column);
        debug.field("reason", &self.reason).field("key", &self.key);
        debug.field("noted", &self.noted).finish_non_exhaustive()
    }
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

/// Puts values of a table into the quarantine, as a mode's; one that is there already is noted anew.
pub(crate) async fn note<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    (mode, stamp): (&str, &str),
    table: &str,
    notes: &[Note],
) -> Result<(), RotationError> {
    let set = ["reason", "key_id", "held", "noted", "stamp"].map(|column| (column, false));
    for notes in notes.chunks(NOTES_OF_A_STATEMENT) {
        let values = format!("(?, ?, ?, ?, ?, ?, ?, ?, {}, ?)", DB::NOW);
        let insert = format!(
            "INSERT INTO phield_quarantine (id, mode, tbl, row_key, col, reason, key_id, held, noted, stamp) VALUES {} {}",
            vec![values.as_str(); notes.len()].join(", "),
            upsert::<DB>(&set)
        );
        let cells = notes.iter().flat_map(|note| {
            [
                text(note_id(mode, table, &note.row_key, &note.column)),
                text(mode),
                text(table),
                text(&note.row_key),
                text(&note.column),
                text(note.reason),
                text(&note.key),
                text(&note.held),
                text(stamp),
            ]
        });
        execute::<DB>(connection, &insert, &cells.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// The id of a value in the quarantine.
pub(crate) fn note_id(mode: &str, table: &str, row_key: &str, column: &str) -> String {
    digest(&[mode, table, row_key, column])
}

/// Of these ids those that this pass has noted.
pub(crate) async fn noted<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    ids: &[&str],
) -> Result<HashMap<String, KeptNote>, RotationError> {
    let mut found = HashMap::new();
    for ids in ids.chunks(COUNTS_OF_A_STATEMENT) {
        let select = format!(
            "SELECT id, reason, key_id, held FROM phield_quarantine WHERE stamp = ? AND id IN ({})",
            vec!["?"; ids.len()].join(", ")
        );
        let cells = std::iter::once(text(record.stamp())).chain(ids.iter().map(|id| text(*id)));
        let rows = fetch::<DB>(connection, &select, &cells.collect::<Vec<_>>()).await?;
        let note = |row: &Vec<Cell>| {
            let [reason, key, held] = [1, 2, 3].map(|i| string(row.get(i)));
            let (reason, key, held) = (reason?, key?, held?);
            Some((string(row.first())?, KeptNote { reason, key, held }))
        };
        for row in &rows {
            found.extend([note(row).ok_or(RotationError::Checkpoint("phield_quarantine"))?]);
        }
    }
    Ok(found)
}

/// What a value is known by: SHA-256.
pub(crate) fn digest_of(value: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(value))
}

/// The key of a row of names that may be long: SHA-256 of them, each with its length.
pub(crate) fn digest(parts: &[&str]) -> String {
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
    /// How many rows it had when the last count began; before, when the rotation was started.
    pub total: u64,
    /// How many rows it had when the rotation was done; none before.
    pub at_end: Option<u64>,
    /// How many rows this pass has been through.
    pub rows: u64,
    /// How many rows were written, in all passes.
    pub changed: u64,
}

impl TableProgress {
    /// Whether the last pass has been through clearly fewer rows than the table had both before it and after it: then it has passed rows
    /// over, and what they are under is not known.
    ///
    /// A pass finds every row that is there all the time. It can find fewer rows than there were at either end when many are deleted
    /// ahead of it and as many inserted behind it, so 100 rows, or one in a hundred, may be missing.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let least = self.total.min(self.at_end.unwrap_or(0));
        let moved = (least / 100).max(100);
        self.rows.saturating_add(moved) < least
    }
}

pub(crate) async fn progress<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    id: &str,
) -> Result<Vec<TableProgress>, RotationError> {
    let rows = fetch::<DB>(
        connection,
        "SELECT t.tbl, t.row_total, t.row_count, t.changed, s.row_count, s.changed, t.row_end FROM phield_rotation_table t \
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
                at_end: integer(row.get(6)).and_then(|n| u64::try_from(n).ok()),
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
    /// When it was counted, and as what: `before`; `after`; and apart from `after`, what the count found under old keys and in
    /// quarantine, by its reason as in [`Quarantined`], or `shredded` where the subject is. `compromised`: what all rotations of this
    /// database have opened under the key while it was compromised, and sealed again.
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

impl KeyCount {
    /// Whether both are of the same values.
    fn is_beside(&self, other: &Self) -> bool {
        (&self.phase, &self.table, &self.column, &self.key)
            == (&other.phase, &other.table, &other.column, &other.key)
    }
}

pub(crate) async fn counts<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    id: &str,
) -> Result<Vec<KeyCount>, RotationError> {
    let rows = fetch::<DB>(
        connection,
        "SELECT phase, tbl, col, key_id, n FROM phield_rotation_count WHERE rotation = ? OR phase = ? \
         ORDER BY tbl, col, key_id, phase",
        &[text(id), text(COMPROMISED)],
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
    let mut counts: Vec<KeyCount> = Vec::new();
    for row in &rows {
        let count = count(row).ok_or(RotationError::Checkpoint("phield_rotation_count"))?;
        match counts.last_mut() {
            // Of several rotations.
            Some(last) if last.is_beside(&count) => last.count = last.count.saturating_add(count.count),
            _ => counts.push(count),
        }
    }
    Ok(counts)
}

pub(crate) async fn quarantine<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    limit: u32,
) -> Result<Vec<Quarantined>, RotationError> {
    let text = format!(
        "SELECT tbl, row_key, col, reason, key_id, noted FROM phield_quarantine WHERE reason <> '{SHREDDED}' \
         ORDER BY tbl, row_key, col LIMIT {limit}"
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
        "SELECT tbl, col, reason, key_id, count(*) FROM phield_quarantine WHERE mode = ? AND reason <> ? \
         GROUP BY tbl, col, reason, key_id ORDER BY 1, 2, 3, 4",
        &[text(record.mode.as_str()), text(SHREDDED)],
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
