//! What can go wrong between a model and its table.

use std::fmt;

use phield_core::{IndexError, OpenRowError, SealError};

/// Why a row was not written, read or found. No variant shows values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A row was not opened.
    #[error(transparent)]
    Open(#[from] OpenRowError),
    /// A value was not indexed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

/// An error of sqlx that shows its kind, the database's code and the names involved, but never a message of the
/// database: those repeat values (`DETAIL: Key (state)=(…) already exists`).
///
/// [`source`](std::error::Error::source) is `None` for the same reason; the whole error is at
/// [`expose_sqlx_error`](Self::expose_sqlx_error).
pub struct DatabaseError(sqlx::Error);

impl DatabaseError {
    /// The whole error, as sqlx gave it.
    ///
    /// # Security
    /// Its messages can repeat plain columns of the row: do not log it where those may not be.
    #[must_use]
    pub fn expose_sqlx_error(&self) -> &sqlx::Error {
        &self.0
    }

    /// Whether a row with the same unique value is there already.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.0
            .as_database_error()
            .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl std::error::Error for DatabaseError {}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            sqlx::Error::Database(error) => {
                write!(f, "the database refused: {:?}", error.kind())?;
                if let Some(missing) = missing_name(error.message()) {
                    write!(f, ", {missing}")?;
                }
                error.code().map_or(Ok(()), |code| write!(f, ", code {code}"))?;
                error
                    .constraint()
                    .map_or(Ok(()), |constraint| write!(f, ", constraint {constraint}"))
            }
            sqlx::Error::ColumnDecode { index, .. } => write!(f, "column {index} does not hold its type"),
            sqlx::Error::ColumnNotFound(name) => write!(f, "there is no column {name}"),
            other => f.write_str(summary(other)),
        }
    }
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseError({self})")
    }
}

/// What SQLite says of a table or column that is not there: names of the schema, never values.
fn missing_name(message: &str) -> Option<&str> {
    let of_schema = |rest: &str| {
        rest.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b' '))
    };
    let known = ["no such table: ", "no such column: "]
        .iter()
        .any(|start| message.starts_with(start))
        || (message.starts_with("table ") && message.contains(" has no column named "));
    let (_, names) = message.split_once(' ')?;
    (known && message.len() < 200 && of_schema(&names.replace(':', ""))).then_some(message)
}

/// The kind of an error, without anything that came from outside.
fn summary(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Configuration(_) => "the database is not configured",
        sqlx::Error::Io(_) => "the connection to the database failed",
        sqlx::Error::Tls(_) => "no TLS connection to the database",
        sqlx::Error::Protocol(_) => "the database sent something unexpected",
        sqlx::Error::RowNotFound => "no row",
        sqlx::Error::TypeNotFound { .. } => "the database does not know a type",
        sqlx::Error::ColumnIndexOutOfBounds { .. } => "too few columns",
        sqlx::Error::Encode(_) => "a value cannot be encoded",
        sqlx::Error::Decode(_) => "a value cannot be decoded",
        sqlx::Error::PoolTimedOut => "no connection became free in time",
        sqlx::Error::PoolClosed => "the connection pool is closed",
        sqlx::Error::WorkerCrashed => "a worker of the database driver crashed",
        sqlx::Error::BeginFailed => "no transaction was begun",
        _ => "the database driver failed",
    }
}
