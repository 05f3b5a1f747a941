//! The state of a rotation in the database: its checkpoint, the shares of its workers, its counts, its quarantine.
//!
//! | table | a row is |
//! |---|---|
//! | `phield_rotation` | a rotation: mode, state, pass and phase, who, the report at its end |
//! | `phield_rotation_table` | how far the tables of a pass were given out in shares |
//! | `phield_rotation_share` | a share of a table, leased to one worker: bounds, checkpoint, lease |
//! | `phield_rotation_count` | how many values of a column are under a key |
//! | `phield_quarantine` | a value that does not open: table, row, column, reason |
//!
//! A worker takes the next share in a transaction of its own, and writes its checkpoint in the transaction of every page, so
//! that the two agree whenever the power goes. A share whose lease has run out is taken by whoever asks next.

#[cfg(all(test, feature = "sqlite"))]
mod tests;

mod catalog;
mod clock;
mod counts;
mod share;

use sqlx::{AssertSqlSafe, Connection as _, Pool, Transaction};

use super::cell::{Cell, Cursor};
use super::database::RotationDatabase;
use super::error::RotationError;
use crate::backend::Reuse;
use crate::statement::Statement;

pub(crate) use catalog::{
    AnyColumn, check_columns, check_seen, columns_of_all, hidden, open_writers, own_schema, place, row_total,
    unique_keys,
};
pub(crate) use clock::{Clocks, clocks, now};
use counts::note_open_writers;
pub(crate) use counts::{
    COMPROMISED, Done, LEFT, Note, OPEN_WRITERS, counts, digest, digest_of, note, note_id, noted, progress,
    quarantine, quarantined_by_reason,
};
pub use counts::{KeyCount, QuarantineCount, Quarantined, TableProgress};
pub(crate) use share::{
    Claim, Share, checkpoint, claim, end_leases, holders, last_lease, reload, renew, renew_leases,
};

/// What is done with the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the modes of the command line")]
pub enum Mode {
    /// Rows are sealed again under the active data key.
    Data,
    /// Index values are computed again under the active pepper.
    Pepper,
    /// Index values are computed where there are none: for a new index with a column of its own. What is in use already in a unique
    /// index goes into quarantine as `duplicate`.
    Index,
    /// Everything is opened, nothing is written.
    Verify,
    /// Nothing is opened: the keys of all tokens and index values are counted.
    Scan,
}

impl Mode {
    /// The name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Pepper => "pepper",
            Self::Index => "index",
            Self::Verify => "verify",
            Self::Scan => "scan",
        }
    }

    pub(crate) fn of(text: &str) -> Option<Self> {
        [Self::Data, Self::Pepper, Self::Index, Self::Verify, Self::Scan]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }

    /// Whether rows are written.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Data | Self::Pepper | Self::Index)
    }

    /// Whether its one pass is the count.
    pub(crate) const fn counts_at_once(self) -> bool {
        matches!(self, Self::Verify | Self::Scan)
    }
}

/// What a pass over the tables does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Work,
    Count,
    Done,
    /// Given up by an operator.
    Cancelled,
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Count => "count",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Work, Self::Count, Self::Done, Self::Cancelled]
            .into_iter()
            .find(|phase| phase.as_str() == text)
    }
}

/// A rotation, as its row has it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) mode: Mode,
    pub(crate) paused: bool,
    pub(crate) started: i64,
    /// When its passes may begin: one hard TTL after the new key was seen active.
    pub(crate) ready: i64,
    pub(crate) ended: i64,
    pub(crate) who: String,
    pub(crate) epoch: i64,
    pub(crate) pass: i64,
    pub(crate) phase: Phase,
    /// Digest of the schema and the tables that it was started with.
    pub(crate) shape: String,
    /// When the count began, by the clock that is behind.
    pub(crate) counting_since: i64,
    /// By how many seconds the clocks were apart when the count began, or when it ended.
    pub(crate) clocks: i64,
    pub(crate) report: String,
}

const RECORD: &str =
    "id, mode, paused, started, ready, ended, who, epoch, pass, phase, shape, counting_since, clocks, report";

pub(crate) fn text(value: impl Into<String>) -> Cell {
    Cell::Text(value.into())
}

/// A statement with a value for every `?`.
pub(crate) fn sql<DB: RotationDatabase>(sql: &str, cells: &[Cell]) -> Statement<DB> {
    let mut statement = Statement::new("");
    let mut cells = cells.iter();
    for (i, part) in sql.split('?').enumerate() {
        if i > 0 {
            DB::bind_cell(&mut statement, cells.next().unwrap_or(&Cell::Null));
        }
        statement.push(part);
    }
    statement
}

