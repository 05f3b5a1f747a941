//! Rotation: every row of every table under the active keys, and the proof of it.
//!
//! A rotation is kept in the database itself. It is started, killed, started again on another machine, and goes on from its last
//! page; several workers, in one process or in many, share it. It goes through the tables until nothing is left under an old key
//! but what is in quarantine, and then counts, in a pass that only reads, what is under which key.
//!
//! Live traffic goes on: a row is written by a compare-and-swap on the tokens that were read, so that no write of somebody else is
//! lost; new tokens are under the active key, which every process opens since before it became active.

pub(crate) mod cell;
pub(crate) mod database;
mod error;
mod forms;
mod heartbeat;
pub(crate) mod limiter;
mod noted;
mod options;
mod page;
pub(crate) mod patience;
mod scan;
pub(crate) mod state;
mod status;
pub(crate) mod swap;
pub(crate) mod table;
mod tables;
mod worker;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use phield_core::{KeyState, KeyUse, Keyring, SchemaFile, SubjectStore};
use sqlx::Pool;

pub use cell::Cell;
pub use database::RotationDatabase;
pub use error::RotationError;
#[doc(hidden)]
pub use forms::Forms;
pub use options::RotationOptions;
pub use scan::{RegisteredTable, Unregistered, UnregisteredColumn};
pub use state::{KeyCount, Mode, QuarantineCount, Quarantined, TableProgress};
pub use status::{RotationPlan, RotationStatus, TablePlan};
#[doc(hidden)]
pub use swap::{Swap, SwapRow, Value};

use limiter::Limiter;
use patience::patiently;
use state::{Beginning, Phase, Record};
use table::Table;
pub(crate) use tables::key_of;
use tables::totals;
use worker::Worker;

/// Passes over the tables in one run, before it says that somebody writes under an old key.
const MAX_PASSES: i64 = 5;

/// A rotation of the tables of a schema in one database.
///
/// ```no_run
/// # #[cfg(feature = "sqlite")]
/// # async fn rotate(pool: sqlx::SqlitePool, keyring: phield_core::Keyring, schema: phield_core::SchemaFile)
/// # -> Result<(), phield_sqlx::rotate::RotationError> {
/// use phield_sqlx::rotate::{Mode, Rotation};
///
/// let rotation = Rotation::new(pool, keyring.into(), schema);
/// let status = rotation.run(Mode::Data, |status| println!("{}, pass {}", status.state, status.pass)).await?;
/// assert!(status.quarantined.is_empty(), "phield rotate quarantine lists them");
/// # Ok(())
/// # }
/// ```
pub struct Rotation<DB: RotationDatabase> {
    pool: Pool<DB>,
    keyring: Arc<Keyring>,
    schema: SchemaFile,
    subjects: Option<Arc<dyn SubjectStore>>,
    options: RotationOptions,
}

