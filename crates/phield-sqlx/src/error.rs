//! What can go wrong between a model and its table.

use std::fmt;

use phield_core::{ColumnError, IndexError, MissingKey, Needs, OpenRowError, SealError};
use sqlx::error::{DatabaseError as Refused, ErrorKind, UnexpectedNullError};

use crate::refusal::{Refusal, is_name};
use crate::row::SealedRow;

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

impl MissingKey for Error {
    fn needs(&self) -> Option<Needs> {
        match self {
            Self::Seal(error) => error.needs(),
            Self::Open(error) => error.needs(),
            Self::Index(error) => error.needs(),
            Self::Database(_) => None,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// An error of sqlx that shows its kind, the database's code and names of the schema, but never a message of the
/// database: those repeat values (`DETAIL: Key (state)=(…) already exists`).
///
/// Only what is known to hold no values is shown: the constraint, table or column that the database names, the column that
/// was not read and why, and in statements of phield's own the table or column that is not there.
///
/// [`source`](std::error::Error::source) is `None` for the same reason; the whole error is at
/// [`expose_sqlx_error`](Self::expose_sqlx_error).
pub struct DatabaseError {
    error: sqlx::Error,
    /// The names in the statement, if it was one of phield's own.
    names: Names,
}

#[derive(Clone, Copy, Default)]
struct Names {
    table: &'static str,
    columns: &'static [&'static str],
}

/// SQLSTATE of PostgreSQL and of MariaDB for a table that is not there.
const NO_TABLE: [&str; 2] = ["42P01", "42S02"];
/// The same of a column.
const NO_COLUMN: [&str; 2] = ["42703", "42S22"];

impl DatabaseError {
    /// The error of a statement whose text holds the names of this row, and nothing else.
    pub(crate) fn of<R: SealedRow>(error: sqlx::Error) -> Self {
        let names = Names {
            table: R::TABLE,
            columns: R::COLUMNS,
        };
        Self { error, names }
    }

    /// The whole error, as sqlx gave it.
    ///
    /// # Security
    /// Its messages can repeat plain columns of the row: do not log it where those may not be.
    #[must_use]
    pub fn expose_sqlx_error(&self) -> &sqlx::Error {
        &self.error
    }

    /// Whether a row with the same unique value is there already.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.is_kind(ErrorKind::UniqueViolation)
    }

    /// Whether a table or column is not there.
    pub(crate) fn is_missing(&self) -> bool {
        let sqlx::Error::Database(error) = &self.error else {
            return false;
        };
        // A schema, too. SQLite has but one code for all.
        let is_code = |code: &str| NO_TABLE.contains(&code) || NO_COLUMN.contains(&code) || code == "3F000";
        let messages = [
            "no such table: ",
            "no such column: ",
            "could not open relation with OID ",
        ];
        error.code().is_some_and(|code| is_code(&code))
            || messages
                .iter()
                .any(|message| error.message().starts_with(message))
    }

    /// Whether the role may not ask for it.
    pub(crate) fn is_not_allowed(&self) -> bool {
        // ER_SPECIFIC_ACCESS_DENIED_ERROR of MariaDB, insufficient_privilege of PostgreSQL.
        self.refusal()
            .is_some_and(|refusal| refusal.number == Some(1227) || refusal.code.as_deref() == Some("42501"))
    }

    /// Whether a row that is referred to is not there, or one that is referred to would go.
    #[must_use]
    pub fn is_foreign_key_violation(&self) -> bool {
        self.is_kind(ErrorKind::ForeignKeyViolation)
    }

    /// Whether a column without a value must have one.
    #[must_use]
    pub fn is_not_null_violation(&self) -> bool {
        self.is_kind(ErrorKind::NotNullViolation)
    }

    /// Whether a row does not satisfy a `CHECK`.
    #[must_use]
    pub fn is_check_violation(&self) -> bool {
        self.is_kind(ErrorKind::CheckViolation)
    }

    /// Whether two transactions waited for each other, and the database ended this one. See
    /// [`is_retryable`](Self::is_retryable), which is what a program asks.
    ///
    /// SQLite knows no deadlocks: a transaction that would wait for ever is refused as locked.
    #[must_use]
    pub fn is_deadlock(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.is_deadlock())
    }

    /// Whether the same transaction can succeed when it is rolled back and run again from its start: a deadlock, a
    /// serialization failure, a lock that did not come free in time.
    ///
    /// Seal the rows again, or keep the sealed ones: both are right.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.is_retryable())
    }

    /// Whether there was no connection, or it broke. What was under way may have been committed, or not.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        match &self.error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            // 08: connection exception; 57P01 to 57P03: the server shuts down, crashed, or starts.
            sqlx::Error::Database(error) => error
                .code()
                .is_some_and(|code| code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03")),
            _ => false,
        }
    }

    /// The constraint or index that was violated; on SQLite the table and columns of it.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.refusal()?.constraint
    }

    /// The column that a database refused a value for.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.refusal()?.column
    }

    fn refused(&self) -> Option<&dyn Refused> {
        self.error.as_database_error()
    }

    fn refusal(&self) -> Option<Refusal<'_>> {
        self.refused().map(Refusal::of)
    }

    fn is_kind(&self, kind: ErrorKind) -> bool {
        let of = |error: &dyn Refused| std::mem::discriminant(&error.kind());
        self.refused()
            .is_some_and(|error| of(error) == std::mem::discriminant(&kind))
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self {
            error,
            names: Names::default(),
        }
    }
}

