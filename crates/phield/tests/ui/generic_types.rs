//! The rules hold for what stands in the place of a parameter.
use phield::{EncryptedPhi, Keyring, Phi, Value};

#[derive(Clone, EncryptedPhi)]
#[phi(table = "t")]
struct Model<T: Value, K, M> {
    #[phi(row_id)]
    id: K,
    value: Phi<T>,
    meta: M,
}

// A plain column holds no `Phi`.
fn phi(keyring: &Keyring, model: &Model<String, i64, Phi<String>>) {
    let _ = model.seal(keyring);
}

// A row id is one.
fn row_id(keyring: &Keyring, model: &Model<String, f64, i64>) {
    let _ = model.seal(keyring);
}

fn main() {}
