//! What is done with the rows of a page before it is written.

use std::collections::{BTreeMap, HashMap, HashSet};

use phield_core::{
    BlindIndex, KeyId, KeyUse, Keyring, Keys, OpenError, ReindexError, ResealError, RowIdentity, Sealer,
    SubjectKeyMap, TenantName, key_of_token, key_of_token_start, text_of_token, token_of_text,
};

use super::cell::{Cell, Cursor};
use super::error::RotationError;
use super::noted::{Noted, RingKeys, SHREDDED};
use super::state::{COMPROMISED, Done, Mode, Note};
use super::swap::{SwapRow, Value};
use super::table::{PageRow, Table};

/// A page, ready to be written.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// Rows by the columns that change in them.
    pub(crate) groups: BTreeMap<Vec<usize>, Vec<SwapRow>>,
    pub(crate) done: Done,
    /// The last row of the page.
    pub(crate) last: Option<Cursor>,
    /// Whether the share ends with it.
    pub(crate) is_last: bool,
    /// Rows of it that were written one by one.
    pub(crate) written_before: u64,
    /// Rows of it that were to be written alone, and somebody else had written into.
    pub(crate) left_before: u64,
    /// Values of it that were opened under a compromised key, and are to be written.
    resealed: Vec<Resealed>,
}

#[derive(Debug)]
struct Resealed {
    row: Cursor,
    column: String,
    key: KeyId,
}

impl Prepared {
    /// Notes an index value of a row that another row has.
    pub(crate) fn duplicate(&mut self, (table, keyring): (&Table, &Keyring), column: usize, row: &SwapRow) {
        let Some(index) = table.indexes.get(column) else {
            return;
        };
        // The old value, or the new one where there was none.
        let value = row.values.first().and_then(Value::as_bytes);
        let key = value.and_then(key_of_index);
        self.done.notes.push(Note {
            row_key: Cursor(row.key.clone()).to_text(),
            column: index.sql_name.clone(),
            reason: "duplicate",
            key: key.map(|key| key.to_string()).unwrap_or_default(),
            held: RingKeys::of(keyring).held(key, value),
        });
    }

    /// Counts the values that were under a compromised key and are in none of the tries at this page before. One that was not written,
    /// because somebody else had written into its row meanwhile, stood there under the key, too.
    pub(crate) fn count_resealed(&mut self, seen: &mut HashSet<(String, String)>) {
        self.done.resealed.clear();
        for value in &self.resealed {
            if seen.insert((value.row.to_text(), value.column.clone())) {
                let counted = (COMPROMISED, value.column.clone(), value.key.to_string());
                *self.done.resealed.entry(counted).or_insert(0) += 1;
            }
        }
    }

    /// A row to be written, unless nothing changes in it.
    fn push(&mut self, columns: Vec<usize>, row: SwapRow) {
        if !columns.is_empty() {
            self.groups.entry(columns).or_default().push(row);
        }
    }

    /// How many rows are to be written.
    pub(crate) fn expected(&self) -> u64 {
        let rows = self.groups.values().map(Vec::len).sum::<usize>();
        u64::try_from(rows).unwrap_or(u64::MAX)
    }
}

/// How many values of the columns of a table are under which key.
#[derive(Debug, Default)]
struct Tally(Vec<TallyOfColumn>);

#[derive(Debug)]
struct TallyOfColumn {
    phase: &'static str,
    column: Column,
    keys: Vec<(Option<KeyId>, u64)>,
}

/// A column by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Sealed(usize),
    Index(usize),
}

impl Column {
    /// The column of the i-th value where `sealed` tokens come before index values.
    fn tokens_first(sealed: usize, i: usize) -> Self {
        i.checked_sub(sealed).map_or(Self::Sealed(i), Self::Index)
    }

    /// The same where `indexes` index values come before tokens.
    fn indexes_first(indexes: usize, i: usize) -> Self {
        i.checked_sub(indexes).map_or(Self::Index(i), Self::Sealed)
    }
}

