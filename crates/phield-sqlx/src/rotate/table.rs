//! A table of the schema as it is read and written page by page.

use phield_core::{ColumnEntry, RowIdentity, StorageKind, TableEntry, TableRows, TenantName};

use super::cell::{Cell, Cursor, IdentityType};
use super::database::RotationDatabase;
use super::error::RotationError;
use crate::backend::Reuse;
use crate::statement::Statement;

/// The first bytes of a token, up to its ciphertext: no two tokens have the same, and they are all that a compare-and-swap
/// compares.
const TOKEN_START: usize = 45;
/// The same in the text form: `phi1.` and 60 characters of base64url.
const TEXT_TOKEN_START: usize = 5 + 60;
/// Suite and key id of a token, and the same in text form.
/// In either form: a column that was of text once still has such tokens.
const TOKEN_KEY: usize = 5 + 8;
/// The key id of an index value.
const INDEX_KEY: usize = 4;

/// A table of the schema.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) sql_table: String,
    pub(crate) rows: TableRows,
    pub(crate) is_bound: bool,
    pub(crate) subject_keys: bool,
    /// What pages are ordered by, and rows are found by.
    pub(crate) key: Vec<String>,
    pub(crate) identity: Vec<IdentityColumn>,
    pub(crate) sealed: Vec<StoredColumn>,
    pub(crate) indexes: Vec<IndexColumn>,
}

/// A column of a row's identity.
#[derive(Debug)]
pub(crate) struct IdentityColumn {
    pub(crate) sql_name: String,
    part: IdentityPart,
    of_type: IdentityType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdentityPart {
    RowId,
    Tenant,
    Subject,
    Extra,
}

/// A column of tokens.
#[derive(Debug)]
pub(crate) struct StoredColumn {
    pub(crate) sql_name: String,
    pub(crate) is_text: bool,
}

/// A column of index values.
#[derive(Debug)]
pub(crate) struct IndexColumn {
    pub(crate) sql_name: String,
    pub(crate) name: String,
    pub(crate) unique: bool,
}

/// A row of a page.
#[derive(Debug)]
pub(crate) struct PageRow {
    pub(crate) key: Vec<Cell>,
    identity: Vec<Cell>,
    /// The columns that were asked for, in their order.
    pub(crate) values: Vec<Cell>,
}

/// Which columns of a table a page has beside key and identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Every token.
    Tokens,
    /// Every token, then the start of every index value.
    TokensAndIndexKeys,
    /// Every index value, then every token.
    IndexesAndTokens,
    /// The start of every token and of every index value: as much as tells its key.
    Keys,
}

impl StoredColumn {
    pub(crate) fn start(&self) -> usize {
        if self.is_text {
            TEXT_TOKEN_START
        } else {
            TOKEN_START
        }
    }
}

impl Table {
    /// By its entry in the schema, and the columns that its pages are ordered by.
    pub(crate) fn new(entry: &TableEntry, key: Vec<String>) -> Self {
        let (mut sealed, mut indexes) = (Vec::new(), Vec::new());
        for column in &entry.columns {
            if let ColumnEntry::Sealed {
                sql_name, storage, ..
            } = column
            {
                sealed.push(StoredColumn {
                    sql_name: sql_name.clone(),
                    is_text: *storage == StorageKind::Text,
                });
            }
        }
        for index in &entry.indexes {
            indexes.push(IndexColumn {
                sql_name: index.sql_name.clone(),
                name: index.name.to_string(),
                unique: index.unique,
            });
        }
        Self {
            sql_table: entry.sql_table.clone(),
            rows: TableRows::new(entry),
            is_bound: entry.is_bound(),
            subject_keys: entry.subject_keys,
            key,
            identity: identity(entry),
            sealed,
            indexes,
        }
    }

