//! Why a migration does not go on.

use phield_core::{IndexError, PlaintextError, ReindexError, SchemaSqlError, SealError};

use super::step::Step;
use crate::error::DatabaseError;
use crate::rotate::RotationError;
use crate::rotate::patience::Passing;

/// Why a migration does not go on, or a step is refused. Says what is wrong and what to do next; shows no row ids and no values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The table cannot be gone through.
    #[error(transparent)]
    Table(#[from] RotationError),
    /// Nothing can be sealed now.
    #[error("nothing can be sealed now; what was done stays done, and the same command goes on from there")]
    Seal(#[from] SealError),
    /// Nothing can be indexed now.
    #[error("nothing can be indexed now; what was done stays done, and the same command goes on from there")]
    Index(#[from] IndexError),
    /// A token that was made does not open.
    #[error(transparent)]
    Machine(PlaintextError),
    /// No SQL for the schema.
    #[error(transparent)]
    Sql(#[from] SchemaSqlError),
    /// Not in the schema.
    #[error(
        "the schema has no sealed column {column} in table {table}: give their logical names, as phield.schema.json has them"
    )]
    NoSuchColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column that this engine does not migrate.
    #[error("table {table}, column {column}: {why}")]
    Unsupported {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Why, and what to do.
        why: String,
    },
    /// The column of the plaintext is not there.
    #[error(
        "table {table} has no column {column} in SQL: name the column that holds the plaintext now (--from), or make the one that is to get it (--into). Nothing was changed"
    )]
    NoPlaintextColumn {
        /// The table, by its name in SQL.
        table: String,
        /// The column.
        column: String,
    },
    /// No migration was declared.
    #[error(
        "no migration of {table}.{column} is declared in this database: `phield migrate add` comes first"
    )]
    NoMigration {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// What the table of migrations says is not understood.
    #[error(
        "phield_migration has a step for {table}.{column} that this version does not know: is it changed by hand, or of a newer \
         version? Until it is put right no plaintext is read"
    )]
    UnknownStep {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A step in the wrong order.
    #[error("the migration is at step `{}`, so this is not the next one: {next}", at.as_str())]
    Order {
        /// The step that was taken last.
        at: Step,
        /// What is next.
        next: &'static str,
    },
    /// Another migration of the column, or with another plaintext.
    #[error(
        "a migration of this column from {from} ({source_name}) is under way: go on with that one, or take it back by `phield migrate \
         revert`"
    )]
    Another {
        /// The column of its plaintext.
        from: String,
        /// What that holds.
        source_name: String,
    },
    /// Somebody else took a step meanwhile.
    #[error("somebody else took a step of this migration meanwhile: see `phield migrate status`")]
    Race,
    /// Nobody said that dual writes are on.
    #[error(
        "the cutover is for the time when every process that writes this column writes the token too. When no process of the old \
         version runs any more, say --dual-writes-on"
    )]
    DualWrites,
    /// The plaintext column does not take NULL.
    #[error(
        "column {column} of table {table} is NOT NULL: after the cutover nothing is written there, and every INSERT would fail. Make \
         it nullable first ({how})"
    )]
    NotNull {
        /// The table, by its name in SQL.
        table: String,
        /// The column of the plaintext.
        column: String,
        /// The statement for it.
        how: String,
    },
    /// Rows that are in the way.
    #[error("{0}")]
    Rows(Box<Check>),
    /// Too early.
    #[error(
        "processes may still go by the step before for {seconds} seconds: run the same command again then"
    )]
    TooSoon {
        /// How long, in seconds.
        seconds: i64,
    },
    /// No acknowledgement, or another one.
    #[error("nothing was done. If it is true and wanted, run it again with --acknowledge {text:?}")]
    Acknowledge {
        /// The text.
        text: String,
    },
    /// Rows would lose their value.
    #[error(
        "{rows} rows have a token and no plaintext: they would lose their value. `phield unseal` writes the plaintext back first"
    )]
    OnlySealed {
        /// How many.
        rows: u64,
    },
    /// The column for the plaintext is in use.
    #[error(
        "column {column} of table {table} holds something else than the values of the tokens in {rows} rows: name one that is empty \
         (--into). Nothing was changed"
    )]
    Occupied {
        /// The table, by its name in SQL.
        table: String,
        /// The column.
        column: String,
        /// How many rows.
        rows: u64,
    },
    /// Another number of tokens would be replaced.
    #[error(
        "{rows} tokens would be replaced, not {given}; nothing was written. Plaintext is not authenticated: whoever writes to the \
         database can have changed it. Look at these rows (`phield rotate quarantine`); if the plaintext is right in all of them, say \
         --plaintext-wins {rows}"
    )]
    PlaintextWins {
        /// How many there are.
        rows: u64,
        /// How many were given.
        given: u64,
    },
    /// Too many writers.
    #[error(
        "after {passes} passes {left} rows still have plaintext and no token, beside those in quarantine: some process writes this \
         column without sealing it. Find it, move it to dual writes, and run the same command again"
    )]
    NotEnding {
        /// How many passes there were.
        passes: u32,
        /// How many rows are left.
        left: u64,
    },
}