impl<DB: RotationDatabase> std::fmt::Debug for Rotation<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotation")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<DB: RotationDatabase> Rotation<DB> {
    /// Of these tables, under the active keys of this ring. The pool needs two connections a worker, and one more.
    ///
    /// On PostgreSQL it gets connections of its own, with the options of the pool and `row_security = off`, so that no policy hides
    /// rows from it: call it within a Tokio runtime. Give it a role with BYPASSRLS where tables have policies. A proxy has to let the
    /// option through.
    #[must_use]
    pub fn new(pool: Pool<DB>, keyring: Arc<Keyring>, schema: SchemaFile) -> Self {
        Self {
            pool: DB::whole_tables(pool),
            keyring,
            schema,
            subjects: None,
            options: RotationOptions::default(),
        }
    }

    /// How it works.
    #[must_use]
    pub fn with_options(mut self, options: RotationOptions) -> Self {
        self.options = options;
        self
    }

    /// Where the secrets of subjects are, for tables with subject keys.
    #[must_use]
    pub fn with_subjects(mut self, subjects: Arc<dyn SubjectStore>) -> Self {
        self.subjects = Some(subjects);
        self
    }

    /// Starts a rotation, or goes on with the one of this mode that is under way, until it is done.
    ///
    /// `report` gets the status now and then, and at the end.
    ///
    /// # Errors
    /// See [`RotationError`]. Whatever was done stays done; the same call goes on from there.
    pub async fn run(
        &self,
        mode: Mode,
        report: impl Fn(&RotationStatus) + Send + Sync,
    ) -> Result<RotationStatus, RotationError> {
        patiently(|| state::create::<DB>(&self.pool)).await?;
        let tables = patiently(|| self.tables(mode)).await?;
        let id = patiently(|| self.start(mode, &tables)).await?.id;
        let mut first_pass = None;
        loop {
            let record = patiently(|| self.record(&id)).await?;
            if record.phase == Phase::Done {
                return patiently(|| self.status_of_record(&record)).await;
            }
            if record.phase == Phase::Cancelled {
                return Err(RotationError::Cancelled);
            }
            if record.pass >= *first_pass.get_or_insert(record.pass) + MAX_PASSES {
                return Err(patiently(|| self.not_ending(&record)).await?);
            }
            patiently(|| self.prepare_pass(&record)).await?;
            self.pass(&record, &tables, &report).await?;
            patiently(|| self.end_pass(&record, &tables)).await?;
            self.tell(&[], &report).await;
        }
    }

    async fn record(&self, id: &str) -> Result<Record, RotationError> {
        let mut connection = self.pool.acquire().await?;
        state::by_id::<DB>(&mut connection, id).await
    }

    async fn status_of_record(&self, record: &Record) -> Result<RotationStatus, RotationError> {
        let mut connection = self.pool.acquire().await?;
        self.status_of(&mut connection, record.clone(), &[]).await
    }

    async fn prepare_pass(&self, record: &Record) -> Result<(), RotationError> {
        self.wait_until_ready(record).await?;
        if self.options.alone {
            let mut connection = self.pool.acquire().await?;
            state::end_leases::<DB>(&mut connection, &record.id, None).await?;
        }
        Ok(())
    }

    /// On to the next phase. Where the answer was lost, it is asked again, and finds that it is done.
    async fn end_pass(&self, record: &Record, tables: &[Arc<Table>]) -> Result<(), RotationError> {
        let (phase, pass) = self.next(record).await?;
        let mut connection = self.pool.acquire().await?;
        // Before they are waited for: a transaction that begins later writes nothing that was sealed before.
        let clocks = state::clocks::<DB>(&mut connection, self.options.clock_ahead).await?;
        let open_writers = phase == Phase::Count && self.open_writers(&mut connection, tables).await?;
        let totals = match phase {
            Phase::Count | Phase::Done => totals::<DB>(&mut connection, tables).await?,
            Phase::Work | Phase::Cancelled => Vec::new(),
        };
        let beginning = Beginning {
            epoch: self.epoch(),
            clocks,
            open_writers,
        };
        state::next_phase::<DB>(&mut connection, record, (phase, pass), beginning, &totals)
            .await
            .map(drop)
    }

    /// Whether what others wrote before is not to be seen yet, after they were waited for as long as for a worker.
    async fn open_writers(
        &self,
        connection: &mut DB::Connection,
        tables: &[Arc<Table>],
    ) -> Result<bool, RotationError> {
        writers::are_open::<DB>(connection, tables, self.options.lease).await
    }

    /// How many seconds the clocks of the database and of this machine are apart: what they tell is compared.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clocks_apart(&self) -> Result<u64, RotationError> {
        let mut connection = self.pool.acquire().await?;
        let clocks = state::clocks::<DB>(&mut connection, self.options.clock_ahead).await?;
        Ok(u64::try_from(clocks.apart).unwrap_or(0))
    }

    /// Where the last rotation is, under way or done; none when there never was one.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub async fn status(&self) -> Result<Option<RotationStatus>, RotationError> {
        self.status_to(&[]).await
    }

    /// The status as these workers see it.
    async fn status_to(&self, owners: &[String]) -> Result<Option<RotationStatus>, RotationError> {
        let mut connection = self.pool.acquire().await?;
        if !state::exists::<DB>(&mut connection).await? {
            return Ok(None);
        }
        match state::last::<DB>(&mut connection).await? {
            Some(record) => self.status_of(&mut connection, record, owners).await.map(Some),
            None => Ok(None),
        }
    }

    /// Pauses the rotation that is under way: its workers end after the page that they are at.
    ///
    /// # Errors
    /// [`RotationError::NoRotation`] when none is under way.
    pub async fn pause(&self) -> Result<(), RotationError> {
        self.set_paused(true).await
    }

    /// Ends the rotation that is under way as it is: the rows that it wrote stay as they are, it has no report, and another may start.
    ///
    /// # Errors
    /// [`RotationError::NoRotation`] when none is under way.
    pub async fn cancel(&self) -> Result<(), RotationError> {
        let open = {
            let mut connection = self.pool.acquire().await?;
            under_way::<DB>(&mut connection).await?
        };
        patiently(|| async {
            let mut connection = self.pool.acquire().await?;
            state::cancel::<DB>(&mut connection, &open.id).await
        })
        .await
    }

    /// Ends the pause; [`run`](Self::run) then goes on.
    ///
    /// # Errors
    /// [`RotationError::NoRotation`] when none is under way.
    pub async fn end_pause(&self) -> Result<Mode, RotationError> {
        self.set_paused(false).await?;
        let mut connection = self.pool.acquire().await?;
        Ok(under_way::<DB>(&mut connection).await?.mode)
    }

    async fn set_paused(&self, paused: bool) -> Result<(), RotationError> {
        let mut connection = self.pool.acquire().await?;
        under_way::<DB>(&mut connection).await?;
        state::set_paused::<DB>(&mut connection, paused).await.map(drop)
    }

    /// What a rotation would find: rows and keys, table by table. Reads the starts of all values, and writes nothing.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub async fn plan(&self, mode: Mode) -> Result<RotationPlan, RotationError> {
        let mut plans = Vec::new();
        for table in self.tables(mode).await? {
            let mut connection = self.pool.acquire().await?;
            let counts = scan::count_keys::<DB>(&mut connection, &table, &self.keyring).await?;
            let unique = table.indexes.iter().filter(|index| index.unique);
            plans.push(TablePlan {
                table: table.name().to_owned(),
                rows: counts.rows,
                key: table.key.clone(),
                is_bound: table.is_bound,
                counts: counts.counts,
                unique_indexes: unique.map(|index| index.name.clone()).collect(),
            });
        }
        Ok(RotationPlan {
            tables: plans,
            active: self.keys_in(mode, |state| state.seals()),
        })
    }

    /// Values that do not open, at most `limit` of them.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub async fn quarantine(&self, limit: u32) -> Result<Vec<Quarantined>, RotationError> {
        let mut connection = self.pool.acquire().await?;
        if !state::exists::<DB>(&mut connection).await? {
            return Ok(Vec::new());
        }
        state::quarantine::<DB>(&mut connection, limit).await
    }

    /// Looks for what the schema does not have: columns that hold tokens and are not registered, and plaintext where tokens should
    /// be. The database looks through every column of bytes, text or JSON for the starts of tokens under keys of this ring: as they
    /// are, in text form, in hex, in base64. Of registered columns the first rows are read (a rotation counts them all). Writes nothing.
    ///
    /// It does not see index values, tokens within other bytes or in hex or base64 that is itself in a column of bytes, what is
    /// compressed or encrypted, foreign tables, rows of temporal tables that are history (MariaDB), tables that the role has no right
    /// to see (MariaDB), other databases of a server than those that the schema names, files, logs and backups.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub async fn unregistered(&self) -> Result<Unregistered, RotationError> {
        let mut connection = self.pool.acquire().await?;
        scan::unregistered::<DB>(&mut connection, &self.schema, &self.keyring).await
    }

    /// Whether a rotation of this database has seen this key active.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub async fn has_seen(&self, key: phield_core::KeyId) -> Result<bool, RotationError> {
        Ok(self.first_seen(key).await?.is_some())
    }

    /// When a rotation of this database first saw this key active, in Unix seconds by its clock.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub async fn first_seen(&self, key: phield_core::KeyId) -> Result<Option<i64>, RotationError> {
        let mut connection = self.pool.acquire().await?;
        if !state::exists::<DB>(&mut connection).await? {
            return Ok(None);
        }
        state::first_seen::<DB>(&mut connection, &key.to_string()).await
    }

    /// Keeps the report of a rotation that is done beside it.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub async fn keep_report(&self, id: &str, report: &str) -> Result<(), RotationError> {
        patiently(|| async {
            let mut connection = self.pool.acquire().await?;
            state::keep_report::<DB>(&mut connection, id, report).await
        })
        .await
    }

    async fn pass(
        &self,
        record: &Record,
        tables: &[Arc<Table>],
        report: &(impl Fn(&RotationStatus) + Send + Sync),
    ) -> Result<(), RotationError> {
        let limiter = Arc::new(Limiter::new(self.options.rate));
        let tables = Arc::new(tables.to_vec());
        let mut workers = tokio::task::JoinSet::new();
        let mut owners = Vec::new();
        for _ in 0..self.options.workers.max(1) {
            let owner = uuid::Uuid::from_bytes(random()?).to_string();
            owners.push(owner.clone());
            let worker = Worker {
                pool: self.pool.clone(),
                keyring: Arc::clone(&self.keyring),
                tables: Arc::clone(&tables),
                subjects: self.subjects.clone(),
                batch: self.batch(&tables, record),
                limiter: Arc::clone(&limiter),
                owner,
                lease: self
                    .options
                    .lease
                    .clamp(Duration::from_secs(1), Duration::from_secs(24 * 60 * 60)),
            };
            let record = record.clone();
            workers.spawn(async move { worker.pass(&record).await });
        }
        let mut failed = None;
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        while !workers.is_empty() {
            tokio::select! {
                joined = workers.join_next() => match joined {
                    Some(Ok(Err(error))) => failed = failed.or(Some(error)),
                    Some(Err(panicked)) if panicked.is_panic() => std::panic::resume_unwind(panicked.into_panic()),
                    _ => {}
                },
                _ = ticks.tick() => self.tell(&owners, report).await,
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Tells where the rotation is, if the database answers. The workers of this process are `owners`.
    async fn tell(&self, owners: &[String], report: &(impl Fn(&RotationStatus) + Send + Sync)) {
        if let Ok(Some(status)) = self.status_to(owners).await {
            report(&status);
        }
    }

    /// Slow indexes make small pages: a page is written before the lease of its share ends.
    fn batch(&self, tables: &[Arc<Table>], record: &Record) -> u32 {
        let batch = self.options.batch.clamp(1, 10_000);
        let slow = self.schema.tables().iter().flat_map(|table| &table.indexes);
        let mut slow = slow.filter(|index| index.algorithm.is_slow());
        if matches!(record.mode, Mode::Pepper | Mode::Index) && slow.next().is_some() && !tables.is_empty() {
            batch.min(32)
        } else {
            batch
        }
    }

    /// What comes after a phase that is through.
    async fn next(&self, record: &Record) -> Result<(Phase, i64), RotationError> {
        Ok(match (record.phase, record.mode) {
            (Phase::Work, Mode::Verify) => (Phase::Done, record.pass),
            // No key of a value tells what is left: there is none in it yet.
            (Phase::Work, Mode::Index) if self.left_by(record.pass, record).await? > 0 => {
                (Phase::Work, record.pass + 1)
            }
            (Phase::Work, _) => (Phase::Count, record.pass),
            (_, Mode::Data | Mode::Pepper) if self.left(record).await? > 0 => (Phase::Work, record.pass + 1),
            (..) => (Phase::Done, record.pass),
        })
    }

    /// How many values are under old keys and neither in quarantine nor shredded.
    async fn left(&self, record: &Record) -> Result<u64, RotationError> {
        let current = self.keys_in(record.mode, KeyState::is_current);
        // What is in quarantine, or of shredded subjects, the count has counted apart.
        let is_left = |count: &KeyCount| {
            count.phase == "after"
                && count.key != "-"
                && self.is_of(record.mode, count)
                && !current.contains(&count.key)
        };
        self.counted(record, is_left).await
    }

    /// How many rows a pass left to the next one.
    async fn left_by(&self, pass: i64, record: &Record) -> Result<u64, RotationError> {
        let pass = pass.to_string();
        self.counted(record, |count| count.phase == state::LEFT && count.key == pass)
            .await
    }

    /// The sum of some counts of a rotation.
    async fn counted(
        &self,
        record: &Record,
        is_it: impl Fn(&KeyCount) -> bool,
    ) -> Result<u64, RotationError> {
        let mut connection = self.pool.acquire().await?;
        let counts = state::counts::<DB>(&mut connection, &record.id).await?;
        let counts = counts.iter().filter(|count| is_it(count));
        Ok(counts.map(|count| count.count).sum())
    }

    /// Whether a count is of the columns that a mode changes.
    fn is_of(&self, mode: Mode, count: &KeyCount) -> bool {
        let entry = self
            .schema
            .tables()
            .iter()
            .find(|entry| entry.table.as_str() == count.table);
        let mut indexes = entry.into_iter().flat_map(|entry| &entry.indexes);
        indexes.any(|index| index.sql_name == count.column) == matches!(mode, Mode::Pepper | Mode::Index)
    }

    /// The keys of a mode's use that are in some states.
    fn keys_in(&self, mode: Mode, is_in: impl Fn(KeyState) -> bool) -> Vec<String> {
        let key_use = if matches!(mode, Mode::Pepper | Mode::Index) {
            KeyUse::Index
        } else {
            KeyUse::Data
        };
        let keys = self.keyring.status().keys.into_iter();
        keys.filter(|key| key.key_use == key_use && is_in(key.state))
            .map(|key| key.id.to_string())
            .collect()
    }

    /// What tells whether another process goes through the same columns in the same order.
    fn shape(&self, tables: &[Arc<Table>]) -> String {
        let tables = tables.iter().flat_map(|table| {
            let key = table.key.iter().map(String::as_str);
            std::iter::once(table.name()).chain(key)
        });
        let schema = self.schema.to_json();
        let parts: Vec<&str> = std::iter::once(schema.as_str()).chain(tables).collect();
        state::digest(&parts)
    }

    fn epoch(&self) -> i64 {
        i64::try_from(self.keyring.epoch()).unwrap_or(i64::MAX)
    }

    async fn not_ending(&self, record: &Record) -> Result<RotationError, RotationError> {
        let passes = record.pass - 1;
        if record.mode == Mode::Index {
            let left = self.left_by(passes, record).await?;
            return Ok(RotationError::Contended { passes, left });
        }
        Ok(RotationError::NotEnding {
            passes,
            left: self.left(record).await?,
            epoch: self.keyring.epoch(),
        })
    }

    async fn start(&self, mode: Mode, tables: &[Arc<Table>]) -> Result<Record, RotationError> {
        let mut connection = self.pool.acquire().await?;
        let active = self.keys_in(mode, KeyState::seals);
        let seen = state::seen_active::<DB>(&mut connection, &active).await?;
        let started = state::now::<DB>(&mut connection).await?;
        let clocks = state::clocks::<DB>(&mut connection, self.options.clock_ahead).await?;
        // The first pass of these is the one that counts.
        let counts = mode.counts_at_once();
        let open_writers = counts && self.open_writers(&mut connection, tables).await?;
        let wait = i64::try_from(self.options.hard_ttl.as_secs()).unwrap_or(i64::MAX);
        let waits = mode.writes() && !self.options.acknowledged_by_every_instance;
        let totals = totals::<DB>(&mut connection, tables).await?;
        if mode.writes() {
            self.refuse_other_ring(&mut connection, tables).await?;
        }
        let record = Record {
            id: uuid::Uuid::from_bytes(random()?).to_string(),
            mode,
            paused: false,
            started,
            ready: if waits { seen.saturating_add(wait) } else { started },
            ended: 0,
            who: self.options.who.chars().take(200).collect(),
            epoch: self.epoch(),
            pass: 1,
            phase: if mode == Mode::Scan {
                Phase::Count
            } else {
                Phase::Work
            },
            shape: self.shape(tables),
            counting_since: if counts { clocks.earlier } else { 0 },
            clocks: if counts { clocks.apart } else { 0 },
            report: String::new(),
        };
        let record = state::start::<DB>(&mut connection, &record, &totals, open_writers).await?;
        if record.paused {
            return Err(RotationError::Paused);
        }
        if record.epoch > self.epoch() {
            return Err(RotationError::OlderRing {
                theirs: record.epoch,
                ours: self.keyring.epoch(),
            });
        }
        if self.is_old(&mut connection, &record).await? {
            let beginning = Beginning {
                epoch: self.epoch(),
                clocks,
                open_writers,
            };
            state::count_anew::<DB>(&mut connection, &record, beginning, &totals).await?;
        }
        Ok(record)
    }

    /// Whether a count was left for longer than a hard TTL. It is the evidence on which keys are destroyed, and whoever starts it
    /// once more, to be sure, wants to know of what was written since.
    async fn is_old(&self, connection: &mut DB::Connection, record: &Record) -> Result<bool, RotationError> {
        if record.phase != Phase::Count && !record.mode.counts_at_once() {
            return Ok(false);
        }
        let left = state::last_lease::<DB>(connection, &record.id).await?;
        let left = left.unwrap_or(0).max(record.counting_since);
        let wait = i64::try_from(self.options.hard_ttl.as_secs()).unwrap_or(i64::MAX);
        Ok(left.saturating_add(wait) < state::now::<DB>(connection).await?)
    }

    async fn wait_until_ready(&self, record: &Record) -> Result<(), RotationError> {
        let mut connection = self.pool.acquire().await?;
        let now = state::now::<DB>(&mut connection).await?;
        if record.ready > now && !self.options.acknowledged_by_every_instance {
            return Err(RotationError::TooSoon {
                seconds: record.ready - now,
            });
        }
        Ok(())
    }

    async fn status_of(
        &self,
        connection: &mut DB::Connection,
        record: Record,
        owners: &[String],
    ) -> Result<RotationStatus, RotationError> {
        let now = state::now::<DB>(connection).await?;
        let holders = state::holders::<DB>(connection, &record.id).await?;
        let state = match record.phase {
            Phase::Done => "done",
            Phase::Cancelled => "cancelled",
            _ if record.paused => "paused",
            _ if record.ready > now => "waiting",
            Phase::Count => "counting",
            Phase::Work => "running",
        };
        let counts = state::counts::<DB>(connection, &record.id).await?.into_iter();
        let (open_writers, counts): (Vec<_>, _) =
            counts.partition(|count| count.phase == state::OPEN_WRITERS);
        Ok(RotationStatus {
            open_writers: !open_writers.is_empty(),
            workers: holders.len(),
            waits_for_others: waits_for_others(owners, &holders),
            tables: state::progress::<DB>(connection, &record.id).await?,
            counts,
            quarantined: state::quarantined_by_reason::<DB>(connection, &record).await?,
            id: record.id,
            mode: record.mode,
            state,
            who: record.who,
            started: record.started,
            ready: record.ready,
            counting_since: record.counting_since,
            clocks_apart: u64::try_from(record.clocks).unwrap_or(0),
            ended: record.ended,
            epoch: record.epoch,
            pass: record.pass,
            report: record.report,
        })
    }
}

/// How long these workers, none of whom has anything to do, wait at most for the workers that have.
fn waits_for_others(owners: &[String], holders: &[(String, u64)]) -> Option<u64> {
    let works = holders.iter().any(|(holder, _)| owners.contains(holder));
    if works || owners.is_empty() {
        return None;
    }
    holders.iter().map(|(_, seconds)| *seconds).max()
}

/// The rotation that is under way.
async fn under_way<DB: RotationDatabase>(connection: &mut DB::Connection) -> Result<Record, RotationError> {
    if !state::exists::<DB>(connection).await? {
        return Err(RotationError::NoRotation);
    }
    state::open::<DB>(connection)
        .await?
        .ok_or(RotationError::NoRotation)
}

fn random<const N: usize>() -> Result<[u8; N], RotationError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| RotationError::Random)?;
    Ok(bytes)
}
