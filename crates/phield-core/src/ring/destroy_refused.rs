//! Why a key is not destroyed.

use crate::civil::Utc;
use crate::key::KeyId;
use crate::record::{KeyState, KeyUse};

/// Why a key was not destroyed, and what to do next. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestroyRefused {
    /// It seals, or is about to.
    #[error("it is {0}, and only an old key is destroyed. {next}", next = first(*.0))]
    NotOld(KeyState),
    /// It is one of the pinned ring keys.
    #[error(
        "it is pinned in ring_key: without it no process opens the ring. Pin its successor alone first (`phield rotate ring`)"
    )]
    Pinned,
    /// What hangs on keys of this use is not counted by any scan.
    #[error("no scan counts what a key of use {0} is needed for, and nothing takes its place: it stays")]
    NotCounted(KeyUse),
    /// The ring does not say when it stopped sealing.
    #[error(
        "the ring does not say since when it seals no more: it was retired by an older phield, or that time is still to come by \
         this clock. Note it now: `phield keys retire {0}{flag}`; what was scanned before does not count",
        flag = if *.1 == KeyState::Compromised { " --compromised" } else { "" }
    )]
    NoStopTime(KeyId, KeyState),
    /// Some process may still have sealed with it.
    #[error(
        "it was taken out of use at {}, and until {} some process may not know that (hard TTL plus 5 minutes). After that: \
         `phield scan`, and destroy with its report",
        Utc(*.stopped), Utc(*.until)
    )]
    StillInUse {
        /// When it stopped sealing.
        stopped: u64,
        /// When every process knows.
        until: u64,
    },
    /// No report.
    #[error(
        "there is no evidence that nothing is under it: run `phield scan` on every database that the ring serves, started after \
         {}, and give each report with --report",
        Utc(*.0)
    )]
    NoReport(u64),
    /// A report that was begun too early.
    #[error(
        "the report of {database} began to count at {}, and until {} some process may still have sealed with the key: run \
         `phield scan` again",
        Utc(*.counted_from), Utc(*.until)
    )]
    ReportTooEarly {
        /// The database of the report.
        database: String,
        /// When its counting began.
        counted_from: u64,
        /// From when on it would have been evidence.
        until: u64,
    },
    /// A report by which the key was not retired when counting began.
    #[error(
        "when the report of {0} began to count, the key was not out of use in the ring that it knew: run `phield scan` again"
    )]
    NotRetiredThen(String),
    /// A report of times to come, or of epochs that the ring does not have.
    #[error(
        "the report of {0} is ahead of this ring or clock: set the clock right, see that the ring is the newest one (`phield \
         doctor`), and run `phield scan` again"
    )]
    ReportAhead(String),
    /// Not everything was counted.
    #[error("the report of {0} is not complete: let `phield scan` run to its end")]
    NotComplete(String),
    /// A report of `verify` that counted no index values was given for the pepper of indexes.
    #[error(
        "the report of {0} is of a `phield rotate verify` that opened tokens and did not count index values: run `phield scan`"
    )]
    IndexesNotCounted(String),
    /// No column was counted.
    #[error("the report of {0} counted no column: give `phield scan` the schema file of the application")]
    NothingCounted(String),
    /// The newest report of a database was begun more than a week ago.
    #[error(
        "the newest report of {database} counted from {} on: what came back into it since, from a backup or a process that slept, is in no \
         count. Run `phield scan` now, and give its report beside the first one, which the waiting period counts from",
        Utc(*.counted_from)
    )]
    ReportOld {
        /// The database of the report.
        database: String,
        /// When its counting began.
        counted_from: u64,
    },
    /// The same report, given more than once: of each database of a ring there is one.
    #[error("the report of {0} was given twice: give that of each database once")]
    Twice(String),
    /// No report has counted a column of what the key is for: the schema file may be that of before the index.
    #[error(
        "the report of {0} counted no column of what a key of use {1} is for: give `phield scan` the schema file that the application \
         has now"
    )]
    NoColumnOfUse(String, KeyUse),
    /// Columns that hold tokens and are not registered (I-7).
    #[error(
        "{database} has columns that hold tokens and are not registered, so nobody counted what is in them: {}. Add them to the \
         schema file, or drop them, and run `phield scan` again (I-7)",
        columns.join(", ")
    )]
    Unregistered {
        /// The database of the report.
        database: String,
        /// Their names in SQL.
        columns: Vec<String>,
    },
    /// Something is still under the key.
    #[error(
        "{rows} rows are still under it in {database}: `phield rotate run {mode}`, and give its report, which tells what is in \
         quarantine or of shredded subjects apart, or one of `phield scan` after it",
        mode = if *.key_use == KeyUse::Index { "pepper" } else { "data" }
    )]
    RowsLeft {
        /// The database of the report.
        database: String,
        /// How many rows.
        rows: u64,
        /// What the key is for.
        key_use: KeyUse,
    },
    /// Rows in quarantine that may be under the key: destroying it loses them.
    #[error(
        "{found} rows in quarantine are under it, or may be, and {acknowledged} were acknowledged: look at them (`phield rotate \
         status`) and repair them, or give them up: --acknowledge-quarantined {found}"
    )]
    Quarantined {
        /// How many the reports have.
        found: u64,
        /// How many the operator said.
        acknowledged: u64,
    },
    /// Rows of shredded subjects under the key.
    #[error(
        "{found} rows of shredded subjects are under it, and {acknowledged} were acknowledged: delete them, or acknowledge them: \
         --acknowledge-shredded {found}"
    )]
    Shredded {
        /// How many the reports have.
        found: u64,
        /// How many the operator said.
        acknowledged: u64,
    },
    /// The waiting period is not over.
    #[error(
        "the waiting period ends at {} (destroy_after_days in [policy]): run the same command then",
        Utc(*.0)
    )]
    Waiting(u64),
    /// Nobody said anything about backups.
    #[error(
        "backups that hold what it sealed would not open any more. If no backup that may have to be put back, of the database or \
         an export, holds anything under it: --backups-acknowledged"
    )]
    Backups,
}

/// What comes before the destruction of a key in this state.
fn first(state: KeyState) -> &'static str {
    match state {
        KeyState::PreActive => {
            "If it shall never seal: `phield keys retire --compromised`; then it waits as every old key"
        }
        _ => "First `phield keys retire`, then re-seal what it sealed (`phield rotate`)",
    }
}
