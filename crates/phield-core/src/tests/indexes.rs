//! Blind indexes: every part of the definition counts, truncation keeps a prefix, two live peppers are both asked.

use proptest::prelude::*;

use super::block_on;
use crate::blind_index::{Index, IndexError};
use crate::index_algorithm::IndexAlgorithm;
use crate::key::KeyId;
use crate::keyring::fixed::{self, FixedKey};
use crate::keyring::{EphemeralError, Keyring};
use crate::name::{AppName, TenantName};
use crate::normalize::Normalizer;
use crate::record::KeyState;
use crate::scope::Scopes;
use crate::value::{Encoded, ValueType};

fn part(text: &str) -> [Option<Encoded<'_>>; 1] {
    [Some(Encoded::borrowed(ValueType::Text, text.as_bytes()))]
}

fn index(name: &'static str, algorithm: IndexAlgorithm, bits: u16) -> Index {
    Index::new("patients", name, &["ssn"], &[Normalizer::Digits], bits).with_algorithm(algorithm)
}

fn with_states(states: &[(u32, KeyState)]) -> Keyring {
    let keys = states.iter().map(|(id, state)| FixedKey {
        state: *state,
        ..FixedKey::index(*id, [u8::try_from(*id).unwrap(); 32])
    });
    fixed::keyring("emr", Scopes::default(), keys)
}

/// In the two slots of a query stand the values under the old and the new pepper, whichever of them is active; rows are
/// written under the active one alone.
#[test]
fn two_live_peppers() {
    use KeyState::{Active, Compromised, DecryptOnly, Destroyed, PreActive};

    let index = index("i", IndexAlgorithm::HmacSha256, 256);
    let value = |id| {
        with_states(&[(id, Active)])
            .blind_index(&index, None, &part("1"))
            .unwrap()
            .unwrap()
    };
    for (first, second) in [
        (Active, PreActive),
        (DecryptOnly, Active),
        (Active, DecryptOnly),
        (Compromised, Active),
    ] {
        let keyring = with_states(&[(5, first), (6, second)]);
        assert_eq!(
            keyring.index_query(&index, None, &part("1")),
            Ok([value(5), value(6)])
        );
        let active = if first == Active { 5 } else { 6 };
        let written = keyring.blind_index(&index, None, &part("1")).unwrap().unwrap();
        assert_eq!(written.key_id(), KeyId::new(active), "{first} {second}");
    }
    // A destroyed one is not asked; without an active one nothing is written, and rows are still found.
    let keyring = with_states(&[(5, Destroyed), (6, DecryptOnly)]);
    assert_eq!(keyring.index_query(&index, None, &part("1")), Ok([value(6); 2]));
    assert_eq!(
        keyring.blind_index(&index, None, &part("1")),
        Err(IndexError::NoActivePepper)
    );
    for state in [PreActive, DecryptOnly, Compromised, Destroyed] {
        let keyring = with_states(&[(5, state)]);
        assert_eq!(
            keyring.blind_index(&index, None, &part("1")),
            Err(IndexError::NoActivePepper)
        );
    }
    // One that is out of reach would hide rows.
    let unavailable = FixedKey {
        key: None,
        state: DecryptOnly,
        ..FixedKey::index(5, [5; 32])
    };
    let keyring = fixed::keyring(
        "emr",
        Scopes::default(),
        [unavailable, FixedKey::index(6, [6; 32])],
    );
    let missing = KeyId::new(5).unwrap();
    assert_eq!(
        keyring.index_query(&index, None, &part("1")),
        Err(IndexError::KeyUnavailable(missing))
    );
    assert!(keyring.blind_index(&index, None, &part("1")).is_ok());
}

/// `not after` holds for every key that writes, not for data keys alone; searches go on.
#[test]
fn an_expired_pepper_writes_nothing() {
    let expired = FixedKey {
        not_after: 1,
        ..FixedKey::index(5, [5; 32])
    };
    let keyring = fixed::keyring("emr", Scopes::default(), [expired]);
    let index = index("i", IndexAlgorithm::HmacSha256, 256);
    let id = KeyId::new(5).unwrap();
    assert_eq!(
        keyring.blind_index(&index, None, &part("1")),
        Err(IndexError::KeyExpired(id))
    );
    assert!(keyring.index_query(&index, None, &part("1")).is_ok());
}

