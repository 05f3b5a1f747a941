//! What each database does in its own way.

use phield_core::{Dialect, ValueType};

use crate::rotate::RotationDatabase;

/// A database that columns are migrated in. Not for users to implement.
pub trait MigrationDatabase: RotationDatabase {
    /// Its SQL.
    #[doc(hidden)]
    const DIALECT: Dialect;
    /// Type, and 1 where SQL NULL is allowed: of the table `?`, the column `?`, and the schema `?`, twice, or an empty text.
    #[doc(hidden)]
    const COLUMN: &'static str;

    /// Columns that an index starts with, of the table `?` in the schema `?`, twice, or an empty text.
    #[doc(hidden)]
    const INDEXED: &'static str;

    /// Indexes that were never finished, of the table `?` in the schema `?`, twice, or an empty text. Empty where none stays behind.
    #[doc(hidden)]
    const UNFINISHED: &'static str;

    /// Whether indexes of the table `?` in the schema `?`, twice, or an empty text, cannot be made beside writers. Empty where they are
    /// never made so.
    #[doc(hidden)]
    const PARTITIONED: &'static str;

    /// The seconds by which the time of a session is ahead of UTC, where a column of a point in time is read in that. Else empty.
    #[doc(hidden)]
    const AHEAD_OF_UTC: &'static str;

    /// Keeps every writer of `{table}` out until the transaction ends. Empty where its begin does, or where the first change of a
    /// table ends it.
    #[doc(hidden)]
    const LOCK_TABLE: &'static str;
    /// Keeps every writer of `{table}` out while a column of it is dropped, and what ends that, where it is not the end of the transaction.
    #[doc(hidden)]
    const LOCK_FOR_DROP: (&'static str, &'static str) = (Self::LOCK_TABLE, "");
    /// The operator of two values that are equal, or both SQL NULL.
    #[doc(hidden)]
    const IS_SAME: &'static str;

    /// The expression that a plaintext of this type is read and compared by; `{column}` stands for the column.
    #[doc(hidden)]
    fn plaintext(value_type: ValueType) -> &'static str;

    /// That `{column}`, and the `{value}` that was read from it, are the same byte for byte.
    #[doc(hidden)]
    fn is_unchanged(value_type: ValueType) -> &'static str;
}

// What a column holds decides about its type: integers, text and bytes come as they are.
#[cfg(feature = "sqlite")]
impl MigrationDatabase for sqlx::Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    const COLUMN: &'static str = "SELECT lower(type), CASE WHEN \"notnull\" = 0 AND pk = 0 THEN 1 ELSE 0 END FROM pragma_table_info(?) \
         WHERE name = ? AND ? IS NOT NULL AND ? IS NOT NULL";
    const INDEXED: &'static str = "SELECT c.name FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c \
         WHERE c.seqno = 0 AND c.name IS NOT NULL AND ? IS NOT NULL AND ? IS NOT NULL";
    const UNFINISHED: &'static str = "";
    const PARTITIONED: &'static str = "";
    const AHEAD_OF_UTC: &'static str = "";
    const LOCK_TABLE: &'static str = "";
    const IS_SAME: &'static str = "IS";

    fn plaintext(value_type: ValueType) -> &'static str {
        match value_type {
            ValueType::Decimal => "CAST({column} AS TEXT)",
            _ => "{column}",
        }
    }

    fn is_unchanged(value_type: ValueType) -> &'static str {
        match value_type {
            ValueType::Decimal => "CAST({column} AS TEXT) COLLATE BINARY = {value}",
            _ => "{column} COLLATE BINARY = {value}",
        }
    }
}

