//! The table case → error class of opening (format §4).

use super::vectors::{TokenVector, token_vector};
use crate::binding::Unbound;
use crate::blind_index::{Index, IndexError};
use crate::column::Column;
use crate::context::Row;
use crate::error::{OpenError, SealError, Unsealable};
use crate::field::Field;
use crate::frame::Padding;
use crate::key::{DataKey, KeyId};
use crate::keyring::Keyring;
use crate::keyring::fixed::{FixedKey, keyring};
use crate::name::{ColumnName, ScopeName, TableName, TenantName};
use crate::normalize::Normalizer;
use crate::phi::Phi;
use crate::record::{KeyState, KeyUse};
use crate::row::{SealingKey, fixed};
use crate::row_id::RowId;
use crate::scope::Scopes;
use crate::sealed::{Sealed, SealedText, Storage};
use crate::token::{self, Suite};
use crate::value::Value;

use OpenError::{Authentication, KeyState as Destroyed, KeyUnavailable, Malformed, UnknownKey};

/// The ring of the table: the key of the vectors under both suites, and keys of every other kind.
fn ring() -> Keyring {
    let key = token_vector("A1").data_key.array();
    let data = |id, suite| FixedKey::data(id, suite, key);
    keyring(
        "emr",
        Scopes::default(),
        [
            data(7, Suite::Aes256Gcm),
            FixedKey {
                state: KeyState::DecryptOnly,
                ..FixedKey::data(8, Suite::Aes256Gcm, [8; 32])
            },
            FixedKey {
                state: KeyState::DecryptOnly,
                ..data(9, Suite::Aes256Gcm)
            },
            FixedKey {
                scope: Some("elsewhere"),
                ..data(10, Suite::Aes256Gcm)
            },
            FixedKey {
                state: KeyState::Destroyed,
                key: None,
                ..data(11, Suite::Aes256Gcm)
            },
            FixedKey {
                key: None,
                state: KeyState::DecryptOnly,
                ..data(12, Suite::Aes256Gcm)
            },
            FixedKey::index(13, key),
            FixedKey {
                key_use: KeyUse::Ring,
                suite: None,
                ..data(14, Suite::Aes256Gcm)
            },
        ],
    )
}

/// The vectors whose bytes are changed, with their rings; the FIPS profile opens the first suite alone.
fn opening() -> Vec<(&'static str, Keyring)> {
    let mut both = vec![("A1", ring()), ("A3", xchacha_ring())];
    if cfg!(feature = "fips") {
        both.pop();
    }
    both
}

/// The same ring, whose key 7 is for the other suite.
fn xchacha_ring() -> Keyring {
    let key = token_vector("A3").data_key.array();
    keyring(
        "emr",
        Scopes::default(),
        [FixedKey::data(7, Suite::XChaCha20Poly1305, key)],
    )
}

fn id(id: u32) -> KeyId {
    KeyId::new(id).unwrap()
}

/// Opens a token in the place of a vector; the class of the failure, or none.
fn open(keyring: &Keyring, place: &TokenVector, token: &[u8]) -> Option<OpenError> {
    place.with_row(|row| {
        keyring
            .opener(row)
            .unwrap()
            .open_token(&place.column(), None, token.to_vec())
            .err()
    })
}

