//! The parameters of a generic model are types and constants, and the derive sees which fields name them.
use phield::{EncryptedPhi, Phi};

// A model has no lifetimes.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Lifetime<'a> {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    state: &'a str,
}

// An alias over a parameter tells nothing.
type Sealed<T> = Phi<T>;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Alias<T: phield::Value> {
    #[phi(row_id)]
    id: i64,
    #[phi(sealed)]
    value: Sealed<T>,
}

fn main() {}
