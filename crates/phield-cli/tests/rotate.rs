//! A rotation as the person on call runs it: what is said, and what to do next.
#![cfg(feature = "sqlx-sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy allows them in the test functions alone"
)]

mod made;
mod world;

use std::process::Stdio;
use std::time::Duration;

use made::phield;
use world::World;

#[tokio::test]
async fn data_keys_are_replaced() {
    let world = World::new(25).await;
    let (code, said) = world.said(&["rotate", "status"]);
    assert_eq!(
        (code, said.contains("`phield rotate run` starts one")),
        (1, true),
        "{said}"
    );
    let plan = world.json(&["rotate", "plan", "data"]);
    assert_eq!(plan["values_to_write"], 0);
    let old = plan["active_keys"][0].as_str().unwrap().to_owned();

    // The successor of `phield init` has not waited: it is published, and that is said.
    let (code, said) = world.said(&["rotate", "run", "data", "--replace-key"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("is published, and every process knows it from")
            && said.contains("Run the same command again then"),
        "{said}"
    );

    let report = world.made.text("report.json");
    let run = [
        "rotate",
        "run",
        "data",
        "--replace-key",
        "--acknowledged-by-every-instance",
        "--who",
        "night shift",
    ];
    let (code, said) = world.said(&[&run[..], &["--report", &report]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("0 rows under key {old}")), "{said}");
    assert!(
        said.contains("by night shift") && said.contains("The signed report is"),
        "{said}"
    );
    assert_eq!(world.open().await, 25);
    let (code, said) = world.said(&[&run[..], &["--report", &report]].concat());
    assert_eq!(
        (code, said.contains("a report is not replaced")),
        (1, true),
        "{said}"
    );

    let plan = world.json(&["rotate", "plan", "data"]);
    assert_eq!(plan["values_to_write"], 0);
    assert_ne!(plan["active_keys"][0].as_str().unwrap(), old);
    let status = world.json(&["rotate", "status"]);
    assert_eq!(
        (status["state"].as_str(), status["tables"][0]["written"].as_u64()),
        (Some("done"), Some(25))
    );
    let (_, said) = world.said(&["rotate", "status"]);
    assert!(
        said.contains("25 of 25 rows, 25 written") && said.contains("It ended at"),
        "{said}"
    );

    // Whoever is tired repeats the command without a report.
    let (code, said) = world.said(&run);
    assert_eq!(
        (
            code,
            said.contains("nothing was done") && said.contains("phield rotate run data. ")
        ),
        (1, true),
        "{said}"
    );
    let once_more = ["rotate", "run", "data", "--acknowledged-by-every-instance"];
    let (code, said) = world.said(&once_more);
    assert_eq!(
        (code, said.contains(&format!("0 rows under key {old}"))),
        (0, true),
        "{said}"
    );

    // The evidence does not do before the waiting period.
    let config = world.made.text("phield.toml");
    let destroy = [
        "keys",
        "destroy",
        &old,
        "--report",
        &report,
        "--backups-acknowledged",
        "--config",
        &config,
    ];
    let output = phield(&destroy);
    assert!(!output.status.success());
    println!("{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn peppers_and_pauses() {
    let world = World::new(10).await;
    let (code, said) = world.said(&["rotate", "pause"]);
    assert_eq!(
        (code, said.contains("no rotation is under way")),
        (1, true),
        "{said}"
    );
    let run = [
        "rotate",
        "run",
        "pepper",
        "--replace-key",
        "--acknowledged-by-every-instance",
    ];
    // Nobody can have seen in any instance what is made in this moment.
    let (code, said) = world.said(&run);
    assert_eq!(
        (code, said.contains("is published, and every process")),
        (1, true),
        "{said}"
    );
    let (code, said) = world.said(&run);
    assert_eq!(code, 0, "{said}");
    assert_eq!(world.open().await, 10);
    let (code, said) = world.said(&["rotate", "run", "pepper", "--dry-run"]);
    assert_eq!(
        (code, said.contains("nothing is under another key")),
        (0, true),
        "{said}"
    );
}

#[tokio::test]
async fn what_does_not_open_is_listed_without_its_row() {
    let world = World::new(10).await;
    for sql in [
        "UPDATE patients SET ssn = (SELECT ssn FROM patients AS p WHERE p.id = 5) WHERE id = 4",
        "UPDATE patients SET note = 'in the clear' WHERE id = 6",
        "CREATE TABLE copies AS SELECT ssn AS secret FROM patients",
    ] {
        sqlx::query(sql).execute(&world.pool).await.unwrap();
    }
    let (code, said) = world.said(&["rotate", "verify"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("PLAINTEXT: 1 value is no token in patients.note"),
        "{said}"
    );
    assert!(said.contains("copies.secret"), "{said}");
    let (_, said) = world.said(&["rotate", "quarantine"]);
    assert!(
        said.contains("patients.ssn: authentication") && said.contains("patients.note: malformed"),
        "{said}"
    );
    assert!(!said.contains("i4"), "{said}");
    let (_, said) = world.said(&["rotate", "quarantine", "--rows"]);
    assert!(said.contains("patients.ssn row i4: authentication"), "{said}");
    let (code, said) = world.said(&["scan"]);
    assert_eq!((code, said.contains("copies.secret")), (2, true), "{said}");

    // What there is the same to say of is one line.
    let more =
        "UPDATE patients SET ssn = (SELECT ssn FROM patients AS p WHERE p.id = 5) WHERE id IN (1, 2, 3)";
    sqlx::query(more).execute(&world.pool).await.unwrap();
    world.said(&["rotate", "verify"]);
    let (_, said) = world.said(&["rotate", "quarantine"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("), 4 values, noted 20"), "{said}");
}

/// A rotation that was started without one is not one to another key.
#[tokio::test]
async fn a_key_is_not_replaced_by_joining() {
    let world = World::new(5).await;
    let (code, said) = world.said(&["rotate", "run", "data"]);
    assert_eq!(code, 1, "{said}");
    let replace = [
        "rotate",
        "run",
        "data",
        "--replace-key",
        "--acknowledged-by-every-instance",
    ];
    let (code, said) = world.said(&replace);
    assert_eq!(
        (
            code,
            said.contains("no key was replaced") && said.contains("phield rotate cancel")
        ),
        (1, true),
        "{said}"
    );
    world.said(&["rotate", "cancel"]);
    let (code, said) = world.said(&replace);
    assert_eq!(code, 0, "{said}");
}

/// Whoever comes after a process that was killed sees whom it waits for, and how long.
#[tokio::test]
async fn a_killed_process_is_waited_for_and_that_is_said() {
    let world = World::new(30).await;
    let mut slow = world.command(&["rotate", "verify", "--batch", "2", "--rate", "10"]);
    let mut slow = slow.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let rows = "SELECT sum(row_count) FROM phield_rotation_share";
    while !matches!(
        sqlx::query_scalar(rows).fetch_one(&world.pool).await,
        Ok(Some(1_i64..))
    ) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    slow.kill().unwrap();
    slow.wait().unwrap();

    let (_, said) = world.said(&["rotate", "status"]);
    assert!(
        said.contains("1 worker at work, or killed less than 30 s ago"),
        "{said}"
    );
    let soon = "UPDATE phield_rotation_share SET lease = CAST(strftime('%s', 'now') AS INTEGER) + 4";
    sqlx::query(soon).execute(&world.pool).await.unwrap();
    let output = world.run(&["rotate", "verify"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.starts_with("Waiting for 1 worker, in other processes: "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(world.json(&["rotate", "status"])["workers"], 0);
}

/// What it does not see it signs no evidence of.
#[tokio::test]
async fn a_scan_that_misses_rows_is_not_complete() {
    let world = World::new(150).await;
    let (code, said) = world.said(&["scan"]);
    assert_eq!((code, said.contains("NOT COMPLETE")), (0, false), "{said}");
    for sql in [
        "CREATE TABLE good AS SELECT * FROM patients",
        "CREATE TRIGGER a AFTER INSERT ON phield_rotation BEGIN DELETE FROM patients WHERE id > 10; END",
        "CREATE TRIGGER b AFTER DELETE ON phield_rotation_share BEGIN \
         INSERT INTO patients SELECT * FROM good WHERE id > 10; END",
    ] {
        sqlx::query(sql).execute(&world.pool).await.unwrap();
    }
    let (code, said) = world.said(&["scan"]);
    let line = "ROWS PASSED OVER: 10 of patients, which had 150 rows before and 150 after";
    assert!(
        code == 2 && said.contains("NOT COMPLETE") && said.contains(line),
        "{said}"
    );
}

/// Whoever writes to the database writes names, too.
#[tokio::test]
async fn nothing_is_printed_that_a_terminal_obeys() {
    let world = World::new(3).await;
    let (_, said) = world.said(&["rotate", "verify"]);
    assert!(!said.contains('\u{1b}'), "{said}");
    for sql in [
        "INSERT INTO phield_quarantine (id, mode, tbl, row_key, col, reason, key_id, held, noted, stamp) VALUES \
         ('1', 'verify', 't\u{1b}[2J', 'i\u{1b}[2J', 'c\u{1b}[2J', 'r\u{1b}[2J', 'k\u{1b}[2J', '', 1, '')",
        "UPDATE phield_rotation SET who = 'w\u{1b}[2J'",
        "UPDATE phield_rotation_table SET tbl = 't\u{1b}[2J'",
    ] {
        sqlx::query(sql).execute(&world.pool).await.unwrap();
    }
    for verbs in [&["rotate", "quarantine", "--rows"][..], &["rotate", "status"]] {
        let (code, said) = world.said(verbs);
        assert!(
            code == 0 && said.contains("t\\u{1b}[2J") && !said.contains('\u{1b}'),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_database_that_is_none() {
    let world = World::new(1).await;
    let config = world.made.text("phield.toml");
    for (arguments, expected) in [
        (
            &["rotate", "status", "--config", &config][..],
            "cannot use phield.schema.json",
        ),
        (
            &[
                "rotate",
                "plan",
                "data",
                "--config",
                &config,
                "--database",
                "oracle:x",
            ],
            "the URL of the database is not understood",
        ),
    ] {
        let output = phield(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && (said.contains(expected) || said.contains("which database?")),
            "{said}"
        );
    }
    let (code, said) = world.said(&["rotate", "plan", "data", "--tables", "pateints"]);
    assert_eq!(
        (code, said.contains("the schema has no table pateints")),
        (1, true),
        "{said}"
    );
}

#[tokio::test]
async fn a_plan_with_the_ring_of_another_database_says_so() {
    let (world, other) = (World::new(3).await, World::new(1).await);
    let (code, said) = world.said(&["rotate", "plan", "data"]);
    assert_eq!(
        (code, said.contains("under no key of this ring")),
        (0, false),
        "{said}"
    );
    std::fs::copy(world.made.path("rows.db"), other.made.path("rows.db")).unwrap();
    let (code, said) = other.said(&["rotate", "plan", "data"]);
    let tells = said.contains("7 values are under no key of this ring: they would go into quarantine");
    assert_eq!((code, tells), (1, true), "{said}");
    assert!(said.contains("it is probably not theirs (phield.toml)"), "{said}");
}

#[tokio::test]
async fn what_is_no_database_is_said() {
    let world = World::new(1).await;
    let schema = world.made.text("schema.json");
    let run = |database: &str| {
        let database = format!("sqlite:{}", world.made.text(database));
        let config = world.made.text("phield.toml");
        let places = ["--config", &config, "--schema", &schema, "--database", &database];
        let output = phield(&[&["rotate", "plan", "data"], &places[..]].concat());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run("none.db");
    assert!(said.contains("the file cannot be opened; is it there"), "{said}");
    let said = run("schema.json");
    assert!(said.contains("the file is no SQLite database"), "{said}");
}
