//! Keys of phield under a key-encryption key in an HSM, through PKCS#11 (`cryptoki`).
#![forbid(unsafe_code)]

mod attributes;
mod error;
mod factory;
mod module;
mod provider;
mod reference;
mod token;
mod workers;

pub use error::Pkcs11Error;
pub use factory::Pkcs11ProviderFactory;
pub use provider::{KeyReport, Pkcs11Provider, Pkcs11Settings};
pub use reference::KeyLabel;
pub use workers::Counts;
