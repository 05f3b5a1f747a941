//! What a process leaves of values in its memory, once it has dropped them.
//!
//! A core file is what the kernel writes when the process aborts. Where it writes none (`core_pattern` pipes it to a
//! program, or the limit cannot be raised), what is left is its memory as `/proc` shows it while it waits, which holds
//! all of a core but the registers; that is searched in any case. Registers are not: see [`search_core`].
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

use phield_canary::child::{READY, Running, search_core};
use phield_canary::{Markers, Search};
use tempfile::TempDir;

/// What phield does with values, as the process knows it.
const PARTS: [&str; 10] = [
    "deserialize",
    "seal",
    "open",
    "one column",
    "index",
    "slow index",
    "compound index",
    "batch",
    "database",
    "failing",
];

/// What the lines hold that the process is given: the random parts.
const VALUES: [&str; 4] = [
    "text: ",
    "ssn: ",
    "name, its random part: ",
    "email, its random part: ",
];

/// What was found in the memory of the process, and in its core file.
fn left(mode: &str, markers: &Markers, search: &Search) -> (Vec<String>, Option<Vec<String>>) {
    let folder = TempDir::new().unwrap();
    let mut process =
        Running::start(env!("CARGO_BIN_EXE_memory"), &[mode], folder.path(), &[markers]).unwrap();
    let said = process.line().unwrap();
    assert_eq!(
        said,
        READY,
        "{}",
        fs::read_to_string(folder.path().join("stderr")).unwrap()
    );
    let in_memory = process.search_memory(search).unwrap();
    let status = process.finish().unwrap();
    assert!(!status.success(), "it aborts");
    let core = core_file(folder.path()).map(|core| {
        let len = fs::metadata(&core).unwrap().len();
        assert!(len > 100_000, "a core file of {len} bytes");
        search_core(search, &core).unwrap()
    });
    (in_memory, core)
}

/// The core file in a folder. That there is one is asserted where the kernel is set to write it there.
fn core_file(folder: &Path) -> Option<PathBuf> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let (pattern, limits) = (pattern.trim(), fs::read_to_string("/proc/self/limits").unwrap());
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let can_be_raised = limit.contains("unlimited");
    let mut names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let core = names.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("core"));
    if pattern.starts_with("core") && can_be_raised {
        assert!(core.is_some(), "the kernel writes core files, and wrote none");
    } else if core.is_none() {
        eprintln!("no core file here (core_pattern {pattern:?}): the memory of the process was searched");
    }
    core
}

#[test]
fn nothing_is_left_of_values_that_were_dropped() {
    for part in PARTS {
        let markers = Markers::random();
        let (in_memory, core) = left(part, &markers, &Search::pieces(&markers));
        assert_eq!((in_memory, core.unwrap_or_default()), (vec![], vec![]), "{part}");
    }
}

#[test]
fn control_a_kept_value_is_found() {
    let markers = Markers::random();
    let (in_memory, core) = left("kept", &markers, &Search::pieces(&markers));
    for found in [Some(in_memory), core].into_iter().flatten() {
        for value in VALUES {
            assert!(found.iter().any(|line| line.starts_with(value)), "{value}");
        }
    }
}

/// Without erasing, a value outlives the text that it was in.
#[test]
fn control_a_freed_value_is_found() {
    let markers = Markers::random();
    let (in_memory, core) = left("freed", &markers, &Search::pieces(&markers));
    for found in [Some(in_memory), core].into_iter().flatten() {
        for value in VALUES {
            assert!(found.iter().any(|line| line.starts_with(value)), "{value}");
        }
    }
}