pub(crate) async fn execute<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    text: &str,
    cells: &[Cell],
) -> Result<u64, RotationError> {
    Ok(DB::execute(sql(text, cells), Reuse::Likely, connection).await?)
}

pub(crate) async fn fetch<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    text: &str,
    cells: &[Cell],
) -> Result<Vec<Vec<Cell>>, RotationError> {
    Ok(DB::fetch(sql(text, cells), Reuse::Likely, usize::MAX, connection).await?)
}

/// A transaction that will write.
pub(crate) async fn begin<DB: RotationDatabase>(
    connection: &mut DB::Connection,
) -> Result<Transaction<'_, DB>, RotationError> {
    Ok(connection.begin_with(AssertSqlSafe(DB::BEGIN)).await?)
}

/// The tables of rotations, made where they are not there.
pub(crate) async fn create<DB: RotationDatabase>(pool: &Pool<DB>) -> Result<(), RotationError> {
    let mut connection = pool.acquire().await?;
    let [name, long] = DB::TEXT_TYPES;
    let tables = [
        format!(
            "phield_rotation (id {name} NOT NULL PRIMARY KEY, mode {name} NOT NULL, open_slot BIGINT UNIQUE, paused BIGINT NOT NULL, \
             started BIGINT NOT NULL, ready BIGINT NOT NULL, ended BIGINT NOT NULL, who {name} NOT NULL, epoch BIGINT NOT NULL, \
             pass BIGINT NOT NULL, phase {name} NOT NULL, shape {name} NOT NULL, counting_since BIGINT NOT NULL, \
             clocks BIGINT NOT NULL, report {long} NOT NULL)"
        ),
        format!(
            "phield_rotation_table (rotation {name} NOT NULL, tbl {name} NOT NULL, place {long} NOT NULL, \
             exhausted BIGINT NOT NULL, shares BIGINT NOT NULL, row_total BIGINT NOT NULL, row_end BIGINT NOT NULL, \
             row_count BIGINT NOT NULL, changed BIGINT NOT NULL, PRIMARY KEY (rotation, tbl))"
        ),
        format!(
            "phield_rotation_share (rotation {name} NOT NULL, tbl {name} NOT NULL, share_no BIGINT NOT NULL, place {long} NOT NULL, \
             until {long} NOT NULL, owner {name} NOT NULL, lease BIGINT NOT NULL, row_count BIGINT NOT NULL, changed BIGINT NOT NULL, \
             PRIMARY KEY (rotation, tbl, share_no))"
        ),
        format!(
            "phield_rotation_count (id {name} NOT NULL PRIMARY KEY, rotation {name} NOT NULL, phase {name} NOT NULL, \
             tbl {name} NOT NULL, col {name} NOT NULL, key_id {name} NOT NULL, n BIGINT NOT NULL)"
        ),
        format!("phield_rotation_key (key_id {name} NOT NULL PRIMARY KEY, seen BIGINT NOT NULL)"),
        format!(
            "phield_quarantine (id {name} NOT NULL PRIMARY KEY, mode {name} NOT NULL, tbl {name} NOT NULL, row_key {long} NOT NULL, \
             col {name} NOT NULL, reason {name} NOT NULL, key_id {name} NOT NULL, held {name} NOT NULL, noted BIGINT NOT NULL, stamp {name} NOT NULL)"
        ),
    ];
    for table in tables {
        let made = sql::<DB>(&format!("CREATE TABLE IF NOT EXISTS {table}"), &[]);
        if let Err(error) = DB::execute(made, Reuse::Unlikely, &mut connection).await {
            // PostgreSQL refuses one of two that make it at the same moment; then it is there.
            let name = table.split(' ').next().unwrap_or_default();
            let probe = sql::<DB>(&format!("SELECT 1 FROM {name} WHERE 1 = 0"), &[]);
            let there = DB::fetch(probe, Reuse::Unlikely, usize::MAX, &mut connection).await;
            there.map_err(|_| error)?;
        }
    }
    Ok(())
}

/// When these keys were first seen active by a rotation of this database: the latest of them, in Unix seconds.
pub(crate) async fn seen_active<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    keys: &[String],
) -> Result<i64, RotationError> {
    let insert = format!(
        "INSERT INTO phield_rotation_key (key_id, seen) VALUES (?, {})",
        DB::NOW
    );
    let mut latest = 0;
    for key in keys {
        let select = "SELECT seen FROM phield_rotation_key WHERE key_id = ?";
        let mut seen = fetch::<DB>(connection, select, &[text(key)]).await?;
        if seen.is_empty() {
            match execute::<DB>(connection, &insert, &[text(key)]).await {
                Err(RotationError::Database(error)) if error.is_unique_violation() => {}
                other => drop(other?),
            }
            seen = fetch::<DB>(connection, select, &[text(key)]).await?;
        }
        latest = latest.max(
            seen.first()
                .and_then(|row| integer(row.first()))
                .unwrap_or(i64::MAX),
        );
    }
    Ok(latest)
}

