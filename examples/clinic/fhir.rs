//! FHIR R4 Patient records, one JSON object a line (NDJSON).
//!
//! Taken are all names, identifiers, contact points and addresses, birth and death, the mother's maiden name and the
//! birth place. The model has no columns for the other elements (photo, contact, communication, race …): they are not
//! imported.

use phield::Phi;
use serde::Deserialize;

const MAIDEN_NAME_URL: &str = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName";
const BIRTH_PLACE_URL: &str = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace";
const SSN_SYSTEM: &str = "http://hl7.org/fhir/sid/us-ssn";

/// A line that cannot be imported: where, and what kind of mistake. Never what the line says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("line {line}, column {column}: {problem}; nothing was imported")]
    Json {
        line: usize,
        column: usize,
        problem: &'static str,
    },
    #[error("line {line}: not a Patient resource; nothing was imported")]
    NotAPatient { line: usize },
}

impl LineError {
    /// `serde_json` quotes values in its messages: only the place and the kind are taken over.
    fn json(line: usize, error: &serde_json::Error) -> Self {
        let problem = match error.classify() {
            serde_json::error::Category::Data => "valid JSON, but not in the form of a Patient resource",
            serde_json::error::Category::Eof => "the JSON ends too early",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "not valid JSON",
        };
        let column = error.column();
        Self::Json {
            line,
            column,
            problem,
        }
    }
}

/// A record and the number of its line, from 1.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) line: usize,
    pub(crate) resource: Resource,
}

/// Every record of a file; empty lines are skipped.
pub(crate) fn parse(input: &[u8]) -> Result<Vec<Record>, LineError> {
    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let lines = (1..).zip(input.split(|byte| *byte == b'\n'));
    lines
        .filter(|(_, text)| !text.trim_ascii().is_empty())
        .map(|(line, text)| Record::parse(line, text))
        .collect()
}

impl Record {
    fn parse(line: usize, text: &[u8]) -> Result<Self, LineError> {
        let resource: Resource =
            serde_json::from_slice(text).map_err(|error| LineError::json(line, &error))?;
        let is_patient = resource.resource_type == "Patient";
        is_patient
            .then_some(Self { line, resource })
            .ok_or(LineError::NotAPatient { line })
    }
}

/// A Patient resource: the elements that are taken.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resource {
    resource_type: String,
    pub(crate) id: Option<Phi<String>>,
    #[serde(default)]
    pub(crate) identifier: Vec<Identifier>,
    #[serde(default)]
    pub(crate) name: Vec<HumanName>,
    #[serde(default)]
    pub(crate) telecom: Vec<ContactPoint>,
    #[serde(default)]
    pub(crate) address: Vec<Address>,
    #[serde(default)]
    extension: Vec<Extension>,
    pub(crate) gender: Option<String>,
    pub(crate) birth_date: Option<Phi<String>>,
    deceased_boolean: Option<bool>,
    deceased_date_time: Option<Phi<String>>,
    pub(crate) marital_status: Option<Concept>,
}

impl Resource {
    pub(crate) fn deceased(&self) -> Option<Phi<String>> {
        let without_date = || {
            self.deceased_boolean
                .map(|deceased| Phi::new(deceased.to_string()))
        };
        self.deceased_date_time.clone().or_else(without_date)
    }

    pub(crate) fn mothers_maiden_name(&self) -> Option<&Phi<String>> {
        let mut extensions = self
            .extension
            .iter()
            .filter(|extension| extension.url == MAIDEN_NAME_URL);
        extensions.find_map(|extension| extension.value_string.as_ref())
    }

    pub(crate) fn birth_place(&self) -> Option<&Address> {
        let mut extensions = self
            .extension
            .iter()
            .filter(|extension| extension.url == BIRTH_PLACE_URL);
        extensions.find_map(|extension| extension.value_address.as_ref())
    }

    /// Every value that the import seals, each string by itself.
    pub(crate) fn sealed_values(&self) -> impl Iterator<Item = &Phi<String>> {
        let names = self.name.iter().flat_map(HumanName::parts);
        let identifiers = self
            .identifier
            .iter()
            .filter_map(|identifier| identifier.value.as_ref());
        let contacts = self.telecom.iter().filter_map(|contact| contact.value.as_ref());
        let addresses = self
            .address
            .iter()
            .chain(self.birth_place())
            .flat_map(Address::parts);
        let others = [&self.id, &self.birth_date, &self.deceased_date_time]
            .into_iter()
            .flatten();
        names
            .chain(identifiers)
            .chain(contacts)
            .chain(addresses)
            .chain(others)
            .chain(self.mothers_maiden_name())
    }

    /// The social security number.
    pub(crate) fn ssn(&self) -> Option<&Phi<String>> {
        let mut ssns = self.identifier.iter().filter(|identifier| identifier.is("SS"));
        ssns.find_map(|ssn| ssn.value.as_ref())
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Identifier {
    r#type: Option<Concept>,
    pub(crate) system: Option<String>,
    pub(crate) value: Option<Phi<String>>,
}

impl Identifier {
    /// Whether it is of this type (HL7 v2 table 0203).
    pub(crate) fn is(&self, code: &str) -> bool {
        let by_system = code == "SS" && self.system.as_deref() == Some(SSN_SYSTEM);
        by_system
            || self
                .r#type
                .iter()
                .flat_map(Concept::codes)
                .any(|known| known == code)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Concept {
    #[serde(default)]
    coding: Vec<Coding>,
}

impl Concept {
    pub(crate) fn codes(&self) -> impl Iterator<Item = &str> {
        self.coding.iter().filter_map(|coding| coding.code.as_deref())
    }
}

#[derive(Debug, Deserialize)]
struct Coding {
    code: Option<String>,
}

/// A name. FHIR's lists of primitive values may hold null.
#[derive(Debug, Deserialize)]
pub(crate) struct HumanName {
    pub(crate) r#use: Option<String>,
    pub(crate) text: Option<Phi<String>>,
    pub(crate) family: Option<Phi<String>>,
    #[serde(default)]
    pub(crate) given: Vec<Option<Phi<String>>>,
    #[serde(default)]
    pub(crate) prefix: Vec<Option<Phi<String>>>,
    #[serde(default)]
    pub(crate) suffix: Vec<Option<Phi<String>>>,
}

impl HumanName {
    /// In the order of writing; the whole name as free text, if there is one, last.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Phi<String>> {
        let given = self.prefix.iter().chain(&self.given).flatten();
        given
            .chain(&self.family)
            .chain(self.suffix.iter().flatten())
            .chain(&self.text)
    }
}

/// A telephone number, an e-mail address …
#[derive(Debug, Deserialize)]
pub(crate) struct ContactPoint {
    pub(crate) value: Option<Phi<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    text: Option<Phi<String>>,
    #[serde(default)]
    line: Vec<Option<Phi<String>>>,
    city: Option<Phi<String>>,
    district: Option<Phi<String>>,
    pub(crate) state: Option<Phi<String>>,
    postal_code: Option<Phi<String>>,
    country: Option<Phi<String>>,
}

impl Address {
    /// In the order of writing; the whole address as free text, if there is one, last.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Phi<String>> {
        let place = [
            &self.city,
            &self.district,
            &self.state,
            &self.postal_code,
            &self.country,
            &self.text,
        ];
        self.line.iter().chain(place).flatten()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extension {
    url: String,
    value_string: Option<Phi<String>>,
    value_address: Option<Address>,
}
