//! The patient of the next version of the application.

use phield::{EncryptedPhi, Phi};

use crate::model::Patient;

/// A patient who is found by the digits of the medical record number, and no longer by the number as it is written; and by the note.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
pub struct NextPatient {
    #[phi(row_id)]
    pub id: i64,
    #[phi(index(
        name = "mrn_digits",
        sql_name = "mrn_digits_index",
        normalize = "digits",
        unique
    ))]
    pub mrn: Phi<String>,
    #[phi(index(normalize = "ssn"))]
    pub ssn: Phi<String>,
    #[phi(store = "text", index(normalize = "name"))]
    pub note: Option<Phi<String>>,
    pub born: Option<Phi<String>>,
    pub ward: String,
}

/// The columns of its new indexes, and what each index is in SQL.
pub const NEW_INDEXES: [(&str, &str); 2] = [("mrn_digits_index", "UNIQUE INDEX"), ("note_index", "INDEX")];

impl From<&Patient> for NextPatient {
    fn from(patient: &Patient) -> Self {
        let Patient {
            id,
            mrn,
            ssn,
            note,
            born,
            ward,
        } = patient.clone();
        Self {
            id,
            mrn,
            ssn,
            note,
            born,
            ward,
        }
    }
}
