//! What a count does with values that the pass before it has noted.
//!
//! A value counts as noted only where the row and column that were noted still hold what they held then. A note of a row that was
//! deleted or repaired meanwhile says nothing of any other row.

use std::collections::HashMap;

use phield_core::{KeyId, KeyState, KeyUse, Keyring, key_of_token_start};

use super::cell::{Cell, Cursor};
use super::database::RotationDatabase;
use super::error::RotationError;
use super::page::key_of_index;
use super::state::{self, Mode, Record};
use super::table::{PageRow, Read, Table};
use crate::backend::Reuse;

/// Rows that are read again at once.
const ROWS: usize = 50;
/// Most bytes of their values in memory.
const ROWS_BYTES: usize = 8 << 20;

/// Why values are noted.
const REASONS: [&str; 6] = [
    "authentication",
    "malformed",
    "unknown-key",
    "destroyed-key",
    "duplicate",
    SHREDDED,
];
/// Of a subject who was shredded: what somebody wanted, and no finding.
pub(crate) const SHREDDED: &str = "shredded";

/// The reasons of noted values, by row of the page and position in it.
pub(crate) type Noted = HashMap<(usize, usize), &'static str>;

/// The keys of the ring, as they are now.
#[derive(Debug)]
pub(crate) struct RingKeys(Vec<(KeyId, KeyUse, KeyState)>);

impl RingKeys {
    pub(crate) fn of(keyring: &Keyring) -> Self {
        let keys = keyring.status().keys.into_iter();
        Self(keys.map(|key| (key.id, key.key_use, key.state)).collect())
    }

    /// Whether others have this key, too.
    pub(crate) fn is_compromised(&self, id: KeyId) -> bool {
        let mut keys = self.0.iter();
        keys.any(|(of, _, state)| *of == id && *state == KeyState::Compromised)
    }

    /// Whether new values of a use are under this key, or will be.
    fn is_current(&self, id: KeyId, key_use: KeyUse) -> bool {
        let mut keys = self.0.iter();
        keys.any(|(of, of_use, state)| (*of, *of_use) == (id, key_use) && state.is_current())
    }

    /// What is kept of a noted value, to know it again. Nothing where the ring does not have its key: then it may be anything, and no
    /// key is destroyed because of it.
    pub(crate) fn held(&self, key: Option<KeyId>, value: Option<&[u8]>) -> String {
        let is_known = key.is_some_and(|key| self.0.iter().any(|(id, ..)| *id == key));
        value
            .filter(|_| is_known)
            .map(state::digest_of)
            .unwrap_or_default()
    }
}

/// A value under an old key.
struct Candidate {
    row: usize,
    position: usize,
    key: KeyId,
    id: String,
}

/// Which values of a page, read as [`Read::Keys`], are under old keys and noted by the pass before this count.
pub(crate) async fn of_page<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    (record, table, keyring): (&Record, &Table, &Keyring),
    rows: &[PageRow],
) -> Result<Noted, RotationError> {
    let keys = RingKeys::of(keyring);
    let candidates = candidates((record, table, &keys), rows);
    let mut found = Vec::new();
    if !candidates.is_empty() {
        let ids: Vec<&str> = candidates.iter().map(|candidate| candidate.id.as_str()).collect();
        let notes = state::noted::<DB>(connection, record, &ids).await?;
        for candidate in candidates {
            if let Some(note) = notes.get(&candidate.id)
                && note.key == candidate.key.to_string()
            {
                found.push((candidate, note.clone()));
            }
        }
    }
    if found.is_empty() {
        return Ok(Noted::new());
    }
    let mut at: Vec<usize> = found.iter().map(|(candidate, _)| candidate.row).collect();
    at.dedup();
    let held = again::<DB>(connection, (record.mode, table), rows, &at).await?;
    let mut noted = Noted::new();
    for (candidate, note) in found {
        let place = (candidate.row, candidate.position);
        let value = held
            .get(&candidate.row)
            .and_then(|row| value(row, place.1, table));
        let reason = REASONS.iter().find(|reason| **reason == note.reason);
        let is_same = value.is_some_and(|value| keys.held(Some(candidate.key), Some(value)) == note.held);
        if let Some(reason) = reason.filter(|_| is_same) {
            noted.insert(place, *reason);
        }
    }
    Ok(noted)
}

