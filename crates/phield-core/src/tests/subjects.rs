//! Subject keys: every row of the page's error table, and the rules of making and shredding a secret.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Mutex;

use super::block_on;
use crate::binding::UnderSubjectKey;
use crate::column::Column;
use crate::context::Row;
use crate::error::{OpenError, SealError};
use crate::field::Field;
use crate::frame::Padding;
use crate::key::KeyId;
use crate::keyring::Keyring;
use crate::keyring::fixed::{FixedKey, keyring};
use crate::name::{AppName, ColumnName, TableName, TenantName};
use crate::phi::Phi;
use crate::record::{KeyState, KeyUse};
use crate::row_id::AsRowId;
use crate::scope::Scopes;
use crate::sealed::Sealed;
use crate::subject_key::{
    SubjectError, SubjectKey, SubjectKeyMap, SubjectKeys, SubjectStore, SubjectStoreError, SubjectStoreFuture,
};
use crate::token::Suite;

const SUBJECT: u32 = 9;

fn subject_record(state: KeyState) -> FixedKey {
    FixedKey {
        key_use: KeyUse::Subject,
        state,
        ..FixedKey::index(SUBJECT, [9; 32])
    }
}

fn data_key(state: KeyState) -> FixedKey {
    FixedKey {
        state,
        ..FixedKey::data(7, Suite::Aes256Gcm, [7; 32])
    }
}

fn of(keys: impl IntoIterator<Item = FixedKey>) -> Keyring {
    keyring("emr", Scopes::default(), keys)
}

fn ring() -> Keyring {
    of([data_key(KeyState::Active), subject_record(KeyState::Active)])
}

fn id() -> KeyId {
    KeyId::new(SUBJECT).unwrap()
}

/// §8.3, what is stored against the class of its error.
#[test]
fn errors_of_stored_secrets() {
    let keyring = ring();
    let stored = keyring.new_subject_secret(None, "ada").unwrap();
    assert_eq!(stored.len(), 97);
    let open =
        |keyring: &Keyring, stored: &[u8]| keyring.open_subject_secret(None, "ada", stored).map(|_| ()).err();
    assert_eq!(open(&keyring, &stored), None);
    for len in (0..97).filter(|len| *len != 4) {
        assert_eq!(
            open(&keyring, &stored[..len]),
            Some(SubjectError::Malformed),
            "{len} bytes"
        );
    }
    let longer = [stored.as_slice(), &[0]].concat();
    assert_eq!(open(&keyring, &longer), Some(SubjectError::Malformed));
    assert_eq!(open(&keyring, &[0; 97]), Some(SubjectError::Malformed), "id 0");
    assert_eq!(open(&keyring, &[0; 4]), Some(SubjectError::Malformed), "id 0");
    assert_eq!(open(&keyring, &stored[..4]), Some(SubjectError::Shredded(id())));
    let mut version = stored.clone();
    version[4] = 2;
    assert_eq!(open(&keyring, &version), Some(SubjectError::Malformed));
    for byte in 5..97 {
        let mut flipped = stored.clone();
        flipped[byte] ^= 1;
        assert_eq!(
            open(&keyring, &flipped),
            Some(SubjectError::Authentication),
            "byte {byte}"
        );
    }
    // Its record: unknown, of another use, destroyed, out of reach. A tombstone is one whatever its record is.
    assert_eq!(open(&of([]), &stored), Some(SubjectError::UnknownKey(id())));
    let other_use = FixedKey::data(SUBJECT, Suite::Aes256Gcm, [9; 32]);
    assert_eq!(
        open(&of([other_use]), &stored),
        Some(SubjectError::Authentication)
    );
    let destroyed = || of([subject_record(KeyState::Destroyed)]);
    assert_eq!(open(&destroyed(), &stored), Some(SubjectError::KeyState(id())));
    assert_eq!(
        open(&destroyed(), &stored[..4]),
        Some(SubjectError::Shredded(id()))
    );
    let unavailable = FixedKey {
        key: None,
        ..subject_record(KeyState::Active)
    };
    assert_eq!(
        open(&of([unavailable]), &stored),
        Some(SubjectError::KeyUnavailable(id()))
    );
    // Old records still open what they wrapped.
    for state in [KeyState::PreActive, KeyState::DecryptOnly, KeyState::Compromised] {
        assert_eq!(open(&of([subject_record(state)]), &stored), None, "{state}");
    }
    // A secret belongs to one subject, tenant and ring.
    let tenant = TenantName::from_static("t1");
    let of_another = [
        keyring.open_subject_secret(None, "bob", &stored),
        keyring.open_subject_secret(None, &b"ada".to_vec(), &stored),
        keyring.open_subject_secret(Some(&tenant), "ada", &stored),
        Keyring::open_subject_secret(
            &crate::keyring::fixed::of_ring(
                crate::name::RingName::from_static("other"),
                [subject_record(KeyState::Active)],
            ),
            None,
            "ada",
            &stored,
        ),
    ];
    for opened in of_another {
        assert_eq!(opened.err(), Some(SubjectError::Authentication));
    }
    // New secrets are wrapped under an active record alone.
    for state in [
        KeyState::PreActive,
        KeyState::DecryptOnly,
        KeyState::Compromised,
        KeyState::Destroyed,
    ] {
        let made = of([subject_record(state)]).new_subject_secret(None, "ada");
        assert_eq!(made.err(), Some(SubjectError::NoActiveKey), "{state}");
    }
}

