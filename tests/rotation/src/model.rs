//! The rows that are rotated.

use phield::{EncryptedPhi, Phi};

/// A patient. The medical record number of a row stays what it is, whoever writes the row.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
pub struct Patient {
    #[phi(row_id)]
    pub id: i64,
    #[phi(index(normalize = "exact"))]
    pub mrn: Phi<String>,
    #[phi(index(normalize = "ssn"))]
    pub ssn: Phi<String>,
    #[phi(store = "text")]
    pub note: Option<Phi<String>>,
    pub born: Option<Phi<String>>,
    pub ward: String,
}

/// The columns of tokens, and of index values.
pub const TOKENS: [&str; 4] = ["mrn", "ssn", "note", "born"];
pub const INDEXES: [&str; 2] = ["mrn_index", "ssn_index"];

/// The patient of a row, as it was before anybody wrote to it.
#[must_use]
pub fn patient(id: i64) -> Patient {
    Patient {
        id,
        mrn: Phi::new(mrn(id)),
        ssn: Phi::new(format!("{id:09}")),
        note: (id % 3 != 0).then(|| Phi::new(format!("sleeps badly since day {id}"))),
        born: (id % 2 == 0).then(|| "1970-01-01".into()),
        ward: format!("ward {id}"),
    }
}

#[must_use]
pub fn mrn(id: i64) -> String {
    format!("MRN-{id:06}")
}

/// The patient of a row, as a writer writes it for the `number`-th time.
#[must_use]
pub fn written(id: i64, number: u64) -> Patient {
    let ssn = 100_000 * id.unsigned_abs() + number % 100_000;
    Patient {
        ssn: Phi::new(format!("{ssn:09}")),
        note: Some(Phi::new(format!("seen for the {number}th time"))),
        ..patient(id)
    }
}
