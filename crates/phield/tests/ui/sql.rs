//! What the model says about SQL: names, types, sizes, generated columns.
use phield::{EncryptedPhi, Phi};

// A sealed column has the type of its storage, and is never filled by the database.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct OfPlainColumns {
    #[phi(row_id)]
    id: i64,
    #[phi(sql_type = "TEXT")]
    name: Phi<String>,
    #[phi(generated)]
    note: Option<Phi<String>>,
}

// The size of a plain column is in its type.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct MaxLenOfPlainColumn {
    #[phi(row_id)]
    id: i64,
    #[phi(max_len = 20)]
    state: String,
    name: Phi<String>,
}

// Values have a size, and one that the format can hold.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct MaxLenOutOfRange {
    #[phi(row_id)]
    id: i64,
    #[phi(max_len = 0)]
    nothing: Phi<String>,
    #[phi(max_len = 16777217)]
    much: Phi<String>,
    #[phi(max_len = "20")]
    text: Phi<String>,
}

// Values that share index values are not unique.
#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(ssn = "ssn", name = "name"), bits = 255, unique))]
struct UniqueTruncated {
    #[phi(row_id)]
    id: i64,
    #[phi(index(bits = 12, unique))]
    ssn: Phi<String>,
    #[phi(index(unique = "yes"))]
    name: Phi<String>,
}

// Names are written between quotes.
#[derive(EncryptedPhi)]
#[phi(table = "t", sql_name = "t\"t")]
struct NameWithQuotes {
    #[phi(row_id, sql_name = "i`d")]
    id: i64,
    #[phi(sql_name = "", index(sql_name = "na\"me"))]
    name: Phi<String>,
}

// A column stands once in SQL.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NameTwice {
    #[phi(row_id)]
    id: i64,
    #[phi(sql_name = "Name")]
    first: Phi<String>,
    #[phi(sql_name = "name")]
    second: String,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct NameTwiceByIndex {
    #[phi(row_id)]
    id: i64,
    #[phi(index(sql_name = "note"))]
    name: Phi<String>,
    note: Phi<String>,
}

// Flags take no value.
#[derive(EncryptedPhi)]
#[phi(table = "t", serde = "yes")]
struct Form {
    #[phi(row_id)]
    id: i64,
    #[phi(generated = "always", sql_type)]
    serial: i64,
    name: Phi<String>,
}

fn main() {}
