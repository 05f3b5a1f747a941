//! The statements of each database.

use sqlx::{AssertSqlSafe, Pool};

use super::{DbFuture, KeyStoreDatabase, Options};

/// The statements of a database: they are made here, of a checked table name.
macro_rules! key_store_database {
    ($database:ty, $columns:literal, $values:expr, $length:literal, $place:expr) => {
        impl KeyStoreDatabase for $database {
            const COLUMNS: &'static str = $columns;
            const VALUES: [&'static str; 3] = $values;
            const LENGTH: &'static str = $length;

            fn place(options: &Options<Self>) -> String {
                let place: fn(&Options<Self>) -> String = $place;
                place(options)
            }

            fn create(pool: &Pool<Self>, sql: String) -> DbFuture<'_, ()> {
                Box::pin(async move {
                    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
                    query.execute(pool).await.map(drop)
                })
            }

            fn read<'a>(
                pool: &'a Pool<Self>,
                sql: String,
                ring: &'a str,
            ) -> DbFuture<'a, Option<Option<Vec<u8>>>> {
                Box::pin(async move {
                    let query = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
                    query.bind(ring).fetch_optional(pool).await
                })
            }

            fn insert<'a>(
                pool: &'a Pool<Self>,
                sql: String,
                ring: &'a str,
                manifest: &'a [u8],
            ) -> DbFuture<'a, u64> {
                Box::pin(async move {
                    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
                    let done = query.bind(ring).bind(manifest).execute(pool).await?;
                    Ok(done.rows_affected())
                })
            }

            fn swap<'a>(
                pool: &'a Pool<Self>,
                sql: String,
                manifest: &'a [u8],
                ring: &'a str,
                previous: &'a [u8],
            ) -> DbFuture<'a, u64> {
                Box::pin(async move {
                    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
                    let query = query.bind(manifest).bind(ring).bind(previous);
                    Ok(query.execute(pool).await?.rows_affected())
                })
            }
        }
    };
}

#[cfg(feature = "sqlite")]
key_store_database!(
    sqlx::Sqlite,
    "ring TEXT PRIMARY KEY NOT NULL, manifest BLOB NOT NULL",
    ["?", "?", "?"],
    // The length of a text would be one of characters.
    "CASE typeof(manifest) WHEN 'blob' THEN length(manifest) END",
    |options| format!("the database {}", options.get_filename().display())
);

#[cfg(feature = "postgres")]
key_store_database!(
    sqlx::Postgres,
    "ring TEXT PRIMARY KEY NOT NULL, manifest BYTEA NOT NULL",
    ["$1", "$2", "$3"],
    "octet_length(manifest)",
    |options| server(options.get_database(), options.get_host(), options.get_port())
);

#[cfg(feature = "mysql")]
key_store_database!(
    sqlx::MySql,
    "ring VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY NOT NULL, manifest LONGBLOB NOT NULL",
    ["?", "?", "?"],
    "octet_length(manifest)",
    |options| server(options.get_database(), options.get_host(), options.get_port())
);

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn server(database: Option<&str>, host: &str, port: u16) -> String {
    match database {
        Some(database) => format!("the database {database} at {host}:{port}"),
        None => format!("the database at {host}:{port}"),
    }
}