#[test]
fn every_flipped_bit() {
    for (name, keyring) in opening() {
        let v = token_vector(name);
        assert_eq!(open(&keyring, &v, &v.token.0), None);
        for bit in 0..v.token.0.len() * 8 {
            let mut token = v.token.0.clone();
            token[bit / 8] ^= 1 << (bit % 8);
            let class = open(&keyring, &v, &token).expect("a changed token does not open");
            let expected = match bit / 8 {
                // A flipped suite byte is no suite, but for the two bits that make one of the other (0x11 ^ 0x12).
                0 => Malformed,
                1..=4 => {
                    let changed = u32::from_be_bytes(token[1..5].try_into().unwrap());
                    match changed {
                        // Key 5, 3, 6 and all the far ones are unknown; 7 ^ 8 = 15 is unknown too.
                        0 => Malformed,
                        other => UnknownKey(id(other)),
                    }
                }
                _ => Authentication,
            };
            assert_eq!(class, expected, "{name}, bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_every_extension_by_a_byte() {
    for (name, keyring) in opening() {
        let v = token_vector(name);
        for end in 0..v.token.0.len() {
            let class = if end < 63 { Malformed } else { Authentication };
            assert_eq!(
                open(&keyring, &v, &v.token.0[..end]),
                Some(class),
                "{name}, {end} bytes"
            );
        }
        for byte in 0..=255 {
            let longer = [v.token.0.as_slice(), &[byte]].concat();
            assert_eq!(
                open(&keyring, &v, &longer),
                Some(Authentication),
                "{name}, byte {byte}"
            );
        }
    }
}

#[test]
fn suite_byte_and_key_id() {
    let (ring, a1) = (ring(), token_vector("A1"));
    let with = |at: usize, bytes: &[u8]| {
        let mut token = a1.token.0.clone();
        token[at..at + bytes.len()].copy_from_slice(bytes);
        open(&ring, &a1, &token)
    };
    assert_eq!(with(0, &[0x12]), Some(Authentication), "suite swapped");
    assert_eq!(
        open(&xchacha_ring(), &a1, &a1.token.0),
        Some(Authentication),
        "key of the other suite"
    );
    assert_eq!(with(0, &[0x10]), Some(Malformed), "unknown suite");
    assert_eq!(with(1, &0_u32.to_be_bytes()), Some(Malformed), "key id 0");
    assert_eq!(
        with(1, &99_u32.to_be_bytes()),
        Some(UnknownKey(id(99))),
        "unknown key"
    );
    assert_eq!(with(1, &8_u32.to_be_bytes()), Some(Authentication), "another key");
    assert_eq!(
        with(1, &9_u32.to_be_bytes()),
        Some(Authentication),
        "another id of the same key"
    );
    assert_eq!(
        with(1, &10_u32.to_be_bytes()),
        Some(Authentication),
        "key of another scope"
    );
    assert_eq!(
        with(1, &11_u32.to_be_bytes()),
        Some(Destroyed(id(11))),
        "destroyed key"
    );
    assert_eq!(
        with(1, &12_u32.to_be_bytes()),
        Some(KeyUnavailable(id(12))),
        "key out of reach"
    );
    assert_eq!(
        with(1, &13_u32.to_be_bytes()),
        Some(Authentication),
        "an index pepper"
    );
    assert_eq!(
        with(1, &14_u32.to_be_bytes()),
        Some(Authentication),
        "the ring key"
    );
}

/// The order of §4: use, state, scope and suite, then availability.
#[test]
fn the_order_of_the_checks() {
    let a1 = token_vector("A1");
    let class = |key: FixedKey| open(&keyring("emr", Scopes::default(), [key]), &a1, &a1.token.0);
    let data = || FixedKey::data(7, Suite::Aes256Gcm, a1.data_key.array());
    let destroyed = || FixedKey {
        state: KeyState::Destroyed,
        ..data()
    };
    assert_eq!(
        class(FixedKey {
            key_use: KeyUse::Index,
            suite: None,
            ..destroyed()
        }),
        Some(Authentication)
    );
    assert_eq!(
        class(FixedKey {
            scope: Some("x"),
            ..destroyed()
        }),
        Some(Destroyed(id(7)))
    );
    assert_eq!(
        class(FixedKey {
            suite: Some(Suite::XChaCha20Poly1305),
            ..destroyed()
        }),
        Some(Destroyed(id(7)))
    );
    assert_eq!(
        class(FixedKey {
            scope: Some("x"),
            key: None,
            ..data()
        }),
        Some(Authentication)
    );
    assert_eq!(
        class(FixedKey {
            suite: Some(Suite::XChaCha20Poly1305),
            key: None,
            ..data()
        }),
        Some(Authentication)
    );
    assert_eq!(
        class(FixedKey { key: None, ..data() }),
        Some(KeyUnavailable(id(7)))
    );
    for state in [
        KeyState::PreActive,
        KeyState::Active,
        KeyState::DecryptOnly,
        KeyState::Compromised,
    ] {
        assert_eq!(class(FixedKey { state, ..data() }), None, "{state}");
    }
}

#[test]
fn parts_swapped_between_tokens() {
    let (a1, a2) = (token_vector("A1"), token_vector("A2"));
    // Another row, so that the salts and commitments differ too.
    let other = {
        let key = DataKey::new(&a1.data_key.array());
        let key = SealingKey {
            id: id(7),
            suite: Suite::Aes256Gcm,
            key: &key,
        };
        let field = fixed::field(a1.column(), None, Padding::Block16, a1.value_type(), &a1.value.0);
        let [token] = fixed::seal(&key, [1; 12], [[2; 12]], &a1.encoded_row(), [field]).unwrap();
        token
    };
    let ring = ring();
    assert_eq!(open(&ring, &a1, &other), None);
    assert_eq!(
        open(&ring, &a1, &a2.token.0),
        Some(Authentication),
        "a token of another column"
    );
    for (part, range) in [
        ("salt", 5..17),
        ("commitment", 17..33),
        ("nonce", 33..45),
        ("body", 45..61),
        ("tag", 61..77),
    ] {
        for from in [&a2.token.0, &other] {
            let mut token = a1.token.0.clone();
            token[range.clone()].copy_from_slice(&from[range.clone()]);
            let same = token == a1.token.0;
            assert_eq!(
                open(&ring, &a1, &token),
                (!same).then_some(Authentication),
                "{part}"
            );
        }
    }
}

#[test]
fn every_part_of_the_identity() {
    let a1 = token_vector("A1");
    let key = a1.data_key.array();
    let in_app = |app| keyring(app, Scopes::default(), [FixedKey::data(7, Suite::Aes256Gcm, key)]);
    let (ring, other_app) = (in_app("emr"), in_app("emr2"));
    let table = |name| TableName::from_static(name);
    let (patients, visits, ssn) = (table("patients"), table("visits"), ColumnName::from_static("ssn"));
    let (t1, t2) = (TenantName::from_static("t1"), TenantName::from_static("t2"));
    let (int, text, bytes) = (
        RowId::Integer(42),
        RowId::Text("42".into()),
        RowId::Bytes(b"42".into()),
    );
    let (big, composite) = (RowId::Integer(43), RowId::Composite(vec![RowId::Integer(42)]));
    let empty = RowId::Text("".into());
    let uuid = RowId::Uuid(uuid::Uuid::from_u128(42));

    struct Case<'a> {
        what: &'static str,
        keyring: &'a Keyring,
        table: &'a TableName,
        tenant: Option<&'a TenantName>,
        /// `None` for an unbound row.
        id: Option<&'a RowId<'a>>,
        subject: Option<&'a RowId<'a>>,
        column: &'a ColumnName,
        extra: Option<&'a [u8]>,
    }
    let right = || Case {
        what: "the right identity",
        keyring: &ring,
        table: &patients,
        tenant: Some(&t1),
        id: Some(&int),
        subject: None,
        column: &ssn,
        extra: None,
    };
    let (dob, upper) = (ColumnName::from_static("dob"), ColumnName::from_static("SSN"));
    let cases = [
        Case {
            what: "app",
            keyring: &other_app,
            ..right()
        },
        Case {
            what: "tenant changed",
            tenant: Some(&t2),
            ..right()
        },
        Case {
            what: "tenant removed",
            tenant: None,
            ..right()
        },
        Case {
            what: "table",
            table: &visits,
            ..right()
        },
        Case {
            what: "row id changed",
            id: Some(&big),
            ..right()
        },
        Case {
            what: "row id as text",
            id: Some(&text),
            ..right()
        },
        Case {
            what: "row id as bytes",
            id: Some(&bytes),
            ..right()
        },
        Case {
            what: "row id as uuid",
            id: Some(&uuid),
            ..right()
        },
        Case {
            what: "row id as composite",
            id: Some(&composite),
            ..right()
        },
        Case {
            what: "row id emptied",
            id: Some(&empty),
            ..right()
        },
        Case {
            what: "row id removed",
            id: None,
            ..right()
        },
        Case {
            what: "subject added",
            subject: Some(&int),
            ..right()
        },
        Case {
            what: "column",
            column: &dob,
            ..right()
        },
        Case {
            what: "column in another case",
            column: &upper,
            ..right()
        },
        Case {
            what: "extra added",
            extra: Some(b"rev=1"),
            ..right()
        },
        Case {
            what: "extra empty, not absent",
            extra: Some(b""),
            ..right()
        },
    ];
    let open = |case: &Case<'_>| {
        let mut row = match case.id {
            Some(id) => Row::new(case.table, id),
            None => Row::new(case.table, &Unbound),
        }
        .unwrap();
        if let Some(tenant) = case.tenant {
            row = row.with_tenant(tenant);
        }
        if let Some(subject) = case.subject {
            row = row.with_subject(subject).unwrap();
        }
        let mut opener = case.keyring.opener(&row).unwrap();
        opener
            .open_token(case.column, case.extra, a1.token.0.clone())
            .err()
    };
    assert_eq!(open(&right()), None);
    for case in &cases {
        assert_eq!(open(case), Some(Authentication), "{}", case.what);
    }
    // A row id that nothing can have been sealed with.
    let long = RowId::Text("x".repeat(1025).into());
    assert_eq!(
        ring.opener(&Row::new(&patients, &long).unwrap()).err(),
        Some(Authentication)
    );
    let mut opener = ring.opener(&Row::new(&patients, &int).unwrap()).unwrap();
    assert_eq!(
        opener
            .open_token(&ssn, Some(&[0; 1025]), a1.token.0.clone())
            .err(),
        Some(Authentication)
    );
}

/// Parts that A1 does not have: the tenant where there is one, the row id, the extra of A5, the subject of A18.
#[test]
fn optional_parts_removed_emptied_and_added() {
    let (a4, a5, a18) = (token_vector("A4"), token_vector("A5"), token_vector("A18"));
    let opened = |v: &TokenVector, row: &Row<'_>, extra: Option<&[u8]>| {
        let key = FixedKey::data(v.key_id, v.suite(), v.data_key.array());
        let keyring = keyring("emr", Scopes::default(), [key]);
        keyring
            .opener(row)
            .unwrap()
            .open_token(&v.column(), extra, v.token.0.clone())
            .err()
    };
    // A4 is unbound and has no tenant: neither can be added.
    let (table, tenant) = (a4.table(), TenantName::from_static("t1"));
    let unbound = || Row::new(&table, &Unbound).unwrap();
    assert_eq!(opened(&a4, &unbound(), None), None);
    assert_eq!(
        opened(&a4, &unbound().with_tenant(&tenant), None),
        Some(Authentication)
    );
    for id in ["", "1"] {
        assert_eq!(
            opened(&a4, &Row::new(&table, id).unwrap(), None),
            Some(Authentication),
            "row id {id:?}"
        );
        let subject = unbound().with_subject(id).unwrap();
        assert_eq!(
            opened(&a4, &subject, None),
            Some(Authentication),
            "subject {id:?}"
        );
    }
    // A5 has an extra.
    let extra = a5.extra.as_ref().map(|extra| extra.0.as_slice());
    a5.with_row(|row| {
        assert_eq!(opened(&a5, row, extra), None);
        for other in [None, Some(&b""[..]), Some(b"rev=4"), Some(b"rev=33")] {
            assert_eq!(opened(&a5, row, other), Some(Authentication), "{other:?}");
        }
    });
    // A18 belongs to a subject.
    a18.with_row(|row| assert_eq!(opened(&a18, row, None), None));
    let (table, tenant) = (a18.table(), a18.tenant().unwrap());
    let id = a18
        .row_id
        .as_ref()
        .map(|id| super::vectors::row_id(&id.0))
        .unwrap();
    let row = || Row::new(&table, &id).unwrap().with_tenant(&tenant);
    assert_eq!(
        opened(&a18, &row(), None),
        Some(Authentication),
        "subject removed"
    );
    for other in [RowId::Text("".into()), RowId::Integer(1)] {
        let row = row().with_subject(&other).unwrap();
        assert_eq!(
            opened(&a18, &row, None),
            Some(Authentication),
            "subject {other:?}"
        );
    }
    // No tenant, and an empty one: the second cannot even be written.
    assert!(TenantName::new("").is_err());
}

