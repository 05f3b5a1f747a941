//! The model whose values are the markers, with one field of every way to seal a text.
#![allow(
    clippy::exhaustive_structs,
    reason = "a model has the columns that its table has"
)]

use phield::{EncryptedPhi, Erase, Json, Phi, PhiValue};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Markers;

/// A patient.
#[derive(Debug, Clone, PartialEq, EncryptedPhi, Deserialize)]
#[phi(
    table = "patients",
    index(name = "name_email", on(name = "name", email = "exact"))
)]
pub struct Patient {
    /// Bound into every token.
    #[phi(row_id)]
    pub id: Uuid,
    /// In a compound index.
    pub name: Phi<String>,
    /// Unique.
    #[phi(index(normalize = "ssn"))]
    pub ssn: Phi<String>,
    /// The same number again, found by a slow index.
    #[phi(index(normalize = "digits", algorithm = "argon2id-m65536-t3-p1"))]
    pub licence: Phi<Licence>,
    /// In a compound index, absent in the clear.
    pub email: Option<Phi<String>>,
    /// In a TEXT column; absence is encrypted.
    #[phi(store = "text")]
    pub note: Phi<Option<String>>,
    /// A document with a text in it.
    pub document: Phi<Json<Document>>,
    /// Not PHI: a plain column.
    pub clinic: i64,
}

/// A value of an application's own type.
#[derive(Debug, Clone, PartialEq, PhiValue, Deserialize)]
pub struct Licence(pub String);

/// A structured value.
#[derive(Debug, Clone, PartialEq, Erase, Serialize, Deserialize)]
pub struct Document {
    /// Text.
    pub text: String,
    /// More of it.
    pub lines: Vec<String>,
}

impl Patient {
    /// A patient with these values.
    #[must_use]
    pub fn new(markers: &Markers) -> Self {
        let document = Document {
            text: markers.text.clone(),
            lines: vec![markers.name.clone(), markers.email.clone()],
        };
        Self {
            id: Uuid::now_v7(),
            name: Phi::from(markers.name.as_str()),
            ssn: Phi::from(markers.ssn.as_str()),
            licence: Phi::new(Licence(markers.ssn.clone())),
            email: Some(Phi::from(markers.email.as_str())),
            note: Phi::new(Some(markers.text.clone())),
            document: Phi::new(Json(document)),
            clinic: 7,
        }
    }
}
