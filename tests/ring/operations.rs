//! The life of keys and wraps: what each command does, and what it refuses.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use phield_core::{
    AllowedProvider, FileStore, FileWitness, KekReference, KeyId, KeyProvider, KeySelection, KeyState,
    KeyUse, LocalKeyFile, LocalProvider, Manifest, Passphrase, ProviderName, Retirement, Ring, RingError,
    RingSettings, Rollout, Stretching, Suite, WrapOutcome,
};
use phield_testkit::{TestRing, block_on};

use crate::{chain, class};

const SEEN: Rollout = Rollout::AcknowledgedByEveryInstance;

/// A second key file, whose provider has this name.
pub(crate) fn second(ring: &TestRing, name: &str) -> Arc<LocalProvider> {
    let passphrase = Passphrase::new("of the second".to_owned());
    let path = ring.folder().join(format!("{name}.phield"));
    let file = if path.exists() {
        LocalKeyFile::open(&path, &passphrase).unwrap()
    } else {
        LocalKeyFile::create(&path, &passphrase, Stretching::minimal(), 1).unwrap()
    };
    Arc::new(LocalProvider::new(&file).with_name(ProviderName::new(name).unwrap()))
}

pub(crate) fn kek(reference: &str) -> KekReference {
    KekReference::new(reference).unwrap()
}

pub(crate) fn name(name: &str) -> ProviderName {
    ProviderName::new(name).unwrap()
}

/// The settings of the ring with a second provider `other`.
pub(crate) fn with_second(ring: &TestRing) -> RingSettings {
    let mut settings = ring.ring().settings.clone();
    let provider = AllowedProvider::new(second(ring, "other"), [kek("1")]);
    settings.providers.push(provider);
    settings
}

/// The ring with other settings.
pub(crate) fn open(ring: &TestRing, settings: RingSettings) -> Ring {
    Ring::new(
        settings,
        FileStore::new(ring.key_store()),
        Some(FileWitness::new(ring.witness())),
    )
}

fn backup(ring: &TestRing) -> PathBuf {
    ring.folder().join("backup.phield")
}

/// The ring, its backup configured and written.
fn backed_up(ring: &TestRing) -> Ring {
    let file = FileStore::new(backup(ring));
    let opened = open(ring, ring.ring().settings.clone()).with_backup(file.clone());
    block_on(opened.back_up(&block_on(opened.load()).unwrap(), &file)).unwrap();
    opened
}

pub(crate) fn find(manifest: &Manifest, key_use: KeyUse, state: KeyState) -> Option<KeyId> {
    let mut records = manifest.records.iter();
    let found = records.find(|record| record.context.key_use == key_use && record.state == state);
    found.map(|record| record.context.key_id)
}

fn state(ring: &Ring, id: KeyId) -> KeyState {
    let verified = block_on(ring.load()).unwrap();
    verified.manifest().record(id).unwrap().state
}

#[test]
fn a_successor_is_there_or_made_and_every_wrap_of_it_opens() {
    let ring = TestRing::new("clinic");
    let before = block_on(ring.ring().load()).unwrap();
    let there = find(before.manifest(), KeyUse::Data, KeyState::PreActive).unwrap();
    let data = |suite| block_on(ring.ring().successor(KeyUse::Data, Some(suite), None)).unwrap();
    let found = data(Suite::Aes256Gcm);
    assert_eq!((found.key_id, found.is_new), (there, false));
    assert_eq!(
        block_on(ring.ring().load()).unwrap().manifest().epoch,
        1,
        "nothing was written"
    );

    let made = data(Suite::XChaCha20Poly1305);
    assert!(made.is_new && made.key_id != there);
    assert_eq!(
        data(Suite::XChaCha20Poly1305).key_id,
        made.key_id,
        "the same command again"
    );
    let pepper = block_on(ring.ring().successor(KeyUse::Index, None, None)).unwrap();
    let again = block_on(ring.ring().successor(KeyUse::Index, None, None)).unwrap();
    assert_eq!((again.key_id, again.is_new), (pepper.key_id, false));
    let error = block_on(ring.ring().successor(KeyUse::Uid, None, None)).unwrap_err();
    assert_eq!(class(&error), "SecondUidPepper");
    assert_eq!(block_on(ring.ring().load()).unwrap().manifest().epoch, 3);
}

