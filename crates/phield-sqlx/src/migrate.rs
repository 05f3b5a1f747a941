//! Migration: a column of plaintext becomes a column of tokens, in four steps, beside live traffic; and back.
//!
//! | step | what it does | what the application does |
//! |---|---|---|
//! | `add` | adds the column of tokens and those of its indexes, NULL in every row | reads and writes through [`MixedTime`], in every process that writes |
//! | `backfill` | seals the plaintext of every row that has no token | the same |
//! | `cutover` | from now on plaintext is neither read nor written | the same, then without [`MixedTime`] |
//! | `drop` | drops the column of the plaintext; there is no way back | nothing of it is left |
//!
//! Every step can be killed at any moment and run again, and each but the last can be taken back.
mod database;
mod mixed;
mod plaintext;
mod step;

pub use database::MigrationDatabase;
pub use mixed::{Closed, MIXED_TIME_HOLDS, MixedError, MixedTime, insert, update};
pub use plaintext::{DualColumn, DualWrite, Plaintext};
pub use step::{MigrationRecord, Step};
