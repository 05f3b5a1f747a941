//! Models whose rows are bound to a person, and sealed under that person's key.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]
#![cfg(feature = "derive")]

use phield::{
    AppName, Binding, EncryptedPhi, Keyring, OfSubject, OpenError, Phi, SealError, Sealed, SubjectError,
    SubjectKeyMap, Unbound, UnderSubjectKey,
};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "visits",
    index(name = "note_code", on(note = "exact", code = "exact"))
)]
struct Visit {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    patient_id: Uuid,
    note: Phi<String>,
    code: Option<Phi<String>>,
    #[phi(index(normalize = "date"))]
    day: Phi<String>,
}

/// The same table, each row under its subject's key.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "visits", subject_keys)]
struct KeyedVisit {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    patient_id: Uuid,
    #[phi(index)]
    note: Phi<String>,
    code: Option<Phi<String>>,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "remarks", unbound)]
struct Remark {
    #[phi(subject)]
    patient: String,
    text: Phi<String>,
}

/// The row is the person.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients", subject_keys)]
struct Patient {
    #[phi(row_id, subject)]
    id: i64,
    name: Phi<String>,
}

const ADA: Uuid = Uuid::from_u128(1);
const EVE: Uuid = Uuid::from_u128(2);

fn keyring() -> Keyring {
    Keyring::ephemeral(AppName::from_static("emr")).unwrap()
}

fn visit(patient_id: Uuid) -> Visit {
    Visit {
        id: 1,
        patient_id,
        note: "cough".into(),
        code: Some("R05".into()),
        day: "2026-01-31".into(),
    }
}

fn keyed_visit(id: i64, patient_id: Uuid) -> KeyedVisit {
    KeyedVisit {
        id,
        patient_id,
        note: "cough".into(),
        code: None,
    }
}

#[test]
fn a_row_opens_for_its_own_person_only() {
    let keyring = keyring();
    let sealed = visit(ADA).seal(&keyring).unwrap();
    assert_eq!(sealed.clone().open(&keyring).unwrap(), visit(ADA));
    let reassigned = SealedVisit {
        patient_id: EVE,
        ..sealed
    };
    assert_eq!(reassigned.open(&keyring).unwrap_err(), OpenError::Authentication);
    let moved = SealedVisit {
        id: 2,
        ..visit(ADA).seal(&keyring).unwrap()
    };
    assert_eq!(moved.open(&keyring).unwrap_err(), OpenError::Authentication);
    // Whose a row is does not change how it is found.
    let (ada, eve) = (
        visit(ADA).seal(&keyring).unwrap(),
        visit(EVE).seal(&keyring).unwrap(),
    );
    assert_eq!(
        (ada.day_index, ada.note_code_index),
        (eve.day_index, eve.note_code_index)
    );
}

#[test]
fn one_column_takes_the_row_and_its_person() {
    let keyring = keyring();
    let sealed = visit(ADA).seal(&keyring).unwrap();
    let of = |subject| OfSubject { row: 1, subject };
    assert_eq!(
        Visit::DAY.open(&keyring, &of(ADA), &sealed.day).unwrap().expose(),
        "2026-01-31"
    );
    assert_eq!(
        Visit::DAY.open(&keyring, &of(EVE), &sealed.day).unwrap_err(),
        OpenError::Authentication
    );
    let (day, day_index) = Visit::seal_day(&keyring, &of(ADA), &"2026-02-01".into()).unwrap();
    let SealedVisitNoteCode {
        note,
        code,
        note_code_index,
    } = Visit::seal_note_code(&keyring, &of(ADA), &"fever".into(), &None).unwrap();
    assert!(note_code_index.is_none());
    let updated = SealedVisit {
        day,
        day_index,
        note,
        code,
        note_code_index,
        ..sealed
    };
    let opened = updated.open(&keyring).unwrap();
    assert_eq!(
        (opened.day.expose().as_str(), opened.note.expose().as_str()),
        ("2026-02-01", "fever")
    );
}

#[test]
fn an_unbound_row_is_bound_to_its_person() {
    let keyring = keyring();
    let remark = Remark {
        patient: "ada".to_owned(),
        text: "first".into(),
    };
    let sealed = remark.seal(&keyring).unwrap();
    let row = OfSubject {
        row: Unbound,
        subject: "ada".to_owned(),
    };
    let text: Sealed<String> = Remark::seal_text(&keyring, &row, &"second".into()).unwrap();
    let moved = SealedRemark {
        text,
        ..sealed.clone()
    };
    assert_eq!(moved.open(&keyring).unwrap().text.expose(), "second");
    let reassigned = SealedRemark {
        patient: "eve".to_owned(),
        ..sealed
    };
    assert_eq!(reassigned.open(&keyring).unwrap_err(), OpenError::Authentication);
}

