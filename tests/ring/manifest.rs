//! Manifests and pins that are not what they should be.

use std::collections::BTreeMap;
use std::fs;

use phield_core::{Backends, KeyState, KeyUse, RingError, RingKeyPin, RingSettings, VerifiedRing};
use phield_testkit::{TestRing, block_on};

use crate::{chain, class, make_symlink};

fn verify(settings: &RingSettings, stored: &[u8]) -> Result<VerifiedRing, RingError> {
    block_on(settings.verify(stored))
}

#[test]
fn truncated_at_every_length_and_extended() {
    let ring = TestRing::new("clinic");
    let stored = fs::read(ring.key_store()).unwrap();
    for len in 0..stored.len() {
        let error =
            verify(&ring.ring().settings, &stored[..len]).expect_err("a truncated manifest was accepted");
        assert_eq!(class(&error), "Malformed", "at {len}");
    }
    let extended = [stored.as_slice(), &[0]].concat();
    assert_eq!(
        class(&verify(&ring.ring().settings, &extended).unwrap_err()),
        "Malformed"
    );
}

#[test]
fn every_flipped_bit_is_refused() {
    let ring = TestRing::new("clinic");
    let stored = fs::read(ring.key_store()).unwrap();
    let mac = stored.len() - 32;
    let mut classes = BTreeMap::new();
    for byte in 0..stored.len() {
        for bit in 0..8 {
            let mut changed = stored.clone();
            changed[byte] ^= 1 << bit;
            let error = verify(&ring.ring().settings, &changed)
                .map(|_| ())
                .expect_err("a changed manifest was accepted");
            let class = class(&error);
            assert!(
                byte < mac || class == "Authentication",
                "MAC byte {byte} bit {bit}: {error:?}"
            );
            *classes.entry(class).or_insert(0) += 1;
        }
    }
    println!("{} bits: {classes:?}", stored.len() * 8);
    let known = ["Authentication", "Config", "KeyState", "Malformed"];
    assert!(classes.keys().all(|class| known.contains(class)), "{classes:?}");
    verify(&ring.ring().settings, &stored).unwrap();
}

#[test]
fn a_changed_manifest_file_is_refused_and_the_right_one_opens_again() {
    let ring = TestRing::new("clinic");
    let stored = fs::read(ring.key_store()).unwrap();
    let mut changed = stored.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (content, expected) in [
        (changed.as_slice(), "Authentication"),
        (&stored[..9], "Malformed"),
        (&[], "Malformed"),
    ] {
        fs::write(ring.key_store(), content).unwrap();
        assert_eq!(class(&block_on(ring.ring().load()).unwrap_err()), expected);
    }
    fs::write(ring.key_store(), stored).unwrap();
    block_on(ring.ring().keyring()).unwrap();
}

#[test]
fn symlinked_and_missing() {
    let ring = TestRing::new("clinic");
    make_symlink(&ring.key_store());
    let error = block_on(ring.ring().load()).unwrap_err();
    assert_eq!(class(&error), "File");
    assert!(
        chain(&error).ends_with("it is a symbolic link"),
        "{}",
        chain(&error)
    );
    let error = block_on(ring.ring().update(|_| ())).unwrap_err();
    assert_eq!(class(&error), "File");
    fs::remove_file(ring.key_store()).unwrap();
    let error = block_on(ring.ring().load()).unwrap_err();
    assert_eq!(class(&error), "NoRing");
    assert!(error.to_string().contains("phield init"), "{error}");
}

