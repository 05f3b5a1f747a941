//! Reading and finding rows: what the generated finders call.

use phield_core::{BlindIndex, IndexError, Model};
use sqlx::{ColumnIndex, Database, Decode, Executor, FromRow, Row, Type};

use crate::backend::Backend;
use crate::error::Error;
use crate::row::{BindColumn, SealedRow};
use crate::statement::Statement;

/// The rows with one of two index values, opened; of these, the rows that have the `same` value.
///
/// An index value is a claim of whoever writes to the database: the opened value decides.
#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
pub async fn find<'c, M, E>(
    executor: E,
    keys: &M::Keys<'_>,
    index_column: &'static str,
    slots: [BlindIndex; 2],
    tenant: impl FnOnce(&mut Conditions<'_, E::Database>),
    same: impl Fn(&M) -> Result<bool, IndexError>,
) -> Result<Vec<M>, Error>
where
    E: Executor<'c>,
    E::Database: Backend,
    M: Model,
    M::Sealed: SealedRow + for<'r> FromRow<'r, <E::Database as Database>::Row> + Send + Unpin,
{
    let mut statement = select::<E::Database, M::Sealed>();
    let [first, second] = slots;
    let mut conditions = Conditions::new(&mut statement, M::Sealed::TABLE);
    conditions.column(index_column).push(" IN (");
    E::Database::bind_index(conditions.statement, first);
    conditions.statement.push(", ");
    E::Database::bind_index(conditions.statement, second);
    conditions.statement.push(")");
    tenant(&mut conditions);
    let (sql, arguments) = statement.finish()?;
    let candidates: Vec<M::Sealed> = sqlx::query_as_with(sql, arguments).fetch_all(executor).await?;
    let mut found = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let model = M::open_reported(candidate, keys)?.value;
        if same(&model)? {
            found.push(model);
        }
    }
    Ok(found)
}

/// The row with this key, opened.
#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
pub async fn fetch<'c, M, E>(
    executor: E,
    keys: &M::Keys<'_>,
    key: impl FnOnce(&mut Conditions<'_, E::Database>),
) -> Result<Option<M>, Error>
where
    E: Executor<'c>,
    E::Database: Backend,
    M: Model,
    M::Sealed: SealedRow + for<'r> FromRow<'r, <E::Database as Database>::Row> + Send + Unpin,
{
    let mut statement = select::<E::Database, M::Sealed>();
    key(&mut Conditions::new(&mut statement, M::Sealed::TABLE));
    let (sql, arguments) = statement.finish()?;
    let row: Option<M::Sealed> = sqlx::query_as_with(sql, arguments)
        .fetch_optional(executor)
        .await?;
    Ok(row
        .map(|row| M::open_reported(row, keys))
        .transpose()?
        .map(|reported| reported.value))
}

/// `SELECT columns FROM table`
fn select<DB: Backend, R: SealedRow>() -> Statement<DB> {
    let mut statement = Statement::new("SELECT ");
    for (i, column) in R::COLUMNS.iter().enumerate() {
        statement
            .push(if i > 0 { ", " } else { "" })
            .column(R::TABLE, column);
    }
    statement.push(" FROM ").table(R::TABLE);
    statement
}

/// ` WHERE column … AND column …`
#[derive(Debug)]
pub struct Conditions<'s, DB: Database> {
    statement: &'s mut Statement<DB>,
    table: &'static str,
    first: bool,
}

impl<'s, DB: Backend> Conditions<'s, DB> {
    fn new(statement: &'s mut Statement<DB>, table: &'static str) -> Self {
        Self {
            statement,
            table,
            first: true,
        }
    }

    fn column(&mut self, column: &'static str) -> &mut Statement<DB> {
        let first = std::mem::take(&mut self.first);
        self.statement
            .push(if first { " WHERE " } else { " AND " })
            .column(self.table, column)
    }

    /// The column has this value.
    pub fn equal(&mut self, column: &'static str, value: &impl BindColumn<DB>) {
        value.bind_column(self.column(column).push(" = "));
    }
}

/// A column of a row of a database; the error names its table.
#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
pub fn column<'r, R, T>(row: &'r R, table: &'static str, column: &'static str) -> Result<T, sqlx::Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    T: Decode<'r, R::Database> + Type<R::Database>,
{
    row.try_get(column).map_err(|error| match error {
        sqlx::Error::ColumnDecode { source, .. } => sqlx::Error::ColumnDecode {
            index: format!("{table}.{column}"),
            source,
        },
        sqlx::Error::ColumnNotFound(_) => sqlx::Error::ColumnNotFound(format!("{table}.{column}")),
        other => other,
    })
}