#[test]
fn frames_that_are_none() {
    let a1 = token_vector("A1");
    let (ring, row, column) = (ring(), a1.encoded_row(), a1.column());
    let key = DataKey::new(&a1.data_key.array());
    let key = SealingKey {
        id: id(7),
        suite: Suite::Aes256Gcm,
        key: &key,
    };
    let typed = |frame: &[u8]| {
        let token = fixed::seal_frame(&key, &row, &column, frame);
        a1.with_row(|row| {
            let sealed: Sealed<String> = Sealed::from_bytes(token)?;
            ring.opener(row)?
                .open_field::<String>(&column, None, sealed)
                .map(|phi| phi.expose().clone())
        })
    };
    assert_eq!(typed(&[0x01, b'a', 0x80]), Ok("a".to_owned()));
    let bad: [(&str, &[u8]); 12] = [
        ("no 0x80", &[0x01, b'a', 0x00]),
        ("only zeros", &[0x00, 0x00]),
        ("no type", &[0x80, 0x00]),
        ("wrong marker", &[0x01, b'a', 0x40]),
        ("byte behind the marker", &[0x01, b'a', 0x80, 0x01]),
        ("unknown type", &[0x0b, b'a', 0x80]),
        ("bytes where text is declared", &[0x02, b'a', 0x80]),
        ("date where text is declared", b"\x052024-02-29\x80"),
        ("null where it is not declared", &[0x00, 0x80]),
        ("null with a value", &[0x00, b'a', 0x80]),
        ("text that is not UTF-8", &[0x01, 0xff, 0x80]),
        ("audit of a longer frame", &[0xff, 0x80]),
    ];
    for (what, frame) in bad {
        assert_eq!(typed(frame), Err(Authentication), "{what}");
    }
    assert_eq!(typed(&[0x80]), Err(Malformed), "a frame of one byte");
}

