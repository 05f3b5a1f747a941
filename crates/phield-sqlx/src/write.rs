//! Writing rows.

use sqlx::{Connection, Executor};

use crate::backend::Backend;
use crate::error::Error;
use crate::row::{BindRow, Values};
use crate::statement::Statement;

/// Inserts one sealed row.
///
/// # Errors
/// When the database refuses it.
pub async fn insert<'c, R, E>(executor: E, row: &R) -> Result<(), Error>
where
    E: Executor<'c>,
    E::Database: Backend,
    R: BindRow<E::Database>,
{
    let (sql, arguments) = insert_statement::<E::Database, R>(std::slice::from_ref(row)).finish()?;
    sqlx::query_with(sql, arguments).execute(executor).await?;
    Ok(())
}

/// Inserts sealed rows with as few statements as the database allows, all or none of them; how many there were.
///
/// In a transaction of the caller they are a part of it; otherwise they are one of their own.
///
/// # Errors
/// When the database refuses a row. Then none is inserted.
pub async fn insert_batch<C, R>(connection: &mut C, rows: Vec<R>) -> Result<u64, Error>
where
    C: Connection,
    C::Database: Backend,
    R: BindRow<C::Database>,
{
    let mut transaction = connection.begin().await?;
    let mut inserted = 0;
    let rows_each = (C::Database::MAX_BINDS / R::COLUMNS.len().max(1)).max(1);
    for chunk in rows.chunks(rows_each) {
        let statement = insert_statement::<C::Database, R>(chunk);
        inserted += C::Database::execute(statement, &mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(inserted)
}

/// `INSERT INTO table (columns) VALUES (…), (…)`
fn insert_statement<DB: Backend, R: BindRow<DB>>(rows: &[R]) -> Statement<DB> {
    let mut statement = Statement::new("INSERT INTO ");
    statement.table(R::TABLE).push(" (");
    let written = R::COLUMNS.iter().filter(|column| !R::GENERATED.contains(column));
    for (i, column) in written.enumerate() {
        statement.push(if i > 0 { ", " } else { "" }).name(column);
    }
    statement.push(") VALUES ");
    for (i, row) in rows.iter().enumerate() {
        statement.push(if i > 0 { ", (" } else { "(" });
        row.bind_row(&mut Values::new(&mut statement));
        statement.push(")");
    }
    statement
}
