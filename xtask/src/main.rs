//! Tasks of the repository: `cargo xtask test`.
//!
//! It has no dependencies, so that it builds in a second on a fresh machine.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod clinic;
mod command;
mod fuzz;
mod prerequisites;
mod sources;
mod sqlx;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use command::{Failed, cargo};

const HELP: &str = "\
cargo xtask test           everything that CI runs: prerequisites, format, clippy, tests, docs, example, macros, benches, fuzz, FIPS
cargo xtask test --quick   the same without example, macros, benches, fuzz and FIPS
cargo xtask clinic         run the example twice; then the independent checker opens its database
cargo xtask fuzz           run every fuzz harness for five seconds
cargo xtask sqlx           write the folders .sqlx of tests/macros anew, after a query or a schema changed
cargo xtask hsm            the tests that need HSM tokens in software, and nothing else
cargo xtask databases      the tests that need a PostgreSQL and a MariaDB server, and nothing else
cargo xtask rotation       the tests that kill rotations and migrations, at a spread of their writes, and nothing else
cargo xtask rotation --every   the same at every write, which takes hours
cargo xtask kms            the tests that need emulators of AWS KMS, and nothing else
cargo xtask fmt            format every crate
";

/// Every feature of every crate but `fips`, a profile that refuses what the others test (docs/decisions/0003): so there is
/// no `--all-features` here. Of a name, cargo switches it on in the members that have it.
const FEATURES: &str = "aws-kms,aws-lc,chrono,decimal,derive,fuzzing,mysql,pkcs11,postgres,serde,sqlite,sqlx,sqlx-mysql,\
    sqlx-postgres,sqlx-sqlite,time";
/// The core alone, in the FIPS profile.
const FIPS: [&str; 5] = [
    "--package",
    "phield-core",
    "--no-default-features",
    "--features",
    "fips,chrono,decimal,serde,time",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["test"] => test(false),
        ["test", "--quick"] => test(true),
        ["clinic"] => prerequisites::install().and_then(|python| clinic::run(&python)),
        ["fuzz"] => prerequisites::install().and_then(|_| fuzz::smoke()),
        ["sqlx"] => prerequisites::install_servers().and_then(|()| sqlx::write()),
        ["databases"] => prerequisites::install_servers().and_then(|()| databases()),
        ["rotation"] => prerequisites::install_servers().and_then(|()| rotation(false)),
        ["rotation", "--every"] => prerequisites::install_servers().and_then(|()| rotation(true)),
        ["kms"] => kms(),
        ["hsm"] => prerequisites::install_hsm().and_then(|()| hsm()),
        ["fmt"] => cargo(["fmt", "--all"]).run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("\nxtask: {failed}");
            ExitCode::FAILURE
        }
    }
}

