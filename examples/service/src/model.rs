//! The model: which values are health data, and what is searched.
#![allow(
    clippy::exhaustive_structs,
    reason = "a model has the columns that its table has"
)]

use phield::{EncryptedPhi, Phi};
use serde::Deserialize;
use uuid::Uuid;

/// A patient: one row of the table `patients`, and the body of `POST /patients`.
///
/// Its `Debug` shows no value, so that it can be logged whole.
#[derive(Debug, EncryptedPhi, Deserialize)]
#[serde(deny_unknown_fields)]
#[phi(table = "patients")]
pub struct Patient {
    /// Made here, never by the client.
    #[phi(row_id)]
    #[serde(skip_deserializing, default = "Uuid::now_v7")]
    pub id: Uuid,
    /// As one would write it on a letter.
    pub name: Phi<String>,
    /// Found with and without the hyphens.
    #[phi(index(normalize = "ssn"))]
    pub ssn: Phi<String>,
    /// SQL `NULL` when absent.
    pub phone: Option<Phi<String>>,
    /// Not PHI: a plain column.
    pub clinic: i64,
}
