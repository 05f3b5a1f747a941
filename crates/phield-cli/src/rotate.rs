//! `phield rotate`: other keys in the place of those that are there.

#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
mod database;
pub(crate) mod kek;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
mod progress;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
mod replace;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
mod report;
pub(crate) mod ring;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
mod rows;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
mod text;

#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
pub(crate) use database::{Database, connect};
pub use kek::RotateKekArguments;
pub use ring::RotateRingArguments;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
pub(crate) use rows::scan;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
pub use rows::{
    DatabaseArguments, ModeChoice, PageArguments, PlanArguments, QuarantineArguments, ResumeArguments,
    RotateStatusArguments, RunArguments, ScanArguments, WorkArguments,
};

use crate::{Error, Host};

/// The verbs of `phield rotate`.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum RotateCommand {
    /// Say what a rotation would find and do; changes nothing
    ///
    /// Counts the rows of every table and the keys of all their values.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Plan(PlanArguments),
    /// Seal every row again under the active data key, or index it again under the active pepper
    ///
    /// Goes through all tables until nothing is left under another key but what is in quarantine, then counts once more and
    /// writes a signed report. Killed, paused or cut off, it goes on where it was: run the same command again, here or on
    /// another machine. Several may run at once; they share the work. Services go on meanwhile, and lose no write.
    ///
    /// It begins one hard TTL (60 minutes, unless configured) after the active key was first seen here, for until then processes
    /// may still write under the old one. UID peppers do not rotate: another pepper makes other UIDs.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Run(RunArguments),
    /// Show how far the last rotation is, or its end
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Status(RotateStatusArguments),
    /// Let the rotation end after the pages that it is at, everywhere
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Pause(DatabaseArguments),
    /// End the rotation that is under way as it is, so that another can start
    ///
    /// The rows that it wrote stay as they are: every row opens, some under the old key. There is no report.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Cancel(DatabaseArguments),
    /// Go on with a paused rotation, or one that was killed
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Resume(ResumeArguments),
    /// Open every value of every table, and count those that do not open; writes no row
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Verify(WorkArguments),
    /// List values that do not open: table, row, column and reason
    ///
    /// The row keys may be MRNs: they are printed on request alone.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Quarantine(QuarantineArguments),
    /// Wrap every key under another key-encryption key, and take the old wraps away; rows are not touched
    ///
    /// Each key is unwrapped, wrapped, stored, and opened as it is stored. The old wraps go with --configured-everywhere, once every
    /// process has the new key-encryption key in its configuration. In batches, each one update of the ring. A run that was interrupted
    /// is started again, and does what is missing.
    Kek(RotateKekArguments),
    /// Replace the ring key: look where that stands, and do or say the next of its five steps
    ///
    /// Between the steps the configuration of every process changes, which no command can do.
    Ring(RotateRingArguments),
}

pub(crate) async fn run(command: &RotateCommand, host: &mut Host<'_>) -> Result<(), Error> {
    match command {
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        RotateCommand::Plan(arguments) => rows::plan(arguments.mode, &arguments.work, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        RotateCommand::Run(arguments) => rows::start(arguments, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        RotateCommand::Status(arguments) => rows::status(arguments, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        RotateCommand::Pause(arguments) => rows::pause(arguments, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        RotateCommand::Cancel(arguments) => rows::cancel(arguments, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        RotateCommand::Resume(arguments) => rows::resume(arguments, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        RotateCommand::Verify(arguments) => rows::verify(arguments, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        RotateCommand::Quarantine(arguments) => rows::quarantine(arguments, host).await,
        RotateCommand::Kek(arguments) if arguments.dry_run => kek::plan(arguments, host).await,
        RotateCommand::Kek(arguments) => kek::run(arguments, host).await,
        RotateCommand::Ring(arguments) => ring::run(arguments, host).await,
    }
}
