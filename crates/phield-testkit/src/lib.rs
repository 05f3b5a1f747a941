//! What the tests of phield share: writers that stop at any step, throwaway key rings, a scanner that looks for
//! plaintext where none may be, temporary database servers and HSM tokens. Not published.
#![forbid(unsafe_code)]

mod canary;
pub mod conformance;
mod faults;
pub mod hsm;
pub mod load;
mod provider;
mod ring;
pub mod servers;

pub use canary::{Encoding, FileHit, FolderScan, Hit, Scanner};
pub use faults::{AbortAt, StopAt};
pub use provider::{Fault, FaultyProvider};
pub use ring::{TestRing, block_on};
