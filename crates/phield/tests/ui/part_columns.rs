//! The columns of a part are columns of its model, of the same types and in the same form.
use phield::{EncryptedPhi, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Patient {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    number: i64,
    #[phi(index, sql_name = "full_name")]
    name: Phi<String>,
    #[phi(store = "text")]
    phone: Option<Phi<String>>,
}

// A sealed column is not read as a plain one.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct Forgotten {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    #[phi(sql_name = "full_name")]
    name: Phi<String>,
    phone: Option<String>,
}

// Nor is an index column, or one that is not there.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct Unknown {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    #[phi(sql_name = "full_name")]
    name: Phi<String>,
    name_index: Vec<u8>,
    state: String,
}

// The name in SQL is the one of the field.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct OtherName {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    name: Phi<String>,
    #[phi(sql_name = "full_name", store = "text")]
    phone: Option<Phi<String>>,
}

// Storage and absence are as in the model.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct OtherForm {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    #[phi(sql_name = "full_name")]
    name: Option<Phi<String>>,
    phone: Option<Phi<String>>,
}

// Rows are bound as in the model, by the same columns.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct OtherRowId {
    #[phi(row_id)]
    number: i64,
    #[phi(tenant)]
    clinic: i64,
    #[phi(sql_name = "full_name")]
    name: Phi<String>,
}

fn main() {}
