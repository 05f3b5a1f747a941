//! Models sealed and opened through the derive.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy allows them in the test functions alone"
)]
#![cfg(all(feature = "derive", feature = "chrono", feature = "time"))]

use chrono::NaiveDate;
use phield::{
    AppName, Binding, BlindIndex, ColumnKind, EncryptedPhi, IndexError, Keyring, Normalizer, OpenError,
    Padding, Phi, SealError, Sealed, SealedText, StorageKind, Unsealable, ValueType,
};
use uuid::Uuid;

type Name = Phi<String>;
type MaybeNote = Option<Phi<String>>;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "everything")]
struct Everything {
    #[phi(row_id)]
    id: Uuid,
    text: Phi<String>,
    bytes: Phi<Vec<u8>>,
    tiny: Phi<i8>,
    short: Phi<i16>,
    int: Phi<i32>,
    long: Phi<i64>,
    utiny: Phi<u8>,
    ushort: Phi<u16>,
    uint: Phi<u32>,
    ulong: Phi<u64>,
    flag: Phi<bool>,
    chrono_date: Phi<NaiveDate>,
    time_date: Phi<time::Date>,
    other_id: Phi<Uuid>,
    maybe: Option<Phi<String>>,
    nullable: Phi<Option<bool>>,
    both: Option<Phi<Option<NaiveDate>>>,
    #[phi(store = "text")]
    as_text: Phi<String>,
    #[phi(store = "text", pad = "fixed(64)")]
    as_maybe_text: Option<Phi<Vec<u8>>>,
    #[phi(pad = "padme(64)")]
    note: Phi<String>,
    #[phi(pad = "none")]
    code: Phi<String>,
    #[phi(sealed)]
    alias: Name,
    #[phi(sealed, store = "text")]
    maybe_alias: MaybeNote,
    #[phi(column = "type-of-visit")]
    r#type: Phi<String>,
    plain: Vec<Option<i64>>,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "patients",
    index(name = "family_birth_date", on(family = "name", born = "date"))
)]
struct Patient {
    #[phi(row_id)]
    id: i64,
    family: Phi<String>,
    born: Option<Phi<NaiveDate>>,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<String>,
    #[phi(index(name = "mrn.v2"))]
    mrn: Phi<Option<u64>>,
    #[phi(sealed, index(normalize = "name"))]
    nickname: Name,
    #[phi(index(leaks_equality))]
    smoker: Option<Phi<bool>>,
    clinic: i64,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "notes", unbound)]
struct Note {
    text: Phi<String>,
    other: Phi<String>,
}

/// As [`Note`], in another table.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "notes2", unbound)]
struct OtherNote {
    text: Phi<String>,
}

fn keyring() -> Keyring {
    Keyring::ephemeral(AppName::from_static("emr")).unwrap()
}

fn everything(full: bool) -> Everything {
    Everything {
        id: Uuid::now_v7(),
        text: Phi::from("Ada Lovelace"),
        bytes: Phi::new(vec![0, 0x80, 0xff]),
        tiny: Phi::new(i8::MIN),
        short: Phi::new(i16::MIN),
        int: Phi::new(i32::MIN),
        long: Phi::new(i64::MIN),
        utiny: Phi::new(u8::MAX),
        ushort: Phi::new(u16::MAX),
        uint: Phi::new(u32::MAX),
        ulong: Phi::new(i64::MAX as u64),
        flag: Phi::new(full),
        chrono_date: Phi::new(NaiveDate::from_ymd_opt(1815, 12, 10).unwrap()),
        time_date: Phi::new(time::Date::from_calendar_date(1906, time::Month::December, 9).unwrap()),
        other_id: Phi::new(Uuid::now_v7()),
        maybe: full.then(|| Phi::from("")),
        nullable: Phi::new(full.then_some(false)),
        both: full.then(|| Phi::new(None)),
        as_text: Phi::from("Grace"),
        as_maybe_text: full.then(|| Phi::new(vec![1])),
        note: Phi::from("n".repeat(1000).as_str()),
        code: Phi::from("J45.909"),
        alias: Phi::from("Countess"),
        maybe_alias: full.then(|| Phi::from("x")),
        r#type: Phi::from("first"),
        plain: vec![Some(1), None],
    }
}

