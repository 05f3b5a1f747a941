//! The mixed time: rows of one column that are sealed, and rows that are not yet.

use std::fmt;
use std::time::{Duration, Instant};

use phield_core::{Column, Keys, OpenRowError, Phi, RowBinding, Storage, Value};
use sqlx::{Executor, Pool};

use super::database::MigrationDatabase;
use super::plaintext::{DualColumn, DualWrite, Plaintext};
use super::step::{self, MigrationRecord, Step};
use crate::error::{DatabaseError, Error};
use crate::row::{BindRow, SealedRow};
use crate::statement::Statement;
use crate::write;

/// How long a [`MixedTime`] answers. `drop` waits for as long after the cutover.
pub const MIXED_TIME_HOLDS: Duration = Duration::from_secs(60);

/// Why the plaintext of a row was neither read nor written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// Nobody declared a migration.
    #[error("no migration of this column is declared in this database: `phield migrate add` declares one")]
    NoMigration,
    /// The cutover was.
    #[error(
        "its cutover was: some process still writes this column without sealing it. Find that process and stop it; then \
         `phield migrate revert` and `phield migrate backfill` seal what it wrote"
    )]
    Cutover,
    /// The table says something that is not known.
    #[error(
        "phield_migration has a step that this version does not know: is it changed by hand, or of a newer version?"
    )]
    UnknownStep,
    /// The answer is too old.
    #[error("its state was asked for more than 60 seconds ago: make a new MixedTime, best one a request")]
    Expired,
}

/// Why a field was not read or written in the mixed time. It names the table and the column.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixedError {
    /// The token does not open. The plaintext beside it is not looked at.
    #[error(transparent)]
    Open(#[from] OpenRowError),
    /// The migration is not open.
    #[error("the plaintext of table {table}, column {column}, was not touched: {why}")]
    Closed {
        /// The logical name of the table.
        table: String,
        /// The logical name of the column.
        column: String,
        /// Why.
        why: Closed,
    },
}

/// A column in the time in which some of its rows are sealed and some are not. Nothing else in phield reads plaintext from a
/// database, so code that does names this type.
///
/// ```no_run
/// # use phield_core::{Column, Keyring, Phi, Sealed};
/// # use phield_sqlx::migrate::{MixedError, MixedTime, Plaintext};
/// # use sqlx::SqlitePool;
/// # async fn f(pool: SqlitePool, keyring: Keyring, ssn_column: Column<String, i64>) -> Result<(), Box<dyn std::error::Error>> {
/// let mixed = MixedTime::of(&pool, ssn_column).await?; // of `Patient::SSN`; asks the database, best once a request
/// let (id, plaintext, sealed): (i64, Plaintext<String>, Option<Sealed<String>>) =
///     sqlx::query_as("SELECT id, ssn, ssn_sealed FROM patients WHERE id = 7").fetch_one(&pool).await?;
/// let ssn: Option<Phi<String>> = mixed.read(&keyring, &id, plaintext, sealed)?;
/// # Ok(())
/// # }
/// ```
///
/// * A token wins, always: where there is one, the plaintext is not looked at, and a token that does not open is an error.
/// * Plaintext is read only where there is no token, and only while `phield_migration` says that the migration is open. Without
///   a row there, after the cutover, or with a step that is not known, it is an error that names table and column.
/// * What the database says holds for 60 seconds.
///
/// # Security
/// Plaintext is not authenticated: in the mixed time, whoever writes to the database can put a value of their own in the place
/// of a token. Whoever writes to the database can also open a migration again after its cutover. Both end when this type is
/// gone from the code: take it out after the cutover, and before the drop.
pub struct MixedTime<T, B: ?Sized> {
    column: Column<T, B>,
    /// By its name in SQL.
    plaintext_column: Option<String>,
    state: Result<Step, Closed>,
    asked: Instant,
}

