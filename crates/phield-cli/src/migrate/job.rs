//! A verb in the database that the command line names.

use std::sync::Arc;

use indicatif::ProgressBar;
use phield_core::{Keyring, SchemaFile};
use phield_sqlx::migrate::{
    Acknowledgement, Migration, MigrationDatabase, MigrationError, MigrationOptions, MigrationPlan,
    MigrationRecord, Source, Unsealed,
};
use sqlx::Pool;

use crate::Error;
use crate::rotate::{Database, connect};

/// What to do.
pub(super) enum Verb<'a> {
    Plan(&'a str),
    Add(&'a str),
    Backfill(Option<u64>),
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
    /// No progress bar.
    pub(super) quiet: bool,
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
        let bar = bar(&migration, names, &verb, self.quiet).await;
        let outcome = perform(&migration, names, verb, &bar).await;
        bar.finish_and_clear();
        outcome
    }
}

/// A bar of the rows that a verb goes through; shown on a terminal alone.
async fn bar<DB: MigrationDatabase>(
    migration: &Migration<DB>,
    [table, column]: [&str; 2],
    verb: &Verb<'_>,
    quiet: bool,
) -> ProgressBar {
    let rows = match verb {
        _ if quiet => None,
        Verb::Backfill(_) => {
            let records = migration.status().await.unwrap_or_default();
            let record = records
                .iter()
                .find(|record| record.table == table && record.column == column);
            match record {
                Some(record) => migration.plan(table, column, &record.plaintext_column).await.ok(),
                None => None,
            }
            .map(|plan| plan.left)
        }
        Verb::Unseal { into, .. } => migration
            .plan(table, column, into)
            .await
            .ok()
            .map(|plan| plan.rows),
        _ => None,
    };
    match rows {
        Some(rows) => ProgressBar::new(rows),
        None => ProgressBar::hidden(),
    }
}

async fn perform<DB: MigrationDatabase>(
    migration: &Migration<DB>,
    [table, column]: [&str; 2],
    verb: Verb<'_>,
    bar: &ProgressBar,
) -> Result<Outcome, MigrationError> {
    Ok(match verb {
        Verb::Plan(from) => Outcome::Plan(migration.plan(table, column, from).await?),
        Verb::Add(from) => Outcome::Step(migration.add(table, column, from).await?),
        Verb::Backfill(plaintext_wins) => Outcome::Step(
            migration
                .backfill(table, column, plaintext_wins, |rows| bar.inc(rows))
                .await?,
        ),
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
            Outcome::Unsealed(
                migration
                    .unseal(table, column, into, &known, |rows| bar.inc(rows))
                    .await?,
            )
        }
    })
}
