//! `phield keys`, run as a person runs it: the life of keys, wraps and backups.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod made;

use std::fs;
use std::path::Path;

use serde_json::Value;

use made::{Made, phield, same};

/// What doctor advises where a ring has one key-encryption key, from beginning to end.
#[test]
fn a_second_key_file_opens_the_ring() {
    let made = Made::new();
    let (file, passphrase) = (
        made.text("break-glass.phield"),
        made.text("break-glass.passphrase"),
    );
    let arguments = [
        "key-file",
        "--file",
        &file,
        "--passphrase-file",
        &passphrase,
        "--stretching",
        "minimal",
    ];
    let run = || phield(&[&["keys"], arguments.as_slice()].concat());
    let output = run();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let again = run();
    assert!(!again.status.success());
    assert!(
        String::from_utf8(again.stderr)
            .unwrap()
            .contains("exists already")
    );

    let entry = &said[said.find("[[provider]]").unwrap()..said.find("\nThen wrap").unwrap()];
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    fs::write(made.path("phield.toml"), format!("{config}\n{entry}")).unwrap();
    made.good(&["wrap", "add", "--provider", "break-glass", "--kek", "1"]);
    // The first key file is lost, and out of the configuration.
    fs::remove_file(made.path("keys.phield")).unwrap();
    let from = config.find("[[provider]]").unwrap();
    fs::write(made.path("phield.toml"), format!("{}\n{entry}", &config[..from])).unwrap();
    assert!(
        made.good(&["check"]).contains("break-glass"),
        "every key opens by its second wrap"
    );
}

#[test]
fn a_key_is_replaced() {
    let made = Made::new();
    let (active, next) = (made.id("data", "active"), made.id("data", "pre-active"));
    let said = made.good(&["add"]);
    assert!(
        said.contains(&format!(
            "Key {next} (data) is pre-active, and was so before, in epoch 1; every wrap of it opens."
        )),
        "{said}"
    );
    assert!(
        said.contains("Every process knows it from ")
            && said.contains(&format!("phield keys activate {next}")),
        "{said}"
    );

    let error = made.bad(&["activate", &next]);
    assert!(
        error.contains(&format!(
            "key {next} was published too recently: in 65 minutes every process knows it"
        )),
        "{error}"
    );
    let said = made.good(&["activate", &next, "--acknowledged-by-every-instance"]);
    assert!(
        said.starts_with(&format!(
            "Key {next} is active, in epoch 3. Its successor, pre-active, is "
        )),
        "{said}"
    );
    assert!(
        said.contains("Backed up to ")
            && said.contains("at epoch 3 is good: 7 keys, 7 wraps opened, the test token opens."),
        "{said}"
    );
    assert_eq!(
        (made.state(&active), made.state(&next)),
        ("decrypt-only".to_owned(), "active".to_owned())
    );
    assert!(
        same(&made.path("ring.phield"), &made.path("backup/ring.phield")),
        "the backup is up to date"
    );
    assert!(
        !made.path("backup/ring.phield.new").exists() && !made.path("backup/ring.phield.new.lock").exists()
    );

    // The command again, as after a kill.
    let again = made.json(&["activate", &next]);
    assert_eq!((&again["state"], &again["epoch"]), (&"active".into(), &3.into()));
    let error = made.bad(&["activate", &active, "--acknowledged-by-every-instance"]);
    assert!(
        error.contains(&format!("key {active} is decrypt-only and cannot become active")),
        "{error}"
    );

    let third = made.id("data", "pre-active");
    let error = made.bad(&["retire", &next]);
    assert!(
        error.contains(&format!("key {third} was published too recently")),
        "{error}"
    );
    let said = made.good(&["retire", &next, "--compromised"]);
    assert!(
        said.contains(&format!(
            "Key {next} is compromised, in epoch 5. Key {third} is active in its place."
        )),
        "{said}"
    );
    assert!(
        said.contains("WARNING: not every process can know the new key yet."),
        "{said}"
    );
    assert!(said.contains("re-seal it under the new key"), "{said}");

    let pepper = made.id("index", "active");
    let error = made.bad(&["retire", &pepper]);
    assert!(
        error.contains(&format!("no pre-active key can take the place of key {pepper}")),
        "{error}"
    );
    let said = made.json(&["add", "--use", "index"]);
    assert_eq!(said["is_new"], true);
    assert_eq!(made.json(&["add", "--use", "index"])["is_new"], false);
    let said = made.good(&["retire", &pepper, "--acknowledged-by-every-instance"]);
    assert!(
        said.contains(&format!("Key {pepper} is decrypt-only")) && said.contains("is active in its place."),
        "{said}"
    );
    let error = made.bad(&["add", "--use", "uid"]);
    assert!(error.contains("UID peppers do not rotate"), "{error}");
    let new = made.json(&[
        "add",
        "--use",
        "data",
        "--suite",
        "xchacha20-poly1305",
        "--scope",
        "a",
    ]);
    assert_eq!(new["is_new"], true);
    let said = made.good(&["retire", &made.id("subject", "active"), "--leave-none"]);
    assert!(
        said.contains("is decrypt-only") && said.contains("Nothing takes its place."),
        "{said}"
    );
}

