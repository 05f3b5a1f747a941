//! The databases.

use std::pin::Pin;

use phield_core::BlindIndex;
use sqlx::{Database, IntoArguments};

use crate::statement::Statement;

/// A database that sealed rows can be written to and found in. Not for users to implement.
pub trait Backend: Database<Arguments: IntoArguments<Self>> + private::Sealed {
    /// What stands around a name.
    #[doc(hidden)]
    const QUOTE: char;
    /// How many values one statement can bind.
    #[doc(hidden)]
    const MAX_BINDS: usize;
    /// How it updates many rows in one statement.
    #[doc(hidden)]
    const UPDATE: UpdateForm;
    /// That `{column}` and `{value}`, which are equal, are so byte for byte, and not by a collation alone.
    #[doc(hidden)]
    const SAME_BYTES: &'static str;

    /// Binds an index value.
    #[doc(hidden)]
    fn bind_index(statement: &mut Statement<Self>, value: BlindIndex);

    /// Runs a statement; the number of rows that it wrote, or found to be as they should.
    #[doc(hidden)]
    fn execute<'c>(
        statement: Statement<Self>,
        reuse: Reuse,
        connection: &'c mut Self::Connection,
    ) -> Written<'c>;

    /// The number of rows that a statement wrote, or found to be as they should.
    #[doc(hidden)]
    fn rows_affected(result: &Self::QueryResult) -> u64;
}

/// How rows of values and a table meet in one `UPDATE`.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateForm {
    /// `WITH new (…) AS (VALUES (…), …) UPDATE t SET … FROM new WHERE …`
    From,
    /// `UPDATE (SELECT … UNION ALL SELECT …) AS new STRAIGHT_JOIN t ON … SET …`
    Join,
}

/// Whether the connection should remember a prepared statement: not one whose number of rows is chance.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reuse {
    /// It comes again.
    Likely,
    /// It does not.
    Unlikely,
}

impl Reuse {
    /// A round number of rows is one that a program chose, and chooses again: to prepare a statement of a thousand rows
    /// costs the server almost as much as to run it. Of other numbers there are too many to remember them all.
    pub(crate) fn of_rows(rows: usize) -> Self {
        if rows.is_power_of_two() || rows.is_multiple_of(100) {
            Self::Likely
        } else {
            Self::Unlikely
        }
    }
}

type Written<'c> = Pin<Box<dyn Future<Output = Result<u64, sqlx::Error>> + Send + 'c>>;

mod private {
    #[allow(unnameable_types, reason = "a sealed trait")]
    pub trait Sealed {}
}

/// A database that knows bytes and text.
#[allow(unused_macros, reason = "used behind features")]
macro_rules! backend {
    ($database:ty, $quote:literal, $max_binds:literal, $update:ident, $same_bytes:literal) => {
        impl private::Sealed for $database {}

        impl Backend for $database {
            const QUOTE: char = $quote;
            const MAX_BINDS: usize = $max_binds;
            const UPDATE: UpdateForm = UpdateForm::$update;
            const SAME_BYTES: &'static str = $same_bytes;

            fn bind_index(statement: &mut Statement<Self>, value: BlindIndex) {
                statement.bind(value);
            }

            fn execute<'c>(
                statement: Statement<Self>,
                reuse: Reuse,
                connection: &'c mut Self::Connection,
            ) -> Written<'c> {
                Box::pin(async move {
                    let (sql, arguments) = statement.finish()?;
                    let query = sqlx::query_with(sql, arguments).persistent(reuse == Reuse::Likely);
                    let done = query.execute(connection).await?;
                    Ok(done.rows_affected())
                })
            }

            fn rows_affected(result: &Self::QueryResult) -> u64 {
                result.rows_affected()
            }
        }
    };
}

// SQLITE_MAX_VARIABLE_NUMBER since SQLite 3.32.
#[cfg(feature = "sqlite")]
backend!(
    sqlx::Sqlite,
    '"',
    32_766,
    From,
    "{column} COLLATE BINARY = {value} COLLATE BINARY"
);

// The protocol counts them in 16 bits.
#[cfg(feature = "postgres")]
backend!(
    sqlx::Postgres,
    '"',
    65_535,
    From,
    r#"CAST({column} AS TEXT) COLLATE "C" = CAST({value} AS TEXT) COLLATE "C""#
);

#[cfg(feature = "mysql")]
backend!(
    sqlx::MySql,
    '`',
    65_535,
    Join,
    // Numbers, UUIDs and bytes have no collation.
    "(CHARSET({column}) = 'binary' OR CAST(CONVERT({column} USING utf8mb4) AS BINARY) \
     = CAST(CONVERT({value} USING utf8mb4) AS BINARY))"
);
