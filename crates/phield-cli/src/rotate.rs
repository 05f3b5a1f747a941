//! `phield rotate`: other keys in the place of those that are there.

pub(crate) mod kek;
pub(crate) mod ring;

pub use kek::RotateKekArguments;
pub use ring::RotateRingArguments;

use crate::{Error, Host};

/// The verbs of `phield rotate`.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum RotateCommand {
    /// Wrap every key under another key-encryption key, and take the old wraps away; rows are not touched
    ///
    /// Each key is unwrapped, wrapped, stored, and opened as it is stored; then its old wrap goes. In batches, each one update
    /// of the ring. A run that was interrupted is started again, and does what is missing.
    Kek(RotateKekArguments),
    /// Replace the ring key: look where that stands, and do or say the next of its five steps
    ///
    /// Between the steps the configuration of every process changes, which no command can do.
    Ring(RotateRingArguments),
}

pub(crate) async fn run(command: &RotateCommand, host: &mut Host<'_>) -> Result<(), Error> {
    match command {
        RotateCommand::Kek(arguments) if arguments.dry_run => kek::plan(arguments, host).await,
        RotateCommand::Kek(arguments) => kek::run(arguments, host).await,
        RotateCommand::Ring(arguments) => ring::run(arguments, host).await,
    }
}
