//! A subject is an integer, a UUID, text or bytes.
use phield::{EncryptedPhi, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t", unbound)]
struct Model {
    #[phi(subject)]
    patient: f64,
    name: Phi<String>,
}

fn main() {}
