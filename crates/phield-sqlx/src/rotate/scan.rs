//! Scans: which keys the values of a table are under, and what the schema does not have.

use std::collections::{BTreeMap, HashSet};

use phield_core::{ColumnEntry, Keyring, SchemaFile, TableEntry, key_of_token};

use super::cell::{Cell, Cursor};
use super::database::RotationDatabase;
use super::error::RotationError;
use super::forms::Forms;
use super::noted::Noted;
use super::page::Preparing;
use super::state::{self, AnyColumn, KeyCount};
use super::table::{Read, Table};
use crate::backend::Reuse;
use crate::statement::{Statement, quoted};

/// Rows of a page.
const PAGE: u32 = 5000;
/// Values of a column that are looked at.
const SAMPLE: u32 = 200;
/// Most bytes of them.
const SAMPLE_BYTES: usize = 4 << 20;

/// How often the columns of a database are listed, while tables are dropped or given other names.
const LISTS: u32 = 100;

/// Our own tables: no token is in them. A table of the application may begin with our name.
const OWN_TABLES: [&str; 8] = [
    "phield_key_store",
    "phield_migration",
    "phield_quarantine",
    "phield_rotation",
    "phield_rotation_count",
    "phield_rotation_key",
    "phield_rotation_share",
    "phield_rotation_table",
];

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
    /// Where the tables of the schema are that the database has.
    pub registered: Vec<RegisteredTable>,
}

/// A table of the schema, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisteredTable {
    /// Its logical name.
    pub table: String,
    /// Its name in SQL; a dot stands between its schema and its name, whatever the search path is.
    pub sql_table: String,
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
        let page = table.page_rows(read)?;
        let Some(last) = page.last() else { break };
        after = Some(Cursor(last.key.clone()));
        let prepared = Preparing::new(table, keyring, &None).keys(&page, &Noted::new());
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

/// Looks into every column of the database that can hold tokens. The database sorts out what does not look like one.
pub(crate) async fn unregistered<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    schema: &SchemaFile,
    keyring: &Keyring,
) -> Result<Unregistered, RotationError> {
    let mut found = Unregistered::default();
    for entry in schema.tables() {
        if !entry.is_bound() {
            found.unbound.push(entry.table.to_string());
        }
    }
    let forms = Forms::of(keyring);
    let registered = Registered::find::<DB>(connection, schema).await?;
    for ((schema, table), entry) in &registered.tables {
        found.registered.push(RegisteredTable {
            table: entry.table.to_string(),
            sql_table: with_schema(schema, table),
        });
    }
    let mut looked_at = HashSet::new();
    let mut lists = 0;
    loop {
        lists += 1;
        let before = looked_at.len();
        let looked = look::<DB>(connection, (&registered, &forms), &mut looked_at, &mut found).await;
        match looked {
            // What was given another name while it was listed is in the next list.
            Ok(()) if looked_at.len() == before || lists == LISTS => return Ok(found),
            Ok(()) => {}
            Err(RotationError::Database(error)) if error.is_missing() && lists < LISTS => {}
            Err(error) => return Err(error),
        }
    }
}

/// Looks into the columns that were not looked at yet. Where one is not there any more, somebody dropped its table or gave it another
/// name: then the list is to be made again.
async fn look<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    (registered, forms): (&Registered<'_>, &Forms),
    looked_at: &mut HashSet<[String; 3]>,
    found: &mut Unregistered,
) -> Result<(), RotationError> {
    let columns = state::columns_of_all::<DB>(connection).await?;
    let columns = columns
        .into_iter()
        .filter(|column| registered.looks_at(&column.schema));
    let columns: Vec<_> = columns.collect();
    if let Some(column) = columns.iter().find(|column| column.is_hidden) {
        return Err(state::hidden(&column.sql_table()));
    }
    let mut gone = None;
    for column in columns {
        let name = [&column.schema, &column.table, &column.name].map(String::clone);
        if OWN_TABLES.contains(&column.table.as_str()) || looked_at.contains(&name) {
            continue;
        }
        let is_registered = registered.has(&column);
        let rows = if is_registered {
            others::<DB>(connection, &column).await
        } else {
            tokens::<DB>(connection, &column, forms).await
        };
        match rows {
            Ok(rows) if is_registered => found.plaintext.extend(rows.map(|rows| column.found(rows))),
            Ok(rows) => found.columns.extend(rows.map(|rows| column.found(rows))),
            Err(RotationError::Database(error)) if error.is_missing() => {
                gone = Some(error);
                continue;
            }
            Err(other) => return Err(other),
        }
        looked_at.insert(name);
    }
    gone.map_or(Ok(()), |error| Err(error.into()))
}

