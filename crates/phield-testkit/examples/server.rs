//! Runs a temporary database server until its input ends: `cargo run -p phield-testkit --example server -- postgres`.
//!
//! Prints the address of the database in one line. A file of SQL as second argument is run first.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::fs;
use std::process::ExitCode;

use phield_testkit::servers::{MariaDbServer, PostgresServer};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (name, schema) = (arguments.next(), arguments.next());
    let schema = match schema.map(fs::read_to_string).transpose() {
        Ok(schema) => schema.unwrap_or_default(),
        Err(error) => {
            eprintln!("cannot read the file of SQL: {error}");
            return ExitCode::FAILURE;
        }
    };
    match name.as_deref() {
        Some("postgres") => {
            let server = PostgresServer::start();
            server.run_sql(&schema);
            wait(&server.url());
        }
        Some("mariadb") => {
            let server = MariaDbServer::start();
            server.run_sql(&schema);
            wait(&server.url());
        }
        _ => {
            eprintln!("usage: server postgres|mariadb [schema.sql]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Until the input ends.
fn wait(url: &str) {
    println!("{url}");
    for line in std::io::stdin().lines() {
        if line.is_err() {
            break;
        }
    }
}
