//! The rows that are migrated.

use phield::{EncryptedPhi, Phi};

/// A person, in columns of tokens beside those of plaintext.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "people")]
pub struct Person {
    #[phi(row_id)]
    pub id: i64,
    #[phi(sql_name = "ssn_sealed", index(normalize = "ssn"))]
    pub ssn: Phi<String>,
    #[phi(sql_name = "note_sealed", store = "text", index(normalize = "exact"))]
    pub note: Option<Phi<String>>,
    pub ward: String,
}

/// The logical names of the columns that are migrated: the names in SQL of the plaintext, too.
pub const COLUMNS: [&str; 2] = ["ssn", "note"];

/// The person of a row, as it was before anybody wrote to it.
#[must_use]
pub fn person(id: i64) -> Person {
    Person {
        id,
        ssn: Phi::new(format!("{id:09}")),
        note: (id % 3 != 0).then(|| Phi::new(format!("sleeps badly since day {id}"))),
        ward: format!("ward {id}"),
    }
}

/// The person of a row, as the application writes it between a kill and the second run.
#[must_use]
pub fn written(id: i64) -> Person {
    Person {
        ssn: Phi::new(format!("9{id:08}")),
        // Where there was a note there is none now, and the other way round.
        note: (id % 3 == 0).then(|| Phi::new(format!("sleeps well since day {id}"))),
        ..person(id)
    }
}