#[test]
fn a_new_key_is_wrapped_under_every_key_encryption_key() {
    let ring = TestRing::new("clinic");
    let opened = open(&ring, with_second(&ring));
    let id = block_on(opened.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    let verified = block_on(opened.load()).unwrap();
    let record = verified.manifest().record(id).unwrap();
    let wraps: Vec<_> = record
        .wraps
        .iter()
        .map(|wrap| (wrap.provider.as_str(), wrap.kek.as_str()))
        .collect();
    assert_eq!(wraps, [("local", "1"), ("other", "1")]);
    let checks = block_on(verified.check(&opened.settings));
    let opens = checks.iter().filter(|check| check.key_id == id);
    assert!(opens.clone().count() == 2 && opens.clone().all(|check| check.outcome == WrapOutcome::Opens));
}

#[test]
fn activation_waits_for_the_fleet() {
    let ring = TestRing::new("clinic");
    let opened = ring.ring();
    let manifest = block_on(opened.load()).unwrap();
    let next = find(manifest.manifest(), KeyUse::Data, KeyState::PreActive).unwrap();
    let old = find(manifest.manifest(), KeyUse::Data, KeyState::Active).unwrap();
    match block_on(opened.activate(next, Rollout::Waited)).unwrap_err() {
        RingError::TooSoon { key_id, seconds } => {
            assert_eq!(key_id, next);
            assert!((3800..=3900).contains(&seconds), "{seconds}");
        }
        other => panic!("{other:?}"),
    }
    let error = block_on(opened.activate(next, Rollout::Waited)).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("in 65 minutes every process knows it, or say that every instance has it (--acknowledged-by-every-instance)"),
        "{error}"
    );
    assert_eq!(state(opened, next), KeyState::PreActive);

    let changed = block_on(opened.activate(next, SEEN)).unwrap();
    assert_eq!(changed.manifest().epoch, 2, "one update");
    assert_eq!(
        (state(opened, next), state(opened, old)),
        (KeyState::Active, KeyState::DecryptOnly)
    );
    // The same command again changes nothing, and the old key does not come back.
    assert_eq!(
        block_on(opened.activate(next, Rollout::Waited))
            .unwrap()
            .manifest()
            .epoch,
        2
    );
    let error = block_on(opened.activate(old, SEEN)).unwrap_err();
    assert_eq!(class(&error), "Transition");
    let unknown = KeyId::new(u32::MAX).unwrap();
    assert_eq!(
        class(&block_on(opened.activate(unknown, SEEN)).unwrap_err()),
        "UnknownKey"
    );
}

