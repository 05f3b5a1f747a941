//! Logical names are of a fixed alphabet.
use phield::{EncryptedPhi, Phi};

// Logical names are of a fixed alphabet.
#[derive(EncryptedPhi)]
#[phi(table = "my table")]
struct NameOfTableSpace {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "")]
struct NameOfTableEmpty {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn")]
struct NameOfTableLong {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

// Logical names are of a fixed alphabet.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NameOfColumnSlash {
    #[phi(row_id)]
    id: i64,
    #[phi(column = "a/b")]
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NameOfColumnDefault {
    #[phi(row_id)]
    id: i64,
    straße: Phi<String>,
}

// Logical names are of a fixed alphabet.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NameOfIndex {
    #[phi(row_id)]
    id: i64,
    #[phi(index(name = "a b"))]
    name: Phi<String>,
}

// A default name is one, too.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NameOfIndexDefault {
    #[phi(row_id)]
    id: i64,
    #[phi(index, column = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn")]
    name: Phi<String>,
}

fn main() {}
