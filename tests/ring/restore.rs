//! Restoring an older ring: never backwards.

use std::fs;

use phield_core::{
    AcceptedLosses, FileStore, FileWitness, KeyId, KeyState, KeyUse, Restored, Retirement, Ring, RingError,
    Rollout, Suite,
};
use phield_testkit::{TestRing, block_on};

use crate::class;
use crate::operations::find;

const SEEN: Rollout = Rollout::AcknowledgedByEveryInstance;

pub(crate) fn prepare(ring: &Ring, backup: &[u8], others: &[Vec<u8>]) -> Result<Restored, RingError> {
    prepare_without(ring, backup, others, AcceptedLosses::default())
}

pub(crate) fn prepare_without(
    ring: &Ring,
    backup: &[u8],
    others: &[Vec<u8>],
    accepted: AcceptedLosses,
) -> Result<Restored, RingError> {
    block_on(ring.prepare_restore(backup, others, "the disk was lost", accepted))
}

/// What the witness knows of is lost, and that is accepted.
pub(crate) const LOST: AcceptedLosses = AcceptedLosses {
    unverified: false,
    history: true,
};

/// The only key of this use that is active.
fn active(ring: &Ring, key_use: KeyUse) -> KeyId {
    find(
        block_on(ring.load()).unwrap().manifest(),
        key_use,
        KeyState::Active,
    )
    .unwrap()
}