impl AnyColumn {
    /// Its table; a dot stands between the schema and the name.
    fn sql_table(&self) -> String {
        with_schema(&self.schema, &self.table)
    }

    fn found(&self, rows: u64) -> UnregisteredColumn {
        UnregisteredColumn {
            table: self.sql_table(),
            column: self.name.clone(),
            rows,
        }
    }

    /// `SELECT value FROM table WHERE `
    fn select<DB: RotationDatabase>(&self, value: &str) -> Statement<DB> {
        let mut statement = Statement::<DB>::new("SELECT ");
        statement.push(value).push(" FROM ");
        if !self.schema.is_empty() {
            statement.name(&self.schema).push(".");
        }
        // A name may have dots.
        statement.name(&self.table).push(" WHERE ");
        statement
    }
}

fn with_schema(schema: &str, table: &str) -> String {
    if schema.is_empty() {
        table.to_owned()
    } else {
        format!("{schema}.{table}")
    }
}

/// The tables of the schema, where they are: a table of the same name elsewhere is another one.
struct Registered<'a> {
    tables: Vec<((String, String), &'a TableEntry)>,
    own_schema: Option<String>,
}

impl<'a> Registered<'a> {
    async fn find<DB: RotationDatabase>(
        connection: &mut DB::Connection,
        schema: &'a SchemaFile,
    ) -> Result<Self, RotationError> {
        let own_schema = state::own_schema::<DB>(connection).await?;
        let mut tables = Vec::new();
        for entry in schema.tables() {
            let place = state::place::<DB>(connection, &entry.sql_table).await?;
            tables.extend(place.map(|place| (place, entry)));
        }
        Ok(Self { tables, own_schema })
    }

    /// Whether this scan is about the tables of a schema: not where a server holds the databases of other applications beside it.
    fn looks_at(&self, schema: &str) -> bool {
        match &self.own_schema {
            None => true,
            Some(own) => own == schema || self.tables.iter().any(|((of, _), _)| of == schema),
        }
    }

    /// Whether a column is one that holds tokens by the schema.
    fn has(&self, column: &AnyColumn) -> bool {
        let is_table =
            |(schema, table): &(String, String)| *schema == column.schema && *table == column.table;
        let is_column = |entry: &ColumnEntry| matches!(entry, ColumnEntry::Sealed { sql_name, .. } if *sql_name == column.name);
        let mut entries = self.tables.iter().filter(|(place, _)| is_table(place));
        entries.any(|(_, entry)| entry.columns.iter().any(is_column))
    }
}

/// How many of the first values that look like tokens are some; none where none is. Where there are more of them than are looked at,
/// one that is a token may be among the rest.
async fn tokens<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    column: &AnyColumn,
    forms: &Forms,
) -> Result<Option<u64>, RotationError> {
    if forms.is_empty() {
        return Ok(None);
    }
    let name = quoted::<DB>(&column.name);
    let value = if column.is_text { DB::AS_TEXT } else { "{c}" };
    let mut statement = column.select::<DB>(&value.replace("{c}", &name));
    statement
        .push(DB::holds_tokens(&name, column.is_text, forms))
        .push(format_args!(" LIMIT {SAMPLE}"));
    let rows = DB::fetch(statement, Reuse::Unlikely, SAMPLE_BYTES, connection).await?;
    let holds = |row: &&Vec<Cell>| row.first().is_some_and(|cell| forms.are_in(cell));
    let found = count(rows.iter().filter(holds).count());
    let size: usize = rows.iter().flatten().map(Cell::size).sum();
    let is_all = rows.len() < usize::try_from(SAMPLE).unwrap_or(0) && size < SAMPLE_BYTES;
    Ok(found.or_else(|| count(rows.len()).filter(|_| !is_all)))
}

/// How many of the first values of a registered column are no tokens; none where all are.
async fn others<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    column: &AnyColumn,
) -> Result<Option<u64>, RotationError> {
    let mut statement = column.select::<DB>(&quoted::<DB>(&column.name));
    statement
        .name(&column.name)
        .push(format_args!(" IS NOT NULL LIMIT {SAMPLE}"));
    let rows = DB::fetch(statement, Reuse::Unlikely, SAMPLE_BYTES, connection).await?;
    let is_other = |row: &&Vec<Cell>| row.first().and_then(Cell::bytes).and_then(key_of_token).is_none();
    Ok(count(rows.iter().filter(is_other).count()))
}

fn count(rows: usize) -> Option<u64> {
    u64::try_from(rows).ok().filter(|rows| *rows > 0)
}
