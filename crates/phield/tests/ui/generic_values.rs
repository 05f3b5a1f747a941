//! What depends on the values of a parameter is checked where the model is sealed with them.
use phield::{AppName, EncryptedPhi, Keyring, Phi, Value};

//
#[derive(Clone, EncryptedPhi)]
#[phi(table = "t", unbound)]
struct Unpadded<T: Value> {
    #[phi(pad = "none")]
    value: Phi<T>,
}

//
#[derive(Clone, EncryptedPhi)]
#[phi(table = "t", unbound)]
struct Indexed<T: Value> {
    #[phi(index)]
    value: Phi<T>,
}

// A normalizer takes the values of its field.
#[derive(Clone, EncryptedPhi)]
#[phi(table = "t", unbound)]
struct Normalized<T: Value> {
    #[phi(index(normalize = "ssn"))]
    value: Phi<T>,
}

fn main() {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let _ = Unpadded { value: Phi::new("text".to_owned()) }.seal(&keyring);
    let _ = Unpadded { value: Phi::new(true) }.seal(&keyring);
    let _ = Indexed { value: Phi::new(true) }.seal(&keyring);
    let _ = Normalized { value: Phi::new(5_i64) }.seal(&keyring);
}
