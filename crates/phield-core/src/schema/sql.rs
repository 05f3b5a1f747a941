//! `CREATE TABLE` for the tables of a schema.

mod add;
mod plain;

use std::collections::HashMap;
use std::fmt::Write as _;

use data_encoding::HEXLOWER;

use super::StorageKind;
use super::file::{ColumnEntry, IndexEntry, SchemaFile, TableEntry};
use crate::kdf::sha256;

pub use add::{AddedColumn, AddedIndex};

/// Longest name of an index, in bytes: PostgreSQL's, the shortest limit of the three.
const MAX_NAME: usize = 63;

/// Bytes of a MariaDB row that sealed columns may take as `VARBINARY` and `VARCHAR`. A row has 65,535 for everything
/// but what stands in BLOBs.
const MARIADB_ROW: usize = 48 << 10;

/// A database that SQL is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB; MySQL takes it too.
    MariaDb,
}

impl Dialect {
    const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// Longest name of a table or column, in bytes; PostgreSQL would cut it.
    const fn max_name(self) -> usize {
        match self {
            Self::Sqlite => usize::MAX,
            Self::Postgres => 63,
            Self::MariaDb => 64,
        }
    }

    /// A name, quoted: reserved words are names like others. Names have no quotes.
    fn quoted(self, name: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("\"{name}\""),
            Self::MariaDb => format!("`{name}`"),
        }
    }

    /// A table; a dot stands between its schema and its name.
    fn table(self, sql_table: &str) -> String {
        let parts: Vec<_> = sql_table.split('.').map(|part| self.quoted(part)).collect();
        parts.join(".")
    }

    fn list<'n>(self, names: impl IntoIterator<Item = &'n String>) -> String {
        let names: Vec<_> = names.into_iter().map(|name| self.quoted(name)).collect();
        names.join(", ")
    }
}

/// Why there is no SQL for a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaSqlError {
    /// Plain columns of types that have no type in this database, as far as phield knows.
    #[error(
        "these columns have no type in {database} that phield knows; give each `#[phi(sql_type = \"…\")]`:\n  {}",
        columns.join("\n  ")
    )]
    Types {
        /// The database.
        database: &'static str,
        /// `table.column: its type in Rust`, and why, one a line.
        columns: Vec<String>,
    },
    /// A name that is too long for this database.
    #[error("the name {name:?} is longer than the {limit} bytes that {database} takes")]
    Name {
        /// The database.
        database: &'static str,
        /// The name.
        name: String,
        /// Its limit.
        limit: usize,
    },
    /// More than one integer that the database fills.
    #[error(
        "table {table} has more than one generated integer: a database counts in one alone; give the others \
         `#[phi(sql_type = \"…\")]`"
    )]
    Generated {
        /// The logical name of the table.
        table: String,
    },
}

impl SchemaFile {
    /// The statements that create every table and its indexes, each with a `;` at its end.
    ///
    /// * Names are quoted, and types are those that sqlx 0.9 reads the Rust types from; another type by
    ///   `#[phi(sql_type = "…")]`.
    /// * The primary key is the row id with the tenant before it; or a generated integer where there is one, and then
    ///   these are unique.
    /// * MariaDB has sealed columns as `VARBINARY(n)` and `VARCHAR(n)` where their length is known (see
    ///   [`ColumnEntry::longest_token`]) and the row has room for them, as `MEDIUMBLOB` and `MEDIUMTEXT` elsewhere.
    ///
    /// # Errors
    /// See [`SchemaSqlError`].
    pub fn create_tables(&self, dialect: Dialect) -> Result<String, SchemaSqlError> {
        self.check_names(dialect)?;
        self.check_types(dialect)?;
        let names = self.index_names();
        let mut sql = String::new();
        for table in self.tables() {
            if !sql.is_empty() {
                sql.push('\n');
            }
            Statement::new(dialect, table)?.write(&mut sql);
            for index in &table.indexes {
                let name = names.get(&(table.table.as_str(), index.name.as_str()));
                create_index(&mut sql, dialect, table, index, name.map_or("", String::as_str));
            }
        }
        Ok(sql)
    }

