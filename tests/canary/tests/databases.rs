//! What stands on the disk, and in every log, after an application has used a database and run into everything that can
//! go wrong there.
//!
//! PostgreSQL and MariaDB are started here, with every log on. `cargo xtask test` runs this; the package is no default
//! member of the workspace, so that a plain `cargo test` needs no server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use phield_canary::child::Running;
use phield_canary::exercise::STEPS;
use phield_canary::{Markers, Search};
use phield_testkit::servers::{MariaDbServer, PostgresServer};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

/// Two runs in one database: one with sealed markers, one with markers in the clear.
struct Runs {
    folder: TempDir,
    sealed: [Markers; 2],
    clear: [Markers; 2],
}

impl Runs {
    /// Does both, each in a process of its own.
    fn new(url: &str) -> Self {
        let people = || [Markers::random(), Markers::random()];
        let runs = Self {
            folder: TempDir::new().unwrap(),
            sealed: people(),
            clear: people(),
        };
        for (mode, [ada, bob]) in [("sealed", &runs.sealed), ("clear", &runs.clear)] {
            let folder = runs.log_folder(mode);
            fs::create_dir(&folder).unwrap();
            let program = env!("CARGO_BIN_EXE_exercise");
            let process = Running::start(program, &[mode, url], &folder, &[ada, bob]).unwrap();
            let status = process.finish().unwrap();
            let log = fs::read_to_string(folder.join("stderr")).unwrap();
            if mode == "clear" {
                assert!(status.success(), "the control failed; its log is not shown");
            } else {
                runs.nothing_in("what the client logged", &folder);
                assert!(status.success(), "{log}");
                for wanted in STEPS
                    .iter()
                    .chain(&["INSERT INTO", "slow statement", "a sealed patient"])
                {
                    assert!(log.contains(wanted), "the client logged no {wanted}: {log}");
                }
            }
        }
        runs.everything_in("what the client logged", &runs.log_folder("clear").join("stderr"));
        // The errors of phield about values in the clear do not repeat them either.
        let wrapped = runs.log_folder("clear").join("wrapped");
        let found = runs
            .clear
            .each_ref()
            .map(|person| Search::whole(person).folder(&wrapped));
        assert_eq!(found.concat(), Vec::<String>::new());
        runs
    }

    fn log_folder(&self, mode: &str) -> PathBuf {
        self.folder.path().join(mode)
    }

    /// Asserts that nothing sealed stands in a file or folder.
    fn nothing_in(&self, place: &str, path: &Path) {
        for person in &self.sealed {
            assert_eq!(
                Search::whole(person).folder(path),
                Vec::<String>::new(),
                "{place}"
            );
        }
    }

    /// Asserts that what was written in the clear stands there.
    fn everything_in(&self, place: &str, path: &Path) {
        let [ada, _] = &self.clear;
        let search = Search::as_written(ada);
        search.assert_all_found(place, &search.folder(path));
    }

    /// Asserts both.
    fn check(&self, place: &str, path: &Path) {
        self.nothing_in(place, path);
        self.everything_in(place, path);
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn assert_logged(log: &Path, wanted: &[&str]) {
    let log = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    for wanted in wanted {
        assert!(log.contains(wanted), "the server logged no {wanted}");
    }
}

#[tokio::test]
async fn nothing_is_found_in_sqlite() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("clinic.db");
    let url = format!("sqlite:{}?mode=rwc", file.display());
    // While one connection stays, the others leave their WAL behind.
    let mut keeper = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("PRAGMA journal_mode = WAL")
        .execute(&mut keeper)
        .await
        .unwrap();
    sqlx::query("SELECT count(*) FROM sqlite_schema")
        .execute(&mut keeper)
        .await
        .unwrap();
    let runs = Runs::new(&url);
    runs.check("the WAL", &file.with_extension("db-wal"));
    sqlx::query("PRAGMA wal_checkpoint")
        .execute(&mut keeper)
        .await
        .unwrap();
    runs.check("the database", &file);
    let copy = folder.path().join("copy.db");
    let vacuum = format!("VACUUM INTO '{}'", copy.display());
    sqlx::query(sqlx::AssertSqlSafe(vacuum))
        .execute(&mut keeper)
        .await
        .unwrap();
    runs.check("a copy", &copy);
    runs.check("all files", folder.path());
}

#[test]
fn nothing_is_found_in_postgres() {
    let mut server = PostgresServer::with_settings(&[
        ("log_statement", "all"),
        ("log_min_duration_statement", "0"),
        ("log_parameter_max_length", "-1"),
        ("log_parameter_max_length_on_error", "-1"),
        ("log_error_verbosity", "verbose"),
        ("log_lock_waits", "on"),
        ("log_min_messages", "debug1"),
        ("deadlock_timeout", "200ms"),
        ("wal_level", "logical"),
    ]);
    let runs = Runs::new(&server.url());
    runs.check("a dump", &runs.write("dump.sql", &server.dump()));
    server.stop();
    assert_logged(
        &server.log_file(),
        &[
            "deadlock detected",
            "terminating connection due to administrator command",
            "duplicate key value violates unique constraint",
            "violates check constraint",
            "violates not-null constraint",
            "pg_sleep",
            "duration: ",
            "$1 = ",
        ],
    );
    let data = server.data_dir();
    runs.check("the server log", &server.log_file());
    runs.check("the WAL", &data.join("pg_wal"));
    runs.check("the tables", &data.join("base"));
    runs.nothing_in("all files", data.parent().unwrap());
}

#[test]
fn nothing_is_found_in_mariadb() {
    let mut server = MariaDbServer::with_options(&[
        "--general-log",
        "--general-log-file=general.log",
        "--slow-query-log",
        "--slow-query-log-file=slow.log",
        "--long-query-time=0",
        "--log-bin=binlog",
        "--server-id=1",
        "--log-warnings=9",
        "--innodb-print-all-deadlocks",
    ]);
    let runs = Runs::new(&server.url());
    runs.check("a dump", &runs.write("dump.sql", &server.dump()));
    server.stop();
    let data = server.data_dir();
    let file = |name: &str| data.join(name);
    assert_logged(
        &file("general.log"),
        &["INSERT INTO", "SLEEP(0.4)", "KILL CONNECTION"],
    );
    assert_logged(&file("slow.log"), &["SLEEP(0.4)", "INSERT INTO"]);
    assert_logged(&server.log_file(), &["deadlock detected", "Aborted connection"]);
    runs.check("the general log", &file("general.log"));
    runs.check("the slow query log", &file("slow.log"));
    runs.check("the binary log", &file("binlog.000001"));
    runs.check("the redo log", &file("ib_logfile0"));
    runs.check("the patients", &file("phield"));
    runs.nothing_in("the error log", &server.log_file());
    runs.nothing_in("all files", data.parent().unwrap());
}
