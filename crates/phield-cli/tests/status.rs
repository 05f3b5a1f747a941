//! `phield status`, as a person and as cron run it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod made;

use std::fs;

use phield_core::{LocalKeyFile, Passphrase, Stretching};
use serde_json::Value;

use made::{Made, anonymous, now};

const DAY: u64 = 86_400;

fn json(made: &Made) -> (Value, i32) {
    let output = made.verb(&["status", "--json"]);
    assert!(output.stderr.is_empty());
    (
        serde_json::from_slice(&output.stdout).unwrap(),
        output.status.code().unwrap(),
    )
}

/// Cells as far apart as they may be, key ids and times by a name.
fn text(made: &Made, code: i32) -> String {
    let output = made.verb(&["status"]);
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stderr.is_empty(), "what there is to say is said on stdout");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.join(" ")
    });
    let lines: Vec<_> = lines.collect();
    let list = made.list();
    let mut text = lines.join("\n");
    for key in list["keys"].as_array().unwrap() {
        let name = format!(
            "{}-{}",
            key["use"].as_str().unwrap(),
            key["state"].as_str().unwrap()
        );
        text = text.replace(key["id"].as_str().unwrap(), &name);
    }
    // Rows stand in the order of random ids.
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[3..9].sort();
    anonymous(&lines.join("\n"), &[])
}

#[test]
fn nothing_is_due_in_a_new_ring() {
    let made = Made::new();
    assert_eq!(
        text(&made, 0),
        "\
app clinic, ring clinic-test, epoch 1

KEY USE SCOPE STATE AGE POLICY DUE
data-active data - active 0 days 90 days TIME
data-pre-active data - pre-active 0 days - -
index-active index - active 0 days 365 days TIME
ring-active ring - active 0 days 365 days TIME
subject-active subject - active 0 days - -
uid-active uid - active 0 days - -

PROVIDER KEK KEYS AGE POLICY DUE
local 1 6 0 days 365 days TIME

Nothing is due."
    );
    let (json, code) = json(&made);
    assert_eq!(code, 0);
    assert_eq!(
        (&json["overdue"], &json["soon"], &json["epoch"]),
        (&0.into(), &0.into(), &1.into())
    );
    assert_eq!(json["reminders"], Value::Array(Vec::new()));
}

#[test]
fn what_is_due_soon_and_what_is_overdue() {
    let made = Made::new();
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    let policy = "\n[policy]\ndata_key_days = 10\n";
    fs::write(made.path("phield.toml"), format!("{config}{policy}")).unwrap();
    let said = text(&made, 1);
    assert!(
        said.contains("data-active data - active 0 days 10 days TIME (soon)"),
        "{said}"
    );
    assert!(
        said.ends_with(
            "\nKey data-active (data) is to be replaced by TIME: phield keys activate data-pre-active\n0 overdue, 1 due soon."
        ),
        "{said}"
    );

    // It seals no more: overdue, whatever its age.
    made.stopped(&made.id("data", "active"), now() - 2);
    let said = text(&made, 2);
    assert!(
        said.ends_with(
            "\nKey data-active (data) was to be replaced by TIME: phield keys activate data-pre-active\n1 overdue, 0 due soon."
        ),
        "{said}"
    );
    let active = made.id("data", "active");
    made.good(&["retire", &active, "--compromised"]);
    made.edit("data_key_days = 10", "data_key_days = 90");
    let said = text(&made, 2);
    assert!(
        said.contains(
            "is compromised: phield rotate data, then phield scan, then phield keys destroy data-compromised"
        ),
        "{said}"
    );
    made.edit("data_key_days = 90", "data_key_days = 0");
    let output = made.verb(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("[policy] takes days of 1 to 36500"), "{error}");
}

