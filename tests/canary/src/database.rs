//! The three databases, and the SQL in which they differ.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlPool, PgPool, SqlitePool};
use tracing_subscriber::filter::LevelFilter;

/// The table of [`Patient`](crate::model::Patient) in SQLite.
pub const SQLITE: &str = "
CREATE TABLE patients (
    id BLOB PRIMARY KEY NOT NULL, name BLOB NOT NULL, ssn BLOB NOT NULL, ssn_index BLOB NOT NULL UNIQUE,
    licence BLOB NOT NULL, licence_index BLOB NOT NULL, email BLOB, note TEXT NOT NULL, document BLOB NOT NULL,
    clinic BIGINT NOT NULL CHECK (clinic > 0), name_email_index BLOB
)";

/// As in SQLite. Index columns of MariaDB have a length.
const MYSQL: &str = "
CREATE TABLE patients (
    id BINARY(16) PRIMARY KEY NOT NULL, name BLOB NOT NULL, ssn BLOB NOT NULL, ssn_index VARBINARY(36) NOT NULL UNIQUE,
    licence BLOB NOT NULL, licence_index VARBINARY(36) NOT NULL, email BLOB, note TEXT NOT NULL, document BLOB NOT NULL,
    clinic BIGINT NOT NULL CHECK (clinic > 0), name_email_index VARBINARY(36)
)";

/// The table of the control.
pub(crate) const IN_THE_CLEAR: &str = "
CREATE TABLE in_the_clear (
    id BIGINT PRIMARY KEY NOT NULL, name VARCHAR(200) NOT NULL, ssn VARCHAR(200) NOT NULL UNIQUE,
    email VARCHAR(200) NOT NULL, note VARCHAR(200) NOT NULL, clinic BIGINT NOT NULL CHECK (clinic > 0)
)";

/// A pool of one of the databases.
#[derive(Debug)]
#[non_exhaustive]
pub enum Database {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
    /// A server of MariaDB.
    MySql(MySqlPool),
}

/// Runs the same code on whichever pool it is.
macro_rules! on {
    ($database:expr, $pool:ident => $run:expr) => {
        match $database {
            $crate::database::Database::Sqlite($pool) => $run,
            $crate::database::Database::Postgres($pool) => $run,
            $crate::database::Database::MySql($pool) => $run,
        }
    };
}
pub(crate) use on;

/// Statements that take longer are logged as slow by the driver.
const SLOW: Duration = Duration::from_millis(100);

impl Database {
    /// Connects, with all that the driver can log.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        let (all, slow) = (log_level(LevelFilter::TRACE), log_level(LevelFilter::WARN));
        if url.starts_with("sqlite:") {
            let options: SqliteConnectOptions = url.parse()?;
            let options = options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal);
            let options = options.busy_timeout(Duration::from_millis(50));
            let options = options.log_statements(all).log_slow_statements(slow, SLOW);
            let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options);
            return Ok(Self::Sqlite(pool.await?));
        }
        if url.starts_with("postgres:") {
            let options: PgConnectOptions = url.parse()?;
            let options = options.log_statements(all).log_slow_statements(slow, SLOW);
            let pool = PgPoolOptions::new().max_connections(4).connect_with(options);
            return Ok(Self::Postgres(pool.await?));
        }
        let options: MySqlConnectOptions = url.parse()?;
        let options = options.log_statements(all).log_slow_statements(slow, SLOW);
        let pool = MySqlPoolOptions::new().max_connections(4).connect_with(options);
        Ok(Self::MySql(pool.await?))
    }

    /// Creates both tables.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn create_tables(&self) -> Result<(), sqlx::Error> {
        let patients = match self {
            Self::Sqlite(_) => SQLITE.to_owned(),
            Self::Postgres(_) => SQLITE.replace("id BLOB", "id UUID").replace("BLOB", "BYTEA"),
            Self::MySql(_) => MYSQL.to_owned(),
        };
        for table in [&patients, IN_THE_CLEAR] {
            on!(self, pool => { sqlx::query(AssertSqlSafe(table.to_owned())).execute(pool).await?; });
        }
        Ok(())
    }

    /// A statement with `$1`, `$2`, …, each once and in order.
    pub(crate) fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        let mut text = text.to_owned();
        if matches!(self, Self::MySql(_)) {
            (1..=9).for_each(|number| text = text.replace(&format!("${number}"), "?"));
        }
        AssertSqlSafe(text)
    }

    /// An expression that takes some time for a row: with `seconds`, about that long.
    pub(crate) fn sleep(&self, seconds: f32) -> String {
        match self {
            Self::Postgres(_) => format!("pg_sleep({seconds})"),
            Self::MySql(_) => format!("SLEEP({seconds})"),
            Self::Sqlite(_) => {
                "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000000) \
                                SELECT max(i) FROM n)"
                    .to_owned()
            }
        }
    }
}

/// sqlx takes the levels of the crate `log`.
fn log_level<L: std::str::FromStr<Err: std::fmt::Debug>>(level: LevelFilter) -> L {
    level.to_string().parse().expect("both crates have these levels")
}