impl std::error::Error for DatabaseError {}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            sqlx::Error::Database(error) => show_refusal(f, &**error, self.names),
            sqlx::Error::ColumnDecode { index, source } => {
                let index = index.trim_matches('"');
                let column = if is_name(index) {
                    index
                } else {
                    "(its name is no name)"
                };
                write!(f, "column {column} {}", why_not_decoded(&**source))
            }
            sqlx::Error::ColumnNotFound(name) if is_name(name) => write!(f, "there is no column {name}"),
            sqlx::Error::Decode(source) => write!(f, "a column {}", why_not_decoded(&**source)),
            other => f.write_str(summary(other)),
        }
    }
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseError({self})")
    }
}

fn show_refusal(f: &mut fmt::Formatter<'_>, error: &dyn Refused, names: Names) -> fmt::Result {
    let refusal = Refusal::of(error);
    write!(f, "the database refused: {:?}", error.kind())?;
    if let Some(missing) = names.missing(error.message(), &refusal) {
        write!(f, ", there is no {missing}")?;
    }
    for (what, name) in [
        ("table", refusal.table),
        ("column", refusal.column),
        ("constraint", refusal.constraint),
    ] {
        name.map_or(Ok(()), |name| write!(f, ", {what} {name}"))?;
    }
    match (refusal.number, &refusal.code) {
        (Some(number), _) => {
            write!(f, ", code {number}{}", hint(&number.to_string()))
        }
        (None, Some(code)) => write!(f, ", code {code}{}", hint(code)),
        (None, None) => Ok(()),
    }
}

/// What a code means for whoever runs a command.
fn hint(code: &str) -> &'static str {
    match code {
        // Result codes of SQLite.
        "8" => ": the database was opened for reading alone; this writes",
        "13" => ": the disk is full",
        "14" => ": the file cannot be opened; is it there, and may it be read?",
        "26" => ": the file is no SQLite database",
        // PostgreSQL; MariaDB and MySQL.
        "42501" | "1044" | "1142" | "1143" => {
            ": the role lacks a privilege. Rotations, scans and migrations read and write the tables of the schema file, and make and write \
             the tables phield_*"
        }
        "57014" => {
            ": the database ended the statement; are statement_timeout and lock_timeout of the role long enough?"
        }
        "28000" | "28P01" | "1045" => ": user or password are wrong",
        "3D000" | "1049" | "1046" => ": there is no such database, or none in the URL",
        "3F000" => ": there is no such schema; is the search_path right?",
        "08P01" => ": is a pooler between, PgBouncer say? Connect to the database itself",
        "22001" => ": a value is too long for its column",
        _ => "",
    }
}

impl Names {
    /// The table or column that the database does not have, by the names that were in the statement: what a message says
    /// is looked for in them, and never repeated.
    fn missing(self, message: &str, refusal: &Refusal<'_>) -> Option<String> {
        let says = |words: &str| message.contains(words);
        let code = refusal.code.as_deref().unwrap_or_default();
        let table = NO_TABLE.contains(&code) || says("no such table: ");
        let column = NO_COLUMN.contains(&code) || says("no such column: ") || says(" has no column named ");
        if table && !self.table.is_empty() {
            return Some(format!("table {}", self.table));
        }
        let mut words = message
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|_| column);
        // The last one: the table is named before its column, and can have the same name.
        let name = words.rfind(|word| self.columns.contains(word))?;
        Some(format!("column {name} in table {}", self.table))
    }
}

/// Why a column was not decoded, if it is one of the reasons that are known to hold no values.
fn why_not_decoded(source: &(dyn std::error::Error + 'static)) -> String {
    if let Some(error) = source.downcast_ref::<ColumnError>() {
        return error.to_string();
    }
    if source.is::<UnexpectedNullError>() {
        return "is NULL, and its field is no `Option`".to_owned();
    }
    if source.is::<std::str::Utf8Error>() {
        return "holds text that is not UTF-8".to_owned();
    }
    match sql_type_of_mismatch(&source.to_string()) {
        Some(sql_type) => format!("has the wrong SQL type, {sql_type}"),
        None => "does not hold its type".to_owned(),
    }
}

/// sqlx's own `mismatched types; Rust type `…` (as SQL type `…`) is not compatible with SQL type `…``: a name of a type.
fn sql_type_of_mismatch(message: &str) -> Option<String> {
    let rest = message.strip_prefix("mismatched types; Rust type `")?;
    let (_, sql_type) = rest
        .rsplit_once("` is not compatible with SQL type `")
        .or_else(|| rest.rsplit_once("`) is not compatible with SQL type `"))?;
    let sql_type = sql_type.strip_suffix('`')?;
    let bare = sql_type.replace(['[', ']', '(', ')', '"'], "");
    is_name(&bare).then(|| sql_type.to_owned())
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
        sqlx::Error::ColumnNotFound(_) => "a column is missing",
        sqlx::Error::ColumnIndexOutOfBounds { .. } => "too few columns",
        sqlx::Error::Encode(_) => "a value cannot be encoded",
        sqlx::Error::PoolTimedOut => {
            "no connection to the database in time: does it answer at the host and port of its URL?"
        }
        sqlx::Error::PoolClosed => "the connection pool is closed",
        sqlx::Error::WorkerCrashed => "a worker of the database driver crashed",
        sqlx::Error::BeginFailed => "no transaction was begun",
        _ => "the database driver failed",
    }
}