#[test]
fn pins() {
    let ring = TestRing::new("clinic");
    let verified = block_on(ring.ring().load()).unwrap();
    let stored = verified.stored().to_vec();
    let right = ring.ring().settings.pins.clone();
    let with = |pins: Vec<RingKeyPin>| {
        let mut settings = ring.ring().settings.clone();
        settings.pins = pins;
        verify(&settings, &stored)
            .map(|_| ())
            .map_err(|error| class(&error))
    };
    let pin = |text: String| text.parse::<RingKeyPin>().unwrap();
    let text = right[0].to_string();

    let digit = if text.ends_with('0') { '1' } else { '0' };
    let other_value = pin(format!("{}{digit}", &text[..text.len() - 1]));
    assert_eq!(
        with(vec![other_value.clone()]),
        Err("Authentication"),
        "another check value"
    );

    for record in &verified.manifest().records {
        let hex = data_encoding::HEXLOWER.encode(&record.check_value);
        let own = pin(format!("{}:{hex}", record.context.key_id));
        let expected = if record.context.key_use == KeyUse::Ring {
            Ok(())
        } else {
            Err("Authentication")
        };
        assert_eq!(with(vec![own]), expected, "{}", record.context.key_use);
    }

    let absent = pin(format!("ffffffff{}", &text[8..]));
    assert_eq!(
        with(vec![absent.clone()]),
        Err("Authentication"),
        "an id that is not there"
    );
    assert_eq!(with(vec![]), Err("Config"));
    assert_eq!(
        with(vec![absent, other_value.clone(), right[0].clone()]),
        Ok(()),
        "the first that verifies"
    );
    assert_eq!(with(vec![right[0].clone(), other_value]), Ok(()));

    let other = TestRing::new("clinic");
    assert_eq!(
        with(other.ring().settings.pins.clone()),
        Err("Authentication"),
        "the pin of another ring"
    );
}

#[test]
fn another_app_or_ring_in_configuration() {
    let ring = TestRing::new("clinic");
    let text = fs::read_to_string(ring.config_path()).unwrap();
    for (from, to) in [
        ("app = \"clinic\"", "app = \"clinik\""),
        ("ring = \"clinic-test\"", "ring = \"clinic-prod\""),
    ] {
        assert!(text.contains(from));
        fs::write(ring.config_path(), text.replace(from, to)).unwrap();
        let error = block_on(block_on(ring.config().ring(&Backends::local())).unwrap().load()).unwrap_err();
        assert_eq!(class(&error), "Authentication", "{to}");
    }
}

#[test]
fn the_state_of_the_ring_key() {
    for state in [KeyState::Compromised, KeyState::PreActive, KeyState::DecryptOnly] {
        let ring = TestRing::new("clinic");
        let changed = block_on(ring.ring().update(|manifest| {
            let ring_key = manifest
                .records
                .iter_mut()
                .find(|record| record.context.key_use == KeyUse::Ring);
            ring_key.unwrap().state = state;
        }));
        match state {
            KeyState::Compromised => assert_eq!(class(&changed.unwrap_err()), "KeyState"),
            KeyState::PreActive => assert_eq!(class(&changed.unwrap_err()), "Transition"),
            // Nothing would authenticate the changed manifest.
            _ => assert_eq!(class(&changed.unwrap_err()), "KeyState"),
        }
        block_on(ring.ring().load()).unwrap();
    }
}

#[test]
fn a_change_that_breaks_a_rule_is_not_written() {
    let ring = TestRing::new("clinic");
    let before = fs::read(ring.key_store()).unwrap();
    let error = block_on(ring.ring().update(|manifest| {
        for record in &mut manifest.records {
            if record.state == KeyState::PreActive {
                record.not_after = 1;
            }
            record.state = KeyState::Active;
        }
    }));
    assert_eq!(class(&error.unwrap_err()), "Malformed");
    let error = block_on(ring.ring().update(|manifest| manifest.records.reverse()));
    assert_eq!(class(&error.unwrap_err()), "Malformed");
    let error = block_on(ring.ring().update(|manifest| manifest.records[0].wraps.clear()));
    assert_eq!(class(&error.unwrap_err()), "Malformed");
    assert_eq!(fs::read(ring.key_store()).unwrap(), before);
}