impl<T: Value, B: RowBinding + ?Sized> MixedTime<T, B> {
    /// The column, in the state that the database has for it now. The connection is one of its own, outside of transactions.
    ///
    /// # Errors
    /// When the database does not answer. That there is no migration is no error here: then tokens alone are read.
    pub async fn of<DB: MigrationDatabase>(
        pool: &Pool<DB>,
        column: Column<T, B>,
    ) -> Result<Self, DatabaseError> {
        let asked = Instant::now();
        let mut connection = pool.acquire().await?;
        let record = step::of::<DB>(&mut connection, column.table().as_str(), column.name().as_str()).await?;
        Ok(Self::new(column, record, asked))
    }

    fn new(column: Column<T, B>, record: Option<MigrationRecord>, asked: Instant) -> Self {
        let state = match &record {
            None => Err(Closed::NoMigration),
            Some(record) => record.step.ok_or(Closed::UnknownStep),
        };
        Self {
            column,
            plaintext_column: record.map(|record| record.plaintext_column),
            state,
            asked,
        }
    }

    /// The field of a row: what is in its token; or else its plaintext, where that is allowed. None when both are SQL NULL.
    ///
    /// # Errors
    /// See [`MixedError`].
    pub fn read(
        &self,
        keys: &(impl Keys + ?Sized),
        row: &B,
        plaintext: Plaintext<T>,
        sealed: Option<impl Storage<Value = T>>,
    ) -> Result<Option<Phi<T>>, MixedError> {
        match (sealed, plaintext.value) {
            (Some(sealed), _) => Ok(Some(self.column.open(keys, row, &sealed)?)),
            (None, None) => Ok(None),
            (None, Some(plaintext)) => match self.step()? {
                step if step.is_open() => Ok(Some(plaintext)),
                _ => Err(self.closed(Closed::Cutover)),
            },
        }
    }

    /// What to write into the column of the plaintext beside the token: the value itself while the migration is open, since the
    /// old version of the application reads it there; SQL NULL after the cutover; nothing once the column is gone.
    ///
    /// # Errors
    /// [`MixedError::Closed`] when the state is too old, or is not known: nothing should be written then.
    pub fn dual_write<'v>(&self, value: Option<&'v Phi<T>>) -> Result<DualWrite<'v, T>, MixedError> {
        let step = match self.step() {
            Err(MixedError::Closed {
                why: Closed::NoMigration,
                ..
            }) => Step::Drop,
            step => step?,
        };
        Ok(DualWrite {
            column: self.plaintext_column.clone().filter(|_| step != Step::Drop),
            value: value.filter(|_| step.is_open()),
        })
    }

    fn step(&self) -> Result<Step, MixedError> {
        if self.asked.elapsed() >= MIXED_TIME_HOLDS {
            return Err(self.closed(Closed::Expired));
        }
        self.state.map_err(|why| self.closed(why))
    }

    fn closed(&self, why: Closed) -> MixedError {
        MixedError::Closed {
            table: self.column.table().to_string(),
            column: self.column.name().to_string(),
            why,
        }
    }
}

impl<T, B: ?Sized> fmt::Debug for MixedTime<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MixedTime")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Inserts one sealed row, and its plaintext columns of the mixed time, in one statement.
///
/// ```no_run
/// # use phield_core::{Column, Phi};
/// # use phield_sqlx::migrate::{self, MixedTime};
/// # use phield_sqlx::BindRow;
/// # async fn f<R: BindRow<sqlx::Sqlite>>(pool: sqlx::SqlitePool, sealed: R, ssn: Phi<String>, mixed: MixedTime<String, i64>) -> Result<(), Box<dyn std::error::Error>> {
/// migrate::insert(&pool, &sealed, &[&mixed.dual_write(Some(&ssn))?]).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When the database refuses it.
pub async fn insert<'c, R, E>(
    executor: E,
    row: &R,
    plaintext: &[&dyn DualColumn<E::Database>],
) -> Result<(), Error>
where
    E: Executor<'c, Database: MigrationDatabase>,
    R: BindRow<E::Database>,
{
    let statement = insert_statement::<E::Database, R>(row, plaintext);
    write::execute::<R, E>(executor, statement).await?;
    Ok(())
}