/// What stands between the plaintext and the tokens of a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// The table's logical name.
    pub table: String,
    /// The column's logical name.
    pub column: String,
    /// Rows with plaintext and without a token.
    pub left: u64,
    /// Rows with neither, in a column that always has a value by the schema.
    pub absent: u64,
    /// Rows whose token holds something else than the plaintext beside it.
    pub differing: u64,
    /// Rows whose token holds a value beside SQL NULL: it stands nowhere else. In nobody's way but that of `revert`.
    pub only_sealed: u64,
    /// Rows whose token does not open, or whose plaintext is none of the column's type.
    pub unreadable: u64,
    /// Rows whose token holds an encrypted null, beside SQL NULL.
    pub(crate) nulls: u64,
}

impl Check {
    /// Whether nothing is in the way.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left == 0 && self.absent == 0 && self.differing == 0 && self.unreadable == 0
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}.{} is not ready; nothing was changed:",
            self.table, self.column
        )?;
        let lines = [
            (
                self.left,
                "rows have plaintext and no token: run `phield migrate backfill`; those in its quarantine need repair first",
            ),
            (
                self.absent,
                "rows have neither, and the schema says that there always is a value: give them one, or declare the field as \
                 Option<Phi<…>>",
            ),
            (
                self.differing,
                "rows have a token that holds something else than the plaintext beside it: some process writes the plaintext alone, or \
                 somebody changed it. Plaintext is not authenticated, the token is: look at these rows (`phield rotate quarantine`). \
                 Where the plaintext is right, `phield migrate backfill --plaintext-wins ROWS` replaces so many tokens",
            ),
            (
                self.unreadable,
                "rows have a token that does not open, or plaintext that is none: they are in the quarantine with their reasons",
            ),
        ];
        for (rows, what) in lines.iter().filter(|(rows, _)| *rows > 0) {
            write!(f, "\n  {rows} {what}")?;
        }
        Ok(())
    }
}

impl From<sqlx::Error> for MigrationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Passing for MigrationError {
    fn passes(&self) -> bool {
        match self {
            Self::Database(error) => error.passes(),
            Self::Table(error) => error.passes(),
            _ => false,
        }
    }
}

impl MigrationError {
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_unique_violation())
    }
}

/// Why one value is left as it is; what is no fault of the row ends the pass.
pub(crate) fn reason(error: PlaintextError) -> Result<&'static str, MigrationError> {
    use phield_core::OpenError;
    Ok(match error {
        PlaintextError::Seal(error) => return Err(error.into()),
        PlaintextError::NotTheSame => return Err(MigrationError::Machine(error)),
        PlaintextError::Open(OpenError::KeyUnavailable(id) | OpenError::KeyRefused(id)) => {
            return Err(RotationError::KeyUnavailable(id).into());
        }
        PlaintextError::Open(OpenError::UnknownKey(_) | OpenError::NoSubjectSecret) => "unknown-key",
        PlaintextError::Open(OpenError::KeyState(_)) => "destroyed-key",
        PlaintextError::Open(OpenError::Authentication) => "authentication",
        _ => "malformed",
    })
}

pub(crate) fn index_reason(error: ReindexError) -> Result<&'static str, MigrationError> {
    match error {
        ReindexError::Index(error @ (IndexError::NoActivePepper | IndexError::KeyUnavailable(_))) => {
            Err(error.into())
        }
        ReindexError::Open(_, error) => reason(PlaintextError::Open(error)),
        _ => Ok("malformed"),
    }
}