impl Tally {
    fn add(&mut self, phase: &'static str, column: Column, key: Option<KeyId>) {
        let found = self
            .0
            .iter()
            .position(|tally| tally.column == column && tally.phase == phase);
        let place = found.unwrap_or_else(|| {
            self.0.push(TallyOfColumn {
                phase,
                column,
                keys: Vec::new(),
            });
            self.0.len() - 1
        });
        let Some(tally) = self.0.get_mut(place) else {
            return;
        };
        match tally.keys.iter_mut().find(|(of, _)| *of == key) {
            Some((_, count)) => *count += 1,
            None => tally.keys.push((key, 1)),
        }
    }

    /// By the names of the columns.
    fn named(self, table: &Table) -> BTreeMap<(&'static str, String, String), u64> {
        let mut counts = BTreeMap::new();
        for tally in self.0 {
            let name = match tally.column {
                Column::Sealed(i) => table.sealed.get(i).map(|column| &column.sql_name),
                Column::Index(i) => table.indexes.get(i).map(|index| &index.sql_name),
            };
            for (key, count) in tally.keys {
                let key = key.map_or_else(|| "-".to_owned(), |key| key.to_string());
                counts.insert((tally.phase, name.cloned().unwrap_or_default(), key), count);
            }
        }
        counts
    }
}

/// The keys of the subjects of a page; none for a table without subject keys.
pub(crate) type Subjects = Option<SubjectKeyMap>;

/// Works on the rows of one page.
pub(crate) struct Preparing<'a> {
    pub(crate) table: &'a Table,
    pub(crate) keyring: &'a Keyring,
    pub(crate) subjects: &'a Subjects,
    ring_keys: RingKeys,
    active: HashMap<Option<TenantName>, Option<KeyId>>,
    prepared: Prepared,
    tally: Tally,
}

impl<'a> Preparing<'a> {
    pub(crate) fn new(table: &'a Table, keyring: &'a Keyring, subjects: &'a Subjects) -> Self {
        Self {
            table,
            keyring,
            subjects,
            ring_keys: RingKeys::of(keyring),
            active: HashMap::new(),
            prepared: Prepared::default(),
            tally: Tally::default(),
        }
    }

    fn finish(mut self) -> Prepared {
        self.prepared.done.counts = self.tally.named(self.table);
        self.prepared
    }

    /// Data mode, and verify: tokens are sealed again, or only opened.
    pub(crate) fn tokens(mut self, mode: Mode, rows: Vec<PageRow>) -> Result<Prepared, RotationError> {
        let (keyring, subjects) = (self.keyring, self.subjects.as_ref());
        let with_subjects = subjects.map(|subjects| keyring.with_subjects(subjects));
        let keys: &dyn Keys = match &with_subjects {
            Some(keys) => keys,
            None => keyring,
        };
        // One request for the randomness of the page; every row has a salt of its own, every field a nonce.
        let mut sealer = Sealer::new(keys, rows.len(), self.table.sealed.len())?;
        let sealed = self.table.sealed.len();
        for mut row in rows {
            self.count_row("before", &row, |i| Column::tokens_first(sealed, i));
            // What is left of index values is their keys.
            row.values.truncate(sealed);
            let tenant = self.table.tenant(&row);
            let active = self.active(KeyUse::Data, tenant.as_ref());
            if mode == Mode::Data && active.is_none() {
                return Err(phield_core::SealError::NoActiveKey.into());
            }
            let wanted = |key| mode == Mode::Verify || Some(key) != active;
            let tokens = self.wanted_tokens(&row, wanted);
            if tokens.is_empty() {
                continue;
            }
            let Some(identity) = self.table.identity(&row) else {
                for (column, _) in &tokens {
                    self.quarantine(&row, *column, "malformed");
                }
                continue;
            };
            let columns: Vec<_> = tokens.iter().map(|(column, _)| *column).collect();
            let results = if mode == Mode::Data {
                match self.table.rows.reseal(&mut sealer, keys, &identity, tokens) {
                    // What is beside the tokens is nothing that they can have been sealed with: too long, say.
                    Err(ResealError::Identity(_)) => vec![Err(OpenError::Authentication); columns.len()],
                    results => results?,
                }
            } else {
                self.checked(keys, &identity, tokens)
            };
            self.sort_out(mode, row, columns.into_iter().zip(results))?;
        }
        Ok(self.finish())
    }