/// States go forward, one active key in a place, and what a key is never changes.
#[test]
fn states_and_records_of_a_change() {
    let ring = TestRing::new("clinic");
    let keys = || block_on(ring.ring().load()).unwrap().manifest().records.clone();
    let data = |state: KeyState| {
        let found = keys()
            .into_iter()
            .find(|record| record.context.key_use == KeyUse::Data && record.state == state);
        found.unwrap()
    };
    let (old, successor) = (data(KeyState::Active), data(KeyState::PreActive));
    assert_eq!(successor.not_after, 0);
    let set = |id, state| block_on(ring.ring().set_state(id, state));
    let ids = (old.context.key_id, successor.context.key_id);
    let before = fs::read(ring.key_store()).unwrap();
    for (id, state) in [
        (ids.0, KeyState::Active),
        (ids.0, KeyState::PreActive),
        (ids.0, KeyState::Destroyed),
        (ids.1, KeyState::DecryptOnly),
    ] {
        assert_eq!(class(&set(id, state).unwrap_err()), "Transition", "{state}");
    }
    let unknown = phield_core::KeyId::new(1).unwrap();
    assert_eq!(class(&set(unknown, KeyState::Active).unwrap_err()), "UnknownKey");
    let error = block_on(ring.ring().update(|manifest| drop(manifest.records.pop())));
    assert_eq!(class(&error.unwrap_err()), "RecordChanged");
    let error = block_on(
        ring.ring()
            .update(|manifest| manifest.records[0].check_value = [0; 32]),
    );
    assert_eq!(class(&error.unwrap_err()), "RecordChanged");
    let later = |not_after| {
        let id = ids.0;
        let change = ring.ring().update(|manifest| {
            let mut records = manifest.records.iter_mut();
            records
                .find(|record| record.context.key_id == id)
                .unwrap()
                .not_after = not_after;
        });
        block_on(change).map(|_| ())
    };
    for longer in [0, old.not_after + 1, u64::MAX] {
        assert_eq!(class(&later(longer).unwrap_err()), "NotAfter", "{longer}");
    }
    let error = block_on(ring.ring().update(|manifest| {
        let mut copy = manifest.records[0].clone();
        copy.context.key_id = phield_core::KeyId::new(u32::MAX).unwrap();
        copy.state = KeyState::Active;
        manifest.records.push(copy);
    }));
    assert_eq!(
        class(&error.unwrap_err()),
        "Transition",
        "I-8: a new key is pre-active"
    );
    let error = block_on(ring.ring().update(|manifest| {
        let uid = manifest
            .records
            .iter()
            .find(|record| record.context.key_use == KeyUse::Uid);
        let mut second = uid.unwrap().clone();
        second.context.key_id = phield_core::KeyId::new(u32::MAX).unwrap();
        second.state = KeyState::PreActive;
        manifest.records.push(second);
    }));
    assert_eq!(class(&error.unwrap_err()), "SecondUidPepper");
    assert_eq!(fs::read(ring.key_store()).unwrap(), before, "nothing was written");
    later(old.not_after - 1).unwrap();

    // I-2, I-3: one update makes the successor active and the old key decrypt-only.
    set(ids.1, KeyState::Active).unwrap();
    assert_eq!(data(KeyState::DecryptOnly).context.key_id, ids.0);
    let active = data(KeyState::Active);
    assert_eq!(active.context.key_id, ids.1);
    assert!(
        active.not_after >= old.not_after,
        "its time starts when it is activated"
    );
    set(ids.0, KeyState::Destroyed).unwrap();
    let destroyed = data(KeyState::Destroyed);
    assert!(destroyed.wraps.is_empty() && destroyed.check_value == old.check_value);
    assert_eq!(class(&set(ids.0, KeyState::Active).unwrap_err()), "Transition");
}

