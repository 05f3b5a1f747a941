//! The values and the binding of a part have the types that they have in the model; a part is not written.
use phield::{EncryptedPhi, Keyring, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Patient {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    name: Phi<String>,
}

// A value has its type.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct OtherType {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    name: Phi<i64>,
}

// The tenant is bound.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct NoTenant {
    #[phi(row_id)]
    id: i64,
    clinic: i64,
    name: Phi<String>,
}

// A sealed field is one of the model.
#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct Unknown {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    phone: Phi<String>,
}

#[derive(EncryptedPhi)]
#[phi(part_of = Patient)]
struct Contact {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    name: Phi<String>,
}

// A part is read alone.
fn seal(keyring: &Keyring, contact: &Contact) {
    let _ = contact.seal(keyring);
}

async fn insert(db: &sqlx::SqlitePool, contact: &SealedContact) {
    let _ = phield::sqlx::insert(db, contact).await;
}

fn main() {}
