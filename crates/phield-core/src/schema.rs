//! What a model looks like in the database: the `SCHEMA` constant of the derive, the file of all of them for commands that
//! run without the application, and their SQL.

mod check;
mod difference;
mod file;
mod size;
mod sql;
mod text;

use crate::blind_index::Index;
use crate::frame::Padding;
use crate::index_algorithm::IndexAlgorithm;
use crate::value::ValueType;

pub use file::{BindingEntry, ColumnEntry, IndexEntry, SchemaFile, SchemaFileError, TableEntry};
pub use sql::{AddedColumn, AddedIndex, Dialect, SchemaSqlError};

/// A model's table, columns and indexes. Logical names are what the format binds; SQL names are how the database calls
/// the same things, and can change.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Schema {
    /// Logical name of the table.
    pub table: &'static str,
    /// Name of the table in SQL; a dot stands between its schema and its name.
    pub sql_table: &'static str,
    /// What binds a row.
    pub binding: Binding,
    /// The column of the tenant, where that is bound too; a name in SQL, as the next ones are.
    pub tenant: Option<&'static str>,
    /// The column of the person that a row belongs to, where that is bound too.
    pub subject: Option<&'static str>,
    /// Whether rows are sealed under the keys of their subjects.
    pub subject_keys: bool,
    /// The column bound as `extra` into every token of a row: a revision.
    pub extra: Option<&'static str>,
    /// Every column in the order of the sealed struct.
    pub columns: &'static [ColumnSchema],
    /// The blind indexes, in the order of their columns.
    pub indexes: &'static [IndexSchema],
}

impl Schema {
    /// A schema; written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        table: &'static str,
        sql_table: &'static str,
        binding: Binding,
        columns: &'static [ColumnSchema],
        indexes: &'static [IndexSchema],
    ) -> Self {
        Self {
            table,
            sql_table,
            binding,
            tenant: None,
            subject: None,
            subject_keys: false,
            extra: None,
            columns,
            indexes,
        }
    }

    /// The same table, whose rows are bound to the tenant in this column.
    #[doc(hidden)]
    #[must_use]
    pub const fn in_tenant(mut self, column: &'static str) -> Self {
        self.tenant = Some(column);
        self
    }

    /// The same table, whose tokens are bound to the value of this column.
    #[doc(hidden)]
    #[must_use]
    pub const fn with_extra(mut self, column: &'static str) -> Self {
        self.extra = Some(column);
        self
    }

    /// The same table, whose rows are bound to the person in this column.
    #[doc(hidden)]
    #[must_use]
    pub const fn of_subject(mut self, column: &'static str) -> Self {
        self.subject = Some(column);
        self
    }

    /// The same table, whose rows are sealed under the key of the person in this column.
    #[doc(hidden)]
    #[must_use]
    pub const fn under_subject_key(self, column: &'static str) -> Self {
        let mut schema = self.of_subject(column);
        schema.subject_keys = true;
        schema
    }
}

/// What binds a row to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// The row id in these columns, by their names in SQL: several make a composite one.
    RowId(&'static [&'static str]),
    /// Nothing: tokens can be moved between rows of the same column.
    Unbound,
}

/// One SQL column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnSchema {
    /// Name in SQL.
    pub sql_name: &'static str,
    /// What the column holds.
    pub kind: ColumnKind,
    /// Whether the database fills the column itself: it is read, and never written.
    pub generated: bool,
}

impl ColumnSchema {
    /// A column; written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(sql_name: &'static str, kind: ColumnKind) -> Self {
        Self {
            sql_name,
            kind,
            generated: false,
        }
    }

    /// The same column, filled by the database; written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub const fn generated(mut self) -> Self {
        self.generated = true;
        self
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnKind {
    /// Something that is not PHI.
    #[non_exhaustive]
    Plain {
        /// Its type in Rust as written in the model, without spaces: `i64`, `Option<String>`, `chrono::NaiveDate`.
        rust_type: &'static str,
        /// Its type in SQL, where the model says so (`#[phi(sql_type = "…")]`).
        sql_type: Option<&'static str>,
    },
    /// Tokens.
    #[non_exhaustive]
    Sealed {
        /// Logical name.
        name: &'static str,
        /// Type of the values.
        value_type: ValueType,
        /// Whether an encrypted null is a value.
        encrypted_null: bool,
        /// Whether the column is SQL NULL when the value is absent.
        sql_null: bool,
        /// How values are padded.
        padding: Padding,
        /// Binary or text form.
        storage: StorageKind,
        /// Most bytes of a value, before framing and padding, where the type or the model bounds them.
        max_len: Option<u32>,
    },
    /// Index values of the index with this logical name.
    #[non_exhaustive]
    Index {
        /// Logical name of the index.
        index: &'static str,
        /// Whether the column is SQL NULL when a part is absent.
        sql_null: bool,
    },
}

impl ColumnKind {
    /// A column that is not PHI; written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub const fn plain(rust_type: &'static str, sql_type: Option<&'static str>) -> Self {
        Self::Plain { rust_type, sql_type }
    }

    /// A column of tokens; written by the derive.
    #[doc(hidden)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the arm is of lengths that fit")]
    pub const fn sealed<T: crate::value::Value>(
        name: &'static str,
        sql_null: bool,
        padding: Padding,
        storage: StorageKind,
        max_len: Option<u32>,
    ) -> Self {
        Self::Sealed {
            name,
            value_type: T::TYPE,
            encrypted_null: T::NULLABLE,
            sql_null,
            padding,
            storage,
            max_len: match (max_len, T::LENGTHS) {
                (None, Some([_, longest])) if longest <= u32::MAX as usize => Some(longest as u32),
                (max_len, _) => max_len,
            },
        }
    }

    /// A column of index values; written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub const fn index(index: &'static str, sql_null: bool) -> Self {
        Self::Index { index, sql_null }
    }
}

/// How a column stores tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageKind {
    /// BLOB, BYTEA, VARBINARY: [`Sealed`](crate::Sealed).
    Binary,
    /// TEXT: [`SealedText`](crate::SealedText).
    Text,
}

/// One blind index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexSchema {
    /// Logical name.
    pub name: &'static str,
    /// Name of its column in SQL.
    pub sql_name: &'static str,
    /// Logical names of the indexed columns.
    pub columns: &'static [&'static str],
    /// Ids of the normalizers, one a column.
    pub normalizers: &'static [crate::normalize::Normalizer],
    /// How many bits an index value keeps.
    pub bits: u16,
    /// How index values are computed.
    pub algorithm: IndexAlgorithm,
    /// Whether no two rows may have the same value.
    pub unique: bool,
}

impl IndexSchema {
    /// An index; written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        name: &'static str,
        sql_name: &'static str,
        columns: &'static [&'static str],
        normalizers: &'static [crate::normalize::Normalizer],
        bits: u16,
    ) -> Self {
        Self {
            name,
            sql_name,
            columns,
            normalizers,
            bits,
            algorithm: IndexAlgorithm::HmacSha256,
            unique: false,
        }
    }

    /// The same index, unique; written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// The same index by another algorithm; written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub const fn with_algorithm(mut self, algorithm: IndexAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The definition that index values are computed from.
    #[must_use]
    pub const fn definition(self, table: &'static str) -> Index {
        Index::new(table, self.name, self.columns, self.normalizers, self.bits).with_algorithm(self.algorithm)
    }
}
