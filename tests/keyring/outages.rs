//! an outage is bridged until the hard TTL, a refusal is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use phield_core::{
    AllowedProvider, CachePolicy, FileStore, KekReference, KeyProvider, KeyUse, OpenError, ProviderErrorKind,
    Ring, RingError, SealError, Suite,
};
use phield_testkit::{Fault, FaultyProvider, TestRing};

use crate::world::{HARD, Load, SOFT, World, local, open, seal, search, until};

const KINDS_OF_OUTAGE: [Fault; 2] = [Fault::Fails(ProviderErrorKind::Unavailable), Fault::Hangs];
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything goes on during an outage that is shorter than the hard TTL; it ends with the hard TTL, and comes back.
#[tokio::test]
async fn an_outage_is_bridged_until_the_hard_ttl_and_over_by_itself() {
    for outage in KINDS_OF_OUTAGE {
        let world = World::new();
        let keyring = Arc::new(world.keyring().await);
        let load = Load::start(&keyring, 4);
        until("a refresh", PATIENCE, || keyring.status().refreshes > 10).await;
        let before = world.provider.unwraps().len();
        let _ = load.since();

        let begun = Instant::now();
        world.provider.set(outage);
        tokio::time::sleep(HARD / 2).await;
        let (served, failed) = load.since();
        let in_time = begun.elapsed() < HARD - SOFT;
        println!(
            "{outage:?}: {served} requests served, {failed} failed in the first {:?}, {} calls",
            begun.elapsed(),
            world.provider.unwraps().len() - before
        );
        assert!(served > 0);
        assert!(failed == 0 || !in_time, "a request failed within the hard TTL");

        // Fails closed, all of it, with errors that may be retried (`request` asserts that).
        until("the end of the keys", PATIENCE, || {
            seal(&keyring).is_err() && search(&keyring).is_err()
        })
        .await;
        assert!(begun.elapsed() >= HARD - SOFT - SOFT, "the keys ended too soon");
        until("eviction", PATIENCE, || keyring.status().evictions >= 4).await;
        assert!(!keyring.status().is_complete());

        world.provider.set(Fault::None);
        let back = until("the keys are back", PATIENCE, || keyring.status().is_complete()).await;
        let (served, failed) = load.since();
        println!("then {served} served and {failed} failed; back {back:?} after the outage");
        let _ = load.since();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (served, failed) = load.since();
        assert!(served > 0 && failed == 0, "{served} served, {failed} failed");
        load.stop();
    }
}

/// A refused key is gone within the soft TTL: it neither seals nor opens. Access given back brings it back.
#[tokio::test]
async fn a_refused_key_is_gone_within_the_soft_ttl() {
    let world = World::new();
    let keyring = world.keyring().await;
    let sealed = seal(&keyring).unwrap();
    world
        .provider
        .set_for(KeyUse::Data, Fault::Fails(ProviderErrorKind::Refused));
    let gone = until("the key is gone", PATIENCE, || seal(&keyring).is_err()).await;
    println!("a refused key is gone {gone:?} after it was refused; the soft TTL is {SOFT:?}");
    // On a busy machine threads wait for their turn; the bound that matters is far from the hard TTL.
    assert!(gone < SOFT * 3, "{gone:?}");
    assert!(matches!(seal(&keyring), Err(SealError::KeyRefused(_))));
    assert!(matches!(open(&keyring, &sealed), Err(OpenError::KeyRefused(_))));
    assert!(!seal(&keyring).unwrap_err().is_retryable());
    search(&keyring).unwrap();

    world.provider.set(Fault::None);
    until("the key is back", PATIENCE, || open(&keyring, &sealed).is_ok()).await;
}

/// Revoking the key of the manifest stops sealing and searching: what is sealed still opens, for its keys are not revoked.
#[tokio::test]
async fn without_its_ring_key_nothing_is_sealed_or_searched() {
    let world = World::new();
    let keyring = world.keyring().await;
    let sealed = seal(&keyring).unwrap();
    world
        .provider
        .set_for(KeyUse::Ring, Fault::Fails(ProviderErrorKind::Refused));
    until("the end of sealing", PATIENCE, || {
        matches!(seal(&keyring), Err(SealError::RingExpired))
    })
    .await;
    search(&keyring).unwrap_err();
    open(&keyring, &sealed).unwrap();
    assert!(keyring.refresh().await.is_err());
}

/// An outage of the ring key's provider alone: changes of the ring still arrive, verified by the key that is known.
#[tokio::test]
async fn the_ring_changes_during_an_outage_of_its_ring_key() {
    let world = World::new();
    let keyring = world.ring(SOFT, HARD * 20).into_keyring().await.unwrap();
    world
        .provider
        .set_for(KeyUse::Ring, Fault::Fails(ProviderErrorKind::Unavailable));
    world
        .ring
        .ring()
        .add_key(KeyUse::Subject, None, None)
        .await
        .unwrap();
    until("the new epoch", PATIENCE, || keyring.epoch() == 2).await;
    seal(&keyring).unwrap();
    // A process that starts now has no key to verify it with.
    let cold = world.ring(SOFT, HARD).into_keyring().await;
    assert!(matches!(cold, Err(RingError::KeyUnavailable(..))));
}