fn patient(id: i64) -> Patient {
    Patient {
        id,
        family: Phi::from("O’Neill"),
        born: Some(Phi::new(NaiveDate::from_ymd_opt(1980, 2, 29).unwrap())),
        ssn: Phi::from("999-12-3456"),
        mrn: Phi::new(Some(17)),
        nickname: Phi::from("Joe"),
        smoker: Some(Phi::new(true)),
        clinic: 7,
    }
}

#[test]
fn round_trip_of_every_type() {
    let keyring = keyring();
    for full in [true, false] {
        let model = everything(full);
        assert_eq!(model.seal(&keyring).unwrap().open(&keyring).unwrap(), model);
        let reported = model.seal(&keyring).unwrap().open_reported(&keyring).unwrap();
        assert_eq!((reported.value, reported.compromised), (model, None));
    }
}

#[test]
fn columns_have_their_types() {
    let SealedEverything {
        id,
        maybe,
        as_text,
        as_maybe_text,
        maybe_alias,
        both,
        nullable,
        plain,
        ..
    } = everything(false).seal(&keyring()).unwrap();
    let _: (Uuid, Vec<Option<i64>>, SealedText<String>) = (id, plain, as_text);
    let absent: (Option<Sealed<String>>, Option<SealedText<Vec<u8>>>) = (maybe, as_maybe_text);
    assert!(absent.0.is_none() && absent.1.is_none());
    let absent: (Option<SealedText<String>>, Option<Sealed<Option<NaiveDate>>>) = (maybe_alias, both);
    assert!(absent.0.is_none() && absent.1.is_none());
    let _: Sealed<Option<bool>> = nullable;
}

#[test]
fn paddings_and_nulls_hide_lengths() {
    let keyring = keyring();
    let (full, empty) = (
        everything(true).seal(&keyring).unwrap(),
        everything(false).seal(&keyring).unwrap(),
    );
    assert_eq!(full.nullable.as_bytes().len(), empty.nullable.as_bytes().len());
    assert_eq!(full.text.info().unwrap().padded_len, 16);
    assert_eq!(full.note.info().unwrap().padded_len, 1024);
    assert_eq!(full.code.info().unwrap().padded_len, 9);
    assert!(full.as_text.as_str().starts_with("phi1."));
}

#[test]
fn batches_are_the_rows_in_order() {
    let keyring = keyring();
    let rows: Vec<_> = (0..100).map(patient).collect();
    let sealed = Patient::seal_batch(&rows, &keyring).unwrap();
    let salts: std::collections::HashSet<Vec<u8>> = sealed
        .iter()
        .map(|row| row.ssn.as_bytes().get(..17).unwrap().to_vec())
        .collect();
    assert_eq!(salts.len(), rows.len());
    assert_eq!(SealedPatient::open_batch(sealed, &keyring).unwrap(), rows);
    assert!(Patient::seal_batch(&[], &keyring).unwrap().is_empty());
    let mut sealed = Patient::seal_batch(&rows[..2], &keyring).unwrap();
    sealed[1].id = 5;
    assert_eq!(
        SealedPatient::open_batch(sealed, &keyring).unwrap_err(),
        OpenError::Authentication
    );
}

