//! Living keyrings on a real KMS protocol: outages under load, revocation, a stampede, many keys; counted at the proxy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use phield_core::{
    AppName, CachePolicy, FileStore, KekReference, KeyState, KeyUse, Keyring, Ring, RingName, RingSettings,
    ScopeName, SealError, Suite, VerifiedRing,
};
use phield_kms_tests::Emulator::{Ministack, Moto};
use phield_kms_tests::{Kms, REGION};
use phield_testkit::load::{Load, open, seal, search, until};
use phield_testkit::servers::Fault;
use tempfile::TempDir;

const SOFT: Duration = Duration::from_millis(500);
const HARD: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(60);
const TASKS: usize = 3_000;
/// Each has two data keys and a pepper.
const SCOPES: usize = 332;

/// A ring whose keys are all in KMS.
struct World {
    kms: Kms,
    folder: TempDir,
    settings: RingSettings,
}

impl World {
    async fn new(kms: Kms, kek: &KekReference, scopes: usize) -> (Self, VerifiedRing) {
        let folder = TempDir::new().unwrap();
        let mut settings = RingSettings::new(
            AppName::from_static("clinic"),
            RingName::from_static("clinic-kms"),
            vec![kms.allowed(&[kek])],
        );
        settings.cache = CachePolicy::new(SOFT, HARD).unwrap();
        let scope = |n| (Some(ScopeName::new(format!("s{n}")).unwrap()), Suite::Aes256Gcm);
        let scopes: Vec<_> = (0..scopes).map(scope).chain([(None, Suite::Aes256Gcm)]).collect();
        let new = Ring::generate(&mut settings, &scopes).await.unwrap();
        let world = Self {
            kms,
            folder,
            settings,
        };
        world.ring().publish(&new).await.unwrap();
        (world, new)
    }

    fn ring(&self) -> Ring {
        Ring::new(
            self.settings.clone(),
            FileStore::new(self.folder.path().join("ring")),
            None,
        )
    }

    async fn keyring(&self) -> Arc<Keyring> {
        Arc::new(self.ring().into_keyring().await.unwrap())
    }
}

/// Connection refused, a black hole, 5xx and throttling, each under load: no request fails until the hard TTL, then all do,
/// and everything comes back by itself.
#[tokio::test]
async fn outages_under_load() {
    let kms = Moto.kms();
    let kek = kms.key(REGION).await;
    let (world, _) = World::new(kms, &kek, 0).await;
    for outage in [
        Fault::Refuse,
        Fault::BlackHole,
        Fault::Status(500),
        Fault::Throttle,
    ] {
        let keyring = world.keyring().await;
        let load = Load::start(&keyring, 3);
        until("a refresh", PATIENCE, || keyring.status().refreshes > 8).await;
        let (begun, calls) = (Instant::now(), world.kms.proxy.calls());
        world.kms.proxy.set(outage.clone());
        let _ = load.since();
        tokio::time::sleep(HARD / 2).await;
        let (served, failed) = load.since();
        println!(
            "{outage:?}, {:?}: {served} requests served, {failed} failed, {} calls of KMS",
            begun.elapsed(),
            world.kms.proxy.calls() - calls
        );
        assert!(served > 0);
        assert!(
            failed == 0 || begun.elapsed() >= HARD - SOFT,
            "a request failed within the hard TTL"
        );

        // Closed, with errors that may be retried: `Load` asserts that of each.
        until("the end of the keys", PATIENCE, || {
            seal(&keyring).is_err() && search(&keyring).is_err()
        })
        .await;
        assert!(
            begun.elapsed() >= HARD - SOFT * 2,
            "the keys ended too soon: {:?}",
            begun.elapsed()
        );

        world.kms.proxy.set(Fault::None);
        // What is there still, and ends in a moment, is not back.
        let is_fresh = |left: Option<Duration>| left.is_none_or(|left| left > HARD / 2);
        let back = until("the keys are back", PATIENCE, || {
            let status = keyring.status();
            let are_fresh = status.keys.iter().all(|key| is_fresh(key.expires_in));
            status.is_complete() && are_fresh && is_fresh(status.manifest_expires_in)
        })
        .await;
        let _ = load.since();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (served, failed) = load.since();
        println!("  back {back:?} after the end of it: {served} served, {failed} failed");
        assert!(served > 0 && failed == 0);
        load.stop();
    }
}

