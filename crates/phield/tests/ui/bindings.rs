//! What is bound into the tokens of a row is there once, readable, and known before the row is sealed.
use phield::{EncryptedPhi, Phi};

// A row belongs to one tenant.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct TenantTwice {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    #[phi(tenant)]
    hospital: i64,
    note: Phi<String>,
}

// A row has one `extra`.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct ExtraTwice {
    #[phi(row_id)]
    id: i64,
    #[phi(extra)]
    revision: i64,
    #[phi(extra)]
    version: i64,
    note: Phi<String>,
}

// A composite row id has eight columns at most.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct RowIdOfNine {
    #[phi(row_id)]
    a: i64,
    #[phi(row_id)]
    b: i64,
    #[phi(row_id)]
    c: i64,
    #[phi(row_id)]
    d: i64,
    #[phi(row_id)]
    e: i64,
    #[phi(row_id)]
    f: i64,
    #[phi(row_id)]
    g: i64,
    #[phi(row_id)]
    h: i64,
    #[phi(row_id)]
    i: i64,
    note: Phi<String>,
}

// Tenant and `extra` are not PHI.
type Name = Phi<String>;

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Sealed {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: Phi<String>,
    #[phi(extra)]
    revision: Option<Phi<i64>>,
    note: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct SealedByAlias {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant, sealed)]
    clinic: Name,
    #[phi(extra, sealed)]
    revision: Name,
    note: Phi<String>,
}

// Tenant and `extra` are always there.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Optional {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: Option<String>,
    #[phi(extra)]
    revision: Option<i64>,
    note: Phi<String>,
}

// What is bound is known before the row is sealed.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Generated {
    #[phi(row_id, generated)]
    id: i64,
    #[phi(tenant, generated)]
    clinic: i64,
    #[phi(subject, generated)]
    patient: i64,
    #[phi(extra, generated)]
    revision: i64,
    note: Phi<String>,
}

// Marks take no value.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Form {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant = "clinic")]
    clinic: i64,
    #[phi(extra = 1)]
    revision: i64,
    note: Phi<String>,
}

// What is bound is no sealed field.
#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Options {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant, pad = "none", max_len = 5)]
    clinic: i64,
    #[phi(extra, index, store = "text")]
    revision: i64,
    note: Phi<String>,
}

fn main() {}
