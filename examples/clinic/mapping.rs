//! How a FHIR record becomes a row. A column holds the first value of its kind; the others are sealed together in
//! `other_names` and `other_identifiers`, one a line, and so are all phone numbers and all addresses. Nothing is lost.

use phield::Phi;
use uuid::Uuid;

use crate::fhir::{Address, HumanName, Identifier, Record};
use crate::model::Patient;

impl From<&Record> for Patient {
    fn from(Record { resource, .. }: &Record) -> Self {
        let mut names = Names::of(&resource.name);
        let name = names.first();
        let mut identifiers = Identifiers::of(&resource.identifier);
        Self {
            id: Uuid::now_v7(),
            fhir_id: resource.id.clone(),
            family_name: name.and_then(|name| name.family.clone()),
            given_names: name.and_then(|name| joined(name.given.iter().flatten(), " ")),
            titles: name.and_then(|name| joined(name.prefix.iter().chain(&name.suffix).flatten(), " ")),
            other_names: names.rest(name),
            ssn: identifiers.first("SS"),
            mrn: identifiers.first("MR"),
            licence: identifiers.first("DL"),
            passport: identifiers.first("PPN"),
            other_identifiers: identifiers.rest(),
            phone: joined(
                resource
                    .telecom
                    .iter()
                    .filter_map(|contact| contact.value.as_ref()),
                "\n",
            ),
            address: lines(resource.address.iter().filter_map(one_line)),
            birth_date: resource.birth_date.clone(),
            birth_place: resource.birth_place().and_then(one_line),
            deceased: resource.deceased(),
            mothers_maiden_name: resource.mothers_maiden_name().cloned(),
            gender: resource.gender.clone(),
            state: resource.address.iter().find_map(plain_state),
            marital_status: resource
                .marital_status
                .iter()
                .find_map(|status| status.codes().next().map(str::to_owned)),
        }
    }
}

/// The state of an address leaves the protected type here: it becomes a plain column.
fn plain_state(address: &Address) -> Option<String> {
    address.state.as_ref().map(|state| state.expose().clone())
}

/// The names of a patient, the one in use before former ones.
struct Names<'a>(Vec<&'a HumanName>);

impl<'a> Names<'a> {
    fn of(names: &'a [HumanName]) -> Self {
        let mut names: Vec<_> = names.iter().collect();
        names.sort_by_key(|name| match name.r#use.as_deref() {
            Some("official") => 0,
            Some("usual") => 1,
            Some("old" | "maiden") => 3,
            _ => 2,
        });
        Self(names)
    }

    fn first(&mut self) -> Option<&'a HumanName> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// The other names, and the free text of the one in use.
    fn rest(self, in_use: Option<&HumanName>) -> Option<Phi<String>> {
        let text = in_use.and_then(|name| name.text.clone());
        lines(
            text.into_iter()
                .chain(self.0.into_iter().filter_map(|name| joined(name.parts(), " "))),
        )
    }
}

/// The identifiers of a patient that have no column yet.
struct Identifiers<'a>(Vec<&'a Identifier>);

impl<'a> Identifiers<'a> {
    fn of(identifiers: &'a [Identifier]) -> Self {
        Self(
            identifiers
                .iter()
                .filter(|identifier| identifier.value.is_some())
                .collect(),
        )
    }

    /// Takes the first one of a type.
    fn first(&mut self, code: &str) -> Option<Phi<String>> {
        let position = self.0.iter().position(|identifier| identifier.is(code))?;
        self.0.remove(position).value.clone()
    }

    /// The others as `system|value`, the way FHIR searches for them.
    fn rest(self) -> Option<Phi<String>> {
        lines(self.0.into_iter().filter_map(|identifier| {
            let system = identifier.system.as_deref().unwrap_or_default();
            Some(Phi::new(format!(
                "{system}|{}",
                identifier.value.as_ref()?.expose()
            )))
        }))
    }
}

fn one_line(address: &Address) -> Option<Phi<String>> {
    joined(address.parts(), ", ")
}

fn lines(texts: impl Iterator<Item = Phi<String>>) -> Option<Phi<String>> {
    joined(texts.collect::<Vec<_>>().iter(), "\n")
}

fn joined<'a>(texts: impl Iterator<Item = &'a Phi<String>>, separator: &str) -> Option<Phi<String>> {
    let texts: Vec<&str> = texts.map(|text| text.expose().as_str()).collect();
    (!texts.is_empty()).then(|| Phi::new(texts.join(separator)))
}