/// Every check, in the order of what is found out soonest; the first failure ends it.
fn test(quick: bool) -> Result<(), Failed> {
    let start = Instant::now();
    let python = step("prerequisites", || {
        prerequisites::install_servers()?;
        prerequisites::install_kms()?;
        prerequisites::install_hsm()?;
        prerequisites::install()
    })?;
    step("source rules", sources::check)?;
    step("format", || cargo(["fmt", "--all", "--check"]).run())?;
    step("clippy", clippy)?;
    step("PKCS#11 modules", pkcs11_modules)?;
    step("library that kills", killer)?;
    step("tests", || {
        cargo(["test", "--workspace", "--features", FEATURES]).run()?;
        let interop = [
            "test",
            "--workspace",
            "--features",
            FEATURES,
            "--lib",
            "interop",
            "--",
            "--ignored",
        ];
        cargo(interop).env("PHIELD_PYTHON", &python).run()?;
        let service = [
            "test",
            "--workspace",
            "--features",
            FEATURES,
            "--test",
            "http",
            "--",
            "--ignored",
        ];
        cargo(service).run()?;
        cargo(["test", "--package", "phield-core", "--no-default-features"]).run()
    })?;
    step("servers", servers)?;
    step("docs", || {
        cargo(["doc", "--workspace", "--features", FEATURES, "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .run()
    })?;
    if !quick {
        step("example clinic, end to end", || clinic::run(&python))?;
        step("checked macros are current", sqlx::check)?;
        step("what release builds refuse", || {
            let cheap = [
                "test",
                "--release",
                "--package",
                "phield-core",
                "--lib",
                "cheap_slow_indexes",
            ];
            cargo(cheap).run()
        })?;
        step("benches run", || {
            cargo(["bench", "--package", "phield-benches", "--", "--test"]).run()
        })?;
        step("fuzz smoke", fuzz::smoke)?;
        step("FIPS profile", || fips(&python))?;
    }
    println!("\nEverything passed in {} s.", start.elapsed().as_secs());
    Ok(())
}

/// The packages whose tests need a server; a plain `cargo test` builds none of them.
const DATABASE_TESTS: [&str; 8] = [
    "--package",
    "phield-database-tests",
    "--package",
    "phield-macro-tests-sqlite",
    "--package",
    "phield-macro-tests-postgres",
    "--package",
    "phield-macro-tests-mysql",
];

/// All that needs a PostgreSQL or a MariaDB server.
fn databases() -> Result<(), Failed> {
    step("servers", servers)?;
    step("database tests", || {
        cargo([&["test"], DATABASE_TESTS.as_slice()].concat()).run()
    })?;
    step("checked macros are current", sqlx::check)
}

/// Rotations and migrations that are killed, at every write or at a spread of them.
fn rotation(every: bool) -> Result<(), Failed> {
    step("library that kills", killer)?;
    step("rotation tests", || {
        // How many kill points there were is shown.
        let tests = ["test", "--package", "phield-rotation-tests", "--", "--nocapture"];
        if every {
            let one = ["--test-threads", "1"];
            let tests = cargo([&tests[..], &one].concat());
            return tests.env("PHIELD_KILL_EVERY", "1").run();
        }
        cargo(tests).run()
    })
}

/// Builds the library of `tests/rotation/killer`, a workspace of its own.
fn killer() -> Result<(), Failed> {
    let manifest = "tests/rotation/killer/Cargo.toml";
    cargo(["build", "--locked", "--manifest-path", manifest])
        .env("CARGO_TARGET_DIR", target().join("rotation-killer"))
        .run()
}

/// All that needs an emulator of AWS KMS.
fn kms() -> Result<(), Failed> {
    let venv = step("prerequisites", prerequisites::install_kms)?;
    step("KMS tests", || {
        cargo(["test", "--package", "phield-kms-tests"])
            .env("PHIELD_KMS_VENV", &venv)
            .run()
    })
}

/// All that needs HSM tokens in software.
fn hsm() -> Result<(), Failed> {
    step("PKCS#11 modules", pkcs11_modules)?;
    step("HSM tests", || {
        // What its threads have counted is shown.
        cargo(["test", "--package", "phield-hsm-tests", "--", "--nocapture"]).run()
    })
}

/// Builds the modules of `tests/hsm/modules`, a workspace of their own.
fn pkcs11_modules() -> Result<(), Failed> {
    let manifest = "tests/hsm/modules/Cargo.toml";
    cargo(["build", "--locked", "--manifest-path", manifest])
        .env("CARGO_TARGET_DIR", target().join("pkcs11-modules"))
        .run()
}

/// The temporary servers themselves.
fn servers() -> Result<(), Failed> {
    let servers = [
        "test",
        "--package",
        "phield-testkit",
        "--test",
        "servers",
        "--",
        "--ignored",
    ];
    cargo(servers).run()
}

fn clippy() -> Result<(), Failed> {
    cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        FEATURES,
        "--",
        "-D",
        "warnings",
    ])
    .run()?;
    let core = [
        "clippy",
        "--package",
        "phield-core",
        "--all-targets",
        "--no-default-features",
        "--",
        "-D",
        "warnings",
    ];
    cargo(core).run()
}

/// The core in its FIPS profile, against the checker too; the module is built with cmake, Go and Perl.
fn fips(python: &Path) -> Result<(), Failed> {
    prerequisites::install_fips()?;
    let core = |command: &'static str, rest: &[&'static str]| {
        cargo([&[command], FIPS.as_slice(), rest].concat()).env("PHIELD_PYTHON", python)
    };
    core("clippy", &["--all-targets", "--", "-D", "warnings"]).run()?;
    core("test", &[]).run()?;
    core("test", &["--lib", "interop", "--", "--ignored"]).run()
}

/// Runs one step under a heading, and says how long it took.
fn step<T>(name: &str, run: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    println!("\n=== {name}");
    let start = Instant::now();
    let result = run()?;
    println!("=== {name}: {:.1} s", start.elapsed().as_secs_f32());
    Ok(result)
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}
