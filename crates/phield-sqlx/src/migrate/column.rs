//! A column that is migrated: its plaintext, its tokens and its indexes, in a table of the database.

use phield_core::{
    ColumnEntry, PlainValue, RowIdentity, SchemaFile, StorageKind, TableEntry, ValueType, text_of_token,
    token_of_text,
};

use super::database::MigrationDatabase;
use super::error::MigrationError;
use super::lookup::{is_elsewhere, is_floating, is_same_name, look_up};
use crate::backend::Reuse;
use crate::rotate::Cell;
use crate::rotate::cell::Cursor;
use crate::rotate::table::{PageRow, Table};
use crate::statement::{Statement, quoted, quoted_table};

/// Most bytes of the values of one page, in memory.
const PAGE_BYTES: usize = 8 << 20;

/// The column, by the schema and the database.
#[derive(Debug)]
pub(crate) struct Migrated {
    pub(crate) table: Table,
    pub(crate) column: String,
    /// Its position among the sealed columns.
    pub(crate) position: usize,
    /// The column of the tokens, by its name in SQL.
    pub(crate) sealed: String,
    pub(crate) is_text: bool,
    pub(crate) value_type: ValueType,
    /// A SQL NULL in the plaintext is sealed as an encrypted null.
    pub(crate) encrypted_null: bool,
    pub(crate) sql_null: bool,
    /// The column of the plaintext, by its name in SQL.
    pub(crate) plaintext: String,
    /// Its type in SQL, in lower case.
    pub(crate) plaintext_type: String,
    pub(crate) plaintext_nullable: bool,
    /// Positions of the indexes that the column is a part of.
    pub(crate) indexes: Vec<usize>,
}

/// Which rows of the table a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Those that are to be sealed.
    Unsealed,
    /// Those that have a token.
    Sealed,
}

/// A row of a page.
pub(crate) struct Row {
    pub(crate) key: Vec<Cell>,
    pub(crate) identity: Option<RowIdentity>,
    pub(crate) plaintext: PlainValue<'static>,
    /// The tokens of all sealed columns that were read, by their positions, as they stand there.
    tokens: Vec<(usize, Cell)>,
}

impl Migrated {
    /// By its logical names, and the column of the plaintext by its name in SQL.
    pub(crate) async fn find<DB: MigrationDatabase>(
        connection: &mut DB::Connection,
        schema: &SchemaFile,
        names: [&str; 2],
        plaintext: &str,
    ) -> Result<Self, MigrationError> {
        let (entry, column) = entry_of(schema, names)?;
        let ColumnEntry::Sealed {
            sql_name,
            value_type,
            encrypted_null,
            sql_null,
            storage,
            ..
        } = column
        else {
            return Err(no_such_column(names));
        };
        let refused = |why: &str| MigrationError::Unsupported {
            table: names[0].to_owned(),
            column: names[1].to_owned(),
            why: why.to_owned(),
        };
        if is_same_name::<DB>(sql_name, plaintext) {
            return Err(refused(
                "its tokens and its plaintext cannot stand in one column: give the sealed column another name in SQL \
                 (#[phi(sql_name = \"…\")]), or rename the column of the plaintext",
            ));
        }
        if has_column::<DB>(schema, &entry.sql_table, plaintext) {
            return Err(refused(&format!(
                "the schema has the column {plaintext} for something else: its plaintext stands in a column that no model has. \
                 Nothing was changed"
            )));
        }
        if entry.subject_keys {
            return Err(refused(
                "its rows are sealed under the keys of their subjects, which only the application makes: write the backfill with the \
                 model, and read through MixedTime",
            ));
        }
        if *value_type == ValueType::Float {
            return Err(refused(
                "not every database gives a floating-point number back exactly: write the backfill with the model, and read through \
                 MixedTime",
            ));
        }
        let found = look_up::<DB>(connection, &entry.sql_table, plaintext).await?;
        let (plaintext_type, plaintext_nullable) =
            found.ok_or_else(|| MigrationError::NoPlaintextColumn {
                table: entry.sql_table.clone(),
                column: plaintext.to_owned(),
            })?;
        if is_floating(DB::DIALECT, &plaintext_type) {
            return Err(refused(&format!(
                "the column {plaintext} holds floating-point numbers, which are not read digit for digit: make it one of decimal \
                 numbers or of text first. Nothing was changed"
            )));
        }
        if plaintext_type.starts_with("timestamp") && is_elsewhere::<DB>(connection).await? {
            return Err(refused(&format!(
                "the column {plaintext} is of a type whose values the database gives in the time zone of the session, and that is not \
                 UTC: take the time zone out of the URL, or set it to UTC. Nothing was changed"
            )));
        }
        let key = crate::rotate::key_of::<DB>(connection, entry).await?;
        let table = Table::new(entry, key);
        let position = table
            .rows
            .position(names[1])
            .ok_or_else(|| no_such_column(names))?;
        let has = |index: &usize| table.rows.index_parts(*index).contains(&position);
        Ok(Self {
            indexes: (0..table.indexes.len()).filter(has).collect(),
            column: names[1].to_owned(),
            position,
            sealed: sql_name.clone(),
            is_text: *storage == StorageKind::Text,
            value_type: *value_type,
            encrypted_null: *encrypted_null,
            sql_null: *sql_null,
            plaintext: plaintext.to_owned(),
            plaintext_type,
            plaintext_nullable,
            table,
        })
    }

