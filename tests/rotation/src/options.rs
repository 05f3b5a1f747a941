//! How each database is connected to.

use std::time::Duration;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

/// Others write to the file, too.
const BUSY: Duration = Duration::from_secs(30);

pub(crate) fn sqlite(url: &str) -> Result<SqliteConnectOptions, sqlx::Error> {
    Ok(url.parse::<SqliteConnectOptions>()?.busy_timeout(BUSY))
}

pub(crate) fn postgres(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    url.parse()
}

pub(crate) fn mariadb(url: &str) -> Result<MySqlConnectOptions, sqlx::Error> {
    url.parse()
}
