//! The model: which values are health data, what is searched, what stays readable.

use phield::{EncryptedPhi, Phi};
use uuid::Uuid;

/// One row of the table `patients`.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(
    table = "patients",
    index(name = "family_birth_date", on(family_name = "name", birth_date = "date"))
)]
pub(crate) struct Patient {
    #[phi(row_id)]
    pub(crate) id: Uuid, // a UUIDv7 of our own: the FHIR id can be a record number, and is sealed
    pub(crate) fhir_id: Option<Phi<String>>,
    pub(crate) family_name: Option<Phi<String>>,
    pub(crate) given_names: Option<Phi<String>>,
    pub(crate) titles: Option<Phi<String>>,
    pub(crate) other_names: Option<Phi<String>>,
    #[phi(index(normalize = "ssn"))]
    pub(crate) ssn: Option<Phi<String>>,
    #[phi(index(normalize = "exact"))]
    pub(crate) mrn: Option<Phi<String>>,
    pub(crate) licence: Option<Phi<String>>,
    pub(crate) passport: Option<Phi<String>>,
    pub(crate) other_identifiers: Option<Phi<String>>,
    pub(crate) phone: Option<Phi<String>>,
    pub(crate) address: Option<Phi<String>>,
    pub(crate) birth_date: Option<Phi<String>>, // text: FHIR allows the year alone
    pub(crate) birth_place: Option<Phi<String>>,
    pub(crate) deceased: Option<Phi<String>>,
    pub(crate) mothers_maiden_name: Option<Phi<String>>,
    pub(crate) gender: Option<String>, // from here on not PHI on their own: plain columns
    pub(crate) state: Option<String>,
    pub(crate) marital_status: Option<String>,
}