pub(crate) async fn first_seen<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    key: &str,
) -> Result<Option<i64>, RotationError> {
    let select = "SELECT seen FROM phield_rotation_key WHERE key_id = ?";
    let rows = fetch::<DB>(connection, select, &[text(key)]).await?;
    Ok(rows.first().and_then(|row| integer(row.first())))
}

/// Keeps the report of a rotation that is done.
pub(crate) async fn keep_report<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    id: &str,
    report: &str,
) -> Result<(), RotationError> {
    let update = "UPDATE phield_rotation SET report = ? WHERE id = ?";
    execute::<DB>(connection, update, &[text(report), text(id)])
        .await
        .map(drop)
}

/// Whether the tables of rotations are there. What may not be seen, or cannot be now, is an error.
pub(crate) async fn exists<DB: RotationDatabase>(
    connection: &mut DB::Connection,
) -> Result<bool, RotationError> {
    match fetch::<DB>(connection, "SELECT id FROM phield_rotation LIMIT 1", &[]).await {
        Ok(_) => Ok(true),
        Err(RotationError::Database(error)) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

fn integer(cell: Option<&Cell>) -> Option<i64> {
    match cell? {
        Cell::Integer(value) => Some(*value),
        _ => None,
    }
}

fn string(cell: Option<&Cell>) -> Option<String> {
    match cell? {
        Cell::Text(value) => Some(value.clone()),
        _ => None,
    }
}

fn cursor(text: &str) -> Result<Option<Cursor>, RotationError> {
    if text.is_empty() {
        return Ok(None);
    }
    Cursor::from_text(text)
        .map(Some)
        .ok_or(RotationError::Checkpoint("phield_rotation_share"))
}

fn written(cursor: Option<&Cursor>) -> Cell {
    text(cursor.map(Cursor::to_text).unwrap_or_default())
}

impl Record {
    fn read(row: &[Cell]) -> Option<Self> {
        let int = |i: usize| integer(row.get(i));
        let str = |i: usize| string(row.get(i));
        Some(Self {
            id: str(0)?,
            mode: Mode::of(&str(1)?)?,
            paused: int(2)? != 0,
            started: int(3)?,
            ready: int(4)?,
            ended: int(5)?,
            who: str(6)?,
            epoch: int(7)?,
            pass: int(8)?,
            phase: Phase::of(&str(9)?)?,
            shape: str(10)?,
            counting_since: int(11)?,
            clocks: int(12)?,
            report: str(13)?,
        })
    }

    fn of_rows(rows: &[Vec<Cell>]) -> Result<Option<Self>, RotationError> {
        let record = rows
            .first()
            .map(|row| Self::read(row).ok_or(RotationError::Checkpoint("phield_rotation")));
        record.transpose()
    }

    /// What values of a quarantine are stamped with in this pass.
    pub(crate) fn stamp(&self) -> String {
        format!("{} {}", self.id, self.pass)
    }
}

/// How a phase begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    /// The epoch of the ring.
    pub(crate) epoch: i64,
    pub(crate) clocks: Clocks,
    /// Whether transactions that wrote into the tables before are open still: what they wrote is not counted.
    pub(crate) open_writers: bool,
}

/// The rotation that is under way.
pub(crate) async fn open<DB: RotationDatabase>(
    connection: &mut DB::Connection,
) -> Result<Option<Record>, RotationError> {
    let rows = fetch::<DB>(
        connection,
        &format!("SELECT {RECORD} FROM phield_rotation WHERE open_slot = 1"),
        &[],
    )
    .await?;
    Record::of_rows(&rows)
}

/// The last rotation, under way or not.
pub(crate) async fn last<DB: RotationDatabase>(
    connection: &mut DB::Connection,
) -> Result<Option<Record>, RotationError> {
    let text = format!(
        "SELECT {RECORD} FROM phield_rotation ORDER BY COALESCE(open_slot, 0) DESC, started DESC, id DESC LIMIT 1"
    );
    let rows = fetch::<DB>(connection, &text, &[]).await?;
    Record::of_rows(&rows)
}

pub(crate) async fn by_id<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    id: &str,
) -> Result<Record, RotationError> {
    let text = format!("SELECT {RECORD} FROM phield_rotation WHERE id = ?");
    let rows = fetch::<DB>(connection, &text, &[self::text(id)]).await?;
    Record::of_rows(&rows)?.ok_or(RotationError::NoRotation)
}

