//! Scans: which keys the values of a table are under, and what the schema does not have.

use std::collections::BTreeMap;

use phield_core::{ColumnEntry, Keyring, SchemaFile, key_of_token};

use super::cell::{Cell, Cursor};
use super::database::RotationDatabase;
use super::error::RotationError;
use super::page::Preparing;
use super::state::{self, KeyCount};
use super::table::{Read, Table};
use crate::backend::Reuse;
use crate::statement::Statement;

/// Rows of a page.
const PAGE: u32 = 5000;
/// Rows that are looked at in a column that is not registered.
const SAMPLE: u32 = 200;

/// What stands in the database and not in the schema, or the other way round.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Unregistered {
    /// Columns that hold tokens, and are not in the schema: no rotation would find them.
    pub columns: Vec<UnregisteredColumn>,
    /// Registered columns with something else than tokens in them, in the rows that were looked at.
    pub plaintext: Vec<UnregisteredColumn>,
    /// Tables whose rows are bound to nothing.
    pub unbound: Vec<String>,
}

/// A column of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnregisteredColumn {
    /// Its table in SQL; a dot stands between its schema and its name.
    pub table: String,
    /// Its name in SQL.
    pub column: String,
    /// How many of the rows that were looked at.
    pub rows: u64,
}

/// The rows of a table, and the keys of its values.
pub(crate) struct Counted {
    pub(crate) rows: u64,
    pub(crate) counts: Vec<KeyCount>,
}

/// Counts the keys of a table's values.
pub(crate) async fn count_keys<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    table: &Table,
    keyring: &Keyring,
) -> Result<Counted, RotationError> {
    let (mut rows, mut sums, mut after) = (0, BTreeMap::new(), None::<Cursor>);
    loop {
        let (statement, reuse) = table.page::<DB>(Read::Keys, after.as_ref(), None, PAGE);
        let read = DB::fetch(statement, reuse, usize::MAX, connection).await?;
        let page = table.page_rows(read);
        let Some(last) = page.last() else { break };
        after = Some(Cursor(last.key.clone()));
        let prepared = Preparing::new(table, keyring, &Vec::new()).keys(&page);
        rows += prepared.done.rows;
        for (key, n) in prepared.done.counts {
            *sums.entry(key).or_insert(0) += n;
        }
    }
    let counts = sums.into_iter().map(|((_, column, key), count)| KeyCount {
        phase: "before".to_owned(),
        table: table.name().to_owned(),
        column,
        key,
        count,
    });
    Ok(Counted {
        rows,
        counts: counts.collect(),
    })
}

/// Looks at the first rows of every column that can hold tokens.
pub(crate) async fn unregistered<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    schema: &SchemaFile,
) -> Result<Unregistered, RotationError> {
    let mut found = Unregistered::default();
    for entry in schema.tables() {
        if !entry.is_bound() {
            found.unbound.push(entry.table.to_string());
        }
    }
    for (sql_schema, table, column) in state::columns_of_all::<DB>(connection).await? {
        if table.starts_with("phield_") {
            continue;
        }
        let is_registered = registered(schema, &sql_schema, &table, &column);
        let sql_table = if sql_schema.is_empty() {
            table
        } else {
            format!("{sql_schema}.{table}")
        };
        let (tokens, others) = sample::<DB>(connection, &sql_table, &column).await?;
        let of = |rows| UnregisteredColumn {
            table: sql_table.clone(),
            column: column.clone(),
            rows,
        };
        match is_registered {
            false if tokens > 0 => found.columns.push(of(tokens)),
            true if others > 0 => found.plaintext.push(of(others)),
            _ => {}
        }
    }
    Ok(found)
}

/// Whether the schema has a sealed column of this name in SQL. A table without a schema in its name may be in any.
fn registered(schema: &SchemaFile, sql_schema: &str, table: &str, column: &str) -> bool {
    let is_table = |sql_table: &str| match sql_table.rsplit_once('.') {
        Some((of, name)) => name == table && (of == sql_schema || sql_schema.is_empty()),
        None => sql_table == table,
    };
    schema
        .tables()
        .iter()
        .filter(|entry| is_table(&entry.sql_table))
        .any(|entry| {
            entry
                .columns
                .iter()
                .any(|entry| matches!(entry, ColumnEntry::Sealed { sql_name, .. } if sql_name == column))
        })
}

/// How many tokens, and how many other values, stand in the first rows of a column that have a value.
async fn sample<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    table: &str,
    column: &str,
) -> Result<(u64, u64), RotationError> {
    let mut statement = Statement::<DB>::new("SELECT ");
    statement.name(column).push(" FROM ").table(table).push(" WHERE ");
    statement
        .name(column)
        .push(format_args!(" IS NOT NULL LIMIT {SAMPLE}"));
    let rows = DB::fetch(statement, Reuse::Unlikely, 4 << 20, connection).await?;
    let is_token = |row: &Vec<Cell>| {
        row.first()
            .and_then(Cell::bytes)
            .is_some_and(|value| key_of_token(value).is_some())
    };
    let tokens = rows.iter().filter(|row| is_token(row)).count();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Ok((count(tokens), count(rows.len() - tokens)))
}
