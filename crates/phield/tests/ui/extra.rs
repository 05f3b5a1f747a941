//! A field of a row with an `extra` is not sealed on its own; a tenant is not forgotten.
use phield::{EncryptedPhi, Keyring, Phi};

#[derive(EncryptedPhi)]
#[phi(table = "t")]
struct Order {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: i64,
    #[phi(extra)]
    revision: i64,
    #[phi(index)]
    drug: Phi<String>,
}

fn update(keyring: &Keyring, drug: &Phi<String>) {
    let _ = Order::seal_drug(keyring, &1, drug);
}

fn search(keyring: &Keyring) {
    let _ = Order::drug_index(keyring, "aspirin");
}

async fn find(db: &sqlx::SqlitePool, keyring: &Keyring) {
    let _ = Order::find_by_drug(db, keyring, "aspirin").await;
}

async fn fetch(db: &sqlx::SqlitePool, keyring: &Keyring) {
    let _ = Order::fetch(db, keyring, &1).await;
}

fn open(keyring: &Keyring, order: &SealedOrder) {
    let _ = Order::DRUG.open(keyring, &order.id, &order.drug);
}

fn main() {}