#[test]
fn declared_types() {
    let keyring = Keyring::ephemeral("emr".parse_app()).unwrap();
    let (table, column) = (TableName::from_static("t"), ColumnName::from_static("c"));
    let row = Row::new(&table, &1_i64).unwrap();
    fn seal<T: Value>(keyring: &Keyring, row: &Row<'_>, value: T) -> Vec<u8> {
        let value = Phi::new(value);
        let [token] = keyring
            .seal_row(row, [Field::new(ColumnName::from_static("c"), &value).unwrap()])
            .unwrap();
        token.required::<Sealed<T>>().unwrap().into_token().unwrap()
    }
    fn open<T: Value + Clone>(keyring: &Keyring, row: &Row<'_>, token: &[u8]) -> Result<T, OpenError> {
        let sealed = Sealed::<T>::from_bytes(token.to_vec()).unwrap();
        keyring
            .opener(row)?
            .open_field(&ColumnName::from_static("c"), None, sealed)
            .map(|phi| phi.expose().clone())
    }
    let big = seal(&keyring, &row, 300_i64);
    assert_eq!(open::<i64>(&keyring, &row, &big), Ok(300));
    assert_eq!(open::<u16>(&keyring, &row, &big), Ok(300));
    assert_eq!(
        open::<i8>(&keyring, &row, &big),
        Err(Authentication),
        "an integer out of range"
    );
    assert_eq!(open::<bool>(&keyring, &row, &big), Err(Authentication));
    let null = seal(&keyring, &row, None::<bool>);
    assert_eq!(open::<Option<bool>>(&keyring, &row, &null), Ok(None));
    assert_eq!(
        open::<Option<String>>(&keyring, &row, &null),
        Ok(None),
        "a null has no type of its own"
    );
    assert_eq!(open::<bool>(&keyring, &row, &null), Err(Authentication));
    let some = seal(&keyring, &row, true);
    assert_eq!(open::<Option<bool>>(&keyring, &row, &some), Ok(Some(true)));
    let _ = column;
}

