//! Passes over the rows of a column: sealing, comparing, unsealing. Page by page, each in one short transaction.

use std::time::{Duration, Instant};

use phield_core::{OpenError, PlainValue, PlaintextError, Sealer, ValueType};
use sqlx::Transaction;

use super::Migration;
use super::column::{Migrated, Row, Rows};
use super::database::MigrationDatabase;
use super::error::{Check, MigrationError, index_reason, reason};
use super::step::{self, MigrationRecord};
use super::swap::{New, Swap, SwapRow};
use super::unseal::{ColumnForm, column_value};
use crate::backend::Reuse;
use crate::rotate::Cell;
use crate::rotate::cell::Cursor;
use crate::rotate::state::{self, sql, text};

/// Most bytes of one statement.
const STATEMENT_BYTES: usize = 4 << 20;
/// How often a page is tried again before the pass ends.
const MAX_TRIES: u32 = 20;

/// A row that is left as it is, and why.
struct Note {
    row_key: String,
    reason: &'static str,
}

/// What a page writes.
#[derive(Default)]
struct Page {
    /// Rows whose old value is there, and rows in which it is SQL NULL.
    swaps: [Vec<SwapRow>; 2],
    notes: Vec<Note>,
}

impl Page {
    fn push(&mut self, row: SwapRow) {
        let [there, null] = &mut self.swaps;
        if row.is_old_null() { null } else { there }.push(row);
    }

    fn note(&mut self, row: &Row, reason: &'static str) {
        let row_key = Cursor(row.key.clone()).to_text();
        self.notes.push(Note { row_key, reason });
    }
}

/// What a token holds, beside a plaintext.
enum Held {
    /// The plaintext; or it was not asked for.
    Same,
    /// An encrypted null, beside SQL NULL.
    Null,
    /// Something else than the plaintext.
    Other,
    /// A value, beside SQL NULL: it stands nowhere else.
    Alone,
}

impl<DB: MigrationDatabase> Migration<DB> {
    /// Seals every row that has plaintext and no token, once through the table; `report` is called with every page's rows.
    pub(super) async fn seal_pass(
        &self,
        migrated: &Migrated,
        record: &MigrationRecord,
        report: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), MigrationError> {
        let mut after = Cursor::from_text(&record.place);
        if after.is_none() {
            self.forget_notes(migrated).await?;
        }
        let mut pace = Pace::new(self.options.rate);
        loop {
            let mut connection = self.pool.acquire().await?;
            let rows = migrated
                .page::<DB>(
                    &mut connection,
                    Rows::Unsealed,
                    after.as_ref(),
                    self.options.batch,
                )
                .await?;
            drop(connection);
            let Some(last) = rows.last().map(|row| Cursor(row.key.clone())) else {
                return Ok(());
            };
            pace.wait(rows.len()).await;
            let page = self.sealed_page(migrated, rows).await?;
            let swap = seal_swap::<DB>(migrated);
            let written = self.write(migrated, &swap, page, Some((record, &last))).await?;
            report(written);
            after = Some(last);
        }
    }

    /// Seals the rows of a page.
    async fn sealed_page(&self, migrated: &Migrated, rows: Vec<Row>) -> Result<Page, MigrationError> {
        let mut page = Page::default();
        let tokens = self.seal_rows(migrated, &rows)?;
        for (row, token) in rows.into_iter().zip(tokens) {
            let new = match token {
                // SQL NULL stays one.
                Ok(None) => continue,
                Ok(Some(token)) => self.with_indexes(migrated, &row, token).await?,
                Err(reason) => Err(reason),
            };
            match new {
                Ok(new) => page.push(SwapRow {
                    parts: starts(migrated, &row),
                    key: row.key,
                    old: New::Plain(row.plaintext),
                    new,
                }),
                Err(reason) => page.note(&row, reason),
            }
        }
        Ok(page)
    }

