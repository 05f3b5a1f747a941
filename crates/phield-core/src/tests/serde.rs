//! Sealed values, index values and UIDs in JSON and in binary formats; and what has no `Serialize`.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::de::value::{
    BorrowedBytesDeserializer, BorrowedStrDeserializer, BytesDeserializer, Error as ValueError,
    SeqDeserializer, StrDeserializer, StringDeserializer,
};
use serde::{Deserialize, Serialize};
use static_assertions::assert_not_impl_any;

use crate::blind_index::BlindIndex;
use crate::column::Column;
use crate::frame::Padding;
use crate::key::{self, KeyId};
use crate::keyring::Keyring;
use crate::local::{LocalKeyFile, LocalProvider, Passphrase};
use crate::name::AppName;
use crate::phi::Phi;
use crate::sealed::{Sealed, SealedText};
use crate::subject_key::{SubjectKey, SubjectKeyMap, SubjectKeyring};
use crate::uid::{SessionId, Surrogate, Uid};

/// None of these is serialised.
macro_rules! secrets {
    ($($secret:ty),* $(,)?) => {
        $(assert_not_impl_any!($secret: Serialize);)*
        const SECRETS: &[&str] = &[$(stringify!($secret)),*];
    };
}
secrets!(
    Phi<String>,
    Phi<Vec<u8>>,
    Phi<i64>,
    Option<Phi<bool>>,
    Surrogate,
    SessionId,
    key::KeyMaterial,
    key::DataKey,
    key::Pepper,
    key::IndexKey,
    key::UidPepper,
    key::UidKey,
    key::RingKey,
    key::Kek,
    key::FileKey,
    key::CheckedKey,
    key::RowKey,
    key::SubjectSecret,
    key::WrapKey,
    key::FileContentKey,
    crate::index_algorithm::IndexKeys,
    Keyring,
    SubjectKey,
    SubjectKeyMap,
    SubjectKeyring<'static>,
    Passphrase,
    LocalKeyFile,
    LocalProvider,
    crate::ring::VerifiedRing,
);

