//! A row id is an integer, a UUID, text or bytes.
use phield::{EncryptedPhi, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Model {
    #[phi(row_id)]
    id: f64,
    name: Phi<String>,
}

fn main() {}