type Visit = Column<String, UnderSubjectKey<i64, &'static str>>;

fn note() -> Visit {
    Column::new("visits", "note", Padding::Block16)
}

fn visit(subject: &'static str) -> UnderSubjectKey<i64, &'static str> {
    UnderSubjectKey { row: 1, subject }
}

fn key(keyring: &Keyring, subject: &'static str) -> SubjectKey {
    let stored = keyring.new_subject_secret(None, subject).unwrap();
    keyring.open_subject_secret(None, subject, &stored).unwrap()
}

/// A missing secret never falls back to the ring's key, neither sealing nor opening; and both keys are needed.
#[test]
fn there_is_no_way_around_the_secret() {
    let keyring = ring();
    let (ada, bob) = (key(&keyring, "ada"), key(&keyring, "bob"));
    let value = Phi::from("allergic");
    let sealed: Sealed<String> = note()
        .seal(&keyring.with_subjects(&ada), &visit("ada"), &value)
        .unwrap();
    let open = |keys: &dyn crate::subject_key::Keys, row: &UnderSubjectKey<i64, &'static str>| {
        let opened = note().open(keys, row, &sealed).map(|note| note.expose().clone());
        opened.map_err(|error| error.cause())
    };
    assert_eq!(
        open(&keyring.with_subjects(&ada), &visit("ada")).unwrap(),
        "allergic"
    );
    assert_eq!(open(&keyring, &visit("ada")), Err(OpenError::NoSubjectSecret));
    assert_eq!(
        open(&keyring.with_subjects(&bob), &visit("ada")),
        Err(OpenError::NoSubjectSecret)
    );
    assert_eq!(
        open(&keyring.with_subjects(&bob), &visit("bob")),
        Err(OpenError::Authentication)
    );
    // Another secret of the same person: made twice, it is another key.
    let second = key(&keyring, "ada");
    assert_eq!(
        open(&keyring.with_subjects(&second), &visit("ada")),
        Err(OpenError::Authentication)
    );
    // Bound to the subject, but not declared as sealed under its key: it does not open, and the other way round.
    let bound = Column::<String, crate::binding::OfSubject<i64, &'static str>>::new(
        "visits",
        "note",
        Padding::Block16,
    );
    let row = crate::binding::OfSubject {
        row: 1,
        subject: "ada",
    };
    assert_eq!(
        bound.open(&keyring, &row, &sealed).unwrap_err(),
        OpenError::Authentication
    );
    let in_the_ring: Sealed<String> = Column::<String, crate::binding::OfSubject<i64, &'static str>>::new(
        "visits",
        "note",
        Padding::Block16,
    )
    .seal(&keyring, &row, &value)
    .unwrap();
    let opened = note().open(&keyring.with_subjects(&ada), &visit("ada"), &in_the_ring);
    assert_eq!(opened.unwrap_err(), OpenError::Authentication);

    let seal = |keys: &dyn crate::subject_key::Keys, row: &UnderSubjectKey<i64, &'static str>| {
        note().seal::<Sealed<String>>(keys, row, &value).err()
    };
    assert_eq!(
        seal(&keyring, &visit("ada")),
        Some(SealError::Subject(SubjectError::NoSecret))
    );
    assert_eq!(
        seal(&keyring.with_subjects(&bob), &visit("ada")),
        Some(SealError::Subject(SubjectError::NoSecret))
    );
    // A source that gives the key of somebody else, on purpose or not.
    struct Mixed(SubjectKey);
    impl SubjectKeys for Mixed {
        fn subject_key(&self, _: Option<&TenantName>, _: &[u8]) -> Result<&SubjectKey, SubjectError> {
            Ok(&self.0)
        }
    }
    let mixed = Mixed(bob);
    assert_eq!(
        seal(&keyring.with_subjects(&mixed), &visit("ada")),
        Some(SealError::Subject(SubjectError::Authentication))
    );
    assert_eq!(
        open(&keyring.with_subjects(&mixed), &visit("ada")),
        Err(OpenError::Authentication)
    );
    // The key of another tenant's person of the same name.
    let (table, tenant) = (TableName::from_static("visits"), TenantName::from_static("t1"));
    let row = Row::new(&table, &1_i64).unwrap().with_tenant(&tenant);
    let row = row.with_subject_key("ada", &ada).unwrap();
    let field = Field::new(ColumnName::from_static("note"), &value).unwrap();
    assert_eq!(
        keyring.seal_row(&row, [field]).err(),
        Some(SealError::Subject(SubjectError::Authentication))
    );
}