    /// Its columns that are read, by their names in SQL.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        let identity = self.identity.iter().map(|column| &column.sql_name);
        let sealed = self.sealed.iter().map(|column| &column.sql_name);
        let indexes = self.indexes.iter().map(|column| &column.sql_name);
        identity.chain(sealed).chain(indexes).map(String::as_str)
    }

    /// The logical name.
    pub(crate) fn name(&self) -> &str {
        self.rows.table().as_str()
    }

    /// The statement of the page after `after`, up to and with `until`.
    pub(crate) fn page<DB: RotationDatabase>(
        &self,
        read: Read,
        after: Option<&Cursor>,
        until: Option<&Cursor>,
        limit: u32,
    ) -> (Statement<DB>, Reuse) {
        let mut statement = self.select(read);
        self.push_bounds(&mut statement, after, until);
        self.push_order(&mut statement);
        statement.push(format_args!(" LIMIT {limit}"));
        (statement, Reuse::Likely)
    }

    /// The statement that reads rows by their keys, in the order of pages.
    pub(crate) fn rows_at<'k, DB: RotationDatabase>(
        &self,
        read: Read,
        keys: impl Iterator<Item = &'k [Cell]>,
    ) -> Statement<DB> {
        let mut statement = self.select(read);
        for (i, key) in keys.enumerate() {
            statement.push(if i > 0 { " OR (" } else { " WHERE (" });
            for (j, (name, cell)) in self.key.iter().zip(key).enumerate() {
                statement.push(if j > 0 { " AND " } else { "" });
                statement.name(name).push(" = ");
                DB::bind_cell(&mut statement, cell);
            }
            statement.push(")");
        }
        self.push_order(&mut statement);
        statement
    }

    /// `SELECT … FROM table`
    fn select<DB: RotationDatabase>(&self, read: Read) -> Statement<DB> {
        let mut statement = Statement::new("SELECT ");
        let keys = self
            .key
            .iter()
            .chain(self.identity.iter().map(|column| &column.sql_name));
        statement.list(keys.map(String::as_str), |statement, name| {
            statement.name(name);
        });
        self.push_values(&mut statement, read);
        statement.push(" FROM ").table(&self.sql_table);
        statement
    }

    fn push_values<DB: RotationDatabase>(&self, statement: &mut Statement<DB>, read: Read) {
        let start = |statement: &mut Statement<DB>, name: &str, len: usize| {
            statement
                .push(", substr(")
                .name(name)
                .push(format_args!(", 1, {len})"));
        };
        if read == Read::IndexesAndTokens {
            for index in &self.indexes {
                statement.push(", ").name(&index.sql_name);
            }
        }
        for column in &self.sealed {
            match read {
                Read::Keys => start(statement, &column.sql_name, TOKEN_KEY),
                _ => {
                    statement.push(", ").name(&column.sql_name);
                }
            }
        }
        if matches!(read, Read::Keys | Read::TokensAndIndexKeys) {
            for index in &self.indexes {
                start(statement, &index.sql_name, INDEX_KEY);
            }
        }
    }

    /// The statement that reads the key `rows` rows after `after`: where a share of the table ends.
    pub(crate) fn end_of_share<DB: RotationDatabase>(
        &self,
        after: Option<&Cursor>,
        rows: u32,
    ) -> Statement<DB> {
        let mut statement = Statement::new("SELECT ");
        statement.list(self.key.iter().map(String::as_str), |statement, name| {
            statement.name(name);
        });
        statement.push(" FROM ").table(&self.sql_table);
        self.push_bounds(&mut statement, after, None);
        self.push_order(&mut statement);
        statement.push(format_args!(" LIMIT 1 OFFSET {}", rows.saturating_sub(1)));
        statement
    }

    /// The statement that reads the keys of the first rows, or of the last ones.
    pub(crate) fn sample<DB: RotationDatabase>(&self, last: bool, limit: u32) -> Statement<DB> {
        let mut statement = self.select(Read::Keys);
        statement.push(" ORDER BY ");
        statement.list(self.key.iter().map(String::as_str), |statement, name| {
            statement
                .name(name)
                .push(DB::KEY_ORDER)
                .push(if last { " DESC" } else { "" });
        });
        statement.push(format_args!(" LIMIT {limit}"));
        statement
    }

    /// The statement that reads the greatest key of the table: where the last share ends. What is written behind it is the next pass's,
    /// or no pass would end beside somebody who only ever writes there.
    pub(crate) fn last_key<DB: RotationDatabase>(&self) -> Statement<DB> {
        let mut statement = Statement::new("SELECT ");
        statement.list(self.key.iter().map(String::as_str), |statement, name| {
            statement.name(name);
        });
        statement.push(" FROM ").table(&self.sql_table).push(" ORDER BY ");
        statement.list(self.key.iter().map(String::as_str), |statement, name| {
            statement.name(name).push(DB::KEY_ORDER).push(" DESC");
        });
        statement.push(" LIMIT 1");
        statement
    }

    pub(crate) fn push_bounds<DB: RotationDatabase>(
        &self,
        statement: &mut Statement<DB>,
        after: Option<&Cursor>,
        until: Option<&Cursor>,
    ) {
        let mut word = " WHERE ";
        for (cursor, strictly) in [(after, " > "), (until, " < ")] {
            let Some(cursor) = cursor else { continue };
            statement.push(std::mem::replace(&mut word, " AND "));
            self.push_beyond(statement, cursor, strictly, strictly == " < ");
        }
    }

    /// `a > ? OR (a = ? AND (b > ? …))`: MariaDB uses no index for a comparison of rows.
    fn push_beyond<DB: RotationDatabase>(
        &self,
        statement: &mut Statement<DB>,
        cursor: &Cursor,
        strictly: &str,
        or_equal: bool,
    ) {
        let last = self.key.len().saturating_sub(1);
        for (i, (key, cell)) in self.key.iter().zip(&cursor.0).enumerate() {
            if i == last {
                let operator = match (strictly, or_equal) {
                    (" < ", true) => " <= ",
                    (operator, _) => operator,
                };
                statement.push("(").name(key).push(DB::KEY_ORDER).push(operator);
                DB::bind_cell(statement, cell);
                statement.push(")");
            } else {
                // The first condition alone is what an index is searched by.
                statement.push("(").name(key).push(DB::KEY_ORDER);
                statement.push(strictly.trim_end()).push("= ");
                DB::bind_cell(statement, cell);
                statement
                    .push(" AND (")
                    .name(key)
                    .push(DB::KEY_ORDER)
                    .push(strictly);
                DB::bind_cell(statement, cell);
                statement.push(" OR ");
            }
        }
        statement.push("))".repeat(last));
    }

    pub(crate) fn push_order<DB: RotationDatabase>(&self, statement: &mut Statement<DB>) {
        statement.push(" ORDER BY ");
        statement.list(self.key.iter().map(String::as_str), |statement, name| {
            statement.name(name).push(DB::KEY_ORDER);
        });
    }

    /// The rows of a page, of what was read.
    ///
    /// # Errors
    /// [`RotationError::Table`] for a row that has no place in the order of the table: rows after it would not be read.
    pub(crate) fn page_rows(&self, rows: Vec<Vec<Cell>>) -> Result<Vec<PageRow>, RotationError> {
        let rows = rows.into_iter();
        let rows = rows.map(|mut key| {
            let mut identity = key.split_off(self.key.len().min(key.len()));
            let values = identity.split_off(self.identity.len().min(identity.len()));
            self.check_place(&key)?;
            Ok(PageRow {
                key,
                identity,
                values,
            })
        });
        rows.collect()
    }

    /// That rows can be gone through from here on.
    pub(crate) fn check_place(&self, key: &[Cell]) -> Result<(), RotationError> {
        if key.iter().all(Cell::is_place) {
            return Ok(());
        }
        Err(RotationError::Table {
            table: self.sql_table.clone(),
            why: format!(
                "a row has NULL, or a value of another type, in {}, which its rows are gone through by: give it one, and make the \
                 column NOT NULL",
                self.key.join(", ")
            ),
        })
    }

    /// What binds a row to its place; none when its columns hold nothing that a row can have been sealed with.
    pub(crate) fn identity(&self, row: &PageRow) -> Option<RowIdentity> {
        let mut identity = RowIdentity::default();
        let mut row_id = Vec::new();
        for (column, cell) in self.identity.iter().zip(&row.identity) {
            match column.part {
                IdentityPart::RowId => row_id.push(column.of_type.row_id(cell)?),
                IdentityPart::Tenant => identity.tenant = Some(column.of_type.tenant(cell)?),
                IdentityPart::Subject => identity.subject = Some(column.of_type.row_id(cell)?),
                IdentityPart::Extra => identity.extra = Some(column.of_type.row_id(cell)?),
            }
        }
        identity.row_id = match row_id.len() {
            0 => None,
            1 => row_id.pop(),
            _ => Some(phield_core::RowId::Composite(row_id)),
        };
        Some(identity)
    }

    /// The tenant of a row, where its table has tenants.
    pub(crate) fn tenant(&self, row: &PageRow) -> Option<TenantName> {
        let columns = self.identity.iter().zip(&row.identity);
        let mut tenants = columns.filter(|(column, _)| column.part == IdentityPart::Tenant);
        tenants
            .next()
            .and_then(|(column, cell)| column.of_type.tenant(cell))
    }
}

