//! Properties of sealing and opening.

use std::collections::HashSet;

use hmac::digest::Digest as _;
use proptest::prelude::*;
use sha2::Sha256;

use crate::context::Row;
use crate::field::Field;
use crate::frame::Padding;
use crate::kdf::Prf;
use crate::keyring::Keyring;
use crate::name::{AppName, ColumnName, TableName};
use crate::phi::Phi;
use crate::row::Sealer;
use crate::sealed::{Sealed, SealedText, Storage};
use crate::token::{Suite, TokenInfo};
use crate::value::Value;

static TABLE: TableName = TableName::from_static("patients");
const COLUMN: ColumnName = ColumnName::from_static("c");

/// Of the other suite on demand, where the FIPS profile does not refuse it.
fn keyring(xchacha: bool) -> Keyring {
    let suite = if xchacha && !cfg!(feature = "fips") {
        Suite::XChaCha20Poly1305
    } else {
        Suite::Aes256Gcm
    };
    Keyring::ephemeral_with_suite(AppName::from_static("emr"), suite).unwrap()
}

/// Seals and opens one value in both storages; returns the length of the token.
fn round_trip<T: Value + Clone + PartialEq + std::fmt::Debug>(
    value: T,
    padding: Padding,
    xchacha: bool,
) -> usize {
    let keyring = keyring(xchacha);
    let row = Row::new(&TABLE, "row").unwrap();
    let value = Phi::new(value);
    let field = || Field::new(COLUMN, &value).unwrap().with_padding(padding);
    let [token] = keyring.seal_row(&row, [field()]).unwrap();
    let binary: Sealed<T> = token.required().unwrap();
    let len = binary.as_bytes().len();
    let text: SealedText<T> = Storage::from_token(binary.as_bytes().to_vec());
    let again = SealedText::<T>::from_text(text.as_str().to_owned()).unwrap();
    let mut opener = keyring.opener(&row).unwrap();
    assert_eq!(
        opener.open_field(&COLUMN, None, binary).unwrap().expose(),
        value.expose()
    );
    assert_eq!(
        opener.open_field(&COLUMN, None, again).unwrap().expose(),
        value.expose()
    );
    len
}

fn any_padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Block16),
        Just(Padding::None),
        (300u32..2000).prop_map(Padding::Fixed),
        (2u32..300).prop_map(Padding::Padme)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn open_gives_back_what_was_sealed(
        text in ".{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..250), i: i64, s: i8, u: u32, b: bool, id: u128,
        padding in any_padding(), xchacha: bool,
    ) {
        round_trip(text.clone(), padding, xchacha);
        round_trip(bytes, padding, xchacha);
        round_trip(i, padding, xchacha);
        round_trip(s, padding, xchacha);
        round_trip(u, padding, xchacha);
        round_trip(u64::from(u), padding, xchacha);
        // a bool is never sealed without padding.
        round_trip(b, if padding == Padding::None { Padding::Block16 } else { padding }, xchacha);
        round_trip(uuid::Uuid::from_u128(id), padding, xchacha);
        round_trip(Some(text), padding, xchacha);
        round_trip(None::<i64>, padding, xchacha);
    }

    #[cfg(all(feature = "chrono", feature = "time"))]
    #[test]
    fn dates_are_one_format(days in 0u32..3_652_059, padding in any_padding()) {
        let chrono = chrono::NaiveDate::from_ymd_opt(1, 1, 1).unwrap() + chrono::Days::new(u64::from(days));
        let time = time::Date::from_calendar_date(1, time::Month::January, 1).unwrap() + time::Duration::days(i64::from(days));
        round_trip(chrono, padding, false);
        round_trip(time, padding, false);
        let encoded = chrono.encode().unwrap();
        let other = time.encode().unwrap();
        prop_assert_eq!(encoded.as_bytes(), other.as_bytes());
        let text = std::str::from_utf8(encoded.as_bytes()).unwrap().to_owned();
        prop_assert_eq!(text, chrono.to_string());
    }

    /// What shows of a value is its padded length and nothing else.
    #[test]
    fn length_depends_on_the_padded_length_alone(a in "[ -~]{0,14}", b: bool, i: i64, padding in any_padding()) {
        let expect = |len: usize| 61 + padding.padded_len(crate::frame::unpadded_len(len)).unwrap();
        prop_assert_eq!(round_trip(a.clone(), padding, false), expect(a.len()));
        prop_assert_eq!(round_trip(a.clone(), Padding::Block16, b), 77);
        prop_assert_eq!(round_trip(b, Padding::Block16, b), 77);
        prop_assert_eq!(round_trip(None::<String>, Padding::Block16, b), 77);
        prop_assert_eq!(round_trip(i, padding, b), expect(8));
    }

    /// The KDF equals SP 800-108r1 in counter mode, written out on SHA-256 alone.
    #[test]
    fn kdf_is_sp_800_108(key: [u8; 32], label in "[a-z.]{1,20}", context: Vec<u8>, len in 1usize..200) {
        let mut out = vec![0; len];
        Prf::new(&key).derive_into(&label, &[&context], &mut out);
        let mut expected = Vec::new();
        let mut counter = 1_u32;
        while expected.len() < len {
            let bits = u32::try_from(len * 8).unwrap().to_be_bytes();
            let input = [counter.to_be_bytes().as_slice(), label.as_bytes(), &[0], &context, &bits].concat();
            expected.extend_from_slice(&independent_hmac(&key, &input));
            counter += 1;
        }
        expected.truncate(len);
        prop_assert_eq!(out, expected);
    }
}