/// Starts a rotation, or joins the one of the same mode that is under way.
pub(crate) async fn start<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    tables: &[(String, i64)],
    open_writers: bool,
) -> Result<Record, RotationError> {
    let mut transaction = begin::<DB>(connection).await?;
    let under_way = open::<DB>(&mut transaction).await?;
    if let Some(under_way) = under_way {
        transaction.commit().await?;
        if under_way.mode != record.mode {
            return Err(RotationError::UnderWay {
                mode: under_way.mode.as_str().to_owned(),
                since: under_way.started,
            });
        }
        // What a pass has gone through already, it has gone through with the other schema.
        if under_way.shape != record.shape {
            return Err(RotationError::OtherSchema {
                mode: under_way.mode.as_str().to_owned(),
                since: under_way.started,
            });
        }
        return Ok(under_way);
    }
    let cells = [
        text(&record.id),
        text(record.mode.as_str()),
        Cell::Integer(record.started),
        Cell::Integer(record.ready),
        text(&record.who),
        Cell::Integer(record.epoch),
        text(record.phase.as_str()),
        text(&record.shape),
        Cell::Integer(record.counting_since),
        Cell::Integer(record.clocks),
    ];
    let inserted = execute::<DB>(
        &mut transaction,
        "INSERT INTO phield_rotation (id, mode, open_slot, paused, started, ready, ended, who, epoch, pass, phase, shape, \
         counting_since, clocks, report) VALUES (?, ?, 1, 0, ?, ?, 0, ?, ?, 1, ?, ?, ?, ?, '')",
        &cells,
    )
    .await;
    match inserted {
        // Somebody else was quicker.
        Err(RotationError::Database(error)) if error.is_unique_violation() => {
            let _ = transaction.rollback().await;
            return Box::pin(start::<DB>(connection, record, tables, open_writers)).await;
        }
        other => other?,
    };
    for (table, total) in tables {
        execute::<DB>(
            &mut transaction,
            "INSERT INTO phield_rotation_table (rotation, tbl, place, exhausted, shares, row_total, row_end, row_count, changed) \
             VALUES (?, ?, '', 0, 0, ?, -1, 0, 0)",
            &[text(&record.id), text(table), Cell::Integer(*total)],
        )
        .await?;
    }
    if open_writers {
        note_open_writers::<DB>(&mut transaction, record).await?;
    }
    transaction.commit().await?;
    by_id::<DB>(connection, &record.id).await
}

/// Pauses the rotation that is under way, or ends the pause.
pub(crate) async fn set_paused<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    paused: bool,
) -> Result<u64, RotationError> {
    let cells = [Cell::Integer(i64::from(paused))];
    execute::<DB>(
        connection,
        "UPDATE phield_rotation SET paused = ? WHERE open_slot = 1",
        &cells,
    )
    .await
}

/// Ends the rotation that is under way as it is. The rows that it wrote stay as they are; a worker that is at a page finds its share
/// gone, and writes nothing more.
pub(crate) async fn cancel<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    id: &str,
) -> Result<(), RotationError> {
    let mut transaction = begin::<DB>(connection).await?;
    let update = format!(
        "UPDATE phield_rotation SET phase = ?, open_slot = NULL, ended = {} WHERE id = ? AND open_slot = 1",
        DB::NOW
    );
    let cells = [text(Phase::Cancelled.as_str()), text(id)];
    execute::<DB>(&mut transaction, &update, &cells).await?;
    // Whoever takes a share now has locked its table: it is waited for, and its share deleted.
    let exhausted = "UPDATE phield_rotation_table SET exhausted = 1 WHERE rotation = ?";
    execute::<DB>(&mut transaction, exhausted, &[text(id)]).await?;
    let delete = "DELETE FROM phield_rotation_share WHERE rotation = ?";
    execute::<DB>(&mut transaction, delete, &[text(id)]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Ends a pass: on to the next phase, with every table to be gone through again. `totals`: how many rows the tables have, where it is a
/// count that begins or the end. False: somebody else did it.
pub(crate) async fn next_phase<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    next: (Phase, i64),
    beginning: Beginning,
    totals: &[(String, i64)],
) -> Result<bool, RotationError> {
    let mut transaction = begin::<DB>(connection).await?;
    let is_taken = enter::<DB>(&mut transaction, record, next, beginning, totals).await?;
    if is_taken && record.phase == Phase::Work {
        forget_repaired::<DB>(&mut transaction, record).await?;
    }
    transaction.commit().await?;
    Ok(is_taken)
}

/// Begins a count anew, as a pass of its own: what was counted so far is forgotten, and whoever counts still finds its share gone.
/// False: somebody else did it.
pub(crate) async fn count_anew<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    beginning: Beginning,
    totals: &[(String, i64)],
) -> Result<bool, RotationError> {
    let phase = match record.mode {
        Mode::Scan => Phase::Count,
        // What the count goes by, and what it looks values up in, is of the pass before it.
        _ => Phase::Work,
    };
    let mut transaction = begin::<DB>(connection).await?;
    let is_taken = enter::<DB>(
        &mut transaction,
        record,
        (phase, record.pass + 1),
        beginning,
        totals,
    )
    .await?;
    transaction.commit().await?;
    Ok(is_taken)
}

