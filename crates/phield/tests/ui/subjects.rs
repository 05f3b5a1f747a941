//! A row belongs to one person, or to nobody.
use phield::{EncryptedPhi, Phi};

// Keys of subjects need a subject.
#[derive(EncryptedPhi)]
#[phi(table = "t", subject_keys)]
struct SubjectMissing {
    #[phi(row_id)]
    id: i64,
    note: Phi<String>,
}

// A row belongs to one person.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct SubjectTwice {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    mother: i64,
    #[phi(subject)]
    child: i64,
    note: Phi<String>,
}

// A subject is not PHI.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct SubjectPhi {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    ssn: Phi<String>,
}

type Ssn = Phi<String>;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct SubjectPhiByAlias {
    #[phi(row_id)]
    id: i64,
    #[phi(subject, sealed)]
    ssn: Ssn,
    note: Phi<String>,
}

// A subject is always there.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct SubjectOption {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    patient_id: Option<i64>,
    note: Phi<String>,
}

// A subject is no sealed field.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct SubjectPadded {
    #[phi(row_id)]
    id: i64,
    #[phi(subject, pad = "none", index)]
    patient_id: i64,
    note: Phi<String>,
}

// Marks take no value.
#[derive(EncryptedPhi)]
#[phi(table = "t", subject_keys = "patient_id")]
struct SubjectForm {
    #[phi(row_id)]
    id: i64,
    #[phi(subject = "patient")]
    patient_id: i64,
    note: Phi<String>,
}

fn main() {}
