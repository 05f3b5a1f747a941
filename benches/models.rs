//! What is measured: a model of eight sealed text fields, three of them indexed.

use phield::{AppName, EncryptedPhi, Keyring, Phi, Sealed};
use uuid::Uuid;

use crate::by_hand::ByHand;

pub(crate) const APP: &str = "bench";
pub(crate) const TABLE: &str = "patients";
pub(crate) const COLUMNS: [&str; 8] = [
    "name",
    "ssn",
    "mrn",
    "phone",
    "email",
    "street",
    "city",
    "birth_date",
];

/// A row of eight sealed fields, three of them indexed, as a user writes it.
#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "patients")]
pub(crate) struct Patient {
    #[phi(row_id)]
    id: Uuid,
    #[phi(index(normalize = "exact"))]
    name: Phi<String>,
    #[phi(index(normalize = "exact"))]
    ssn: Phi<String>,
    #[phi(index(normalize = "exact"))]
    mrn: Phi<String>,
    phone: Phi<String>,
    email: Phi<String>,
    street: Phi<String>,
    city: Phi<String>,
    birth_date: Phi<String>,
}

pub(crate) struct Work {
    keyring: Keyring,
    patient: Patient,
    pub(crate) short: Phi<String>,
    pub(crate) long: Phi<String>,
    pub(crate) hand: ByHand,
}

impl Work {
    pub(crate) fn new() -> Self {
        let text = "a value of 24 characters";
        let value = || Phi::from(text);
        let id = Uuid::now_v7();
        let patient = Patient {
            id,
            name: value(),
            ssn: value(),
            mrn: value(),
            phone: value(),
            email: value(),
            street: value(),
            city: value(),
            birth_date: value(),
        };
        Self {
            keyring: Keyring::ephemeral(AppName::from_static(APP)).expect("the system has randomness"),
            patient,
            short: value(),
            long: Phi::new("x".repeat(4096)),
            hand: ByHand::new(*id.as_bytes(), text),
        }
    }

    pub(crate) fn seal_row(&self) -> SealedPatient {
        self.patient.seal(&self.keyring).expect("the row can be sealed")
    }

    pub(crate) fn open_row(&self, row: SealedPatient) -> Patient {
        row.open(&self.keyring).expect("the row opens")
    }

    pub(crate) fn seal_field(&self, value: &Phi<String>) -> Sealed<String> {
        Patient::seal_phone(&self.keyring, &self.patient.id, value).expect("the field can be sealed")
    }

    pub(crate) fn open_field(&self, sealed: &Sealed<String>) -> Phi<String> {
        Patient::PHONE
            .open(&self.keyring, &self.patient.id, sealed)
            .expect("the field opens")
    }
}
