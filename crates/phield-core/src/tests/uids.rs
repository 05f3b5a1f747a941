//! UIDs: within a domain they link, across domains, sessions and tenants a thief of all tables finds nothing to join.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use crate::blind_index::Index;
use crate::column::Column;
use crate::frame::Padding;
use crate::key::KeyId;
use crate::keyring::Keyring;
use crate::keyring::fixed::{FixedKey, keyring};
use crate::name::{AppName, DomainName, ScopeName, TableName, TenantName};
use crate::normalize::Normalizer;
use crate::phi::Phi;
use crate::record::{KeyState, KeyUse};
use crate::row_id::{AsRowId as _, RowId};
use crate::scope::Scopes;
use crate::sealed::Sealed;
use crate::token::{Suite, TokenInfo};
use crate::uid::{IdentifierKind, InvalidUid, SessionId, Surrogate, Uid, UidDomain, UidError};
use crate::value::Value as _;

fn domain(name: &'static str) -> UidDomain {
    UidDomain::group(DomainName::from_static(name))
}

fn pepper(id: u32, scope: Option<&'static str>, state: KeyState) -> FixedKey {
    FixedKey {
        key_use: KeyUse::Uid,
        scope,
        state,
        ..FixedKey::index(id, [u8::try_from(id).unwrap(); 32])
    }
}

fn of(keys: impl IntoIterator<Item = FixedKey>) -> Keyring {
    keyring("emr", Scopes::default(), keys)
}

#[test]
fn a_uid_is_a_uuid_of_version_8_with_one_text() {
    let keyring = of([pepper(1, None, KeyState::Active)]);
    let uid = keyring
        .uid(&domain("clinical"), None, &Surrogate::from_bytes([7; 16]))
        .unwrap();
    let text = uid.to_string();
    assert_eq!(text.parse(), Ok(uid));
    assert_eq!((text.len(), uid.as_uuid().get_version_num()), (36, 8));
    assert_eq!(Uid::from_uuid(Uuid::from(uid)), Some(uid));
    assert_eq!(uid.as_row_id(), Ok(RowId::Uuid(*uid.as_uuid())));
    let simple = uid.as_uuid().simple().to_string();
    for bad in [
        text.to_uppercase().as_str(),
        &simple,
        &format!("{{{text}}}"),
        "",
        &text[1..],
    ] {
        assert_eq!(bad.parse::<Uid>(), Err(InvalidUid), "{bad}");
    }
    for other in [
        Uuid::nil(),
        Uuid::from_u128(u128::MAX),
        Uuid::from_u128(0x4000_8000 << 64),
    ] {
        assert_eq!(Uid::try_from(other), Err(InvalidUid));
    }
}

#[cfg(feature = "serde")]
#[test]
fn uids_in_json() {
    let keyring = of([pepper(1, None, KeyState::Active)]);
    let uid = keyring
        .uid(&domain("clinical"), None, &Surrogate::from_bytes([7; 16]))
        .unwrap();
    let json = serde_json::to_string(&uid).unwrap();
    assert_eq!(json, format!("\"{uid}\""));
    assert_eq!(serde_json::from_str::<Uid>(&json).unwrap(), uid);
    assert!(serde_json::from_str::<Uid>("\"00000000-0000-4000-8000-000000000000\"").is_err());
}

/// The pepper is the record whose scope is the domain's name, else the one without: never another one in silence.
#[test]
fn the_pepper_of_a_domain() {
    use KeyState::{Active, Compromised, DecryptOnly, Destroyed, PreActive};

    let uid = |keys: Vec<FixedKey>| of(keys).uid(&domain("billing"), None, &Surrogate::from_bytes([7; 16]));
    let common = || pepper(1, None, Active);
    let own = |state| pepper(2, Some("billing"), state);
    let by_common = uid(vec![common()]).unwrap();
    let by_own = uid(vec![own(Active)]).unwrap();
    assert_ne!(by_common, by_own);
    assert_eq!(
        uid(vec![common(), pepper(3, Some("clinical"), Active)]),
        Ok(by_common)
    );
    assert_eq!(uid(vec![common(), own(Active)]), Ok(by_own));
    // What was written with a pepper is still found when nothing new is written with it.
    assert_eq!(uid(vec![common(), own(DecryptOnly)]), Ok(by_own));
    assert_eq!(uid(vec![common(), own(Compromised)]), Ok(by_own));
    // Of several the active one decides, whatever becomes of the others; without one nobody guesses.
    let second = |state| pepper(3, Some("billing"), state);
    assert_eq!(uid(vec![own(Active), second(DecryptOnly)]), Ok(by_own));
    let id = KeyId::new(2).unwrap();
    assert_eq!(
        uid(vec![own(DecryptOnly), second(Compromised)]),
        Err(UidError::KeyState(id))
    );
    assert_eq!(uid(vec![own(DecryptOnly), second(Destroyed)]), Ok(by_own));
    assert_eq!(uid(vec![common(), own(Destroyed)]), Err(UidError::KeyState(id)));
    assert_eq!(uid(vec![common(), own(PreActive)]), Err(UidError::KeyState(id)));
    let unavailable = FixedKey {
        key: None,
        ..own(Active)
    };
    assert_eq!(
        uid(vec![common(), unavailable]),
        Err(UidError::KeyUnavailable(id))
    );
    assert_eq!(uid(vec![]), Err(UidError::NoPepper));
    assert_eq!(uid(vec![FixedKey::index(1, [1; 32])]), Err(UidError::NoPepper));
}