#[test]
fn the_list_of_secrets_has_every_key() {
    let source = include_str!("../key.rs");
    let mut keys = 0;
    for role in source.split("_role! {\n").skip(1) {
        let name = role
            .lines()
            .map(str::trim)
            .find(|line| !line.starts_with("///"))
            .unwrap();
        assert!(SECRETS.contains(&format!("key::{name}").as_str()), "{name}");
        keys += 1;
    }
    assert_eq!(
        keys, 13,
        "the roles are declared in another way: read them in another way"
    );
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Columns {
    id: i64,
    name: Sealed<String>,
    note: Option<SealedText<String>>,
    name_index: BlindIndex,
    patient: Uid,
}

fn uid() -> Uid {
    "10d62c36-43fe-8fb8-8a45-4ab9fd42d5ae".parse().unwrap()
}

fn index() -> BlindIndex {
    BlindIndex::new(KeyId::new(0xa1).unwrap(), &[0xbc; 32], 12)
}

fn columns() -> Columns {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let column = || Column::<String, i64>::new("patients", "name", Padding::Block16);
    Columns {
        id: 7,
        name: column().seal(&keyring, &7, &"Ada".into()).unwrap(),
        note: Some(column().seal(&keyring, &7, &"cough".into()).unwrap()),
        name_index: index(),
        patient: uid(),
    }
}

fn assert_same(a: &Columns, b: &Columns) {
    assert_eq!(a.id, b.id);
    assert_eq!(a.name.as_bytes(), b.name.as_bytes());
    let text = |columns: &Columns| columns.note.as_ref().map(|note| note.as_str().to_owned());
    assert_eq!(text(a), text(b));
    assert_eq!((a.name_index, a.patient), (b.name_index, b.patient));
}

#[test]
fn a_row_in_json_is_text() {
    let row = columns();
    let json = serde_json::to_value(&row).unwrap();
    let text: SealedText<String> = crate::sealed::Storage::from_token(row.name.as_bytes().to_vec());
    assert_eq!(json["name"], text.as_str());
    assert_eq!(json["note"], row.note.as_ref().unwrap().as_str());
    assert!(json["note"].as_str().unwrap().starts_with("phi1."));
    assert_eq!(json["name_index"], "000000a1bcb0");
    assert_eq!(json["patient"], "10d62c36-43fe-8fb8-8a45-4ab9fd42d5ae");
    assert_same(&serde_json::from_value(json.clone()).unwrap(), &row);
    assert_same(&serde_json::from_str(&json.to_string()).unwrap(), &row);
    assert_same(
        &serde_json::from_reader(json.to_string().as_bytes()).unwrap(),
        &row,
    );

    let without = Columns { note: None, ..row };
    let json = serde_json::to_string(&without).unwrap();
    assert!(json.contains(r#""note":null"#), "{json}");
    assert_same(&serde_json::from_str(&json).unwrap(), &without);
}

#[test]
fn a_row_in_a_binary_format_is_bytes() {
    let row = columns();
    let (token, text) = (row.name.as_bytes(), row.note.as_ref().unwrap().as_str());
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let check = |bytes: &[u8]| {
        assert!(has(bytes, token) && has(bytes, &crate::token::from_text(text).unwrap()));
        assert!(has(bytes, index().as_bytes()) && has(bytes, uid().as_uuid().as_bytes()));
        assert!(!has(bytes, b"phi1."));
    };

    let postcard = postcard::to_stdvec(&row).unwrap();
    check(&postcard);
    assert_same(&postcard::from_bytes(&postcard).unwrap(), &row);

    let pack = rmp_serde::to_vec(&row).unwrap();
    check(&pack);
    assert_same(&rmp_serde::from_slice(&pack).unwrap(), &row);
    assert_same(&rmp_serde::from_read(pack.as_slice()).unwrap(), &row);

    let mut cbor = Vec::new();
    ciborium::into_writer(&row, &mut cbor).unwrap();
    check(&cbor);
    assert_same(&ciborium::from_reader(cbor.as_slice()).unwrap(), &row);

    // Cut anywhere, none is a row; nothing panics.
    for cut in 0..postcard.len() {
        assert!(postcard::from_bytes::<Columns>(&postcard[..cut]).is_err());
    }
    for cut in 0..cbor.len() {
        assert!(ciborium::from_reader::<Columns, _>(&cbor[..cut]).is_err());
    }
}

/// serde keeps what it has read of these in a buffer that says it is human-readable, also in a binary format.
#[test]
fn a_row_behind_a_buffer_of_serde() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Row(Columns),
        Other(i64),
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Flat {
        kind: String,
        #[serde(flatten)]
        row: Columns,
    }
    let row = columns();
    let either = Either::Row(row.clone());
    let flat = Flat {
        kind: "patient".to_owned(),
        row: row.clone(),
    };
    fn back<T: Serialize + DeserializeOwned>(value: &T) -> [T; 3] {
        let mut cbor = Vec::new();
        ciborium::into_writer(value, &mut cbor).unwrap();
        [
            ciborium::from_reader(cbor.as_slice()).unwrap(),
            rmp_serde::from_slice(&rmp_serde::to_vec_named(value).unwrap()).unwrap(),
            serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap(),
        ]
    }
    for read in back(&either) {
        match read {
            Either::Row(read) => assert_same(&read, &row),
            Either::Other(other) => panic!("{other}"),
        }
    }
    for read in back(&flat) {
        assert_same(&read.row, &row);
    }
}

/// Every way in which a format can hand out text or bytes.
fn every_way<T: DeserializeOwned>(text: &str, bytes: &[u8]) -> Vec<Result<T, ValueError>> {
    vec![
        T::deserialize(StrDeserializer::new(text)),
        T::deserialize(StringDeserializer::new(text.to_owned())),
        T::deserialize(BorrowedStrDeserializer::new(text)),
        T::deserialize(BytesDeserializer::new(bytes)),
        T::deserialize(BorrowedBytesDeserializer::new(bytes)),
        T::deserialize(SeqDeserializer::new(bytes.iter().copied())),
        // A byte buffer of its own, in a format that says it is binary.
        ciborium::Value::Bytes(bytes.to_vec())
            .deserialized()
            .map_err(serde::de::Error::custom),
    ]
}

#[test]
fn text_and_bytes_are_read_in_every_way() {
    let row = columns();
    let (token, text) = (row.name.as_bytes(), crate::token::to_text(row.name.as_bytes()));
    for read in every_way::<Sealed<String>>(&text, token) {
        assert_eq!(read.unwrap().as_bytes(), token);
    }
    for read in every_way::<SealedText<String>>(&text, token) {
        assert_eq!(read.unwrap().as_str(), text);
    }
    for read in every_way::<BlindIndex>("000000a1bcb0", index().as_bytes()) {
        assert_eq!(read.unwrap(), index());
    }
    for read in every_way::<Uid>(&uid().to_string(), uid().as_uuid().as_bytes()) {
        assert_eq!(read.unwrap(), uid());
    }
}

fn assert_refused<T: DeserializeOwned + Debug>(text: &str, bytes: &[u8], refused: &str) {
    for read in every_way::<T>(text, bytes) {
        let error = read.unwrap_err().to_string();
        assert!(
            error.contains(refused) && error.len() < refused.len() + 24,
            "{error}"
        );
    }
}

#[test]
fn what_is_none_is_refused_in_every_way() {
    let token = columns().name.as_bytes().to_vec();
    let text = crate::token::to_text(&token);
    let (mut suite, mut key) = (token.clone(), token.clone());
    suite[0] = 0x13;
    key[1..5].fill(0);
    for bytes in [
        &suite,
        &key,
        &token[..62].to_vec(),
        &Vec::new(),
        &text.clone().into_bytes(),
    ] {
        let of_bytes = crate::token::to_text(bytes);
        for text in [
            of_bytes.as_str(),
            "",
            "999-12-3456",
            "phi1.",
            &format!("{text}="),
            &text[5..],
        ] {
            assert_refused::<Sealed<String>>(text, bytes, "not a phield v1 token");
            assert_refused::<SealedText<String>>(text, bytes, "not a phield v1 token");
        }
    }
    for (text, bytes) in [
        ("000000A1BCB0", &[0, 0, 0, 5][..]),
        ("000000a1bcb", &[0, 0, 0, 0, 1]),
        ("00000000bcb0", &[1; 37]),
        ("999-12-3456", b""),
        ("", b"\0"),
        (" 000000a1bcb0", &[7; 38]),
    ] {
        assert_refused::<BlindIndex>(text, bytes, "not a blind index");
    }
    for (text, bytes) in [
        ("10D62C36-43FE-8FB8-8A45-4AB9FD42D5AE", &[0; 16][..]),
        (
            "10d62c36-43fe-4fb8-8a45-4ab9fd42d5ae",
            &uid().as_uuid().as_bytes()[..15],
        ),
        ("999-12-3456", &[0x80; 17]),
    ] {
        assert_refused::<Uid>(
            text,
            bytes,
            "a UID is a UUID of version 8 in 36 lower-case characters",
        );
    }
}

/// A plain value where a token should be, a column in the wrong place: PHI, which is not repeated.
#[test]
fn errors_quote_nothing() {
    fn errors<T: DeserializeOwned + Debug>() -> Vec<String> {
        let json = |json: &str| serde_json::from_str::<T>(json).unwrap_err().to_string();
        let mut errors: Vec<_> = [
            "999123456",
            "-999123456",
            "999123456.5",
            "\"999-12-3456\"",
            "\"phi1.999123456\"",
            "true",
            "null",
            "[999123456]",
            "[999, 12]",
            "{\"ssn\": \"999123456\"}",
            "\"999123456",
        ]
        .map(json)
        .into();
        let mut cbor = Vec::new();
        ciborium::into_writer(&("999123456", 999_123_456), &mut cbor).unwrap();
        errors.push(
            ciborium::from_reader::<T, _>(cbor.as_slice())
                .unwrap_err()
                .to_string(),
        );
        for value in [
            rmp_serde::to_vec(&"999123456").unwrap(),
            rmp_serde::to_vec(&999_123_456).unwrap(),
            rmp_serde::to_vec(&["999123456"]).unwrap(),
            rmp_serde::to_vec(&Some(999_123_456.5)).unwrap(),
        ] {
            errors.push(rmp_serde::from_slice::<T>(&value).unwrap_err().to_string());
        }
        errors.push(postcard::from_bytes::<T>(b"\x049991").unwrap_err().to_string());
        errors
    }
    let all = [
        errors::<Sealed<String>>(),
        errors::<SealedText<String>>(),
        errors::<BlindIndex>(),
        errors::<Uid>(),
    ];
    for error in all.into_iter().flatten() {
        assert!(!error.contains("999") && !error.contains("ssn"), "{error}");
    }
    // In a row, the place is still told.
    let wrong = "{\"id\": 1,\n\"name\": 999123456}";
    let error = serde_json::from_str::<Columns>(wrong).unwrap_err().to_string();
    assert!(error.starts_with("not a phield v1 token at line 2"), "{error}");
}

/// A length that a short message claims takes no memory, and bytes without end are not collected.
#[test]
fn claimed_lengths_and_endless_sequences() {
    // CBOR: bytes of length 2^60.
    let claimed = [0x5b, 0x10, 0, 0, 0, 0, 0, 0, 0, 1];
    assert!(ciborium::from_reader::<Sealed<String>, _>(claimed.as_slice()).is_err());
    let endless = SeqDeserializer::<_, ValueError>::new(std::iter::repeat(0x11_u8));
    assert!(Sealed::<String>::deserialize(endless).is_err());
    let endless = SeqDeserializer::<_, ValueError>::new(std::iter::repeat(0x11_u8));
    assert!(BlindIndex::deserialize(endless).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trips(value in "\\PC{0,80}", bits in 1_u16..=256, mac: [u8; 32], id in 1_u32.., uuid: u128) {
        let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
        let column = || Column::<String, i64>::new("t", "c", Padding::None);
        let row = Columns {
            id: i64::from(id),
            name: column().seal(&keyring, &1, &value.clone().into()).unwrap(),
            note: Some(column().seal(&keyring, &1, &value.into()).unwrap()),
            name_index: BlindIndex::new(KeyId::new(id).unwrap(), &mac, bits),
            patient: Uid::from_uuid(uuid::Builder::from_custom_bytes(uuid.to_be_bytes()).into_uuid()).unwrap(),
        };
        let mut cbor = Vec::new();
        ciborium::into_writer(&row, &mut cbor).unwrap();
        let read: [Columns; 4] = [
            serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap(),
            postcard::from_bytes(&postcard::to_stdvec(&row).unwrap()).unwrap(),
            rmp_serde::from_slice(&rmp_serde::to_vec(&row).unwrap()).unwrap(),
            ciborium::from_reader(cbor.as_slice()).unwrap(),
        ];
        for read in &read {
            assert_same(read, &row);
            let opened = column().open(&keyring, &1, &read.name).unwrap();
            prop_assert_eq!(opened, column().open(&keyring, &1, &row.name).unwrap());
        }
    }

    #[test]
    fn arbitrary_input_never_panics(text: String, bytes: Vec<u8>) {
        for bytes in [bytes, text.clone().into_bytes()] {
            let _ = every_way::<Sealed<String>>(&text, &bytes);
            let _ = every_way::<SealedText<String>>(&text, &bytes);
            let _ = every_way::<BlindIndex>(&text, &bytes);
            let _ = every_way::<Uid>(&text, &bytes);
            let _ = postcard::from_bytes::<Columns>(&bytes);
            let _ = ciborium::from_reader::<Columns, _>(bytes.as_slice());
            let _ = rmp_serde::from_slice::<Columns>(&bytes);
        }
    }
}