    fn check_names(&self, dialect: Dialect) -> Result<(), SchemaSqlError> {
        let of_table = |table: &'_ TableEntry| -> Vec<String> {
            let columns = table.columns.iter().map(ColumnEntry::sql_name);
            table
                .sql_table
                .split('.')
                .chain(columns)
                .map(str::to_owned)
                .collect()
        };
        let mut names = self.tables().iter().flat_map(of_table);
        match names.find(|name| name.len() > dialect.max_name()) {
            Some(name) => Err(SchemaSqlError::Name {
                database: dialect.name(),
                name,
                limit: dialect.max_name(),
            }),
            None => Ok(()),
        }
    }

    /// Every column without a type is told at once.
    fn check_types(&self, dialect: Dialect) -> Result<(), SchemaSqlError> {
        let mut columns = Vec::new();
        for table in self.tables() {
            for column in &table.columns {
                if let ColumnEntry::Plain {
                    sql_name, rust_type, ..
                } = column
                    && let Err(reason) = plain::column_type(dialect, column, false)
                {
                    columns.push(format!("{}.{sql_name}: {rust_type}{reason}", table.table));
                }
            }
        }
        if columns.is_empty() {
            return Ok(());
        }
        Err(SchemaSqlError::Types {
            database: dialect.name(),
            columns,
        })
    }

    /// The name of each index, `<table>_<its column>`, by table and index. Where that is too long, or two tables would have
    /// the same, a hash of both stands at its end: it depends on nothing else in the schema.
    fn index_names(&self) -> HashMap<(&str, &str), String> {
        let mut users: HashMap<String, usize> = HashMap::new();
        for table in self.tables() {
            *users.entry(table_name(table).to_lowercase()).or_default() += 1;
            for index in &table.indexes {
                *users
                    .entry(plain_index_name(table, index).to_lowercase())
                    .or_default() += 1;
            }
        }
        let mut names = HashMap::new();
        for table in self.tables() {
            for index in &table.indexes {
                let plain = plain_index_name(table, index);
                let is_free = plain.len() <= MAX_NAME && users.get(&plain.to_lowercase()) == Some(&1);
                let name = if is_free {
                    plain
                } else {
                    hashed(&plain, table, index)
                };
                names.insert((table.table.as_str(), index.name.as_str()), name);
            }
        }
        names
    }
}

fn table_name(table: &TableEntry) -> &str {
    table.sql_table.rsplit('.').next().unwrap_or_default()
}

fn plain_index_name(table: &TableEntry, index: &IndexEntry) -> String {
    format!("{}_{}", table_name(table), index.sql_name)
}

/// The start of a name, and 8 hex digits of what it stands for.
fn hashed(plain: &str, table: &TableEntry, index: &IndexEntry) -> String {
    let hash = sha256(format!("{}\0{}", table.sql_table, index.sql_name).as_bytes());
    let digits = HEXLOWER.encode(hash.first_chunk::<4>().map_or(&[], |chunk| chunk.as_slice()));
    let mut end = plain.len().min(MAX_NAME - 1 - digits.len());
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_{digits}", plain.get(..end).unwrap_or_default())
}

fn create_index(sql: &mut String, dialect: Dialect, table: &TableEntry, index: &IndexEntry, name: &str) {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let (mut name, mut on) = (dialect.quoted(name), dialect.table(&table.sql_table));
    if let (Dialect::Sqlite, Some((schema, table))) = (dialect, table.sql_table.split_once('.')) {
        // There, the index has the schema, and the table must not.
        name = format!("{}.{name}", dialect.quoted(schema));
        on = dialect.quoted(table);
    }
    let column = dialect.quoted(&index.sql_name);
    let _ = writeln!(sql, "CREATE {unique}INDEX {name} ON {on} ({column});");
}

fn drop_index(dialect: Dialect, table: &TableEntry, name: &str) -> String {
    let name = dialect.quoted(name);
    match (dialect, table.sql_table.split_once('.')) {
        (Dialect::MariaDb, _) => format!("DROP INDEX {name} ON {};", dialect.table(&table.sql_table)),
        (_, Some((schema, _))) => format!("DROP INDEX {}.{name};", dialect.quoted(schema)),
        (_, None) => format!("DROP INDEX {name};"),
    }
}

/// One `CREATE TABLE` while it is written.
struct Statement<'t> {
    dialect: Dialect,
    table: &'t TableEntry,
    /// The integer that the database fills, if any: it is the primary key.
    counted: Option<&'t str>,
    /// What is left of [`MARIADB_ROW`].
    room: usize,
}

impl<'t> Statement<'t> {
    fn new(dialect: Dialect, table: &'t TableEntry) -> Result<Self, SchemaSqlError> {
        let mut counted = table.columns.iter().filter(|column| plain::is_counted(column));
        let (first, second) = (counted.next(), counted.next());
        if second.is_some() {
            return Err(SchemaSqlError::Generated {
                table: table.table.to_string(),
            });
        }
        Ok(Self {
            dialect,
            table,
            counted: first.map(ColumnEntry::sql_name),
            room: MARIADB_ROW,
        })
    }

    fn write(mut self, sql: &mut String) {
        let (table, dialect) = (self.table, self.dialect);
        let mut lines: Vec<_> = table.columns.iter().map(|column| self.column(column)).collect();
        lines.extend(self.keys().into_iter().map(|key| (key, String::new())));
        let _ = writeln!(sql, "CREATE TABLE {} (", dialect.table(&table.sql_table));
        let last = lines.len().saturating_sub(1);
        for (i, (line, comment)) in lines.iter().enumerate() {
            let comma = if i < last { "," } else { "" };
            let _ = writeln!(sql, "    {line}{comma}{comment}");
        }
        sql.push_str(");\n");
    }