/// Each reason against the error, in the order of §4: what the token's own key has to say comes first.
#[test]
fn errors_in_the_order_of_opening() {
    let full = ring();
    let ada = key(&full, "ada");
    let sealed: Sealed<String> = note()
        .seal(&full.with_subjects(&ada), &visit("ada"), &Phi::from("x"))
        .unwrap();
    let stored = full.new_subject_secret(None, "ada").unwrap();
    let with = |keyring: &Keyring, stored: Option<&[u8]>| {
        let mut map = SubjectKeyMap::new();
        map.insert(keyring, None, "ada", stored).unwrap();
        note()
            .open(&keyring.with_subjects(&map), &visit("ada"), &sealed)
            .err()
            .map(|error| error.cause())
    };
    let data = |state| of([data_key(state), subject_record(KeyState::Active)]);
    let active = || data(KeyState::Active);
    let token = KeyId::new(7).unwrap();
    assert_eq!(with(&active(), None), Some(OpenError::NoSubjectSecret));
    assert_eq!(
        with(&active(), Some(&stored[..4])),
        Some(OpenError::KeyState(id()))
    );
    assert_eq!(with(&active(), Some(&stored[..50])), Some(OpenError::Malformed));
    assert_eq!(
        with(&active(), Some(&stored)),
        Some(OpenError::Authentication),
        "another secret"
    );
    assert_eq!(
        with(&of([data_key(KeyState::Active)]), Some(&stored)),
        Some(OpenError::UnknownKey(id()))
    );
    let destroyed = of([data_key(KeyState::Active), subject_record(KeyState::Destroyed)]);
    assert_eq!(with(&destroyed, Some(&stored)), Some(OpenError::KeyState(id())));
    // The record of the token's key comes before the secret, the key itself after it.
    assert_eq!(
        with(&of([subject_record(KeyState::Active)]), None),
        Some(OpenError::UnknownKey(token))
    );
    assert_eq!(
        with(&data(KeyState::Destroyed), None),
        Some(OpenError::KeyState(token))
    );
    let out_of_reach = FixedKey {
        key: None,
        ..data_key(KeyState::Active)
    };
    let out_of_reach = of([out_of_reach, subject_record(KeyState::Active)]);
    assert_eq!(with(&out_of_reach, None), Some(OpenError::NoSubjectSecret));
    assert_eq!(
        with(&out_of_reach, Some(&stored)),
        Some(OpenError::KeyUnavailable(token))
    );
}

