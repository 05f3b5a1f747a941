//! The columns of a patient by name, for the screen, the control database and the comparison with the input.

use phield::Phi;

use crate::model::Patient;

impl Patient {
    /// The sealed columns, in the order of the table.
    pub(crate) fn sealed_columns(&self) -> [(&'static str, Option<&Phi<String>>); 16] {
        [
            ("fhir_id", self.fhir_id.as_ref()),
            ("family_name", self.family_name.as_ref()),
            ("given_names", self.given_names.as_ref()),
            ("titles", self.titles.as_ref()),
            ("other_names", self.other_names.as_ref()),
            ("ssn", self.ssn.as_ref()),
            ("mrn", self.mrn.as_ref()),
            ("licence", self.licence.as_ref()),
            ("passport", self.passport.as_ref()),
            ("other_identifiers", self.other_identifiers.as_ref()),
            ("phone", self.phone.as_ref()),
            ("address", self.address.as_ref()),
            ("birth_date", self.birth_date.as_ref()),
            ("birth_place", self.birth_place.as_ref()),
            ("deceased", self.deceased.as_ref()),
            ("mothers_maiden_name", self.mothers_maiden_name.as_ref()),
        ]
    }

    /// The plain columns, in the order of the table.
    pub(crate) fn plain_columns(&self) -> [(&'static str, Option<&str>); 3] {
        [
            ("gender", self.gender.as_deref()),
            ("state", self.state.as_deref()),
            ("marital_status", self.marital_status.as_deref()),
        ]
    }

    /// Whether both say the same about a patient. Row ids are made anew by every import.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.sealed_columns() == other.sealed_columns() && self.plain_columns() == other.plain_columns()
    }
}