/// A test of a model with a slow index is not slow; what a release build refuses is not tested with real parameters.
#[test]
fn cheap_slow_indexes_are_for_tests() {
    let app = || AppName::from_static("emr");
    let keyring = match Keyring::ephemeral_with_cheap_slow_indexes(app()) {
        Ok(keyring) if cfg!(debug_assertions) => keyring,
        Err(EphemeralError::ReleaseBuild) if !cfg!(debug_assertions) => return,
        other => panic!("{other:?}"),
    };
    let start = std::time::Instant::now();
    let slow = index("i", IndexAlgorithm::pbkdf2(100_000_000), 256);
    let one = keyring.blind_index(&slow, None, &part("1")).unwrap();
    assert_eq!(
        block_on(keyring.blind_index_async(&slow, None, &part("1"))),
        Ok(one)
    );
    assert_ne!(keyring.blind_index(&slow, None, &part("2")), Ok(one));
    #[cfg(not(feature = "fips"))]
    {
        let slow = index("i", IndexAlgorithm::argon2id(4_194_304, 1000, 1), 256);
        keyring.blind_index(&slow, None, &part("1")).unwrap();
    }
    // Minutes, and 4 GiB, with the real parameters.
    assert!(start.elapsed().as_secs() < 20);
}

proptest! {
    /// Fewer bits are the first bits: a truncated index is the same index, cut.
    #[test]
    fn truncation_is_a_prefix(value in "[0-9]{0,12}", bits in 1_u16..=256) {
        let keyring = with_states(&[(5, KeyState::Active)]);
        let of = |bits| keyring.blind_index(&index("i", IndexAlgorithm::HmacSha256, bits), None, &part(&value)).unwrap().unwrap();
        let (whole, cut) = (of(256), of(bits));
        let bytes = usize::from(bits.div_ceil(8));
        let mut expected = whole.as_bytes()[..4 + bytes].to_vec();
        let spare = bytes * 8 - usize::from(bits);
        *expected.last_mut().unwrap() &= 0xff << spare;
        prop_assert_eq!(cut.as_bytes(), expected);
    }

    /// Another name, tenant, normalizer, algorithm or pepper is another index; equal normalised values are equal.
    #[test]
    fn every_part_of_the_definition_counts(a in "[0-9]{1,4}", b in "[0-9]{1,4}") {
        let keyring = with_states(&[(5, KeyState::Active)]);
        let other_pepper = with_states(&[(6, KeyState::Active)]);
        let t1 = TenantName::from_static("t1");
        let fast = |name| index(name, IndexAlgorithm::HmacSha256, 256);
        let exact = Index::new("patients", "i", &["ssn"], &[Normalizer::Exact], 256);
        let column = Index::new("patients", "i", &["mrn"], &[Normalizer::Digits], 256);
        let table = Index::new("visits", "i", &["ssn"], &[Normalizer::Digits], 256);
        let mac = |keyring: &Keyring, index: &Index, tenant, text: &str| {
            keyring.blind_index(index, tenant, &part(text)).unwrap().unwrap().as_bytes()[4..].to_vec()
        };
        let base = mac(&keyring, &fast("i"), None, &a);
        prop_assert_eq!(a == b, base == mac(&keyring, &fast("i"), None, &b));
        prop_assert_eq!(&base, &mac(&keyring, &fast("i"), None, &format!("{a}-")));
        let others = [
            mac(&keyring, &fast("j"), None, &a),
            mac(&keyring, &fast("i"), Some(&t1), &a),
            mac(&keyring, &exact, None, &a),
            mac(&keyring, &column, None, &a),
            mac(&keyring, &table, None, &a),
            mac(&other_pepper, &fast("i"), None, &a),
        ];
        prop_assert!(!others.contains(&base));
    }

    /// However a key's states are changed, they go forward, and only an active key seals.
    #[test]
    fn states_go_forward(steps in proptest::collection::vec(0_usize..5, 0..8)) {
        use KeyState::{Active, Compromised, DecryptOnly, Destroyed, PreActive};
        let all = [PreActive, Active, DecryptOnly, Compromised, Destroyed];
        let mut state = PreActive;
        for step in steps {
            let next = all[step];
            if state.may_become(next) {
                prop_assert!(next > state);
                state = next;
            }
        }
        prop_assert!(!Destroyed.may_become(state) && !state.may_become(state));
        prop_assert_eq!(state.seals(), state == Active);
        prop_assert_eq!(state.opens(), state != Destroyed);
    }
}
