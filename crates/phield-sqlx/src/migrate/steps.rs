//! The four steps.

use super::column::Migrated;
use super::database::MigrationDatabase;
use super::error::{Check, MigrationError};
use super::lookup::{indexed_columns, is_partitioned, look_up, unfinished_indexes};
use super::step::{self, MigrationRecord, Step};
use super::{Acknowledgement, Migration};
use crate::backend::Reuse;
use crate::rotate::state;
use crate::statement::{Statement, quoted, quoted_table};
use phield_core::Dialect;

/// Passes of one backfill, before it says that somebody writes plaintext alone.
const MAX_PASSES: u32 = 5;

/// What a migration would do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MigrationPlan {
    /// Where it is now; none before `add`.
    pub step: Option<Step>,
    /// The statements of `add`.
    pub add: Vec<String>,
    /// The statements of `drop`.
    pub drop: Vec<String>,
    /// Rows of the table.
    pub rows: u64,
    /// Rows that are to be sealed.
    pub left: u64,
    /// Whether the column of the plaintext takes NULL, as it must at the cutover.
    pub is_plaintext_nullable: bool,
}

impl<DB: MigrationDatabase> Migration<DB> {
    /// What a migration would do with the column, by its logical names, whose plaintext stands in `from`, by its name in SQL.
    /// Changes nothing.
    ///
    /// # Errors
    /// See [`MigrationError`].
    pub async fn plan(&self, table: &str, column: &str, from: &str) -> Result<MigrationPlan, MigrationError> {
        let mut connection = self.pool.acquire().await?;
        let migrated = Migrated::find::<DB>(&mut connection, &self.schema, [table, column], from).await?;
        let record = step::of::<DB>(&mut connection, table, column).await?;
        let rows = migrated.count_all::<DB>(&mut connection).await?;
        let is_added = look_up::<DB>(&mut connection, &migrated.table.sql_table, &migrated.sealed)
            .await?
            .is_some();
        let left = if is_added {
            migrated.count_left::<DB>(&mut connection).await?
        } else {
            rows
        };
        Ok(MigrationPlan {
            step: record.and_then(|record| record.step),
            add: self.add_statements(&mut connection, &migrated).await?,
            drop: self.drop_statements(&migrated)?,
            rows,
            left,
            is_plaintext_nullable: migrated.plaintext_nullable,
        })
    }

