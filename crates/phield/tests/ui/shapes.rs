//! A model is a struct with named fields, with something to seal.
use phield::{EncryptedPhi, Phi};

// A model has named fields.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct ShapeTuple(i64, Phi<String>);

// A model has fields.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct ShapeUnit;

// A model is a struct.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
enum ShapeEnum {
    A { name: Phi<String> },
}

// A model is a struct.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
union ShapeUnion {
    a: i64,
    b: u64,
}

// A model has something to seal.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct ShapeNoPhi {
    #[phi(row_id)]
    id: i64,
    name: String,
}

fn main() {}