#[test]
fn a_token_opens_in_its_own_place_only() {
    let keyring = keyring();
    let sealed = patient(1).seal(&keyring).unwrap();
    let wrong = |change: fn(&mut SealedPatient, &SealedPatient)| {
        let (mut moved, other) = (sealed.clone(), patient(2).seal(&keyring).unwrap());
        change(&mut moved, &other);
        moved.open(&keyring).err().map(|error| error.cause())
    };
    assert_eq!(wrong(|_, _| ()), None);
    assert_eq!(
        wrong(|moved, _| moved.clinic = 8),
        None,
        "plain columns are not bound"
    );
    assert_eq!(
        wrong(|moved, other| moved.ssn_index = other.ssn_index),
        None,
        "indexes are not needed to open"
    );
    assert_eq!(wrong(|moved, _| moved.id = 2), Some(OpenError::Authentication));
    assert_eq!(
        wrong(|moved, other| moved.ssn = other.ssn.clone()),
        Some(OpenError::Authentication)
    );
    assert_eq!(
        wrong(|moved, _| moved.family = moved.ssn.clone()),
        Some(OpenError::Authentication)
    );
    assert_eq!(
        wrong(|moved, _| moved.smoker = None),
        None,
        "SQL NULL is not authenticated"
    );
    let other_keyring = self::keyring();
    let unknown = sealed.clone().open(&other_keyring).unwrap_err();
    assert!(matches!(unknown.cause(), OpenError::UnknownKey(_)));
}

#[test]
fn an_unbound_token_opens_in_any_row_of_its_column() {
    let keyring = keyring();
    let note = |text: &str| Note {
        text: Phi::from(text),
        other: Phi::from("o"),
    };
    let (a, b) = (
        note("a").seal(&keyring).unwrap(),
        note("b").seal(&keyring).unwrap(),
    );
    let moved = SealedNote {
        text: b.text.clone(),
        other: a.other.clone(),
    };
    assert_eq!(moved.open(&keyring).unwrap(), note("b"));
    let other_column = SealedNote {
        text: a.text.clone(),
        other: a.text.clone(),
    };
    assert_eq!(
        other_column.open(&keyring).unwrap_err(),
        OpenError::Authentication
    );
    let other_table = SealedOtherNote { text: a.text };
    assert_eq!(other_table.open(&keyring).unwrap_err(), OpenError::Authentication);
    let text: Sealed<String> = Note::seal_text(&keyring, &Phi::from("c")).unwrap();
    assert_eq!(
        Note::TEXT
            .open(&keyring, &phield::Unbound, &text)
            .unwrap()
            .expose(),
        "c"
    );
}

#[test]
fn a_column_opens_without_its_row() {
    let keyring = keyring();
    let sealed = patient(1).seal(&keyring).unwrap();
    assert_eq!(
        Patient::SSN.open(&keyring, &1, &sealed.ssn).unwrap().expose(),
        "999-12-3456"
    );
    assert_eq!(
        Patient::NICKNAME
            .open(&keyring, &1, &sealed.nickname)
            .unwrap()
            .expose(),
        "Joe"
    );
    assert_eq!(
        Patient::SSN.open(&keyring, &2, &sealed.ssn).unwrap_err(),
        OpenError::Authentication
    );
    assert_eq!(
        Patient::FAMILY.open(&keyring, &1, &sealed.ssn).unwrap_err(),
        OpenError::Authentication
    );
    assert_eq!(Everything::TYPE.name().as_str(), "type-of-visit");
}