/// FIPS 198-1, on SHA-256.
fn independent_hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// no two rows of a batch share a salt, the fields of one row do, and no nonce repeats within a row.
#[test]
fn salts_of_a_batch() {
    let keyring = keyring(false);
    let mut salts = HashSet::new();
    let (name, ssn) = (Phi::from("Ada"), Phi::from("999-12-3456"));
    // Half of the rows are beyond what was announced; unbound rows and rows of one id must differ too.
    let mut sealer = Sealer::new(&keyring, 1000, 2).unwrap();
    for n in 0..2000_i64 {
        let id = n % 3;
        let row = match n % 2 {
            0 => Row::new(&TABLE, &id).unwrap(),
            _ => Row::new(&TABLE, &crate::binding::Unbound).unwrap(),
        };
        let fields = [
            Field::new(COLUMN, &name).unwrap(),
            Field::new(ColumnName::from_static("d"), &ssn).unwrap(),
        ];
        let tokens = sealer
            .seal_row(&row, fields)
            .unwrap()
            .map(|t| t.required::<Sealed<String>>().unwrap());
        let [a, b] = tokens.map(|t| (t.info().unwrap().row_salt, t.as_bytes()[33..45].to_vec()));
        assert_eq!(a.0, b.0);
        assert_ne!(a.1, b.1);
        assert!(salts.insert(a.0));
    }
    assert_eq!(salts.len(), 2000);
}

/// The derivation of a row is shared by its tokens, and redone for a token of another call.
#[test]
fn rows_with_tokens_of_several_calls() {
    let keyring = keyring(false);
    let row = Row::new(&TABLE, &7_i64).unwrap();
    let values = ["a", "b", "c"].map(|v| Phi::new(v.to_owned()));
    let columns = ["a", "b", "c"].map(ColumnName::from_static);
    let seal = |n: usize| {
        let [token] = keyring
            .seal_row(&row, [Field::new(columns[n].clone(), &values[n]).unwrap()])
            .unwrap();
        token.required::<Sealed<String>>().unwrap()
    };
    let sealed = [seal(0), seal(1), seal(2)];
    let mut opener = keyring.opener(&row).unwrap();
    for n in [0, 1, 0, 2, 2, 1] {
        let opened = opener.open_field(&columns[n], None, sealed[n].clone()).unwrap();
        assert_eq!(opened.expose(), values[n].expose());
    }
}

#[test]
fn debug_of_sealed_types_shows_what_anybody_can_see() {
    let keyring = keyring(false);
    let row = Row::new(&TABLE, &7_i64).unwrap();
    let name = Phi::from("Ada");
    let field = Field::new(COLUMN, &name).unwrap();
    assert!(!format!("{field:?}").contains("Ada"));
    let [token] = keyring.seal_row(&row, [field]).unwrap();
    let sealed: Sealed<String> = token.required().unwrap();
    let id = sealed.info().unwrap().key_id;
    assert_eq!(
        format!("{sealed:?}"),
        format!("Sealed(key {id}, padded to 16 bytes)")
    );
    let text: SealedText<String> = Storage::from_token(sealed.as_bytes().to_vec());
    assert_eq!(
        format!("{text:?}"),
        format!("SealedText(key {id}, padded to 16 bytes)")
    );
    assert_eq!(format!("{:?}", keyring.opener(&row).unwrap()), "RowOpener { .. }");
    assert!(matches!(TokenInfo::parse(text.as_str().as_bytes()), Ok(info) if info.padded_len == 16));
}