    /// The tokens of rows, or why there is none.
    #[allow(clippy::type_complexity, reason = "the token of each row, or a reason")]
    fn seal_rows(
        &self,
        migrated: &Migrated,
        rows: &[Row],
    ) -> Result<Vec<Result<Option<Vec<u8>>, &'static str>>, MigrationError> {
        let keys = &*self.keyring;
        let mut sealer = Sealer::new(keys, rows.len(), 1)?;
        let table = &migrated.table.rows;
        let mut seal = |row: &Row| {
            let Some(identity) = &row.identity else {
                return Ok(Err("malformed"));
            };
            let value = match self.open_source(migrated.value_type, &row.plaintext) {
                Ok(value) => value,
                Err(reason) => return Ok(Err(reason)),
            };
            let value = value.as_ref().unwrap_or(&row.plaintext);
            match table.seal_plaintext(&mut sealer, keys, identity, migrated.position, value) {
                Ok(token) => Ok(Ok(token)),
                Err(error) => reason(error).map(Err),
            }
        };
        rows.iter().map(&mut seal).collect()
    }

    /// The token as it is stored, and the values of the indexes that it is a part of.
    async fn with_indexes(
        &self,
        migrated: &Migrated,
        row: &Row,
        token: Vec<u8>,
    ) -> Result<Result<Vec<New>, &'static str>, MigrationError> {
        let stored = migrated.stored(&token);
        let mut new = vec![if migrated.is_text {
            New::Text(Some(String::from_utf8_lossy(&stored).into_owned()))
        } else {
            New::Bytes(Some(stored))
        }];
        let Some(identity) = &row.identity else {
            return Ok(Err("malformed"));
        };
        for index in &migrated.indexes {
            let mut parts = Vec::new();
            for part in migrated.table.rows.index_parts(*index) {
                let part = if *part == migrated.position {
                    Ok(Some(token.clone()))
                } else {
                    row.token(&migrated.table, *part)
                };
                match part {
                    Ok(part) => parts.push(part),
                    Err(reason) => return Ok(Err(reason)),
                }
            }
            let value = migrated
                .table
                .rows
                .index_value(&*self.keyring, identity, *index, parts)
                .await;
            match value {
                Ok(value) => new.push(New::Bytes(value.map(|value| value.as_bytes().to_vec()))),
                Err(error) => return index_reason(error).map(Err),
            }
        }
        Ok(Ok(new))
    }

    /// What the source's own format holds; none where plaintext stands as it is.
    fn open_source(
        &self,
        value_type: ValueType,
        stored: &PlainValue<'_>,
    ) -> Result<Option<PlainValue<'static>>, &'static str> {
        let Some(source) = &self.source else {
            return Ok(None);
        };
        let message = match stored {
            PlainValue::Null => return Ok(None),
            PlainValue::Text(text) => Some(&**text),
            PlainValue::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            PlainValue::Integer(_) => None,
        };
        let opened = source.open(value_type, message.ok_or("malformed")?)?;
        Ok(Some(PlainValue::Bytes(opened.expose().clone().into())))
    }

    /// Compares every token with the plaintext beside it. Up to `reset` tokens that hold something else are taken away, so
    /// that the plaintext is sealed again.
    pub(super) async fn compare_pass(
        &self,
        migrated: &Migrated,
        with_plaintext: bool,
        mut reset: u64,
    ) -> Result<Check, MigrationError> {
        let mut check = Check {
            table: migrated.table.name().to_owned(),
            column: migrated.column.clone(),
            ..Check::default()
        };
        let mut after = None;
        loop {
            let mut connection = self.pool.acquire().await?;
            let rows = migrated
                .page::<DB>(&mut connection, Rows::Sealed, after.as_ref(), self.options.batch)
                .await?;
            drop(connection);
            let Some(last) = rows.last().map(|row| Cursor(row.key.clone())) else {
                break;
            };
            let mut page = Page::default();
            for row in rows {
                match self.compare(migrated, &row, with_plaintext)? {
                    Ok(Held::Same) => {}
                    Ok(Held::Null) => check.nulls += 1,
                    Ok(Held::Alone) => check.only_sealed += 1,
                    Ok(Held::Other) if reset > 0 => {
                        reset -= 1;
                        page.push(reset_row(migrated, row));
                    }
                    Ok(Held::Other) => {
                        check.differing += 1;
                        page.note(&row, "differs");
                    }
                    Err(reason) => {
                        check.unreadable += 1;
                        page.note(&row, reason);
                    }
                }
            }
            self.write(migrated, &reset_swap::<DB>(migrated), page, None)
                .await?;
            after = Some(last);
        }
        let mut connection = self.pool.acquire().await?;
        check.left = migrated.count_left::<DB>(&mut connection).await?;
        check.absent = migrated.count_absent::<DB>(&mut connection).await?;
        Ok(check)
    }

    /// What the token of a row holds, where it opens.
    fn compare(
        &self,
        migrated: &Migrated,
        row: &Row,
        with_plaintext: bool,
    ) -> Result<Result<Held, &'static str>, MigrationError> {
        let (Some(identity), Ok(Some(token))) =
            (&row.identity, row.token(&migrated.table, migrated.position))
        else {
            return Ok(Err("malformed"));
        };
        let table = &migrated.table.rows;
        let is_null = matches!(row.plaintext, PlainValue::Null);
        let held = if with_plaintext && (!is_null || migrated.encrypted_null) {
            let value = match self.open_source(migrated.value_type, &row.plaintext) {
                Ok(value) => value,
                Err(reason) => return Ok(Err(reason)),
            };
            let value = value.as_ref().unwrap_or(&row.plaintext);
            let same = table.holds(&*self.keyring, identity, migrated.position, token, value);
            same.map(|same| match (same, is_null) {
                (true, false) => Held::Same,
                (true, true) => Held::Null,
                (false, false) => Held::Other,
                (false, true) => Held::Alone,
            })
        } else {
            let opened = table.check(&*self.keyring, identity, vec![(migrated.position, token)]);
            let opened = opened.map_err(PlaintextError::Identity).and_then(|opened| {
                let opened = opened.into_iter().next().unwrap_or(Err(OpenError::Malformed));
                opened.map_err(PlaintextError::Open)
            });
            opened.map(|()| if with_plaintext { Held::Alone } else { Held::Same })
        };
        match held {
            Ok(held) => Ok(Ok(held)),
            Err(error) => reason(error).map(Err),
        }
    }

    /// Writes the values of tokens into the column of the plaintext, where they are not there, and over nothing else unless it
    /// `overwrites`; how many rows were written.
    pub(super) async fn unseal_pass(
        &self,
        migrated: &Migrated,
        form: ColumnForm,
        overwrites: bool,
        report: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Unsealed, MigrationError> {
        self.forget_notes(migrated).await?;
        let mut done = Unsealed::default();
        let mut after = None;
        let mut pace = Pace::new(self.options.rate);
        loop {
            let mut connection = self.pool.acquire().await?;
            let rows = migrated
                .page::<DB>(&mut connection, Rows::Sealed, after.as_ref(), self.options.batch)
                .await?;
            drop(connection);
            let Some(last) = rows.last().map(|row| Cursor(row.key.clone())) else {
                return Ok(done);
            };
            pace.wait(rows.len()).await;
            let mut page = Page::default();
            for row in rows {
                done.rows += 1;
                match self.unseal_row(migrated, form, &row)? {
                    Ok(Some(value)) => page.push(SwapRow {
                        old: old_token(migrated, &row),
                        key: row.key,
                        new: vec![value],
                        parts: Vec::new(),
                    }),
                    Ok(None) => {}
                    Err(reason) => {
                        done.unreadable += 1;
                        page.note(&row, reason);
                    }
                }
            }
            let written = self
                .write(
                    migrated,
                    &unseal_swap::<DB>(migrated, form, overwrites),
                    page,
                    None,
                )
                .await?;
            done.written += written;
            report(written);
            after = Some(last);
        }
    }

    /// The value of a row's token, as its column takes it; none when it stands there.
    fn unseal_row(
        &self,
        migrated: &Migrated,
        form: ColumnForm,
        row: &Row,
    ) -> Result<Result<Option<New>, &'static str>, MigrationError> {
        let (Some(identity), Ok(Some(token))) =
            (&row.identity, row.token(&migrated.table, migrated.position))
        else {
            return Ok(Err("malformed"));
        };
        let table = &migrated.table.rows;
        if self.holds_already(migrated, row) {
            return Ok(Ok(None));
        }
        match table.unseal(&*self.keyring, identity, migrated.position, token) {
            Ok(value) => Ok(column_value(&value, migrated.value_type, form)
                .map(Some)
                .ok_or("malformed")),
            Err(error) => reason(error).map(Err),
        }
    }

    /// Whether the value of a row's token stands in its column of plaintext.
    pub(super) fn holds_already(&self, migrated: &Migrated, row: &Row) -> bool {
        let (Some(identity), Ok(Some(token)), false) = (
            &row.identity,
            row.token(&migrated.table, migrated.position),
            matches!(row.plaintext, PlainValue::Null),
        ) else {
            return false;
        };
        let (keys, table) = (&*self.keyring, &migrated.table.rows);
        table.holds(keys, identity, migrated.position, token, &row.plaintext) == Ok(true)
    }

    /// Writes a page in one transaction, and tries again what can succeed then; how many rows were written.
    async fn write(
        &self,
        migrated: &Migrated,
        swap: &[Swap<'_>; 2],
        page: Page,
        checkpoint: Option<(&MigrationRecord, &Cursor)>,
    ) -> Result<u64, MigrationError> {
        if checkpoint.is_none() && page.notes.is_empty() && page.swaps.iter().all(Vec::is_empty) {
            return Ok(0);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.write_once(migrated, swap, &page, checkpoint, false).await {
                Err(error) if error.is_duplicate() => break,
                Err(error) if error.is_retryable() && tries < MAX_TRIES => {
                    tokio::time::sleep(Duration::from_millis(10) * tries).await;
                }
                written => return written,
            }
        }
        // One row of them has the unique value of another: each on its own.
        self.write_once(migrated, swap, &page, checkpoint, true).await
    }

    async fn write_once(
        &self,
        migrated: &Migrated,
        swap: &[Swap<'_>; 2],
        page: &Page,
        checkpoint: Option<(&MigrationRecord, &Cursor)>,
        one_by_one: bool,
    ) -> Result<u64, MigrationError> {
        let mut written = 0;
        let mut duplicates = Vec::new();
        let mut connection = self.pool.acquire().await?;
        let mut transaction = state::begin::<DB>(&mut connection).await?;
        for (swap, rows) in swap.iter().zip(&page.swaps) {
            let mut rest = rows.as_slice();
            while !rest.is_empty() {
                let most = if one_by_one {
                    1
                } else {
                    statement_rows::<DB>(swap, rest)
                };
                let (now, later) = rest.split_at(most);
                let reuse = if now.len() == DB::SET_ROWS || one_by_one {
                    Reuse::Likely
                } else {
                    Reuse::Unlikely
                };
                match DB::execute(swap.statement::<DB>(now), reuse, &mut transaction).await {
                    Ok(rows) => written += rows,
                    Err(sqlx::Error::Database(error)) if one_by_one && error.is_unique_violation() => {
                        // The transaction of some databases ends with it.
                        transaction.rollback().await?;
                        transaction = state::begin::<DB>(&mut connection).await?;
                        duplicates.extend(now.iter().map(|row| Cursor(row.key.clone()).to_text()));
                    }
                    Err(error) => return Err(error.into()),
                }
                if one_by_one {
                    transaction.commit().await?;
                    transaction = state::begin::<DB>(&mut connection).await?;
                }
                rest = later;
            }
        }
        for note in &page.notes {
            self.note(&mut transaction, migrated, &note.row_key, note.reason)
                .await?;
        }
        for row_key in &duplicates {
            self.note(&mut transaction, migrated, row_key, "duplicate")
                .await?;
        }
        if let Some((record, place)) = checkpoint {
            step::checkpoint::<DB>(&mut transaction, record, &place.to_text(), written).await?;
        }
        transaction.commit().await?;
        Ok(written)
    }

    /// Puts a row into the quarantine.
    async fn note(
        &self,
        transaction: &mut Transaction<'_, DB>,
        migrated: &Migrated,
        row_key: &str,
        reason: &str,
    ) -> Result<(), MigrationError> {
        let table = migrated.table.name();
        let id = state::digest(&[QUARANTINE_MODE, table, row_key, &migrated.sealed]);
        state::execute::<DB>(
            transaction,
            "DELETE FROM phield_quarantine WHERE id = ?",
            &[text(&id)],
        )
        .await?;
        let insert = format!(
            "INSERT INTO phield_quarantine (id, mode, tbl, row_key, col, reason, key_id, noted, stamp) \
             VALUES (?, ?, ?, ?, ?, ?, '', {}, '')",
            DB::NOW
        );
        let cells = [&id, QUARANTINE_MODE, table, row_key, &migrated.sealed, reason].map(text);
        state::execute::<DB>(transaction, &insert, &cells).await?;
        Ok(())
    }

    /// A pass from the first row on notes every row that is still to be noted.
    pub(super) async fn forget_notes(&self, migrated: &Migrated) -> Result<(), MigrationError> {
        let delete = "DELETE FROM phield_quarantine WHERE mode = ? AND tbl = ? AND col = ?";
        let cells = [QUARANTINE_MODE, migrated.table.name(), &migrated.sealed].map(text);
        let mut connection = self.pool.acquire().await?;
        state::execute::<DB>(&mut connection, delete, &cells).await?;
        Ok(())
    }

    /// How many rows are in the quarantine.
    pub(super) async fn count_notes(&self, migrated: &Migrated) -> Result<u64, MigrationError> {
        let count = "SELECT count(*) FROM phield_quarantine WHERE mode = ? AND tbl = ? AND col = ?";
        let cells = [QUARANTINE_MODE, migrated.table.name(), &migrated.sealed].map(text);
        let mut connection = self.pool.acquire().await?;
        let found = DB::fetch(
            sql::<DB>(count, &cells),
            Reuse::Unlikely,
            usize::MAX,
            &mut connection,
        )
        .await?;
        match found.first().and_then(|row| row.first()) {
            Some(Cell::Integer(n)) => Ok(u64::try_from(*n).unwrap_or(0)),
            _ => Ok(0),
        }
    }
}

/// What rows of a migration are marked with in the quarantine.
const QUARANTINE_MODE: &str = "migrate";

/// What an unseal did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsealed {
    /// Rows with a token.
    pub rows: u64,
    /// Rows whose plaintext was written; the others had it.
    pub written: u64,
    /// Rows whose token does not open: they are in the quarantine.
    pub unreadable: u64,
}

