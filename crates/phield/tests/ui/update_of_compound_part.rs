//! A part of a compound index is not sealed without the other parts.
use phield::{EncryptedPhi, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t", index(name = "both", on(name = "name", born = "date")))]
struct Model {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    born: Phi<String>,
}

fn update(keyring: &phield::Keyring, name: &Phi<String>) {
    let _ = Model::seal_name(keyring, &1, name);
}

fn main() {}
