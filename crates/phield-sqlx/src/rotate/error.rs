//! Why a rotation does not go on.

use phield_core::{IndexError, ResealError, SealError, utc};

use super::patience::Passing;
use crate::error::DatabaseError;

/// Why a rotation does not go on, or does not start. Says what to do next; shows no row ids and no values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Nothing can be sealed now.
    #[error("nothing can be sealed now; what was done stays done, and the same command goes on from there")]
    Seal(#[from] SealError),
    /// Nothing can be indexed now.
    #[error("nothing can be indexed now; what was done stays done, and the same command goes on from there")]
    Index(#[from] IndexError),
    /// A row that was sealed does not open again.
    #[error(transparent)]
    Machine(ResealError),
    /// A key does not open now.
    #[error(
        "key {0} cannot be used now: its provider is out of reach, or refuses it. Rows under it were left as they are; make \
         the provider answer (`phield doctor`), then run the same command again"
    )]
    KeyUnavailable(phield_core::KeyId),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Random,
    /// The secrets of subjects cannot be read.
    #[error(
        "the store of subject secrets does not answer; what was done stays done, and the same command goes on from there"
    )]
    Subjects,
    /// The tables of the rotation are not there.
    #[error(
        "no rotation is under way in this database: `phield rotate status` tells of the last one, `phield rotate run` starts one"
    )]
    NoRotation,
    /// Another rotation is under way.
    #[error(
        "a rotation of mode {mode} is under way here since {}: go on with it by `phield rotate resume`, see `phield rotate status`, \
         or end it as it is by `phield rotate cancel`",
        time(*since)
    )]
    UnderWay {
        /// Its mode.
        mode: String,
        /// When it was started, in Unix seconds.
        since: i64,
    },
    /// The rotation that is under way was begun with a newer ring.
    #[error(
        "the rotation that is under way here was begun with the ring of epoch {theirs}, and this one has epoch {ours}: it does not know the \
         keys that rows are under by now, and would put them into quarantine. Load the newest ring (`phield doctor`), and run it again"
    )]
    OlderRing {
        /// The epoch that it was begun with, or that its count was.
        theirs: i64,
        /// The epoch of the ring that was loaded.
        ours: u64,
    },
    /// No value that was looked at is under a key of the ring.
    #[error(
        "no value in the first or last rows of these tables is under a key of this ring: it is probably not theirs (phield.toml), or not \
         their newest. Nothing was done: a rotation would put everything into quarantine. `phield scan` says which keys they are under"
    )]
    OtherRing,
    /// The rotation that is under way was started with another schema, or with other tables.
    #[error(
        "the rotation of mode {mode} that is under way here since {} was started with another phield.schema.json or other --tables, and \
         some tables are gone through already: go on with it with those, or end it by `phield rotate cancel` and start again",
        time(*since)
    )]
    OtherSchema {
        /// Its mode.
        mode: String,
        /// When it was started, in Unix seconds.
        since: i64,
    },
    /// It was ended by an operator.
    #[error(
        "the rotation was cancelled; the rows that it wrote stay as they are, and the next one finds what is left"
    )]
    Cancelled,
    /// It was paused.
    #[error("the rotation is paused; `phield rotate resume` goes on with it")]
    Paused,
    /// Writers may still seal under the old key.
    #[error(
        "the rotation is started, and waits: processes may still seal under the old key for {seconds} seconds, until the hard TTL has \
         passed since the new key was seen active. Run the same command again then; or say --acknowledged-by-every-instance, when \
         every instance was seen to have it; or take it back by `phield rotate cancel`"
    )]
    TooSoon {
        /// How long, in seconds.
        seconds: i64,
    },
    /// A table of the schema that cannot be worked on.
    #[error("table {table}: {why}")]
    Table {
        /// Its name in SQL.
        table: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A table of the schema that is not in the database.
    #[error(
        "there is no table {0} in this database: is it the right one (PHIELD_DATABASE_URL, --database), and the right \
         phield.schema.json (--schema)? Nothing was changed"
    )]
    NoTable(String),
    /// A column of the schema that is not in the database.
    #[error(
        "table {table} has no column {column}, which phield.schema.json names: add it first (`phield migrate add`, or your own \
         migration), or give the right --schema and --database. Nothing was changed"
    )]
    NoColumn {
        /// The table's name in SQL.
        table: String,
        /// The column's.
        column: String,
    },
    /// A table that the schema does not have.
    #[error("the schema has no table {0}: give the logical names, as phield.schema.json has them")]
    NoSuchTable(String),
    /// What a checkpoint says is not understood.
    #[error(
        "table {0} holds what no phield of this version wrote: is it changed by hand, or of a newer version?"
    )]
    Checkpoint(&'static str),
    /// Rows are written under the old key all the time.
    #[error(
        "after {passes} passes there still are {left} values under other keys than the active one: some process writes under an \
         old key. Find it (every instance must have loaded the ring of epoch {epoch}), stop it, and run the same command again"
    )]
    NotEnding {
        /// How many passes there were.
        passes: i64,
        /// How many values are left.
        left: u64,
        /// The epoch of the ring.
        epoch: u64,
    },
    /// Rows are written without a new index all the time.
    #[error(
        "after {passes} passes {left} rows still have no value of a new index, for other processes write into them all the time: deploy \
         the version that fills the index to every instance, and run the same command again"
    )]
    Contended {
        /// How many passes there were.
        passes: i64,
        /// How many rows are left.
        left: u64,
    },
}

impl From<sqlx::Error> for RotationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<ResealError> for RotationError {
    fn from(error: ResealError) -> Self {
        match error {
            ResealError::Seal(error) => Self::Seal(error),
            other => Self::Machine(other),
        }
    }
}

/// A time of the database, for people.
fn time(seconds: i64) -> String {
    utc(u64::try_from(seconds).unwrap_or(0))
}

impl Passing for DatabaseError {
    fn passes(&self) -> bool {
        self.is_retryable() || self.is_disconnected()
    }
}

impl RotationError {
    /// Whether the role may not ask for it.
    pub(crate) fn is_not_allowed(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_not_allowed())
    }
}

impl Passing for RotationError {
    fn passes(&self) -> bool {
        matches!(self, Self::Database(error) if error.passes())
    }
}