/// A process that starts during an outage takes the second wrap of every key.
#[tokio::test]
async fn a_restart_during_an_outage_works_through_a_second_wrap() {
    let first = TestRing::new("clinic");
    let second = TestRing::new("clinic");
    let cloud = FaultyProvider::new(local(&first, "cloud"));
    let break_glass = FaultyProvider::new(local(&second, "break-glass"));
    let kek = || [KekReference::new("1").unwrap()];
    let providers = [&cloud, &break_glass].map(|provider| {
        let provider = Arc::clone(provider) as Arc<dyn KeyProvider>;
        AllowedProvider::new(provider, kek())
    });
    let mut settings = first.ring().settings.clone();
    settings.providers = providers.to_vec();
    // The first provider of each key is waited for, for a second.
    settings.cache = CachePolicy::new(SOFT, HARD * 20).unwrap();
    let new = Ring::generate(&mut settings, &[(None, Suite::Aes256Gcm)])
        .await
        .unwrap();
    assert!(
        new.manifest()
            .records
            .iter()
            .all(|record| record.wraps.len() == 2)
    );
    let store = || FileStore::new(first.folder().join("two.phield"));
    let ring = || Ring::new(settings.clone(), store(), None);
    ring().publish(&new).await.unwrap();
    let sealed = seal(&ring().into_keyring().await.unwrap()).unwrap();
    assert!(
        break_glass.unwraps().is_empty(),
        "the first provider is asked first"
    );

    for outage in KINDS_OF_OUTAGE {
        cloud.set(outage);
        let keyring = ring().into_keyring().await.unwrap();
        open(&keyring, &sealed).unwrap();
        seal(&keyring).unwrap();
        search(&keyring).unwrap();
    }

    // Refused by one and out of reach of the other: revoked, whichever is asked first.
    for outage in KINDS_OF_OUTAGE {
        for (refuses, is_out) in [(&cloud, &break_glass), (&break_glass, &cloud)] {
            refuses.set(Fault::Fails(ProviderErrorKind::Refused));
            is_out.set(outage);
            let refused = ring().into_keyring().await;
            assert!(matches!(refused, Err(RingError::KeyRefused(..))), "{refused:?}");
        }
    }
}

/// A key under dual control: the outage of one half does not hide that the other was refused.
#[tokio::test]
async fn dual_control_is_revoked_by_either_half() {
    let first = TestRing::new("clinic");
    let second = TestRing::new("clinic");
    let halves = [
        FaultyProvider::new(local(&first, "officer-1")),
        FaultyProvider::new(local(&second, "officer-2")),
    ];
    let kek = KekReference::new("1").unwrap();
    let mut settings = first.ring().settings.clone();
    settings.providers = halves
        .iter()
        .map(|half| AllowedProvider::new(Arc::clone(half) as Arc<dyn KeyProvider>, [kek.clone()]))
        .collect();
    settings.cache = CachePolicy::new(SOFT, HARD).unwrap();
    let names = [&halves[0], &halves[1]].map(|half| (half.name().clone(), kek.clone()));
    settings.dual_control = Some(names);
    let new = Ring::generate(&mut settings, &[(None, Suite::Aes256Gcm)])
        .await
        .unwrap();
    let ring = Ring::new(settings, FileStore::new(first.folder().join("dual.phield")), None);
    ring.publish(&new).await.unwrap();
    let keyring = ring.into_keyring().await.unwrap();
    seal(&keyring).unwrap();
    halves[0].set(Fault::Hangs);
    halves[1].set(Fault::Fails(ProviderErrorKind::Refused));
    until("revoked", HARD - SOFT, || {
        matches!(
            seal(&keyring),
            Err(SealError::KeyRefused(_) | SealError::RingExpired)
        )
    })
    .await;
}

/// A provider that panics is out of order, and its keys are asked for again when it is not.
#[tokio::test]
async fn a_provider_that_panics_is_an_outage() {
    let world = World::new();
    let keyring = world.keyring().await;
    let sealed = seal(&keyring).unwrap();
    world.provider.set(Fault::Panics);
    until("the end of the keys", PATIENCE, || {
        open(&keyring, &sealed).is_err()
    })
    .await;
    assert!(keyring.retrying(|keyring| open(keyring, &sealed)).await.is_err());
    assert!(keyring.refresh().await.is_err());
    world.provider.set(Fault::None);
    until("the keys are back", PATIENCE, || keyring.status().is_complete()).await;
    open(&keyring, &sealed).unwrap();
}

/// Whoever writes the key store cannot revoke the ring key by a wrap that a provider refuses.
#[tokio::test]
async fn a_wrap_that_somebody_else_chose_revokes_nothing() {
    let world = World::new();
    let ring = world.ring(SOFT, HARD * 20);
    let keyring = ring.into_keyring().await.unwrap();
    let stored = std::fs::read(world.ring.key_store()).unwrap();
    let wraps = world.ring.ring().load().await.unwrap();
    let pin = world.ring.ring().settings.pins[0].key_id();
    let wrap = wraps.manifest().record(pin).unwrap().wraps[0].bytes.clone();
    let at = stored
        .windows(wrap.len())
        .position(|bytes| bytes == wrap)
        .unwrap();
    let mut chosen = stored.clone();
    chosen[at + 5] ^= 1;
    world.provider.refuse(&chosen[at..at + wrap.len()]);
    std::fs::write(world.ring.key_store(), &chosen).unwrap();
    let failures = keyring.status().failures;
    until("it was read", PATIENCE, || {
        keyring.status().failures > failures + 3
    })
    .await;
    seal(&keyring).unwrap();
    search(&keyring).unwrap();
}

/// Keys go with their keyring, and so does its thread.
#[tokio::test]
async fn a_dropped_keyring_asks_no_more() {
    let world = World::new();
    drop(world.keyring().await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let calls = world.provider.unwraps().len();
    tokio::time::sleep(SOFT * 3).await;
    assert_eq!(world.provider.unwraps().len(), calls);
}
