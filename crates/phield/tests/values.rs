//! Types of the application's own, through `#[derive(PhiValue)]` and `#[derive(Erase)]`.
#![allow(
    clippy::unwrap_used,
    reason = "clippy allows them in the test functions alone"
)]
#![cfg(feature = "derive")]

use std::sync::atomic::{AtomicUsize, Ordering};

use phield::{
    AppName, BlindIndex, ColumnKind, EncryptedPhi, Erase, Keyring, OpenError, Phi, PhiValue, Sealed, Value,
    ValueType,
};

/// Sealed as its text; what is no record number does not open.
#[derive(Debug, Clone, PartialEq, PhiValue)]
#[phi(parse = "Self::parse")]
struct Mrn(String);

impl Mrn {
    fn parse(text: String) -> Option<Self> {
        text.starts_with("MRN-").then_some(Self(text))
    }
}

/// Sealed as its integer.
#[derive(Debug, Clone, Copy, PartialEq, PhiValue)]
struct Weight {
    grams: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PhiValue)]
enum Sex {
    Female,
    Male,
    #[phi(name = "X")]
    Other,
    r#Unknown,
}

/// Sealed as an enumeration.
#[derive(Debug, Clone, Copy, PartialEq, PhiValue)]
struct Declared(Sex);

/// What [`Sex`] was in an earlier version, and what [`Mrn`] was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PhiValue)]
enum OldSex {
    Female,
    Man,
}

type Status = Sex;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "people",
    index(name = "sex_flag", on(sex = "exact", flag = "exact"), leaks_equality)
)]
#[phi(index(name = "mrn_sex", on(mrn = "name", sex = "name")))]
struct Person {
    #[phi(row_id)]
    id: i64,
    #[phi(index)]
    mrn: Phi<Mrn>,
    #[phi(index(leaks_equality))]
    sex: Phi<Sex>,
    weight: Option<Phi<Weight>>,
    #[phi(pad = "fixed(9)")]
    declared: Phi<Option<Declared>>,
    flag: Phi<bool>,
    #[phi(pad = "padme(32)")]
    status: Phi<Status>,
}

#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "people")]
struct OldPerson {
    #[phi(row_id)]
    id: i64,
    mrn: Phi<String>,
    sex: Phi<OldSex>,
}

fn keyring() -> Keyring {
    Keyring::ephemeral(AppName::from_static("emr")).unwrap()
}

fn person(sex: Sex) -> Person {
    Person {
        id: 1,
        mrn: Phi::new(Mrn("MRN-0001".to_owned())),
        sex: Phi::new(sex),
        weight: Some(Phi::new(Weight { grams: 71_500 })),
        declared: Phi::new(Some(Declared(sex))),
        flag: Phi::new(true),
        status: Phi::new(sex),
    }
}

#[test]
fn newtypes_and_enumerations_come_back() {
    let keyring = keyring();
    for sex in [Sex::Female, Sex::Male, Sex::Other, Sex::Unknown] {
        let model = person(sex);
        let sealed = model.seal(&keyring).unwrap();
        assert_eq!(sealed.sex.info().unwrap().padded_len, 16);
        assert_eq!(sealed.declared.info().unwrap().padded_len, 9);
        assert_eq!(sealed.status.info().unwrap().padded_len, 32);
        assert_eq!(Person::sex_index(&keyring, &sex).unwrap()[0], sealed.sex_index);
        let both: [BlindIndex; 2] = Person::sex_flag_index(&keyring, &Phi::new(sex), &true).unwrap();
        assert_eq!(both[0], sealed.sex_flag_index);
        assert_eq!(sealed.open(&keyring).unwrap(), model);
    }
    let absent = Person {
        weight: None,
        declared: Phi::new(None),
        ..person(Sex::Male)
    };
    assert_eq!(absent.seal(&keyring).unwrap().open(&keyring).unwrap(), absent);
}

#[test]
fn they_have_the_type_of_what_they_are_sealed_as() {
    assert_eq!((Mrn::TYPE, <Mrn as Value>::LENGTHS), (ValueType::Text, None));
    assert_eq!(
        (Weight::TYPE, <Weight as Value>::LENGTHS),
        (ValueType::Integer, None)
    );
    assert_eq!(
        (Sex::TYPE, <Sex as Value>::LENGTHS),
        (ValueType::Text, Some([1, 7]))
    );
    assert_eq!(<Declared as Value>::LENGTHS, Some([1, 7]));
    let columns = Person::SCHEMA.columns;
    let sex = columns.iter().find(|column| column.sql_name == "sex").unwrap();
    let ColumnKind::Sealed { value_type, .. } = sex.kind else {
        panic!("sex is sealed")
    };
    assert_eq!(value_type, ValueType::Text);
}

