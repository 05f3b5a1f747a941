//! What the database says of its tables.

use super::{fetch, integer, string, text};
use crate::backend::Reuse;
use crate::rotate::cell::Cell;
use crate::rotate::database::RotationDatabase;
use crate::rotate::error::RotationError;
use crate::statement::Statement;

/// How many rows a table has.
pub(crate) async fn row_total<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<i64, RotationError> {
    let mut statement = Statement::<DB>::new("SELECT count(*) FROM ");
    statement.table(sql_table);
    let rows = DB::fetch(statement, Reuse::Unlikely, usize::MAX, connection).await?;
    Ok(rows.first().and_then(|row| integer(row.first())).unwrap_or(0))
}

/// Unique keys that the rows of a table can be gone through by, the primary key first.
pub(crate) async fn unique_keys<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<Vec<Vec<String>>, RotationError> {
    let rows = fetch::<DB>(connection, DB::UNIQUE_KEYS, &names::<DB>(sql_table)).await?;
    let mut keys: Vec<(String, Option<Vec<String>>)> = Vec::new();
    for row in &rows {
        let Some(index) = string(row.first()) else {
            continue;
        };
        // An expression is no column.
        let column = string(row.get(1)).filter(|_| integer(row.get(3)) == Some(1));
        match keys.last_mut() {
            // A key is used as a whole.
            Some((last, columns)) if *last == index => {
                *columns = columns.take().zip(column).map(|(mut columns, column)| {
                    columns.push(column);
                    columns
                });
            }
            _ => keys.push((index, column.map(|column| vec![column]))),
        }
    }
    Ok(keys.into_iter().filter_map(|(_, columns)| columns).collect())
}

/// What [`UNIQUE_KEYS`](RotationDatabase::UNIQUE_KEYS) binds.
fn names<DB: RotationDatabase>(sql_table: &str) -> Vec<Cell> {
    names_of(sql_table, DB::UNIQUE_KEY_NAMES)
}

/// 0 for the schema, or an empty text, and 1 for the table.
fn names_of(sql_table: &str, which: &[usize]) -> Vec<Cell> {
    let (schema, table) = sql_table.rsplit_once('.').unwrap_or(("", sql_table));
    let names = [text(schema), text(table)];
    which.iter().filter_map(|i| names.get(*i).cloned()).collect()
}

/// Names of the transactions that have written into a table and are open.
pub(crate) async fn open_writers<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<Vec<String>, RotationError> {
    if DB::OPEN_WRITERS.is_empty() {
        return Ok(Vec::new());
    }
    let names = names_of(sql_table, DB::OPEN_WRITERS_NAMES);
    let rows = fetch::<DB>(connection, DB::OPEN_WRITERS, &names).await?;
    Ok(rows.iter().filter_map(|row| string(row.first())).collect())
}

/// Where a table is that is written in the schema file: its schema, and its name; none where it is not there.
pub(crate) async fn place<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<Option<(String, String)>, RotationError> {
    let (schema, table) = sql_table.rsplit_once('.').unwrap_or(("", sql_table));
    let names = [text(table), text(schema), text(schema)];
    let rows = fetch::<DB>(connection, DB::PLACE, &names).await?;
    Ok(rows
        .first()
        .and_then(|row| Some((string(row.first())?, string(row.get(1))?))))
}

/// That a table is there, with these columns. (SQLite takes the name of a column that is not there for a text.)
pub(crate) async fn check_columns<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
    columns: impl Iterator<Item = &str>,
) -> Result<(), RotationError> {
    let Some((schema, table)) = place::<DB>(connection, sql_table).await? else {
        return Err(RotationError::NoTable(sql_table.to_owned()));
    };
    let names = [text(table), text(schema.as_str()), text(schema)];
    let rows = fetch::<DB>(connection, DB::COLUMNS_OF, &names).await?;
    let there: Vec<String> = rows.iter().filter_map(|row| string(row.first())).collect();
    let is_missing = |column: &&str| !there.iter().any(|name| name.eq_ignore_ascii_case(column));
    match columns.into_iter().find(is_missing) {
        Some(column) => Err(RotationError::NoColumn {
            table: sql_table.to_owned(),
            column: column.to_owned(),
        }),
        None => Ok(()),
    }
}

/// The schema that names without one are of, where the database has more of them than are looked at.
pub(crate) async fn own_schema<DB: RotationDatabase>(
    connection: &mut DB::Connection,
) -> Result<Option<String>, RotationError> {
    if DB::OWN_SCHEMA.is_empty() {
        return Ok(None);
    }
    let rows = fetch::<DB>(connection, DB::OWN_SCHEMA, &[]).await?;
    Ok(rows.first().and_then(|row| string(row.first())))
}

/// That no policy hides rows of a table from this role: what is not seen is neither rotated nor counted.
pub(crate) async fn check_seen<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    sql_table: &str,
) -> Result<(), RotationError> {
    if DB::HIDES_ROWS.is_empty() {
        return Ok(());
    }
    match fetch::<DB>(connection, DB::HIDES_ROWS, &names::<DB>(sql_table))
        .await?
        .first()
    {
        Some(_) => Err(hidden(sql_table)),
        None => Ok(()),
    }
}

/// The refusal of a table whose rows a policy hides.
pub(crate) fn hidden(table: &str) -> RotationError {
    RotationError::Table {
        table: table.to_owned(),
        why: "row-level security hides rows of it from this role, and what is not seen is neither rotated nor counted: use a role with \
              BYPASSRLS, or the owner of the table where row-level security is not forced on it"
            .to_owned(),
    }
}

/// A column that can hold tokens.
#[derive(Debug)]
pub(crate) struct AnyColumn {
    /// The schema of its table, where the database has schemas.
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) is_text: bool,
    /// Whether a policy hides rows of it.
    pub(crate) is_hidden: bool,
}

/// Every column of the database that can hold tokens.
pub(crate) async fn columns_of_all<DB: RotationDatabase>(
    connection: &mut DB::Connection,
) -> Result<Vec<AnyColumn>, RotationError> {
    let rows = DB::fetch(
        Statement::new(DB::COLUMNS_OF_ALL),
        Reuse::Unlikely,
        usize::MAX,
        connection,
    )
    .await?;
    let column = |row: &Vec<Cell>| {
        Some(AnyColumn {
            schema: string(row.first())?,
            table: string(row.get(1))?,
            name: string(row.get(2))?,
            is_text: integer(row.get(3))? != 0,
            is_hidden: integer(row.get(4))? != 0,
        })
    };
    let columns = rows.iter().map(column).collect::<Option<_>>();
    columns.ok_or(RotationError::Checkpoint("(columns)"))
}
