//! Writers that race, fail and die.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use phield_core::config::Config;
use phield_core::{
    Backends, Faults, FileStore, FileWitness, KeyState, KeyUse, LocalKeyFile, Manifest, Passphrase, Ring,
    RingError, Stretching, VerifiedRing,
};
use phield_testkit::{AbortAt, StopAt, TestRing, block_on};

use crate::class;

/// What a child process is to do: the test `child` looks here, and does nothing without it.
const CHILD: &str = "PHIELD_TEST_CHILD";
const WRITERS: u64 = 4;
const UPDATES: u64 = 10;

fn touch(manifest: &mut Manifest) {
    let data = manifest
        .records
        .iter_mut()
        .find(|record| record.context.key_use == KeyUse::Data && record.state == KeyState::Active);
    // The last second of sealing may be brought forward, and counts the updates.
    data.unwrap().not_after -= 1;
}

/// The ring of a test, its key store at `path`, with faults.
fn ring_at(ring: &TestRing, path: &Path, faults: Arc<dyn Faults>) -> Ring {
    let witness = FileWitness::new(path.with_extension("witness"));
    Ring::new(
        ring.ring().settings.clone(),
        FileStore::new(path).with_faults(faults),
        Some(witness),
    )
}

fn epoch(ring: &Ring) -> Result<u64, RingError> {
    block_on(ring.load()).map(|verified| verified.manifest().epoch)
}

/// The test binary again, doing one thing in a process of its own.
fn spawn(task: &str, ring: &TestRing, path: &Path, step: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writers::child", "--nocapture"])
        .env(CHILD, task)
        .env("PHIELD_TEST_CONFIG", ring.config_path())
        .env("PHIELD_TEST_PATH", path)
        .env("PHIELD_TEST_STEP", step.to_string())
        .env_remove("PHIELD_PASSPHRASE_FILE")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Does nothing by itself: the other tests start it as a process.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let (config, path) = (
        Config::read(&variable("PHIELD_TEST_CONFIG")).unwrap(),
        variable("PHIELD_TEST_PATH"),
    );
    let step = std::env::var("PHIELD_TEST_STEP").unwrap().parse().unwrap();
    let ring = block_on(config.ring(&Backends::local())).unwrap();
    let store = FileStore::new(&path).with_faults(AbortAt::step(step));
    let stopping = Ring::new(ring.settings.clone(), store, None);
    match task.as_str() {
        "race" => race(&ring),
        "publish" => block_on(stopping.publish(&block_on(ring.load()).unwrap())).unwrap(),
        "update" => drop(block_on(stopping.update(touch)).unwrap()),
        "create" => {
            let passphrase = Passphrase::new("of the child".to_owned());
            let faults = Some(AbortAt::step(step) as Arc<dyn Faults>);
            LocalKeyFile::create_with_faults(&path, &passphrase, Stretching::minimal(), 1, faults).unwrap();
        }
        other => panic!("no task {other}"),
    }
}

