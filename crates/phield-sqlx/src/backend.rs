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

    /// Binds an index value.
    #[doc(hidden)]
    fn bind_index(statement: &mut Statement<Self>, value: BlindIndex);

    /// Runs a statement; the number of rows that it wrote.
    #[doc(hidden)]
    fn execute<'c>(statement: Statement<Self>, connection: &'c mut Self::Connection) -> Written<'c>;
}

type Written<'c> = Pin<Box<dyn Future<Output = Result<u64, sqlx::Error>> + Send + 'c>>;

mod private {
    #[allow(unnameable_types, reason = "a sealed trait")]
    pub trait Sealed {}
}

/// A database that knows bytes and text.
#[allow(unused_macros, reason = "used behind features")]
macro_rules! backend {
    ($database:ty, $quote:literal, $max_binds:literal) => {
        impl private::Sealed for $database {}

        impl Backend for $database {
            const QUOTE: char = $quote;
            const MAX_BINDS: usize = $max_binds;

            fn bind_index(statement: &mut Statement<Self>, value: BlindIndex) {
                statement.bind(value);
            }

            fn execute<'c>(statement: Statement<Self>, connection: &'c mut Self::Connection) -> Written<'c> {
                Box::pin(async move {
                    let (sql, arguments) = statement.finish()?;
                    let done = sqlx::query_with(sql, arguments).execute(connection).await?;
                    Ok(done.rows_affected())
                })
            }
        }
    };
}

// SQLITE_MAX_VARIABLE_NUMBER since SQLite 3.32.
#[cfg(feature = "sqlite")]
backend!(sqlx::Sqlite, '"', 32_766);
