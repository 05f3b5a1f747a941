//! The length of the longest token is what sealing makes of the longest value.

use proptest::prelude::*;

use crate::column::Column;
use crate::frame::Padding;
use crate::keyring::Keyring;
use crate::name::AppName;
use crate::phi::Phi;
use crate::schema::{Binding, ColumnEntry, ColumnKind, ColumnSchema, Schema, SchemaFile, StorageKind};
use crate::sealed::{Sealed, SealedText};
use crate::value::Value;

fn longest_token<T: Value>(padding: Padding, storage: StorageKind, max_len: Option<u32>) -> Option<usize> {
    let columns = vec![ColumnSchema::new(
        "c",
        ColumnKind::sealed::<T>("c", false, padding, storage, max_len),
    )];
    let schema = Schema::new("t", "t", Binding::Unbound, columns.leak(), &[]);
    let file = SchemaFile::of(&[schema]).unwrap();
    let len = file.tables()[0].columns[0].longest_token();
    let read = SchemaFile::from_json(&file.to_json()).unwrap();
    assert_eq!(
        read.tables()[0].column("c").and_then(ColumnEntry::longest_token),
        len
    );
    len
}

/// The lengths of the tokens of a value: bytes, and characters.
fn sealed<T: Value + Clone>(padding: Padding, value: &T) -> Option<[usize; 2]> {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let column = || Column::<T, i64>::new("t", "c", padding);
    let value = Phi::new(value.clone());
    let binary: Sealed<T> = column().seal(&keyring, &1, &value).ok()?;
    let text: SealedText<T> = column().seal(&keyring, &1, &value).unwrap();
    Some([binary.as_bytes().len(), text.as_str().len()])
}

fn computed<T: Value>(padding: Padding, max_len: Option<u32>) -> Option<[usize; 2]> {
    let [binary, text] =
        [StorageKind::Binary, StorageKind::Text].map(|storage| longest_token::<T>(padding, storage, max_len));
    binary.zip(text).map(|(binary, text)| [binary, text])
}

fn any_padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Block16),
        Just(Padding::None),
        (2_u32..3000).prop_map(Padding::Fixed),
        (2_u32..3000).prop_map(Padding::Padme),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn of_text_and_bytes(padding in any_padding(), max_len in 0_u32..5000, shorter in 0_usize..5000) {
        let computed = computed::<Vec<u8>>(padding, Some(max_len)).unwrap();
        prop_assert_eq!(self::computed::<String>(padding, Some(max_len)), Some(computed));
        // A padding that the longest value does not fit is as long as the padding.
        let longest = match padding {
            Padding::Fixed(n) => max_len.min(n - 2),
            _ => max_len,
        };
        prop_assert_eq!(sealed(padding, &vec![0; longest as usize]), Some(computed));
        let other = sealed(padding, &vec![0x80; shorter % (longest as usize + 1)]).unwrap();
        prop_assert!(other[0] <= computed[0] && other[1] <= computed[1]);
    }
}

/// Types that have a longest value: it is told without `max_len`.
#[test]
fn of_types_that_bound_themselves() {
    fn check<T: Value + Clone>(longest: &T) {
        for padding in [
            Padding::Block16,
            Padding::Fixed(48),
            Padding::Padme(40),
            Padding::None,
        ] {
            if T::LENGTHS.is_some() && padding == Padding::None {
                continue;
            }
            let computed = computed::<T>(padding, None);
            assert!(computed.is_some());
            assert_eq!(computed, sealed(padding, longest));
            // What a model says of its own does not matter.
            assert_eq!(computed, self::computed::<Option<T>>(padding, None));
        }
    }
    check(&i64::MIN);
    check(&u8::MAX);
    check(&f64::NAN);
    check(&true);
    check(&uuid::Uuid::max());
    #[cfg(feature = "chrono")]
    {
        use chrono::{DateTime, NaiveDate, Utc};
        check(&NaiveDate::from_ymd_opt(9999, 12, 31).unwrap());
        let longest = DateTime::<Utc>::from_timestamp_nanos(i64::MAX);
        assert_eq!(longest.timestamp_subsec_nanos(), 854_775_807);
        check(&longest);
    }
    #[cfg(feature = "time")]
    {
        use time::{Date, OffsetDateTime};
        check(&Date::from_ordinal_date(9999, 1).unwrap());
        check(&OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789).unwrap());
    }
    #[cfg(feature = "decimal")]
    {
        use rust_decimal::Decimal;
        for longest in [
            "-7.9228162514264337593543950335",
            "-0.0000000000000000000000000001",
        ] {
            check(&Decimal::from_str_exact(longest).unwrap());
        }
    }
}

#[test]
fn of_values_without_bounds() {
    for padding in [Padding::Block16, Padding::Padme(256), Padding::None] {
        assert_eq!(computed::<String>(padding, None), None);
    }
    assert_eq!(computed::<String>(Padding::Fixed(32), None), Some([93, 129]));
    // Longer than any token.
    assert_eq!(computed::<String>(Padding::Block16, Some(u32::MAX)), None);
}
