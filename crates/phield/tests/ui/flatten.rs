//! An embedded struct has columns and nothing of a table; what is flattened is one.
use phield::{EncryptedPhi, Phi};

// An embedded struct has no table.
#[derive(EncryptedPhi)]
#[phi(embedded, table = "t", sql_name = "t", unbound, subject_keys, index(name = "i", on(a = "exact", b = "exact")))]
struct OfTable {
    a: Phi<String>,
    b: Phi<String>,
}

// It binds nothing, and is filled by the application.
#[derive(EncryptedPhi)]
#[phi(embedded)]
struct OfRow {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    #[phi(subject)]
    patient: i64,
    #[phi(extra)]
    revision: i64,
    #[phi(generated)]
    serial: i64,
    #[phi(index)]
    street: Phi<String>,
}

// It flattens nothing itself.
#[derive(EncryptedPhi)]
#[phi(embedded)]
struct Flattens {
    street: Phi<String>,
    #[phi(flatten)]
    country: Country,
}

#[derive(EncryptedPhi)]
#[phi(embedded)]
struct Country {
    name: Phi<String>,
}

// It has no parameters, and something to seal.
#[derive(EncryptedPhi)]
#[phi(embedded)]
struct Generic<T: phield::Value> {
    street: Phi<T>,
}

#[derive(EncryptedPhi)]
#[phi(embedded)]
struct NothingSealed {
    street: String,
}

// Its columns have names that SQL takes without quotes.
#[derive(EncryptedPhi)]
#[phi(embedded)]
struct Reserved {
    order: Phi<String>,
    #[phi(sql_name = "Zip code")]
    zip: Phi<String>,
    group: String,
}

// A prefix is of such names, too.
#[derive(EncryptedPhi)]
#[phi(table = "t", unbound)]
struct Prefixes {
    #[phi(flatten = "")]
    a: Country,
    #[phi(flatten = "Home ")]
    b: Country,
    #[phi(flatten = "1_")]
    c: Country,
    #[phi(flatten = 5)]
    d: Country,
}

// The columns of a flattened field are the embedded struct's.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Options {
    #[phi(row_id, flatten)]
    a: Country,
    #[phi(flatten = "b_", sql_name = "b", pad = "none")]
    b: Country,
}

// They are always there, and not PHI as a whole.
#[derive(EncryptedPhi)]
#[phi(table = "t", unbound)]
struct Whole {
    #[phi(flatten = "a_")]
    a: Option<Country>,
    #[phi(flatten = "b_")]
    b: Phi<Country>,
}

// Their names are computed once.
#[derive(EncryptedPhi)]
#[phi(table = "t", unbound)]
struct Parameter<T: phield::Value> {
    #[phi(flatten)]
    country: T,
    value: Phi<T>,
}

fn main() {}
