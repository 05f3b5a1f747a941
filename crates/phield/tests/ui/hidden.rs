//! A `Phi` in another type is no sealed field.
use phield::{EncryptedPhi, Phi};

// A `Phi` in a collection is no sealed field.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct HiddenVec {
    #[phi(row_id)]
    id: i64,
    names: Vec<Phi<String>>,
}

// A `Phi` in a tuple is no sealed field.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct HiddenTuple {
    #[phi(row_id)]
    id: i64,
    names: (Phi<String>, i64),
}

// A `Phi` in two options is no sealed field.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct HiddenOption {
    #[phi(row_id)]
    id: i64,
    name: Option<Option<Phi<String>>>,
}

// One kind of absence is sealed.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct ValueNestedOption {
    #[phi(row_id)]
    id: i64,
    name: Phi<Option<Option<String>>>,
}

fn main() {}
