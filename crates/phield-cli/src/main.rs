//! The binary `phield`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a command line reports its errors on stderr")]

use std::io;
use std::process::ExitCode;

use clap::Parser;
use phield_cli::{Command, Error, Host, causes};

/// Makes, lists and checks the key rings of phield, and prints the tables that it seals into.
///
/// A key ring holds the keys that seal health data in your database. It is useless without its key file and
/// passphrase, and they are useless without it: back them up apart from each other.
#[derive(Debug, Parser)]
#[command(name = "phield", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// 0: done; 1: it failed, `doctor` has warnings, or something is due soon; 2: wrong usage (clap's own), `doctor` has errors,
/// or something is overdue.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    let mut host = Host::new(&mut out);
    match phield_cli::run(&cli.command, &mut host).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        // What it found is printed.
        Err(error @ (Error::Findings { .. } | Error::Due { .. })) => ExitCode::from(error.exit_code()),
        Err(error) => {
            eprint!("{}", causes(&error));
            ExitCode::from(error.exit_code())
        }
    }
}
