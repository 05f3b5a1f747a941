//! A verb in the database that the command line names.

use std::sync::Arc;

use phield_core::{Keyring, SchemaFile};
use phield_sqlx::migrate::{
    Acknowledgement, Migration, MigrationDatabase, MigrationError, MigrationOptions, MigrationPlan, MigrationRecord, Source, Unsealed,
};
use sqlx::Pool;

use crate::Error;
use crate::rotate::{Database, connect};

/// What to do.
pub(super) enum Verb<'a> {
    Plan(&'a str),
    Add(&'a str),
    Backfill(bool),
    Cutover(bool),
    Drop(&'a str),
    Revert,
    Status,
    Unseal { into: &'a str, acknowledge: &'a str },
}

/// What was found or done.
pub(super) enum Outcome {
    Plan(MigrationPlan),
    Step(MigrationRecord),
    Gone,
    Status(Vec<MigrationRecord>),
    Unsealed(Unsealed),
}

/// What it is done with.
pub(super) struct Job {
    pub(super) database: Database,
    pub(super) keyring: Keyring,
    pub(super) schema: SchemaFile,
    pub(super) source: Option<Source>,
    pub(super) options: MigrationOptions,
}

impl Job {
    pub(super) async fn run(self, names: [&str; 2], verb: Verb<'_>) -> Result<Outcome, Error> {
        let outcome = match &self.database {
            #[cfg(feature = "sqlx-sqlite")]
            Database::Sqlite(options) => {
                let pool = connect(&**options, 2).await?;
                self.migration::<sqlx::Sqlite>(pool, names, verb).await
            }
            #[cfg(feature = "sqlx-postgres")]
            Database::Postgres(options) => {
                let pool = connect(&**options, 2).await?;
                self.migration::<sqlx::Postgres>(pool, names, verb).await
            }
            #[cfg(feature = "sqlx-mysql")]
            Database::MySql(options) => {
                let pool = connect(&**options, 2).await?;
                self.migration::<sqlx::MySql>(pool, names, verb).await
            }
        };
        Ok(outcome?)
    }

    async fn migration<DB: MigrationDatabase>(
        self,
        pool: Pool<DB>,
        names: [&str; 2],
        verb: Verb<'_>,
    ) -> Result<Outcome, MigrationError> {
        let migration = Migration::new(pool, Arc::new(self.keyring), self.schema).with_options(self.options);
        let migration = match self.source {
            Some(source) => migration.with_source(source),
            None => migration,
        };
        perform(&migration, names, verb).await
    }
}

async fn perform<DB: MigrationDatabase>(
    migration: &Migration<DB>,
    [table, column]: [&str; 2],
    verb: Verb<'_>,
) -> Result<Outcome, MigrationError> {
    Ok(match verb {
        Verb::Plan(from) => Outcome::Plan(migration.plan(table, column, from).await?),
        Verb::Add(from) => Outcome::Step(migration.add(table, column, from).await?),
        Verb::Backfill(plaintext_wins) => {
            Outcome::Step(migration.backfill(table, column, plaintext_wins, |_| {}).await?)
        }
        Verb::Cutover(dual_writes_on) => {
            Outcome::Step(migration.cutover(table, column, dual_writes_on).await?)
        }
        Verb::Drop(acknowledge) => {
            let known = Acknowledgement::backups(acknowledge);
            Outcome::Step(migration.drop_plaintext(table, column, &known).await?)
        }
        Verb::Revert => match migration.revert(table, column).await? {
            Some(record) => Outcome::Step(record),
            None => Outcome::Gone,
        },
        Verb::Status => Outcome::Status(migration.status().await?),
        Verb::Unseal { into, acknowledge } => {
            let known = Acknowledgement::plaintext_phi(acknowledge);
            Outcome::Unsealed(migration.unseal(table, column, into, &known, |_| {}).await?)
        }
    })
}
