//! No two columns of a model with flattened fields have one name.
use phield::{EncryptedPhi, Phi};

#[derive(EncryptedPhi)]
#[phi(embedded)]
struct Address {
    #[phi(column = "line")]
    street: Phi<String>,
    country: String,
}

// In SQL.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct InSql {
    #[phi(row_id)]
    id: i64,
    #[phi(flatten)]
    address: Address,
    #[phi(sql_name = "Country")]
    nation: String,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Twice {
    #[phi(row_id)]
    id: i64,
    #[phi(flatten = "home_")]
    address: Address,
    #[phi(flatten = "home_")]
    other: Address,
}

// Logically.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Logically {
    #[phi(row_id)]
    id: i64,
    #[phi(flatten = "home_")]
    address: Address,
    #[phi(column = "home_line")]
    first_line: Phi<String>,
}

fn main() {}