#[test]
fn one_field_is_sealed_with_its_index() {
    let keyring = keyring();
    let mut sealed = patient(1).seal(&keyring).unwrap();
    let new = Phi::from("999-65-4321");
    let (ssn, ssn_index): (Sealed<String>, BlindIndex) = Patient::seal_ssn(&keyring, &1, &new).unwrap();
    assert!(Patient::ssn_index(&keyring, &new).unwrap().contains(&ssn_index));
    (sealed.ssn, sealed.ssn_index) = (ssn, ssn_index);
    let (smoker, index): (Option<Sealed<bool>>, Option<BlindIndex>) =
        Patient::seal_smoker(&keyring, &1, &None).unwrap();
    assert!(smoker.is_none() && index.is_none());
    let (nickname, _): (Sealed<String>, Option<BlindIndex>) =
        Patient::seal_nickname(&keyring, &1, &Phi::from("Joseph")).unwrap();
    sealed.nickname = nickname;
    let born = Some(Phi::new(NaiveDate::from_ymd_opt(1980, 3, 1).unwrap()));
    let SealedPatientFamilyBirthDate {
        family,
        born,
        family_birth_date_index,
    } = Patient::seal_family_birth_date(&keyring, &1, &Phi::from("Oneil"), &born).unwrap();
    let queried =
        Patient::family_birth_date_index(&keyring, "ONEIL", &NaiveDate::from_ymd_opt(1980, 3, 1).unwrap());
    assert_eq!(Some(queried.unwrap()[0]), family_birth_date_index);
    (sealed.family, sealed.born) = (family, born);
    let opened = sealed.open(&keyring).unwrap();
    assert_eq!(
        (opened.ssn.expose(), opened.nickname.expose()),
        (&"999-65-4321".to_owned(), &"Joseph".to_owned())
    );
    assert_eq!(opened.family.expose(), "Oneil");
}

#[test]
fn equal_values_have_equal_index_values_and_two_slots() {
    let keyring = keyring();
    let sealed = patient(1).seal(&keyring).unwrap();
    let [first, second] = Patient::ssn_index(&keyring, "999 12 3456").unwrap();
    assert_eq!((first, second), (sealed.ssn_index, sealed.ssn_index));
    assert_eq!(sealed.ssn_index, patient(2).seal(&keyring).unwrap().ssn_index);
    assert_ne!(
        sealed.ssn_index,
        Patient::ssn_index(&keyring, "999 12 3457").unwrap()[0]
    );
    assert_eq!(sealed.ssn_index.as_bytes().len(), 36);
    assert_eq!(
        sealed.mrn_index,
        Some(Patient::mrn_index(&keyring, &17_u64).unwrap()[0])
    );
    assert_eq!(
        sealed.mrn_index,
        Some(Patient::mrn_index(&keyring, &Phi::new(17_u64)).unwrap()[0])
    );
    assert_eq!(
        sealed.mrn_index,
        Some(Patient::mrn_index(&keyring, &patient(2).mrn).unwrap()[0])
    );
    assert_eq!(
        sealed.nickname_index,
        Some(Patient::nickname_index(&keyring, "JOE").unwrap()[0])
    );
    assert_ne!(
        sealed.smoker_index,
        Some(Patient::smoker_index(&keyring, &false).unwrap()[0])
    );
    let born = NaiveDate::from_ymd_opt(1980, 2, 29).unwrap();
    let compound = Patient::family_birth_date_index(&keyring, "o'neill", &born).unwrap();
    assert_eq!(sealed.family_birth_date_index, Some(compound[0]));
}

#[test]
fn absent_values_are_not_indexed() {
    let keyring = keyring();
    let model = Patient {
        born: None,
        mrn: Phi::new(None),
        smoker: None,
        ..patient(1)
    };
    let sealed = model.seal(&keyring).unwrap();
    let (mrn, smoker) = (sealed.mrn_index, sealed.smoker_index);
    assert_eq!((mrn, smoker, sealed.family_birth_date_index), (None, None, None));
    assert_eq!(
        Patient::mrn_index(&keyring, &None).err(),
        Some(IndexError::Absent)
    );
    assert_eq!(sealed.open(&keyring).unwrap(), model);
}

#[test]
fn what_cannot_be_sealed_is_refused_whole() {
    let keyring = keyring();
    let long = Patient {
        family: Phi::new("x".repeat((1 << 20) + 1)),
        ..patient(1)
    };
    assert_eq!(
        long.seal(&keyring).err(),
        Some(SealError::Unsealable(Unsealable::ValueTooLong))
    );
    let long = Everything {
        as_maybe_text: Some(Phi::new(vec![0; 63])),
        ..everything(true)
    };
    assert_eq!(
        long.seal(&keyring).err(),
        Some(SealError::Unsealable(Unsealable::PaddingTooShort))
    );
    let batch = [
        patient(1),
        Patient {
            mrn: Phi::new(Some(u64::MAX)),
            ..patient(2)
        },
    ];
    assert_eq!(
        Patient::seal_batch(&batch, &keyring).err(),
        Some(SealError::Unsealable(Unsealable::IntegerRange))
    );
}

