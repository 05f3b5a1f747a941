//! Migration: a column of plaintext becomes a column of tokens, in four steps, beside live traffic; and back.
//!
//! | step | what it does | what the application does |
//! |---|---|---|
//! | `add` | adds the column of tokens and those of its indexes, NULL in every row | reads and writes through [`MixedTime`], in every process that writes |
//! | `backfill` | seals the plaintext of every row that has no token | the same |
//! | `cutover` | from now on plaintext is neither read nor written | the same, then without [`MixedTime`] |
//! | `drop` | drops the column of the plaintext; there is no way back | nothing of it is left |
//!
//! Every step can be killed at any moment and run again, and each but the last can be taken back. What is in the column may be
//! plaintext, or the ciphertext of another library ([`Source`]).
//!
//! In the mixed time a row has SQL NULL in the place of a token, which a model with a field of `Phi<T>` refuses to read: read such
//! rows with a query of your own and [`MixedTime`], and write them with [`insert`] and [`update`], until the cutover.
//!
//! Between the cutover and the drop, a version without [`MixedTime`] that writes SQL NULL over a token (`Option<Phi<T>>`) leaves the
//! old plaintext beside it. The row is then like one that somebody wrote without sealing it: `drop` is refused, and a backfill after
//! `revert` would seal the old value again. Where you know that no process writes plaintext any more, set the plaintext of such
//! rows to NULL yourself (`UPDATE patients SET ssn = NULL WHERE ssn_sealed IS NULL`), and drop it then.
//!
//! On PostgreSQL the indexes are made concurrently (one that was killed leaves an invalid index behind: drop it, and run `add`
//! again), and `drop` sets NOT NULL, which reads the table through under a lock; on MariaDB that writes the table anew.
//!
//! Where two processes take steps at the same time, one of them is told so. Rows are written by a compare-and-swap on the
//! plaintext that was read: no write of the application is lost.
mod back;
mod column;
mod database;
mod error;
mod lookup;
mod mixed;
mod page;
mod pass;
mod plaintext;
mod step;
mod steps;
mod swaps;
mod unseal;

use std::fmt;
use std::sync::Arc;

use phield_core::{Keyring, Phi, SchemaFile, ValueType};
use sqlx::Pool;

pub use database::MigrationDatabase;
pub use error::{Check, MigrationError};
pub use mixed::{Closed, MIXED_TIME_HOLDS, MixedError, MixedTime, insert, update};
pub use pass::Unsealed;
pub use plaintext::{DualColumn, DualWrite, Plaintext};
pub use step::{MigrationRecord, Step};
pub use steps::MigrationPlan;

/// How a migration works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MigrationOptions {
    /// Rows of a page, which is read, sealed and written at once: 1 to 10,000.
    pub batch: u32,
    /// Most rows a second; none: as many as the database takes.
    pub rate: Option<u32>,
    /// Who migrates, for the record.
    pub who: String,
}

impl Default for MigrationOptions {
    fn default() -> Self {
        Self {
            batch: 1000,
            rate: None,
            who: String::new(),
        }
    }
}

/// Why the ciphertext of another library did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// No key opens it, or it was changed.
    Authentication,
    /// It is not of the format.
    Malformed,
}

type OpenSource = dyn Fn(ValueType, &str) -> Result<Phi<Vec<u8>>, SourceError> + Send + Sync;

/// What stands in the column, where it is not plaintext: the ciphertext of another library, and how it is opened.
#[derive(Clone)]
pub struct Source {
    name: &'static str,
    open: Arc<OpenSource>,
}

impl Source {
    /// A format by its name, and what opens it: text or bytes of a value, by the type that the schema has.
    pub fn new(
        name: &'static str,
        open: impl Fn(ValueType, &str) -> Result<Phi<Vec<u8>>, SourceError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            open: Arc::new(open),
        }
    }

    fn open(&self, value_type: ValueType, message: &str) -> Result<Phi<Vec<u8>>, &'static str> {
        (self.open)(value_type, message).map_err(|error| match error {
            SourceError::Authentication => "authentication",
            SourceError::Malformed => "malformed",
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// That somebody knows what a step does, in the words that the step asks for. Without the very text, the step is refused, and the
/// refusal says the text.
#[derive(Debug, Clone)]
pub struct Acknowledgement(String);

impl Acknowledgement {
    /// That plaintext will stand in the database.
    #[must_use]
    pub fn plaintext_phi(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// That backups still hold the plaintext that is dropped.
    #[must_use]
    pub fn backups(text: &str) -> Self {
        Self(text.to_owned())
    }

    fn check(&self, text: &str) -> Result<(), MigrationError> {
        if self.0 == text {
            Ok(())
        } else {
            Err(MigrationError::Acknowledge {
                text: text.to_owned(),
            })
        }
    }
}

/// The migration of columns of a schema in one database.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use phield_core::{Keyring, SchemaFile};
/// # use phield_sqlx::migrate::{Acknowledgement, Migration, MigrationDatabase, MigrationError};
/// # async fn f<DB: MigrationDatabase>(pool: sqlx::Pool<DB>, keyring: Arc<Keyring>, schema: SchemaFile) -> Result<(), MigrationError> {
/// let migration = Migration::new(pool, keyring, schema);
/// migration.add("patients", "ssn", "ssn_plain").await?;
/// // Now every process reads and writes through MixedTime.
/// migration.backfill("patients", "ssn", None, |_| {}).await?;
/// migration.cutover("patients", "ssn", true).await?;
/// // Now MixedTime goes out of the code.
/// let known = Acknowledgement::backups("backups still hold the plaintext of patients.ssn");
/// migration.drop_plaintext("patients", "ssn", &known).await?;
/// # Ok(())
/// # }
/// ```
pub struct Migration<DB: MigrationDatabase> {
    pool: Pool<DB>,
    keyring: Arc<Keyring>,
    schema: SchemaFile,
    source: Option<Source>,
    options: MigrationOptions,
}

impl<DB: MigrationDatabase> Migration<DB> {
    /// Of columns of this schema, sealed under the active keys of this ring.
    ///
    /// On PostgreSQL it gets connections of its own, as [`Rotation::new`](crate::rotate::Rotation::new) says.
    #[must_use]
    pub fn new(pool: Pool<DB>, keyring: Arc<Keyring>, schema: SchemaFile) -> Self {
        Self {
            pool: DB::whole_tables(pool),
            keyring,
            schema,
            source: None,
            options: MigrationOptions::default(),
        }
    }

    /// How it works.
    #[must_use]
    pub fn with_options(mut self, options: MigrationOptions) -> Self {
        self.options = options;
        self
    }

    /// From columns that hold this format, not plaintext.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    fn source_name(&self) -> &'static str {
        self.source.as_ref().map_or("plaintext", |source| source.name)
    }
}

impl<DB: MigrationDatabase> fmt::Debug for Migration<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("source", &self.source)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