/// A short way to an app name in tests.
trait ParseApp {
    fn parse_app(self) -> crate::name::AppName;
}

impl ParseApp for &str {
    fn parse_app(self) -> crate::name::AppName {
        crate::name::AppName::new(self).unwrap()
    }
}

#[test]
fn text_forms_that_are_not_canonical() {
    let a1 = token_vector("A1");
    let text = token::to_text(&a1.token.0);
    assert!(SealedText::<String>::from_text(text.clone()).is_ok());
    let swapped: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect();
    for bad in [
        format!("{text}="),
        format!("{text}\n"),
        text.replacen("phi1.", "phi1:", 1),
        text[5..].to_owned(),
        swapped,
    ] {
        assert_eq!(SealedText::<String>::from_text(bad).err(), Some(Malformed));
    }
    // A text column that was changed after it was read.
    let storage = <SealedText<String> as Storage>::from_token(vec![0; 10]);
    assert_eq!(storage.into_token(), Err(Malformed));
}

#[test]
fn what_cannot_be_sealed() {
    let keyring = Keyring::ephemeral("emr".parse_app()).unwrap();
    let table = TableName::from_static("t");
    let column = || ColumnName::from_static("c");
    let row = Row::new(&table, &1_i64).unwrap();
    let seal = |field: Field<'_>| keyring.seal_row(&row, [field]).err();
    let over = Phi::new("x".repeat((1 << 20) + 1));
    assert_eq!(
        seal(Field::new(column(), &over).unwrap()),
        Some(SealError::Unsealable(Unsealable::ValueTooLong))
    );
    let limit = Phi::new("x".repeat(1 << 20));
    assert_eq!(seal(Field::new(column(), &limit).unwrap()), None);
    let fixed = Field::new(column(), &limit)
        .unwrap()
        .with_padding(Padding::Fixed(32));
    assert_eq!(
        seal(fixed),
        Some(SealError::Unsealable(Unsealable::PaddingTooShort))
    );
    let name = Phi::from("Ada");
    let extra = Field::new(column(), &name).unwrap().with_extra(&[0; 1025]);
    assert_eq!(seal(extra), Some(SealError::Unsealable(Unsealable::Extra)));
    let long = "x".repeat(1025);
    let bad_row = Row::new(&table, &long).unwrap();
    let refused = keyring
        .seal_row(&bad_row, [Field::new(column(), &name).unwrap()])
        .err();
    assert_eq!(refused, Some(SealError::Unsealable(Unsealable::RowId)));
    assert_eq!(Row::new(&table, &u64::MAX).err(), Some(Unsealable::IntegerRange));
    let twice = [
        Field::new(column(), &name).unwrap(),
        Field::new(column(), &name).unwrap(),
    ];
    assert_eq!(
        keyring.seal_row(&row, twice).err(),
        Some(SealError::DuplicateField)
    );
    let lists = [
        Field::new(column(), &name).unwrap().with_extra(b"0"),
        Field::new(column(), &name).unwrap().with_extra(b"1"),
    ];
    assert!(keyring.seal_row(&row, lists).is_ok());
    let [absent] = keyring.seal_row(&row, [Field::absent(column())]).unwrap();
    assert_eq!(
        absent.required::<Sealed<String>>().err(),
        Some(SealError::NoValue)
    );
}

