//! What is read again and when.

use std::time::Duration;

use phield_core::{FileStore, KeyState, KeyUse, Ring, RingError, Suite};
use phield_testkit::TestRing;

use crate::world::{HARD, SOFT, World, open, seal, until};

/// A token of a key that another process has made since: found by one refresh, and a flood of unknown keys causes no more.
#[tokio::test]
async fn an_unknown_key_refreshes_the_manifest_once() {
    let world = World::new();
    let long = Duration::from_secs(60);
    let keyring = world.ring(long, long * 2).into_keyring().await.unwrap();
    let ring = world.ring.ring();
    let id = ring
        .add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)
        .await
        .unwrap();
    ring.set_state(id, KeyState::Active).await.unwrap();
    let sealed = seal(&world.ring.keyring()).unwrap();
    assert!(open(&keyring, &sealed).is_err());
    // The manifest was read a moment ago: not again before its pause is over (10 seconds).
    let reads = keyring.status().reads;
    for _ in 0..50 {
        assert!(keyring.retrying(|keyring| open(keyring, &sealed)).await.is_err());
    }
    assert_eq!(keyring.status().reads, reads);
    tokio::time::sleep(Duration::from_secs(10)).await;
    keyring.retrying(|keyring| open(keyring, &sealed)).await.unwrap();
    assert_eq!(keyring.status().reads, reads + 1);
    // Tokens of nobody's: forty more, and no more reading.
    let stranger = seal(&TestRing::new("clinic").keyring()).unwrap();
    for _ in 0..40 {
        assert!(
            keyring
                .retrying(|keyring| open(keyring, &stranger))
                .await
                .is_err()
        );
    }
    assert!(keyring.status().reads <= reads + 2);
}

/// What a keyring tells of itself: hits and misses, ages that start again with every refresh.
#[tokio::test]
async fn a_keyring_tells_how_it_is() {
    let world = World::new();
    let keyring = world.keyring().await;
    let sealed = seal(&keyring).unwrap();
    let before = keyring.status();
    for _ in 0..10 {
        open(&keyring, &sealed).unwrap();
    }
    assert_eq!(keyring.status().hits, before.hits + 10);
    assert_eq!(keyring.status().misses, 0);
    // Many soft TTLs: everything was refreshed, and is not old.
    tokio::time::sleep(SOFT * 5).await;
    let after = keyring.status();
    assert!(after.reads > before.reads && after.refreshes > before.refreshes);
    assert!(after.manifest_age < HARD && after.manifest_expires_in > Some(Duration::ZERO));
    assert!(
        after
            .keys
            .iter()
            .all(|key| key.age < Some(HARD) && key.expires_in > Some(Duration::ZERO))
    );
    world.provider.set(phield_testkit::Fault::Fails(
        phield_core::ProviderErrorKind::Unavailable,
    ));
    until("the end of the keys", HARD * 10, || {
        open(&keyring, &sealed).is_err()
    })
    .await;
    let status = keyring.status();
    assert!(status.misses > 0 && status.failures > 0 && status.keys.iter().any(|key| key.age.is_none()));
}

/// A keyring that was loaded once ends with its hard TTL.
#[tokio::test]
async fn a_keyring_without_a_refresher_ends() {
    let world = World::new();
    let ring = world.ring(SOFT, SOFT * 3);
    let keyring = ring.keyring().await.unwrap();
    let sealed = seal(&keyring).unwrap();
    tokio::time::sleep(SOFT * 4).await;
    assert!(seal(&keyring).unwrap_err().is_retryable());
    assert!(open(&keyring, &sealed).unwrap_err().is_retryable());
}

/// Asked by an operator, everything is read again at once; a destroyed key is gone with that.
#[tokio::test]
async fn refresh_takes_effect_at_once() {
    let world = World::new();
    let keyring = world
        .ring(Duration::from_secs(60), HARD * 60)
        .into_keyring()
        .await
        .unwrap();
    let (ring, status) = (world.ring.ring(), keyring.status());
    let spare = status
        .keys
        .iter()
        .find(|key| key.state == KeyState::PreActive)
        .unwrap()
        .id;
    ring.set_state(spare, KeyState::Destroyed).await.unwrap();
    keyring.refresh().await.unwrap();
    assert!(keyring.status().keys.iter().all(|key| key.id != spare));
    assert_eq!(keyring.epoch(), 2);
    assert!(
        keyring.status().refreshes >= status.refreshes + 4,
        "{:?}",
        keyring.status()
    );
}

/// An older manifest that is put back, or another of the same epoch, is not taken, though there is neither witness nor floor.
#[tokio::test]
async fn an_older_manifest_is_not_taken_without_a_witness() {
    let world = World::new();
    let mut settings = world.ring(SOFT, HARD * 10).settings;
    settings.min_epoch = 0;
    let store = || FileStore::new(world.ring.key_store());
    let keyring = Ring::new(settings, store(), None).into_keyring().await.unwrap();
    let old = std::fs::read(world.ring.key_store()).unwrap();
    world
        .ring
        .ring()
        .add_key(KeyUse::Subject, None, None)
        .await
        .unwrap();
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.epoch(), 2);
    std::fs::write(world.ring.key_store(), &old).unwrap();
    let refused = keyring.refresh().await.unwrap_err();
    assert!(
        matches!(*refused, RingError::Stale { epoch: 1, known: 2 }),
        "{refused:?}"
    );
    assert_eq!(keyring.epoch(), 2);
    // Another change to the same manifest, by somebody who had not seen the first: the same epoch, another MAC.
    std::fs::remove_file(world.ring.witness()).unwrap();
    let other = Ring::new(world.ring.ring().settings.clone(), store(), None);
    other.add_key(KeyUse::Subject, None, None).await.unwrap();
    let refused = keyring.refresh().await.unwrap_err();
    assert!(
        matches!(*refused, RingError::Stale { epoch: 2, known: 2 }),
        "{refused:?}"
    );
}

/// Under a manifest that cannot be read any more, opening ends too: nobody knows whether its keys were destroyed since.
#[tokio::test]
async fn without_a_manifest_keys_are_used_up() {
    let world = World::new();
    let keyring = world.ring(SOFT, SOFT * 4).into_keyring().await.unwrap();
    let sealed = seal(&keyring).unwrap();
    std::fs::write(world.ring.key_store(), b"garbage").unwrap();
    until("the end of sealing", Duration::from_secs(20), || {
        seal(&keyring).is_err()
    })
    .await;
    until("the end of opening", Duration::from_secs(20), || {
        open(&keyring, &sealed).is_err()
    })
    .await;
}

/// A manifest that is not the ring's changes nothing; the next good one does.
#[tokio::test]
async fn a_manifest_that_was_tampered_with_is_not_taken() {
    let world = World::new();
    let keyring = world.ring(SOFT, HARD * 10).into_keyring().await.unwrap();
    let good = std::fs::read(world.ring.key_store()).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(world.ring.key_store(), &bad).unwrap();
    let failures = keyring.status().failures;
    until("it was read", Duration::from_secs(30), || {
        keyring.status().failures > failures
    })
    .await;
    seal(&keyring).unwrap();
    assert!(keyring.refresh().await.is_err());
    std::fs::write(world.ring.key_store(), &good).unwrap();
    keyring.refresh().await.unwrap();
}
