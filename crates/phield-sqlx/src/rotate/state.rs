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

use sqlx::{AssertSqlSafe, Connection as _, Pool, Transaction};

use super::cell::{Cell, Cursor};
use super::database::RotationDatabase;
use super::error::RotationError;
use crate::backend::Reuse;
use crate::statement::{Statement, quoted};

/// What is done with the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the modes of the command line")]
pub enum Mode {
    /// Rows are sealed again under the active data key.
    Data,
    /// Index values are computed again under the active pepper.
    Pepper,
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
            Self::Verify => "verify",
            Self::Scan => "scan",
        }
    }

    pub(crate) fn of(text: &str) -> Option<Self> {
        [Self::Data, Self::Pepper, Self::Verify, Self::Scan]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }

    /// Whether rows are written.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Data | Self::Pepper)
    }
}

/// What a pass over the tables does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Work,
    Count,
    Done,
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Count => "count",
            Self::Done => "done",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Work, Self::Count, Self::Done]
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
    /// When the count began.
    pub(crate) counting_since: i64,
    pub(crate) report: String,
}

const RECORD: &str =
    "id, mode, paused, started, ready, ended, who, epoch, pass, phase, counting_since, report";

/// A share of a table.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) table: String,
    pub(crate) number: i64,
    /// The last key that is done.
    pub(crate) after: Option<Cursor>,
    /// The last key that belongs to it; none: to the end of the table.
    pub(crate) until: Option<Cursor>,
    pub(crate) owner: String,
    /// How long it stays with a worker that does not write, in seconds.
    pub(crate) lease: i64,
}

/// What there is to do for a worker.
#[derive(Debug)]
pub(crate) enum Claim {
    Share(Share),
    /// All is given out; other workers have shares.
    Wait,
    /// The pass is through.
    Through,
}

/// What a worker did in a page.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    pub(crate) rows: u64,
    pub(crate) changed: u64,
    /// By phase of the count, column and key.
    pub(crate) counts: std::collections::BTreeMap<(&'static str, String, String), u64>,
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
             pass BIGINT NOT NULL, phase {name} NOT NULL, counting_since BIGINT NOT NULL, report {long} NOT NULL)"
        ),
        format!(
            "phield_rotation_table (rotation {name} NOT NULL, tbl {name} NOT NULL, place {long} NOT NULL, \
             exhausted BIGINT NOT NULL, shares BIGINT NOT NULL, row_total BIGINT NOT NULL, row_count BIGINT NOT NULL, \
             changed BIGINT NOT NULL, PRIMARY KEY (rotation, tbl))"
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
             col {name} NOT NULL, reason {name} NOT NULL, key_id {name} NOT NULL, noted BIGINT NOT NULL, stamp {name} NOT NULL)"
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

