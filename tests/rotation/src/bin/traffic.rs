//! A process that is an instance of an application. See `site/traffic.rs`.
#![forbid(unsafe_code)]

use phield_rotation_tests::arguments::Arguments;
use phield_rotation_tests::{Failed, mariadb, postgres, sqlite};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::of_process()?;
    match arguments.text("url")?.split(':').next() {
        Some("sqlite") => sqlite::traffic::run(&arguments).await,
        Some("postgres") => postgres::traffic::run(&arguments).await,
        Some("mysql") => mariadb::traffic::run(&arguments).await,
        _ => Err("no such database".into()),
    }
}
