//! Serde through the facade: `#[phi(serde)]`, and disclosures of a model.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]
#![cfg(all(feature = "derive", feature = "serde"))]

use phield::{
    AppName, Disclosed, Disclosure, DisclosureEvent, DisclosureRecorder, DisclosureRefused, EncryptedPhi,
    Json, Keyring, Phi, Purpose,
};

#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "patients", serde)]
struct Patient {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name"))]
    name: Phi<String>,
    #[phi(store = "text")]
    allergies: Phi<Json<Vec<String>>>,
    phone: Option<Phi<String>>,
    clinic: i64,
}

fn ada() -> Patient {
    Patient {
        id: 7,
        name: "Ada".into(),
        allergies: Json(vec!["latex".to_owned()]).into(),
        phone: None,
        clinic: 3,
    }
}

#[test]
fn a_row_goes_through_json_and_cbor_and_opens() {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let columns = ada().seal(&keyring).unwrap();
    let json = serde_json::to_string(&columns).unwrap();
    assert!(!json.contains("Ada") && !json.contains("latex"), "{json}");
    let mut cbor = Vec::new();
    ciborium::into_writer(&columns, &mut cbor).unwrap();
    let read: [SealedPatient; 2] = [
        serde_json::from_str(&json).unwrap(),
        ciborium::from_reader(cbor.as_slice()).unwrap(),
    ];
    for sealed in read {
        assert!(
            Patient::name_index(&keyring, "ADA")
                .unwrap()
                .contains(&sealed.name_index)
        );
        let opened = sealed.open(&keyring).unwrap();
        assert_eq!(
            (opened.id, opened.name, opened.allergies, opened.clinic),
            (7, ada().name, ada().allergies, 3)
        );
    }
}

#[derive(serde::Serialize)]
struct PatientView<'v> {
    id: i64,
    name: Disclosed<'v, String>,
    allergies: Disclosed<'v, Json<Vec<String>>>,
    phone: Option<Disclosed<'v, String>>,
}

struct Policy;

impl DisclosureRecorder for Policy {
    fn record(&self, event: &DisclosureEvent<'_>) -> Result<(), DisclosureRefused> {
        let asked: Vec<_> = event
            .columns
            .iter()
            .map(|column| column.column.as_str())
            .collect();
        assert_eq!(asked, ["name", "allergies", "phone"]);
        if *event.purpose == Purpose::TREATMENT {
            Ok(())
        } else {
            Err(DisclosureRefused::NotAllowed)
        }
    }
}

#[test]
fn a_model_is_disclosed() {
    let patient = ada();
    let answer = |purpose| {
        let view = Disclosure::new(purpose, &Policy).view(|view| PatientView {
            id: patient.id,
            name: view.disclose(&Patient::NAME, &patient.name),
            allergies: view.disclose(&Patient::ALLERGIES, &patient.allergies),
            phone: view.disclose_optional(&Patient::PHONE, patient.phone.as_ref()),
        })?;
        Ok::<_, DisclosureRefused>(serde_json::to_string(&view).unwrap())
    };
    assert_eq!(
        answer(Purpose::TREATMENT).unwrap(),
        r#"{"id":7,"name":"Ada","allergies":["latex"],"phone":null}"#
    );
    assert_eq!(answer(Purpose::PAYMENT), Err(DisclosureRefused::NotAllowed));
}
