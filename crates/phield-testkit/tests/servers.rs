//! The servers start, keep what was committed through a kill, and leave nothing behind.
//!
//! Ignored in a plain `cargo test`, which needs no server: `cargo xtask test` runs them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phield_testkit::Scanner;
use phield_testkit::servers::{MariaDbServer, PostgresServer};

const WRITE: &str = "CREATE TABLE t (text VARCHAR(30)); INSERT INTO t VALUES ('kept through a kill');";

fn kept(dump: &[u8]) -> bool {
    let scanner = Scanner::new(["kept through a kill"]).unwrap();
    !scanner.scan(dump).is_empty()
}

#[test]
#[ignore = "needs a PostgreSQL server"]
fn postgres_lives_and_goes() {
    let mut server = PostgresServer::with_settings(&[("log_statement", "all")]);
    server.run_sql(WRITE);
    let (url, data) = (server.url(), server.data_dir());
    server.kill();
    assert_eq!(server.process_id(), None);
    server.restart();
    assert_eq!(server.url(), url);
    assert!(kept(&server.dump()));
    server.stop();
    assert!(
        std::fs::read_to_string(server.log_file())
            .unwrap()
            .contains("INSERT INTO t")
    );
    drop(server);
    assert!(!data.parent().unwrap().exists());
}

#[test]
#[ignore = "needs a MariaDB server"]
fn mariadb_lives_and_goes() {
    let mut server = MariaDbServer::with_options(&["--general-log", "--general-log-file=general.log"]);
    server.run_sql(WRITE);
    let (url, data) = (server.url(), server.data_dir());
    server.kill();
    assert_eq!(server.process_id(), None);
    server.restart();
    assert_eq!(server.url(), url);
    assert!(kept(&server.dump()));
    server.stop();
    assert!(
        std::fs::read_to_string(data.join("general.log"))
            .unwrap()
            .contains("INSERT INTO t")
    );
    drop(server);
    assert!(!data.parent().unwrap().exists());
}

/// This test runs itself as a child, which starts both servers and is killed.
#[test]
#[ignore = "needs a PostgreSQL and a MariaDB server"]
fn servers_die_with_a_killed_process() {
    const CHILD: &str = "PHIELD_TEST_CHILD_OF_SERVERS";
    if std::env::var_os(CHILD).is_some() {
        let (postgres, mariadb) = (PostgresServer::shared(), MariaDbServer::shared());
        for (id, data) in [
            (postgres.process_id(), postgres.data_dir()),
            (mariadb.process_id(), mariadb.data_dir()),
        ] {
            println!("server {} {}", id.unwrap(), data.parent().unwrap().display());
        }
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "servers_die_with_a_killed_process",
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let servers: Vec<(String, String)> = lines
        .map_while(Result::ok)
        .filter_map(|line| {
            let (id, folder) = line.split_once("server ")?.1.split_once(' ')?;
            Some((id.to_owned(), folder.to_owned()))
        })
        .take(2)
        .collect();
    assert_eq!(servers.len(), 2, "the child started both servers");
    let lives = |id: &str| Path::new("/proc").join(id).join("exe").exists();
    assert!(
        servers
            .iter()
            .all(|(id, folder)| lives(id) && Path::new(folder).exists())
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    while servers
        .iter()
        .any(|(id, folder)| lives(id) || Path::new(folder).exists())
    {
        assert!(
            killed.elapsed() < Duration::from_secs(60),
            "a server outlived its tests"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
