//! Every key under another key-encryption key, in batches.

use std::sync::Arc;

use phield_core::{
    AllowedProvider, KeyState, KeyUse, ProviderErrorKind, Rekek, RekekProgress, Ring, RingSettings,
    ScopeName, Suite,
};
use phield_testkit::{Fault, FaultyProvider, TestRing, block_on};

use crate::class;
use crate::operations::{find, kek, name, open, second, with_second};

fn to_other(batch: usize) -> Rekek {
    let mut rekek = Rekek::new((name("local"), kek("1")), (name("other"), kek("1")));
    rekek.batch = batch;
    rekek
}

/// Names of the providers of every wrap of every key.
fn providers(ring: &Ring) -> Vec<Vec<String>> {
    let verified = block_on(ring.load()).unwrap();
    let records = verified.manifest().records.iter();
    records
        .map(|record| {
            record
                .wraps
                .iter()
                .map(|wrap| wrap.provider.to_string())
                .collect()
        })
        .collect()
}

/// A ring of forty keys and more.
fn many(ring: &TestRing) {
    for scope in 0..34 {
        let scope = Some(ScopeName::new(format!("s{scope}")).unwrap());
        block_on(ring.ring().add_key(KeyUse::Data, Some(Suite::Aes256Gcm), scope)).unwrap();
    }
}

#[test]
fn every_key_gets_its_new_wrap_and_loses_the_old_one() {
    let ring = TestRing::new("clinic");
    many(&ring);
    let opened = open(&ring, with_second(&ring));
    let before = block_on(opened.load()).unwrap().manifest().clone();
    let plan = block_on(opened.plan_rekek(&to_other(16))).unwrap();
    assert_eq!(
        (
            plan.to_wrap.len(),
            plan.to_remove.len(),
            plan.keys(),
            plan.calls()
        ),
        (40, 0, 40, 120)
    );
    let mut told = Vec::<RekekProgress>::new();
    let done = block_on(opened.rekek(&to_other(16), &mut |progress| told.push(*progress))).unwrap();
    assert_eq!((done.done, done.calls), (40, 120));
    assert!(done.failed.is_empty() && done.excluded.is_empty());
    // Three batches: an update that adds, and one that removes.
    assert_eq!(done.ring.manifest().epoch, before.epoch + 6);
    let last = told.last().unwrap();
    assert_eq!(
        (last.wrapped, last.done, last.keys, last.calls),
        (40, 40, 40, 120)
    );
    assert!(told.is_sorted_by_key(|progress| (progress.done, progress.calls)));
    assert!(providers(&opened).iter().all(|wraps| wraps == &["other"]));
    for record in &before.records {
        let kept = done.ring.manifest().record(record.context.key_id).unwrap();
        assert_eq!((kept.state, kept.check_value), (record.state, record.check_value));
    }
    // The old one may leave the configuration now; and the command again has nothing to do.
    let mut settings = opened.settings.clone();
    settings.providers.remove(0);
    let after = open(&ring, settings);
    block_on(after.keyring()).unwrap();
    let again = block_on(after.rekek(&to_other(16), &mut |_| {})).unwrap();
    assert_eq!((again.done, again.calls), (0, 0));
    assert_eq!(again.ring.manifest().epoch, done.ring.manifest().epoch);
}

/// A provider that fails for some keys, or for all.
fn with_faults(ring: &TestRing) -> (RingSettings, Arc<FaultyProvider>) {
    let faulty = FaultyProvider::new(second(ring, "other"));
    let mut settings = ring.ring().settings.clone();
    settings
        .providers
        .push(AllowedProvider::new(Arc::clone(&faulty) as Arc<_>, [kek("1")]));
    (settings, faulty)
}

#[test]
fn one_bad_key_does_not_stop_the_others() {
    let ring = TestRing::new("clinic");
    let (settings, faulty) = with_faults(&ring);
    let opened = open(&ring, settings);
    faulty.set_for(KeyUse::Subject, Fault::Fails(ProviderErrorKind::Unavailable));
    let done = block_on(opened.rekek(&to_other(4), &mut |_| {})).unwrap();
    assert_eq!((done.done, done.failed.len()), (5, 1));
    let manifest = done.ring.manifest();
    let subject = find(manifest, KeyUse::Subject, KeyState::Active).unwrap();
    assert_eq!(done.failed[0].0, subject);
    assert_eq!(class(&done.failed[0].1), "KeyUnavailable");
    let wraps = &manifest.record(subject).unwrap().wraps;
    assert!(
        wraps.iter().any(|wrap| wrap.provider == name("local")),
        "its old wrap stays"
    );
    // It is well again, and the same command does what is left.
    faulty.set_for(KeyUse::Subject, Fault::None);
    let done = block_on(opened.rekek(&to_other(4), &mut |_| {})).unwrap();
    assert_eq!((done.done, done.failed.len()), (1, 0));
    assert!(providers(&opened).iter().all(|wraps| wraps == &["other"]));
}

#[test]
fn nothing_is_removed_that_has_no_new_wrap_which_opens() {
    let ring = TestRing::new("clinic");
    let (settings, faulty) = with_faults(&ring);
    let opened = open(&ring, settings);
    faulty.set(Fault::Fails(ProviderErrorKind::Unavailable));
    let error = block_on(opened.rekek(&to_other(4), &mut |_| {})).unwrap_err();
    assert_eq!(class(&error), "KeyUnavailable");
    assert!(
        providers(&opened)
            .iter()
            .all(|wraps| wraps.contains(&"local".to_owned()))
    );
    block_on(ring.ring().keyring()).unwrap();
}

#[test]
fn the_key_encryption_keys_are_two_that_are_configured() {
    let ring = TestRing::new("clinic");
    let opened = open(&ring, with_second(&ring));
    let same = Rekek::new((name("local"), kek("1")), (name("local"), kek("1")));
    let unknown = Rekek::new((name("local"), kek("1")), (name("local"), kek("2")));
    for wrong in [same, unknown] {
        assert_eq!(class(&block_on(opened.plan_rekek(&wrong)).unwrap_err()), "Config");
        let error = block_on(opened.rekek(&wrong, &mut |_| {})).unwrap_err();
        assert_eq!(class(&error), "Config");
    }
}

/// Two runs at once: each makes what the other lacks, and both end well.
#[test]
fn two_runs_at_once() {
    let ring = TestRing::new("clinic");
    many(&ring);
    let settings = with_second(&ring);
    std::thread::scope(|scope| {
        let run = || {
            let opened = open(&ring, settings.clone());
            let done = block_on(opened.rekek(&to_other(5), &mut |_| {})).unwrap();
            assert!(done.failed.is_empty());
        };
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let opened = open(&ring, settings);
    assert!(providers(&opened).iter().all(|wraps| wraps == &["other"]));
    block_on(opened.keyring()).unwrap();
}

/// Keys under dual control are told, and stay.
#[test]
fn a_key_under_dual_control_is_excluded() {
    let ring = TestRing::new("clinic");
    let mut settings = with_second(&ring);
    settings.dual_control = Some([(name("local"), kek("1")), (name("other"), kek("1"))]);
    let opened = open(&ring, settings);
    let split = block_on(opened.add_key(KeyUse::Index, None, None)).unwrap();
    let plan = block_on(opened.plan_rekek(&to_other(9))).unwrap();
    assert_eq!((plan.keys(), plan.excluded.as_slice()), (6, [split].as_slice()));
    let done = block_on(opened.rekek(&to_other(9), &mut |_| {})).unwrap();
    assert_eq!((done.done, done.excluded.as_slice()), (6, [split].as_slice()));
}
