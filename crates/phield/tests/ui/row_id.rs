//! A model names its table and its row id.
use phield::{EncryptedPhi, Phi};

// A model names its table.
#[derive(EncryptedPhi)]
#[phi()]
struct TableMissing {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

// A model has a row id, or says that it has none.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct RowIdMissing {
    name: Phi<String>,
}

// A row is bound to its id, or not.
#[derive(EncryptedPhi)]
#[phi(table = "t", unbound)]
struct RowIdAndUnbound {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
}

// Every part of a composite row id is bound, or none is.
#[derive(EncryptedPhi)]
#[phi(table = "t", unbound)]
struct CompositeAndUnbound {
    #[phi(row_id)]
    id: i64,
    #[phi(row_id)]
    second: i64,
    name: Phi<String>,
}

// No part of a composite row id is PHI, or optional.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct CompositePhi {
    #[phi(row_id)]
    id: i64,
    #[phi(row_id)]
    second: Phi<i64>,
    #[phi(row_id)]
    third: Option<i64>,
    name: Phi<String>,
}

// A row id is not PHI.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct RowIdPhi {
    #[phi(row_id)]
    id: Phi<i64>,
    name: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct RowIdPhiByAlias {
    #[phi(row_id, sealed)]
    id: RowIdPhiPhiId,
    name: Phi<String>,
}

type RowIdPhiPhiId = Phi<i64>;

// A row id is always there.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct RowIdOption {
    #[phi(row_id)]
    id: Option<i64>,
    name: Phi<String>,
}

fn main() {}