#[test]
fn debug_shows_no_phi() {
    let keyring = keyring();
    let model = patient(1);
    assert_eq!(
        format!("{model:?}"),
        "Patient { id: 1, family: Phi(..), born: Some(Phi(..)), ssn: Phi(..), mrn: Phi(..), nickname: Phi(..), \
         smoker: Some(Phi(..)), clinic: 7 }"
    );
    let sealed = format!("{:?}", model.seal(&keyring).unwrap());
    assert!(
        sealed.starts_with("SealedPatient { id: 1, family: Sealed(key "),
        "{sealed}"
    );
    assert!(sealed.contains("ssn_index: BlindIndex(key "), "{sealed}");
}

#[test]
fn schema_describes_the_table() {
    let schema = Patient::SCHEMA;
    assert_eq!(
        (schema.table, schema.binding),
        ("patients", Binding::RowId(&["id"]))
    );
    let names: Vec<_> = schema.columns.iter().map(|column| column.sql_name).collect();
    let expected = [
        "id",
        "family",
        "born",
        "ssn",
        "ssn_index",
        "mrn",
        "mrn_index",
        "nickname",
        "nickname_index",
        "smoker",
        "smoker_index",
        "clinic",
        "family_birth_date_index",
    ];
    assert_eq!(names, expected);
    assert_eq!(SealedPatient::COLUMNS, expected);
    assert_eq!(SealedPatient::COLUMN_LIST, expected.join(", "));
    assert!(SealedEverything::COLUMN_LIST.ends_with("maybe_alias, type, plain"));
    let kind = |name| {
        schema
            .columns
            .iter()
            .find(|column| column.sql_name == name)
            .unwrap()
            .kind
    };
    assert_eq!(kind("clinic"), ColumnKind::plain("i64", None));
    assert_eq!(kind("ssn_index"), ColumnKind::index("ssn_index", false));
    assert_eq!(kind("mrn_index"), ColumnKind::index("mrn.v2", true));
    let ColumnKind::Sealed {
        name,
        value_type,
        encrypted_null,
        sql_null,
        padding,
        storage,
        ..
    } = kind("mrn")
    else {
        panic!("mrn is sealed");
    };
    assert_eq!(
        (name, value_type, encrypted_null, sql_null),
        ("mrn", ValueType::Integer, true, false)
    );
    assert_eq!((padding, storage), (Padding::Block16, StorageKind::Binary));
    let [ssn, mrn, _, _, compound] = schema.indexes else {
        panic!("five indexes")
    };
    assert_eq!((ssn.name, ssn.normalizers), ("ssn_index", &[Normalizer::Ssn][..]));
    assert_eq!((mrn.name, mrn.sql_name, mrn.bits), ("mrn.v2", "mrn_index", 256));
    assert_eq!(
        (compound.name, compound.sql_name),
        ("family_birth_date", "family_birth_date_index")
    );
    assert_eq!(compound.columns, ["family", "born"]);
    assert_eq!(compound.definition("patients"), Patient::FAMILY_BIRTH_DATE_INDEX);
    let sealed = Everything::SCHEMA
        .columns
        .iter()
        .find(|column| column.sql_name == "as_maybe_text")
        .unwrap()
        .kind;
    let fixed =
        ColumnKind::sealed::<Vec<u8>>("as_maybe_text", true, Padding::Fixed(64), StorageKind::Text, None);
    assert_eq!(sealed, fixed);
    assert_eq!(Note::SCHEMA.binding, Binding::Unbound);
}
