//! Every value type: its bytes, its round trip, what is refused.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::column::Column;
use crate::error::{OpenError, Unsealable};
use crate::frame::Padding;
use crate::keyring::Keyring;
use crate::name::AppName;
use crate::phi::Phi;
use crate::sealed::Sealed;
use crate::value::{Json, PhiValue, Value};
use crate::wipe::Erase;

fn keyring() -> Keyring {
    Keyring::ephemeral(AppName::from_static("emr")).unwrap()
}

/// The bytes of a value, as text where they are.
fn bytes<T: Value>(value: &T) -> Result<Vec<u8>, Unsealable> {
    value.encode().map(|encoded| encoded.as_bytes().to_vec())
}

fn round_trip<T: Value>(keyring: &Keyring, value: T, padding: Padding) -> Result<Phi<T>, OpenError> {
    let column = || Column::<T, i64>::new("visits", "value", padding);
    let sealed: Sealed<T> = column().seal(keyring, &1, &Phi::new(value)).unwrap();
    Ok(column().open(keyring, &1, &sealed)?)
}

fn comes_back<T: Value + Clone + PartialEq + std::fmt::Debug>(keyring: &Keyring, value: &T) {
    for padding in [Padding::Block16, Padding::Fixed(4096), Padding::Padme(64)] {
        assert_eq!(
            round_trip(keyring, value.clone(), padding).unwrap().expose(),
            value
        );
        let some = round_trip(keyring, Some(value.clone()), padding).unwrap();
        assert_eq!(some.expose().as_ref(), Some(value));
        assert_eq!(
            round_trip::<Option<T>>(keyring, None, padding).unwrap().expose(),
            &None
        );
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Vitals {
    pulse: u32,
    temperature: f64,
    notes: Vec<String>,
    codes: BTreeMap<String, Option<bool>>,
}

impl Erase for Vitals {
    fn erase(&mut self) {
        self.pulse.erase();
        self.temperature.erase();
        self.notes.erase();
        self.codes.erase();
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Hiv {
    Positive,
    Negative,
}

impl Erase for Hiv {
    fn erase(&mut self) {
        *self = Self::Negative;
    }
}

impl PhiValue for Hiv {
    type Repr = String;
    const LENGTHS: Option<[usize; 2]> = Some([1, 1]);

    fn to_repr(&self) -> Cow<'_, String> {
        Cow::Owned(if *self == Self::Positive { "+" } else { "-" }.to_owned())
    }

    fn from_repr(repr: &String) -> Option<Self> {
        match repr.as_str() {
            "+" => Some(Self::Positive),
            "-" => Some(Self::Negative),
            _ => None,
        }
    }
}

#[test]
fn every_type_comes_back() {
    let keyring = keyring();
    comes_back(&keyring, &String::from("Ada"));
    comes_back(&keyring, &vec![0_u8, 255, 1]);
    comes_back(&keyring, &i64::MIN);
    comes_back(&keyring, &true);
    comes_back(&keyring, &f64::MIN_POSITIVE);
    comes_back(&keyring, &uuid::Uuid::from_u128(7));
    comes_back(&keyring, &Hiv::Positive);
    let vitals = Vitals {
        pulse: 60,
        temperature: 36.6,
        notes: vec!["stable".into()],
        codes: BTreeMap::from([("a".into(), None), ("b".into(), Some(true))]),
    };
    comes_back(&keyring, &Json(vitals));
    comes_back(
        &keyring,
        &Json(serde_json::json!({"name": [{"family": "Lovelace"}], "n": 1.5})),
    );
}

#[test]
fn floats_keep_every_bit() {
    let keyring = keyring();
    for bits in [0, 1 << 63, f64::NAN.to_bits() | 7, f64::NEG_INFINITY.to_bits()] {
        let opened = round_trip(&keyring, f64::from_bits(bits), Padding::Block16).unwrap();
        assert_eq!(opened.expose().to_bits(), bits);
    }
    assert_eq!(bytes(&1.5_f64), Ok(vec![0x3f, 0xf8, 0, 0, 0, 0, 0, 0]));
}

/// What JSON would lose is refused before anything is written.
#[test]
fn json_that_does_not_come_back_is_refused() {
    assert_eq!(bytes(&Json(f64::NAN)), Err(Unsealable::Json));
    // `Some(NaN)` would come back as `None`.
    assert_eq!(bytes(&Json(Some(f64::NAN))), Err(Unsealable::Json));
    assert_eq!(bytes(&Json(Some(None::<bool>))), Err(Unsealable::Json));
    let mut deep = serde_json::Value::Null;
    for _ in 0..1000 {
        deep = serde_json::Value::Array(vec![deep]);
    }
    assert_eq!(bytes(&Json(deep)), Err(Unsealable::Json));
    assert_eq!(bytes(&Json(vec![1, 2])), Ok(b"[1,2]".to_vec()));
}

/// A type of the application's own is asked before: what it would not take back is not sealed, nor is a value that is
/// longer than it said its values are.
#[test]
fn types_that_break_their_word() {
    #[derive(Debug, Clone)]
    struct Wrong(&'static str);
    impl Erase for Wrong {
        fn erase(&mut self) {
            self.0 = "";
        }
    }
    impl PhiValue for Wrong {
        type Repr = String;
        const LENGTHS: Option<[usize; 2]> = Some([1, 3]);
        fn to_repr(&self) -> Cow<'_, String> {
            Cow::Owned(self.0.to_owned())
        }
        fn from_repr(repr: &String) -> Option<Self> {
            (repr != "no").then_some(Self("yes"))
        }
    }
    let keyring = keyring();
    let seal = |value: &'static str| {
        let column = Column::<Option<Wrong>, i64>::new("visits", "value", Padding::Block16);
        let value = Phi::new(Some(Wrong(value)));
        column.seal::<Sealed<_>>(&keyring, &1, &value).map(|_| ()).err()
    };
    assert_eq!(seal("yes"), None);
    assert_eq!(seal("no"), Some(Unsealable::NotTakenBack.into()));
    assert_eq!(seal("positive"), Some(Unsealable::LengthShows.into()));
}

/// the length of a value of few kinds does not show.
#[test]
fn values_of_few_kinds_are_padded() {
    let keyring = keyring();
    let seal = |padding| {
        let field = crate::field::Field::new(
            crate::name::ColumnName::from_static("hiv"),
            Box::leak(Box::new(Phi::new(Hiv::Negative))),
        );
        let table = crate::name::TableName::from_static("visits");
        let row = crate::context::Row::new(&table, &1_i64).unwrap();
        keyring
            .seal_row(&row, [field.unwrap().with_padding(padding)])
            .map(|_| ())
    };
    assert_eq!(seal(Padding::None), Err(Unsealable::LengthShows.into()));
    assert_eq!(seal(Padding::Fixed(2)), Err(Unsealable::LengthShows.into()));
    assert_eq!(seal(Padding::Fixed(3)), Ok(()));
    assert_eq!(seal(Padding::Block16), Ok(()));
    assert!(!Padding::hides([0, 15], Padding::Block16));
    assert!(Padding::hides([15, 30], Padding::Block16));
    assert!(!Padding::hides([2, 30], Padding::Padme(31)));
}

/// A value of the application's own type that it no longer takes does not open, like one of a wrong type.
#[test]
fn a_representation_that_is_not_taken_does_not_open() {
    let keyring = keyring();
    let text = Column::<String, i64>::new("visits", "hiv", Padding::Block16);
    let sealed: Sealed<String> = text.seal(&keyring, &1, &Phi::from("maybe")).unwrap();
    let hiv = Column::<Hiv, i64>::new("visits", "hiv", Padding::Block16);
    let sealed = Sealed::<Hiv>::from_bytes(sealed.as_bytes().to_vec()).unwrap();
    assert_eq!(
        hiv.open(&keyring, &1, &sealed).unwrap_err(),
        OpenError::Authentication
    );
}

#[cfg(feature = "chrono")]
#[test]
fn chrono_times() {
    use chrono::{DateTime, NaiveDate, TimeZone as _, Timelike as _, Utc};

    let keyring = keyring();
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    for (time, text) in [
        ("2026-11-22T04:05:06Z", "2026-11-22T04:05:06Z"),
        ("2026-11-22T04:05:06.780Z", "2026-11-22T04:05:06.78Z"),
        ("2026-11-22T04:05:06.000000001Z", "2026-11-22T04:05:06.000000001Z"),
        ("2026-11-22T06:05:06+02:00", "2026-11-22T04:05:06Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ] {
        assert_eq!(bytes(&at(time)), Ok(text.into()));
        comes_back(&keyring, &at(time));
    }
    let leap = at("2016-12-31T23:59:59Z").with_nanosecond(1_500_000_000).unwrap();
    assert_eq!(bytes(&leap), Err(Unsealable::DateRange));
    let late = Utc.with_ymd_and_hms(10_000, 1, 1, 0, 0, 0).unwrap();
    assert_eq!(bytes(&late), Err(Unsealable::DateRange));
    comes_back(&keyring, &NaiveDate::from_ymd_opt(2024, 2, 29).unwrap());
}

#[cfg(feature = "time")]
#[test]
fn times_of_time() {
    use time::{Date, Duration, OffsetDateTime, UtcOffset};

    let keyring = keyring();
    let start = OffsetDateTime::UNIX_EPOCH;
    comes_back(&keyring, &(start + Duration::nanoseconds(120)));
    assert_eq!(
        bytes(&(start + Duration::nanoseconds(120))),
        Ok(b"1970-01-01T00:00:00.00000012Z".to_vec())
    );
    let moved = start.to_offset(UtcOffset::from_hms(2, 0, 0).unwrap());
    assert_eq!(bytes(&moved), Ok(b"1970-01-01T00:00:00Z".to_vec()));
    assert_eq!(
        bytes(&start.replace_year(-5).unwrap()),
        Err(Unsealable::DateRange)
    );
    comes_back(
        &keyring,
        &Date::from_calendar_date(2024, time::Month::February, 29).unwrap(),
    );
}

#[cfg(feature = "decimal")]
#[test]
fn decimals_come_back_as_given() {
    use rust_decimal::Decimal;

    let keyring = keyring();
    for text in [
        "0",
        "12.50",
        "-0.0000000000000000000000000001",
        "79228162514264337593543950335",
        "-7.9228162514264337593543950335",
    ] {
        let decimal = Decimal::from_str_exact(text).unwrap();
        assert_eq!(bytes(&decimal), Ok(text.into()));
        let opened = round_trip(&keyring, decimal, Padding::Block16).unwrap();
        assert_eq!(opened.expose().to_string(), text);
    }
    comes_back(&keyring, &Decimal::MAX);
    // Equal numbers have equal bytes, or one would not be found by the other.
    assert_eq!(bytes(&-Decimal::new(0, 2)), Ok(b"0.00".to_vec()));
}

/// The position of an element is its `extra` (vector A15): elements do not change places.
#[test]
fn lists() {
    let keyring = keyring();
    let phones = || Column::<String, i64>::new("visits", "phones", Padding::Block16);
    let values: Vec<Phi<String>> = (0..300).map(|n| Phi::new(format!("+1 555 {n}"))).collect();
    let mut list: Vec<Sealed<String>> = phones().seal_list(&keyring, &1, &values).unwrap();
    let opened = phones().open_list(&keyring, &1, list.clone()).unwrap();
    assert!(opened == values);
    // One salt for all of them.
    assert!(
        list.iter()
            .all(|sealed| sealed.as_bytes()[..33] == list[0].as_bytes()[..33])
    );
    assert!(phones().open_list(&keyring, &1, list[..5].to_vec()).unwrap()[..] == values[..5]);
    list.swap(0, 1);
    assert_eq!(
        phones().open_list(&keyring, &1, list.clone()).unwrap_err(),
        OpenError::Authentication
    );
    assert_eq!(
        phones().open(&keyring, &1, &list[1]).unwrap_err(),
        OpenError::Authentication
    );
    let none: Vec<Sealed<String>> = phones().seal_list(&keyring, &1, &[]).unwrap();
    assert!(none.is_empty());
}

proptest! {
    /// No float changes in a JSON document.
    #[test]
    fn any_float_in_json(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        let opened = round_trip(&keyring(), Json(value), Padding::Block16).unwrap();
        prop_assert_eq!(opened.expose().0.to_bits(), value.to_bits());
    }

    #[test]
    fn any_float(bits in any::<u64>()) {
        let opened = round_trip(&keyring(), f64::from_bits(bits), Padding::Block16).unwrap();
        prop_assert_eq!(opened.expose().to_bits(), bits);
    }

    #[cfg(feature = "chrono")]
    #[test]
    fn any_timestamp(seconds in -62_135_596_800_i64..253_402_300_800, nanoseconds in 0_u32..1_000_000_000) {
        let time = chrono::DateTime::from_timestamp(seconds, nanoseconds).unwrap();
        prop_assert!(crate::value::ValueType::Timestamp.accepts(&bytes(&time).unwrap()));
        let opened = round_trip(&keyring(), time, Padding::Block16).unwrap();
        prop_assert_eq!(opened.expose(), &time);
    }

    #[cfg(feature = "decimal")]
    #[test]
    fn any_decimal(number in any::<i128>(), scale in 0_u32..29) {
        let number = number >> 33;
        let decimal = rust_decimal::Decimal::from_i128_with_scale(number, scale);
        prop_assert!(crate::value::ValueType::Decimal.accepts(&bytes(&decimal).unwrap()));
        let opened = round_trip(&keyring(), decimal, Padding::Block16).unwrap();
        prop_assert_eq!(opened.expose().to_string(), decimal.to_string());
    }
}