/// Token and index values, where the plaintext is as it was read and there is no token yet.
fn seal_swap<DB: MigrationDatabase>(migrated: &Migrated) -> [Swap<'_>; 2] {
    let column = |name: &str| {
        format!(
            "{}.{}",
            crate::statement::quoted_table::<DB>(&migrated.table.sql_table),
            crate::statement::quoted::<DB>(name)
        )
    };
    // An index value is one of all its parts: the others have to be those that were read.
    let others = migrated.other_parts().into_iter();
    let others = others.filter_map(|part| migrated.table.sealed.get(part));
    let parts: Vec<_> = others
        .map(|column| (column.sql_name.as_str(), column.start()))
        .collect();
    let is_unsealed = format!("{} IS NULL", column(&migrated.sealed));
    let make = |condition: String, is_old_bound: bool| {
        let indexes = migrated
            .indexes
            .iter()
            .filter_map(|index| migrated.table.indexes.get(*index));
        let names = [migrated.sealed.as_str()]
            .into_iter()
            .chain(indexes.map(|index| index.sql_name.as_str()));
        Swap {
            table: &migrated.table.sql_table,
            key: &migrated.table.key,
            set: names.map(|name| (name, "{new}".to_owned())).collect(),
            condition: format!("{condition} AND {is_unsealed}"),
            old_type: migrated.plaintext_expression::<DB>(),
            is_old_bound,
            parts: parts.clone(),
        }
    };
    [
        make(migrated.unchanged::<DB>("{old}"), true),
        make(format!("{} IS NULL", column(&migrated.plaintext)), false),
    ]
}

