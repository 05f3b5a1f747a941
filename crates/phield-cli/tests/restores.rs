//! `phield keys restore`, run as a person runs it on a bad day.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod made;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use made::{Made, same};

#[test]
fn a_lost_ring_is_restored() {
    let made = Made::new();
    let old = made.text("old.phield");
    fs::copy(made.path("backup/ring.phield"), &old).unwrap();
    let next = made.id("data", "pre-active");
    made.good(&["activate", &next, "--acknowledged-by-every-instance"]);
    fs::write(made.path("ring.phield"), "a disk that failed").unwrap();
    let restore: [&str; 3] = ["restore", "--backup", &old];
    assert_eq!(made.run(&restore).status.code(), Some(2), "a reason is needed");
    assert!(
        made.bad(&[&restore[..], &["--reason", " "]].concat())
            .contains("a restore needs a reason")
    );
    let error = made.bad(&["restore", "--backup", "/nonexistent/ring", "--reason", "x"]);
    assert!(
        error.contains("there is no backup at /nonexistent/ring"),
        "{error}"
    );

    let said = made.good(&[&restore[..], &["--reason", "the disk failed"]].concat());
    for part in [
        "Restored ring clinic-test from ",
        ": 9 keys, epoch 65539.",
        "Reason: the disk failed (in ",
        "Backed up to ",
        " Decrypt-only from now on: ",
        &next,
        "Not merged, for it does not verify: what is stored: malformed",
        "1. Set min_epoch = 65539",
        "3. Look for key ids in your data that the ring does not have",
        "4. What was stored before is kept in ",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
    assert!(
        said.find("Decrypt-only") < said.find("Backed up to "),
        "what is lost is said before anything is written: {said}"
    );
    let log = fs::read_to_string(made.path("backup/ring.phield.log")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<_> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["restore begins", "restore is done"]);
    for line in &lines {
        assert_eq!(
            (&line["reason"], &line["epoch"], &line["from"]),
            (&"the disk failed".into(), &65_539.into(), &old.as_str().into())
        );
    }
    let mode = fs::metadata(made.path("backup/ring.phield.log")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    assert_eq!(made.list()["epoch"], 65_539);
    assert!(same(&made.path("ring.phield"), &made.path("backup/ring.phield")));
    let min_epoch = fs::read_to_string(made.path("phield.toml"))
        .unwrap()
        .replace("min_epoch = 1\n", "min_epoch = 65539\n");
    fs::write(made.path("phield.toml"), min_epoch).unwrap();
    assert_eq!(made.list()["epoch"], 65_539);
    // An older backup still verifies as one: it is no ring in use.
    made.good(&["verify-backup", "--backup", &old]);
    let again = made.json(&[&restore[..], &["--reason", "a drill"]].concat());
    assert_eq!(
        (&again["epoch"], &again["reason"]),
        (&131_075.into(), &"a drill".into())
    );
}

#[test]
fn a_restore_says_what_it_loses() {
    let made = Made::new();
    let old = made.text("old.phield");
    fs::copy(made.path("backup/ring.phield"), &old).unwrap();
    made.add_provider("[\"1\"]");
    made.good(&["wrap", "add", "--provider", "break-glass", "--kek", "1"]);
    made.good(&["wrap", "remove", "--provider", "local", "--kek", "1"]);
    let both = fs::read_to_string(made.path("phield.toml")).unwrap();
    let stored = fs::read(made.path("ring.phield")).unwrap();
    let restore = ["restore", "--backup", &old, "--reason", "a wrong command"];
    let with = |flags: &[&'static str]| [&restore[..], flags].concat();

    // Configuration has lost the provider that opens the ring: that is no reason to overwrite it.
    let alone = both
        .split("\n[[provider]]\nname = \"break-glass\"")
        .next()
        .unwrap();
    fs::write(made.path("phield.toml"), alone).unwrap();
    for flags in [&[][..], &["--accept-lost-history"]] {
        let error = made.bad(&with(flags));
        assert!(
            error.contains("backup/ring.phield is there and cannot be verified now: nothing was restored")
                && error.contains("--ignore-unverified"),
            "{error}"
        );
    }
    let error = made.bad(&with(&["--ignore-unverified"]));
    assert!(
        error.contains("--accept-lost-history") && error.contains("has epoch 1, and epoch 3 is known"),
        "{error}"
    );
    assert_eq!(fs::read(made.path("ring.phield")).unwrap(), stored);
    assert!(!made.path("backup/ring.phield.log").exists());
    // The backup of that history is not replaced: what is in it may be the only copy.
    let error = made.bad(&with(&["--ignore-unverified", "--accept-lost-history"]));
    assert!(
        error.contains("was not replaced")
            && error.contains("move it away, keep it until you know what it is"),
        "{error}"
    );
    assert_eq!(fs::read(made.path("ring.phield")).unwrap(), stored);

    fs::write(made.path("phield.toml"), &both).unwrap();
    let said = made.json(&restore);
    assert_eq!(
        (&said["lost_since"], &said["epoch"]),
        (&Value::Null, &65_539.into())
    );
    for path in ["ring.phield", "backup/ring.phield"] {
        fs::remove_file(made.path(path)).unwrap();
    }
    let said = made.good(&with(&["--accept-lost-history"]));
    assert!(
        said.contains(
            "Lost: what the ring became up to epoch 65539, which is known and is in no manifest here."
        ),
        "{said}"
    );
    assert_eq!(made.list()["epoch"], 131_075);
}

/// A key-encryption key that its provider does not have now: new keys are wrapped under the others.
#[test]
fn a_restore_without_one_of_the_key_encryption_keys() {
    let made = Made::new();
    made.add_provider("[\"1\"]");
    made.good(&["wrap", "add", "--provider", "break-glass", "--kek", "1"]);
    let both = fs::read_to_string(made.path("phield.toml")).unwrap();
    let last = both.rfind("keks = [\"1\"]").unwrap();
    fs::write(
        made.path("phield.toml"),
        format!("{}keks = [\"1\", \"7\"]\n", &both[..last]),
    )
    .unwrap();
    let backup = made.text("backup/ring.phield");
    let said = made.good(&["restore", "--backup", &backup, "--reason", "a drill"]);
    assert!(
        said.contains(
            "The new keys have no wrap under break-glass 7: no allowed key-encryption key opens key"
        ) && said.contains("phield keys wrap add --provider break-glass --kek '7'"),
        "{said}"
    );
    let said = made.good(&["verify-backup", "--backup", &backup, "--every-wrap"]);
    assert!(said.contains("8 keys, 16 wraps opened"), "{said}");
}

/// A key whose key-encryption key is lost stays in the ring, and does not keep the others from being restored.
#[test]
fn a_restore_with_a_key_that_does_not_open() {
    let made = Made::new();
    let alone = fs::read_to_string(made.path("phield.toml")).unwrap();
    made.add_provider("[\"1\"]");
    let pepper = made.id("index", "active");
    made.good(&[
        "wrap",
        "add",
        "--provider",
        "break-glass",
        "--kek",
        "1",
        "--key",
        &pepper,
    ]);
    // No command takes the other wrap away from this key alone.
    let config = phield_core::config::Config::read(&made.path("phield.toml")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let ring = config.ring(&phield_core::Backends::local()).await.unwrap();
        let change = |manifest: &mut phield_core::Manifest| {
            let mut records = manifest.records.iter_mut();
            let record = records.find(|record| record.wraps.len() == 2).unwrap();
            record
                .wraps
                .retain(|wrap| wrap.provider.as_str() == "break-glass");
        };
        ring.update(change).await.unwrap();
    });
    made.good(&["backup"]);
    fs::write(made.path("phield.toml"), alone).unwrap();
    let backup = made.text("backup/ring.phield");
    // As a backup it is not good enough, unless that is known.
    let error = made.bad(&["verify-backup", "--backup", &backup]);
    assert!(
        error.contains(&format!("no allowed key-encryption key opens key {pepper}")),
        "{error}"
    );
    let said = made.good(&[
        "restore",
        "--backup",
        &backup,
        "--reason",
        "the break-glass file is lost",
    ]);
    for part in [
        "Kept, and does not open (a key-encryption key that is not configured keeps services from starting): ",
        &format!("{pepper}: no allowed key-encryption key opens key {pepper}"),
        &format!("; no wrap opens now of {pepper}."),
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
    assert_eq!(made.state(&pepper), "active");
    let check = made.run(&["check"]);
    let error = String::from_utf8(check.stderr).unwrap();
    assert_eq!(
        error,
        "error: 0 wraps do not open, and 1 keys have no wrap that opens\n"
    );
}