/// From the phase and pass of a record to another one.
async fn enter<DB: RotationDatabase>(
    transaction: &mut DB::Connection,
    record: &Record,
    (phase, pass): (Phase, i64),
    beginning: Beginning,
    totals: &[(String, i64)],
) -> Result<bool, RotationError> {
    let Beginning { epoch, clocks, .. } = beginning;
    let is_done = phase == Phase::Done;
    let counts = phase == Phase::Count || record.mode.counts_at_once();
    let (since, apart) = match phase {
        Phase::Done => (record.counting_since, clocks.apart.max(record.clocks)),
        _ if counts => (clocks.earlier, clocks.apart),
        _ => (record.counting_since, record.clocks),
    };
    let slot = if is_done { "NULL" } else { "1" };
    let ended = if is_done { DB::NOW } else { "0" };
    let update = format!(
        "UPDATE phield_rotation SET phase = ?, pass = ?, epoch = ?, counting_since = ?, clocks = ?, open_slot = {slot}, ended = {ended} \
         WHERE id = ? AND phase = ? AND pass = ? AND open_slot = 1"
    );
    let cells = [
        text(phase.as_str()),
        Cell::Integer(pass),
        // What is counted is judged by the states that keys have when the count begins.
        Cell::Integer(if phase == Phase::Done { record.epoch } else { epoch }),
        Cell::Integer(since),
        Cell::Integer(apart),
        text(&record.id),
        text(record.phase.as_str()),
        Cell::Integer(record.pass),
    ];
    if execute::<DB>(transaction, &update, &cells).await? != 1 {
        return Ok(false);
    }
    let id = text(&record.id);
    if !is_done {
        let of_rotation = std::slice::from_ref(&id);
        // In this order whoever takes a share now, or writes one down, is waited for; what it has counted is seen then.
        let reset = "UPDATE phield_rotation_table SET place = '', exhausted = 0, shares = 0, row_count = 0 WHERE rotation = ?";
        execute::<DB>(transaction, reset, of_rotation).await?;
        let delete = "DELETE FROM phield_rotation_share WHERE rotation = ?";
        execute::<DB>(transaction, delete, of_rotation).await?;
        // A count makes all anew but what the passes before it have done.
        let forgotten = match (phase, record.mode.counts_at_once()) {
            (_, true) => "1 = 1",
            (Phase::Count, false) => "phase <> 'before'",
            (_, false) => "phase = 'before'",
        };
        let delete =
            format!("DELETE FROM phield_rotation_count WHERE rotation = ? AND {forgotten} AND phase <> ?");
        execute::<DB>(transaction, &delete, &[id, text(COMPROMISED)]).await?;
    }
    if beginning.open_writers {
        note_open_writers::<DB>(transaction, record).await?;
    }
    let column = if is_done { "row_end" } else { "row_total" };
    let update = format!("UPDATE phield_rotation_table SET {column} = ? WHERE rotation = ? AND tbl = ?");
    for (table, rows) in totals {
        let cells = [Cell::Integer(*rows), text(&record.id), text(table)];
        execute::<DB>(transaction, &update, &cells).await?;
    }
    Ok(true)
}

/// What a whole pass has not noted again is repaired, or gone.
async fn forget_repaired<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
) -> Result<(), RotationError> {
    execute::<DB>(
        connection,
        "DELETE FROM phield_quarantine WHERE mode = ? AND stamp <> ? \
         AND tbl IN (SELECT tbl FROM phield_rotation_table WHERE rotation = ?)",
        &[text(record.mode.as_str()), text(record.stamp()), text(&record.id)],
    )
    .await
    .map(drop)
}
