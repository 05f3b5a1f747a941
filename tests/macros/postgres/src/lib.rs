//! A model of phield in the checked macros of sqlx, on PostgreSQL.
//!
//! What the macros know of the database is in `.sqlx`, which `cargo xtask sqlx` writes after a change here or in
//! `schema.sql`. The other databases have the same queries beside this folder.
#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::missing_errors_doc, reason = "for the test")]
#![allow(
    clippy::exhaustive_structs,
    reason = "`query_as!` builds the columns of a model by their names"
)]

use phield::sqlx::Error;
use phield::{EncryptedPhi, Keyring, Phi, Sealed};
use uuid::Uuid;

type Pool = sqlx::Pool<sqlx::Postgres>;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
pub struct Patient {
    #[phi(row_id)]
    pub id: Uuid,
    pub name: Phi<String>,
    #[phi(index(normalize = "ssn"))]
    pub ssn: Phi<String>,
    #[phi(store = "text")]
    pub note: Option<Phi<String>>,
    pub clinic: i64,
}

/// `query!` that writes a row. `as _` says that a column's type is phield's, not the one that the database suggests.
pub async fn insert(pool: &Pool, keyring: &Keyring, patient: &Patient) -> Result<(), Error> {
    let SealedPatient {
        id,
        name,
        ssn,
        ssn_index,
        note,
        clinic,
    } = patient.seal(keyring)?;
    let insert = sqlx::query!(
        "INSERT INTO patients (id, name, ssn, ssn_index, note, clinic) VALUES ($1, $2, $3, $4, $5, $6)",
        id as _,
        name as _,
        ssn as _,
        ssn_index as _,
        note as _,
        clinic
    );
    insert.execute(pool).await?;
    Ok(())
}

/// `query_as!` that builds the columns of the model, found by their index.
pub async fn find_by_ssn(pool: &Pool, keyring: &Keyring, ssn: &str) -> Result<Vec<Patient>, Error> {
    let [first, second] = Patient::ssn_index(keyring, ssn)?;
    let rows = sqlx::query_as!(
        SealedPatient,
        r#"SELECT id AS "id: _", name AS "name: _", ssn AS "ssn: _", ssn_index AS "ssn_index: _", note AS "note: _", clinic
           FROM patients WHERE ssn_index IN ($1, $2) ORDER BY clinic"#,
        first as _,
        second as _
    );
    Ok(SealedPatient::open_batch(rows.fetch_all(pool).await?, keyring)?)
}

/// `query_scalar!` of one column of the model.
pub async fn name(pool: &Pool, keyring: &Keyring, id: Uuid) -> Result<Phi<String>, Error> {
    let name = sqlx::query_scalar!(
        r#"SELECT name AS "name: Sealed<String>" FROM patients WHERE id = $1"#,
        id as _
    );
    Ok(Patient::NAME.open(keyring, &id, &name.fetch_one(pool).await?)?)
}

/// `query!` with columns of the model and of one's own in a record, and `query!` that writes one field.
pub async fn change_note(pool: &Pool, keyring: &Keyring, id: Uuid, note: &str) -> Result<i64, Error> {
    let note = Patient::seal_note(keyring, &id, &Some(note.into()))?;
    let update = sqlx::query!("UPDATE patients SET note = $1 WHERE id = $2", note as _, id as _);
    update.execute(pool).await?;
    let record = sqlx::query!(
        r#"SELECT note AS "note: phield::SealedText<String>", clinic FROM patients WHERE id = $1"#,
        id as _
    );
    let record = record.fetch_one(pool).await?;
    if let Some(note) = &record.note {
        Patient::NOTE.open(keyring, &id, note)?;
    }
    Ok(record.clinic)
}