    fn checked(
        &self,
        keys: &(impl Keys + ?Sized),
        identity: &RowIdentity,
        tokens: Vec<(usize, Vec<u8>)>,
    ) -> Vec<Result<Vec<u8>, OpenError>> {
        let len = tokens.len();
        match self.table.rows.check(keys, identity, tokens) {
            Ok(results) => results
                .into_iter()
                .map(|result| result.map(|()| Vec::new()))
                .collect(),
            Err(_) => vec![Err(OpenError::Authentication); len],
        }
    }

    /// New tokens are to be written; what does not open is noted.
    fn sort_out(
        &mut self,
        mode: Mode,
        row: PageRow,
        results: impl Iterator<Item = (usize, Result<Vec<u8>, OpenError>)>,
    ) -> Result<(), RotationError> {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (column, result) in results {
            match result {
                Ok(new) if mode == Mode::Data => {
                    let Some(stored) = self.table.sealed.get(column) else {
                        continue;
                    };
                    let old = row.values.get(column).and_then(Cell::bytes).unwrap_or_default();
                    let old = old.get(..stored.start()).unwrap_or(old).to_vec();
                    // From here on the token says nothing of it any more.
                    let compromised =
                        key_of_token_start(&old).filter(|key| self.ring_keys.is_compromised(*key));
                    self.prepared.resealed.extend(compromised.map(|key| Resealed {
                        row: Cursor(row.key.clone()),
                        column: stored.sql_name.clone(),
                        key,
                    }));
                    let new = if stored.is_text {
                        text_of_token(&new).into_bytes()
                    } else {
                        new
                    };
                    columns.push(column);
                    values.extend([old, new].map(|value| Value::stored(stored.is_text, value)));
                }
                Ok(_) => {}
                Err(error) => self.note(mode, &row, column, error)?,
            }
        }
        self.prepared.push(columns, SwapRow { key: row.key, values });
        Ok(())
    }

    /// Pepper mode: index values are computed again. Index mode: where there are none.
    pub(crate) async fn indexes(mut self, mode: Mode, rows: Vec<PageRow>) -> Result<Prepared, RotationError> {
        let indexes = self.table.indexes.len();
        for mut row in rows {
            self.count_row("before", &row, |i| Column::indexes_first(indexes, i));
            let tenant = self.table.tenant(&row);
            let active = self.active(KeyUse::Index, tenant.as_ref());
            let Some(active) = active else {
                return Err(phield_core::IndexError::NoActivePepper.into());
            };
            let tokens = row.values.split_off(indexes.min(row.values.len()));
            let identity = self.table.identity(&row);
            let (mut columns, mut values) = (Vec::new(), Vec::new());
            for index in 0..indexes {
                let old = row.values.get(index).and_then(Cell::bytes).map(<[u8]>::to_vec);
                let old_key = old.as_deref().and_then(key_of_index);
                let wanted = match (mode, &old) {
                    (Mode::Index, None) => self.is_indexed(index, &tokens),
                    (Mode::Index, Some(_)) | (_, None) => false,
                    (_, Some(_)) => old_key != Some(active),
                };
                if !wanted {
                    continue;
                }
                match self.index(index, identity.as_ref(), &tokens).await? {
                    Ok(Some(new)) => {
                        columns.push(index);
                        values.extend(old.map(|old| Value::Bytes(Some(old))));
                        values.push(Value::Bytes(Some(new.as_bytes().to_vec())));
                    }
                    // An encrypted null is not indexed.
                    Ok(None) if mode == Mode::Index => {}
                    // A value for a row that has none: whoever wrote it did not go by the schema.
                    Ok(None) => self.quarantine_index(&row, index, old_key, "malformed"),
                    Err(reason) => self.quarantine_index(&row, index, old_key, reason),
                }
            }
            if mode == Mode::Index {
                let parts = columns
                    .iter()
                    .flat_map(|index| self.table.rows.index_parts(*index));
                values.extend(parts.filter_map(|part| {
                    let column = self.table.sealed.get(*part)?;
                    let token = tokens.get(*part)?.bytes()?;
                    let start = token.get(..column.start()).unwrap_or(token).to_vec();
                    Some(Value::stored(column.is_text, start))
                }));
            }
            self.prepared.push(columns, SwapRow { key: row.key, values });
        }
        Ok(self.finish())
    }