#[test]
fn what_the_type_does_not_know_does_not_open() {
    let keyring = keyring();
    let old = |mrn: &str, sex| OldPerson {
        id: 1,
        mrn: mrn.into(),
        sex: Phi::new(sex),
    };
    let open_mrn = |sealed: SealedOldPerson| {
        let bytes = sealed.mrn.as_bytes().to_vec();
        Person::MRN.open(&keyring, &1, &Sealed::<Mrn>::from_bytes(bytes).unwrap())
    };
    let known = open_mrn(old("MRN-2", OldSex::Man).seal(&keyring).unwrap());
    assert_eq!(known.unwrap().expose(), &Mrn("MRN-2".to_owned()));
    let unknown = open_mrn(old("2", OldSex::Man).seal(&keyring).unwrap());
    assert_eq!(unknown.unwrap_err(), OpenError::Authentication);

    let open_sex = |sealed: SealedOldPerson| {
        let bytes = sealed.sex.as_bytes().to_vec();
        Person::SEX.open(&keyring, &1, &Sealed::<Sex>::from_bytes(bytes).unwrap())
    };
    let kept = open_sex(old("", OldSex::Female).seal(&keyring).unwrap());
    assert_eq!(kept.unwrap().expose(), &Sex::Female);
    let renamed = open_sex(old("", OldSex::Man).seal(&keyring).unwrap());
    assert_eq!(renamed.unwrap_err(), OpenError::Authentication);
}

#[test]
fn names_are_what_is_sealed() {
    let names = [
        (Sex::Female, "Female"),
        (Sex::Male, "Male"),
        (Sex::Other, "X"),
        (Sex::Unknown, "Unknown"),
    ];
    for (sex, name) in names {
        assert_eq!(sex.to_repr().as_str(), name);
        assert_eq!(Sex::from_repr(&name.to_owned()), Some(sex));
    }
    for unknown in ["", "female", "Other", "Female "] {
        assert_eq!(Sex::from_repr(&unknown.to_owned()), None);
    }
}

static ERASED: AtomicUsize = AtomicUsize::new(0);

/// Counts how often it is erased.
struct Counted;

impl Erase for Counted {
    fn erase(&mut self) {
        ERASED.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Erase)]
struct Named<T, const N: usize> {
    one: T,
    many: [T; N],
    text: String,
}

#[derive(Erase)]
struct Tuple<T: PartialEq>(T, Option<T>)
where
    T: Clone;

#[derive(Debug, PartialEq, Erase)]
struct Unit;

#[derive(Erase)]
enum Mixed {
    Nothing,
    Tuple(Counted, Counted),
    Named { r#type: Counted },
}

#[derive(Debug, Clone, Copy, PartialEq, Erase)]
enum Fieldless {
    First = 5,
    Second = 3,
}

#[derive(Erase)]
#[allow(dead_code, reason = "it has no values")]
enum Never {}

/// How many counted values `value` erases.
fn erased(mut value: impl Erase) -> usize {
    let before = ERASED.load(Ordering::Relaxed);
    value.erase();
    ERASED.load(Ordering::Relaxed) - before
}

/// One test, for the count is shared.
#[test]
fn every_field_is_erased() {
    let mut named = Named {
        one: Counted,
        many: [Counted, Counted],
        text: "999-12-3456".to_owned(),
    };
    let before = ERASED.load(Ordering::Relaxed);
    named.erase();
    assert_eq!(
        (ERASED.load(Ordering::Relaxed) - before, named.text.as_str()),
        (3, "")
    );
    let mut tuple = Tuple("a".to_owned(), Some("b".to_owned()));
    tuple.erase();
    assert_eq!((tuple.0.as_str(), tuple.1), ("", None));
    assert_eq!(erased(Mixed::Nothing), 0);
    assert_eq!(erased(Mixed::Tuple(Counted, Counted)), 2);
    assert_eq!(erased(Mixed::Named { r#type: Counted }), 1);
    assert_eq!(erased(Unit), 0);

    let (mut first, mut second) = (Fieldless::First, Fieldless::Second);
    first.erase();
    second.erase();
    assert_eq!((first, second), (Fieldless::First, Fieldless::First));
    let (mut sex, mut mrn) = (Sex::Other, Mrn("MRN-1".to_owned()));
    sex.erase();
    mrn.erase();
    assert_eq!((sex, mrn), (Sex::Female, Mrn(String::new())));
}
