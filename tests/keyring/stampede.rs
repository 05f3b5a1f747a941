//! Many who want the same key cause one call; many keys are asked for a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phield_core::{FileStore, KeyUse, ProviderErrorKind, Ring, ScopeName, Suite};
use phield_testkit::Fault;

use crate::world::{HARD, World, key_of, open, seal};

const TASKS: usize = 3_000;
/// Each has two data keys and a pepper.
const SCOPES: usize = 332;

/// Three thousand tasks that need one cold key: one call that is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_tasks_cause_one_call() {
    let world = World::new();
    let sealed = seal(&world.ring.keyring()).unwrap();
    let id = key_of(&sealed);
    // Cold: everything was loaded but the data keys.
    world
        .provider
        .set_for(KeyUse::Data, Fault::Fails(ProviderErrorKind::Unavailable));
    let long = Duration::from_secs(600);
    let keyring = Arc::new(world.ring(long, long * 2).into_keyring().await.unwrap());
    assert!(open(&keyring, &sealed).unwrap_err().is_retryable());

    world
        .provider
        .set_for(KeyUse::Data, Fault::Late(Duration::from_millis(400)));
    let before = calls(&world, id);
    let failed = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (keyring, sealed, failed) = (Arc::clone(&keyring), sealed.clone(), Arc::clone(&failed));
            tokio::spawn(async move {
                if keyring.retrying(|keyring| open(keyring, &sealed)).await.is_err() {
                    failed.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let calls = calls(&world, id) - before;
    let failed = failed.load(Ordering::SeqCst);
    println!("{TASKS} tasks: {failed} failed, {calls} call for the key");
    assert_eq!(failed, 0);
    assert_eq!(calls, 1);
}

fn calls(world: &World, id: phield_core::KeyId) -> usize {
    world.provider.unwraps().iter().filter(|key| **key == id).count()
}

/// A ring of a thousand keys is loaded with as many calls at a time as configured, and one for each key.
#[tokio::test]
async fn a_thousand_keys_stay_within_the_configured_concurrency() {
    let world = World::new();
    let mut settings = world.ring(HARD, HARD * 10).settings;
    settings.cache = settings.cache.with_concurrent_unwraps(7).unwrap();
    let scopes: Vec<_> = (0..SCOPES)
        .map(|n| (Some(ScopeName::new(format!("s{n}")).unwrap()), Suite::Aes256Gcm))
        .collect();
    let new = Ring::generate(&mut settings, &scopes).await.unwrap();
    let keys = new.manifest().records.len();
    let ring = Ring::new(settings, FileStore::new(world.ring.folder().join("large")), None);
    ring.publish(&new).await.unwrap();
    world.provider.set(Fault::Late(Duration::from_millis(2)));
    let before = world.provider.unwraps().len();
    let keyring = ring.into_keyring().await.unwrap();
    let status = keyring.status();
    println!(
        "{keys} keys loaded, {} at a time, {} calls",
        world.provider.most_at_a_time(),
        world.provider.unwraps().len() - before
    );
    assert!(keys >= 999 && status.keys.len() == keys && status.is_complete());
    assert_eq!(world.provider.most_at_a_time(), 7);
    // One for each key, and one more for the ring key, by which the manifest was verified.
    assert_eq!(world.provider.unwraps().len() - before, keys + 1);
}
