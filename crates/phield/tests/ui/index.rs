//! An index takes the type of its field, and says what it shows.
use phield::{EncryptedPhi, Phi};
use uuid::Uuid;

// An index over a bool is declared.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct IndexBoolBool {
    #[phi(row_id)]
    id: i64,
    #[phi(index)]
    flag: Phi<bool>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct IndexBoolNullable {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "exact"))]
    flag: Phi<Option<bool>>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct IndexBoolOptional {
    #[phi(row_id)]
    id: i64,
    #[phi(index)]
    flag: Option<Phi<bool>>,
}

// Normalizers are known.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NormalizerUnknownField {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "soundex"))]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(name = "soundex", born = "date")))]
struct NormalizerUnknownCompound {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: Phi<String>,
}

// A normalizer takes the type of its field.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NormalizerTypeSsn {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<i64>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NormalizerTypeDigits {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "digits"))]
    phone: Option<Phi<Vec<u8>>>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NormalizerTypeName {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name"))]
    name: Phi<Option<Uuid>>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NormalizerTypeDate {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "date", leaks_equality))]
    born: Phi<bool>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(name = "name", n = "digits")))]
struct NormalizerTypeCompound {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    n: Phi<u8>,
}

fn main() {}
