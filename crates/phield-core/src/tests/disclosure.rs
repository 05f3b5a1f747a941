//! Disclosures: recorded first, or not at all.

use std::sync::Mutex;

use static_assertions::{assert_impl_all, assert_not_impl_any};

use crate::column::Column;
use crate::disclosure::{Disclosed, Disclosure, DisclosureEvent, DisclosureRecorder, DisclosureRefused};
use crate::frame::Padding;
use crate::name::Purpose;
use crate::phi::{Phi, PlainColumn};

const NAME: Column<String, i64> = Column::new("patients", "name", Padding::Block16);
const PHONE: Column<String, i64> = Column::new("patients", "phone", Padding::Block16);
const NOTE: Column<String, i64> = Column::new("visits", "name", Padding::Block16);

assert_impl_all!(Disclosed<'static, String>: Send, Sync);
assert_not_impl_any!(Disclosed<'static, String>: Clone, std::fmt::Display, std::ops::Deref, AsRef<str>, PartialEq, std::hash::Hash, PlainColumn);
assert_impl_all!(Disclosure<'static>: Send, Sync);
assert_impl_all!(dyn DisclosureRecorder: Send, Sync);

/// Writes down what it is told, and then says what it was made with.
struct Recorder {
    lines: Mutex<Vec<String>>,
    answer: Result<(), DisclosureRefused>,
}

impl Recorder {
    fn new(answer: Result<(), DisclosureRefused>) -> Self {
        Self {
            lines: Mutex::default(),
            answer,
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl DisclosureRecorder for Recorder {
    fn record(&self, event: &DisclosureEvent<'_>) -> Result<(), DisclosureRefused> {
        let columns: Vec<_> = event
            .columns
            .iter()
            .map(|column| format!("{}.{} {}", column.table, column.column, column.values))
            .collect();
        let line = format!("{}: {}", event.purpose, columns.join(", "));
        self.lines.lock().unwrap().push(line);
        let shown = format!("{event:?}");
        assert!(!shown.contains("Ada") && !shown.contains("555"), "{shown}");
        self.answer
    }
}

#[test]
fn a_value_is_recorded_and_disclosed() {
    let recorder = Recorder::new(Ok(()));
    let disclosure = Disclosure::new(Purpose::TREATMENT, &recorder);
    let name = Phi::from("Ada");
    let disclosed = NAME.disclose(&name, &disclosure).unwrap();
    assert_eq!(
        format!("{disclosed:?} {disclosed:#?}"),
        "Disclosed(..) Disclosed(..)"
    );
    assert!(PHONE.disclose_optional(None, &disclosure).unwrap().is_none());
    assert!(
        PHONE
            .disclose_optional(Some(&name), &disclosure)
            .unwrap()
            .is_some()
    );
    assert_eq!(
        recorder.lines(),
        [
            "TREAT: patients.name 1",
            "TREAT: patients.phone 1",
            "TREAT: patients.phone 1"
        ]
    );
    assert_eq!(
        format!("{disclosure:?} {:?}", Disclosure::unrecorded(Purpose::RESEARCH)),
        "Disclosure { purpose: \"TREAT\", recorded: true } Disclosure { purpose: \"HRESCH\", recorded: false }"
    );
    assert_eq!(disclosure.purpose(), &Purpose::TREATMENT);
}

#[test]
fn a_view_is_one_event() {
    let recorder = Recorder::new(Ok(()));
    let disclosure = Disclosure::new(Purpose::from_static("front-desk"), &recorder);
    let rows = [
        (Phi::from("Ada"), None),
        (Phi::from("Bo"), Some(Phi::from("555"))),
    ];
    let list = disclosure.view(|view| {
        let row = |(name, phone): &_| {
            let _ = (
                view.disclose(&NAME, name),
                view.disclose_optional(&PHONE, Option::as_ref(phone)),
            );
        };
        rows.iter().for_each(row);
        view.disclose(&NOTE, &rows[0].0)
    });
    assert!(list.is_ok());
    assert_eq!(
        recorder.lines(),
        ["front-desk: patients.name 2, patients.phone 2, visits.name 1"]
    );
    // Nothing is disclosed, nothing is recorded.
    assert_eq!(disclosure.view(|_| 5), Ok(5));
    assert_eq!(recorder.lines().len(), 1);
}

#[test]
fn what_is_refused_is_not_disclosed() {
    let name = Phi::from("Ada");
    for refused in [DisclosureRefused::NotAllowed, DisclosureRefused::NotRecorded] {
        let recorder = Recorder::new(Err(refused));
        let disclosure = Disclosure::new(Purpose::PAYMENT, &recorder);
        assert_eq!(NAME.disclose(&name, &disclosure).unwrap_err(), refused);
        assert_eq!(
            NAME.disclose_optional(Some(&name), &disclosure).unwrap_err(),
            refused
        );
        assert_eq!(NAME.disclose_optional(None, &disclosure).unwrap_err(), refused);
        assert_eq!(
            disclosure.view(|view| view.disclose(&NAME, &name)).unwrap_err(),
            refused
        );
        assert_eq!(recorder.lines().len(), 4);
    }
}

#[test]
fn purposes_are_names() {
    for (purpose, code) in [
        (Purpose::TREATMENT, "TREAT"),
        (Purpose::EMERGENCY_TREATMENT, "ETREAT"),
        (Purpose::BREAK_THE_GLASS, "BTG"),
        (Purpose::PAYMENT, "HPAYMT"),
        (Purpose::COVERAGE, "COVERAGE"),
        (Purpose::OPERATIONS, "HOPERAT"),
        (Purpose::LEGAL, "HLEGAL"),
        (Purpose::PATIENT_REQUEST, "PATRQT"),
        (Purpose::PUBLIC_HEALTH, "PUBHLTH"),
        (Purpose::RESEARCH, "HRESCH"),
    ] {
        assert_eq!(purpose.as_str(), code);
    }
    assert!(Purpose::new("because Ada asked").is_err());
}

#[cfg(feature = "serde")]
mod serialised {
    use super::*;
    use crate::value::Json;

    fn json(value: &impl serde::Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn as_the_value() {
        let unrecorded = Disclosure::unrecorded(Purpose::TREATMENT);
        let name = Phi::from("Ada");
        assert_eq!(json(&NAME.disclose(&name, &unrecorded).unwrap()), r#""Ada""#);
        let absent: Phi<Option<i64>> = Phi::new(None);
        const WARDS: Column<Option<i64>, i64> = Column::new("patients", "ward", Padding::Block16);
        assert_eq!(json(&WARDS.disclose(&absent, &unrecorded).unwrap()), "null");
        let allergies = Phi::new(Json(vec!["latex".to_owned()]));
        const ALLERGIES: Column<Json<Vec<String>>, i64> =
            Column::new("patients", "allergies", Padding::Block16);
        assert_eq!(
            json(&ALLERGIES.disclose(&allergies, &unrecorded).unwrap()),
            r#"["latex"]"#
        );
        let view =
            unrecorded.view(|view| (view.disclose(&NAME, &name), view.disclose_optional(&PHONE, None)));
        assert_eq!(json(&view.unwrap()), r#"["Ada",null]"#);
    }

    /// Neither while the view is built, nor after it was refused.
    #[test]
    fn only_what_was_recorded() {
        let name = Phi::from("Ada");
        let refusing = Recorder::new(Err(DisclosureRefused::NotRecorded));
        let mut kept = Vec::new();
        let refused = Disclosure::new(Purpose::TREATMENT, &refusing).view(|view| {
            let disclosed = view.disclose(&NAME, &name);
            let error = serde_json::to_string(&disclosed).unwrap_err().to_string();
            assert!(
                error.contains("nothing was disclosed") && !error.contains("Ada"),
                "{error}"
            );
            kept.push(disclosed);
        });
        assert!(refused.is_err());
        assert!(serde_json::to_string(&kept).is_err());

        let recorder = Recorder::new(Ok(()));
        let view = Disclosure::new(Purpose::TREATMENT, &recorder).view(|view| {
            let early = serde_json::to_string(&view.disclose(&NAME, &name));
            assert!(early.is_err());
            view.disclose(&NAME, &name)
        });
        assert_eq!(serde_json::to_string(&view.unwrap()).unwrap(), r#""Ada""#);
    }
}
