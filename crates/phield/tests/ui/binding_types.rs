//! Tenants and `extra`s are of types that can be one; what is sealed with an `extra` is sealed as a row.
use phield::{EncryptedPhi, Phi};

// A tenant has a name.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct TenantType {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: f64,
    note: Phi<String>,
}

// An `extra` is an integer, a UUID, text or bytes.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct ExtraType {
    #[phi(row_id)]
    id: i64,
    #[phi(extra)]
    revision: f64,
    note: Phi<String>,
}

fn main() {}