/// an identifier gives UIDs through the method that says so alone, and never those of a surrogate.
#[test]
fn identifiers_are_pseudonymised() {
    let keyring = of([pepper(1, None, KeyState::Active)]);
    let clinical = domain("clinical");
    let mrn = |kind, value: &str| keyring.pseudonymised_uid(&clinical, None, kind, &Phi::from(value));
    let (exact, digits) = (
        IdentifierKind::new("mrn", Normalizer::Exact),
        IdentifierKind::new("mrn", Normalizer::Digits),
    );
    assert_eq!(mrn(digits, "MRN 1").unwrap(), mrn(digits, "1").unwrap());
    assert_ne!(mrn(exact, "1").unwrap(), mrn(digits, "1").unwrap());
    let bytes = Phi::new(vec![7_u8; 16]);
    let surrogate = keyring
        .uid(&clinical, None, &Surrogate::from_bytes([7; 16]))
        .unwrap();
    let kind = IdentifierKind::new("surrogate", Normalizer::Exact);
    assert_ne!(
        keyring.pseudonymised_uid(&clinical, None, kind, &bytes).unwrap(),
        surrogate
    );
    let wrong = |error| Err::<Uid, _>(error);
    assert_eq!(
        keyring.pseudonymised_uid(&clinical, None, digits, &Phi::new(5_i64)),
        wrong(UidError::WrongType)
    );
    let absent: Phi<Option<String>> = Phi::new(None);
    assert_eq!(
        keyring.pseudonymised_uid(&clinical, None, exact, &absent),
        wrong(UidError::WrongType)
    );
}

/// Kept with the person's record, like every other value.
#[test]
fn a_surrogate_is_sealed() {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let column = || Column::<Surrogate, i64>::new("patients", "surrogate", Padding::Block16);
    let surrogate = Surrogate::random().unwrap();
    assert_eq!(surrogate.encode().unwrap().as_bytes(), surrogate.expose_bytes());
    let sealed: Sealed<Surrogate> = column().seal(&keyring, &1, &Phi::new(surrogate.clone())).unwrap();
    assert!(column().open(&keyring, &1, &sealed).unwrap().expose() == &surrogate);
    assert_eq!(
        format!("{surrogate:?} {:?}", SessionId::random().unwrap()),
        "Surrogate(..) SessionId(..)"
    );
}

/// What a thief of every table has of one person in one place: a row id, tokens, an index value.
struct Stolen {
    place: String,
    uid: Uid,
    sealed: Sealed<String>,
    index: Vec<u8>,
}