    /// Whether every part of an index has a value.
    fn is_indexed(&self, index: usize, tokens: &[Cell]) -> bool {
        let mut parts = self.table.rows.index_parts(index).iter();
        parts.all(|part| tokens.get(*part).is_some_and(|token| !token.is_null()))
    }

    fn quarantine_index(&mut self, row: &PageRow, index: usize, key: Option<KeyId>, reason: &'static str) {
        let column = self.table.indexes.get(index).map(|index| index.sql_name.clone());
        let value = row.values.get(index).and_then(Cell::bytes);
        self.push_note(row, column.unwrap_or_default(), (key, value), reason);
    }

    /// The new value of an index, none for a row without one; or why the row goes into quarantine.
    async fn index(
        &self,
        index: usize,
        identity: Option<&RowIdentity>,
        tokens: &[Cell],
    ) -> Result<Result<Option<BlindIndex>, &'static str>, RotationError> {
        let Some(identity) = identity else {
            return Ok(Err("malformed"));
        };
        let mut parts = Vec::new();
        for position in self.table.rows.index_parts(index) {
            let cell = tokens.get(*position).unwrap_or(&Cell::Null);
            parts.push(match (cell.is_null(), self.token(*position, cell)) {
                (true, _) => None,
                (false, Some(token)) => Some(token),
                (false, None) => return Ok(Err("malformed")),
            });
        }
        let rows = &self.table.rows;
        let value = match self.subjects {
            Some(subjects) => {
                let keys = self.keyring.with_subjects(subjects);
                rows.index_value(&keys, identity, index, parts).await
            }
            None => rows.index_value(self.keyring, identity, index, parts).await,
        };
        match value {
            Ok(value) => Ok(Ok(value)),
            Err(ReindexError::Identity(_)) => Ok(Err("malformed")),
            Err(ReindexError::Open(_, error)) => reason(error).map(Err),
            Err(ReindexError::Index(error)) => Err(error.into()),
            Err(_) => Ok(Err("malformed")),
        }
    }

    /// Counts the keys of rows, of the starts of their values; apart from others what was noted.
    pub(crate) fn keys(mut self, rows: &[PageRow], noted: &Noted) -> Prepared {
        let sealed = self.table.sealed.len();
        for (place, row) in rows.iter().enumerate() {
            for (i, cell) in row.values.iter().enumerate() {
                let phase = noted.get(&(place, i)).copied().unwrap_or("after");
                self.count(phase, Column::tokens_first(sealed, i), cell);
            }
            self.prepared.done.rows += 1;
        }
        self.finish()
    }

    /// Counts the keys of a row; `column` says which one a value is of.
    fn count_row(&mut self, phase: &'static str, row: &PageRow, column: impl Fn(usize) -> Column) {
        for (i, cell) in row.values.iter().enumerate() {
            self.count(phase, column(i), cell);
        }
        self.prepared.done.rows += 1;
    }

    fn count(&mut self, phase: &'static str, column: Column, cell: &Cell) {
        let Some(value) = cell.bytes() else { return };
        let key = match column {
            Column::Sealed(_) => key_of_token_start(value),
            Column::Index(_) => key_of_index(value),
        };
        self.tally.add(phase, column, key);
    }

    fn active(&mut self, key_use: KeyUse, tenant: Option<&TenantName>) -> Option<KeyId> {
        if let Some(known) = self.active.get(&tenant.cloned()) {
            return *known;
        }
        let active = self.table.rows.active_key(self.keyring, key_use, tenant);
        self.active.insert(tenant.cloned(), active);
        active
    }

    /// The token in a column, in its binary form.
    fn token(&self, column: usize, cell: &Cell) -> Option<Vec<u8>> {
        let stored = cell.bytes()?;
        let is_text = self.table.sealed.get(column)?.is_text;
        let token = if is_text {
            token_of_text(stored).ok()?
        } else {
            stored.to_vec()
        };
        key_of_token(&token).map(|_| token)
    }

    /// The tokens of a row whose key is wanted; what is no token is noted.
    fn wanted_tokens(&mut self, row: &PageRow, wanted: impl Fn(KeyId) -> bool) -> Vec<(usize, Vec<u8>)> {
        let mut tokens = Vec::with_capacity(row.values.len());
        for (column, cell) in row.values.iter().enumerate() {
            if cell.is_null() {
                continue;
            }
            match self.token(column, cell) {
                Some(token) if key_of_token(&token).is_some_and(&wanted) => tokens.push((column, token)),
                Some(_) => {}
                None => self.quarantine(row, column, "malformed"),
            }
        }
        tokens
    }

    fn note(
        &mut self,
        mode: Mode,
        row: &PageRow,
        column: usize,
        error: OpenError,
    ) -> Result<(), RotationError> {
        let own = row
            .values
            .get(column)
            .and_then(Cell::bytes)
            .and_then(key_of_token_start);
        match error {
            // Of a subject record, not of the token's key: a state that somebody wanted.
            OpenError::KeyState(id) if self.table.subject_keys && Some(id) != own => {
                if mode == Mode::Verify {
                    self.tally.add(SHREDDED, Column::Sealed(column), own);
                } else {
                    // The count after it opens none, and knows it by this.
                    self.quarantine(row, column, SHREDDED);
                }
            }
            error => {
                let reason = reason(error)?;
                self.quarantine(row, column, reason);
            }
        }
        Ok(())
    }

    fn quarantine(&mut self, row: &PageRow, column: usize, reason: &'static str) {
        let name = self
            .table
            .sealed
            .get(column)
            .map(|column| column.sql_name.clone());
        let value = row.values.get(column).and_then(Cell::bytes);
        let key = value.and_then(key_of_token_start);
        self.push_note(row, name.unwrap_or_default(), (key, value), reason);
    }

    fn push_note(
        &mut self,
        row: &PageRow,
        column: String,
        (key, value): (Option<KeyId>, Option<&[u8]>),
        reason: &'static str,
    ) {
        self.prepared.done.notes.push(Note {
            row_key: Cursor(row.key.clone()).to_text(),
            column,
            reason,
            key: key.map(|key| key.to_string()).unwrap_or_default(),
            held: self.ring_keys.held(key, value),
        });
    }
}

pub(crate) fn key_of_index(value: &[u8]) -> Option<KeyId> {
    KeyId::new(u32::from_be_bytes(*value.first_chunk()?))
}

/// Why a value goes into quarantine; a key that cannot be used now is no fault of the row.
fn reason(error: OpenError) -> Result<&'static str, RotationError> {
    Ok(match error {
        OpenError::KeyUnavailable(id) | OpenError::KeyRefused(id) => {
            return Err(RotationError::KeyUnavailable(id));
        }
        OpenError::UnknownKey(_) | OpenError::NoSubjectSecret => "unknown-key",
        OpenError::KeyState(_) => "destroyed-key",
        OpenError::Malformed => "malformed",
        _ => "authentication",
    })
}
