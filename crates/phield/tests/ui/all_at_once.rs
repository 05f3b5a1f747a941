//! Every mistake is reported at once.
use phield::{EncryptedPhi, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "my table", tabel = "t")]
struct Model {
    #[phi(pad = "fixed(1)", store = "json")]
    name: Phi<String>,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<i64>,
    #[phi(pad = "none")]
    hiv_status: Phi<bool>,
    names: Vec<Phi<String>>,
}

fn uses_it(model: &Model, keyring: &phield::Keyring) -> Option<Model> {
    let sealed: SealedModel = model.seal(keyring).ok()?;
    sealed.open(keyring).ok()
}

fn main() {}
