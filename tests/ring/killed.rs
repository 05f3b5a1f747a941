//! Commands that are killed at every step of every durable write: of the key store, of the epoch witness, of the backup. The
//! ring that is left opens, and the same command finishes (I-1, I-2, I-6).

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use phield_core::config::Config;
use phield_core::{
    AcceptedLosses, Backends, CoverageMode, CoverageReport, CoveredKind, Destruction, Faults, FileStore,
    FileWitness, KeySelection, KeyState, KeyUse, LocalKeyFile, Passphrase, Rekek, Retirement, Ring,
    RingError, RingSettings, Rollout, Stretching, Suite, VerifiedRing,
};
use phield_testkit::{AbortAt, StopAt, TestRing, block_on};

use crate::operations::{find, kek, name};

/// What a child process is to do: the test `killed_child` looks here, and does nothing without it.
const TASK: &str = "PHIELD_TEST_KILLED_TASK";

/// Every command, by name.
const TASKS: [&str; 10] = [
    "add",
    "add-another",
    "wrap-add",
    "wrap-remove",
    "activate",
    "retire",
    "backup",
    "restore",
    "rekek",
    "destroy",
];

/// The configuration with a second provider, whose key file is beside the first.
fn with_second(ring: &TestRing) -> PathBuf {
    let passphrase = Passphrase::generate().unwrap();
    passphrase
        .write_new(&ring.folder().join("other.passphrase"))
        .unwrap();
    LocalKeyFile::create(
        &ring.folder().join("other.phield"),
        &passphrase,
        Stretching::minimal(),
        1,
    )
    .unwrap();
    let config = fs::read_to_string(ring.config_path()).unwrap();
    let second = "\n[[provider]]\nname = \"other\"\nkind = \"local\"\nkey_file = \"other.phield\"\n\
                  passphrase_file = \"other.passphrase\"\nkeks = [\"1\"]\n";
    let path = ring.folder().join("two.toml");
    fs::write(&path, config + second).unwrap();
    path
}

/// The files of one try: a key store, and beside it witness and backup.
fn files(path: &Path, faults: &Arc<dyn Faults>) -> (FileStore, FileWitness, FileStore) {
    (
        FileStore::new(path).with_faults(faults.clone()),
        FileWitness::new(path.with_extension("witness")).with_faults(faults.clone()),
        FileStore::new(path.with_extension("backup")).with_faults(faults.clone()),
    )
}

fn settings(config: &Path) -> RingSettings {
    block_on(Config::read(config).unwrap().settings(&Backends::local())).unwrap()
}

fn open(settings: &RingSettings, path: &Path, faults: &Arc<dyn Faults>) -> (Ring, FileStore) {
    let (store, witness, backup) = files(path, faults);
    let ring = Ring::new(settings.clone(), store, Some(witness)).with_backup(backup.clone());
    (ring, backup)
}

/// A command, as the command line runs it: again from its start when it was killed.
fn run(task: &str, ring: &Ring, backup: &FileStore) -> Result<VerifiedRing, RingError> {
    let manifest = block_on(ring.load()).map(|verified| verified.manifest().clone());
    let key = |state| find(manifest.as_ref().ok()?, KeyUse::Data, state);
    let (local, other) = (name("local"), name("other"));
    match task {
        "add" => {
            block_on(ring.successor(KeyUse::Index, None, None))?;
        }
        "add-another" => {
            block_on(ring.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None))?;
        }
        "wrap-add" => {
            block_on(ring.add_wrap(&other, &kek("1"), &KeySelection::All))?;
        }
        "wrap-remove" => {
            block_on(ring.add_wrap(&other, &kek("1"), &KeySelection::All))?;
            block_on(ring.remove_wrap(&local, &kek("1")))?;
        }
        "rekek" => {
            let mut rekek = Rekek::new((local, kek("1")), (other, kek("1")));
            // Two batches.
            rekek.batch = 4;
            let done = block_on(ring.rekek(&rekek, &mut |_| {}))?;
            assert!(done.failed.is_empty());
        }
        "destroy" => destroy(ring)?,
        "activate" => {
            // Killed after it, there is no pre-active key: the active one is activated again.
            let id = key(KeyState::PreActive)
                .or(key(KeyState::Active))
                .expect("a data key");
            block_on(ring.activate(id, Rollout::AcknowledgedByEveryInstance))?;
        }
        "retire" => {
            let id = match key(KeyState::Compromised) {
                Some(id) => id,
                None => key(KeyState::Active).expect("a data key"),
            };
            block_on(ring.retire(id, Retirement::Compromised, None))?;
        }
        "backup" => {
            block_on(ring.successor(KeyUse::Index, None, None))?;
            block_on(ring.back_up(&block_on(ring.load())?, backup))?;
        }
        "restore" => {
            // What the command line does: the backup holds the restored ring before the key store does.
            let stored = backup.read()?.expect("the test wrote one");
            let restored = block_on(ring.prepare_restore(&stored, &[], "a test", AcceptedLosses::default()))?;
            block_on(ring.back_up(&restored.ring, backup))?;
            block_on(ring.publish_restored(&restored))?;
        }
        other => panic!("no task {other}"),
    }
    block_on(ring.load())
}