#[test]
fn a_key_encryption_key_is_replaced() {
    let made = Made::new();
    let add = ["wrap", "add", "--provider", "break-glass", "--kek", "1"];
    let error = made.bad(&add);
    assert!(
        error.contains("no provider break-glass with the key-encryption key 1 is configured"),
        "{error}"
    );
    made.add_provider("[\"1\"]");
    let pre_active = made.id("data", "pre-active");
    let said = made.good(&[&add[..], &["--key", &pre_active]].concat());
    assert!(
        said.starts_with(
            "Wrapped 1 key under break-glass 1, in epoch 2; every new wrap opens as it is stored."
        ),
        "{said}"
    );
    let said = made.json(&add);
    assert_eq!(
        (
            said["changed"].as_array().unwrap().len(),
            said["unchanged"].as_array().unwrap().len()
        ),
        (5, 1)
    );
    let check = made.good(&["check"]);
    assert_eq!(
        check.lines().filter(|line| line.ends_with("  opens")).count(),
        12,
        "{check}"
    );

    let remove = ["wrap", "remove", "--provider", "local", "--kek", "1"];
    let said = made.good(&remove);
    assert!(
        said.contains("Took the wraps of 6 keys under local 1 away, in epoch 4; each opens by another."),
        "{said}"
    );
    assert!(said.contains("The configuration still has it"), "{said}");
    let error = made.bad(&["wrap", "remove", "--provider", "break-glass", "--kek", "1"]);
    assert!(
        error.contains("no other wrap of key") && error.contains("nothing was removed"),
        "{error}"
    );
    assert!(
        made.good(&["verify-backup", "--backup", &made.text("backup/ring.phield")])
            .contains("6 wraps opened")
    );
}

#[test]
fn check_says_of_every_wrap_what_came_of_it() {
    let made = Made::new();
    made.add_provider("[\"1\"]");
    made.good(&["wrap", "add", "--provider", "break-glass", "--kek", "1"]);
    // Another key file by the name of the second, and one that has no such key.
    made.init("third");
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    fs::write(made.path("phield.toml"), config.replace("../other/", "../third/")).unwrap();
    let output = made.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    let count = |text: &str| table.lines().filter(|line| line.contains(text)).count();
    assert_eq!(
        (
            count("  local        1    opens"),
            count("does not authenticate: the key ring")
        ),
        (6, 6),
        "{table}"
    );
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        stderr,
        "error: 6 wraps do not open, and 0 keys have no wrap that opens\n"
    );

    fs::write(
        made.path("phield.toml"),
        config.replace("keks = [\"1\"]\n\n[[provider]]", "keks = []\n\n[[provider]]"),
    )
    .unwrap();
    fs::write(
        made.path("phield.toml"),
        config.replacen("keks = [\"1\"]", "keks = [\"7\"]", 1),
    )
    .unwrap();
    let output = made.run(&["check", "--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcomes: Vec<_> = checks
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == "not configured")
            .count(),
        6
    );
    let report = made.json(&["verify-backup", "--backup", &made.text("backup/ring.phield")]);
    assert_eq!(report["keks"][0]["provider"], "break-glass");
    assert_eq!(
        (&report["keks"][1]["outcome"], &report["keks"][1]["keys"]),
        (&"not configured".into(), &6.into())
    );
    let said = made.good(&["verify-backup", "--backup", &made.text("backup/ring.phield")]);
    assert!(
        said.contains("; not tried, for it is not configured: local 1 of 6 keys"),
        "{said}"
    );
}

#[test]
fn a_backup_is_rehearsed_before_it_replaces_another() {
    let made = Made::new();
    let backup = made.path("backup/ring.phield");
    let said = made.good(&["backup"]);
    assert!(
        said.starts_with(
            "Rehearsed the restore in a new process: backup of ring clinic-test at epoch 1 is good"
        ),
        "{said}"
    );
    let elsewhere = made.text("elsewhere.phield");
    made.good(&["backup", "--backup", &elsewhere]);
    assert!(same(&backup, Path::new(&elsewhere)));
    // What is no backup of this ring stays as it is, and a change says that its backup was not written.
    fs::write(&backup, "precious").unwrap();
    let error = made.bad(&["backup"]);
    assert!(
        error.contains("was not replaced") && error.contains("malformed"),
        "{error}"
    );
    let error = made.bad(&["add", "--another"]);
    assert!(
        error.contains("the key ring was changed, but its backup was not brought up to date"),
        "{error}"
    );
    assert_eq!(fs::read(&backup).unwrap(), b"precious");
    assert_eq!(made.list()["epoch"], 2);
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    let start = config.find("[backup]").unwrap();
    let end = config[start..]
        .find("\n\n")
        .map_or(config.len(), |end| start + end);
    fs::write(
        made.path("phield.toml"),
        format!("{}{}", &config[..start], &config[end..]),
    )
    .unwrap();
    assert!(
        made.bad(&["backup"])
            .contains("Give --backup FILE, or [backup] in phield.toml")
    );
    assert!(
        made.good(&["add"])
            .contains("No [backup] is configured: run `phield keys backup --backup FILE` now.")
    );
}

