//! A part of a model is read, and has what the model says from the model.
use phield::{EncryptedPhi, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Patient {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

// A part names its model, by its path.
#[derive(EncryptedPhi)]
#[phi(part_of = "Patient")]
struct Text {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

// A part has the table and the indexes of its model.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient, table = "t", sql_name = "patients", index(name = "both", on(id = "exact", name = "name")))]
struct Table {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

// The model says how a column is sealed.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct Sealed {
    #[phi(row_id)]
    id: i64,
    #[phi(column = "full-name")]
    name: Phi<String>,
    #[phi(pad = "none")]
    padded: Phi<String>,
    #[phi(max_len = 5)]
    sized: Phi<String>,
    #[phi(index)]
    indexed: Phi<String>,
}

// The model says what SQL knows.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct Plain {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    #[phi(sql_type = "TEXT")]
    state: String,
    #[phi(generated)]
    serial: i64,
}

// A part is not embedded, and flattens nothing.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient, embedded)]
struct Embedded {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct Flattens {
    #[phi(row_id)]
    id: i64,
    #[phi(flatten)]
    address: Address,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(embedded)]
struct Address {
    street: Phi<String>,
}

// A part reads something sealed, and knows what its rows are bound to.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct NothingSealed {
    #[phi(row_id)]
    id: i64,
}

#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct NoRowId {
    name: Phi<String>,
}

fn main() {}
