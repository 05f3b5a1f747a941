//! Reading and finding rows: what the generated finders call.

use phield_core::{BlindIndex, IndexError, Model};
use sqlx::{Database, Executor, FromRow};

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
    same: impl Fn(&M) -> Result<bool, IndexError>,
) -> Result<Vec<M>, Error>
where
    E: Executor<'c>,
    E::Database: Backend,
    M: Model,
    M::Sealed: SealedRow + for<'r> FromRow<'r, <E::Database as Database>::Row> + Send + Unpin,
{
    let mut statement = select::<E::Database, M::Sealed>(index_column);
    let [first, second] = slots;
    statement.push(" IN (");
    E::Database::bind_index(&mut statement, first);
    statement.push(", ");
    E::Database::bind_index(&mut statement, second);
    statement.push(")");
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

/// The row with this id, opened.
#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
pub async fn fetch<'c, M, E, I>(
    executor: E,
    keys: &M::Keys<'_>,
    row_id_column: &'static str,
    row_id: &I,
) -> Result<Option<M>, Error>
where
    E: Executor<'c>,
    E::Database: Backend,
    M: Model,
    M::Sealed: SealedRow + for<'r> FromRow<'r, <E::Database as Database>::Row> + Send + Unpin,
    I: BindColumn<E::Database>,
{
    let mut statement = select::<E::Database, M::Sealed>(row_id_column);
    row_id.bind_column(statement.push(" = "));
    let (sql, arguments) = statement.finish()?;
    let row: Option<M::Sealed> = sqlx::query_as_with(sql, arguments)
        .fetch_optional(executor)
        .await?;
    Ok(row
        .map(|row| M::open_reported(row, keys))
        .transpose()?
        .map(|reported| reported.value))
}

/// `SELECT columns FROM table WHERE column`
fn select<DB: Backend, R: SealedRow>(by: &str) -> Statement<DB> {
    let mut statement = Statement::new("SELECT ");
    for (i, column) in R::COLUMNS.iter().enumerate() {
        statement
            .push(if i > 0 { ", " } else { "" })
            .column(R::TABLE, column);
    }
    statement
        .push(" FROM ")
        .table(R::TABLE)
        .push(" WHERE ")
        .column(R::TABLE, by);
    statement
}