/// No token and no index values, where the token is the one that was read, and there still is a plaintext.
fn reset_swap<DB: MigrationDatabase>(migrated: &Migrated) -> [Swap<'_>; 2] {
    let mut swaps = token_swap::<DB>(migrated);
    for swap in &mut swaps {
        swap.condition += &format!(
            " AND {} IS NOT NULL",
            migrated.qualified::<DB>(&migrated.plaintext)
        );
    }
    swaps
}

/// Where the token is the one that was read.
fn token_swap<DB: MigrationDatabase>(migrated: &Migrated) -> [Swap<'_>; 2] {
    let [mut swap, mut other] = seal_swap::<DB>(migrated);
    swap.parts.clear();
    other.parts.clear();
    let sealed = migrated.qualified::<DB>(&migrated.sealed);
    swap.condition = format!("{sealed} = {{old}}");
    swap.old_type = sealed;
    [swap, other]
}

/// The starts of the tokens of the other parts of its indexes.
fn starts(migrated: &Migrated, row: &Row) -> Vec<New> {
    let start = |part: usize| {
        let column = migrated.table.sealed.get(part)?;
        let start = row
            .stored(part)
            .map(|stored| stored.get(..column.start()).unwrap_or(stored));
        Some(if column.is_text {
            New::Text(start.map(|start| String::from_utf8_lossy(start).into_owned()))
        } else {
            New::Bytes(start.map(<[u8]>::to_vec))
        })
    };
    migrated.other_parts().into_iter().filter_map(start).collect()
}