/// Format §8.2, as the command line leads through it.
#[test]
fn a_ring_key_is_replaced() {
    let made = Made::new();
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    let line = config
        .lines()
        .find(|line| line.starts_with("ring_key = "))
        .unwrap();
    let old = line.strip_prefix("ring_key = ").unwrap();
    let said = made.good(&["add", "--use", "ring"]);
    let id = made.id("ring", "pre-active");
    let list = made.list();
    let mut keys = list["keys"].as_array().unwrap().iter();
    let pin = keys.find(|key| key["id"] == *id).unwrap()["pin"]
        .as_str()
        .unwrap();
    let new = format!("\"{pin}\"");
    assert!(
        pin.starts_with(&format!("{id}:")) && pin.len() == 8 + 1 + 64,
        "{pin}"
    );
    for part in [
        &format!("1. ring_key = [{old}, {new}]"),
        &format!("2. ring_key = [{new}, {old}]"),
        &format!("3. phield keys activate {id}"),
        &format!("4. ring_key = {new}, and min_epoch as step 3 says"),
    ] {
        assert!(said.contains(part.as_str()), "{part}\nis not in\n{said}");
    }
    let activate = ["activate", &id, "--acknowledged-by-every-instance"];
    let write = |pins: &str, more: &dyn Fn(String) -> String| {
        let config = config.replace(line, &format!("ring_key = {pins}"));
        fs::write(made.path("phield.toml"), more(config)).unwrap();
    };
    let as_is = |config: String| config;
    let stored = fs::read(made.path("ring.phield")).unwrap();
    for pins in [old, &format!("[{old}, {new}]")] {
        write(pins, &as_is);
        let error = made.bad(&activate);
        assert!(error.contains("pin [new, old] everywhere first"), "{error}");
    }
    assert_eq!(fs::read(made.path("ring.phield")).unwrap(), stored);
    // Without an epoch witness min_epoch alone keeps the ring of before out.
    let without_witness = |config: String| config.replace("[epoch_witness]\nfile = \"epoch.witness\"\n", "");
    write(&format!("[{new}, {old}]"), &without_witness);
    let said = made.good(&activate);
    assert!(
        said.contains(&format!("ring_key = {new}"))
            && said.contains("raise min_epoch to 3")
            && said.contains("There is no epoch witness: set min_epoch = 3"),
        "{said}"
    );
    write(&new, &without_witness);
    assert_eq!(made.list()["epoch"], 3);
    let said = made.json(&["retire", &made.id("data", "active"), "--compromised"]);
    assert_eq!(said["raise_min_epoch"], said["epoch"]);
    write(&new, &as_is);
    let said = made.json(&["retire", &made.id("data", "active"), "--compromised"]);
    assert_eq!(said["raise_min_epoch"], Value::Null);
}

#[test]
fn a_ring_moves_to_another_key_store() {
    let made = Made::new();
    let former = made.text("ring.phield");
    made.good(&["publish", "--from", &former]); // It is there already.
    made.good(&["add", "--another"]);
    fs::copy(made.path("ring.phield"), made.path("former.phield")).unwrap();
    let former = made.text("former.phield");
    made.good(&["add", "--another"]);
    let error = made.bad(&["publish", "--from", &former]);
    assert!(
        error.contains("the key ring is stale: it has epoch 2, and epoch 3 is known"),
        "{error}"
    );
    let former = made.text("ring.phield");
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    let moved = |to: &str| {
        let config = config.replace(
            "[key_store]\nfile = \"ring.phield\"",
            &format!("[key_store]\n{to}"),
        );
        fs::write(made.path("phield.toml"), config).unwrap();
        made.good(&["publish", "--from", &former])
    };
    let said = moved("file = \"moved.phield\"");
    assert!(
        said.starts_with("The ring at epoch 3 is in ") && said.contains("moved.phield now."),
        "{said}"
    );
    assert!(same(&made.path("ring.phield"), &made.path("moved.phield")));
    #[cfg(feature = "sqlx-sqlite")]
    {
        let said = moved(&format!("url = \"sqlite:{}?mode=rwc\"", made.text("clinic.db")));
        assert!(
            said.contains("is in table phield_key_store of the database "),
            "{said}"
        );
        made.good(&["add", "--another"]);
        assert_eq!(made.list()["epoch"], 4);
        let restored = made.json(&["restore", "--backup", &former, "--reason", "a drill"]);
        assert_eq!(restored["epoch"], 65_540);
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let made = Made::new();
    for arguments in [
        &["activate"][..],
        &["activate", "xyz"],
        &["activate", "00000000"],
        &["activate", "+0000001"],
        &[
            "retire",
            "0000001f",
            "--compromised",
            "--acknowledged-by-every-instance",
        ],
        &["retire", "0000001f", "--leave-none", "--successor", "0000001f"],
        &["wrap", "add", "--provider", "local"],
        &["add", "--use", "audit"],
    ] {
        assert_eq!(made.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(
        made.bad(&["activate", "ffffffff"])
            .contains("key ffffffff is not in the key ring")
    );
}