    /// The positions of the sealed columns that a page reads: this one, and the others of its indexes.
    fn read_columns(&self) -> Vec<usize> {
        let parts = self
            .indexes
            .iter()
            .flat_map(|index| self.table.rows.index_parts(*index));
        let mut columns: Vec<_> = parts.copied().chain([self.position]).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The positions of the other sealed columns of its indexes.
    pub(crate) fn other_parts(&self) -> Vec<usize> {
        let mut columns = self.read_columns();
        columns.retain(|column| *column != self.position);
        columns
    }

    /// `table.column`, as it is compared.
    pub(crate) fn qualified<DB: MigrationDatabase>(&self, column: &str) -> String {
        format!(
            "{}.{}",
            quoted_table::<DB>(&self.table.sql_table),
            quoted::<DB>(column)
        )
    }

    /// The plaintext as it is read.
    pub(crate) fn plaintext_expression<DB: MigrationDatabase>(&self) -> String {
        DB::plaintext(self.value_type).replace("{column}", &self.qualified::<DB>(&self.plaintext))
    }

    /// That the plaintext is the `value` that was read.
    pub(crate) fn unchanged<DB: MigrationDatabase>(&self, value: &str) -> String {
        let text = DB::is_unchanged(self.value_type);
        text.replace("{column}", &self.qualified::<DB>(&self.plaintext))
            .replace("{value}", value)
    }

    fn condition<DB: MigrationDatabase>(&self, rows: Rows) -> String {
        let is = |column: &str, null: &str| format!("{} IS {null}", self.qualified::<DB>(column));
        match rows {
            Rows::Sealed => is(&self.sealed, "NOT NULL"),
            Rows::Unsealed if self.encrypted_null => is(&self.sealed, "NULL"),
            Rows::Unsealed => {
                format!(
                    "{} AND {}",
                    is(&self.sealed, "NULL"),
                    is(&self.plaintext, "NOT NULL")
                )
            }
        }
    }

    /// The next rows of the table.
    pub(crate) async fn page<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
        rows: Rows,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<Row>, MigrationError> {
        let mut statement = Statement::<DB>::new("SELECT ");
        let identity = self.table.identity.iter().map(|column| &column.sql_name);
        let names = self.table.key.iter().chain(identity);
        statement.list(names.map(String::as_str), |statement, name| {
            statement.column(&self.table.sql_table, name);
        });
        statement.push(", ").push(self.plaintext_expression::<DB>());
        let columns = self.read_columns();
        for column in columns.iter().filter_map(|i| self.table.sealed.get(*i)) {
            statement
                .push(", ")
                .column(&self.table.sql_table, &column.sql_name);
        }
        statement.push(" FROM ").table(&self.table.sql_table);
        self.table.push_bounds(&mut statement, after, None);
        statement.push(if after.is_some() { " AND " } else { " WHERE " });
        statement.push(self.condition::<DB>(rows));
        self.table.push_order(&mut statement);
        statement.push(format_args!(" LIMIT {limit}"));
        let found = DB::fetch(statement, Reuse::Likely, PAGE_BYTES, connection).await?;
        let found = self.table.page_rows(found)?.into_iter();
        Ok(found.map(|row| self.row(row, &columns)).collect())
    }

    fn row(&self, mut row: PageRow, columns: &[usize]) -> Row {
        let identity = self.table.identity(&row);
        let tokens = row.values.split_off(1.min(row.values.len()));
        let plaintext = match row.values.pop() {
            Some(Cell::Integer(n)) => PlainValue::Integer(n),
            Some(Cell::Text(text)) => PlainValue::Text(text.into()),
            Some(Cell::Bytes(bytes) | Cell::Raw(bytes) | Cell::Other(bytes)) => {
                PlainValue::Bytes(bytes.into())
            }
            Some(Cell::Uuid(id)) => PlainValue::Text(id.to_string().into()),
            Some(Cell::Null) | None => PlainValue::Null,
        };
        Row {
            key: row.key,
            identity,
            plaintext,
            tokens: columns.iter().copied().zip(tokens).collect(),
        }
    }

    /// Counts rows; `condition` is of constants and names of columns.
    async fn count<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
        condition: &str,
    ) -> Result<u64, MigrationError> {
        let count = format!(
            "SELECT count(*) FROM {} WHERE {condition}",
            quoted_table::<DB>(&self.table.sql_table)
        );
        let found = DB::fetch(
            Statement::<DB>::new(&count),
            Reuse::Unlikely,
            usize::MAX,
            connection,
        )
        .await?;
        match found.first().and_then(|row| row.first()) {
            Some(Cell::Integer(n)) => Ok(u64::try_from(*n).unwrap_or(0)),
            _ => Ok(0),
        }
    }

