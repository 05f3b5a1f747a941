//! Manifests and pins that are not what they should be.

use std::collections::BTreeMap;
use std::fs;

use phield_core::{KeyState, KeyUse, RingError, RingKeyPin, RingSettings, VerifiedRing};
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
        let error = block_on(ring.config().ring().unwrap().load()).unwrap_err();
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
            _ => assert!(changed.is_ok(), "{state}"),
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
