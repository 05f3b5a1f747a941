//! `phield.schema.json`: every table of an application, for commands that run without it.
//!
//! ```json
//! {
//!   "version": 1,
//!   "tables": [
//!     {
//!       "table": "patients",
//!       "sql_table": "patients",
//!       "binding": { "row_id": ["id"] },
//!       "columns": [
//!         { "kind": "plain", "sql_name": "id", "rust_type": "Uuid" },
//!         {
//!           "kind": "sealed", "sql_name": "ssn", "name": "ssn", "value_type": "text", "padding": "block(16)",
//!           "storage": "binary", "max_len": 11
//!         },
//!         { "kind": "index", "sql_name": "ssn_index", "index": "ssn" }
//!       ],
//!       "indexes": [
//!         {
//!           "name": "ssn", "sql_name": "ssn_index", "columns": ["ssn"], "normalizers": ["ssn.v1"],
//!           "algorithm": "hmac-sha256", "bits": 256
//!         }
//!       ]
//!     }
//!   ]
//! }
//! ```
//!
//! What is absent or false is left out.

use serde::{Deserialize, Serialize};

use super::{
    Binding, ColumnKind, ColumnSchema, IndexSchema, Schema, StorageKind, check, difference, size, text,
};
use crate::frame::Padding;
use crate::index_algorithm::IndexAlgorithm;
use crate::name::{ColumnName, IndexName, InvalidName, TableName};
use crate::normalize::Normalizer;
use crate::value_type::ValueType;

/// The version that is written, and the one that is read.
const VERSION: u32 = 1;

/// The tables of an application, checked: from the constants of its models, or from `phield.schema.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    tables: Vec<TableEntry>,
}

/// A table in a schema file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TableEntry {
    /// Logical name.
    #[serde(with = "text")]
    pub table: TableName,
    /// Name in SQL; a dot stands between its schema and its name.
    pub sql_table: String,
    /// What binds a row.
    pub binding: BindingEntry,
    /// The column of the tenant, where that is bound too; a name in SQL, as the next ones are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The column of the person that a row belongs to, where that is bound too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether rows are sealed under the keys of their subjects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subject_keys: bool,
    /// The column bound as `extra` into every token of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
    /// Every column, in the order of the sealed struct.
    pub columns: Vec<ColumnEntry>,
    /// The blind indexes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<IndexEntry>,
}

/// What binds a row to its place, in a schema file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BindingEntry {
    /// The row id in these columns, by their names in SQL.
    RowId(Vec<String>),
    /// Nothing.
    Unbound,
}

/// A column in a schema file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ColumnEntry {
    /// Something that is not PHI.
    #[non_exhaustive]
    Plain {
        /// Name in SQL.
        sql_name: String,
        /// Its type in Rust, as written in the model.
        rust_type: String,
        /// Its type in SQL, where the model says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sql_type: Option<String>,
        /// Whether the database fills the column itself.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        generated: bool,
    },
    /// Tokens.
    #[non_exhaustive]
    Sealed {
        /// Name in SQL.
        sql_name: String,
        /// Logical name.
        #[serde(with = "text")]
        name: ColumnName,
        /// Type of the values.
        #[serde(with = "text")]
        value_type: ValueType,
        /// Whether an encrypted null is a value.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        encrypted_null: bool,
        /// Whether the column is SQL NULL when the value is absent.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sql_null: bool,
        /// How values are padded.
        #[serde(with = "text")]
        padding: Padding,
        /// Binary or text form.
        #[serde(with = "text")]
        storage: StorageKind,
        /// Most bytes of a value, before framing and padding, where the type or the model bounds them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_len: Option<u32>,
    },
    /// Index values.
    #[non_exhaustive]
    Index {
        /// Name in SQL.
        sql_name: String,
        /// Logical name of the index.
        #[serde(with = "text")]
        index: IndexName,
        /// Whether the column is SQL NULL when a part is absent.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sql_null: bool,
    },
}