pub(crate) async fn has_seen<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    key: &str,
) -> Result<bool, RotationError> {
    let select = "SELECT seen FROM phield_rotation_key WHERE key_id = ?";
    Ok(!fetch::<DB>(connection, select, &[text(key)]).await?.is_empty())
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

/// Whether the tables of rotations are there.
pub(crate) async fn exists<DB: RotationDatabase>(connection: &mut DB::Connection) -> bool {
    let probe = fetch::<DB>(connection, "SELECT id FROM phield_rotation LIMIT 1", &[]).await;
    probe.is_ok()
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
            counting_since: int(10)?,
            report: str(11)?,
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

/// Unix seconds by the clock of the database.
pub(crate) async fn now<DB: RotationDatabase>(connection: &mut DB::Connection) -> Result<i64, RotationError> {
    let rows = fetch::<DB>(connection, &format!("SELECT {}", DB::NOW), &[]).await?;
    let now = rows.first().and_then(|row| integer(row.first()));
    now.ok_or(RotationError::Checkpoint("(clock)"))
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
    let text = format!("SELECT {RECORD} FROM phield_rotation ORDER BY started DESC, id DESC LIMIT 1");
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
    ];
    let inserted = execute::<DB>(
        &mut transaction,
        "INSERT INTO phield_rotation (id, mode, open_slot, paused, started, ready, ended, who, epoch, pass, phase, counting_since, \
         report) VALUES (?, ?, 1, 0, ?, ?, 0, ?, ?, 1, ?, 0, '')",
        &cells,
    )
    .await;
    match inserted {
        // Somebody else was quicker.
        Err(RotationError::Database(error)) if error.is_unique_violation() => {
            let _ = transaction.rollback().await;
            return Box::pin(start::<DB>(connection, record, tables)).await;
        }
        other => other?,
    };
    for (table, total) in tables {
        execute::<DB>(
            &mut transaction,
            "INSERT INTO phield_rotation_table (rotation, tbl, place, exhausted, shares, row_total, row_count, changed) \
             VALUES (?, ?, '', 0, 0, ?, 0, 0)",
            &[text(&record.id), text(table), Cell::Integer(*total)],
        )
        .await?;
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

/// Whether the rotation is still in the phase and pass that a worker works for: another process may have ended it.
async fn is_current<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
) -> Result<bool, RotationError> {
    let now = by_id::<DB>(connection, &record.id).await?;
    Ok((now.phase, now.pass) == (record.phase, record.pass))
}

/// Takes the next share for a worker: one whose worker has died, else the next rows of a table.
pub(crate) async fn claim<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    (owner, lease): (&str, i64),
    end_of_share: impl Fn(&str, Option<&Cursor>) -> Option<Statement<DB>> + Send + Sync,
) -> Result<Claim, RotationError> {
    let mut transaction = begin::<DB>(connection).await?;
    let id = text(&record.id);
    let abandoned = format!(
        "SELECT tbl, share_no, place, until FROM phield_rotation_share WHERE rotation = ? AND lease < {} \
         ORDER BY tbl, share_no LIMIT 1{}",
        DB::NOW,
        DB::SKIP_LOCKED
    );
    let found = fetch::<DB>(&mut transaction, &abandoned, std::slice::from_ref(&id)).await?;
    if let Some(row) = found.first() {
        if !is_current::<DB>(&mut transaction, record).await? {
            transaction.commit().await?;
            return Ok(Claim::Through);
        }
        let share =
            share(row, (owner, lease)).ok_or(RotationError::Checkpoint("phield_rotation_share"))??;
        let text = format!(
            "UPDATE phield_rotation_share SET owner = ?, lease = {} + {lease} WHERE rotation = ? AND tbl = ? AND share_no = ?",
            DB::NOW
        );
        let cells = [
            self::text(owner),
            id,
            self::text(&share.table),
            Cell::Integer(share.number),
        ];
        execute::<DB>(&mut transaction, &text, &cells).await?;
        transaction.commit().await?;
        return Ok(Claim::Share(share));
    }
    let next = format!(
        "SELECT tbl, place, shares FROM phield_rotation_table WHERE rotation = ? AND exhausted = 0 ORDER BY tbl LIMIT 1{}",
        DB::SKIP_LOCKED
    );
    let found = fetch::<DB>(&mut transaction, &next, std::slice::from_ref(&id)).await?;
    // After the row is locked: what is read now is not older than it.
    if !is_current::<DB>(&mut transaction, record).await? {
        transaction.commit().await?;
        return Ok(Claim::Through);
    }
    let Some(row) = found.first() else {
        let text = "SELECT tbl FROM phield_rotation_table WHERE rotation = ? AND exhausted = 0 \
             UNION ALL SELECT tbl FROM phield_rotation_share WHERE rotation = ? LIMIT 1";
        let open = fetch::<DB>(&mut transaction, text, &[id.clone(), id]).await?;
        transaction.commit().await?;
        return Ok(if open.is_empty() {
            Claim::Through
        } else {
            Claim::Wait
        });
    };
    let read = || Some((string(row.first())?, string(row.get(1))?, integer(row.get(2))?));
    let (table, place, number) = read().ok_or(RotationError::Checkpoint("phield_rotation_table"))?;
    let after = cursor(&place)?;
    let end =
        end_of_share(&table, after.as_ref()).ok_or_else(|| RotationError::NoSuchTable(table.clone()))?;
    let until = DB::fetch(end, Reuse::Likely, usize::MAX, &mut transaction).await?;
    let until = until.into_iter().next().map(Cursor);
    let cells = [
        id.clone(),
        text(&table),
        Cell::Integer(number),
        written(after.as_ref()),
        written(until.as_ref()),
        text(owner),
    ];
    let insert = format!(
        "INSERT INTO phield_rotation_share (rotation, tbl, share_no, place, until, owner, lease, row_count, changed) \
         VALUES (?, ?, ?, ?, ?, ?, {} + {lease}, 0, 0)",
        DB::NOW
    );
    execute::<DB>(&mut transaction, &insert, &cells).await?;
    execute::<DB>(
        &mut transaction,
        "UPDATE phield_rotation_table SET place = ?, exhausted = ?, shares = shares + 1 WHERE rotation = ? AND tbl = ?",
        &[
            written(until.as_ref().or(after.as_ref())),
            Cell::Integer(i64::from(until.is_none())),
            id,
            text(&table),
        ],
    )
    .await?;
    transaction.commit().await?;
    Ok(Claim::Share(Share {
        table,
        number,
        after,
        until,
        owner: owner.to_owned(),
        lease,
    }))
}

fn share(row: &[Cell], (owner, lease): (&str, i64)) -> Option<Result<Share, RotationError>> {
    let (after, until) = (string(row.get(2))?, string(row.get(3))?);
    let (table, number) = (string(row.first())?, integer(row.get(1))?);
    Some(cursor(&after).and_then(|after| {
        Ok(Share {
            table,
            number,
            after,
            until: cursor(&until)?,
            owner: owner.to_owned(),
            lease,
        })
    }))
}

/// The share as its checkpoint has it; none when it is finished, or somebody else's.
pub(crate) async fn reload<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    share: &Share,
) -> Result<Option<Share>, RotationError> {
    let rows = fetch::<DB>(
        connection,
        "SELECT tbl, share_no, place, until FROM phield_rotation_share \
         WHERE rotation = ? AND tbl = ? AND share_no = ? AND owner = ?",
        &[
            text(&record.id),
            text(&share.table),
            Cell::Integer(share.number),
            text(&share.owner),
        ],
    )
    .await?;
    let again = rows
        .first()
        .map(|row| self::share(row, (&share.owner, share.lease)));
    let again = again.map(|again| again.ok_or(RotationError::Checkpoint("phield_rotation_share")));
    again.transpose()?.transpose()
}

