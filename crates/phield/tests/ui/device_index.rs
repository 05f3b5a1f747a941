//! A device is asked over a network: with a device index there are no methods that could only fail.
use phield::{EncryptedPhi, Keyring, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Model {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "device-hmac-sha256"))]
    ssn: Phi<String>,
    #[phi(index)]
    mrn: Phi<String>,
}

fn seal(model: &Model, keyring: &Keyring) {
    let _ = model.seal(keyring);
}

fn seal_batch(models: &[Model], keyring: &Keyring) {
    let _ = Model::seal_batch(models, keyring);
}

fn query(keyring: &Keyring) {
    let _ = Model::ssn_index(keyring, "999-12-3456");
}

fn update(keyring: &Keyring, ssn: &Phi<String>) {
    let _ = Model::seal_ssn(keyring, &1, ssn);
}

// What does not need the device does not wait.
fn others(keyring: &Keyring, mrn: &Phi<String>) {
    let _ = Model::mrn_index(keyring, "1");
    let _ = Model::seal_mrn(keyring, &1, mrn);
    let _ = Model::mrn_index_async(keyring, "1");
}

fn main() {}