#[test]
fn an_older_ring_is_restored_forwards() {
    let ring = TestRing::new("clinic");
    let backup = fs::read(ring.key_store()).unwrap();
    let opened = ring.ring();
    let before = block_on(opened.load()).unwrap();
    let (data, next) = (
        active(opened, KeyUse::Data),
        find(before.manifest(), KeyUse::Data, KeyState::PreActive).unwrap(),
    );
    let kept: Vec<_> = [KeyUse::Index, KeyUse::Uid, KeyUse::Subject, KeyUse::Ring]
        .map(|key_use| active(opened, key_use))
        .into();
    // The ring goes on, and is lost.
    block_on(opened.activate(next, SEEN)).unwrap();
    block_on(opened.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    fs::remove_file(ring.key_store()).unwrap();

    let error = prepare(opened, &backup, &[]).unwrap_err();
    assert!(
        matches!(error, RingError::HistoryLost { newest: 1, known: 3 }),
        "{error:?}"
    );
    let restored = prepare_without(opened, &backup, &[], LOST).unwrap();
    assert_eq!(
        (restored.reason.as_str(), restored.lost_since),
        ("the disk was lost", Some(3))
    );
    let mut retired = [data, next];
    retired.sort();
    assert_eq!(
        (restored.retired.as_slice(), restored.new_keys.len()),
        (retired.as_slice(), 2)
    );
    assert!(
        !ring.key_store().exists(),
        "nothing is stored before it is published"
    );
    let published = block_on(opened.publish_restored(&restored)).unwrap();
    let manifest = published.manifest();
    assert_eq!(manifest.epoch, 3 + 65_536, "above what the witness knows");
    let state = |id| manifest.record(id).unwrap().state;
    // The pre-active one was active in the history that was lost, and nobody here knows it.
    assert_eq!(
        (state(data), state(next)),
        (KeyState::DecryptOnly, KeyState::DecryptOnly)
    );
    for id in kept {
        assert_eq!(state(id), KeyState::Active);
    }
    let new = active(opened, KeyUse::Data);
    assert!(restored.new_keys.contains(&new));
    assert!(manifest.record(new).unwrap().not_after > 0);
    assert_eq!(manifest.records.len(), 8);
    block_on(opened.keyring()).unwrap();

    // The backup itself is stale now, put back or configured.
    fs::write(ring.key_store(), &backup).unwrap();
    assert_eq!(class(&block_on(opened.load()).unwrap_err()), "Stale");
}

#[test]
fn destroyed_stays_destroyed_and_the_latest_state_counts() {
    let ring = TestRing::new("clinic");
    let opened = ring.ring();
    let backup = fs::read(ring.key_store()).unwrap();
    let first = active(opened, KeyUse::Data);
    let retired = block_on(opened.retire(first, Retirement::Compromised, None)).unwrap();
    let second = retired.successor.unwrap();
    let compromised = fs::read(ring.key_store()).unwrap();
    block_on(opened.set_state(first, KeyState::Destroyed)).unwrap();
    let last = fs::read(ring.key_store()).unwrap();

    // What is stored counts, whatever is restored.
    let restored = prepare(opened, &backup, &[]).unwrap();
    let manifest = restored.ring.manifest();
    let record = manifest.record(first).unwrap();
    assert_eq!((record.state, record.wraps.len()), (KeyState::Destroyed, 0));
    assert_eq!(manifest.record(second).unwrap().state, KeyState::DecryptOnly);

    // The stored one is lost, and another that is left says at least that it is compromised. What does not verify is named.
    fs::write(ring.key_store(), b"overwritten").unwrap();
    let others = [b"no ring".to_vec(), compromised];
    let error = prepare(opened, &backup, &others).unwrap_err();
    assert_eq!(class(&error), "HistoryLost");
    let restored = prepare_without(opened, &backup, &others, LOST).unwrap();
    assert_eq!(
        restored.ring.manifest().record(first).unwrap().state,
        KeyState::Compromised
    );
    let ignored: Vec<_> = restored
        .ignored
        .iter()
        .map(|(place, error)| (*place, class(error)))
        .collect();
    assert_eq!(ignored, [(0, "Malformed"), (2, "Malformed")]);
    assert_eq!(restored.ring.manifest().epoch, 3 + 65_536);
    block_on(opened.publish_restored(&restored)).unwrap();
    block_on(opened.keyring()).unwrap();

    // Found after all: merged by a second restore, and still never backwards.
    let restored = prepare(opened, &backup, &[last]).unwrap();
    assert_eq!(
        restored.ring.manifest().record(first).unwrap().state,
        KeyState::Destroyed
    );
    assert_eq!(restored.ring.manifest().epoch, 3 + 2 * 65_536);
    block_on(opened.publish_restored(&restored)).unwrap();
}

#[test]
fn the_epoch_is_above_min_epoch_too() {
    let ring = TestRing::new("clinic");
    let backup = fs::read(ring.key_store()).unwrap();
    let mut settings = ring.ring().settings.clone();
    settings.min_epoch = 1000;
    let ephemeral = Ring::new(settings, FileStore::new(ring.key_store()), None);
    assert_eq!(class(&block_on(ephemeral.load()).unwrap_err()), "Stale");
    let error = prepare(&ephemeral, &backup, &[]).unwrap_err();
    assert!(
        matches!(
            error,
            RingError::HistoryLost {
                newest: 1,
                known: 1000
            }
        ),
        "{error:?}"
    );
    let restored = prepare_without(&ephemeral, &backup, &[], LOST).unwrap();
    let published = block_on(ephemeral.publish_restored(&restored)).unwrap();
    assert_eq!(published.manifest().epoch, 1000 + 65_536);
}

#[test]
fn what_is_refused() {
    let ring = TestRing::new("clinic");
    let opened = ring.ring();
    let backup = fs::read(ring.key_store()).unwrap();
    for reason in ["", " \n"] {
        let error = block_on(opened.prepare_restore(&backup, &[], reason, LOST)).unwrap_err();
        assert!(matches!(error, RingError::NoReason), "{error:?}");
    }
    let mut flipped = backup.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(
        class(&prepare(opened, &flipped, &[]).unwrap_err()),
        "Authentication"
    );
    let foreign = fs::read(TestRing::new("clinic").key_store()).unwrap();
    assert_eq!(
        class(&prepare(opened, &foreign, &[]).unwrap_err()),
        "Authentication"
    );
    let unreadable = "clinic-test nonsense\n";
    fs::write(ring.witness(), unreadable).unwrap();
    assert_eq!(class(&prepare(opened, &backup, &[]).unwrap_err()), "Malformed");
    fs::remove_file(ring.witness()).unwrap();

    // Somebody changed the ring between: nothing is overwritten.
    let restored = prepare(opened, &backup, &[]).unwrap();
    block_on(opened.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    let stored = fs::read(ring.key_store()).unwrap();
    let error = block_on(opened.publish_restored(&restored)).unwrap_err();
    assert_eq!(class(&error), "Conflict");
    assert_eq!(fs::read(ring.key_store()).unwrap(), stored);
}

/// Two rings of one name and one ring key, of which each made another key of one id.
#[test]
fn one_id_with_two_keys() {
    let ring = TestRing::new("clinic");
    let backup = fs::read(ring.key_store()).unwrap();
    let copy = |name: &str| {
        let path = ring.folder().join(name);
        fs::write(&path, &backup).unwrap();
        let witness = FileWitness::new(path.with_extension("witness"));
        Ring::new(ring.ring().settings.clone(), FileStore::new(path), Some(witness))
    };
    let made = |name: &str| {
        let ring = copy(name);
        let id = block_on(ring.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
        let record = block_on(ring.load())
            .unwrap()
            .manifest()
            .record(id)
            .unwrap()
            .clone();
        (ring, record)
    };
    let (one, record) = made("one.phield");
    let (_, mut other) = made("other.phield");
    // The same id, by somebody who has the ring key: only its check value tells.
    other.context.key_id = record.context.key_id;
    let two = copy("two.phield");
    block_on(two.update(|manifest| {
        manifest.records.push(other);
        manifest.records.sort_by_key(|record| record.context.key_id);
    }))
    .unwrap();
    let stored = |ring: &Ring| block_on(ring.load()).unwrap().stored().to_vec();
    let error = prepare(ring.ring(), &stored(&one), &[stored(&two)]).unwrap_err();
    assert!(
        matches!(error, RingError::TwoKeys(id) if id == record.context.key_id),
        "{error:?}"
    );
    assert_eq!(fs::read(ring.key_store()).unwrap(), backup);
}