    /// Rows that are to be sealed.
    pub(crate) async fn count_left<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<u64, MigrationError> {
        self.count::<DB>(connection, &self.condition::<DB>(Rows::Unsealed))
            .await
    }

    /// Rows without a value, where the schema says that there is one.
    pub(crate) async fn count_absent<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<u64, MigrationError> {
        if self.sql_null || self.encrypted_null {
            return Ok(0);
        }
        let [sealed, plaintext] = [&self.sealed, &self.plaintext].map(|column| self.qualified::<DB>(column));
        self.count::<DB>(connection, &format!("{sealed} IS NULL AND {plaintext} IS NULL"))
            .await
    }

    /// Rows that have a token and no plaintext.
    pub(crate) async fn count_tokens_alone<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<u64, MigrationError> {
        let [sealed, plaintext] = [&self.sealed, &self.plaintext].map(|column| self.qualified::<DB>(column));
        self.count::<DB>(
            connection,
            &format!("{sealed} IS NOT NULL AND {plaintext} IS NULL"),
        )
        .await
    }

    /// Rows that have a token.
    pub(crate) async fn count_sealed<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<u64, MigrationError> {
        self.count::<DB>(connection, &self.condition::<DB>(Rows::Sealed))
            .await
    }

    /// That a column that is there already has no tokens.
    pub(crate) async fn refuse_tokens<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<(), MigrationError> {
        if look_up::<DB>(connection, &self.table.sql_table, &self.sealed)
            .await?
            .is_none()
        {
            return Ok(());
        }
        match self.count_sealed::<DB>(connection).await? {
            0 => Ok(()),
            rows => Err(MigrationError::Unsupported {
                table: self.table.name().to_owned(),
                column: self.column.clone(),
                why: format!(
                    "{rows} rows have a token in {} already, and no migration of it is declared: a column that is in use is not \
                     migrated again. Nothing was changed",
                    self.sealed
                ),
            }),
        }
    }

    /// Rows that have a plaintext.
    pub(crate) async fn count_plaintext<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<u64, MigrationError> {
        let plaintext = self.qualified::<DB>(&self.plaintext);
        self.count::<DB>(connection, &format!("{plaintext} IS NOT NULL"))
            .await
    }

    /// All rows.
    pub(crate) async fn count_all<DB: MigrationDatabase>(
        &self,
        connection: &mut DB::Connection,
    ) -> Result<u64, MigrationError> {
        self.count::<DB>(connection, "1 = 1").await
    }

    /// A token as it stands in its column.
    pub(crate) fn stored(&self, token: &[u8]) -> Vec<u8> {
        if self.is_text {
            text_of_token(token).into_bytes()
        } else {
            token.to_vec()
        }
    }
}

impl Row {
    /// The token of a sealed column in its binary form; an error when what stands there is none.
    pub(crate) fn token(&self, table: &Table, position: usize) -> Result<Option<Vec<u8>>, &'static str> {
        let Some((_, cell)) = self.tokens.iter().find(|(i, _)| *i == position) else {
            return Ok(None);
        };
        let is_text = table.sealed.get(position).is_some_and(|column| column.is_text);
        match cell.bytes() {
            None => Ok(None),
            Some(stored) if is_text => token_of_text(stored).map(Some).map_err(|_| "malformed"),
            Some(stored) => Ok(Some(stored.to_vec())),
        }
    }

    /// What stands in the sealed column.
    pub(crate) fn stored(&self, position: usize) -> Option<&[u8]> {
        let found = self.tokens.iter().find(|(i, _)| *i == position);
        found.and_then(|(_, cell)| cell.bytes())
    }
}

fn no_such_column([table, column]: [&str; 2]) -> MigrationError {
    MigrationError::NoSuchColumn {
        table: table.to_owned(),
        column: column.to_owned(),
    }
}

/// Whether a model of this table has the column, by their names in SQL.
fn has_column<DB: MigrationDatabase>(schema: &SchemaFile, sql_table: &str, column: &str) -> bool {
    let tables = schema.tables().iter();
    let mut columns = tables
        .filter(|entry| is_same_name::<DB>(&entry.sql_table, sql_table))
        .flat_map(|entry| &entry.columns);
    columns.any(|entry| is_same_name::<DB>(entry.sql_name(), column))
}

/// The entries of a sealed column in the schema.
pub(crate) fn entry_of<'s>(
    schema: &'s SchemaFile,
    names: [&str; 2],
) -> Result<(&'s TableEntry, &'s ColumnEntry), MigrationError> {
    let mut tables = schema.tables().iter();
    let entry = tables
        .find(|entry| entry.table.as_str() == names[0])
        .ok_or_else(|| no_such_column(names))?;
    let is_it = |column: &&ColumnEntry| matches!(column, ColumnEntry::Sealed { name, .. } if name.as_str() == names[1]);
    let column = entry
        .columns
        .iter()
        .find(is_it)
        .ok_or_else(|| no_such_column(names))?;
    Ok((entry, column))
}