#[test]
fn no_key_becomes_active_that_is_not_in_the_backup() {
    let ring = TestRing::new("clinic");
    let opened = open(&ring, ring.ring().settings.clone()).with_backup(FileStore::new(backup(&ring)));
    let next = find(
        block_on(opened.load()).unwrap().manifest(),
        KeyUse::Data,
        KeyState::PreActive,
    )
    .unwrap();
    let not_in_backup = |id: KeyId| {
        let error = block_on(opened.activate(id, SEEN)).unwrap_err();
        assert!(
            matches!(error, RingError::NotInBackup(key) if key == id),
            "{error:?}"
        );
        assert_eq!(state(&opened, id), KeyState::PreActive);
    };
    not_in_backup(next);

    backed_up(&ring);
    let new = block_on(opened.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    not_in_backup(new);
    let error = block_on(
        opened.retire(
            find(
                block_on(opened.load()).unwrap().manifest(),
                KeyUse::Data,
                KeyState::Active,
            )
            .unwrap(),
            Retirement::Compromised,
            Some(new),
        ),
    );
    assert!(matches!(error.unwrap_err(), RingError::NotInBackup(key) if key == new));

    // Another wrap than in the backup: the backup does not hold the key as it is.
    let both = open(&ring, with_second(&ring)).with_backup(FileStore::new(backup(&ring)));
    block_on(both.add_wrap(&name("other"), &kek("1"), &KeySelection::These(vec![next]))).unwrap();
    not_in_backup(next);
    let right = fs::read(backup(&ring)).unwrap();
    let mut changed = right.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(backup(&ring), changed).unwrap();
    assert_eq!(
        class(&block_on(opened.activate(next, SEEN)).unwrap_err()),
        "Authentication"
    );
    fs::write(backup(&ring), right).unwrap();
    backed_up(&ring);
    block_on(opened.activate(next, SEEN)).unwrap();
}

#[test]
fn a_wrap_that_does_not_open_stops_the_activation() {
    let ring = TestRing::new("clinic");
    let both = open(&ring, with_second(&ring));
    let id = block_on(both.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    // Somebody who has the ring key writes a wrap of another key.
    block_on(both.update(|manifest| {
        let mut records = manifest.records.iter();
        let other = records.find(|record| record.context.key_id != id).unwrap();
        let bytes = other.wraps[0].bytes.clone();
        let record = manifest
            .records
            .iter_mut()
            .find(|record| record.context.key_id == id);
        record.unwrap().wraps[1].bytes = bytes;
    }))
    .unwrap();
    assert_eq!(
        class(&block_on(both.activate(id, SEEN)).unwrap_err()),
        "Authentication"
    );
    assert_eq!(state(&both, id), KeyState::PreActive);
    let checks = block_on(block_on(both.load()).unwrap().check(&both.settings));
    let of_key: Vec<_> = checks.iter().filter(|check| check.key_id == id).collect();
    let outcomes: Vec<_> = of_key.iter().map(|check| check.outcome).collect();
    assert_eq!(outcomes, [WrapOutcome::Opens, WrapOutcome::DoesNotAuthenticate]);
    let error = block_on(block_on(both.load()).unwrap().check_every_wrap(&both.settings)).unwrap_err();
    assert_eq!(class(&error), "Authentication");
}

#[test]
fn a_compromised_key_is_replaced_at_once() {
    let ring = TestRing::new("clinic");
    let opened = backed_up(&ring);
    let verified = block_on(opened.load()).unwrap();
    let active = find(verified.manifest(), KeyUse::Data, KeyState::Active).unwrap();
    let next = find(verified.manifest(), KeyUse::Data, KeyState::PreActive).unwrap();
    let error = block_on(opened.retire(active, Retirement::DecryptOnly(Rollout::Waited), None)).unwrap_err();
    assert!(
        matches!(error, RingError::TooSoon { key_id, .. } if key_id == next),
        "{error:?}"
    );

    let retired = block_on(opened.retire(active, Retirement::Compromised, None)).unwrap();
    assert_eq!((retired.successor, retired.too_soon), (Some(next), true));
    assert_eq!(retired.ring.manifest().epoch, 2, "one update");
    assert_eq!(
        (state(&opened, active), state(&opened, next)),
        (KeyState::Compromised, KeyState::Active)
    );
    // Again: nothing is left to do.
    let again = block_on(opened.retire(active, Retirement::Compromised, None)).unwrap();
    assert_eq!((again.successor, again.ring.manifest().epoch), (None, 2));

    // No successor is left, and none is made up.
    for into in [Retirement::Compromised, Retirement::DecryptOnly(SEEN)] {
        let error = block_on(opened.retire(next, into, None)).unwrap_err();
        assert!(
            matches!(error, RingError::NoSuccessor(key) if key == next),
            "{error:?}"
        );
    }
    let pepper = find(verified.manifest(), KeyUse::Index, KeyState::Active).unwrap();
    for named in [pepper, active] {
        let error = block_on(opened.retire(next, Retirement::Compromised, Some(named))).unwrap_err();
        assert!(
            matches!(error, RingError::NoSuccessor(_) | RingError::Transition(..)),
            "{error:?}"
        );
    }
    assert_eq!(state(&opened, next), KeyState::Active);
    block_on(opened.retire_without_successor(next, KeyState::DecryptOnly)).unwrap();
    assert_eq!(state(&opened, next), KeyState::DecryptOnly);
    let error = block_on(opened.retire_without_successor(next, KeyState::Destroyed)).unwrap_err();
    assert_eq!(class(&error), "Transition", "destroying is another command's");
    block_on(opened.keyring()).unwrap();
}

#[test]
fn the_ring_key_is_not_retired_while_it_is_the_pinned_one() {
    let ring = TestRing::new("clinic");
    let verified = block_on(ring.ring().load()).unwrap();
    let id = find(verified.manifest(), KeyUse::Ring, KeyState::Active).unwrap();
    let before = fs::read(ring.key_store()).unwrap();
    let new = block_on(ring.ring().add_key(KeyUse::Ring, None, None)).unwrap();
    for (result, expected) in [
        (
            block_on(ring.ring().retire(id, Retirement::Compromised, None)).map(drop),
            "PinOrder",
        ),
        (
            block_on(ring.ring().retire_without_successor(id, KeyState::Compromised)).map(drop),
            "KeyState",
        ),
        (block_on(ring.ring().activate(new, SEEN)).map(drop), "PinOrder"),
    ] {
        assert_eq!(class(&result.unwrap_err()), expected);
    }
    assert_ne!(fs::read(ring.key_store()).unwrap(), before);
    block_on(ring.ring().keyring()).unwrap();
}

#[test]
fn a_key_encryption_key_is_replaced() {
    let ring = TestRing::new("clinic");
    let both = open(&ring, with_second(&ring));
    let error = block_on(
        ring.ring()
            .add_wrap(&name("other"), &kek("1"), &KeySelection::All),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no provider other with the key-encryption key 1 is configured: add it to keks of [[provider]] first"
    );
    // The only wrap is never taken away.
    let error = block_on(both.remove_wrap(&name("local"), &kek("1"))).unwrap_err();
    assert!(matches!(error, RingError::LastWrap(..)), "{error:?}");
    assert!(
        chain(&error).contains("no other wrap of key"),
        "{}",
        chain(&error)
    );

    let keys = block_on(both.load()).unwrap().manifest().records.len();
    let added = block_on(both.add_wrap(&name("other"), &kek("1"), &KeySelection::All)).unwrap();
    assert_eq!((added.changed.len(), added.ring.manifest().epoch), (keys, 2));
    let again = block_on(both.add_wrap(&name("other"), &kek("1"), &KeySelection::All)).unwrap();
    assert_eq!((again.unchanged.len(), again.ring.manifest().epoch), (keys, 2));
    let other = second(&ring, "other");
    let alone = |provider: Arc<dyn KeyProvider>| {
        let mut settings = ring.ring().settings.clone();
        settings.providers = vec![AllowedProvider::new(provider, [kek("1")])];
        open(&ring, settings)
    };
    block_on(alone(other.clone()).keyring()).expect("the second opens everything by itself");

    // While the other is not there, nothing is taken away.
    let error = block_on(ring.ring().remove_wrap(&name("local"), &kek("1"))).unwrap_err();
    assert!(matches!(error, RingError::LastWrap(..)), "{error:?}");
    let removed = block_on(alone(other.clone()).remove_wrap(&name("local"), &kek("1"))).unwrap();
    assert_eq!((removed.changed.len(), removed.ring.manifest().epoch), (keys, 3));
    let again = block_on(both.remove_wrap(&name("local"), &kek("1"))).unwrap();
    assert_eq!((again.changed.len(), again.ring.manifest().epoch), (0, 3));
    block_on(alone(other).keyring()).unwrap();
    assert_eq!(class(&block_on(ring.ring().load()).unwrap_err()), "Config");
}

#[test]
fn keys_under_dual_control_have_no_other_wraps() {
    let ring = TestRing::new("clinic");
    let mut settings = with_second(&ring);
    settings.dual_control = Some([(name("local"), kek("1")), (name("other"), kek("1"))]);
    let dual = open(&ring, settings);
    let id = block_on(dual.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    let these = KeySelection::These(vec![id]);
    let error = block_on(dual.add_wrap(&name("other"), &kek("1"), &these)).unwrap_err();
    assert!(
        matches!(error, RingError::NoOtherWrap(key) if key == id),
        "{error:?}"
    );
    let all = block_on(dual.add_wrap(&name("other"), &kek("1"), &KeySelection::All)).unwrap();
    assert_eq!(all.excluded, [id]);
    let record = |id| all.ring.manifest().record(id).unwrap().wraps.len();
    assert_eq!(record(id), 1);
    let reference = kek("local|1|other|1");
    let error = block_on(dual.remove_wrap(&name("split"), &reference)).unwrap_err();
    assert!(
        matches!(error, RingError::NoOtherWrap(key) if key == id),
        "{error:?}"
    );
    block_on(dual.keyring()).unwrap();
}

#[test]
fn a_backup_never_goes_back() {
    let ring = TestRing::new("clinic");
    let opened = backed_up(&ring);
    let file = FileStore::new(backup(&ring));
    let first = block_on(opened.load()).unwrap();
    let id = block_on(opened.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    let second = block_on(opened.load()).unwrap();
    block_on(opened.back_up(&second, &file)).unwrap();
    block_on(opened.back_up(&second, &file)).expect("the same again");
    let error = block_on(opened.back_up(&first, &file)).unwrap_err();
    assert!(matches!(error, RingError::BackupAhead(2, 1)), "{error:?}");
    assert_eq!(fs::read(backup(&ring)).unwrap(), second.stored());

    // Another history: as far, without the key.
    let copy = ring.folder().join("copy.phield");
    fs::write(&copy, first.stored()).unwrap();
    let other = Ring::new(ring.ring().settings.clone(), FileStore::new(&copy), None);
    block_on(other.add_key(KeyUse::Index, None, None)).unwrap();
    let error = block_on(opened.back_up(&block_on(other.load()).unwrap(), &file)).unwrap_err();
    assert!(
        matches!(error, RingError::RecordChanged(key) if key == id),
        "{error:?}"
    );

    let foreign = fs::read(TestRing::new("clinic").key_store()).unwrap();
    for content in [b"precious".as_slice(), &foreign] {
        fs::write(backup(&ring), content).unwrap();
        let RingError::OldBackup(error) = block_on(opened.back_up(&second, &file)).unwrap_err() else {
            panic!("what is there does not verify")
        };
        assert!(
            ["Malformed", "Authentication"].contains(&class(&error)),
            "{error:?}"
        );
        assert_eq!(fs::read(backup(&ring)).unwrap(), content);
    }
}

/// What is wrong with a ring that somebody else put together, each with its own error; nothing is opened.
#[test]
fn a_ring_that_somebody_put_together() {
    let ring = TestRing::new("clinic");
    // Another process each time: one remembers the highest epoch that it has seen.
    let fresh = || open(&ring, ring.ring().settings.clone());
    let right = fs::read(ring.key_store()).unwrap();
    let write = |change: &dyn Fn(&mut Manifest)| {
        fs::write(ring.key_store(), &right).unwrap();
        let _ = fs::remove_file(ring.witness());
        block_on(fresh().update(|manifest| change(manifest)))
    };
    let swap = |manifest: &mut Manifest| {
        let data: Vec<_> = (0..manifest.records.len())
            .filter(|place| manifest.records[*place].context.key_use == KeyUse::Data)
            .collect();
        let wraps = manifest.records[data[0]].wraps.clone();
        manifest.records[data[0]].wraps = manifest.records[data[1]].wraps.clone();
        manifest.records[data[1]].wraps = wraps;
    };
    // Somebody who has the ring key, too, is stopped by the check values.
    write(&swap).unwrap();
    assert_eq!(class(&block_on(fresh().keyring()).unwrap_err()), "Authentication");
    let of_another = |manifest: &mut Manifest| {
        let wraps = manifest.records[0].wraps.clone();
        manifest.records[1].wraps = wraps;
    };
    let refused = write(&of_another).and_then(|_| block_on(fresh().keyring()));
    assert_eq!(class(&refused.unwrap_err()), "Authentication");
    // KEKs that configuration does not have are never shown to a provider.
    let elsewhere = |manifest: &mut Manifest| {
        for record in &mut manifest.records {
            if record.context.key_use != KeyUse::Ring {
                record.wraps[0].kek = kek("2");
            }
        }
    };
    write(&elsewhere).unwrap();
    assert_eq!(class(&block_on(fresh().keyring()).unwrap_err()), "Config");
    // A record less, or an active one more, is no change that a ring makes.
    let less = |manifest: &mut Manifest| drop(manifest.records.pop());
    assert_eq!(class(&write(&less).unwrap_err()), "RecordChanged");
    let more = |manifest: &mut Manifest| {
        let mut record = manifest.records.last().unwrap().clone();
        record.context.key_id = KeyId::new(u32::MAX).unwrap();
        record.state = KeyState::Active;
        manifest.records.push(record);
    };
    assert_eq!(class(&write(&more).unwrap_err()), "Transition");

    // And somebody without the ring key by the MAC: a state, a record less, a record more.
    for change in [
        without_last as fn(&[u8]) -> Vec<u8>,
        with_last_twice,
        with_state_flipped,
    ] {
        fs::write(ring.key_store(), change(&right)).unwrap();
        let error = block_on(fresh().keyring()).unwrap_err();
        assert!(
            ["Authentication", "Malformed"].contains(&class(&error)),
            "{error:?}"
        );
    }
    fs::write(ring.key_store(), &right).unwrap();
    let _ = fs::remove_file(ring.witness());
    block_on(fresh().keyring()).unwrap();
}

/// Where the elements of a stored manifest start, each with its four bytes of length before it.
fn elements(stored: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut found) = (4, Vec::new());
    while at < stored.len() - 32 {
        let len = u32::from_be_bytes(stored[at..at + 4].try_into().unwrap());
        let end = at + 4 + usize::try_from(len).unwrap();
        found.push(at..end);
        at = end;
    }
    found
}

fn with_count(stored: &[u8], count: usize) -> Vec<u8> {
    let mut changed = stored.to_vec();
    changed[..4].copy_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
    changed
}

fn without_last(stored: &[u8]) -> Vec<u8> {
    let elements = elements(stored);
    let mut changed = with_count(stored, elements.len() - 1);
    changed.drain(elements.last().unwrap().clone());
    changed
}

fn with_last_twice(stored: &[u8]) -> Vec<u8> {
    let elements = elements(stored);
    let last = stored[elements.last().unwrap().clone()].to_vec();
    let mut changed = with_count(stored, elements.len() + 1);
    changed.splice(stored.len() - 32..stored.len() - 32, last);
    changed
}

fn with_state_flipped(stored: &[u8]) -> Vec<u8> {
    let record = elements(stored).pop().unwrap();
    let krec = record.start + 8;
    let len = u32::from_be_bytes(stored[krec..krec + 4].try_into().unwrap());
    let state = krec + 4 + usize::try_from(len).unwrap() + 4;
    let mut changed = stored.to_vec();
    changed[state] ^= 1;
    changed
}

/// Two operators begin at once: there is one successor, and both are told of it.
#[test]
fn two_who_make_a_successor_make_one() {
    let ring = TestRing::new("clinic");
    let make = || {
        let ring = open(&ring, ring.ring().settings.clone());
        move || block_on(ring.successor(KeyUse::Ring, None, None)).unwrap().key_id
    };
    let [first, second] = [make(), make()]
        .map(std::thread::spawn)
        .map(|thread| thread.join());
    assert_eq!(first.unwrap(), second.unwrap());
    let manifest = block_on(ring.ring().load()).unwrap().manifest().clone();
    let ring_keys = manifest
        .records
        .iter()
        .filter(|record| record.context.key_use == KeyUse::Ring);
    assert_eq!(ring_keys.count(), 2);
}
