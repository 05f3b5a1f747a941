//! What is timed on one row and one field, on both sides.

use phield::{Keyring, Phi, Sealed};

use crate::by_hand::ByHand;
use crate::models::{Patient, SealedPatient, TEXT, keyring, patient};

pub(crate) struct Work {
    keyring: Keyring,
    patient: Patient,
    pub(crate) short: Phi<String>,
    pub(crate) long: Phi<String>,
    pub(crate) hand: ByHand,
}

impl Work {
    pub(crate) fn new() -> Self {
        let patient = patient(0);
        Self {
            keyring: keyring(),
            hand: ByHand::new(*patient.id.as_bytes(), TEXT),
            patient,
            short: Phi::from(TEXT),
            long: Phi::new("x".repeat(4096)),
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