/// Takes the data key out of use, lets a hundred days pass, and destroys it.
fn destroy(ring: &Ring) -> Result<(), RingError> {
    let manifest = block_on(ring.load())?.manifest().clone();
    if find(&manifest, KeyUse::Data, KeyState::Destroyed).is_some() {
        return Ok(());
    }
    let old = match find(&manifest, KeyUse::Data, KeyState::DecryptOnly) {
        Some(old) => old,
        None => {
            let active = find(&manifest, KeyUse::Data, KeyState::Active).expect("a data key");
            let seen = Rollout::AcknowledgedByEveryInstance;
            block_on(ring.retire(active, Retirement::DecryptOnly(seen), None))?;
            active
        }
    };
    let verified = block_on(ring.update(|manifest| {
        let mut records = manifest.records.iter_mut();
        let record = records.find(|record| record.context.key_id == old);
        record.expect("the key").not_after = 1_700_000_000;
    }))?;
    let cache = &ring.settings.cache;
    let place = ("a database", "a test");
    let report = |at| {
        let mut report = CoverageReport::new(&verified, cache, CoverageMode::Scan, place, at);
        report.column_mut("patients", "ssn", CoveredKind::Token);
        report.complete = true;
        verified.sign_coverage(report)
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let (first, newest) = (report(1_710_000_000)?, report(now.expect("a clock").as_secs())?);
    let mut destruction = Destruction::default();
    destruction.reports = vec![&first, &newest];
    destruction.backups_acknowledged = true;
    block_on(ring.destroy(old, &destruction)).map(drop)
}

/// Does nothing by itself: the other tests start it as a process.
#[test]
fn killed_child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let step = std::env::var("PHIELD_TEST_STEP").unwrap().parse().unwrap();
    let faults = AbortAt::step(step) as Arc<dyn Faults>;
    let (ring, backup) = open(
        &settings(&variable("PHIELD_TEST_CONFIG")),
        &variable("PHIELD_TEST_PATH"),
        &faults,
    );
    run(&task, &ring, &backup).unwrap();
}

fn kill(task: &str, config: &Path, path: &Path, step: usize) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::killed_child", "--nocapture"])
        .env(TASK, task)
        .env("PHIELD_TEST_CONFIG", config)
        .env("PHIELD_TEST_PATH", path)
        .env("PHIELD_TEST_STEP", step.to_string())
        .env_remove("PHIELD_PASSPHRASE_FILE")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(
        child.status.signal().is_some(),
        "{task} at {step} did not abort but ended with {}: {}",
        child.status,
        String::from_utf8_lossy(&child.stderr)
    );
}

