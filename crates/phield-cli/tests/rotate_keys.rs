//! `phield rotate kek` and `phield rotate ring`, as a person runs them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod made;

use std::fs;

use serde_json::Value;

use made::{Made, anonymous};

const KEK: [&str; 10] = [
    "rotate",
    "kek",
    "--from-provider",
    "local",
    "--from-kek",
    "1",
    "--to-provider",
    "break-glass",
    "--to-kek",
    "1",
];

/// Everything up to the rehearsal of the backup, whose words are those of another test.
fn head(text: &str) -> &str {
    text.split("\nBacked up to ").next().unwrap()
}

#[test]
fn another_key_encryption_key() {
    let made = Made::new();
    let refused = made.verb(&KEK);
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("no provider break-glass with the key-encryption key 1 is configured"),
        "{error}"
    );

    made.add_provider("[\"1\"]");
    let plan = made.says(&[&KEK[..], &["--dry-run", "--rate", "6"]].concat());
    assert_eq!(
        plan,
        "6 keys under local 1: 6 to be wrapped under break-glass 1, 0 that have both wraps already, of an interrupted run.\n\
         That takes 18 calls of providers, and those that open the ring key for each batch. Rows are not touched. At 6 calls a \
         second: 3 seconds.\nNothing was changed. To do it, leave out --dry-run.\n"
    );
    let plan: Value =
        serde_json::from_str(&made.says(&[&KEK[..], &["--dry-run", "--json"]].concat())).unwrap();
    assert_eq!(
        (
            &plan["to_wrap"],
            &plan["to_remove"],
            &plan["calls"],
            &plan["epoch"]
        ),
        (&6.into(), &0.into(), &18.into(), &1.into())
    );

    // Other processes may not have the new one in their configuration: they open the ring as before.
    let said = made.says(&[&KEK[..], &["--batch", "4", "--concurrent", "2", "--rate", "1000"]].concat());
    let (before, seconds) = head(&said).split_once("18 calls of providers in ").unwrap();
    assert_eq!(
        before,
        "6 keys are wrapped under break-glass 1 and still under local 1, in epoch 3; each was opened as it is stored.\n"
    );
    let (_, after) = seconds.split_once(" s.\n").unwrap();
    assert_eq!(
        after,
        "Next: break-glass 1 into keks of the configuration of every process, and restart them; then the same command with \
         --configured-everywhere takes the old wraps away."
    );
    let checked = made.good(&["check"]);
    assert_eq!(
        (
            checked.matches("local        1    opens").count(),
            checked.matches("break-glass  1    opens").count()
        ),
        (6, 6),
        "{checked}"
    );
    assert!(
        made.says(&[&KEK[..], &["--dry-run"]].concat()).starts_with(
            "No key has a wrap under local 1 alone. To take those away: --configured-everywhere."
        )
    );

    let everywhere = [&KEK[..], &["--configured-everywhere"]].concat();
    let said = made.says(&everywhere);
    let (before, seconds) = head(&said).split_once("6 calls of providers in ").unwrap();
    assert_eq!(
        before,
        "6 keys are wrapped under break-glass 1 and no more under local 1, in epoch 4; each was opened as it is stored.\n"
    );
    let (_, after) = seconds.split_once(" s.\n").unwrap();
    assert_eq!(
        after,
        "The configuration still has local 1: take it out of keks, or new keys are wrapped under it.\nOlder backups of the ring \
         open by the old key-encryption key alone: keep it until they are gone."
    );
    assert!(
        said.contains("6 wraps opened"),
        "the backup has the new wraps: {said}"
    );
    // Without the old key file everything opens.
    fs::remove_file(made.path("keys.phield")).unwrap();
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    let from = config.find("[[provider]]").unwrap();
    let to = config.rfind("[[provider]]").unwrap();
    fs::write(
        made.path("phield.toml"),
        format!("{}{}", &config[..from], &config[to..]),
    )
    .unwrap();
    assert_eq!(
        made.good(&["check"]).matches("break-glass  1    opens").count(),
        6
    );
    let again: Value = serde_json::from_str(&made.says(&[&everywhere[..], &["--json"]].concat())).unwrap();
    assert_eq!((&again["done"], &again["epoch"]), (&0.into(), &4.into()));
    assert!(
        made.says(&[&everywhere[..], &["--dry-run"]].concat())
            .starts_with("No key has a wrap under local 1: there is nothing to do.")
    );
}