#[cfg(feature = "postgres")]
impl MigrationDatabase for sqlx::Postgres {
    const DIALECT: Dialect = Dialect::Postgres;
    const COLUMN: &'static str = "SELECT CASE WHEN y.typtype = 'd' THEN format_type(y.typbasetype, y.typtypmod) ELSE format_type(a.atttypid, a.atttypmod) END, \
         CASE WHEN a.attnotnull OR y.typnotnull THEN 0 ELSE 1 END::int8 \
         FROM pg_attribute AS a JOIN pg_class AS t ON t.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace \
         JOIN pg_type AS y ON y.oid = a.atttypid \
         WHERE t.relname = ? AND a.attname = ? AND a.attnum > 0 AND NOT a.attisdropped \
         AND (n.nspname = ? OR (? = '' AND pg_table_is_visible(t.oid)))";
    const INDEXED: &'static str = "SELECT a.attname::text FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid \
         JOIN pg_namespace AS n ON n.oid = t.relnamespace \
         JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.indkey[0] \
         WHERE i.indisvalid AND t.relname = ? AND (n.nspname = ? OR (? = '' AND pg_table_is_visible(t.oid)))";
    // What is left of CREATE INDEX CONCURRENTLY when the server goes down, or when a value is there twice.
    const UNFINISHED: &'static str = "SELECT x.relname::text FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid \
         JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace \
         WHERE NOT i.indisvalid AND t.relname = ? AND (n.nspname = ? OR (? = '' AND pg_table_is_visible(t.oid)))";
    const PARTITIONED: &'static str = "SELECT t.relname::text FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace \
         WHERE t.relkind = 'p' AND t.relname = ? AND (n.nspname = ? OR (? = '' AND pg_table_is_visible(t.oid)))";
    const AHEAD_OF_UTC: &'static str = "";
    const LOCK_TABLE: &'static str = "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE";
    const IS_SAME: &'static str = "IS NOT DISTINCT FROM";

    fn plaintext(value_type: ValueType) -> &'static str {
        match value_type {
            ValueType::Bytes => "{column}",
            _ => "CAST({column} AS TEXT)",
        }
    }

    fn is_unchanged(value_type: ValueType) -> &'static str {
        match value_type {
            ValueType::Bytes => "{column} = {value}",
            _ => r#"CAST({column} AS TEXT) COLLATE "C" = {value} COLLATE "C""#,
        }
    }
}

#[cfg(feature = "mysql")]
impl MigrationDatabase for sqlx::MySql {
    const DIALECT: Dialect = Dialect::MariaDb;
    const COLUMN: &'static str = "SELECT CAST(column_type AS CHAR), CASE WHEN is_nullable = 'YES' THEN 1 ELSE 0 END \
         FROM information_schema.columns WHERE table_name = ? AND column_name = ? \
         AND table_schema = CASE WHEN ? = '' THEN database() ELSE ? END";
    const INDEXED: &'static str = "SELECT CAST(column_name AS CHAR) FROM information_schema.statistics \
         WHERE table_name = ? AND seq_in_index = 1 AND table_schema = CASE WHEN ? = '' THEN database() ELSE ? END";
    const UNFINISHED: &'static str = "";
    const PARTITIONED: &'static str = "";
    const AHEAD_OF_UTC: &'static str = "SELECT CAST(timestampdiff(SECOND, utc_timestamp(), now()) AS SIGNED)";
    const LOCK_TABLE: &'static str = "";
    // A statement that changes a table ends the transaction before it.
    const LOCK_FOR_DROP: (&'static str, &'static str) = ("LOCK TABLES {table} WRITE", "UNLOCK TABLES");
    const IS_SAME: &'static str = "<=>";

    fn plaintext(value_type: ValueType) -> &'static str {
        match value_type {
            ValueType::Bytes | ValueType::Uuid => "CAST({column} AS BINARY)",
            _ => "CAST({column} AS CHAR CHARACTER SET utf8mb4)",
        }
    }

    fn is_unchanged(value_type: ValueType) -> &'static str {
        match value_type {
            ValueType::Bytes | ValueType::Uuid => "CAST({column} AS BINARY) = {value}",
            _ => "CAST(CAST({column} AS CHAR CHARACTER SET utf8mb4) AS BINARY) = CAST({value} AS BINARY)",
        }
    }
}
