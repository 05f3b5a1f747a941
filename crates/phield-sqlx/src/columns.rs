//! The columns of a row, read one after the other.

use sqlx::{Column as _, ColumnIndex, Row};

use crate::row::{ReadColumn, SealedRow};

/// A row whose columns are found by name and by position. For the rows of every driver.
#[doc(hidden)]
pub trait NamedRow: Row {
    /// The column of this name; it stands at `position`, if the row has so many columns as the model.
    #[allow(clippy::missing_errors_doc, reason = "called by generated code")]
    fn named<'r, T: ReadColumn<'r, Self::Database>>(
        &'r self,
        name: &'static str,
        position: usize,
        columns: usize,
    ) -> Result<T, sqlx::Error>;
}

impl<R: Row> NamedRow for R
where
    &'static str: ColumnIndex<R>,
    usize: ColumnIndex<R>,
{
    fn named<'r, T: ReadColumn<'r, R::Database>>(
        &'r self,
        name: &'static str,
        position: usize,
        columns: usize,
    ) -> Result<T, sqlx::Error> {
        // A row with columns of other tables may have the name twice; that of the driver is the one meant.
        let is_whole = self.columns().len() == columns;
        match self.columns().get(position) {
            Some(column) if is_whole && column.name() == name => self.try_get(position),
            _ => self.try_get(name),
        }
    }
}

/// The columns of a model in a row of a database, in the order of the model.
#[doc(hidden)]
#[derive(Debug)]
pub struct Columns<'r, R> {
    row: &'r R,
    table: &'static str,
    names: &'static [&'static str],
    position: usize,
}

/// The columns of the model `S`.
#[must_use]
pub fn columns<S: SealedRow, R>(row: &R) -> Columns<'_, R> {
    Columns {
        row,
        table: S::TABLE,
        names: S::COLUMNS,
        position: 0,
    }
}

impl<'r, R: NamedRow> Columns<'r, R> {
    /// The next one; the error names its table.
    #[allow(clippy::missing_errors_doc, reason = "called by generated code")]
    pub fn read<T: ReadColumn<'r, R::Database>>(&mut self) -> Result<T, sqlx::Error> {
        let (position, table) = (self.position, self.table);
        self.position += 1;
        let column = *self.names.get(position).ok_or(sqlx::Error::RowNotFound)?;
        let read = self.row.named(column, position, self.names.len());
        read.map_err(|error| match error {
            sqlx::Error::ColumnDecode { source, .. } => sqlx::Error::ColumnDecode {
                index: format!("{table}.{column}"),
                source,
            },
            sqlx::Error::ColumnNotFound(_) => sqlx::Error::ColumnNotFound(format!("{table}.{column}")),
            other => other,
        })
    }
}
