//! A worker: takes shares of the tables and works through their pages, until the pass is through.
//!
//! While a page is written on one connection, the next one is read on another and sealed on another thread. A row is written by
//! a compare-and-swap on what was read; a page with a row that somebody else wrote meanwhile is read and done again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use phield_core::{Keyring, SubjectKeyMap, SubjectStore, TenantName};
use sqlx::{Pool, pool::PoolConnection};

use super::cell::Cursor;
use super::database::RotationDatabase;
use super::error::RotationError;
use super::heartbeat;
use super::limiter::Limiter;
use super::noted::{self, Noted};
use super::page::{Prepared, Preparing, Subjects};
use super::patience::{Patience, backoff};
use super::state::{self, Claim, Mode, Phase, Record, Share};
use super::swap::{Swap, SwapRow, Value};
use super::table::{PageRow, Read, StoredColumn, Table};

/// Most bytes of the values of one page, in memory.
const PAGE_BYTES: usize = 8 << 20;
/// Pages of a share: what a worker that dies gives back at most.
const SHARE_PAGES: u32 = 32;
/// Rows of a page when keys are counted: each is a few bytes.
const COUNT_PAGE: u32 = 5000;
/// How often a page is read again because of other writers before the pass goes on; the next pass comes back to it.
const MAX_TRIES: u32 = 20;
/// How many times within a lease a worker says that it is alive.
const RENEWALS: u32 = 4;
/// How long a worker waits for shares of others.
const POLL: Duration = Duration::from_millis(250);

/// What a worker works with.
pub(crate) struct Worker<DB: RotationDatabase> {
    pub(crate) pool: Pool<DB>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) tables: Arc<Vec<Arc<Table>>>,
    pub(crate) subjects: Option<Arc<dyn SubjectStore>>,
    pub(crate) batch: u32,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) owner: String,
    /// How long a share stays with a worker that does not write: one second or more.
    pub(crate) lease: Duration,
}

/// What a page is of: the share, and the table.
struct Work<'a> {
    record: &'a Record,
    table: &'a Arc<Table>,
    read: Read,
}

/// How a share ended.
enum Ended {
    Finished,
    /// Somebody else has it: this worker was thought dead.
    Lost,
}

/// How a page was written.
#[derive(PartialEq, Eq)]
enum Written {
    Complete,
    /// Rows were written by somebody else meanwhile.
    Contended,
    Lost,
}

/// How a row was written alone.
enum WrittenRow {
    /// So many rows: none where somebody else has written into it meanwhile.
    Written(u64),
    /// Another row has one of its unique values.
    Taken,
    Lost,
}

impl<DB: RotationDatabase> Worker<DB> {
    /// Works until the pass is through. What ends early gives its share back.
    pub(crate) async fn pass(&self, record: &Record) -> Result<(), RotationError> {
        let renew = || self.renew_leases(record);
        let passed = heartbeat::beside(self.shares(record), self.lease / RENEWALS, renew).await;
        if passed.is_err() {
            // Best effort: the lease ends on its own.
            if let Ok(mut connection) = self.pool.acquire().await {
                let _ = state::end_leases::<DB>(&mut connection, &record.id, Some(&self.owner)).await;
            }
        }
        passed
    }

    /// A page of slow indexes, or of a slow database, can take longer than a lease.
    async fn renew_leases(&self, record: &Record) {
        if let Ok(mut connection) = self.pool.acquire().await {
            // One that fails is followed by another, long before the lease ends.
            let _ = state::renew_leases::<DB>(&mut connection, &record.id, self.lease()).await;
        }
    }

    /// Who has a share, and for how many seconds.
    fn lease(&self) -> (&str, i64) {
        let seconds = i64::try_from(self.lease.as_secs()).unwrap_or(i64::MAX);
        (&self.owner, seconds)
    }