/// A revoked key is gone within the soft TTL, and back when access is.
#[tokio::test]
async fn revocation_takes_effect_within_the_soft_ttl() {
    let kms = Ministack.kms();
    let kek = kms.key(REGION).await;
    let (world, _) = World::new(kms, &kek, 0).await;
    let keyring = world.keyring().await;
    for refusal in [Fault::AccessDenied, Fault::Disabled, Fault::PendingDeletion] {
        let sealed = seal(&keyring).unwrap();
        world.kms.proxy.set(refusal.clone());
        let gone = until("the keys are gone", PATIENCE, || {
            seal(&keyring).is_err() && open(&keyring, &sealed).is_err()
        })
        .await;
        println!("{refusal:?}: gone after {gone:?}; the soft TTL is {SOFT:?}");
        assert!(gone < SOFT * 4, "{gone:?}");
        until("refused", PATIENCE, || {
            keyring.status().keys.iter().all(|key| key.is_refused)
        })
        .await;
        assert!(matches!(
            seal(&keyring),
            Err(SealError::KeyRefused(_) | SealError::RingExpired)
        ));
        world.kms.proxy.set(Fault::None);
        until("the keys are back", PATIENCE, || {
            open(&keyring, &sealed).is_ok() && seal(&keyring).is_ok()
        })
        .await;
    }
}

/// The keyring of a process that starts with KMS disabled for real, by the emulator that knows key states.
#[tokio::test]
async fn a_key_that_is_disabled_in_kms_loads_no_ring() {
    let kms = Ministack.kms();
    let kek = kms.key(REGION).await;
    let (world, _) = World::new(kms, &kek, 0).await;
    let admin = world.kms.admin(REGION);
    admin.disable_key().key_id(kek.as_str()).send().await.unwrap();
    let refused = world.ring().into_keyring().await.unwrap_err();
    assert!(
        matches!(refused, phield_core::RingError::KeyRefused(..)),
        "{refused:?}"
    );
    admin.enable_key().key_id(kek.as_str()).send().await.unwrap();
    world.ring().into_keyring().await.unwrap();
}

/// Three thousand tasks need a key that is not there: one call of KMS that is answered, no failed request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stampede_is_one_call() {
    let kms = Moto.kms();
    let kek = kms.key(REGION).await;
    let (mut world, _) = World::new(kms, &kek, 0).await;
    let long = Duration::from_secs(600);
    world.settings.cache = CachePolicy::new(long, long * 2).unwrap();
    let keyring = world.keyring().await;
    // An administrator, past the proxy, puts another key in force; the service reads that with KMS cut off from it.
    let mut settings = world.settings.clone();
    let administrator = Moto.kms();
    settings.providers = vec![administrator.allowed(&[&kek])];
    let admin = Ring::new(settings, FileStore::new(world.folder.path().join("ring")), None);
    let id = admin
        .add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)
        .await
        .unwrap();
    admin.set_state(id, KeyState::Active).await.unwrap();
    let sealed = seal(&admin.keyring().await.unwrap()).unwrap();
    world.kms.proxy.set(Fault::Status(500));
    keyring.refresh().await.unwrap();
    assert!(open(&keyring, &sealed).unwrap_err().is_retryable());

    world.kms.proxy.set(Fault::Delay(Duration::from_millis(700)));
    let before = world.kms.proxy.calls_of("Decrypt");
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (keyring, sealed) = (Arc::clone(&keyring), sealed.clone());
            tokio::spawn(async move { keyring.retrying(|keyring| open(keyring, &sealed)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let calls = world.kms.proxy.calls_of("Decrypt") - before;
    // The other keys of the ring are asked for at the same time, after the outage: each by one call of its own.
    let keys = keyring.status().keys.len();
    println!("{TASKS} tasks, {calls} calls of KMS for {keys} keys");
    assert!(calls <= keys);
}

/// A ring of a thousand keys is loaded with as many calls of KMS at a time as configured, one for each key.
#[tokio::test]
async fn a_thousand_keys_stay_within_the_configured_concurrency() {
    let kms = Ministack.kms();
    let kek = kms.key(REGION).await;
    let (mut world, new) = World::new(kms, &kek, SCOPES).await;
    let keys = new.manifest().records.len();
    let long = Duration::from_secs(600);
    world.settings.cache = CachePolicy::new(long, long * 2)
        .unwrap()
        .with_concurrent_unwraps(5)
        .unwrap();
    let (before, begun) = (world.kms.proxy.calls_of("Decrypt"), Instant::now());
    let keyring = world.keyring().await;
    let calls = world.kms.proxy.calls_of("Decrypt") - before;
    println!(
        "{keys} keys in {:?}: {calls} calls of KMS, {} at a time at most",
        begun.elapsed(),
        world.kms.proxy.most_at_once()
    );
    assert!(keys >= 999 && keyring.status().is_complete());
    assert_eq!(calls, keys + 1);
    assert!(world.kms.proxy.most_at_once() <= 5 + 1);
}
