//! Starts the service.
//!
//! ```text
//! cargo run --package phield-example-service -- [--database URL] [--ring FOLDER] [--listen ADDRESS]
//!
//! curl -s localhost:3000/patients -H 'content-type: application/json' \
//!     -d '{"name": "Ada", "ssn": "999-12-3456", "phone": null, "clinic": 7}'
//! curl -s localhost:3000/patients/search -H 'content-type: application/json' -d '{"ssn": "999123456"}'
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use phield::Stretching;
use service::{Database, Service};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// A clinic's patients behind HTTP, their health data sealed. `RUST_LOG` says what is logged.
#[derive(Debug, Parser)]
#[command(name = "service")]
struct Arguments {
    /// The database: `sqlite:FILE`, or `postgres://user@host/database` (best by the variable, if it has a password)
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite:clinic.db",
        value_name = "URL"
    )]
    database: String,
    /// The folder of the key ring, made at the first start
    #[arg(long, default_value = "clinic.ring", value_name = "FOLDER")]
    ring: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Stretch the passphrase of a new ring no more than the format asks for; for tests
    #[arg(long, hide = true)]
    fast: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    service::log_panics_without_messages();
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let stretching = if arguments.fast {
        Stretching::minimal()
    } else {
        Stretching::default()
    };
    let keyring = service::ring::load_or_create(&arguments.ring, stretching).await?;
    let service = Service::new(Database::connect(&arguments.database).await?, keyring);
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stopped = async {
        // Without a signal to wait for, it is stopped like any other process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    Ok(axum::serve(listener, service::router(service))
        .with_graceful_shutdown(stopped)
        .await?)
}
