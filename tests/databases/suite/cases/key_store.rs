//! The key ring in a table: compare-and-swap, writers that race, and what is told of a database that is not there.

use std::sync::Arc;

use phield::sqlx::TableKeyStore;
use phield::{KeyState, KeyStore, KeyUse, Manifest, Ring, RingError, RingName, Suite};
use phield_testkit::TestRing;

use super::{Db, Fresh, fresh};

const TASKS: u64 = 8;
const UPDATES: u64 = 10;

fn store(db: &Fresh<Db>) -> TableKeyStore<Db> {
    let options = (*db.connect_options()).clone();
    TableKeyStore::new(options, RingName::from_static("clinic-test"))
}

/// The ring of a test, published into a table of its own.
async fn published(test: &TestRing, db: &Fresh<Db>) -> Ring {
    store(db).create_table().await.unwrap();
    store(db).create_table().await.expect("it may be there already");
    let ring = opened(test, db);
    ring.publish(&test.ring().load().await.unwrap()).await.unwrap();
    ring
}

fn opened(test: &TestRing, db: &Fresh<Db>) -> Ring {
    Ring::new(test.ring().settings.clone(), store(db), None)
}

/// A change that is allowed, and that counts.
fn touch(manifest: &mut Manifest) {
    let mut records = manifest.records.iter_mut();
    let active = records
        .find(|record| record.context.key_use == KeyUse::Data && record.state == KeyState::Active);
    active.unwrap().not_after -= 1;
}

#[tokio::test]
async fn a_manifest_is_replaced_by_compare_and_swap() {
    let (test, db) = (TestRing::new("clinic"), fresh().await);
    let store = store(&db);
    store.create_table().await.unwrap();
    assert_eq!(store.read().await.unwrap(), None);
    let first = test.ring().load().await.unwrap().stored().to_vec();
    let second = test.ring().update(touch).await.unwrap().stored().to_vec();
    let third = test.ring().update(touch).await.unwrap().stored().to_vec();
    let conflict = |result: Result<(), RingError>| assert!(matches!(result, Err(RingError::Conflict)), "{result:?}");

    conflict(store.replace(Some(&first), &second).await);
    store.replace(None, &first).await.unwrap();
    store.replace(None, &first).await.expect("the same first write again");
    conflict(store.replace(None, &second).await);
    store.replace(Some(&first), &second).await.unwrap();
    conflict(store.replace(Some(&first), &third).await);
    conflict(store.replace(Some(&first), &second).await);
    assert_eq!(store.read().await.unwrap().as_deref(), Some(second.as_slice()));

    // Another ring in the same table is another row.
    let options = (*db.connect_options()).clone();
    let other = TableKeyStore::<Db>::new(options, RingName::from_static("Clinic-test"));
    assert_eq!(other.read().await.unwrap(), None);
    other.replace(None, &first).await.unwrap();
    assert_eq!(store.read().await.unwrap().as_deref(), Some(second.as_slice()));

    let error = store.replace(Some(&second), b"no manifest").await.unwrap_err();
    assert!(matches!(error, RingError::Malformed(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_tasks_lose_no_update() {
    let (test, db) = (TestRing::new("clinic"), Arc::new(fresh().await));
    let ring = published(&test, &db).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let ring = opened(&test, &db);
            tokio::spawn(async move {
                let mut conflicts = 0;
                for _ in 0..UPDATES {
                    while let Err(error) = ring.update(touch).await {
                        assert!(matches!(error, RingError::Conflict), "{error:?}");
                        conflicts += 1;
                    }
                }
                conflicts
            })
        })
        .collect();
    let mut conflicts = 0;
    for task in tasks {
        conflicts += task.await.unwrap();
    }
    println!("{TASKS} tasks made {UPDATES} updates each; {conflicts} times somebody else was first");
    let after = ring.load().await.unwrap();
    assert_eq!(after.manifest().epoch, 1 + TASKS * UPDATES);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_add_keys_at_once_add_both() {
    let (test, db) = (TestRing::new("clinic"), fresh().await);
    let ring = published(&test, &db).await;
    let add = |key_use, suite| {
        let ring = opened(&test, &db);
        tokio::spawn(async move { ring.add_key(key_use, suite, None).await })
    };
    let tasks = [
        add(KeyUse::Data, Some(Suite::Aes256Gcm)),
        add(KeyUse::Data, Some(Suite::XChaCha20Poly1305)),
        add(KeyUse::Index, None),
        add(KeyUse::Subject, None),
    ];
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap().unwrap());
    }
    let after = ring.load().await.unwrap();
    assert_eq!(after.manifest().epoch, 5);
    assert!(ids.iter().all(|id| after.manifest().record(*id).is_some()));
    after.check_every_wrap(&ring.settings).await.unwrap();
}

#[tokio::test]
async fn a_table_that_is_not_there() {
    let (test, db) = (TestRing::new("clinic"), fresh().await);
    let ring = opened(&test, &db);
    let error = ring.load().await.unwrap_err();
    assert!(matches!(error, RingError::Store { .. }), "{error:?}");
    assert!(error.to_string().contains("table phield_key_store of the database "), "{error}");
    let options = || (*db.connect_options()).clone();
    let named = |table: &str| {
        let store = TableKeyStore::<Db>::new(options(), RingName::from_static("clinic-test"));
        store.with_table(table)
    };
    for wrong in ["", "a b", "a;b", "a\"b", "a`b", "a.b.c", ".a", "a.", &"n".repeat(64)] {
        assert!(named(wrong).is_err(), "{wrong}");
    }
    let store = named("key_Store2").unwrap();
    store.create_table().await.unwrap();
    assert_eq!(store.read().await.unwrap(), None);
}
