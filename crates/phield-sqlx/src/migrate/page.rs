//! What a page of a migration writes, in one short transaction; and its notes in the quarantine.

use super::Migration;
use super::column::{Migrated, Row};
use super::database::MigrationDatabase;
use super::error::MigrationError;
use super::step::{self, MigrationRecord};
use crate::backend::Reuse;
use crate::rotate::Cell;
use crate::rotate::cell::Cursor;
use crate::rotate::patience::patiently;
use crate::rotate::state::{self, sql, text};
use crate::rotate::swap::{Swap, SwapRow, Value};

/// What rows of a migration are marked with in the quarantine.
const QUARANTINE_MODE: &str = "migrate";

/// A row that is left as it is, and why.
struct Note {
    row_key: String,
    reason: &'static str,
}

/// What a page writes.
#[derive(Default)]
pub(super) struct Page {
    /// Rows whose old value is there, and rows in which it is SQL NULL.
    swaps: [Vec<SwapRow>; 2],
    notes: Vec<Note>,
}

impl Page {
    /// A row to be written: what was read, which no value is equal to when it is SQL NULL, and what is new.
    pub(super) fn push(&mut self, key: Vec<Cell>, old: Value, new: Vec<Value>) {
        let [there, null] = &mut self.swaps;
        if old.is_null() {
            null.push(SwapRow { key, values: new });
        } else {
            let values = std::iter::once(old).chain(new).collect();
            there.push(SwapRow { key, values });
        }
    }

    pub(super) fn note(&mut self, row: &Row, reason: &'static str) {
        let row_key = Cursor(row.key.clone()).to_text();
        self.notes.push(Note { row_key, reason });
    }
}

impl<DB: MigrationDatabase> Migration<DB> {
    /// Writes a page in one transaction, and tries again what can succeed then; how many rows were written.
    pub(super) async fn write(
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
        let duplicates = duplicates.iter().map(|row_key| (row_key, "duplicate"));
        let notes = page.notes.iter().map(|note| (&note.row_key, note.reason));
        let notes = notes.chain(duplicates).map(|(row_key, reason)| state::Note {
            row_key: row_key.clone(),
            column: migrated.sealed.clone(),
            reason,
            key: String::new(),
            held: String::new(),
        });
        let (notes, table) = (notes.collect::<Vec<_>>(), migrated.table.name());
        state::note::<DB>(&mut transaction, (QUARANTINE_MODE, ""), table, &notes).await?;
        if let Some((record, place)) = checkpoint {
            step::checkpoint::<DB>(&mut transaction, record, &place.to_text(), written).await?;
        }
        transaction.commit().await?;
        Ok(written)
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