/// A blind index in a schema file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IndexEntry {
    /// Logical name.
    #[serde(with = "text")]
    pub name: IndexName,
    /// Name of its column in SQL.
    pub sql_name: String,
    /// Logical names of the indexed columns.
    #[serde(with = "text::list")]
    pub columns: Vec<ColumnName>,
    /// The normalizers, one a column.
    #[serde(with = "text::list")]
    pub normalizers: Vec<Normalizer>,
    /// How index values are computed.
    #[serde(with = "text")]
    pub algorithm: IndexAlgorithm,
    /// How many bits an index value keeps.
    pub bits: u16,
    /// Whether no two rows may have the same value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
}

/// What is wrong with a schema file, or with the models that it describes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaFileError {
    /// Not JSON, or not of the shape of a schema file.
    #[error("not a phield schema file: {0}")]
    Syntax(String),
    /// Of another version.
    #[error("a schema file of version {0}: this phield reads version {VERSION}; use the one that wrote it")]
    Version(u64),
    /// A table that contradicts itself.
    #[error("table {table}: {what}: {name:?}")]
    Table {
        /// Its logical name.
        table: String,
        /// What is wrong.
        what: &'static str,
        /// Of what.
        name: String,
    },
    /// A logical table twice: models of one table that differ, or one model named twice.
    #[error(
        "table {table} is there twice{}",
        if differences.is_empty() { String::new() } else { format!(", and differs:\n  {}", differences.join("\n  ")) }
    )]
    Twice {
        /// Its logical name.
        table: String,
        /// How the second differs from the first, one line each.
        differences: Vec<String>,
    },
    /// Two logical tables in one SQL table.
    #[error("tables {first} and {second} are both the SQL table {sql_table}")]
    SameSqlTable {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// Their name in SQL.
        sql_table: String,
    },
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    tables: Vec<TableEntry>,
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl SchemaFile {
    /// The tables of these models, in this order.
    ///
    /// # Errors
    /// When two models do not go together: one table twice, or two tables of one name in SQL.
    pub fn of(models: &[Schema]) -> Result<Self, SchemaFileError> {
        let tables = models.iter().map(TableEntry::of).collect::<Result<_, _>>()?;
        Self::checked(tables)
    }

    /// Reads a schema file.
    ///
    /// # Errors
    /// When it is none, or of another version, or contradicts itself.
    pub fn from_json(json: &str) -> Result<Self, SchemaFileError> {
        let syntax = |error: serde_json::Error| SchemaFileError::Syntax(error.to_string());
        // Another version may have fields of any name.
        let Versioned { version } = serde_json::from_str(json).map_err(syntax)?;
        if version != u64::from(VERSION) {
            return Err(SchemaFileError::Version(version));
        }
        let written: Written = serde_json::from_str(json).map_err(syntax)?;
        Self::checked(written.tables)
    }

    fn checked(tables: Vec<TableEntry>) -> Result<Self, SchemaFileError> {
        check::tables(&tables)?;
        Ok(Self { tables })
    }

    /// The file: JSON with one field a line, in an order that never changes, and a line end.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "it never does")]
    pub fn to_json(&self) -> String {
        let written = Written {
            version: VERSION,
            tables: self.tables.clone(),
        };
        let mut json =
            serde_json::to_string_pretty(&written).expect("its keys are text and its writer is memory");
        json.push('\n');
        json
    }

    /// The tables.
    #[must_use]
    pub fn tables(&self) -> &[TableEntry] {
        &self.tables
    }

    /// How another description differs from this one, one line each: what was there is left, what is there right.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        difference::lines(&self.tables, &other.tables)
    }
}