fn race(ring: &Ring) {
    for _ in 0..UPDATES {
        loop {
            match block_on(ring.update(touch)) {
                Ok(_) => break,
                Err(RingError::Conflict) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

#[test]
fn racing_processes_lose_no_update() {
    let ring = TestRing::new("clinic");
    let before = block_on(ring.ring().load()).unwrap();
    let not_after = |ring: &VerifiedRing| -> u64 {
        let data = ring
            .manifest()
            .records
            .iter()
            .filter(|record| record.context.key_use == KeyUse::Data);
        data.map(|record| record.not_after).sum()
    };
    let children: Vec<_> = (0..WRITERS)
        .map(|_| spawn("race", &ring, &ring.key_store(), usize::MAX))
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let after = block_on(ring.ring().load()).unwrap();
    assert_eq!(after.manifest().epoch, 1 + WRITERS * UPDATES);
    assert_eq!(not_after(&after), not_after(&before) - WRITERS * UPDATES);
    block_on(ring.ring().keyring()).unwrap();
}

#[test]
fn publishing_stops_at_each_step() {
    let ring = TestRing::new("clinic");
    let new = block_on(ring.ring().load()).unwrap();
    let counter = StopAt::never();
    block_on(ring_at(&ring, &ring.folder().join("counted.phield"), counter.clone()).publish(&new)).unwrap();
    println!("publishing a ring takes {} steps", counter.steps());
    assert!(counter.steps() >= 9);
    for step in 1..=counter.steps() {
        for (kind, faults) in [("dead", StopAt::step(step)), ("once", StopAt::once(step))] {
            let path = ring.folder().join(format!("publish-{kind}-{step}.phield"));
            let error = block_on(ring_at(&ring, &path, faults).publish(&new))
                .expect_err("a stopped write said that it went well");
            assert_eq!(class(&error), "File", "step {step}");
            published_or_not(&ring, &path, &new);
        }
        let path = ring.folder().join(format!("publish-aborted-{step}.phield"));
        assert_aborted(spawn("publish", &ring, &path, step));
        published_or_not(&ring, &path, &new);
    }
}

/// After a publish that did not end well there is no ring or the whole one, and a second one succeeds or finds it.
fn published_or_not(ring: &TestRing, path: &Path, new: &VerifiedRing) {
    let retry = ring_at(ring, path, StopAt::never());
    match epoch(&retry) {
        Ok(1) => block_on(retry.publish(new)).expect("the same manifest again makes the write whole"),
        Ok(other) => panic!("epoch {other}"),
        Err(error) => {
            assert_eq!(class(&error), "NoRing");
            block_on(retry.publish(new)).unwrap();
        }
    }
    assert_eq!(epoch(&retry).unwrap(), 1);
    assert_eq!(fs::read(path).unwrap(), new.stored());
    assert_no_leftovers(path);
}

#[test]
fn updating_stops_at_each_step() {
    let ring = TestRing::new("clinic");
    let counter = StopAt::never();
    let copy = |name: String| {
        let path = ring.folder().join(name);
        fs::copy(ring.key_store(), &path).unwrap();
        path
    };
    block_on(ring_at(&ring, &copy("counted.phield".to_owned()), counter.clone()).update(touch)).unwrap();
    println!("updating a ring takes {} steps", counter.steps());
    assert!(counter.steps() >= 9);
    for step in 1..=counter.steps() {
        for (kind, faults) in [("dead", StopAt::step(step)), ("once", StopAt::once(step))] {
            let path = copy(format!("update-{kind}-{step}.phield"));
            let error = block_on(ring_at(&ring, &path, faults).update(touch));
            assert_eq!(
                class(&error.expect_err("a stopped write said that it went well")),
                "File",
                "step {step}"
            );
            updated_or_not(&ring, &path);
        }
        let path = copy(format!("update-aborted-{step}.phield"));
        assert_aborted(spawn("update", &ring, &path, step));
        updated_or_not(&ring, &path);
    }
}

/// After an update that did not end well the old or the new ring opens, whole, and the next update succeeds.
fn updated_or_not(ring: &TestRing, path: &Path) {
    let retry = ring_at(ring, path, StopAt::never());
    let found = epoch(&retry).expect("a ring opens");
    assert!(found == 1 || found == 2, "epoch {found}");
    block_on(retry.keyring()).unwrap();
    assert_eq!(block_on(retry.update(touch)).unwrap().manifest().epoch, found + 1);
    assert_no_leftovers(path);
}

#[test]
fn creating_a_key_file_stops_at_each_step() {
    let ring = TestRing::new("clinic");
    let passphrase = || Passphrase::new("of the child".to_owned());
    let create = |path: &Path, faults: Arc<StopAt>| {
        LocalKeyFile::create_with_faults(path, &passphrase(), Stretching::minimal(), 1, Some(faults))
    };
    let counter = StopAt::never();
    create(&ring.folder().join("counted.phield"), counter.clone()).unwrap();
    println!("creating a key file takes {} steps", counter.steps());
    assert!(counter.steps() >= 9);
    for step in 1..=counter.steps() {
        let path = ring.folder().join(format!("create-{step}.phield"));
        let error = create(&path, StopAt::step(step)).expect_err("a stopped write said that it went well");
        assert_eq!(class(&error), "File", "step {step}");
        created_or_not(&path, &passphrase());
        let path = ring.folder().join(format!("create-aborted-{step}.phield"));
        assert_aborted(spawn("create", &ring, &path, step));
        created_or_not(&path, &passphrase());
    }
}

/// After a creation that did not end well there is no key file or a whole one, and a second one succeeds or finds it.
fn created_or_not(path: &Path, passphrase: &Passphrase) {
    match LocalKeyFile::open(path, passphrase) {
        Ok(_) => {
            let again = LocalKeyFile::create(path, passphrase, Stretching::minimal(), 1);
            assert_eq!(class(&again.unwrap_err()), "Exists");
        }
        Err(error) => {
            assert_eq!(class(&error), "Config", "{error:?}");
            assert!(!path.exists());
            LocalKeyFile::create(path, passphrase, Stretching::minimal(), 1).unwrap();
            assert_no_leftovers(path);
        }
    }
    LocalKeyFile::open(path, passphrase).unwrap();
}

fn assert_aborted(child: Child) {
    use std::os::unix::process::ExitStatusExt as _;
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.signal().is_some(),
        "it did not abort but ended with {}: {stderr}",
        output.status
    );
}

/// No temporary file of a dead writer is left once a write went well.
fn assert_no_leftovers(path: &Path) {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    assert!(
        !Path::new(&temporary).exists(),
        "{} is left",
        Path::new(&temporary).display()
    );
}
