//! A compound index has a name, and two different sealed fields or more.
use phield::{EncryptedPhi, Phi};

// A compound index is over fields.
#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(name = "name", bron = "date")))]
struct CompoundUnknownField {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: Phi<String>,
}

// A compound index is over sealed fields.
#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(name = "name", born = "date")))]
struct CompoundPlainField {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: String,
}

// A compound index is over different fields.
#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(name = "name", born = "date", name = "exact")))]
struct CompoundFieldTwice {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: Phi<String>,
}

// A compound index is over several fields.
#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(name = "name")))]
struct CompoundOneField {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

// The name of a compound index becomes a part of method names.
#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "a-b", on(name = "name", born = "date")))]
struct CompoundName {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: Phi<String>,
}

// A compound index has a name and a list of fields.
#[derive(EncryptedPhi)]
#[phi(table = "t", index)]
struct CompoundFormFlag {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "n"))]
struct CompoundFormNoFields {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "n", on = "name"))]
struct CompoundFormText {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "n", on(name, born = "date")))]
struct CompoundFormNoNormalizer {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: Phi<String>,
}

// A compound index over bools alone is declared.
#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(a = "exact", b = "exact")))]
struct CompoundBools {
    #[phi(row_id)]
    id: i64,
    a: Phi<bool>,
    b: Phi<bool>,
}

fn main() {}