fn identity(entry: &TableEntry) -> Vec<IdentityColumn> {
    let of_type = |name: &str| {
        let found = entry.columns.iter().find_map(|column| match column {
            ColumnEntry::Plain {
                sql_name, rust_type, ..
            } if sql_name == name => Some(IdentityType::of_rust(rust_type)),
            _ => None,
        });
        found.unwrap_or(IdentityType::Other)
    };
    let row_id = match &entry.binding {
        phield_core::BindingEntry::RowId(columns) => columns.as_slice(),
        _ => &[],
    };
    let row_id = row_id.iter().map(|name| (name, IdentityPart::RowId));
    let others = [
        (&entry.tenant, IdentityPart::Tenant),
        (&entry.subject, IdentityPart::Subject),
        (&entry.extra, IdentityPart::Extra),
    ];
    let others = others
        .into_iter()
        .filter_map(|(name, part)| Some((name.as_ref()?, part)));
    row_id
        .chain(others)
        .map(|(name, part)| IdentityColumn {
            sql_name: name.clone(),
            part,
            of_type: of_type(name),
        })
        .collect()
}

/// The columns that say which row it is: of the tenant and of the row id. None in an unbound table.
pub(crate) fn key_of_entry(entry: &TableEntry) -> Vec<String> {
    match &entry.binding {
        phield_core::BindingEntry::RowId(columns) => entry.tenant.iter().chain(columns).cloned().collect(),
        _ => Vec::new(),
    }
}
