//! What is flattened is an embedded struct.
use phield::{EncryptedPhi, Phi};

#[derive(Clone)]
struct NotEmbedded {
    street: String,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct OfNotEmbedded {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
    #[phi(flatten)]
    address: NotEmbedded,
}

fn main() {}