    async fn shares(&self, record: &Record) -> Result<(), RotationError> {
        let mut patience = Patience::new();
        loop {
            let done = self.next_share(record).await;
            match done {
                Ok(Claim::Through) => return Ok(()),
                Ok(Claim::Wait) => {
                    patience = Patience::new();
                    tokio::time::sleep(POLL).await;
                }
                Ok(Claim::Share(share)) => match self.share(record, share).await {
                    Ok(Ended::Finished | Ended::Lost) => patience = Patience::new(),
                    // It was waited for.
                    Err(error) => return Err(error),
                },
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    async fn next_share(&self, record: &Record) -> Result<Claim, RotationError> {
        let mut connection = self.pool.acquire().await?;
        self.check_running(&mut connection, record).await?;
        let rows = self.page_rows(record).saturating_mul(SHARE_PAGES);
        state::claim::<DB>(&mut connection, record, self.lease(), |table, after| {
            let table = self.table(table)?;
            Some([table.end_of_share(after, rows), table.last_key()])
        })
        .await
    }

    async fn check_running(
        &self,
        connection: &mut DB::Connection,
        record: &Record,
    ) -> Result<(), RotationError> {
        let now = state::by_id::<DB>(connection, &record.id).await?;
        if now.paused {
            return Err(RotationError::Paused);
        }
        Ok(())
    }

    fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.name() == name)
    }

    fn page_rows(&self, record: &Record) -> u32 {
        if record.phase == Phase::Count {
            COUNT_PAGE
        } else {
            self.batch
        }
    }

    /// Works through a share; what fails for a while is tried again from its checkpoint.
    async fn share(&self, record: &Record, mut share: Share) -> Result<Ended, RotationError> {
        let mut patience = Patience::new();
        loop {
            let before = share.after.clone();
            match self.pages(record, &mut share).await {
                Ok(ended) => return Ok(ended),
                Err(error) => {
                    if share.after != before {
                        patience = Patience::new();
                    }
                    patience.wait(error).await?;
                }
            }
            // What was written last may have been committed, or not.
            match self.reload(record, &share).await {
                Ok(Some(again)) => share = again,
                Ok(None) => return Ok(Ended::Lost),
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    async fn reload(&self, record: &Record, share: &Share) -> Result<Option<Share>, RotationError> {
        let mut connection = self.pool.acquire().await?;
        state::reload::<DB>(&mut connection, record, share).await
    }

    async fn pages(&self, record: &Record, share: &mut Share) -> Result<Ended, RotationError> {
        let table = self
            .table(&share.table)
            .ok_or_else(|| RotationError::NoSuchTable(share.table.clone()))?;
        let read = match (record.phase, record.mode) {
            (Phase::Work, Mode::Pepper | Mode::Index) => Read::IndexesAndTokens,
            (Phase::Work, Mode::Data) => Read::Tokens,
            (Phase::Work, _) => Read::TokensAndIndexKeys,
            _ => Read::Keys,
        };
        let work = Work { record, table, read };
        let mut reader = self.pool.acquire().await?;
        let mut writer = self.pool.acquire().await?;
        let until = share.until.clone();
        let mut page = self
            .prepare(&mut reader, &work, share.after.as_ref(), until.as_ref())
            .await?;
        loop {
            if page.is_last {
                return self
                    .write(&mut writer, &work, share, page)
                    .await
                    .map(|lost| if lost { Ended::Lost } else { Ended::Finished });
            }
            let last = page.last.clone();
            let next = async {
                let next = self
                    .prepare(&mut reader, &work, last.as_ref(), until.as_ref())
                    .await?;
                self.check_running(&mut reader, record).await?;
                Ok::<_, RotationError>(next)
            };
            let (lost, next) = tokio::join!(self.write(&mut writer, &work, share, page), next);
            if lost? {
                return Ok(Ended::Lost);
            }
            page = next?;
        }
    }

    /// Reads a page and works on it.
    async fn prepare(
        &self,
        connection: &mut PoolConnection<DB>,
        work: &Work<'_>,
        after: Option<&Cursor>,
        until: Option<&Cursor>,
    ) -> Result<Prepared, RotationError> {
        let limit = self.page_rows(work.record);
        let (statement, reuse) = work.table.page::<DB>(work.read, after, until, limit);
        let rows = DB::fetch(statement, reuse, PAGE_BYTES, connection).await?;
        let rows = work.table.page_rows(rows)?;
        self.limiter.wait(rows.len()).await;
        let last = rows.last().map(|row| Cursor(row.key.clone()));
        // A page that is cut short by its size is not the last one; an empty one is.
        let is_last = last.is_none() || last.as_ref() == until;
        let noted = match work.read {
            Read::Keys => {
                noted::of_page::<DB>(connection, (work.record, work.table, &self.keyring), &rows).await?
            }
            _ => Noted::new(),
        };
        let mut prepared = self.work_on(work, rows, &noted).await?;
        prepared.is_last = is_last;
        prepared.last = last;
        Ok(prepared)
    }

    async fn work_on(
        &self,
        work: &Work<'_>,
        rows: Vec<PageRow>,
        noted: &Noted,
    ) -> Result<Prepared, RotationError> {
        let subjects = self.subjects_of(work.table, &rows, work.read).await?;
        let (table, keyring, mode) = (
            Arc::clone(work.table),
            Arc::clone(&self.keyring),
            work.record.mode,
        );
        match work.read {
            Read::Keys => Ok(Preparing::new(&table, &keyring, &subjects).keys(&rows, noted)),
            Read::IndexesAndTokens => {
                Preparing::new(&table, &keyring, &subjects)
                    .indexes(mode, rows)
                    .await
            }
            Read::Tokens | Read::TokensAndIndexKeys => {
                let sealed = tokio::task::spawn_blocking(move || {
                    Preparing::new(&table, &keyring, &subjects).tokens(mode, rows)
                });
                match sealed.await {
                    Ok(prepared) => prepared,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                }
            }
        }
    }

    /// The keys of the subjects of a page.
    async fn subjects_of(
        &self,
        table: &Table,
        rows: &[PageRow],
        read: Read,
    ) -> Result<Subjects, RotationError> {
        let (Some(store), true, true) = (&self.subjects, table.subject_keys, read != Read::Keys) else {
            return Ok(None);
        };
        let mut by_tenant: Vec<(Option<TenantName>, Vec<phield_core::RowId<'static>>)> = Vec::new();
        for identity in rows.iter().filter_map(|row| table.identity(row)) {
            let Some(subject) = identity.subject else { continue };
            match by_tenant
                .iter_mut()
                .find(|(tenant, _)| *tenant == identity.tenant)
            {
                Some((_, subjects)) if subjects.contains(&subject) => {}
                Some((_, subjects)) => subjects.push(subject),
                None => by_tenant.push((identity.tenant, vec![subject])),
            }
        }
        let mut keys = SubjectKeyMap::new();
        for (tenant, subjects) in by_tenant {
            let of_tenant = self.keyring.subject_keys(&**store, tenant.as_ref(), &subjects);
            keys.append(of_tenant.await.map_err(|_| RotationError::Subjects)?);
        }
        Ok(Some(keys))
    }

    /// Writes a page, reading it again as long as others write into it. True: the share is somebody else's.
    async fn write(
        &self,
        writer: &mut PoolConnection<DB>,
        work: &Work<'_>,
        share: &mut Share,
        mut page: Prepared,
    ) -> Result<bool, RotationError> {
        let (last, is_last) = (page.last.clone(), page.is_last);
        let counts = page.done.counts.clone();
        let rows = page.done.rows;
        let mut tries = 0;
        let mut resealed = HashSet::new();
        loop {
            tries += 1;
            page.done.rows = rows;
            page.done.counts.clone_from(&counts);
            page.count_resealed(&mut resealed);
            let written = match self
                .write_once(writer, work, share, &page, tries >= MAX_TRIES)
                .await
            {
                Err(RotationError::Database(error)) if error.is_unique_violation() => {
                    if self.write_each(writer, work, share, &mut page).await? {
                        return Ok(true);
                    }
                    self.write_once(writer, work, share, &page, true).await?
                }
                other => other?,
            };
            match written {
                Written::Lost => return Ok(true),
                Written::Complete => {
                    share.after = last.or_else(|| share.after.clone());
                    return Ok(false);
                }
                Written::Contended => {
                    tokio::time::sleep(backoff(tries, Duration::from_millis(5))).await;
                    page = self
                        .prepare(writer, work, share.after.as_ref(), last.as_ref())
                        .await?;
                    page.left_before = self.left_behind(writer, work, &page, last.as_ref()).await?;
                    (page.last, page.is_last) = (last.clone(), is_last);
                }
            }
        }
    }

    /// Rows to write between the end of a page that was read again and the end that it had: others may have put rows into it. A count
    /// finds what has an old key there; of a value that is missing it tells nothing.
    async fn left_behind(
        &self,
        connection: &mut PoolConnection<DB>,
        work: &Work<'_>,
        page: &Prepared,
        until: Option<&Cursor>,
    ) -> Result<u64, RotationError> {
        let (mut left, mut last, mut is_last) = (0, page.last.clone(), page.is_last);
        while work.record.mode == Mode::Index && !is_last {
            let rest = self.prepare(connection, work, last.as_ref(), until).await?;
            left += rest.expected();
            (last, is_last) = (rest.last, rest.is_last);
        }
        Ok(left)
    }

    /// Writes the rows of a page one by one: a value that is in a unique index already goes into quarantine, alone. True: the share is
    /// somebody else's.
    async fn write_each(
        &self,
        writer: &mut PoolConnection<DB>,
        work: &Work<'_>,
        share: &Share,
        page: &mut Prepared,
    ) -> Result<bool, RotationError> {
        for (columns, rows) in std::mem::take(&mut page.groups) {
            for row in rows {
                let lost = match self.write_row(writer, (work, share), &columns, &row).await? {
                    WrittenRow::Written(rows) => {
                        page.written_before += rows;
                        page.left_before += u64::from(rows == 0);
                        false
                    }
                    WrittenRow::Taken => {
                        self.write_apart(writer, (work, share), page, &columns, row)
                            .await?
                    }
                    WrittenRow::Lost => true,
                };
                if lost {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Writes the columns of a row one by one: those that no other row is in the way of. True: the share is somebody else's.
    async fn write_apart(
        &self,
        writer: &mut PoolConnection<DB>,
        (work, share): (&Work<'_>, &Share),
        page: &mut Prepared,
        columns: &[usize],
        row: SwapRow,
    ) -> Result<bool, RotationError> {
        let (mut written, mut left) = (0, false);
        for (column, row) in apart((work.table, work.record.mode), columns, row) {
            match self.write_row(writer, (work, share), &[column], &row).await? {
                WrittenRow::Lost => return Ok(true),
                WrittenRow::Written(rows) => {
                    written = rows.max(written);
                    left |= rows == 0;
                }
                WrittenRow::Taken => page.duplicate((work.table, &self.keyring), column, &row),
            }
        }
        page.written_before += written;
        page.left_before += u64::from(left);
        Ok(false)
    }

    /// Writes columns of one row, in a transaction that begins with the share: a worker that slept past its lease writes nothing.
    async fn write_row(
        &self,
        writer: &mut PoolConnection<DB>,
        (work, share): (&Work<'_>, &Share),
        columns: &[usize],
        row: &SwapRow,
    ) -> Result<WrittenRow, RotationError> {
        let mut transaction = state::begin::<DB>(writer).await?;
        if !state::renew::<DB>(&mut transaction, work.record, share).await? {
            transaction.rollback().await?;
            return Ok(WrittenRow::Lost);
        }
        let swap = swap::<DB>(work, columns);
        let written = swap.write_one::<DB>(row, &mut transaction).await;
        match written.map_err(RotationError::from) {
            Ok(written) => {
                transaction.commit().await?;
                Ok(WrittenRow::Written(written))
            }
            Err(RotationError::Database(error)) if error.is_unique_violation() => {
                transaction.rollback().await?;
                Ok(WrittenRow::Taken)
            }
            Err(other) => Err(other),
        }
    }

    /// One short transaction: the rows of a page, and the checkpoint.
    async fn write_once(
        &self,
        writer: &mut PoolConnection<DB>,
        work: &Work<'_>,
        share: &Share,
        page: &Prepared,
        leave_rest: bool,
    ) -> Result<Written, RotationError> {
        let mut transaction = state::begin::<DB>(writer).await?;
        let mut written = 0;
        for (columns, rows) in &page.groups {
            let swap = swap::<DB>(work, columns);
            written += swap.write::<DB>(rows, &mut transaction).await?;
        }
        let complete = written == page.expected() || leave_rest;
        let mut done = page.done.clone();
        done.changed = written + page.written_before;
        if complete && work.record.mode == Mode::Index {
            done.leave(
                page.expected().saturating_sub(written) + page.left_before,
                work.record,
            );
        }
        let checkpoint = if complete {
            let place = page.last.as_ref().or(share.after.as_ref());
            state::checkpoint::<DB>(&mut transaction, work.record, share, &done, place, page.is_last).await?
        } else {
            (done.rows, done.counts, done.notes) = (0, std::collections::BTreeMap::new(), Vec::new());
            state::checkpoint::<DB>(
                &mut transaction,
                work.record,
                share,
                &done,
                share.after.as_ref(),
                false,
            )
            .await?
        };
        if !checkpoint {
            transaction.rollback().await?;
            return Ok(Written::Lost);
        }
        transaction.commit().await?;
        Ok(if complete {
            Written::Complete
        } else {
            Written::Contended
        })
    }
}

/// What is compared and swapped for these columns: the start of a token, all of an index value.
fn swap<'a, DB: RotationDatabase>(work: &Work<'a>, columns: &[usize]) -> Swap<'a> {
    let (table, fills) = (work.table.as_ref(), work.record.mode == Mode::Index);
    let mut swap = Swap::new(&table.sql_table, &table.key);
    for column in columns {
        if work.read == Read::IndexesAndTokens {
            let Some(index) = table.indexes.get(*column) else {
                continue;
            };
            let name = swap.column::<DB>(&index.sql_name);
            if fills {
                swap.require(format!("{name} IS NULL"));
            } else {
                let old = swap.bind::<DB>(name.clone());
                swap.require(format!("{name} = {old}"));
            }
            let new = swap.bind::<DB>(name);
            swap.set(&index.sql_name, new);
        } else if let Some(token) = table.sealed.get(*column) {
            require_token::<DB>(&mut swap, token);
            let new = swap.bind::<DB>(swap.column::<DB>(&token.sql_name));
            swap.set(&token.sql_name, new);
        }
    }
    // An index that is empty says nothing of the value that it was computed of: its tokens have to be those that were read.
    let parts = columns
        .iter()
        .filter(|_| fills)
        .flat_map(|index| table.rows.index_parts(*index));
    for token in parts.filter_map(|part| table.sealed.get(*part)) {
        require_token::<DB>(&mut swap, token);
    }
    swap
}

/// That a token is the one that was read.
fn require_token<DB: RotationDatabase>(swap: &mut Swap<'_>, token: &StoredColumn) {
    let name = swap.column::<DB>(&token.sql_name);
    let old = swap.bind::<DB>(name.clone());
    swap.require(format!("substr({name}, 1, {}) = {old}", token.start()));
}

/// The columns of a row, each with its values: the old one and the new one; where an empty index is filled, the new one and the tokens
/// that it was computed of.
fn apart((table, mode): (&Table, Mode), columns: &[usize], row: SwapRow) -> Vec<(usize, SwapRow)> {
    let mut values = row.values.into_iter();
    let fills = mode == Mode::Index;
    let own: Vec<Vec<Value>> = columns
        .iter()
        .map(|_| values.by_ref().take(if fills { 1 } else { 2 }).collect())
        .collect();
    let part = |(column, mut own): (&usize, Vec<Value>)| {
        let parts = table.rows.index_parts(*column).len();
        own.extend(values.by_ref().take(if fills { parts } else { 0 }));
        let row = SwapRow {
            key: row.key.clone(),
            values: own,
        };
        (*column, row)
    };
    columns.iter().zip(own).map(part).collect()
}
