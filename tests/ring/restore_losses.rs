//! What a restore loses: nothing that was not said, and nothing because a provider or configuration is at fault.

use std::fs;
use std::sync::Arc;

use phield_core::{
    AcceptedLosses, AllowedProvider, KeySelection, KeyState, KeyUse, LocalKeyFile, LocalProvider, Passphrase,
    ProviderErrorKind, Ring, RingError, RingSettings, Suite, WrapOutcome,
};
use phield_testkit::{Fault, FaultyProvider, TestRing, block_on};

use crate::class;
use crate::operations::{find, kek, name, open, second, with_second};
use crate::restore::{LOST, prepare, prepare_without};

const UNAVAILABLE: Fault = Fault::Fails(ProviderErrorKind::Unavailable);
const REFUSED: Fault = Fault::Fails(ProviderErrorKind::Refused);

/// The settings with a fault in front of the provider at this place.
fn faulty(ring: &TestRing, mut settings: RingSettings, place: usize) -> (RingSettings, Arc<FaultyProvider>) {
    let passphrase = Passphrase::from_file(&ring.passphrase_file()).unwrap();
    let inner = match place {
        0 => Arc::new(LocalProvider::new(
            &LocalKeyFile::open(&ring.key_file(), &passphrase).unwrap(),
        )),
        _ => second(ring, "other"),
    };
    let fault = FaultyProvider::new(inner);
    let keks = settings.providers[place].keks().to_vec();
    settings.providers[place] = AllowedProvider::new(Arc::clone(&fault) as _, keks);
    (settings, fault)
}

/// A ring with wraps under `local` and `other`.
fn doubled(ring: &TestRing) -> Ring {
    let both = open(ring, with_second(ring));
    block_on(both.add_wrap(&name("other"), &kek("1"), &KeySelection::All)).unwrap();
    both
}

/// The stored manifest opens by a provider that is out of reach, refuses or is not configured: it is good, and stays.
#[test]
fn a_good_manifest_is_not_overwritten_because_of_configuration() {
    let ring = TestRing::new("clinic");
    let backup = fs::read(ring.key_store()).unwrap();
    let both = doubled(&ring);
    block_on(both.remove_wrap(&name("local"), &kek("1"))).unwrap();
    let stored = fs::read(ring.key_store()).unwrap();

    let alone = open(&ring, ring.ring().settings.clone());
    let (settings, fault) = faulty(&ring, both.settings.clone(), 1);
    let faulted = open(&ring, settings);
    let refused = |ring: &Ring, place: usize, others: &[Vec<u8>], expected: &str| match prepare_without(
        ring, &backup, others, LOST,
    )
    .unwrap_err()
    {
        RingError::Unverified { place: found, source } => {
            assert_eq!((found, class(&source)), (place, expected));
        }
        other => panic!("{other:?}"),
    };
    refused(&alone, 0, &[], "Config");
    refused(&alone, 1, &[b"nonsense".to_vec()], "Config");
    fault.set(UNAVAILABLE);
    refused(&faulted, 0, std::slice::from_ref(&stored), "KeyUnavailable");
    fault.set(REFUSED);
    refused(&faulted, 0, &[], "KeyRefused");

    // Said, it goes on without that manifest; that the history is lost is another matter.
    let unverified = AcceptedLosses {
        unverified: true,
        history: false,
    };
    let error = prepare_without(&faulted, &backup, &[], unverified).unwrap_err();
    assert!(
        matches!(error, RingError::HistoryLost { newest: 1, known: 3 }),
        "{error:?}"
    );
    let all = AcceptedLosses {
        unverified: true,
        history: true,
    };
    let restored = prepare_without(&faulted, &backup, &[], all).unwrap();
    assert_eq!((restored.ignored.len(), restored.lost_since), (1, Some(3)));
    assert_eq!(
        fs::read(ring.key_store()).unwrap(),
        stored,
        "nothing was published"
    );
    // Whole again, nothing is lost.
    let restored = prepare(&both, &backup, &[]).unwrap();
    assert_eq!((restored.ignored.len(), restored.lost_since), (0, None));
}