    /// A column, and a comment for the end of its line.
    fn column(&mut self, column: &ColumnEntry) -> (String, String) {
        let name = self.dialect.quoted(column.sql_name());
        let not_null = |sql_null: bool| if sql_null { "" } else { " NOT NULL" };
        match column {
            ColumnEntry::Plain { .. } => {
                let key = self.is_key(column.sql_name());
                // What has none was refused before.
                let sql_type = plain::column_type(self.dialect, column, key).unwrap_or_default();
                (format!("{name} {sql_type}"), String::new())
            }
            ColumnEntry::Sealed {
                value_type,
                storage,
                sql_null,
                ..
            } => {
                let len = column.longest_token();
                let sql_type = self.sealed_type(*storage, len);
                let size = len.map_or_else(
                    || {
                        let size = match storage {
                            StorageKind::Text => "of 5 characters and 4/3 of 61 bytes and the padded value",
                            StorageKind::Binary => "of 61 bytes and the padded value",
                        };
                        size.to_owned()
                    },
                    |len| {
                        format!(
                            "of at most {len} {}",
                            if *storage == StorageKind::Text {
                                "characters"
                            } else {
                                "bytes"
                            }
                        )
                    },
                );
                let comment = format!(" -- sealed {}: tokens {size}", value_type.as_str());
                (format!("{name} {sql_type}{}", not_null(*sql_null)), comment)
            }
            ColumnEntry::Index { index, sql_null, .. } => {
                let len = self.table.index(index).map_or(36, IndexEntry::value_len);
                let sql_type = match self.dialect {
                    Dialect::Sqlite => "BLOB".to_owned(),
                    Dialect::Postgres => "BYTEA".to_owned(),
                    // A BLOB has no index over all of it.
                    Dialect::MariaDb => format!("VARBINARY({len})"),
                };
                let comment = format!(" -- blind index: {len} bytes");
                (format!("{name} {sql_type}{}", not_null(*sql_null)), comment)
            }
        }
    }

    /// The type of a sealed column whose longest token has this length.
    fn sealed_type(&mut self, storage: StorageKind, len: Option<usize>) -> String {
        let is_text = storage == StorageKind::Text;
        match self.dialect {
            Dialect::Sqlite if is_text => return "TEXT".to_owned(),
            Dialect::Sqlite => return "BLOB".to_owned(),
            Dialect::Postgres if is_text => return "TEXT".to_owned(),
            Dialect::Postgres => return "BYTEA".to_owned(),
            Dialect::MariaDb => {}
        }
        // Case-insensitive collations would take two tokens for one.
        let collation = if is_text {
            " CHARACTER SET ascii COLLATE ascii_bin"
        } else {
            ""
        };
        let rest = len.and_then(|len| Some((len, self.room.checked_sub(len + 2)?)));
        if let Some((len, rest)) = rest {
            self.room = rest;
            let name = if is_text { "VARCHAR" } else { "VARBINARY" };
            return format!("{name}({len}){collation}");
        }
        // A value of 16 MiB, which configuration can allow, is a token of more than MEDIUMBLOB's 16 MiB less one byte.
        let long = len.is_none_or(|len| len >= 16 << 20);
        let kind = if is_text { "TEXT" } else { "BLOB" };
        format!("{}{kind}{collation}", if long { "LONG" } else { "MEDIUM" })
    }

    /// The columns that find a row: the tenant, and the row id.
    fn row_columns(&self) -> Vec<&'t String> {
        let row_id = self.table.binding.row_id();
        let tenant = self
            .table
            .tenant
            .as_ref()
            .filter(|tenant| !row_id.contains(tenant));
        tenant
            .filter(|_| !row_id.is_empty())
            .into_iter()
            .chain(row_id)
            .collect()
    }

    fn is_key(&self, sql_name: &str) -> bool {
        self.row_columns().iter().any(|name| *name == sql_name)
    }

    fn keys(&self) -> Vec<String> {
        let row = self.row_columns();
        let list = self.dialect.list(row.iter().copied());
        let counted = self.counted.map(|name| self.dialect.quoted(name));
        match (counted, row.as_slice()) {
            (None, []) => Vec::new(),
            (None, _) => vec![format!("PRIMARY KEY ({list})")],
            // SQLite has it in the line of the column: AUTOINCREMENT stands nowhere else.
            (Some(counted), rest) => {
                let primary = (self.dialect != Dialect::Sqlite).then(|| format!("PRIMARY KEY ({counted})"));
                let is_row = matches!(rest, [name] if Some(name.as_str()) == self.counted);
                let unique = (!rest.is_empty() && !is_row).then(|| format!("UNIQUE ({list})"));
                primary.into_iter().chain(unique).collect()
            }
        }
    }
}