/// One person in two domains, two sessions and two tenants, each with a scope of its own. The thief joins the tables by
/// everything that can be joined: UIDs and runs of their bytes, key ids, salts, commitments, nonces, index values.
#[test]
fn nothing_joins_one_person_across_domains_sessions_and_tenants() {
    let scopes = [
        "clinical-t1",
        "clinical-t2",
        "billing-t1",
        "billing-t2",
        "portal-t1",
        "portal-t2",
    ];
    let mut rules = Scopes::default();
    let mut keys = vec![pepper(1, None, KeyState::Active)];
    for (n, scope) in (10_u32..).step_by(10).zip(scopes) {
        let (table, tenant) = scope.split_once('-').unwrap();
        rules = rules.assign(
            Some(TableName::new(table).unwrap()),
            Some(TenantName::new(tenant).unwrap()),
            Some(ScopeName::from_static(scope)),
            [],
        );
        let byte = u8::try_from(n).unwrap();
        keys.push(FixedKey {
            scope: Some(scope),
            ..FixedKey::data(n, Suite::Aes256Gcm, [byte; 32])
        });
        keys.push(FixedKey {
            scope: Some(scope),
            ..FixedKey::index(n + 1, [byte + 1; 32])
        });
    }
    let keyring = keyring("emr", rules, keys);
    let person = Surrogate::random().unwrap();
    let name = Phi::from("Ada Lovelace");
    let mut tables = Vec::new();
    for tenant in ["t1", "t2"] {
        let tenant = TenantName::from_static(tenant);
        let session =
            |n: u8| UidDomain::session(DomainName::from_static("portal"), SessionId::from_bytes([n; 16]));
        let places = [
            ("clinical", domain("clinical")),
            ("billing", domain("billing")),
            ("portal", session(1)),
            ("portal", session(2)),
        ];
        for (table, domain) in places {
            let uid = keyring.uid(&domain, Some(&tenant), &person).unwrap();
            assert_eq!(
                keyring.uid(&domain, Some(&tenant), &person),
                Ok(uid),
                "inside it links"
            );
            let row_table = TableName::from_static(table);
            let row = crate::context::Row::new(&row_table, &uid)
                .unwrap()
                .with_tenant(&tenant);
            let field =
                crate::field::Field::new(crate::name::ColumnName::from_static("name"), &name).unwrap();
            let [token] = keyring.seal_row(&row, [field]).unwrap();
            let index = Index::new(table, "name", &["name"], &[Normalizer::Name], 256);
            let part = [Some(name.expose().encode().unwrap())];
            let value = keyring
                .blind_index(&index, Some(&tenant), &part)
                .unwrap()
                .unwrap();
            tables.push(Stolen {
                place: format!("{table} {tenant} {domain:?}"),
                uid,
                sealed: token.required().unwrap(),
                index: value.as_bytes().to_vec(),
            });
        }
    }
    // What can be joined, by the places that it is found in. The two sessions share a table and its keys, and nothing
    // else; so key ids are told apart from the rest.
    let mut joinable: BTreeMap<Vec<u8>, BTreeSet<&str>> = BTreeMap::new();
    let mut key_ids: BTreeMap<KeyId, BTreeSet<&str>> = BTreeMap::new();
    for row in &tables {
        let (uid, token) = (row.uid.as_uuid().as_bytes(), row.sealed.as_bytes());
        // Two runs of a UID, without version and variant; salt, commitment, nonce; the MAC of the index, with its
        // key id and without.
        let parts = [
            &uid[..6],
            &uid[9..],
            &token[5..17],
            &token[17..33],
            &token[33..45],
            &row.index,
            &row.index[4..],
        ];
        for part in parts {
            joinable.entry(part.to_vec()).or_default().insert(&row.place);
        }
        let index_key = KeyId::from_bytes(row.index[..4].try_into().unwrap()).unwrap();
        for id in [TokenInfo::parse(token).unwrap().key_id, index_key] {
            let table_and_tenant = row.place.splitn(3, ' ').take(2).map(str::len).sum::<usize>() + 1;
            key_ids
                .entry(id)
                .or_default()
                .insert(&row.place[..table_and_tenant]);
        }
    }
    for (part, places) in &joinable {
        // The index of two sessions of one table and tenant is one index of one column: it links by declaration.
        let table: BTreeSet<_> = places
            .iter()
            .map(|p| p.rsplit_once(" UidDomain").unwrap().0)
            .collect();
        let declared = table.len() == 1 && tables.iter().any(|row| row.index.ends_with(part));
        assert!(places.len() == 1 || declared, "{places:?} share {part:02x?}");
    }
    assert!(key_ids.values().all(|places| places.len() == 1), "{key_ids:?}");
    assert_eq!(key_ids.len(), 12);
}

proptest! {
    /// Any two of (app, tenant, kind, name, session) that differ give different contexts, and so unrelated keys.
    #[test]
    fn contexts_are_injective(
        a in ("[a-c]{1,2}", proptest::option::of("[a-c]{1,2}"), 0_u8..3, "[a-c]{1,2}", any::<[u8; 2]>()),
        b in ("[a-c]{1,2}", proptest::option::of("[a-c]{1,2}"), 0_u8..3, "[a-c]{1,2}", any::<[u8; 2]>()),
    ) {
        let encode = |(app, tenant, kind, name, session): &(String, Option<String>, u8, String, [u8; 2])| {
            let name = DomainName::new(name.clone()).unwrap();
            let mut id = [0; 16];
            id[..2].copy_from_slice(session);
            let domain = match kind {
                0 => UidDomain::group(name),
                1 => UidDomain::export(name),
                _ => UidDomain::session(name, SessionId::from_bytes(id)),
            };
            let tenant = tenant.clone().map(|tenant| TenantName::new(tenant).unwrap());
            let context = domain.encode(&AppName::new(app.clone()).unwrap(), tenant.as_ref());
            (domain, context)
        };
        let ((domain_a, context_a), (domain_b, context_b)) = (encode(&a), encode(&b));
        let same = a.0 == b.0 && a.1 == b.1 && domain_a == domain_b;
        prop_assert_eq!(context_a == context_b, same);
    }
}
