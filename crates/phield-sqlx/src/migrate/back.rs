//! The ways back: a step that is taken back, and values that are written as plaintext again.

use super::column::{Migrated, Rows};
use super::database::MigrationDatabase;
use super::error::MigrationError;
use super::lookup::look_up;
use super::mixed::MIXED_TIME_HOLDS;
use super::pass::Unsealed;
use super::step::{self, MigrationRecord, Step};
use super::steps::{known_step, run};
use super::unseal::ColumnForm;
use super::{Acknowledgement, Migration};
use crate::rotate::cell::Cursor;
use crate::rotate::state;
use crate::statement::quoted_table;
use phield_core::Dialect;

impl<DB: MigrationDatabase> Migration<DB> {
    /// One step back: from the cutover to the mixed time; from the mixed time to plaintext alone, which drops the column of tokens.
    /// None: the migration is gone. Refused while a row has its value in the token alone, or a token that holds something else than
    /// its plaintext or does not open, and for 60 seconds after the step before.
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
        self.wait_out(&record).await?;
        let mut connection = self.pool.acquire().await?;
        let sealed = look_up::<DB>(&mut connection, &migrated.table.sql_table, &migrated.sealed).await?;
        drop(connection);
        let nulls = match sealed {
            // Ended between the statements of a revert.
            None => None,
            Some(_) => Some(self.check_tokens(&migrated).await?),
        };
        self.drop_tokens(&record, &migrated, nulls).await?;
        self.forget_notes(&migrated).await?;
        Ok(None)
    }

    /// Whoever asked for the state of a migration goes by it for a while.
    pub(super) async fn wait_out(&self, record: &MigrationRecord) -> Result<(), MigrationError> {
        let holds = i64::try_from(MIXED_TIME_HOLDS.as_secs()).unwrap_or(i64::MAX);
        let mut connection = self.pool.acquire().await?;
        let seconds = record.since.saturating_add(holds) - state::now::<DB>(&mut connection).await?;
        if seconds > 0 {
            return Err(MigrationError::TooSoon { seconds });
        }
        Ok(())
    }

    /// That every token holds its plaintext and nothing more; how many hold an encrypted null.
    async fn check_tokens(&self, migrated: &Migrated) -> Result<u64, MigrationError> {
        self.forget_notes(migrated).await?;
        let check = self.compare_pass(migrated, true, 0).await?;
        if check.only_sealed > 0 {
            return Err(MigrationError::OnlySealed {
                rows: check.only_sealed,
            });
        }
        if check.differing > 0 || check.unreadable > 0 {
            return Err(MigrationError::Rows(Box::new(check)));
        }
        Ok(check.nulls)
    }

    /// Drops the column of tokens, and those of its indexes. The comparison was without a lock: tokens without plaintext are counted
    /// again, with writers locked out where the database can.
    async fn drop_tokens(
        &self,
        record: &MigrationRecord,
        migrated: &Migrated,
        nulls: Option<u64>,
    ) -> Result<(), MigrationError> {
        let mut connection = self.pool.acquire().await?;
        let mut transaction = state::begin::<DB>(&mut connection).await?;
        let sql_table = &migrated.table.sql_table;
        if !DB::LOCK_TABLE.is_empty() {
            let lock = DB::LOCK_TABLE.replace("{table}", &quoted_table::<DB>(sql_table));
            run::<DB>(&mut transaction, &lock).await?;
        }
        let known = step::of::<DB>(&mut transaction, &record.table, &record.column).await?;
        if known.is_none_or(|known| (known.step, known.since) != (record.step, record.since)) {
            return Err(MigrationError::Race);
        }
        if let Some(nulls) = nulls {
            let alone = migrated.count_tokens_alone::<DB>(&mut transaction).await?;
            if alone > nulls {
                return Err(MigrationError::OnlySealed { rows: alone - nulls });
            }
        }
        for added in self
            .schema
            .add_column(DB::DIALECT, &record.table, &record.column)?
        {
            if look_up::<DB>(&mut transaction, sql_table, &added.sql_name)
                .await?
                .is_some()
            {
                // SQLite drops no column that an index is over.
                if let (Dialect::Sqlite, Some(index)) = (DB::DIALECT, &added.index) {
                    run::<DB>(&mut transaction, &index.drop).await?;
                }
                run::<DB>(&mut transaction, &added.drop).await?;
            }
        }
        if !step::forget::<DB>(&mut transaction, record).await? {
            return Err(MigrationError::Race);
        }
        transaction.commit().await?;
        Ok(())
    }

    /// That the column into which plaintext is to be written holds nothing but values of the tokens beside it.
    async fn refuse_occupied(&self, migrated: &Migrated) -> Result<(), MigrationError> {
        let mut connection = self.pool.acquire().await?;
        let mut rows = migrated.count_plaintext::<DB>(&mut connection).await?;
        let mut after = None;
        while rows > 0 {
            let page = migrated
                .page::<DB>(&mut connection, Rows::Sealed, after.as_ref(), self.options.batch)
                .await?;
            let Some(last) = page.last().map(|row| Cursor(row.key.clone())) else {
                return Err(MigrationError::Occupied {
                    table: migrated.table.sql_table.clone(),
                    column: migrated.plaintext.clone(),
                    rows,
                });
            };
            let held = page.iter().filter(|row| self.holds_already(migrated, row));
            rows = rows.saturating_sub(held.count().try_into().unwrap_or(u64::MAX));
            after = Some(last);
        }
        Ok(())
    }

    /// Migration out: writes what every token of the column holds into the column of plaintext `into`, by its name in SQL. Rows that
    /// have it are left as they are; run again, it goes on. Refused where the column is one of the schema, or holds something else;
    /// the column of plaintext of a migration that is under way is written over.
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
        state::create::<DB>(&self.pool).await?;
        let mut connection = self.pool.acquire().await?;
        let migrated = Migrated::find::<DB>(&mut connection, &self.schema, [table, column], into).await?;
        let unsupported = |why: String| MigrationError::Unsupported {
            table: table.to_owned(),
            column: column.to_owned(),
            why,
        };
        let record = step::of::<DB>(&mut connection, table, column).await?;
        let record = record.filter(|record| record.plaintext_column == into);
        if record.as_ref().is_some_and(|record| record.source != "plaintext") {
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
        acknowledgement.check(&format!(
            "write the plaintext of {table}.{column} into the column {into} of the database"
        ))?;
        drop(connection);
        // What stands in the column of the migration is the plaintext of an open one, or what is left of it.
        let overwrites = record.is_some_and(|record| record.step != Some(Step::Drop));
        if !overwrites {
            self.refuse_occupied(&migrated).await?;
        }
        self.unseal_pass(&migrated, form, overwrites, &report).await
    }
}