/// The five steps of format §8.2, with the changes of configuration that a person makes between them.
#[test]
fn another_ring_key() {
    let made = Made::new();
    let old_pin = made.list()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|key| key["pin"].as_str())
        .unwrap()
        .to_owned();
    let old = made.id("ring", "active");
    let step = |more: &[&str]| made.says(&[&["rotate", "ring"], more].concat());

    let said = anonymous(&step(&[]), &[(&old, "OLD")]);
    assert_eq!(
        said,
        "No replacement of the ring key is under way.\nNext: to replace the ring key (key OLD, made TIME): phield rotate ring \
         --begin\n"
    );
    let said = step(&["--begin"]);
    let new = made.id("ring", "pre-active");
    let pin = made.list()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["id"] == new.as_str())
        .map(|key| key["pin"].as_str().unwrap().to_owned())
        .unwrap();
    let names = [
        (pin.as_str(), "NEW-PIN"),
        (old_pin.as_str(), "OLD-PIN"),
        (new.as_str(), "NEW"),
    ];
    let first = "1 of 5 steps are done, as far as this configuration shows.\nNext: ring_key = [\"OLD-PIN\", \"NEW-PIN\"] in the \
                 configuration of every process, this one too, and restart them; then `phield rotate ring` again.";
    assert_eq!(
        anonymous(head(&said), &names),
        format!("Made key NEW, pre-active; every wrap of it opens. It authenticates nothing yet.\n{first}")
    );
    // Again, before anything was done: the same, and no second key.
    assert_eq!(anonymous(step(&["--begin"]).trim_end(), &names), first);

    made.edit(&format!("\"{old_pin}\""), &format!("[\"{old_pin}\", \"{pin}\"]"));
    let second = "2 of 5 steps are done, as far as this configuration shows.\nNext: once every process runs with that: ring_key = \
                  [\"NEW-PIN\", \"OLD-PIN\"] in the configuration of every process, this one too, and restart them; then `phield \
                  rotate ring` again.";
    assert_eq!(anonymous(step(&[]).trim_end(), &names), second);
    // Too early: nothing is done.
    assert_eq!(
        anonymous(step(&["--pinned-everywhere"]).trim_end(), &names),
        second
    );

    made.edit(
        &format!("[\"{old_pin}\", \"{pin}\"]"),
        &format!("[\"{pin}\", \"{old_pin}\"]"),
    );
    let third = "3 of 5 steps are done, as far as this configuration shows.\nNext: once every process runs with that: phield rotate \
                 ring --pinned-everywhere\nA process without the new pin does not open the ring any more after that.";
    assert_eq!(anonymous(step(&[]).trim_end(), &names), third);
    assert_eq!(made.state(&new), "pre-active", "it was only said");

    let said = step(&["--pinned-everywhere"]);
    let fourth = "4 of 5 steps are done, as far as this configuration shows.\nNext: ring_key = \"NEW-PIN\" and min_epoch = 3 in the \
                  configuration of every process, this one too. Until then whoever has the old ring key can put a ring of before \
                  back. Then the old one can be destroyed (`phield keys destroy`).";
    assert_eq!(
        anonymous(head(&said), &names),
        format!("Key NEW authenticates the ring from epoch 3 on.\n{fourth}")
    );
    assert_eq!(
        anonymous(step(&["--pinned-everywhere"]).trim_end(), &names),
        fourth
    );

    made.edit(&format!("[\"{pin}\", \"{old_pin}\"]"), &format!("\"{pin}\""));
    made.edit("min_epoch = 1", "min_epoch = 3");
    assert!(step(&[]).starts_with("No replacement of the ring key is under way."));
    let json: Value = serde_json::from_str(&step(&["--json"])).unwrap();
    assert_eq!((&json["steps_done"], &json["epoch"]), (&0.into(), &3.into()));
    assert_eq!(
        (made.state(&old), made.state(&new)),
        ("decrypt-only".to_owned(), "active".to_owned())
    );
}