#[test]
fn keys_that_do_not_seal() {
    let table = TableName::from_static("t");
    let name = Phi::from("Ada");
    let seal = |key: FixedKey| {
        let keyring = keyring("emr", Scopes::default(), [key]);
        let row = Row::new(&table, &1_i64).unwrap();
        keyring
            .seal_row(&row, [Field::new(ColumnName::from_static("c"), &name).unwrap()])
            .err()
    };
    let data = || FixedKey::data(7, Suite::Aes256Gcm, [1; 32]);
    assert_eq!(seal(data()), None);
    for state in [
        KeyState::PreActive,
        KeyState::DecryptOnly,
        KeyState::Compromised,
        KeyState::Destroyed,
    ] {
        assert_eq!(
            seal(FixedKey { state, ..data() }),
            Some(SealError::NoActiveKey),
            "{state}"
        );
    }
    assert_eq!(
        seal(FixedKey {
            scope: Some("x"),
            ..data()
        }),
        Some(SealError::NoActiveKey)
    );
    assert_eq!(
        seal(FixedKey { key: None, ..data() }),
        Some(SealError::KeyUnavailable(id(7)))
    );
    assert_eq!(
        seal(FixedKey {
            not_after: 1_700_000_000,
            ..data()
        }),
        Some(SealError::KeyExpired(id(7)))
    );
    assert_eq!(
        seal(FixedKey {
            not_after: u64::MAX,
            ..data()
        }),
        None
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert_eq!(
        seal(FixedKey {
            not_after: now - 290,
            ..data()
        }),
        None,
        "within the grace of 300 s"
    );
    assert_eq!(
        seal(FixedKey {
            not_after: now - 301,
            ..data()
        }),
        Some(SealError::KeyExpired(id(7)))
    );
}

#[test]
fn scopes_choose_and_check_keys() {
    let (t1, t2) = (TenantName::from_static("t1"), TenantName::from_static("t2"));
    let scope = |name: &'static str| Some(ScopeName::from_static(name));
    let scopes = || {
        Scopes::default()
            .assign(None, Some(t1.clone()), scope("a"), [None])
            .assign(None, Some(t2.clone()), scope("b"), [])
    };
    let keys = || {
        [
            FixedKey::data(1, Suite::Aes256Gcm, [1; 32]),
            FixedKey {
                scope: Some("a"),
                ..FixedKey::data(2, Suite::Aes256Gcm, [2; 32])
            },
            FixedKey {
                scope: Some("b"),
                ..FixedKey::data(3, Suite::Aes256Gcm, [3; 32])
            },
        ]
    };
    let table = TableName::from_static("t");
    let (column, name) = (ColumnName::from_static("c"), Phi::from("Ada"));
    let seal = |keyring: &Keyring, tenant: Option<&TenantName>| {
        let row = Row::new(&table, &1_i64).unwrap();
        let row = tenant
            .into_iter()
            .fold(row, |row, tenant| row.with_tenant(tenant));
        let [token] = keyring
            .seal_row(&row, [Field::new(column.clone(), &name).unwrap()])
            .unwrap();
        token.required::<Sealed<String>>().unwrap()
    };
    let open = |keyring: &Keyring, tenant: &TenantName, sealed: Sealed<String>| {
        let row = Row::new(&table, &1_i64).unwrap().with_tenant(tenant);
        keyring
            .opener(&row)
            .unwrap()
            .open_field(&column, None, sealed)
            .err()
    };
    let (scoped, plain) = (
        keyring("emr", scopes(), keys()),
        keyring("emr", Scopes::default(), keys()),
    );
    let key_of = |sealed: &Sealed<String>| sealed.info().unwrap().key_id.get();
    assert_eq!(key_of(&seal(&scoped, Some(&t1))), 2);
    assert_eq!(key_of(&seal(&scoped, Some(&t2))), 3);
    assert_eq!(key_of(&seal(&scoped, None)), 1);
    // Sealed before scopes were introduced: opens where the old scope is listed, and nowhere else.
    assert_eq!(open(&scoped, &t1, seal(&plain, Some(&t1))), None);
    assert_eq!(open(&scoped, &t2, seal(&plain, Some(&t2))), Some(Authentication));
}

#[test]
fn compromised_keys_are_reported() {
    let a1 = token_vector("A1");
    let key = FixedKey {
        state: KeyState::Compromised,
        ..FixedKey::data(7, Suite::Aes256Gcm, a1.data_key.array())
    };
    let keyring = keyring("emr", Scopes::default(), [key]);
    a1.with_row(|row| {
        let mut opener = keyring.opener(row).unwrap();
        assert_eq!(opener.compromised(), None);
        opener.open_token(&a1.column(), None, a1.token.0.clone()).unwrap();
        assert_eq!(opener.compromised(), Some(id(7)));
    });
    assert_eq!(keyring.compromised_opens(), 1);
}

/// A forged token that names a compromised key is no value that was opened under it.
#[test]
fn what_does_not_open_reports_no_compromised_key() {
    let a1 = token_vector("A1");
    let key = FixedKey {
        state: KeyState::Compromised,
        ..FixedKey::data(7, Suite::Aes256Gcm, a1.data_key.array())
    };
    let keyring = keyring("emr", Scopes::default(), [key]);
    for at in [20, 50] {
        let mut token = a1.token.0.clone();
        token[at] ^= 1;
        assert_eq!(open(&keyring, &a1, &token), Some(Authentication));
    }
    assert_eq!(keyring.compromised_opens(), 0);
}

/// A handle of one table does not seal or open in a row of another.
#[test]
fn handles_belong_to_their_table() {
    let keyring = Keyring::ephemeral("emr".parse_app()).unwrap();
    let handle = || Column::<String, i64>::new("patients", "note", Padding::Block16);
    let (patients, visits) = (
        TableName::from_static("patients"),
        TableName::from_static("visits"),
    );
    let (row, other) = (
        Row::new(&patients, &1_i64).unwrap(),
        Row::new(&visits, &1_i64).unwrap(),
    );
    let note = Phi::from("note");
    let refused = keyring.seal_row(&other, [handle().field(&note).unwrap()]);
    assert_eq!(refused.err(), Some(SealError::WrongTable));
    let [token] = keyring.seal_row(&row, [handle().field(&note).unwrap()]).unwrap();
    let sealed: Sealed<String> = token.required().unwrap();
    assert_eq!(
        keyring
            .opener(&other)
            .unwrap()
            .open(&handle(), sealed.clone())
            .err(),
        Some(Authentication)
    );
    assert_eq!(
        keyring.opener(&row).unwrap().open(&handle(), sealed).unwrap(),
        note
    );
}

/// not even without the derive.
#[test]
fn a_bool_is_never_sealed_without_padding() {
    let keyring = Keyring::ephemeral("emr".parse_app()).unwrap();
    let table = TableName::from_static("t");
    let row = Row::new(&table, &1_i64).unwrap();
    let (positive, maybe) = (Phi::new(true), Phi::new(Some(true)));
    let column = ColumnName::from_static("c");
    let field = Field::new(column.clone(), &positive)
        .unwrap()
        .with_padding(Padding::None);
    assert_eq!(
        keyring.seal_row(&row, [field]).err(),
        Some(Unsealable::LengthShows.into())
    );
    let field = Field::new(column, &maybe).unwrap().with_padding(Padding::None);
    assert_eq!(
        keyring.seal_row(&row, [field]).err(),
        Some(Unsealable::LengthShows.into())
    );
}

/// After a change of scope, a search asks the peppers of the former scope too; it never misses rows in silence.
#[test]
fn searches_ask_the_peppers_of_former_scopes() {
    let index = Index::new("t", "i", &["c"], &[Normalizer::Exact], 256);
    let pepper = |id, scope| FixedKey {
        scope,
        ..FixedKey::index(id, [1; 32])
    };
    let value = Phi::from("Ada");
    let parts = || [Some(value.expose().encode().unwrap())];
    let written = |scopes: Scopes, keys: Vec<FixedKey>| {
        keyring("emr", scopes, keys).blind_index(&index, None, &parts())
    };
    let queried = |scopes: Scopes, keys: Vec<FixedKey>| {
        keyring("emr", scopes, keys).index_query(&index, None, &parts())
    };
    let moved = || {
        let scope = |name| Some(ScopeName::from_static(name));
        Scopes::default().assign(None, None, scope("b"), [scope("a")])
    };
    let before = {
        let scopes = Scopes::default().assign(None, None, Some(ScopeName::from_static("a")), []);
        written(scopes, vec![pepper(5, Some("a"))]).unwrap().unwrap()
    };
    let keys = || vec![pepper(5, Some("a")), pepper(6, Some("b"))];
    let after = written(moved(), keys()).unwrap().unwrap();
    let slots = queried(moved(), keys()).unwrap();
    assert!(slots.contains(&before) && slots.contains(&after) && before != after);
    let rotating = FixedKey {
        state: KeyState::DecryptOnly,
        ..pepper(7, Some("b"))
    };
    let many = keys().into_iter().chain([rotating]).collect();
    assert_eq!(queried(moved(), many), Err(IndexError::TooManyPeppers));
}