/// I-8: a pre-active key opens and is queried, and never seals.
#[test]
fn a_key_before_and_after_its_activation() {
    use phield_core::{Column, Padding, Phi, Sealed};

    let ring = TestRing::new("clinic");
    let name = || Column::<String, i64>::new("patients", "name", Padding::Block16);
    let load = || block_on(ring.ring().keyring()).unwrap();
    let old_instance = load();
    let successor = {
        let verified = block_on(ring.ring().load()).unwrap();
        let mut records = verified.manifest().records.iter();
        records
            .find(|record| record.state == KeyState::PreActive)
            .unwrap()
            .context
            .key_id
    };
    let key_of = |sealed: &Sealed<String>| phield_core::TokenInfo::parse(sealed.as_bytes()).unwrap().key_id;
    let seal = |keyring: &phield_core::Keyring| -> Sealed<String> {
        name().seal(keyring, &1, &Phi::from("Ada")).unwrap()
    };
    assert_ne!(key_of(&seal(&old_instance)), successor);
    block_on(ring.ring().set_state(successor, KeyState::Active)).unwrap();
    let sealed = seal(&load());
    assert_eq!(key_of(&sealed), successor);
    // An instance that has not heard of the activation opens what another one sealed.
    assert_eq!(name().open(&old_instance, &1, &sealed).unwrap().expose(), "Ada");
}

/// §8.2, the five steps of a new ring key. Step 4 is authenticated by the new key, so that step 5 can drop the old one.
#[test]
fn the_ring_key_is_replaced() {
    use phield_core::{FileStore, FileWitness, Ring, RingKeyPin};

    let ring = TestRing::new("clinic");
    let old_pin = ring.ring().settings.pins[0].clone();
    let with_pins = |pins: &[&RingKeyPin]| {
        let mut settings = ring.ring().settings.clone();
        settings.pins = pins.iter().map(|pin| (*pin).clone()).collect();
        let witness = FileWitness::new(ring.folder().join("epoch.witness"));
        Ring::new(settings, FileStore::new(ring.key_store()), Some(witness))
    };
    // (1) Published pre-active, under the old MAC.
    let id = block_on(ring.ring().add_key(KeyUse::Ring, None, None)).unwrap();
    let before_step_4 = fs::read(ring.key_store()).unwrap();
    let verified = block_on(ring.ring().load()).unwrap();
    let check_value = verified.manifest().record(id).unwrap().check_value;
    let new_pin: RingKeyPin = format!("{id}:{}", data_encoding::HEXLOWER.encode(&check_value))
        .parse()
        .unwrap();
    // Activated by somebody who does not pin it, it would lock everybody out: refused.
    let error = block_on(ring.ring().set_state(id, KeyState::Active)).unwrap_err();
    assert_eq!(class(&error), "KeyState");
    assert_eq!(fs::read(ring.key_store()).unwrap(), before_step_4);
    // (2), (3) Both are pinned everywhere, in both orders.
    block_on(with_pins(&[&old_pin, &new_pin]).load()).unwrap();
    // From [old, new] it would lock out who has not gone on: refused, whichever way it is asked for.
    let seen = phield_core::Rollout::AcknowledgedByEveryInstance;
    let too_early = with_pins(&[&old_pin, &new_pin]);
    let compromised = phield_core::Retirement::Compromised;
    for error in [
        block_on(too_early.activate(id, seen)).unwrap_err(),
        block_on(ring.ring().activate(id, seen)).unwrap_err(),
        block_on(too_early.set_state(id, KeyState::Active)).unwrap_err(),
        block_on(too_early.retire(old_pin.key_id(), compromised, None)).unwrap_err(),
    ] {
        assert!(
            matches!(error, RingError::PinOrder(key) if key == id),
            "{error:?}"
        );
        assert!(
            error.to_string().ends_with("pin [new, old] everywhere first"),
            "{error}"
        );
    }
    assert_eq!(fs::read(ring.key_store()).unwrap(), before_step_4);
    let writer = with_pins(&[&new_pin, &old_pin]);
    block_on(writer.load()).unwrap();
    // (4) One update.
    let changed = block_on(writer.set_state(id, KeyState::Active)).unwrap();
    assert_eq!(
        changed.manifest().record(old_pin.key_id()).unwrap().state,
        KeyState::DecryptOnly
    );
    // Who has not switched still loads it; (5) and who has dropped the old one does.
    block_on(with_pins(&[&old_pin, &new_pin]).load()).unwrap();
    let last = with_pins(&[&new_pin]);
    block_on(last.load()).unwrap();
    block_on(last.add_key(
        KeyUse::Index,
        None,
        Some(phield_core::ScopeName::from_static("a")),
    ))
    .unwrap();
    assert_eq!(
        class(&block_on(with_pins(&[&old_pin]).load()).unwrap_err()),
        "Authentication"
    );
    // A process that has seen a MAC by the new key refuses the old one, whatever its witness says.
    let mut settings = writer.settings.clone();
    settings.pins = vec![new_pin, old_pin];
    let without_witness = Ring::new(settings, FileStore::new(ring.key_store()), None);
    block_on(without_witness.load()).unwrap();
    fs::write(ring.key_store(), &before_step_4).unwrap();
    assert_eq!(
        class(&block_on(without_witness.load()).unwrap_err()),
        "Authentication"
    );
}