/// A store in memory that counts, and lets somebody else be first.
#[derive(Default)]
struct MemoryStore {
    rows: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    /// Inserted by another process between a caller's first read and its insert.
    rival: Mutex<Option<Vec<u8>>>,
}

impl SubjectStore for MemoryStore {
    fn read<'a>(
        &'a self,
        _: Option<&'a TenantName>,
        subject: &'a [u8],
    ) -> SubjectStoreFuture<'a, Option<Vec<u8>>> {
        let found = self.rows.lock().unwrap().get(subject).cloned();
        Box::pin(ready(Ok(found)))
    }

    fn insert_if_absent<'a>(
        &'a self,
        _: Option<&'a TenantName>,
        subject: &'a [u8],
        stored: &'a [u8],
    ) -> SubjectStoreFuture<'a, ()> {
        let stored = self
            .rival
            .lock()
            .unwrap()
            .take()
            .unwrap_or_else(|| stored.to_vec());
        self.rows
            .lock()
            .unwrap()
            .entry(subject.to_vec())
            .or_insert(stored);
        Box::pin(ready(Ok(())))
    }

    fn compare_and_swap<'a>(
        &'a self,
        _: Option<&'a TenantName>,
        subject: &'a [u8],
        old: &'a [u8],
        new: &'a [u8],
    ) -> SubjectStoreFuture<'a, bool> {
        let mut rows = self.rows.lock().unwrap();
        let swapped = rows.get(subject).is_some_and(|stored| stored == old);
        if swapped {
            rows.insert(subject.to_vec(), new.to_vec());
        }
        Box::pin(ready(Ok(swapped)))
    }
}

fn secret(key: &SubjectKey) -> [u8; 32] {
    *crate::subject_key::fixed::secret(key)
}