fn insert_statement<DB: MigrationDatabase, R: BindRow<DB>>(
    row: &R,
    plaintext: &[&dyn DualColumn<DB>],
) -> Statement<DB> {
    let mut statement = Statement::new("INSERT INTO ");
    statement.table(R::TABLE).push(" (");
    statement.list(write::written::<R>(), |statement, column| {
        statement.name(column);
    });
    for name in plaintext.iter().filter_map(|column| column.column()) {
        statement.push(", ").name(name);
    }
    statement.push(") VALUES (");
    write::bind(&mut statement, row);
    for column in plaintext.iter().filter(|column| column.column().is_some()) {
        column.bind(statement.push(", "));
    }
    statement.push(")");
    statement
}

/// Writes every column of one sealed row, and its plaintext columns of the mixed time, over the row with its key, in one
/// statement: otherwise as [`update`](crate::update). The number of rows that there were.
///
/// # Errors
/// When the database refuses it.
pub async fn update<'c, R, E>(
    executor: E,
    row: &R,
    plaintext: &[&dyn DualColumn<E::Database>],
) -> Result<u64, Error>
where
    E: Executor<'c, Database: MigrationDatabase>,
    R: BindRow<E::Database>,
{
    const {
        assert!(
            !<R as SealedRow>::KEY.is_empty(),
            "a row of an `unbound` table has no key to update it by: write the UPDATE yourself"
        );
    }
    let statement = write::update_by_key(row, |statement| {
        for column in plaintext {
            if let Some(name) = column.column() {
                column.bind(statement.push(", ").name(name).push(" = "));
            }
        }
    });
    write::execute::<R, E>(executor, statement).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use phield_core::Padding;

    fn mixed(step: Option<&str>, asked: Instant) -> MixedTime<String, i64> {
        let record = step.map(|step| MigrationRecord {
            table: "patients".to_owned(),
            column: "ssn".to_owned(),
            plaintext_column: "ssn_plain".to_owned(),
            source: "plaintext".to_owned(),
            step: Step::of(step),
            who: String::new(),
            since: 0,
            sealed: 0,
            left: None,
            place: String::new(),
        });
        MixedTime::new(Column::new("patients", "ssn", Padding::Block16), record, asked)
    }

    fn write(mixed: &MixedTime<String, i64>) -> Result<(bool, bool), Closed> {
        let ssn = Phi::from("999-12-3456");
        match mixed.dual_write(Some(&ssn)) {
            Ok(write) => Ok((write.column.is_some(), write.value.is_some())),
            Err(MixedError::Closed { why, .. }) => Err(why),
            Err(MixedError::Open(error)) => unreachable!("{error}"),
        }
    }

    #[test]
    fn what_is_written_in_each_step() {
        let now = Instant::now();
        assert_eq!(write(&mixed(None, now)), Ok((false, false)));
        assert_eq!(write(&mixed(Some("add"), now)), Ok((true, true)));
        assert_eq!(write(&mixed(Some("backfill"), now)), Ok((true, true)));
        assert_eq!(write(&mixed(Some("cutover"), now)), Ok((true, false)));
        assert_eq!(write(&mixed(Some("drop"), now)), Ok((false, false)));
        assert_eq!(write(&mixed(Some("reopened"), now)), Err(Closed::UnknownStep));
        let long_ago = now.checked_sub(MIXED_TIME_HOLDS).unwrap();
        assert_eq!(write(&mixed(Some("add"), long_ago)), Err(Closed::Expired));
        assert_eq!(
            format!("{:?}", mixed(Some("add"), now)),
            "MixedTime { state: Ok(Add), .. }"
        );
    }
}