    /// The migrations of this database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn status(&self) -> Result<Vec<MigrationRecord>, MigrationError> {
        let mut connection = self.pool.acquire().await?;
        Ok(step::all::<DB>(&mut connection).await?)
    }

    /// `add`: declares the migration, and adds the column of tokens and those of its indexes. Run again, it adds what is missing.
    /// Refused where the column of tokens has some, and no migration is declared: `revert` would drop a column that never was one
    /// of plaintext.
    ///
    /// # Errors
    /// See [`MigrationError`].
    pub async fn add(
        &self,
        table: &str,
        column: &str,
        from: &str,
    ) -> Result<MigrationRecord, MigrationError> {
        step::create::<DB>(&self.pool).await?;
        state::create::<DB>(&self.pool).await?;
        let mut connection = self.pool.acquire().await?;
        let migrated = Migrated::find::<DB>(&mut connection, &self.schema, [table, column], from).await?;
        let record = MigrationRecord {
            table: table.to_owned(),
            column: column.to_owned(),
            plaintext_column: from.to_owned(),
            source: self.source_name().to_owned(),
            step: Some(Step::Add),
            who: self.options.who.clone(),
            since: 0,
            sealed: 0,
            left: None,
            place: String::new(),
        };
        // The columns first: who finds the record finds them.
        let known = step::of::<DB>(&mut connection, table, column).await?;
        if let Some(known) = &known
            && (known.plaintext_column != from || known.source != record.source)
        {
            return Err(MigrationError::Another {
                from: known.plaintext_column.clone(),
                source_name: known.source.clone(),
            });
        }
        if known.is_none() {
            migrated.refuse_tokens::<DB>(&mut connection).await?;
        }
        if known
            .as_ref()
            .is_none_or(|known| known.step.is_some_and(Step::is_open))
        {
            for statement in self.add_statements(&mut connection, &migrated).await? {
                run::<DB>(&mut connection, &statement).await?;
            }
        }
        if known.is_none() {
            step::insert::<DB>(&mut connection, &record).await?;
        }
        drop(connection);
        self.record(table, column).await
    }

    /// `backfill`: seals the plaintext of every row that has no token, until none is left but those in the quarantine. With
    /// `plaintext_wins`, tokens that hold something else than the plaintext beside them are made again first, when there are just
    /// so many; otherwise the rows are put into the quarantine list, and nothing is written.
    ///
    /// `report` is called with the number of rows of every page.
    ///
    /// # Security
    /// Plaintext is not authenticated: with `plaintext_wins` a value that somebody wrote into the database takes the place of one
    /// that was sealed. Look at the rows first.
    ///
    /// # Errors
    /// See [`MigrationError`]. Whatever was done stays done; the same call goes on from there.
    pub async fn backfill(
        &self,
        table: &str,
        column: &str,
        plaintext_wins: Option<u64>,
        report: impl Fn(u64) + Send + Sync,
    ) -> Result<MigrationRecord, MigrationError> {
        let (mut record, migrated) = self.under_way(table, column).await?;
        match known_step(&record)? {
            Step::Add | Step::Backfill => {}
            at => {
                let next = "its cutover was. To seal what was written without a token since, `phield migrate revert` first";
                return Err(MigrationError::Order { at, next });
            }
        }
        if let Some(given) = plaintext_wins {
            self.forget_notes(&migrated).await?;
            let rows = self.compare_pass(&migrated, true, 0).await?.differing;
            if rows != given {
                return Err(MigrationError::PlaintextWins { rows, given });
            }
            self.compare_pass(&migrated, true, rows).await?;
            // From the first row on: what was reset may stand before the place where a pass was ended.
            let mut connection = self.pool.acquire().await?;
            step::begin_anew::<DB>(&mut connection, &record).await?;
            record.place.clear();
        }
        let mut left = 0;
        for _ in 0..MAX_PASSES {
            self.seal_pass(&migrated, &record, &report).await?;
            let mut connection = self.pool.acquire().await?;
            left = migrated.count_left::<DB>(&mut connection).await?;
            step::leave::<DB>(&mut connection, &record, left).await?;
            record.place.clear();
            drop(connection);
            if left <= self.count_notes(&migrated).await? {
                return self.after_backfill(record, left).await;
            }
        }
        Err(MigrationError::NotEnding {
            passes: MAX_PASSES,
            left,
        })
    }

    async fn after_backfill(
        &self,
        record: MigrationRecord,
        left: u64,
    ) -> Result<MigrationRecord, MigrationError> {
        if left == 0 && record.step == Some(Step::Add) {
            self.take(&record, Step::Backfill).await?;
        }
        self.record(&record.table, &record.column).await
    }

    /// What stands between plaintext and tokens: opens every token, and compares. Writes nothing but the quarantine.
    ///
    /// # Errors
    /// See [`MigrationError`].
    pub async fn check(&self, table: &str, column: &str) -> Result<Check, MigrationError> {
        let (record, migrated) = self.under_way(table, column).await?;
        self.forget_notes(&migrated).await?;
        let is_open = known_step(&record)?.is_open();
        self.compare_pass(&migrated, is_open, 0).await
    }

    /// `cutover`: plaintext is no longer read or written. Refused while a row has no token, or one that does not hold its
    /// plaintext, and before somebody says that every process that writes the column writes both.
    ///
    /// # Errors
    /// See [`MigrationError`].
    pub async fn cutover(
        &self,
        table: &str,
        column: &str,
        dual_writes_on: bool,
    ) -> Result<MigrationRecord, MigrationError> {
        let (record, migrated) = self.under_way(table, column).await?;
        match known_step(&record)? {
            Step::Backfill => {}
            Step::Cutover => return Ok(record),
            at @ Step::Add => {
                return Err(MigrationError::Order {
                    at,
                    next: "`phield migrate backfill` comes first, until 0 rows are left",
                });
            }
            at @ Step::Drop => {
                return Err(MigrationError::Order {
                    at,
                    next: "it is done",
                });
            }
        }
        if !dual_writes_on {
            return Err(MigrationError::DualWrites);
        }
        if !migrated.plaintext_nullable {
            return Err(not_null::<DB>(&migrated));
        }
        let check = self.check(table, column).await?;
        if !check.is_clean() {
            return Err(MigrationError::Rows(Box::new(check)));
        }
        self.take(&record, Step::Cutover).await?;
        self.record(table, column).await
    }

    /// `drop`: drops the column of the plaintext, and makes the column of tokens NOT NULL where the schema says so and the database
    /// can. There is no way back. Refused while a row has no token or one that does not open, and for 60 seconds after the cutover.
    ///
    /// # Errors
    /// See [`MigrationError`].
    pub async fn drop_plaintext(
        &self,
        table: &str,
        column: &str,
        acknowledgement: &Acknowledgement,
    ) -> Result<MigrationRecord, MigrationError> {
        let record = self.record(table, column).await?;
        match known_step(&record)? {
            Step::Cutover => {}
            Step::Drop => return Ok(record),
            at => {
                return Err(MigrationError::Order {
                    at,
                    next: "`phield migrate cutover` comes first",
                });
            }
        }
        acknowledgement.check(&format!("backups still hold the plaintext of {table}.{column}"))?;
        self.wait_out(&record).await?;
        let mut connection = self.pool.acquire().await?;
        // Killed between the statement and the step: the column is gone, and that of the tokens is seen.
        let (entry, sealed) = super::column::entry_of(&self.schema, [table, column])?;
        let sql_table = entry.sql_table.clone();
        state::check_columns::<DB>(&mut connection, &sql_table, std::iter::once(sealed.sql_name())).await?;
        let plaintext = look_up::<DB>(&mut connection, &sql_table, &record.plaintext_column).await?;
        drop(connection);
        if plaintext.is_some() {
            let (_, migrated) = self.under_way(table, column).await?;
            let check = self.check(table, column).await?;
            if !check.is_clean() {
                return Err(MigrationError::Rows(Box::new(check)));
            }
            self.drop_plaintext_column(&migrated).await?;
        }
        self.take(&record, Step::Drop).await?;
        self.record(table, column).await
    }

    /// Drops the column of the plaintext. The check was without a lock: rows without a token are counted again, with writers locked out.
    async fn drop_plaintext_column(&self, migrated: &Migrated) -> Result<(), MigrationError> {
        let mut connection = self.pool.acquire().await?;
        let (lock, unlock) = DB::LOCK_FOR_DROP;
        let table = quoted_table::<DB>(&migrated.table.sql_table);
        if unlock.is_empty() {
            let mut transaction = state::begin::<DB>(&mut connection).await?;
            if !lock.is_empty() {
                run::<DB>(&mut transaction, &lock.replace("{table}", &table)).await?;
            }
            self.drop_locked(&mut transaction, migrated).await?;
            transaction.commit().await?;
            return Ok(());
        }
        run::<DB>(&mut connection, &lock.replace("{table}", &table)).await?;
        let dropped = self.drop_locked(&mut connection, migrated).await;
        if let Err(error) = run::<DB>(&mut connection, unlock).await {
            // It does not go back into the pool with its lock.
            let _ = connection.close().await;
            return Err(error);
        }
        dropped
    }

    async fn drop_locked(
        &self,
        connection: &mut DB::Connection,
        migrated: &Migrated,
    ) -> Result<(), MigrationError> {
        let left = migrated.count_left::<DB>(connection).await?;
        if left > 0 {
            return Err(MigrationError::Rows(Box::new(Check {
                table: migrated.table.name().to_owned(),
                column: migrated.column.clone(),
                left,
                ..Check::default()
            })));
        }
        for statement in self.drop_statements(migrated)? {
            run::<DB>(connection, &statement).await?;
        }
        Ok(())
    }

    pub(super) async fn record(&self, table: &str, column: &str) -> Result<MigrationRecord, MigrationError> {
        let mut connection = self.pool.acquire().await?;
        let record = step::of::<DB>(&mut connection, table, column).await?;
        record.ok_or_else(|| MigrationError::NoMigration {
            table: table.to_owned(),
            column: column.to_owned(),
        })
    }

    /// A migration that was declared, with the source that it was declared with.
    pub(super) async fn under_way(
        &self,
        table: &str,
        column: &str,
    ) -> Result<(MigrationRecord, Migrated), MigrationError> {
        let record = self.record(table, column).await?;
        if record.source != self.source_name() {
            return Err(MigrationError::Another {
                from: record.plaintext_column,
                source_name: record.source,
            });
        }
        if known_step(&record)? == Step::Drop {
            return Err(MigrationError::Order {
                at: Step::Drop,
                next: "it is done",
            });
        }
        let mut connection = self.pool.acquire().await?;
        let names = [table, column];
        let migrated =
            Migrated::find::<DB>(&mut connection, &self.schema, names, &record.plaintext_column).await?;
        Ok((record, migrated))
    }

    pub(super) async fn take(&self, record: &MigrationRecord, step: Step) -> Result<(), MigrationError> {
        let mut connection = self.pool.acquire().await?;
        if step::take::<DB>(&mut connection, record, step, &self.options.who).await? {
            Ok(())
        } else {
            Err(MigrationError::Race)
        }
    }

    /// What is missing of the columns and their indexes.
    async fn add_statements(
        &self,
        connection: &mut DB::Connection,
        migrated: &Migrated,
    ) -> Result<Vec<String>, MigrationError> {
        let mut statements = Vec::new();
        let sql_table = &migrated.table.sql_table;
        let indexed = indexed_columns::<DB>(connection, sql_table).await?;
        let unfinished = unfinished_indexes::<DB>(connection, sql_table).await?;
        let is_partitioned = is_partitioned::<DB>(connection, sql_table).await?;
        for added in self
            .schema
            .add_column(DB::DIALECT, migrated.table.name(), &migrated.column)?
        {
            if look_up::<DB>(connection, sql_table, &added.sql_name)
                .await?
                .is_none()
            {
                statements.push(added.add);
            }
            let Some(index) = added.index.filter(|_| !indexed.contains(&added.sql_name)) else {
                continue;
            };
            // The table has rows, and writers that would wait. Of one with partitions that cannot be helped.
            let beside_writers = |statement: &str| match DB::DIALECT {
                Dialect::Postgres if !is_partitioned => {
                    statement.replacen(" INDEX ", " INDEX CONCURRENTLY ", 1)
                }
                _ => statement.to_owned(),
            };
            if unfinished.contains(&index.sql_name) {
                statements.push(beside_writers(&index.drop));
            }
            statements.push(beside_writers(&index.create));
        }
        Ok(statements)
    }

    fn drop_statements(&self, migrated: &Migrated) -> Result<Vec<String>, MigrationError> {
        let mut statements = Vec::new();
        for added in self
            .schema
            .add_column(DB::DIALECT, migrated.table.name(), &migrated.column)?
        {
            statements.extend(added.set_not_null.filter(|_| added.index.is_none()));
        }
        statements.push(format!(
            "ALTER TABLE {} DROP COLUMN {};",
            quoted_table::<DB>(&migrated.table.sql_table),
            quoted::<DB>(&migrated.plaintext)
        ));
        Ok(statements)
    }
}

/// Runs a statement of the schema.
pub(super) async fn run<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    statement: &str,
) -> Result<(), MigrationError> {
    DB::execute(Statement::new(statement), Reuse::Unlikely, connection).await?;
    Ok(())
}

pub(super) fn known_step(record: &MigrationRecord) -> Result<Step, MigrationError> {
    record.step.ok_or_else(|| MigrationError::UnknownStep {
        table: record.table.clone(),
        column: record.column.clone(),
    })
}

fn not_null<DB: MigrationDatabase>(migrated: &Migrated) -> MigrationError {
    let (table, column) = (
        quoted_table::<DB>(&migrated.table.sql_table),
        quoted::<DB>(&migrated.plaintext),
    );
    let how = match DB::DIALECT {
        Dialect::Postgres => format!("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL;"),
        Dialect::MariaDb => format!(
            "ALTER TABLE {table} MODIFY {column} {} NULL;",
            migrated.plaintext_type
        ),
        _ => "SQLite cannot: make the table anew, as its page on ALTER TABLE says".to_owned(),
    };
    MigrationError::NotNull {
        table: migrated.table.sql_table.clone(),
        column: migrated.plaintext.clone(),
        how,
    }
}
