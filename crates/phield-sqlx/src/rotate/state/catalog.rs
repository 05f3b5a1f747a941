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
    let (schema, table) = sql_table.rsplit_once('.').unwrap_or(("", sql_table));
    let names = [text(schema), text(table)];
    let values: Vec<_> = DB::UNIQUE_KEY_NAMES
        .iter()
        .filter_map(|i| names.get(*i).cloned())
        .collect();
    let rows = fetch::<DB>(connection, DB::UNIQUE_KEYS, &values).await?;
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

/// A column that can hold tokens.
#[derive(Debug)]
pub(crate) struct AnyColumn {
    /// The schema of its table, where the database has schemas.
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) is_text: bool,
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
        })
    };
    let columns = rows.iter().map(column).collect::<Option<_>>();
    columns.ok_or(RotationError::Checkpoint("(columns)"))
}
