//! What each database does in its own way.

use std::pin::Pin;

use futures_util::TryStreamExt as _;
use phield_core::PlainValue;
use sqlx::{Pool, Row as _, TypeInfo as _, ValueRef as _};

use super::cell::Cell;
use super::forms::Forms;
use super::swap::{NEW, Swap, SwapRow, Value};
use crate::backend::Reuse;
use crate::key_store::KeyStoreDatabase;
use crate::statement::Statement;

/// The answer of a query.
pub(crate) type Fetched<'c> = Pin<Box<dyn Future<Output = Result<Vec<Vec<Cell>>, sqlx::Error>> + Send + 'c>>;

/// A database that keys are rotated in. Not for users to implement.
pub trait RotationDatabase: KeyStoreDatabase {
    /// Starts a transaction that will write.
    #[doc(hidden)]
    const BEGIN: &'static str;
    /// Unix seconds by the clock of the database: leases of workers on many machines are compared by it.
    #[doc(hidden)]
    const NOW: &'static str;
    /// Locks the row that is read; a row that somebody else has locked is passed over.
    #[doc(hidden)]
    const SKIP_LOCKED: &'static str;
    /// Types of columns: of names, of long text.
    #[doc(hidden)]
    const TEXT_TYPES: [&'static str; 2];
    /// How a row that is there already is changed instead; `{key}` stands for its key, `{set}` for `n = n + …`.
    #[doc(hidden)]
    const ON_CONFLICT: &'static str;
    /// How the value that could not be inserted is called.
    #[doc(hidden)]
    const EXCLUDED: [&'static str; 2];
    /// Rows of one set-based update.
    #[doc(hidden)]
    const SET_ROWS: usize;
    /// Unique keys of a table: index, column, 1 for the primary key, and 1 where rows can be gone through by the column: it has no
    /// NULL, and the order of its values is that of `>`. The primary key first, the columns of a key in their order.
    #[doc(hidden)]
    const UNIQUE_KEYS: &'static str;
    /// What it binds: 0 for the schema, or an empty text, and 1 for the table.
    #[doc(hidden)]
    const UNIQUE_KEY_NAMES: &'static [usize];
    /// Names the transactions that have written into a table and are open; empty where a transaction that writes waits for all others.
    #[doc(hidden)]
    const OPEN_WRITERS: &'static str = "";
    /// What it binds, as [`UNIQUE_KEY_NAMES`](Self::UNIQUE_KEY_NAMES) says it.
    #[doc(hidden)]
    const OPEN_WRITERS_NAMES: &'static [usize] = &[];
    /// What stands behind a column of such a key where its order counts. Two values that are unlike for the index have to be unlike for
    /// the order, or pages pass rows over.
    #[doc(hidden)]
    const KEY_ORDER: &'static str = "";
    /// Schema and name of a table, as [`COLUMNS_OF_ALL`](Self::COLUMNS_OF_ALL) has them: of the table `?` in the schema `?`, twice, or an
    /// empty text.
    #[doc(hidden)]
    const PLACE: &'static str;
    /// Whether a key that rows are gone through by can be NULL.
    #[doc(hidden)]
    const KEYS_TAKE_NULL: bool = false;
    /// The columns of a table, bound as [`PLACE`](Self::PLACE) is, by what that found.
    #[doc(hidden)]
    const COLUMNS_OF: &'static str;
    /// The schema that names without one are of, where `COLUMNS_OF_ALL` looks at no more than this one and those that the schema
    /// file names; else empty.
    #[doc(hidden)]
    const OWN_SCHEMA: &'static str = "";
    /// Columns of every table of the database that can hold tokens: schema, table, column, 1 for text, and 1 where a policy hides
    /// rows.
    #[doc(hidden)]
    const COLUMNS_OF_ALL: &'static str;
    /// How a column of text is read that may be of any type; `{c}` stands for it.
    #[doc(hidden)]
    const AS_TEXT: &'static str = "{c}";
    /// Finds the table whose rows a policy hides, bound as [`UNIQUE_KEYS`](Self::UNIQUE_KEYS) are; empty where there are no policies.
    #[doc(hidden)]
    const HIDES_ROWS: &'static str = "";

    /// A pool whose connections see every row of a table, or get an error.
    #[doc(hidden)]
    fn whole_tables(pool: Pool<Self>) -> Pool<Self> {
        pool
    }

    /// Whether tokens stand in a quoted column, of bytes or of text.
    #[doc(hidden)]
    fn holds_tokens(column: &str, is_text: bool, forms: &Forms) -> String;

    #[doc(hidden)]
    fn bind_cell(statement: &mut Statement<Self>, cell: &Cell);

    #[doc(hidden)]
    fn bind_value(statement: &mut Statement<Self>, value: &Value);

    /// Rows, up to about `max_bytes`: the rest is not read.
    #[doc(hidden)]
    fn fetch<'c>(
        statement: Statement<Self>,
        reuse: Reuse,
        max_bytes: usize,
        connection: &'c mut Self::Connection,
    ) -> Fetched<'c>;

    /// The compare-and-swap of many rows in one statement.
    #[doc(hidden)]
    fn compare_and_swap(swap: &Swap<'_>, rows: &[SwapRow]) -> Statement<Self>;
}

#[allow(dead_code, reason = "used by the databases whose feature is on")]
fn push_set<DB: RotationDatabase>(statement: &mut Statement<DB>, swap: &Swap<'_>) {
    for (i, (column, value)) in swap.set.iter().enumerate() {
        statement.push(if i > 0 { ", " } else { "" });
        statement.name(column).push(" = ").push(value);
    }
}

/// Every database takes the same types; what a value that was read raw is in SQL differs.
#[allow(unused_macros, reason = "used behind features")]
macro_rules! binds {
    ($before:literal, $after:literal) => {
        fn bind_cell(statement: &mut Statement<Self>, cell: &Cell) {
            match cell {
                Cell::Null => statement.bind(None::<i64>),
                Cell::Integer(value) => statement.bind(*value),
                Cell::Uuid(value) => statement.bind(*value),
                Cell::Text(value) => statement.bind(value.as_str()),
                Cell::Bytes(value) | Cell::Other(value) => statement.bind(value.as_slice()),
                Cell::Raw(value) => statement.push($before).bind(value.as_slice()).push($after),
            };
        }

        fn bind_value(statement: &mut Statement<Self>, value: &Value) {
            match value {
                Value::Bytes(bytes) => statement.bind(bytes.as_deref()),
                Value::Text(text) => statement.bind(text.as_deref()),
                Value::Plain(PlainValue::Integer(n)) => statement.bind(*n),
                Value::Plain(PlainValue::Text(text)) => statement.bind(&**text),
                Value::Plain(PlainValue::Bytes(bytes)) => statement.bind(&**bytes),
                Value::Plain(PlainValue::Null) => statement.bind(None::<&str>),
            };
        }
    };
}

/// Bytes as SQL has them: `before`, hex, `after`, with commas between them.
#[allow(dead_code, reason = "used by the databases whose feature is on")]
fn literals<'b>(values: impl Iterator<Item = &'b [u8]>, before: &str, after: &str) -> String {
    let literals = values.map(|value| format!("{before}{}{after}", data_encoding::HEXLOWER.encode(value)));
    literals.collect::<Vec<_>>().join(", ")
}

/// A regular expression of any of the forms in text.
#[allow(dead_code, reason = "used by the databases whose feature is on")]
fn pattern(forms: &Forms) -> String {
    forms.texts().collect::<Vec<_>>().join("|").replace('+', "[+]")
}

/// Reads rows until there are no more, or they have grown to `max_bytes`.
#[allow(unused_macros, reason = "used behind features")]
macro_rules! fetch_rows {
    ($statement:ident, $reuse:ident, $max_bytes:ident, $connection:ident) => {
        Box::pin(async move {
            let (sql, arguments) = $statement.finish()?;
            let query = sqlx::query_with(sql, arguments).persistent($reuse == Reuse::Likely);
            let mut stream = query.fetch($connection);
            let (mut rows, mut size) = (Vec::new(), 0_usize);
            while let Some(row) = stream.try_next().await? {
                let cells = (0..row.len()).map(|i| cell(&row, i));
                let cells = cells.collect::<Result<Vec<_>, _>>()?;
                size += cells.iter().map(Cell::size).sum::<usize>();
                rows.push(cells);
                if size >= $max_bytes {
                    break;
                }
            }
            Ok(rows)
        })
    };
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use sqlx::Sqlite;

    impl RotationDatabase for Sqlite {
        const BEGIN: &'static str = "BEGIN IMMEDIATE";
        const NOW: &'static str = "CAST(strftime('%s', 'now') AS INTEGER)";
        // The transaction has locked the database.
        const SKIP_LOCKED: &'static str = "";
        const TEXT_TYPES: [&'static str; 2] = ["TEXT", "TEXT"];
        const ON_CONFLICT: &'static str = "ON CONFLICT ({key}) DO UPDATE SET {set}";
        const EXCLUDED: [&'static str; 2] = ["excluded.", ""];
        const SET_ROWS: usize = 100;
        const KEYS_TAKE_NULL: bool = true;
        // A primary key takes NULL here, which every page is checked for. Where nothing else is left, rows have their number; it is
        // not the first choice, because VACUUM can give others.
        const UNIQUE_KEYS: &'static str = "SELECT i.name, c.name, CASE WHEN i.origin = 'pk' THEN 1 ELSE 0 END AS rank, \
             CASE WHEN (t.\"notnull\" = 1 OR i.origin = 'pk') AND (t.type LIKE '%INT%' \
             OR (t.type NOT LIKE '%REAL%' AND t.type NOT LIKE '%FLOA%' AND t.type NOT LIKE '%DOUB%')) THEN 1 ELSE 0 END, c.seqno \
             FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c LEFT JOIN pragma_table_info(?) AS t ON t.name = c.name \
             WHERE i.\"unique\" = 1 AND i.partial = 0 \
             UNION ALL SELECT 'rowid', name, 1, 1, 0 FROM pragma_table_info(?) \
             WHERE pk = 1 AND type = 'INTEGER' COLLATE NOCASE AND (SELECT count(*) FROM pragma_table_info(?) WHERE pk > 0) = 1 \
             UNION ALL SELECT 'row number', 'rowid', -1, 1, 0 FROM pragma_table_list \
             WHERE schema = 'main' AND name = ? COLLATE NOCASE AND type = 'table' AND wr = 0 \
             AND NOT EXISTS (SELECT 1 FROM pragma_table_info(?) WHERE name = 'rowid' COLLATE NOCASE) \
             ORDER BY 3 DESC, 1, 5";
        const UNIQUE_KEY_NAMES: &'static [usize] = &[1, 1, 1, 1, 1, 1];
        // The finest there is: an index may have another collation than its column.
        const KEY_ORDER: &'static str = " COLLATE BINARY";
        const PLACE: &'static str = "SELECT CASE schema WHEN 'main' THEN '' ELSE schema END, name FROM pragma_table_list \
             WHERE name = ? COLLATE NOCASE AND (schema = ? COLLATE NOCASE OR ? = '') \
             ORDER BY CASE schema WHEN 'temp' THEN 0 WHEN 'main' THEN 1 ELSE 2 END LIMIT 1";
        const COLUMNS_OF: &'static str = "SELECT c.name FROM pragma_table_list AS m, pragma_table_xinfo(m.name, m.schema) AS c \
             WHERE m.name = ? COLLATE NOCASE AND (m.schema = ? COLLATE NOCASE OR (? = '' AND m.schema = 'main'))";
        const COLUMNS_OF_ALL: &'static str = "SELECT CASE m.schema WHEN 'main' THEN '' ELSE m.schema END, m.name, c.name, 0, 0 \
             FROM pragma_table_list AS m, pragma_table_info(m.name, m.schema) AS c \
             WHERE m.type <> 'view' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1, m.name, c.cid";

        // Columns hold either.
        fn holds_tokens(column: &str, _: bool, forms: &Forms) -> String {
            let starts = literals(forms.starts.iter().map(<[u8; 5]>::as_slice), "x'", "'");
            let texts = literals(forms.texts().map(str::as_bytes), "(x'", "')");
            let column = format!("CAST({column} AS BLOB)");
            format!(
                "(length({column}) >= 63 AND (substr({column}, 1, 5) IN ({starts}) \
                 OR EXISTS (SELECT 1 FROM (VALUES {texts}) WHERE instr({column}, column1) > 0)))"
            )
        }

        binds!("CAST(", " AS TEXT)");

        fn fetch<'c>(
            statement: Statement<Self>,
            reuse: Reuse,
            max_bytes: usize,
            connection: &'c mut Self::Connection,
        ) -> Fetched<'c> {
            fetch_rows!(statement, reuse, max_bytes, connection)
        }

        fn compare_and_swap(swap: &Swap<'_>, rows: &[SwapRow]) -> Statement<Self> {
            let mut statement = Statement::new("WITH ");
            let names = swap.names();
            statement.name(NEW).push(" (");
            statement.list(names.iter().map(String::as_str), |statement, name| {
                statement.name(name);
            });
            statement.push(") AS (VALUES (");
            for (i, row) in rows.iter().enumerate() {
                statement.push(if i > 0 { "), (" } else { "" });
                row.push(&mut statement);
            }
            statement.push(")) UPDATE ").table(swap.table).push(" SET ");
            push_set(&mut statement, swap);
            statement.push(" FROM ").name(NEW).push(" WHERE ");
            swap.push_condition(&mut statement);
            statement
        }
    }

    /// By what the value is: columns of SQLite have no types.
    pub(super) fn cell(row: &sqlx::sqlite::SqliteRow, i: usize) -> Result<Cell, sqlx::Error> {
        let value = row.try_get_raw(i)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        Ok(match value.type_info().name() {
            "INTEGER" | "BOOLEAN" | "INT8" | "INT4" => Cell::Integer(row.try_get_unchecked(i)?),
            "TEXT" => {
                let bytes: Vec<u8> = row.try_get_unchecked(i)?;
                String::from_utf8(bytes).map_or_else(|error| Cell::Raw(error.into_bytes()), Cell::Text)
            }
            "REAL" => Cell::Other(row.try_get_unchecked(i)?),
            _ => Cell::Bytes(row.try_get_unchecked(i)?),
        })
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use sqlx::Postgres;

    impl RotationDatabase for Postgres {
        const BEGIN: &'static str = "BEGIN";
        const NOW: &'static str = "CAST(extract(epoch FROM clock_timestamp()) AS BIGINT)";
        const SKIP_LOCKED: &'static str = " FOR UPDATE SKIP LOCKED";
        const TEXT_TYPES: [&'static str; 2] = ["VARCHAR(255)", "TEXT"];
        const ON_CONFLICT: &'static str = "ON CONFLICT ({key}) DO UPDATE SET {set}";
        const EXCLUDED: [&'static str; 2] = ["excluded.", ""];
        const SET_ROWS: usize = 1000;
        // An index of a table that others inherit from is not over their rows; one that is not valid lets duplicates in, and so does one that is checked at the commit; an order is of a collation.
        const UNIQUE_KEYS: &'static str = "SELECT c.relname::text, a.attname::text, CASE WHEN i.indisprimary THEN 1 ELSE 0 END::int8, \
             CASE WHEN a.attnotnull AND i.indcollation[(k.place - 1)::int] = a.attcollation \
             AND CASE WHEN y.typtype = 'd' THEN y.typbasetype ELSE y.oid END IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, \
             'uuid'::regtype, 'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'bytea'::regtype) THEN 1 ELSE 0 END::int8 \
             FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid \
             JOIN pg_namespace AS n ON n.oid = t.relnamespace \
             CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
             LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.attnum LEFT JOIN pg_type AS y ON y.oid = a.atttypid \
             WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND k.place <= i.indnkeyatts \
             AND NOT (t.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_inherits AS h WHERE h.inhparent = t.oid)) AND t.relname = ? \
             AND (n.nspname = ? OR (? = '' AND pg_table_is_visible(t.oid))) \
             ORDER BY 3 DESC, 1, k.place";
        const UNIQUE_KEY_NAMES: &'static [usize] = &[1, 0, 0];
        // Who has written holds this lock to the end; one that is prepared, too, which is of no process.
        // A partition may be written by its own name.
        const OPEN_WRITERS: &'static str = "WITH RECURSIVE of_table AS (SELECT t.oid FROM pg_class AS t \
             JOIN pg_namespace AS n ON n.oid = t.relnamespace \
             WHERE t.relname = ? AND (n.nspname = ? OR (? = '' AND pg_table_is_visible(t.oid))) \
             UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN of_table AS o ON o.oid = i.inhparent) \
             SELECT DISTINCT l.virtualtransaction::text FROM pg_locks AS l JOIN of_table AS o ON o.oid = l.relation \
             WHERE l.locktype = 'relation' AND l.granted AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', \
             'AccessExclusiveLock') AND l.pid IS DISTINCT FROM pg_backend_pid() \
             AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())";
        const OPEN_WRITERS_NAMES: &'static [usize] = &[1, 0, 0];
        const PLACE: &'static str = "SELECT n.nspname::text, t.relname::text FROM pg_class AS t \
             JOIN pg_namespace AS n ON n.oid = t.relnamespace \
             WHERE t.relname = ? AND (n.nspname = ? OR (? = '' AND pg_table_is_visible(t.oid)))";
        const COLUMNS_OF: &'static str = "SELECT a.attname::text FROM pg_attribute AS a JOIN pg_class AS t ON t.oid = a.attrelid \
             JOIN pg_namespace AS n ON n.oid = t.relnamespace \
             WHERE t.relname = ? AND n.nspname IN (?, ?) AND a.attnum > 0 AND NOT a.attisdropped";
        const HIDES_ROWS: &'static str = "SELECT 1 FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace \
             WHERE t.relname = ? AND (n.nspname = ? OR (? = '' AND pg_table_is_visible(t.oid))) AND row_security_active(t.oid)";
        // A partition is its table. A domain is of the category of its type, and read as text.
        const COLUMNS_OF_ALL: &'static str = "SELECT n.nspname::text, t.relname::text, a.attname::text, \
             CASE WHEN y.oid = 'bytea'::regtype THEN 0 ELSE 1 END::int8, CASE WHEN row_security_active(t.oid) THEN 1 ELSE 0 END::int8 \
             FROM pg_attribute AS a JOIN pg_class AS t ON t.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace \
             JOIN pg_type AS y ON y.oid = a.atttypid \
             WHERE t.relkind IN ('r', 'p', 'm') AND NOT t.relispartition AND a.attnum > 0 AND NOT a.attisdropped \
             AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' \
             AND n.nspname NOT LIKE 'pg\\_temp%' \
             AND y.typcategory IN ('S', 'A', 'C', 'U') AND y.typname <> 'uuid' \
             ORDER BY 1, 2, a.attnum";

        const AS_TEXT: &'static str = "CAST({c} AS TEXT)";

        fn holds_tokens(column: &str, is_text: bool, forms: &Forms) -> String {
            if is_text {
                // Not every collation has regular expressions.
                return format!("CAST({column} AS TEXT) COLLATE \"C\" ~ '{}'", pattern(forms));
            }
            let starts = literals(forms.starts.iter().map(<[u8; 5]>::as_slice), "'\\x", "'::bytea");
            let texts = literals(
                forms.text_tokens.iter().map(String::as_bytes),
                "('\\x",
                "'::bytea)",
            );
            format!(
                "(octet_length({column}) >= 63 AND (substr({column}, 1, 5) IN ({starts}) \
                 OR EXISTS (SELECT 1 FROM (VALUES {texts}) AS phield_forms (form) WHERE position(form IN {column}) > 0)))"
            )
        }

        // A policy that comes later is an error, too: rows are not left out without a word.
        fn whole_tables(pool: Pool<Self>) -> Pool<Self> {
            let options = (*pool.connect_options()).clone();
            let options = options.options([("row_security", "off")]);
            pool.options().clone().connect_lazy_with(options)
        }

        binds!("", "");

        fn fetch<'c>(
            statement: Statement<Self>,
            reuse: Reuse,
            max_bytes: usize,
            connection: &'c mut Self::Connection,
        ) -> Fetched<'c> {
            fetch_rows!(statement, reuse, max_bytes, connection)
        }

        // One text for any number of rows: an array a column.
        fn compare_and_swap(swap: &Swap<'_>, rows: &[SwapRow]) -> Statement<Self> {
            let mut statement = Statement::new("UPDATE ");
            statement.table(swap.table).push(" SET ");
            push_set(&mut statement, swap);
            statement.push(" FROM unnest(");
            for i in 0..swap.key.len() {
                statement.push(if i > 0 { ", " } else { "" });
                bind_keys(&mut statement, rows, i);
            }
            for i in 0..swap.bound.len() {
                statement.push(", ");
                bind_values(&mut statement, rows, i);
            }
            statement.push(") AS ").name(NEW).push(" (");
            let names = swap.names();
            statement.list(names.iter().map(String::as_str), |statement, name| {
                statement.name(name);
            });
            statement.push(") WHERE ");
            swap.push_condition(&mut statement);
            statement
        }
    }

    fn bind_values(statement: &mut Statement<Postgres>, rows: &[SwapRow], i: usize) {
        let values = || rows.iter().filter_map(|row| row.values.get(i));
        match values().next() {
            Some(Value::Text(_) | Value::Plain(PlainValue::Text(_))) => {
                let texts: Vec<_> = values().map(Value::as_text).collect();
                statement.bind(texts).push("::text[]");
            }
            _ => {
                let bytes: Vec<_> = values().map(Value::as_bytes).collect();
                statement.bind(bytes).push("::bytea[]");
            }
        }
    }

    fn bind_keys(statement: &mut Statement<Postgres>, rows: &[SwapRow], i: usize) {
        let cells = || rows.iter().filter_map(|row| row.key.get(i));
        match cells().next() {
            Some(Cell::Uuid(_)) => {
                let ids = cells().map(|cell| match cell {
                    Cell::Uuid(id) => *id,
                    _ => uuid::Uuid::nil(),
                });
                statement.bind(ids.collect::<Vec<_>>()).push("::uuid[]");
            }
            Some(Cell::Integer(_)) => {
                let ids = cells().map(|cell| match cell {
                    Cell::Integer(id) => *id,
                    _ => 0,
                });
                statement.bind(ids.collect::<Vec<_>>()).push("::int8[]");
            }
            Some(Cell::Text(_)) => {
                let texts = cells().map(|cell| match cell {
                    Cell::Text(text) => text.as_str(),
                    _ => "",
                });
                statement.bind(texts.collect::<Vec<_>>()).push("::text[]");
            }
            _ => {
                let bytes = cells().filter_map(Cell::bytes);
                statement.bind(bytes.collect::<Vec<_>>()).push("::bytea[]");
            }
        }
    }

    pub(super) fn cell(row: &sqlx::postgres::PgRow, i: usize) -> Result<Cell, sqlx::Error> {
        let value = row.try_get_raw(i)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        Ok(match value.type_info().name() {
            "INT8" => Cell::Integer(row.try_get(i)?),
            "INT4" => Cell::Integer(row.try_get::<i32, _>(i)?.into()),
            "INT2" => Cell::Integer(row.try_get::<i16, _>(i)?.into()),
            "UUID" => Cell::Uuid(row.try_get(i)?),
            "BYTEA" => Cell::Bytes(row.try_get(i)?),
            _ => Cell::Text(row.try_get_unchecked(i)?),
        })
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::*;
    use sqlx::{MySql, Type};

    impl RotationDatabase for MySql {
        const BEGIN: &'static str = "START TRANSACTION";
        const NOW: &'static str = "CAST(unix_timestamp() AS SIGNED)";
        const SKIP_LOCKED: &'static str = " FOR UPDATE SKIP LOCKED";
        const TEXT_TYPES: [&'static str; 2] = [
            "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        ];
        const ON_CONFLICT: &'static str = "ON DUPLICATE KEY UPDATE {set}";
        const EXCLUDED: [&'static str; 2] = ["VALUES(", ")"];
        const SET_ROWS: usize = 500;
        const UNIQUE_KEYS: &'static str = "SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR), CASE WHEN index_name = 'PRIMARY' THEN 1 ELSE 0 END, \
             CASE WHEN c.is_nullable = 'NO' AND c.data_type IN ('tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'uuid', 'char', \
             'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', \
             'longblob') THEN 1 ELSE 0 END \
             FROM information_schema.statistics LEFT JOIN information_schema.columns AS c USING (table_schema, table_name, column_name) \
             WHERE non_unique = 0 AND table_schema = CASE WHEN ? = '' THEN database() ELSE ? END AND table_name = ? \
             ORDER BY 3 DESC, 1, seq_in_index";
        const UNIQUE_KEY_NAMES: &'static [usize] = &[0, 0, 1];
        // Of all tables: it is not told into which one somebody has written.
        const OPEN_WRITERS: &'static str =
            "SELECT CAST(trx_id AS CHAR) FROM information_schema.innodb_trx WHERE trx_rows_modified > 0";
        const PLACE: &'static str = "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR) FROM information_schema.tables \
             WHERE table_name = ? AND table_schema = CASE WHEN ? = '' THEN database() ELSE ? END";
        const COLUMNS_OF: &'static str = "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
             WHERE table_name = ? AND table_schema IN (?, ?)";
        const OWN_SCHEMA: &'static str = "SELECT CAST(database() AS CHAR)";
        const COLUMNS_OF_ALL: &'static str = "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(column_name AS CHAR), \
             CASE WHEN data_type LIKE '%binary' OR data_type LIKE '%blob' THEN 0 ELSE 1 END, 0 \
             FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) \
             WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') \
             AND table_schema NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') \
             AND data_type IN ('varbinary', 'binary', 'blob', 'tinyblob', 'mediumblob', 'longblob', 'varchar', 'char', 'text', 'tinytext', \
             'mediumtext', 'longtext', 'json') \
             ORDER BY 1, 2, ordinal_position";

        fn holds_tokens(column: &str, is_text: bool, forms: &Forms) -> String {
            if is_text {
                return format!(
                    "CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin REGEXP '{}'",
                    pattern(forms)
                );
            }
            let starts = literals(forms.starts.iter().map(<[u8; 5]>::as_slice), "x'", "'");
            let texts = forms
                .text_tokens
                .iter()
                .map(|text| format!(" OR locate('{text}', {column}) > 0"));
            format!(
                "(length({column}) >= 63 AND (substr({column}, 1, 5) IN ({starts}){}))",
                texts.collect::<String>()
            )
        }

        binds!("CAST(", " AS UNSIGNED)");

        fn fetch<'c>(
            statement: Statement<Self>,
            reuse: Reuse,
            max_bytes: usize,
            connection: &'c mut Self::Connection,
        ) -> Fetched<'c> {
            fetch_rows!(statement, reuse, max_bytes, connection)
        }

        // The first part of the union has no rows, and the types and collations of the columns. In this order, so that rows are
        // looked up by the key.
        fn compare_and_swap(swap: &Swap<'_>, rows: &[SwapRow]) -> Statement<Self> {
            let mut statement = Statement::new("UPDATE (SELECT ");
            for (i, key) in swap.key.iter().enumerate() {
                statement.push(if i > 0 { ", " } else { "" });
                let key = statement.column(swap.table, key);
                key.push(" AS ").name(&crate::rotate::swap::short('k', i));
            }
            for (i, like) in swap.bound.iter().enumerate() {
                statement.push(", ").push(like).push(" AS ");
                statement.name(&crate::rotate::swap::short('v', i));
            }
            statement.push(" FROM ").table(swap.table).push(" WHERE FALSE");
            for row in rows {
                statement.push(" UNION ALL SELECT ");
                row.push(&mut statement);
            }
            statement
                .push(") AS ")
                .name(NEW)
                .push(" STRAIGHT_JOIN ")
                .table(swap.table)
                .push(" ON ");
            swap.push_condition(&mut statement);
            statement.push(" SET ");
            for (i, (column, value)) in swap.set.iter().enumerate() {
                statement.push(if i > 0 { ", " } else { "" });
                statement.column(swap.table, column).push(" = ").push(value);
            }
            statement
        }
    }

    pub(super) fn cell(row: &sqlx::mysql::MySqlRow, i: usize) -> Result<Cell, sqlx::Error> {
        let value = row.try_get_raw(i)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let type_info = value.type_info();
        let name = type_info.name();
        Ok(match name {
            name if name.contains("INT") && name.contains("UNSIGNED") => {
                let value: u64 = row.try_get_unchecked(i)?;
                i64::try_from(value).map_or_else(|_| Cell::Raw(value.to_string().into_bytes()), Cell::Integer)
            }
            name if name.contains("INT") => Cell::Integer(row.try_get_unchecked(i)?),
            "BOOLEAN" => Cell::Integer(row.try_get_unchecked(i)?),
            // By its collation: the names of types call text of a `_bin` collation bytes.
            _ if <String as Type<MySql>>::compatible(&type_info) => Cell::Text(row.try_get_unchecked(i)?),
            name if name.ends_with("BINARY") || name.ends_with("BLOB") => {
                Cell::Bytes(row.try_get_unchecked(i)?)
            }
            _ => Cell::Other(row.try_get_unchecked(i)?),
        })
    }
}
