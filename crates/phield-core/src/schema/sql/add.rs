//! `ALTER TABLE` for a sealed column of a table that is there, and for those of its indexes.

use super::{Dialect, SchemaFile, SchemaSqlError, Statement, create_index, drop_index};
use crate::schema::file::{ColumnEntry, TableEntry};

/// A column that a table gets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddedColumn {
    /// Its name in SQL.
    pub sql_name: String,
    /// The statement that adds it, SQL NULL in every row.
    pub add: String,
    /// The index over it, for a column of index values.
    pub index: Option<AddedIndex>,
    /// The statement that takes it away again.
    pub drop: String,
    /// The statement after which it is NOT NULL, where the schema says so and the database has one.
    pub set_not_null: Option<String>,
}

/// The index, in the database's sense, over a column of index values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddedIndex {
    /// Its name in SQL, without the schema.
    pub sql_name: String,
    /// The statement that makes it.
    pub create: String,
    /// The statement that takes it away again.
    pub drop: String,
}

impl SchemaFile {
    /// The sealed column of a table, both by their logical names, and the columns of the indexes that it is a part of: with the
    /// types that [`create_tables`](Self::create_tables) gives them, and without NOT NULL. Empty when there is none.
    ///
    /// # Errors
    /// See [`SchemaSqlError`].
    pub fn add_column(
        &self,
        dialect: Dialect,
        table: &str,
        column: &str,
    ) -> Result<Vec<AddedColumn>, SchemaSqlError> {
        self.check_names(dialect)?;
        let names = self.index_names();
        let Some(entry) = self.tables().iter().find(|entry| entry.table.as_str() == table) else {
            return Ok(Vec::new());
        };
        let mut statement = Statement::new(dialect, entry)?;
        let mut added = Vec::new();
        for of_table in &entry.columns {
            // In the order of the table: MariaDB's types depend on the room that the columns before have left.
            let (line, _) = statement.column(of_table);
            let index = match of_table {
                ColumnEntry::Sealed { name, .. } if name.as_str() == column => None,
                ColumnEntry::Index { index, .. } => {
                    let index = entry
                        .index(index)
                        .filter(|index| index.columns.iter().any(|part| part.as_str() == column));
                    let Some(index) = index else { continue };
                    let name = names.get(&(entry.table.as_str(), index.name.as_str()));
                    let name = name.map_or("", String::as_str);
                    let mut create = String::new();
                    create_index(&mut create, dialect, entry, index, name);
                    Some(AddedIndex {
                        sql_name: name.to_owned(),
                        create: create.trim_end().to_owned(),
                        drop: drop_index(dialect, entry, name),
                    })
                }
                _ => continue,
            };
            added.push(of_line(dialect, entry, of_table.sql_name(), &line, index));
        }
        Ok(added)
    }
}

fn of_line(
    dialect: Dialect,
    table: &TableEntry,
    sql_name: &str,
    line: &str,
    index: Option<AddedIndex>,
) -> AddedColumn {
    let alter = format!("ALTER TABLE {}", dialect.table(&table.sql_table));
    let name = dialect.quoted(sql_name);
    let nullable = line.strip_suffix(" NOT NULL");
    let set_not_null = nullable.and_then(|_| match dialect {
        Dialect::Sqlite => None,
        Dialect::Postgres => Some(format!("{alter} ALTER COLUMN {name} SET NOT NULL;")),
        Dialect::MariaDb => Some(format!("{alter} MODIFY {line};")),
    });
    AddedColumn {
        sql_name: sql_name.to_owned(),
        add: format!("{alter} ADD COLUMN {};", nullable.unwrap_or(line)),
        index,
        drop: format!("{alter} DROP COLUMN {name};"),
        set_not_null,
    }
}
