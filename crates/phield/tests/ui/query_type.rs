//! An index is searched by the type of its column.
use phield::{EncryptedPhi, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Model {
    #[phi(row_id)]
    id: i64,
    #[phi(index)]
    mrn: Phi<i64>,
}

fn search(keyring: &phield::Keyring) {
    let _ = Model::mrn_index(keyring, "17");
}

fn main() {}
