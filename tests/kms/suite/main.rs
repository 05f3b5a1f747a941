//! The provider `aws-kms` against two emulators, by the SDK, over HTTP. Neither emulator is right on its own; what one does
//! wrong stands in a test that names it.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod conformance;
mod emulators;
mod init;
mod keyring;
mod outages;
mod provider;
mod rekek;
mod rings;
