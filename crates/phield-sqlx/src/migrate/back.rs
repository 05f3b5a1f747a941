//! The ways back: a step that is taken back, and values that are written as plaintext again.

use super::column::{Migrated, look_up};
use super::database::MigrationDatabase;
use super::error::MigrationError;
use super::pass::Unsealed;
use super::step::{self, MigrationRecord, Step};
use super::steps::{known_step, run};
use super::unseal::ColumnForm;
use super::{Acknowledgement, Migration};
use crate::rotate::state;
use phield_core::Dialect;

impl<DB: MigrationDatabase> Migration<DB> {
    /// One step back: from the cutover to the mixed time; from the mixed time to plaintext alone, which drops the column of tokens.
    /// None: the migration is gone. Refused where a row would lose its value.
    ///
    /// # Errors
    /// See [`MigrationError`].
    pub async fn revert(&self, table: &str, column: &str) -> Result<Option<MigrationRecord>, MigrationError> {
        let (record, migrated) = self.under_way(table, column).await?;
        match known_step(&record)? {
            Step::Cutover => {
                self.take(&record, Step::Backfill).await?;
                return self.record(table, column).await.map(Some);
            }
            Step::Add | Step::Backfill => {}
            at @ Step::Drop => {
                let next = "the plaintext is gone, and nothing is taken back; `phield unseal` writes the values into a column of \
                            plaintext again";
                return Err(MigrationError::Order { at, next });
            }
        }
        let mut connection = self.pool.acquire().await?;
        let rows = migrated.count_only_sealed::<DB>(&mut connection).await?;
        drop(connection);
        if rows > 0 {
            return Err(MigrationError::OnlySealed { rows });
        }
        if record.sealed > 0 {
            let check = self.compare_pass(&migrated, true, false).await?;
            if check.differing > 0 {
                return Err(MigrationError::Rows(Box::new(check)));
            }
        }
        let mut connection = self.pool.acquire().await?;
        for added in self.schema.add_column(DB::DIALECT, table, column)? {
            if look_up::<DB>(&mut connection, &migrated.table.sql_table, &added.sql_name)
                .await?
                .is_some()
            {
                // SQLite drops no column that an index is over.
                if let (Dialect::Sqlite, Some(drop)) =
                    (DB::DIALECT, added.create_index.as_deref().and_then(drop_index))
                {
                    run::<DB>(&mut connection, &drop).await?;
                }
                run::<DB>(&mut connection, &added.drop).await?;
            }
        }
        step::forget::<DB>(&mut connection, &record).await?;
        Ok(None)
    }

    /// Migration out: writes what every token of the column holds into the column of plaintext `into`, by its name in SQL. Rows that
    /// have it are left as they are; run again, it goes on.
    ///
    /// # Security
    /// The database, its backups, replicas and logs hold the plaintext from here on.
    ///
    /// # Errors
    /// See [`MigrationError`].
    pub async fn unseal(
        &self,
        table: &str,
        column: &str,
        into: &str,
        acknowledgement: &Acknowledgement,
        report: impl Fn(u64) + Send + Sync,
    ) -> Result<Unsealed, MigrationError> {
        acknowledgement.check(&format!(
            "write the plaintext of {table}.{column} into the database"
        ))?;
        state::create::<DB>(&self.pool).await?;
        let mut connection = self.pool.acquire().await?;
        let migrated = Migrated::find::<DB>(&mut connection, &self.schema, [table, column], into).await?;
        let unsupported = |why: String| MigrationError::Unsupported {
            table: table.to_owned(),
            column: column.to_owned(),
            why,
        };
        let record = step::of::<DB>(&mut connection, table, column).await?;
        if record.is_some_and(|record| record.plaintext_column == into && record.source != "plaintext") {
            return Err(unsupported(format!(
                "column {into} holds another library's ciphertext: name a new column for the plaintext"
            )));
        }
        let form = ColumnForm::of(DB::DIALECT, migrated.value_type, &migrated.plaintext_type);
        let form = form.ok_or_else(|| {
            unsupported(format!(
                "a column of type {} does not take these values: make one that does",
                migrated.plaintext_type
            ))
        })?;
        drop(connection);
        self.unseal_pass(&migrated, form, &report).await
    }
}

/// `DROP INDEX name;` of `CREATE [UNIQUE] INDEX name ON …`
fn drop_index(create: &str) -> Option<String> {
    let (_, rest) = create.split_once(" INDEX ")?;
    let (name, _) = rest.split_once(" ON ")?;
    Some(format!("DROP INDEX {name};"))
}
