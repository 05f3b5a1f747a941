//! Reads columns that other libraries encrypted, so that a team can move to phield: what comes out is a [`Phi`], to be
//! sealed by a model or by `phield migrate backfill`.
//!
//! There is one format: [Active Record encryption](RailsKeys) of Rails 7 and 8.
//!
//! ```
//! use phield_import::{RailsDigest, RailsError, RailsKeys};
//!
//! # fn main() -> Result<(), RailsError> {
//! // `active_record_encryption` of the application's credentials.
//! let keys = RailsKeys::new().with_key("the primary key", "the key derivation salt", RailsDigest::Sha256);
//! let column = r#"{"p":"","h":{"iv":"AAAAAAAAAAAAAAAA","at":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#;
//! assert_eq!(keys.decrypt(column).unwrap_err(), RailsError::NoKeyOpens);
//! # Ok(())
//! # }
//! ```
//!
//! # Security
//! Nothing here encrypts, and nothing is for columns that phield keeps: the other format does not bind a value to its row
//! and column, does not commit to its key, and does not authenticate its header (that a value is compressed, and its
//! encoding). What it reads is what it was given: whoever could write to the old column
//! could exchange two rows' values, and this cannot be seen afterwards.
//!
//! [`Phi`]: phield_core::Phi
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod rails;

pub use rails::{RailsCredentialsError, RailsDigest, RailsError, RailsKeys};
