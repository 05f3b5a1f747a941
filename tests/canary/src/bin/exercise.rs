//! `exercise sealed URL`, `exercise clear URL`: the work of one run in a process of its own, with everything logged to
//! the standard error.
#![forbid(unsafe_code)]

use std::io::Read as _;

use phield_canary::Markers;
use phield_canary::database::Database;
use phield_canary::exercise::{self, Outcome};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Outcome {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, url] = arguments.as_slice() else {
        return Err("exercise sealed|clear URL".into());
    };
    let mut lines = String::new();
    std::io::stdin().read_to_string(&mut lines)?;
    let people: Vec<_> = lines.split("\n\n").filter_map(Markers::from_lines).collect();
    let [ada, bob] = people.as_slice() else {
        return Err("two people are wanted".into());
    };
    let database = Database::connect(url).await?;
    if mode == "sealed" {
        database.create_tables().await?;
        return exercise::sealed(&database, [ada, bob]).await;
    }
    let wrapped = exercise::in_the_clear(&database, [ada, bob]).await?;
    Ok(std::fs::write("wrapped", wrapped)?)
}