/// Dual control: new keys are wrapped in two shares, and neither key-encryption key alone gives them.
#[test]
fn dual_control() {
    use phield_core::{AllowedProvider, KekReference, LocalKeyFile, LocalProvider, Ring};
    use phield_core::{Passphrase, RingSettings, Stretching, Suite};
    use std::sync::Arc;

    let folder = tempfile::TempDir::new().unwrap();
    let passphrase = Passphrase::generate().unwrap();
    let kek = KekReference::new("1").unwrap();
    let provider = |file: &str, name: &'static str| {
        let keys =
            LocalKeyFile::create(&folder.path().join(file), &passphrase, Stretching::minimal(), 1).unwrap();
        let provider = LocalProvider::new(&keys).with_name(phield_core::ProviderName::from_static(name));
        AllowedProvider::new(Arc::new(provider), [kek.clone()])
    };
    let (a, b) = (provider("a", "local"), provider("b", "vault"));
    let settings = |providers: Vec<AllowedProvider>| {
        let (app, name) = ("clinic", "clinic-test");
        RingSettings::new(
            phield_core::AppName::from_static(app),
            phield_core::RingName::from_static(name),
            providers,
        )
    };
    let mut both = settings(vec![a.clone(), b.clone()]);
    both.dual_control = Some([
        (a.provider().name().clone(), kek.clone()),
        (b.provider().name().clone(), kek.clone()),
    ]);
    let verified = block_on(Ring::generate(&mut both, &[(None, Suite::Aes256Gcm)])).unwrap();
    for record in &verified.manifest().records {
        assert_eq!(record.wraps.len(), 1);
        assert_eq!(record.wraps[0].kek.as_str(), "local|1|vault|1");
    }
    block_on(verified.keyring(&both)).unwrap();
    assert_eq!(
        block_on(verified.check_every_wrap(&both)).unwrap(),
        verified.manifest().records.len()
    );
    for one in [a, b] {
        let mut alone = settings(vec![one]);
        alone.pins = both.pins.clone();
        let error = block_on(alone.verify(verified.stored())).unwrap_err();
        assert_eq!(class(&error), "Config");
    }
    both.dual_control = Some([(a_name(), kek.clone()), (a_name(), kek)]);
    let error = block_on(Ring::generate(&mut both, &[(None, Suite::Aes256Gcm)])).unwrap_err();
    assert_eq!(class(&error), "Malformed");
}

fn a_name() -> phield_core::ProviderName {
    phield_core::ProviderName::from_static("local")
}

/// A ring that was verified for one application gives its keys to no other.
#[test]
fn a_verified_ring_belongs_to_its_settings() {
    let ring = TestRing::new("clinic");
    let verified = block_on(ring.ring().load()).unwrap();
    let mut other = ring.ring().settings.clone();
    other.app = phield_core::AppName::from_static("billing");
    assert_eq!(
        class(&block_on(verified.keyring(&other)).unwrap_err()),
        "Authentication"
    );
    let mut other = ring.ring().settings.clone();
    other.ring = phield_core::RingName::from_static("production");
    assert_eq!(
        class(&block_on(verified.keyring(&other)).unwrap_err()),
        "Authentication"
    );
}