fn candidates((record, table, keys): (&Record, &Table, &RingKeys), rows: &[PageRow]) -> Vec<Candidate> {
    let sealed = table.sealed.len();
    let (columns, key_use) = match record.mode {
        Mode::Data => (0..sealed, KeyUse::Data),
        Mode::Pepper | Mode::Index => (sealed..sealed + table.indexes.len(), KeyUse::Index),
        // They note nothing, or do not count again.
        Mode::Verify | Mode::Scan => return Vec::new(),
    };
    let mut candidates = Vec::new();
    for (row, page_row) in rows.iter().enumerate() {
        for position in columns.clone() {
            let start = page_row.values.get(position).and_then(Cell::bytes);
            let key = match key_use {
                KeyUse::Data => start.and_then(key_of_token_start),
                _ => start.and_then(key_of_index),
            };
            let Some(key) = key.filter(|key| !keys.is_current(*key, key_use)) else {
                continue;
            };
            let row_key = Cursor(page_row.key.clone()).to_text();
            let id = state::note_id(
                record.mode.as_str(),
                table.name(),
                &row_key,
                column(table, position),
            );
            candidates.push(Candidate {
                row,
                position,
                key,
                id,
            });
        }
    }
    candidates
}

/// The name of the column at a position of a page of keys.
fn column(table: &Table, position: usize) -> &str {
    let sealed = table.sealed.get(position).map(|column| &column.sql_name);
    let index = || {
        let index = position.checked_sub(table.sealed.len())?;
        table.indexes.get(index).map(|column| &column.sql_name)
    };
    sealed.or_else(index).map_or("", String::as_str)
}

/// The value at a position of a page of keys, in a row that was read as a whole.
fn value<'r>(row: &'r PageRow, position: usize, table: &Table) -> Option<&'r [u8]> {
    let sealed = table.sealed.len();
    let place = match row.values.len() == sealed {
        true => position,
        // Index values are the first.
        false => position.checked_sub(sealed)?,
    };
    row.values.get(place).and_then(Cell::bytes)
}

/// Reads some rows of a page again, with their values as a whole, by their places in it. A row that is gone is left out.
async fn again<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    (mode, table): (Mode, &Table),
    rows: &[PageRow],
    at: &[usize],
) -> Result<HashMap<usize, PageRow>, RotationError> {
    let read = match mode {
        Mode::Data => Read::Tokens,
        _ => Read::IndexesAndTokens,
    };
    let (mut held, mut rest) = (HashMap::new(), at);
    while !rest.is_empty() {
        let (now, _) = rest.split_at(rest.len().min(ROWS));
        let keys = now
            .iter()
            .filter_map(|row| rows.get(*row))
            .map(|row| row.key.as_slice());
        let statement = table.rows_at::<DB>(read, keys);
        let fetched = DB::fetch(statement, Reuse::Unlikely, ROWS_BYTES, connection).await?;
        let fetched = table.page_rows(fetched)?;
        let mut done = now.len();
        for row in fetched {
            let is_it = |at: &&usize| rows.get(**at).is_some_and(|other| other.key == row.key);
            let Some(place) = now.iter().find(is_it).copied() else {
                continue;
            };
            // The rows after the last one may not have been read, because of their size.
            done = now.iter().position(|at| *at == place).map_or(done, |at| at + 1);
            held.insert(place, row);
        }
        rest = rest.get(done..).unwrap_or_default();
    }
    Ok(held)
}