/// A manifest that no witness has seen is merged, and the witness has not seen it until the ring is published.
#[test]
fn nothing_is_remembered_of_a_restore_that_is_not_published() {
    let ring = TestRing::new("clinic");
    let backup = fs::read(ring.key_store()).unwrap();
    block_on(ring.ring().load()).unwrap();
    let witness = fs::read(ring.witness()).unwrap();
    let elsewhere = Ring::new(
        ring.ring().settings.clone(),
        phield_core::FileStore::new(ring.folder().join("elsewhere")),
        None,
    );
    block_on(elsewhere.publish(&block_on(ring.ring().load()).unwrap())).unwrap();
    block_on(elsewhere.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    let newer = block_on(elsewhere.load()).unwrap().stored().to_vec();
    let restored = prepare(ring.ring(), &backup, &[newer]).unwrap();
    assert_eq!(restored.ring.manifest().epoch, 2 + 65_536);
    assert_eq!(fs::read(ring.witness()).unwrap(), witness);
    block_on(ring.ring().load()).expect("the ring that is stored is not stale");
    block_on(ring.ring().publish_restored(&restored)).unwrap();
    assert_ne!(fs::read(ring.witness()).unwrap(), witness);
}

#[test]
fn new_keys_are_wrapped_under_what_answers() {
    for place in [0, 1] {
        let ring = TestRing::new("clinic");
        let both = doubled(&ring);
        let backup = fs::read(ring.key_store()).unwrap();
        let (settings, fault) = faulty(&ring, both.settings.clone(), place);
        let opened = open(&ring, settings);
        fault.set(UNAVAILABLE);
        let restored = prepare(&opened, &backup, &[]).unwrap();
        let out = both.settings.providers[place].provider().name();
        let [missing] = restored.missing_keks.as_slice() else {
            panic!("{:?}", restored.missing_keks)
        };
        assert_eq!(
            (&missing.provider, class(&missing.error)),
            (out, "KeyUnavailable")
        );
        assert!(
            restored.closed_keys().is_empty(),
            "the other wrap opens every key"
        );
        assert_eq!(restored.closed_wraps.len(), 6);
        assert!(
            restored
                .closed_wraps
                .iter()
                .all(|check| check.outcome == WrapOutcome::OutOfReach)
        );
        let published = block_on(opened.publish_restored(&restored)).unwrap();
        let of = |id| published.manifest().record(id).unwrap();
        for id in &restored.new_keys {
            assert_eq!(of(*id).wraps.len(), 1);
            assert_ne!(of(*id).wraps[0].provider, *out);
        }
        assert!(
            published
                .manifest()
                .records
                .iter()
                .filter(|record| !restored.new_keys.contains(&record.context.key_id))
                .all(|record| record.wraps.len() == 2)
        );
        fault.set(Fault::None);
        let added = block_on(opened.add_wrap(out, &kek("1"), &KeySelection::All)).unwrap();
        assert_eq!(added.changed, restored.new_keys);
    }
}

#[test]
fn a_key_that_does_not_open_does_not_keep_the_others() {
    let ring = TestRing::new("clinic");
    let both = doubled(&ring);
    let backup = fs::read(ring.key_store()).unwrap();
    let manifest = block_on(both.load()).unwrap().manifest().clone();
    let pepper = find(&manifest, KeyUse::Index, KeyState::Active).unwrap();

    // Refused.
    let (settings, fault) = faulty(&ring, ring.ring().settings.clone(), 0);
    let opened = open(&ring, settings);
    fault.set_for(KeyUse::Index, REFUSED);
    let restored = prepare(&opened, &backup, &[]).unwrap();
    let closed: Vec<_> = restored
        .closed
        .iter()
        .map(|(id, error)| (*id, class(error)))
        .collect();
    assert_eq!(closed, [(pepper, "KeyRefused")]);
    let kept = restored.ring.manifest().record(pepper).unwrap();
    assert_eq!(*kept, *manifest.record(pepper).unwrap());

    // Out of reach.
    fault.set_for(KeyUse::Index, UNAVAILABLE);
    assert_eq!(prepare(&opened, &backup, &[]).unwrap().out_of_reach, [pepper]);

    // No data key at all: that is no restore.
    for (fault_of, expected) in [(REFUSED, "KeyRefused"), (UNAVAILABLE, "KeyUnavailable")] {
        fault.set_for(KeyUse::Data, fault_of);
        assert_eq!(class(&prepare(&opened, &backup, &[]).unwrap_err()), expected);
    }
    fault.set(Fault::None);

    // Not configured: the pepper has a wrap under the other key-encryption key alone.
    block_on(both.update(|manifest| {
        let mut records = manifest.records.iter_mut();
        let record = records.find(|record| record.context.key_id == pepper).unwrap();
        record.wraps.retain(|wrap| wrap.provider == name("other"));
    }))
    .unwrap();
    let backup = fs::read(ring.key_store()).unwrap();
    let restored = prepare(&opened, &backup, &[]).unwrap();
    assert_eq!(restored.closed_keys(), [pepper]);
    assert_eq!(class(&restored.closed[0].1), "Config");
    block_on(
        restored
            .ring
            .keyring_without(&opened.settings, &restored.closed_keys()),
    )
    .unwrap();

    // What comes out of its only wrap is another key: somebody has to look at that.
    block_on(both.update(|manifest| {
        let other = manifest
            .records
            .iter()
            .find(|record| record.context.key_id != pepper);
        let bytes = other
            .unwrap()
            .wraps
            .iter()
            .find(|wrap| wrap.provider == name("other"))
            .unwrap()
            .bytes
            .clone();
        let mut records = manifest.records.iter_mut();
        let record = records.find(|record| record.context.key_id == pepper).unwrap();
        record.wraps[0].bytes = bytes;
    }))
    .unwrap();
    let torn = fs::read(ring.key_store()).unwrap();
    fs::remove_file(ring.key_store()).unwrap();
    assert_eq!(
        class(&prepare_without(&both, &torn, &[], LOST).unwrap_err()),
        "Authentication"
    );
}

/// The ring key was replaced, and somebody restores by the configuration of before: what is stored does not authenticate by it, and is
/// the newest ring there is.
#[test]
fn a_ring_under_another_ring_key_is_not_overwritten() {
    let ring = TestRing::new("clinic");
    let backup = fs::read(ring.key_store()).unwrap();
    let id = block_on(ring.ring().add_key(KeyUse::Ring, None, None)).unwrap();
    let manifest = block_on(ring.ring().load()).unwrap().manifest().clone();
    let mut settings = ring.ring().settings.clone();
    let old = settings.pins[0].clone();
    settings.pins = vec![phield_core::RingKeyPin::of(manifest.record(id).unwrap()), old];
    let newer = open(&ring, settings.clone());
    block_on(newer.activate(id, phield_core::Rollout::AcknowledgedByEveryInstance)).unwrap();
    let stored = fs::read(ring.key_store()).unwrap();

    let bare = Ring::new(
        ring.ring().settings.clone(),
        phield_core::FileStore::new(ring.key_store()),
        None,
    );
    match prepare_without(&bare, &backup, &[], AcceptedLosses::default()).unwrap_err() {
        RingError::Unverified { place: 0, source } => assert_eq!(class(&source), "Authentication"),
        other => panic!("{other:?}"),
    }
    let accepted = AcceptedLosses {
        unverified: true,
        history: false,
    };
    let restored = prepare_without(&bare, &backup, &[], accepted).unwrap();
    assert_eq!(restored.replaced(), Some(stored.as_slice()));
}