impl TableEntry {
    fn of(schema: &Schema) -> Result<Self, SchemaFileError> {
        let invalid = |name: &str| {
            let (table, name) = (schema.table.to_owned(), name.to_owned());
            move |InvalidName { what }: InvalidName| SchemaFileError::Table { table, what, name }
        };
        Ok(Self {
            table: TableName::new(schema.table).map_err(invalid(schema.table))?,
            sql_table: schema.sql_table.to_owned(),
            binding: BindingEntry::of(schema.binding),
            tenant: schema.tenant.map(str::to_owned),
            subject: schema.subject.map(str::to_owned),
            subject_keys: schema.subject_keys,
            extra: schema.extra.map(str::to_owned),
            columns: (schema.columns.iter())
                .map(|column| ColumnEntry::of(column).map_err(invalid(column.sql_name)))
                .collect::<Result<_, _>>()?,
            indexes: (schema.indexes.iter())
                .map(|index| IndexEntry::of(index).map_err(invalid(index.name)))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The column with this name in SQL.
    #[must_use]
    pub fn column(&self, sql_name: &str) -> Option<&ColumnEntry> {
        self.columns.iter().find(|column| column.sql_name() == sql_name)
    }

    /// The index with this logical name.
    #[must_use]
    pub fn index(&self, name: &IndexName) -> Option<&IndexEntry> {
        self.indexes.iter().find(|index| index.name == *name)
    }
}

impl BindingEntry {
    fn of(binding: Binding) -> Self {
        match binding {
            Binding::RowId(columns) => {
                Self::RowId(columns.iter().map(|column| (*column).to_owned()).collect())
            }
            Binding::Unbound => Self::Unbound,
        }
    }

    /// The columns of the row id; none where rows are unbound.
    #[must_use]
    pub fn row_id(&self) -> &[String] {
        match self {
            Self::RowId(columns) => columns,
            Self::Unbound => &[],
        }
    }
}

impl ColumnEntry {
    fn of(column: &ColumnSchema) -> Result<Self, InvalidName> {
        let sql_name = column.sql_name.to_owned();
        Ok(match column.kind {
            ColumnKind::Plain { rust_type, sql_type } => Self::Plain {
                sql_name,
                rust_type: rust_type.to_owned(),
                sql_type: sql_type.map(str::to_owned),
                generated: column.generated,
            },
            ColumnKind::Sealed {
                name,
                value_type,
                encrypted_null,
                sql_null,
                padding,
                storage,
                max_len,
            } => Self::Sealed {
                sql_name,
                name: ColumnName::new(name)?,
                value_type,
                encrypted_null,
                sql_null,
                padding,
                storage,
                max_len,
            },
            ColumnKind::Index { index, sql_null } => Self::Index {
                sql_name,
                index: IndexName::new(index)?,
                sql_null,
            },
        })
    }

    /// Name in SQL.
    #[must_use]
    pub fn sql_name(&self) -> &str {
        match self {
            Self::Plain { sql_name, .. } | Self::Sealed { sql_name, .. } | Self::Index { sql_name, .. } => {
                sql_name
            }
        }
    }

    /// The length of the longest token of a sealed column: bytes, or characters (all ASCII) in a text column. For
    /// `VARBINARY` and `VARCHAR`. `None` where nothing bounds the values, and for other columns.
    ///
    /// ```text
    /// 61 + the padded length of (2 + the longest value)            binary
    /// 5 + 4/3 of that, rounded up                                  text, `phi1.` and base64url
    /// ```
    #[must_use]
    pub fn longest_token(&self) -> Option<usize> {
        match self {
            Self::Sealed {
                value_type,
                padding,
                storage,
                max_len,
                ..
            } => size::longest_token(*value_type, *max_len, *padding, *storage),
            Self::Plain { .. } | Self::Index { .. } => None,
        }
    }
}

impl IndexEntry {
    fn of(index: &IndexSchema) -> Result<Self, InvalidName> {
        Ok(Self {
            name: IndexName::new(index.name)?,
            sql_name: index.sql_name.to_owned(),
            columns: (index.columns.iter())
                .map(|column| ColumnName::new(*column))
                .collect::<Result<_, _>>()?,
            normalizers: index.normalizers.to_vec(),
            algorithm: index.algorithm,
            bits: index.bits,
            unique: index.unique,
        })
    }

    /// The length of its values, 5 to 36 bytes: the id of the pepper, and the bits.
    #[must_use]
    pub fn value_len(&self) -> usize {
        size::index_value(self.bits)
    }
}