/// Insert if absent, read again: whoever was first decides, and a tombstone is final.
#[test]
fn making_and_shredding_a_secret() {
    let keyring = ring();
    let store = MemoryStore::default();
    let get = || block_on(keyring.subject_key(&store, None, "ada"));
    let make = || block_on(keyring.subject_key_or_new(&store, None, "ada"));
    let subject = |error: SubjectStoreError| match error {
        SubjectStoreError::Subject(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(subject(get().unwrap_err()), SubjectError::NoSecret);
    let rival = keyring.new_subject_secret(None, "ada").unwrap();
    *store.rival.lock().unwrap() = Some(rival.clone());
    let made = make().unwrap();
    let of_rival = keyring.open_subject_secret(None, "ada", &rival).unwrap();
    assert_eq!(
        secret(&made),
        secret(&of_rival),
        "the one that is stored is the subject's"
    );
    assert_eq!(secret(&make().unwrap()), secret(&made));
    assert_eq!(secret(&get().unwrap()), secret(&made));

    let shred = |name: &str| block_on(keyring.shred_subject(&store, None, name)).unwrap();
    shred("ada");
    shred("ada");
    assert_eq!(subject(get().unwrap_err()), SubjectError::Shredded(id()));
    assert_eq!(subject(make().unwrap_err()), SubjectError::Shredded(id()));
    // Somebody who was never sealed for is not made by accident later.
    shred("bob");
    let bob = block_on(keyring.subject_key_or_new(&store, None, "bob"));
    assert_eq!(subject(bob.unwrap_err()), SubjectError::Shredded(id()));
    let mut encoded = Vec::new();
    "ada".as_row_id().unwrap().encode(&mut encoded).unwrap();
    assert_eq!(store.rows.lock().unwrap()[&encoded], id().get().to_be_bytes());
}

/// What an ephemeral keyring is for: the whole of it works without a ring.
#[test]
fn an_ephemeral_keyring_has_subject_keys() {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let ada = key(&keyring, "ada");
    let keys = keyring.with_subjects(&ada);
    let list = [Phi::from("a"), Phi::from("b")];
    let sealed: Vec<Sealed<String>> = note().seal_list(&keys, &visit("ada"), &list).unwrap();
    assert!(note().open_list(&keys, &visit("ada"), sealed).unwrap() == list);
}

/// A column that is declared with subject keys is sealed under them alone: neither a row without the subject, nor one
/// that only names it, nor a binding around the binding takes it.
#[test]
fn a_declared_column_is_not_sealed_under_the_ring_key() {
    let keyring = ring();
    let ada = key(&keyring, "ada");
    let keys = keyring.with_subjects(&ada);
    let (table, value) = (TableName::from_static("visits"), Phi::from("x"));
    let row = || Row::new(&table, &1_i64).unwrap();
    let seal = |row: &Row<'_>| keys.seal_row(row, [note().field(&value).unwrap()]).map(|_| ());
    assert_eq!(seal(&row()), Err(SealError::WrongBinding));
    assert_eq!(
        seal(&row().with_subject("ada").unwrap()),
        Err(SealError::WrongBinding)
    );
    assert_eq!(seal(&row().with_subject_key("ada", &ada).unwrap()), Ok(()));
    let binding = visit("ada");
    assert_eq!(seal(&Row::new(&table, &binding).unwrap()), Ok(()));
    // And a column without subject keys does not go into a row that has them.
    let plain = Column::<String, i64>::new("visits", "note", Padding::Block16);
    let keyed = row().with_subject_key("ada", &ada).unwrap();
    let sealed = keys.seal_row(&keyed, [plain.field(&value).unwrap()]);
    assert_eq!(sealed.err(), Some(SealError::WrongBinding));
    static_assertions::assert_not_impl_any!(
        crate::binding::OfSubject<UnderSubjectKey<i64, i64>, i64>: crate::binding::RowBinding
    );
}

/// The record of the tenant's scope wraps its secrets; where the scope has none, the one without a scope does.
#[test]
fn the_record_that_wraps_new_secrets() {
    let tenant = TenantName::from_static("t1");
    let scopes = || {
        let scope = crate::name::ScopeName::from_static("t1");
        Scopes::default().assign(None, Some(TenantName::from_static("t1")), Some(scope), [])
    };
    let own = |state| FixedKey {
        scope: Some("t1"),
        ..FixedKey {
            id: 10,
            ..subject_record(state)
        }
    };
    let wrapped_under = |keys: Vec<FixedKey>| {
        let made = keyring("emr", scopes(), keys).new_subject_secret(Some(&tenant), "ada");
        made.map(|stored| stored[3])
    };
    let common = || subject_record(KeyState::Active);
    assert_eq!(wrapped_under(vec![common()]), Ok(9));
    assert_eq!(wrapped_under(vec![common(), own(KeyState::Active)]), Ok(10));
    let closed = wrapped_under(vec![common(), own(KeyState::DecryptOnly)]);
    assert_eq!(closed, Err(SubjectError::NoActiveKey));
    let expired = FixedKey {
        not_after: 1,
        ..common()
    };
    assert_eq!(wrapped_under(vec![expired]), Err(SubjectError::KeyExpired(id())));
}

#[test]
fn subjects_are_not_printed() {
    let keyring = ring();
    let mut map = SubjectKeyMap::new();
    map.insert(&keyring, None, "MRN-0001", None).unwrap();
    assert_eq!(format!("{map:?}"), "SubjectKeyMap { .. }");
}
