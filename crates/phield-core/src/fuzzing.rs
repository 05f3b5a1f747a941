//! Properties that hold for any input, one function a fuzz harness: each panics when its property is broken.
//!
//! The harnesses of `fuzz/` are one call each, and the crate's own tests replay the committed corpora through the same
//! functions. Compiled for these two alone: the feature `fuzzing` is not part of the API and exempt from semver.
//!
//! Where a function needs more than bytes (an identity, a manifest) it reads them from the input itself, so that a
//! corpus stays valid without a derived `Arbitrary`, and a part of the input is mutated by a mutated byte.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    missing_docs,
    unnameable_types,
    reason = "a broken property is meant to panic; nothing here is in a release"
)]

mod frame;
mod identity;
mod input;
mod local;
mod normalizers;
mod open;
mod ring;
mod token;

pub use frame::frame;
pub use identity::identity;
pub use local::local_key_file;
pub use normalizers::normalizers;
pub use open::open;
pub use ring::key_record_and_manifest;
pub use token::{text_form, token};
