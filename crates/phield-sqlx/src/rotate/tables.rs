//! The tables that a rotation goes through, and in which order.

use std::sync::Arc;

use phield_core::TableEntry;

use super::Rotation;
use super::cell::Cell;
use super::database::RotationDatabase;
use super::error::RotationError;
use super::noted::Noted;
use super::page::Preparing;
use super::state::{self, Mode};
use super::table::{self, Table};
use crate::backend::Reuse;
use crate::statement::Statement;

/// So many rows at each end of every table are looked at before a rotation starts.
const SAMPLE: u32 = 100;

impl<DB: RotationDatabase> Rotation<DB> {
    /// The tables of the options, each with the unique key that its pages are ordered by.
    pub(super) async fn tables(&self, mode: Mode) -> Result<Vec<Arc<Table>>, RotationError> {
        let known = self.schema.tables();
        for name in &self.options.tables {
            if !known.iter().any(|entry| entry.table.as_str() == name) {
                return Err(RotationError::NoSuchTable(name.clone()));
            }
        }
        let wanted = |entry: &&TableEntry| {
            self.options.tables.is_empty()
                || self
                    .options
                    .tables
                    .iter()
                    .any(|name| name == entry.table.as_str())
        };
        let mut tables = Vec::new();
        let mut connection = self.pool.acquire().await?;
        for entry in known.iter().filter(wanted) {
            let key = key_of::<DB>(&mut connection, entry).await?;
            let table = Table::new(entry, key);
            state::check_columns::<DB>(&mut connection, &table.sql_table, table.columns()).await?;
            self.check_table(&table, mode)?;
            tables.push(Arc::new(table));
        }
        Ok(tables)
    }

    /// That the first or the last rows of the tables have a value under a key of this ring, where they have values under any.
    pub(super) async fn refuse_other_ring(
        &self,
        connection: &mut DB::Connection,
        tables: &[Arc<Table>],
    ) -> Result<(), RotationError> {
        let keys = self.keyring.status().keys;
        let mut is_any_there = false;
        for table in tables {
            for last in [true, false] {
                let statement = table.sample::<DB>(last, SAMPLE);
                let rows = DB::fetch(statement, Reuse::Unlikely, usize::MAX, connection).await?;
                let rows = table.page_rows(rows)?;
                let counted = Preparing::new(table, &self.keyring, &None).keys(&rows, &Noted::new());
                // What is under no key is no sign of another ring.
                for (_, _, found) in counted.done.counts.keys().filter(|(_, _, key)| key != "-") {
                    is_any_there = true;
                    if keys.iter().any(|key| key.id.to_string() == *found) {
                        return Ok(());
                    }
                }
            }
        }
        match is_any_there {
            true => Err(RotationError::OtherRing),
            false => Ok(()),
        }
    }

    fn check_table(&self, table: &Table, mode: Mode) -> Result<(), RotationError> {
        let refused = |why: String| {
            Err(RotationError::Table {
                table: table.sql_table.clone(),
                why,
            })
        };
        if table.subject_keys && self.subjects.is_none() && mode != Mode::Scan {
            return refused(
                "its rows are sealed under the keys of their subjects, whose store only the application knows: run the rotation \
                 from the application's own command line (`Rotation::with_subjects`), or leave the table out with --tables"
                    .to_owned(),
            );
        }
        if let (Mode::Pepper, Some(index)) = (mode, table.indexes.iter().find(|index| index.unique)) {
            return refused(format!(
                "its index {} is unique, and holds only within one pepper: it is replaced by a new index with its own column, not \
                 rotated in place (`phield migrate`). Leave the table out with --tables until then",
                index.name
            ));
        }
        Ok(())
    }
}

/// How many rows tables have.
pub(super) async fn totals<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    tables: &[Arc<Table>],
) -> Result<Vec<(String, i64)>, RotationError> {
    let mut totals = Vec::new();
    for table in tables {
        if DB::KEYS_TAKE_NULL {
            // No page has them: nothing is greater or less than NULL.
            let mut nulls = Statement::<DB>::new("SELECT 1 FROM ");
            nulls.table(&table.sql_table);
            for (i, name) in table.key.iter().enumerate() {
                nulls
                    .push(if i > 0 { " OR " } else { " WHERE " })
                    .name(name)
                    .push(" IS NULL");
            }
            nulls.push(" LIMIT 1");
            if !DB::fetch(nulls, Reuse::Unlikely, usize::MAX, connection)
                .await?
                .is_empty()
            {
                table.check_place(&[Cell::Null])?;
            }
        }
        let rows = state::row_total::<DB>(connection, &table.sql_table).await?;
        totals.push((table.name().to_owned(), rows));
    }
    Ok(totals)
}

/// The unique key that pages are ordered by: the row id where it is one, else the primary key, else another; of columns that are
/// never NULL, and whose order is that of `>`.
pub(crate) async fn key_of<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    entry: &TableEntry,
) -> Result<Vec<String>, RotationError> {
    state::check_seen::<DB>(connection, &entry.sql_table).await?;
    let keys = state::unique_keys::<DB>(connection, &entry.sql_table).await?;
    let identity = table::key_of_entry(entry);
    let is_identity =
        |key: &&Vec<String>| !key.is_empty() && key.iter().all(|column| identity.contains(column));
    match (keys.iter().find(is_identity), keys.first()) {
        (Some(key), _) | (None, Some(key)) => Ok(key.clone()),
        _ if state::place::<DB>(connection, &entry.sql_table).await?.is_none() => {
            Err(RotationError::NoTable(entry.sql_table.clone()))
        }
        _ => Err(RotationError::Table {
            table: entry.sql_table.clone(),
            why: "it has no primary key and no unique index over columns that are NOT NULL and of integers, UUIDs, text or bytes, so \
                  that its rows cannot be gone through in order: create one over the columns of the row id"
                .to_owned(),
        }),
    }
}