/// Gives shares back: those of one worker, or of all.
pub(crate) async fn end_leases<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    rotation: &str,
    owner: Option<&str>,
) -> Result<(), RotationError> {
    let update = "UPDATE phield_rotation_share SET lease = 0, owner = '' WHERE rotation = ?";
    match owner {
        None => execute::<DB>(connection, update, &[text(rotation)]).await?,
        Some(owner) => {
            let update = format!("{update} AND owner = ?");
            execute::<DB>(connection, &update, &[text(rotation), text(owner)]).await?
        }
    };
    Ok(())
}

/// Keeps the shares of a worker that is busy with one page for long.
pub(crate) async fn renew_leases<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    rotation: &str,
    (owner, lease): (&str, i64),
) -> Result<(), RotationError> {
    let update = format!(
        "UPDATE phield_rotation_share SET lease = {} + {lease} WHERE rotation = ? AND owner = ?",
        DB::NOW
    );
    execute::<DB>(connection, &update, &[text(rotation), text(owner)])
        .await
        .map(drop)
}

/// Writes the checkpoint of a page into its transaction, or the end of the share. False: the share is somebody else's by now.
pub(crate) async fn checkpoint<DB: RotationDatabase>(
    transaction: &mut Transaction<'_, DB>,
    record: &Record,
    share: &Share,
    done: &Done,
    place: Option<&Cursor>,
    is_last: bool,
) -> Result<bool, RotationError> {
    let key = [text(&record.id), text(&share.table), Cell::Integer(share.number)];
    let count = |n: u64| Cell::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    let cells = [
        &[written(place), count(done.rows), count(done.changed)][..],
        &key,
        &[text(&share.owner)],
    ]
    .concat();
    let lease = share.lease;
    let update = format!(
        "UPDATE phield_rotation_share SET place = ?, row_count = row_count + ?, changed = changed + ?, lease = {} + {lease} \
         WHERE rotation = ? AND tbl = ? AND share_no = ? AND owner = ?",
        DB::NOW
    );
    if execute::<DB>(transaction, &update, &cells).await? != 1 {
        return Ok(false);
    }
    add_counts::<DB>(transaction, record, &share.table, &done.counts).await?;
    note::<DB>(transaction, record, &done.quarantined).await?;
    if is_last {
        let totals = fetch::<DB>(
            transaction,
            "SELECT row_count, changed FROM phield_rotation_share WHERE rotation = ? AND tbl = ? AND share_no = ?",
            &key,
        )
        .await?;
        let [id, table, _] = &key;
        let [rows, changed] = [0, 1].map(|i| {
            totals
                .first()
                .and_then(|row| row.get(i))
                .cloned()
                .unwrap_or(Cell::Integer(0))
        });
        execute::<DB>(
            transaction,
            "UPDATE phield_rotation_table SET row_count = row_count + ?, changed = changed + ? WHERE rotation = ? AND tbl = ?",
            &[rows, changed, id.clone(), table.clone()],
        )
        .await?;
        execute::<DB>(
            transaction,
            "DELETE FROM phield_rotation_share WHERE rotation = ? AND tbl = ? AND share_no = ?",
            &key,
        )
        .await?;
    }
    Ok(true)
}