/// A key file tells when its key was made; nobody tells of a key that configuration does not have.
#[test]
fn key_encryption_keys() {
    let made = Made::new();
    let passphrase = Passphrase::new("correct horse battery staple".to_owned());
    passphrase.write_new(&made.path("old.passphrase")).unwrap();
    let made_at = now() - 400 * DAY;
    let path = made.path("old.phield");
    LocalKeyFile::create(&path, &passphrase, Stretching::minimal(), made_at).unwrap();
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    let entry = "\n[[provider]]\nname = \"old\"\nkind = \"local\"\nkey_file = \"old.phield\"\npassphrase_file = \
                 \"old.passphrase\"\nkeks = [\"1\"]\n";
    fs::write(made.path("phield.toml"), format!("{config}{entry}")).unwrap();
    let said = text(&made, 2);
    assert!(
        said.contains("\nold 1 0 400 days 365 days TIME (overdue)\n"),
        "{said}"
    );
    assert!(
        said.contains(
            "old 1 was to be replaced by TIME: make a new key-encryption key, add it to the configuration, then phield rotate kek \
             --from-provider old --from-kek '1' --to-provider … --to-kek …"
        ),
        "{said}"
    );

    made.good(&["wrap", "add", "--provider", "old", "--kek", "1"]);
    fs::write(made.path("phield.toml"), &config).unwrap();
    let said = text(&made, 0);
    assert!(said.contains("\nold 1 6 unknown 365 days -\n"), "{said}");
    let note = "kek = [{ provider = \"old\", kek = \"1\", since = \"YYYY-MM-DD\" }]";
    assert!(said.contains(note) && said.ends_with("Nothing is due."), "{said}");
    let note = note.replace("YYYY-MM-DD", "2020-02-29");
    fs::write(made.path("phield.toml"), format!("{config}\n[policy]\n{note}\n")).unwrap();
    let (said, code) = json(&made);
    assert_eq!(code, 2);
    let kek = &said["keks"][1];
    assert_eq!(
        (&kek["provider"], &kek["since"], &kek["urgency"], &kek["keys"]),
        (
            &"old".into(),
            &"2020-02-29T00:00:00Z".into(),
            &"overdue".into(),
            &6.into()
        )
    );
}

#[test]
fn metrics_for_prometheus() {
    let made = Made::new();
    let output = made.verb(&["status", "--metrics"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let data = made.id("data", "active");
    let place = "app=\"clinic\",ring=\"clinic-test\"";
    let key = format!("{place},key=\"{data}\",use=\"data\",scope=\"\",state=\"active\"");
    for line in [
        format!("phield_ring_epoch{{{place}}} 1"),
        format!("phield_key_policy_seconds{{{key}}} 7776000"),
        format!("phield_key_overdue{{{key}}} 0"),
        format!("phield_kek_policy_seconds{{{place},provider=\"local\",kek=\"1\"}} 31536000"),
        format!("phield_kek_keys{{{place},provider=\"local\",kek=\"1\"}} 6"),
        format!("phield_kek_overdue{{{place},provider=\"local\",kek=\"1\"}} 0"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Every metric has its help and type in front of it, and every other line is `name{labels} number`.
    let mut known = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ") {
            known.push(name.strip_suffix(" gauge").unwrap());
        } else if !line.starts_with("# HELP ") {
            let (name, rest) = line.split_once('{').unwrap();
            assert!(known.last() == Some(&name), "{line}");
            let (_, value) = rest.rsplit_once("} ").unwrap();
            value.parse::<u64>().unwrap();
        }
    }
    assert_eq!(known.len(), 9);
    made.stopped(&data, now() - 2);
    let output = made.verb(&["status", "--metrics"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!("phield_key_overdue{{{key}}} 1\n")),
        "{text}"
    );
}

/// What doctor says of the same, and of wraps that configuration does not have.
#[test]
fn doctor_knows_ages_and_wraps() {
    let made = Made::new();
    let doctor = |made: &Made| {
        let output = made.verb(&["doctor", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let found = findings.map(|finding| finding["finding"].as_str().unwrap().to_owned());
        found.collect::<Vec<_>>()
    };
    let one = "every key is wrapped under one key-encryption key".to_owned();
    assert!(doctor(&made).contains(&one));
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    made.add_provider("[\"1\"]");
    let pre_active = made.id("data", "pre-active");
    let add = ["wrap", "add", "--provider", "break-glass", "--kek", "1"];
    made.good(&[&add[..], &["--key", &pre_active]].concat());
    // The break-glass key is kept offline: its wraps count, and configuration does not have it.
    let both = fs::read_to_string(made.path("phield.toml")).unwrap();
    fs::write(made.path("phield.toml"), &config).unwrap();
    let found = doctor(&made);
    assert!(!found.contains(&one), "{found:?}");
    assert!(
        found
            .iter()
            .any(|finding| finding.starts_with("5 keys of 6 have no wrap but in the key file")),
        "{found:?}"
    );
    fs::write(made.path("phield.toml"), both).unwrap();
    made.good(&add);
    fs::write(made.path("phield.toml"), &config).unwrap();
    let found = doctor(&made);
    assert!(
        !found
            .iter()
            .any(|finding| finding.contains("no wrap but in") || *finding == one),
        "{found:?}"
    );

    let policy = "\n[policy]\nother_key_days = 10\ndata_key_days = 5\nkek_days = 1\nwarning_days = 5\n";
    fs::write(made.path("phield.toml"), format!("{config}{policy}")).unwrap();
    let found = doctor(&made);
    let data = made.id("data", "active");
    assert!(
        found
            .iter()
            .any(|finding| finding.starts_with(&format!("Key {data} (data) is to be replaced by "))),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|finding| finding.starts_with("local 1 is to be replaced by ")),
        "{found:?}"
    );
    assert!(
        !found.iter().any(|finding| finding.contains("(index)")),
        "{found:?}"
    );
}
