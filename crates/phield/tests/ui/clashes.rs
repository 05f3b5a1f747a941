//! No two things have one name.
use phield::{EncryptedPhi, Phi};

// A logical column stands once.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct ColumnTwice {
    #[phi(row_id)]
    id: i64,
    #[phi(column = "other")]
    name: Phi<String>,
    other: Phi<String>,
}

// A column stands once in SQL.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct SqlColumnTwice {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<String>,
    ssn_index: i64,
}

// SQL does not tell upper from lower case.
#[allow(non_snake_case)]
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct SqlColumnCase {
    #[phi(row_id)]
    id: i64,
    ssn: Phi<String>,
    SSN: i64,
}

// A generated constant stands once.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct ConstantTwice {
    #[phi(row_id)]
    id: i64,
    schema: Phi<String>,
}

// A generated method stands once.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct MethodTwice {
    #[phi(row_id)]
    id: i64,
    batch: Phi<String>,
}

// A logical index stands once.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct IndexNameTwice {
    #[phi(row_id)]
    id: i64,
    #[phi(index(name = "i"))]
    name: Phi<String>,
    #[phi(index(name = "i"))]
    born: Phi<String>,
}

fn main() {}