/// `ON CONFLICT …` of a database, for a table whose key is `id`.
fn upsert<DB: RotationDatabase>(set: &[(&str, bool)]) -> String {
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

async fn add_counts<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    table: &str,
    counts: &std::collections::BTreeMap<(&'static str, String, String), u64>,
) -> Result<(), RotationError> {
    if counts.is_empty() {
        return Ok(());
    }
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
    let values = vec!["(?, ?, ?, ?, ?, ?, ?)"; counts.len()].join(", ");
    let insert = format!(
        "INSERT INTO phield_rotation_count (id, rotation, phase, tbl, col, key_id, n) VALUES {values} {}",
        upsert::<DB>(&[("n", true)])
    );
    execute::<DB>(connection, &insert, &cells).await.map(drop)
}

async fn note<DB: RotationDatabase>(
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

/// Ends a pass: on to the next phase, with every table to be gone through again. False: somebody else did it.
pub(crate) async fn next_phase<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    phase: Phase,
    pass: i64,
    epoch: i64,
) -> Result<bool, RotationError> {
    let mut transaction = begin::<DB>(connection).await?;
    let is_done = phase == Phase::Done;
    let counting = if phase == Phase::Count {
        DB::NOW
    } else {
        "counting_since"
    };
    let slot = if is_done { "NULL" } else { "1" };
    let ended = if is_done { DB::NOW } else { "0" };
    let update = format!(
        "UPDATE phield_rotation SET phase = ?, pass = ?, epoch = ?, counting_since = {counting}, open_slot = {slot}, ended = {ended} \
         WHERE id = ? AND phase = ? AND pass = ? AND open_slot = 1"
    );
    let cells = [
        text(phase.as_str()),
        Cell::Integer(pass),
        // What is counted is judged by the states that keys have when the count begins.
        Cell::Integer(if phase == Phase::Done { record.epoch } else { epoch }),
        text(&record.id),
        text(record.phase.as_str()),
        Cell::Integer(record.pass),
    ];
    if execute::<DB>(&mut transaction, &update, &cells).await? != 1 {
        transaction.commit().await?;
        return Ok(false);
    }
    let id = text(&record.id);
    if !is_done {
        execute::<DB>(
            &mut transaction,
            "UPDATE phield_rotation_table SET place = '', exhausted = 0, shares = 0, row_count = 0 WHERE rotation = ?",
            std::slice::from_ref(&id),
        )
        .await?;
        let counts = if phase == Phase::Count { "after" } else { "before" };
        execute::<DB>(
            &mut transaction,
            "DELETE FROM phield_rotation_count WHERE rotation = ? AND (phase = ? OR phase = 'shredded')",
            &[id.clone(), text(counts)],
        )
        .await?;
    }
    if record.phase == Phase::Work {
        forget_repaired::<DB>(&mut transaction, record).await?;
    }
    transaction.commit().await?;
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

/// How many rows a table has.
pub(crate) async fn row_total<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<i64, RotationError> {
    let mut statement = Statement::<DB>::new("SELECT count(*) FROM ");
    statement.table(sql_table);
    let rows = DB::fetch(statement, Reuse::Unlikely, usize::MAX, connection).await?;
    Ok(rows.first().and_then(|row| integer(row.first())).unwrap_or(0))
}

/// Unique keys of a table, the primary key first.
pub(crate) async fn unique_keys<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<Vec<Vec<String>>, RotationError> {
    let (schema, table) = sql_table.rsplit_once('.').unwrap_or(("", sql_table));
    let names = [text(schema), text(table)];
    let values: Vec<_> = DB::UNIQUE_KEY_NAMES
        .iter()
        .filter_map(|i| names.get(*i).cloned())
        .collect();
    let rows = fetch::<DB>(connection, DB::UNIQUE_KEYS, &values).await?;
    let mut keys: Vec<(String, Vec<String>)> = Vec::new();
    for row in &rows {
        let Some(index) = string(row.first()) else {
            continue;
        };
        // An expression is no column.
        let column = string(row.get(1)).unwrap_or_else(|| quoted::<DB>(""));
        match keys.last_mut() {
            Some((last, columns)) if *last == index => columns.push(column),
            _ => keys.push((index, vec![column])),
        }
    }
    Ok(keys.into_iter().map(|(_, columns)| columns).collect())
}

/// A column that can hold tokens.
#[derive(Debug)]
pub(crate) struct AnyColumn {
    /// The schema of its table, where the database has schemas.
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) is_text: bool,
}

/// Every column of the database that can hold tokens.
pub(crate) async fn columns_of_all<DB: RotationDatabase>(
    connection: &mut DB::Connection,
) -> Result<Vec<AnyColumn>, RotationError> {
    let rows = DB::fetch(
        Statement::new(DB::COLUMNS_OF_ALL),
        Reuse::Unlikely,
        usize::MAX,
        connection,
    )
    .await?;
    let column = |row: &Vec<Cell>| {
        Some(AnyColumn {
            schema: string(row.first())?,
            table: string(row.get(1))?,
            name: string(row.get(2))?,
            is_text: integer(row.get(3))? != 0,
        })
    };
    let columns = rows.iter().map(column).collect::<Option<_>>();
    columns.ok_or(RotationError::Checkpoint("(columns)"))
}
