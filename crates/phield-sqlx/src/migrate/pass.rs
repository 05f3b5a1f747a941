//! Passes over the rows of a column: sealing, comparing, unsealing. Page by page, each in one short transaction.

use phield_core::{OpenError, PlainValue, PlaintextError, Sealer, ValueType};

use super::Migration;
use super::column::{Migrated, Row, Rows};
use super::database::MigrationDatabase;
use super::error::{Check, MigrationError, index_reason, reason};
use super::page::Page;
use super::step::MigrationRecord;
use super::swaps::{nothing, old_token, reset_swap, seal_swap, starts, unseal_swap};
use super::unseal::{ColumnForm, column_value};
use crate::rotate::cell::{Cell, Cursor};
use crate::rotate::limiter::Limiter;
use crate::rotate::patience::patiently;
use crate::rotate::swap::Value;

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
                let held = match self.compare(migrated, &row, with_plaintext)? {
                    // It was sealed for another row, or tenant: the plaintext says what this one is to have.
                    Err("authentication") if with_plaintext && !matches!(row.plaintext, PlainValue::Null) => {
                        Ok(Held::Other)
                    }
                    held => held,
                };
                match held {
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
            let (mut page, mut pushed) = (Page::default(), Vec::new());
            for row in rows {
                done.rows += 1;
                match self.unseal_row(migrated, form, &row)? {
                    Ok(Some(value)) => {
                        let old = old_token(migrated, &row);
                        pushed.push(row.key.clone());
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
            done.differing += self.check_written(migrated, after.as_ref(), &pushed).await?;
            report(written);
            after = Some(last);
        }
    }

    /// How many of the rows that were written do not hold the value of their token: a column can cut off, or round, what it is given.
    /// They are put into the quarantine.
    async fn check_written(
        &self,
        migrated: &Migrated,
        after: Option<&Cursor>,
        written: &[Vec<Cell>],
    ) -> Result<u64, MigrationError> {
        if written.is_empty() {
            return Ok(0);
        }
        let rows = patiently(|| self.rows(migrated, Rows::Sealed, after)).await?;
        let (mut page, mut differing) = (Page::default(), 0);
        for row in rows.iter().filter(|row| written.contains(&row.key)) {
            if !self.is_written(migrated, row) {
                differing += 1;
                page.note(row, "differs");
            }
        }
        self.write(migrated, &[reset_swap::<DB>(migrated)], page, None)
            .await?;
        Ok(differing)
    }

    /// Whether the column of plaintext holds the value of a row's token, be it SQL NULL.
    fn is_written(&self, migrated: &Migrated, row: &Row) -> bool {
        let (Some(identity), Ok(Some(token))) =
            (&row.identity, row.token(&migrated.table, migrated.position))
        else {
            return false;
        };
        let (keys, table) = (&*self.keyring, &migrated.table.rows);
        table.holds(keys, identity, migrated.position, token, &row.plaintext) == Ok(true)
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
}

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
    /// Rows whose column does not hold what was written: it cuts off or rounds, or somebody wrote meanwhile. They are in the quarantine.
    pub differing: u64,
}