#[test]
fn every_command_is_killed_at_every_step() {
    let ring = TestRing::new("clinic");
    let (one, two) = (ring.config_path(), with_second(&ring));
    let (of_one, of_two) = (settings(&one), settings(&two));
    let before = block_on(ring.ring().load()).unwrap();
    let never = StopAt::never() as Arc<dyn Faults>;
    let fresh = |name: String| {
        let path = ring.folder().join(name);
        fs::copy(ring.key_store(), &path).unwrap();
        fs::copy(ring.witness(), path.with_extension("witness")).unwrap();
        fs::copy(ring.key_store(), path.with_extension("backup")).unwrap();
        path
    };
    let mut points = 0;
    for task in TASKS {
        // A second key file costs a child as much as all the rest.
        let (config, settings) = match task {
            "add" | "wrap-add" | "wrap-remove" | "rekek" => (&two, &of_two),
            _ => (&one, &of_one),
        };
        let counter = StopAt::never();
        let (counted, backup) = open(
            settings,
            &fresh(format!("{task}-counted.ring")),
            &(counter.clone() as Arc<dyn Faults>),
        );
        run(task, &counted, &backup).unwrap();
        let steps = counter.steps();
        println!("{task}: {steps} kill points");
        assert!(steps >= 9, "{task} has {steps} steps");
        for step in 1..=steps {
            let path = fresh(format!("{task}-{step}.ring"));
            kill(task, config, &path, step);
            let (left, backup) = open(settings, &path, &never);
            let found = block_on(left.load()).unwrap_or_else(|error| panic!("{task} at {step}: {error:?}"));
            holds(&left, &found, &before);
            let finished =
                run(task, &left, &backup).unwrap_or_else(|error| panic!("{task} at {step}: {error:?}"));
            holds(&left, &finished, &before);
            done(task, &finished);
        }
        points += steps;
    }
    println!("{points} kill points in all, and the ring opened after every one");
}

/// Whatever happened: every key is there and opens by every wrap, and one data key seals.
fn holds(ring: &Ring, found: &VerifiedRing, before: &VerifiedRing) {
    block_on(found.check_every_wrap(&ring.settings)).expect("every wrap opens");
    block_on(found.keyring(&ring.settings)).expect("the keys load");
    let manifest = found.manifest();
    for record in &before.manifest().records {
        let kept = manifest.record(record.context.key_id).expect("no key is lost");
        assert_eq!(kept.check_value, record.check_value);
    }
    let active = manifest
        .records
        .iter()
        .filter(|record| record.context.key_use == KeyUse::Data && record.state == KeyState::Active);
    assert_eq!(active.count(), 1, "one data key seals");
}

/// What holds once a command has finished.
fn done(task: &str, ring: &VerifiedRing) {
    let manifest = ring.manifest();
    let count = |key_use, state| {
        let of =
            |record: &&phield_core::KeyRecord| record.context.key_use == key_use && record.state == state;
        manifest.records.iter().filter(of).count()
    };
    let wraps = |provider| {
        let mut wraps = manifest.records.iter().flat_map(|record| &record.wraps);
        wraps.any(|wrap| wrap.provider == name(provider))
    };
    match task {
        "add" | "backup" => assert_eq!(count(KeyUse::Index, KeyState::PreActive), 1, "and not two"),
        // Killed after it was published, the first of two is there.
        "add-another" => assert!((2..=3).contains(&count(KeyUse::Data, KeyState::PreActive))),
        "wrap-add" => assert!(manifest.records.iter().all(|record| record.wraps.len() == 2)),
        "wrap-remove" | "rekek" => assert!(wraps("other") && !wraps("local")),
        "activate" => assert_eq!(count(KeyUse::Data, KeyState::DecryptOnly), 1),
        "destroy" => {
            assert_eq!(count(KeyUse::Data, KeyState::Destroyed), 1);
            assert_eq!(count(KeyUse::Data, KeyState::DecryptOnly), 0);
        }
        "retire" => assert_eq!(count(KeyUse::Data, KeyState::Compromised), 1),
        "restore" => {
            assert!(manifest.epoch > 65_536 && (manifest.epoch - 1).is_multiple_of(65_536));
            // Of the two that were there; and of the two more that a run made which was killed after it wrote the backup.
            assert!(matches!(count(KeyUse::Data, KeyState::DecryptOnly), 2 | 4));
        }
        other => panic!("no task {other}"),
    }
}