fn reset_row(migrated: &Migrated, row: Row) -> SwapRow {
    let token = if migrated.is_text {
        New::Text(None)
    } else {
        New::Bytes(None)
    };
    let new = [token]
        .into_iter()
        .chain(migrated.indexes.iter().map(|_| New::Bytes(None)));
    SwapRow {
        old: old_token(migrated, &row),
        key: row.key,
        new: new.collect(),
        parts: Vec::new(),
    }
}

/// The plaintext, where the token is the one that was read.
fn unseal_swap<DB: MigrationDatabase>(
    migrated: &Migrated,
    form: ColumnForm,
    overwrites: bool,
) -> [Swap<'_>; 2] {
    let mut swaps = token_swap::<DB>(migrated);
    for swap in &mut swaps {
        swap.set = vec![(
            migrated.plaintext.as_str(),
            form.expression(&migrated.plaintext_type),
        )];
        if !overwrites {
            swap.condition += &format!(" AND {} IS NULL", migrated.qualified::<DB>(&migrated.plaintext));
        }
    }
    swaps
}

fn old_token(migrated: &Migrated, row: &Row) -> New {
    let stored = row.stored(migrated.position).unwrap_or_default();
    if migrated.is_text {
        New::Text(Some(String::from_utf8_lossy(stored).into_owned()))
    } else {
        New::Bytes(Some(stored.to_vec()))
    }
}

/// How many rows fit one statement.
fn statement_rows<DB: MigrationDatabase>(swap: &Swap<'_>, rows: &[SwapRow]) -> usize {
    let most = DB::SET_ROWS.min(DB::MAX_BINDS / swap.binds().max(1)).max(1);
    let mut size = 0;
    let fits = rows.iter().take(most).take_while(|row| {
        size += row.size();
        size <= STATEMENT_BYTES
    });
    fits.count().max(1)
}

/// Keeps to a number of rows a second.
struct Pace {
    rate: Option<u32>,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<u32>) -> Self {
        Self {
            rate: rate.filter(|rate| *rate > 0),
            next: Instant::now(),
        }
    }

    async fn wait(&mut self, rows: usize) {
        let Some(rate) = self.rate else { return };
        let start = self.next.max(Instant::now());
        let rows = u32::try_from(rows).map_or(f64::MAX, f64::from);
        self.next = start + Duration::from_secs_f64((rows / f64::from(rate)).min(3600.0));
        tokio::time::sleep_until(start.into()).await;
    }
}
