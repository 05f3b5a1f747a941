//! What the database says of the columns of a table.

use phield_core::Dialect;

use super::database::MigrationDatabase;
use super::error::MigrationError;
use crate::backend::Reuse;
use crate::rotate::Cell;
use crate::rotate::state::{sql, text};

/// Whether two names in SQL are one: quoted names of PostgreSQL have a case.
pub(crate) fn is_same_name<DB: MigrationDatabase>(one: &str, other: &str) -> bool {
    match DB::DIALECT {
        Dialect::Postgres => one == other,
        _ => one.to_lowercase() == other.to_lowercase(),
    }
}

/// Whether a column of this type, in lower case, holds floating-point numbers, which are not read as they stand there.
pub(crate) fn is_floating(dialect: Dialect, sql_type: &str) -> bool {
    match dialect {
        // As SQLite itself tells it.
        Dialect::Sqlite => ["real", "floa", "doub"]
            .iter()
            .any(|name| sql_type.contains(name)),
        _ => ["real", "float", "double"]
            .iter()
            .any(|name| sql_type.starts_with(name)),
    }
}

/// Type of a column in the database, and whether it takes NULL; none when it is not there.
pub(crate) async fn look_up<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
    column: &str,
) -> Result<Option<(String, bool)>, MigrationError> {
    let (schema, table) = sql_table.rsplit_once('.').unwrap_or(("", sql_table));
    let cells = [table, column, schema, schema].map(text);
    let found = DB::fetch(
        sql::<DB>(DB::COLUMN, &cells),
        Reuse::Unlikely,
        usize::MAX,
        connection,
    )
    .await?;
    let read = |row: &Vec<Cell>| match row.as_slice() {
        [Cell::Text(name), Cell::Integer(nullable)] => Some((name.to_lowercase(), *nullable == 1)),
        _ => None,
    };
    Ok(found.first().and_then(read))
}

/// Columns that an index starts with.
pub(crate) async fn indexed_columns<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<Vec<String>, MigrationError> {
    names::<DB>(connection, DB::INDEXED, sql_table).await
}

/// Indexes of the table that the database began to make and never finished: it keeps them up to date, and searches by none of them.
pub(crate) async fn unfinished_indexes<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<Vec<String>, MigrationError> {
    match DB::UNFINISHED {
        "" => Ok(Vec::new()),
        select => names::<DB>(connection, select, sql_table).await,
    }
}

/// Whether indexes of the table cannot be made beside writers.
pub(crate) async fn is_partitioned<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<bool, MigrationError> {
    match DB::PARTITIONED {
        "" => Ok(false),
        select => Ok(!names::<DB>(connection, select, sql_table).await?.is_empty()),
    }
}

/// Whether the session of a connection has another time than UTC, and the database reads points in time as of that.
pub(crate) async fn is_elsewhere<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
) -> Result<bool, MigrationError> {
    if DB::AHEAD_OF_UTC.is_empty() {
        return Ok(false);
    }
    let select = sql::<DB>(DB::AHEAD_OF_UTC, &[]);
    let found = DB::fetch(select, Reuse::Unlikely, usize::MAX, connection).await?;
    // The two times of the answer may be of different seconds.
    let seconds = found.first().and_then(|row| row.first());
    Ok(!matches!(seconds, Some(Cell::Integer(-1..=1))))
}

/// The names that a statement finds of a table.
async fn names<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    select: &'static str,
    sql_table: &str,
) -> Result<Vec<String>, MigrationError> {
    let (schema, table) = sql_table.rsplit_once('.').unwrap_or(("", sql_table));
    let cells = [table, schema, schema].map(text);
    let found = DB::fetch(sql::<DB>(select, &cells), Reuse::Unlikely, usize::MAX, connection).await?;
    let name = |row: Vec<Cell>| match row.into_iter().next() {
        Some(Cell::Text(name)) => Some(name),
        _ => None,
    };
    Ok(found.into_iter().filter_map(name).collect())
}
