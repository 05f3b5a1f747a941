//! What is measured: a model of eight sealed text fields, three of them indexed.

use phield::{AppName, EncryptedPhi, Keyring, Phi};
use uuid::Uuid;

pub(crate) const APP: &str = "bench";
#[allow(dead_code, reason = "one of the benchmarks works by hand")]
pub(crate) const TABLE: &str = "patients";
#[allow(dead_code, reason = "one of the benchmarks works by hand")]
pub(crate) const COLUMNS: [&str; 8] = [
    "name",
    "ssn",
    "mrn",
    "phone",
    "email",
    "street",
    "city",
    "birth_date",
];

/// A row of eight sealed fields, three of them indexed, as a user writes it.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "patients")]
pub(crate) struct Patient {
    #[phi(row_id)]
    pub(crate) id: Uuid,
    #[phi(index(normalize = "exact"))]
    pub(crate) name: Phi<String>,
    #[phi(index(normalize = "exact"))]
    pub(crate) ssn: Phi<String>,
    #[phi(index(normalize = "exact"))]
    pub(crate) mrn: Phi<String>,
    pub(crate) phone: Phi<String>,
    pub(crate) email: Phi<String>,
    pub(crate) street: Phi<String>,
    pub(crate) city: Phi<String>,
    pub(crate) birth_date: Phi<String>,
}

/// A text of 24 bytes.
pub(crate) const TEXT: &str = "a value of 24 characters";

pub(crate) fn keyring() -> Keyring {
    Keyring::ephemeral(AppName::from_static(APP)).expect("the system has randomness")
}

/// A patient whose identifiers nobody else has.
pub(crate) fn patient(number: usize) -> Patient {
    let value = || Phi::from(TEXT);
    let own = |what: &str| Phi::new(format!("{what}{number:>width$}", width = TEXT.len() - what.len()));
    Patient {
        id: Uuid::now_v7(),
        name: own("name"),
        ssn: own("ssn"),
        mrn: own("mrn"),
        phone: value(),
        email: value(),
        street: value(),
        city: value(),
        birth_date: value(),
    }
}
