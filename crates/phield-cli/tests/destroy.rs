//! `phield keys destroy`, as a person runs it: every refusal, and then the end of the key.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod made;

use std::fs;

use phield_core::{CoverageMode, CoverageReport, CoveredKind, KeyId};

use made::{Made, anonymous, block_on, now};

const DAY: u64 = 86_400;

/// Writes a report that began to count so many days ago.
fn write_report(made: &Made, days: u64, change: impl FnOnce(&mut CoverageReport)) {
    let ring = made.ring();
    let verified = block_on(ring.load()).unwrap();
    let begun = now() - days * DAY;
    let place = ("sqlite clinic.db", "anna@db1");
    let cache = &ring.settings.cache;
    let mut report = CoverageReport::new(&verified, cache, CoverageMode::Scan, place, begun);
    report.column_mut("patients", "ssn", CoveredKind::Token);
    report.complete = true;
    change(&mut report);
    let signed = verified.sign_coverage(report).unwrap();
    fs::write(made.path("report.json"), signed.to_json().unwrap()).unwrap();
}

#[test]
fn the_end_of_a_key() {
    let made = Made::new();
    let old = made.id("data", "active");
    let id = KeyId::new(u32::from_str_radix(&old, 16).unwrap()).unwrap();
    let report = made.text("report.json");
    let backup = made.text("backup/ring.phield");
    let names = [
        (old.as_str(), "KEY"),
        (report.as_str(), "REPORT"),
        (backup.as_str(), "BACKUP"),
    ];
    let bad = |arguments: &[&str]| {
        let arguments = [&["destroy", &old], arguments].concat();
        anonymous(&made.bad(&arguments), &names)
    };
    let with = |more: &[&'static str]| [&["--report", report.as_str()], more].concat();

    assert_eq!(
        bad(&[]),
        "error: key KEY was not destroyed: it is active, and only an old key is destroyed. First `phield keys retire`, then \
         re-seal what it sealed (`phield rotate`)\n"
    );
    made.good(&["retire", &old, "--acknowledged-by-every-instance"]);
    assert_eq!(
        bad(&[]),
        "error: key KEY was not destroyed: it was taken out of use at TIME, and until TIME some process may not know that (hard \
         TTL plus 5 minutes). After that: `phield scan`, and destroy with its report\n"
    );
    made.stopped(&old, now() - 100 * DAY);
    assert_eq!(
        bad(&[]),
        "error: key KEY was not destroyed: there is no evidence that nothing is under it: run `phield scan` on every database \
         that the ring serves, started after TIME, and give each report with --report\n"
    );
    assert_eq!(
        bad(&with(&[])),
        "error: cannot read REPORT\n  caused by: No such file or directory (os error 2)\n"
    );
    write_report(&made, 101, |_| {});
    assert_eq!(
        bad(&with(&[])),
        "error: key KEY was not destroyed: the report of sqlite clinic.db began to count at TIME, and until TIME some process \
         may still have sealed with the key: run `phield scan` again\n"
    );
    write_report(&made, 10, |report| {
        let column = report.column_mut("patients", "ssn", CoveredKind::Token);
        column.key_mut(id).after = 12;
    });
    assert_eq!(
        bad(&with(&[])),
        "error: key KEY was not destroyed: 12 rows are still under it in sqlite clinic.db: `phield rotate run data`, and \
         give its report, which tells what is in quarantine or of shredded subjects apart, or one of `phield scan` after it\n"
    );
    let edited = fs::read_to_string(&report)
        .unwrap()
        .replace("\"after\": 12", "\"after\": 0");
    fs::write(&report, edited).unwrap();
    assert_eq!(
        bad(&with(&[])),
        "error: the report REPORT was not believed: it has to be of this ring, byte for byte as `phield scan` wrote it; run it \
         again\n  caused by: the key ring does not authenticate: wrong key, passphrase, ring or app, or it was changed\n"
    );
    write_report(&made, 10, |report| {
        report.unregistered.push("main.old.ssn".to_owned());
    });
    assert_eq!(
        bad(&with(&[])),
        "error: key KEY was not destroyed: sqlite clinic.db has columns that hold tokens and are not registered, so nobody \
         counted what is in them: main.old.ssn. Add them to the schema file, or drop them, and run `phield scan` again (I-7)\n"
    );
    let shredded = |report: &mut CoverageReport| {
        let column = report.column_mut("patients", "ssn", CoveredKind::Token);
        column.key_mut(id).shredded = 2;
    };
    write_report(&made, 10, shredded);
    assert_eq!(
        bad(&with(&[])),
        "error: key KEY was not destroyed: 2 rows of shredded subjects are under it, and 0 were acknowledged: delete them, or \
         acknowledge them: --acknowledge-shredded 2\n"
    );
    assert_eq!(
        bad(&with(&["--acknowledge-shredded", "2"])),
        "error: key KEY was not destroyed: the waiting period ends at TIME (destroy_after_days in [policy]): run the same \
         command then\n"
    );
    write_report(&made, 31, shredded);
    assert_eq!(
        bad(&with(&["--acknowledge-shredded", "2"])),
        "error: key KEY was not destroyed: the newest report of sqlite clinic.db counted from TIME on: what came back into it since, \
         from a backup or a process that slept, is in no count. Run `phield scan` now, and give its report beside the first one, which \
         the waiting period counts from\n"
    );
    assert_eq!(
        bad(&with(&["--report", "REPORT", "--acknowledge-shredded", "2"])),
        "error: cannot read REPORT\n  caused by: No such file or directory (os error 2)\n"
    );
    // The same report is no second one.
    let first = made.text("first.json");
    fs::copy(&report, &first).unwrap();
    let twice = [
        "destroy",
        &old,
        "--report",
        &report,
        "--report",
        &first,
        "--acknowledge-shredded",
        "2",
    ];
    assert!(made.bad(&twice).contains("was given twice"));
    write_report(&made, 1, |report| {
        shredded(report);
        report
            .column_mut("patients", "ssn", CoveredKind::Token)
            .key_mut(id)
            .after = 1;
    });
    let both = [
        "destroy",
        &old,
        "--report",
        &first,
        "--report",
        &report,
        "--acknowledge-shredded",
        "2",
    ];
    assert!(made.bad(&both).contains("1 rows are still under it"));
    write_report(&made, 1, shredded);
    assert_eq!(
        anonymous(&made.bad(&both), &names),
        "error: key KEY was not destroyed: backups that hold what it sealed would not open any more. If no backup that may have \
         to be put back, of the database or an export, holds anything under it: --backups-acknowledged\n"
    );
    assert_eq!(made.state(&old), "decrypt-only");

    let said = anonymous(
        &made.good(&[&both[..], &["--backups-acknowledged"]].concat()),
        &names,
    );
    let expected = "\
Key KEY is destroyed, in epoch 5. Nothing that it sealed opens any more; its record and id stay.
0 rows under key KEY in \"sqlite clinic.db\", counted from TIME to TIME by \"anna@db1\".
0 rows under key KEY in \"sqlite clinic.db\", counted from TIME to TIME by \"anna@db1\".
Given up: 0 rows in quarantine, 2 of shredded subjects.
Older backups of the ring still hold its wraps: whoever has one, and a key-encryption key, has the key. Destroy them once \
                    nothing else needs them.
Backed up to BACKUP: ";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(made.state(&old), "destroyed");
    let again = made.json(&["destroy", &old]);
    assert_eq!(
        (&again["was_destroyed"], &again["epoch"]),
        (&true.into(), &5.into())
    );
    assert!(
        made.good(&["check"]).lines().all(|line| !line.starts_with(&old)),
        "a destroyed key has no wraps"
    );
}

/// Without an epoch witness the ring of before could be put back, with the key as it was.
#[test]
fn min_epoch_is_raised_after_it() {
    let made = Made::new();
    let config = fs::read_to_string(made.path("phield.toml")).unwrap();
    let at = config.find("[epoch_witness]").unwrap();
    let end = at + config[at..].find("\n\n").unwrap();
    let bare = format!(
        "{}[policy]\ndestroy_after_days = 0\n{}",
        &config[..at],
        &config[end..]
    );
    fs::write(made.path("phield.toml"), bare).unwrap();
    let old = made.id("data", "active");
    made.good(&["retire", &old, "--acknowledged-by-every-instance"]);
    made.stopped(&old, now() - DAY);
    write_report(&made, 0, |_| {});
    let report = made.text("report.json");
    let said = made.good(&["destroy", &old, "--report", &report, "--backups-acknowledged"]);
    assert!(
        said.contains(
            "There is no epoch witness: set min_epoch = 5 in the configuration of every process now"
        ),
        "{said}"
    );
}

/// A pass that opened tokens, by an earlier version, has not looked at index values.
#[test]
fn a_report_of_verify_without_index_values_is_no_evidence_for_a_pepper() {
    let made = Made::new();
    let old = made.id("index", "active");
    made.good(&["add", "--use", "index"]);
    made.good(&["retire", &old, "--acknowledged-by-every-instance"]);
    made.stopped(&old, now() - 100 * DAY);
    let report = made.text("report.json");
    let destroy = [
        "destroy",
        old.as_str(),
        "--report",
        report.as_str(),
        "--backups-acknowledged",
    ];
    write_report(&made, 40, |report| report.mode = CoverageMode::Verify);
    assert_eq!(
        anonymous(&made.bad(&destroy), &[(old.as_str(), "KEY")]),
        "error: key KEY was not destroyed: the report of sqlite clinic.db is of a `phield rotate verify` that opened tokens and did \
         not count index values: run `phield scan`\n"
    );
    let with_indexes = |report: &mut CoverageReport| {
        report.column_mut("patients", "ssn_index", CoveredKind::Index);
        report.mode = CoverageMode::Verify;
    };
    write_report(&made, 40, with_indexes);
    let first = made.text("first.json");
    fs::rename(&report, &first).unwrap();
    write_report(&made, 1, with_indexes);
    made.good(&[&destroy[..], &["--report", &first]].concat());
}
