//! Passes over the rows of a column: sealing, comparing, unsealing. Page by page, each in one short transaction.

use phield_core::{OpenError, PlainValue, PlaintextError, Sealer, ValueType};
use sqlx::Transaction;

use super::Migration;
use super::column::{Migrated, Row, Rows};
use super::database::MigrationDatabase;
use super::error::{Check, MigrationError, index_reason, reason};
use super::step::{self, MigrationRecord};
use super::unseal::{ColumnForm, column_value};
use crate::backend::Reuse;
use crate::rotate::Cell;
use crate::rotate::cell::Cursor;
use crate::rotate::limiter::Limiter;
use crate::rotate::patience::patiently;
use crate::rotate::state::{self, sql, text};
use crate::rotate::swap::{Swap, SwapRow, Value};

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
    /// A row to be written: what was read, which no value is equal to when it is SQL NULL, and what is new.
    fn push(&mut self, key: Vec<Cell>, old: Value, new: Vec<Value>) {
        let [there, null] = &mut self.swaps;
        if old.is_null() {
            null.push(SwapRow { key, values: new });
        } else {
            let values = std::iter::once(old).chain(new).collect();
            there.push(SwapRow { key, values });
        }
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
        let limiter = Limiter::new(self.options.rate);
        loop {
            let rows = patiently(|| self.rows(migrated, Rows::Unsealed, after.as_ref())).await?;
            let Some(last) = rows.last().map(|row| Cursor(row.key.clone())) else {
                return Ok(());
            };
            limiter.wait(rows.len()).await;
            let page = self.sealed_page(migrated, rows).await?;
            let swap = seal_swap::<DB>(migrated);
            let written = self.write(migrated, &swap, page, Some((record, &last))).await?;
            report(written);
            after = Some(last);
        }
    }

    /// The next page.
    async fn rows(
        &self,
        migrated: &Migrated,
        rows: Rows,
        after: Option<&Cursor>,
    ) -> Result<Vec<Row>, MigrationError> {
        let mut connection = self.pool.acquire().await?;
        let batch = self.options.batch;
        migrated.page::<DB>(&mut connection, rows, after, batch).await
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
                Ok(mut new) => {
                    new.extend(starts(migrated, &row));
                    page.push(row.key, Value::Plain(row.plaintext), new);
                }
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
    ) -> Result<Result<Vec<Value>, &'static str>, MigrationError> {
        let stored = migrated.stored(&token);
        let mut new = vec![Value::stored(migrated.is_text, stored)];
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
                Ok(value) => new.push(Value::Bytes(value.map(|value| value.as_bytes().to_vec()))),
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
            let rows = patiently(|| self.rows(migrated, Rows::Sealed, after.as_ref())).await?;
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
                        let old = old_token(migrated, &row);
                        page.push(row.key, old, nothing(migrated));
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
            self.write(migrated, &[reset_swap::<DB>(migrated)], page, None)
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
        let limiter = Limiter::new(self.options.rate);
        loop {
            let rows = patiently(|| self.rows(migrated, Rows::Sealed, after.as_ref())).await?;
            let Some(last) = rows.last().map(|row| Cursor(row.key.clone())) else {
                return Ok(done);
            };
            limiter.wait(rows.len()).await;
            let mut page = Page::default();
            for row in rows {
                done.rows += 1;
                match self.unseal_row(migrated, form, &row)? {
                    Ok(Some(value)) => {
                        let old = old_token(migrated, &row);
                        page.push(row.key, old, vec![value]);
                    }
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
                    &[unseal_swap::<DB>(migrated, form, overwrites)],
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
    ) -> Result<Result<Option<Value>, &'static str>, MigrationError> {
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
        swaps: &[Swap<'_>],
        page: Page,
        checkpoint: Option<(&MigrationRecord, &Cursor)>,
    ) -> Result<u64, MigrationError> {
        if checkpoint.is_none() && page.notes.is_empty() && page.swaps.iter().all(Vec::is_empty) {
            return Ok(0);
        }
        let write = |one_by_one| self.write_once(migrated, swaps, &page, checkpoint, one_by_one);
        match patiently(|| write(false)).await {
            // One row of them has the unique value of another: each on its own.
            Err(error) if error.is_duplicate() => patiently(|| write(true)).await,
            written => written,
        }
    }

    async fn write_once(
        &self,
        migrated: &Migrated,
        swaps: &[Swap<'_>],
        page: &Page,
        checkpoint: Option<(&MigrationRecord, &Cursor)>,
        one_by_one: bool,
    ) -> Result<u64, MigrationError> {
        let mut written = 0;
        let mut duplicates = Vec::new();
        let mut connection = self.pool.acquire().await?;
        let mut transaction = state::begin::<DB>(&mut connection).await?;
        for (swap, rows) in swaps.iter().zip(&page.swaps) {
            if !one_by_one {
                written += swap.write::<DB>(rows, &mut transaction).await?;
                continue;
            }
            for row in rows {
                match swap.write_one::<DB>(row, &mut transaction).await {
                    Ok(rows) => {
                        written += rows;
                        transaction.commit().await?;
                    }
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                        // The transaction of some databases ends with it.
                        transaction.rollback().await?;
                        duplicates.push(Cursor(row.key.clone()).to_text());
                    }
                    Err(error) => return Err(error.into()),
                }
                transaction = state::begin::<DB>(&mut connection).await?;
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
    let table = &migrated.table;
    let mut there = Swap::new(&table.sql_table, &table.key);
    let old = there.bind::<DB>(migrated.plaintext_expression::<DB>());
    there.require(migrated.unchanged::<DB>(&old));
    let mut null = Swap::new(&table.sql_table, &table.key);
    let plaintext = migrated.qualified::<DB>(&migrated.plaintext);
    null.require(format!("{plaintext} IS NULL"));
    for swap in [&mut there, &mut null] {
        let sealed = migrated.qualified::<DB>(&migrated.sealed);
        swap.require(format!("{sealed} IS NULL"));
        set_all::<DB>(swap, migrated);
        require_starts::<DB>(swap, migrated);
    }
    [there, null]
}

/// The token and the index values are bound.
fn set_all<'a, DB: MigrationDatabase>(swap: &mut Swap<'a>, migrated: &'a Migrated) {
    let indexes = migrated.indexes.iter();
    let indexes = indexes.filter_map(|index| migrated.table.indexes.get(*index));
    let names = indexes.map(|index| index.sql_name.as_str());
    for name in std::iter::once(migrated.sealed.as_str()).chain(names) {
        let new = swap.bind::<DB>(migrated.qualified::<DB>(name));
        swap.set(name, new);
    }
}

/// An index value is one of all its parts: the others have to be those that were read. Their starts are bound.
fn require_starts<DB: MigrationDatabase>(swap: &mut Swap<'_>, migrated: &Migrated) {
    let others = migrated.other_parts().into_iter();
    for column in others.filter_map(|part| migrated.table.sealed.get(part)) {
        let name = migrated.qualified::<DB>(&column.sql_name);
        let start = swap.bind::<DB>(name.clone());
        swap.require(format!(
            "substr({name}, 1, {}) {} {start}",
            column.start(),
            DB::IS_SAME
        ));
    }
}

/// The starts of the tokens of the other parts of its indexes.
fn starts(migrated: &Migrated, row: &Row) -> Vec<Value> {
    let start = |part: usize| {
        let column = migrated.table.sealed.get(part)?;
        let Some(stored) = row.stored(part) else {
            return Some(if column.is_text {
                Value::Text(None)
            } else {
                Value::Bytes(None)
            });
        };
        let start = stored.get(..column.start()).unwrap_or(stored);
        Some(Value::stored(column.is_text, start.to_vec()))
    };
    migrated.other_parts().into_iter().filter_map(start).collect()
}

/// Something else in a row, where the token is the one that was read.
fn token_swap<DB: MigrationDatabase>(migrated: &Migrated) -> Swap<'_> {
    let mut swap = Swap::new(&migrated.table.sql_table, &migrated.table.key);
    let sealed = migrated.qualified::<DB>(&migrated.sealed);
    let old = swap.bind::<DB>(sealed.clone());
    swap.require(format!("{sealed} = {old}"));
    swap
}

/// No token and no index values, where the token is the one that was read, and there still is a plaintext.
fn reset_swap<DB: MigrationDatabase>(migrated: &Migrated) -> Swap<'_> {
    let mut swap = token_swap::<DB>(migrated);
    let plaintext = migrated.qualified::<DB>(&migrated.plaintext);
    swap.require(format!("{plaintext} IS NOT NULL"));
    set_all::<DB>(&mut swap, migrated);
    swap
}

/// SQL NULL for the token and every index value.
fn nothing(migrated: &Migrated) -> Vec<Value> {
    let token = if migrated.is_text {
        Value::Text(None)
    } else {
        Value::Bytes(None)
    };
    let indexes = migrated.indexes.iter().map(|_| Value::Bytes(None));
    std::iter::once(token).chain(indexes).collect()
}

/// The plaintext, where the token is the one that was read.
fn unseal_swap<DB: MigrationDatabase>(migrated: &Migrated, form: ColumnForm, overwrites: bool) -> Swap<'_> {
    let mut swap = token_swap::<DB>(migrated);
    let plaintext = migrated.qualified::<DB>(&migrated.plaintext);
    let new = swap.bind::<DB>(plaintext.clone());
    swap.set(
        &migrated.plaintext,
        form.expression(&migrated.plaintext_type, &new),
    );
    if !overwrites {
        swap.require(format!("{plaintext} IS NULL"));
    }
    swap
}

fn old_token(migrated: &Migrated, row: &Row) -> Value {
    let stored = row.stored(migrated.position).unwrap_or_default();
    Value::stored(migrated.is_text, stored.to_vec())
}
