//! Every fuzz harness for five seconds, from a copy of its committed corpus.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Failed, Task, cargo, task};
use crate::{root, target};

const VERSION: &str = "0.13.2";
/// How long each harness runs, and the longest input that it makes: a corpus file is at most as long.
const RUN: [&str; 2] = ["-max_total_time=5", "-max_len=4096"];

/// Builds all harnesses, then runs each. Nothing is written into `fuzz/corpus`; what fails is kept in the target folder.
pub(crate) fn smoke() -> Result<(), Failed> {
    let fuzzer = Fuzzer::find()?;
    fuzzer.task(["build"]).run()?;
    let harnesses = names(&root().join("fuzz/fuzz_targets"))?;
    for harness in harnesses.iter().filter_map(|name| name.strip_suffix(".rs")) {
        println!("--- {harness}");
        run(&fuzzer, harness)?;
    }
    Ok(())
}

fn run(fuzzer: &Fuzzer, harness: &str) -> Result<(), Failed> {
    let scratch = target().join("fuzz-smoke").join(harness);
    let (corpus, artifacts) = (scratch.join("corpus"), scratch.join("artifacts"));
    if scratch.exists() {
        fs::remove_dir_all(&scratch).map_err(|error| unusable(&scratch, &error))?;
    }
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
    }
    let committed = root().join("fuzz/corpus").join(harness);
    for name in names(&committed)? {
        fs::copy(committed.join(&name), corpus.join(&name)).map_err(|error| unusable(&committed, &error))?;
    }
    let corpus = corpus.display().to_string();
    let prefix = format!("-artifact_prefix={}/", artifacts.display());
    let quiet = ["-verbosity=0", "-print_final_stats=1"];
    let arguments = ["run", harness, &corpus, "--", &prefix]
        .into_iter()
        .chain(RUN)
        .chain(quiet);
    fuzzer.task(arguments).run().map_err(|Failed(why)| {
        let failing = names(&artifacts).unwrap_or_default();
        let failing = failing
            .iter()
            .map(|name| format!("\n    {}", artifacts.join(name).display()));
        Failed(format!(
            "the harness {harness} failed ({why}); its failing input:{}",
            failing.collect::<String>()
        ))
    })
}

/// cargo-fuzz, and the toolchain that it runs on.
struct Fuzzer {
    program: PathBuf,
    toolchain: Option<String>,
}

impl Fuzzer {
    /// Finds both. cargo-fuzz is installed into the target folder when the machine does not have this version of it;
    /// a toolchain never is: without a nightly one, stable with its unstable flags does.
    fn find() -> Result<Self, Failed> {
        let toolchain = task("rustup", ["toolchain", "list"])
            .output()
            .and_then(|list| list.lines().find_map(nightly));
        let program = PathBuf::from("cargo-fuzz");
        if is_wanted(&program) {
            return Ok(Self { program, toolchain });
        }
        let tools = target().join("tools");
        let program = tools.join("bin/cargo-fuzz");
        if !is_wanted(&program) {
            let tools = tools.display().to_string();
            cargo([
                "install",
                "cargo-fuzz",
                "--locked",
                "--version",
                VERSION,
                "--root",
                &tools,
            ])
            .run()?;
        }
        Ok(Self { program, toolchain })
    }

    /// `cargo fuzz …`, without a sanitizer: phield's own code has no `unsafe` and the harnesses are built without C, so
    /// AddressSanitizer would have next to nothing to find; it slows builds and runs, and asks for a nightly toolchain.
    fn task<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Task {
        let build = target().join("fuzz").display().to_string();
        let mut arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        arguments.splice(
            1..1,
            ["--sanitizer=none".to_owned(), format!("--target-dir={build}")],
        );
        let task = task(&self.program, std::iter::once("fuzz".to_owned()).chain(arguments));
        match &self.toolchain {
            Some(nightly) => task.env("RUSTUP_TOOLCHAIN", nightly),
            None => task.env("RUSTC_BOOTSTRAP", "1"),
        }
    }
}

fn is_wanted(program: &Path) -> bool {
    let version = task(program, ["fuzz", "--version"]).output();
    version.is_some_and(|version| version.trim().ends_with(VERSION))
}

/// The name of a nightly toolchain in a line of `rustup toolchain list`.
fn nightly(line: &str) -> Option<String> {
    let name = line.split_whitespace().next()?;
    name.starts_with("nightly").then(|| name.to_owned())
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, Failed> {
    let entries = fs::read_dir(folder).map_err(|error| unusable(folder, &error))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(folder, &error))?;
    names.sort();
    Ok(names)
}

fn unusable(path: &Path, error: &std::io::Error) -> Failed {
    Failed(format!("cannot use {}: {error}", path.display()))
}
