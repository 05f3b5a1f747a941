//! Where a rotation is, and what one would do.

use super::state::{KeyCount, Mode, QuarantineCount, TableProgress};

/// How many seconds two clocks may be apart: as much as the destruction of keys allows for.
const MOST_APART: u64 = 300;

/// Where a rotation is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RotationStatus {
    /// Its name in the database.
    pub id: String,
    /// Its mode.
    pub mode: Mode,
    /// `waiting`, `running`, `counting`, `paused` or `done`.
    pub state: &'static str,
    /// Who started it.
    pub who: String,
    /// When it was started, in Unix seconds by the clock of the database.
    pub started: i64,
    /// When its passes begin, or began.
    pub ready: i64,
    /// When its last count began, by the clock of the database or of the machine that counted, whichever was behind; 0 before.
    pub counting_since: i64,
    /// How many seconds these clocks were apart, when the count began or when it ended.
    pub clocks_apart: u64,
    /// Whether transactions that had written into the tables before the last count began were open for as long as a lease: rows that
    /// they wrote are in no count.
    pub open_writers: bool,
    /// When it was done; 0 before.
    pub ended: i64,
    /// The epoch of the ring when the last count began; before, when the rotation was started.
    pub epoch: i64,
    /// The pass over the tables, from 1 on.
    pub pass: i64,
    /// How many workers have rows to work on, in whichever processes. One that was killed is among them until its lease ends.
    pub workers: usize,
    /// Seconds until the workers of this process take over what others have, should those be dead; none while one of its own works, or
    /// where no other has anything.
    pub waits_for_others: Option<u64>,
    /// The tables.
    pub tables: Vec<TableProgress>,
    /// How many values are under which key.
    pub counts: Vec<KeyCount>,
    /// How many values are in quarantine.
    pub quarantined: Vec<QuarantineCount>,
    /// The report that was kept at its end; empty before.
    pub report: String,
}

impl RotationStatus {
    /// Whether the clocks were too far apart, more than 5 minutes, to say whether the count began after the last process stopped sealing
    /// under an old key.
    #[must_use]
    pub fn has_wrong_clock(&self) -> bool {
        self.clocks_apart > MOST_APART
    }
}

/// What a rotation would find and do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RotationPlan {
    /// Table by table.
    pub tables: Vec<TablePlan>,
    /// The keys that new values would be under.
    pub active: Vec<String>,
}

/// What a rotation would do with a table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TablePlan {
    /// The table's logical name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// What pages are ordered by.
    pub key: Vec<String>,
    /// Whether something binds rows to their places.
    pub is_bound: bool,
    /// How many values are under which key.
    pub counts: Vec<KeyCount>,
    /// Indexes that do not rotate in place, because they are unique.
    pub unique_indexes: Vec<String>,
}