#[test]
fn the_schema_says_whose_a_row_is() {
    let of = |schema: phield::Schema| (schema.binding, schema.subject, schema.subject_keys);
    assert_eq!(
        of(Visit::SCHEMA),
        (Binding::RowId(&["id"]), Some("patient_id"), false)
    );
    assert_eq!(
        of(KeyedVisit::SCHEMA),
        (Binding::RowId(&["id"]), Some("patient_id"), true)
    );
    assert_eq!(of(Remark::SCHEMA), (Binding::Unbound, Some("patient"), false));
    assert_eq!(of(Patient::SCHEMA), (Binding::RowId(&["id"]), Some("id"), true));
}

#[test]
fn rows_under_subject_keys_need_them() {
    let keyring = keyring();
    let mut subjects = SubjectKeyMap::new();
    let secret = keyring.new_subject_secret(None, &ADA).unwrap();
    subjects.insert(&keyring, None, &ADA, Some(&secret)).unwrap();
    let keys = keyring.with_subjects(&subjects);

    let rows = [keyed_visit(1, ADA), keyed_visit(2, ADA)];
    let sealed = KeyedVisit::seal_batch(&rows, &keys).unwrap();
    assert_eq!(SealedKeyedVisit::open_batch(sealed.clone(), &keys).unwrap(), rows);
    let reported = sealed[0].clone().open_reported(&keys).unwrap();
    assert_eq!((reported.value, reported.compromised), (rows[0].clone(), None));
    assert_eq!(
        KeyedVisit::note_index(&keyring, "cough").unwrap()[0],
        sealed[0].note_index
    );

    // Not loaded: never the key of the ring, neither to seal nor to open.
    assert_eq!(
        keyed_visit(3, EVE).seal(&keys).err(),
        Some(SealError::Subject(SubjectError::NoSecret))
    );
    let reassigned = SealedKeyedVisit {
        patient_id: EVE,
        ..sealed[0].clone()
    };
    assert_eq!(
        reassigned.clone().open(&keys).unwrap_err(),
        OpenError::NoSubjectSecret
    );
    // With the key of the other person, too.
    let eves = keyring.new_subject_secret(None, &EVE).unwrap();
    subjects.insert(&keyring, None, &EVE, Some(&eves)).unwrap();
    let keys = keyring.with_subjects(&subjects);
    assert_eq!(reassigned.open(&keys).unwrap_err(), OpenError::Authentication);
    // The same columns without subject keys are another row.
    let under_ring_key = visit(ADA).seal(&keyring).unwrap();
    let row = UnderSubjectKey { row: 1, subject: ADA };
    assert_eq!(
        KeyedVisit::NOTE
            .open(&keys, &row, &under_ring_key.note)
            .unwrap_err(),
        OpenError::Authentication
    );

    let (note, note_index) = KeyedVisit::seal_note(&keys, &row, &"fever".into()).unwrap();
    assert_eq!(
        KeyedVisit::NOTE.open(&keys, &row, &note).unwrap().expose(),
        "fever"
    );
    assert_eq!(KeyedVisit::note_index(&keyring, "fever").unwrap()[0], note_index);
}

#[test]
fn a_shredded_person_is_gone_and_nobody_else() {
    let keyring = keyring();
    let mut subjects = SubjectKeyMap::new();
    let (one, two) = (
        keyring.new_subject_secret(None, &1_i64).unwrap(),
        keyring.new_subject_secret(None, &2_i64).unwrap(),
    );
    subjects.insert(&keyring, None, &1_i64, Some(&one)).unwrap();
    subjects.insert(&keyring, None, &2_i64, Some(&two)).unwrap();
    let patient = |id| Patient {
        id,
        name: "Ada".into(),
    };
    let keys = keyring.with_subjects(&subjects);
    let sealed = [patient(1).seal(&keys).unwrap(), patient(2).seal(&keys).unwrap()];

    let tombstone = Keyring::subject_tombstone(&one).unwrap();
    subjects.insert(&keyring, None, &1_i64, Some(&tombstone)).unwrap();
    let keys = keyring.with_subjects(&subjects);
    let [first, second] = sealed;
    assert!(matches!(
        first.open(&keys).unwrap_err().cause(),
        OpenError::KeyState(_)
    ));
    assert_eq!(second.open(&keys).unwrap(), patient(2));
    assert!(matches!(
        patient(1).seal(&keys),
        Err(SealError::Subject(SubjectError::Shredded(_)))
    ));
}
