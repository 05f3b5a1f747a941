//! Memory is kept out of swap where that is allowed, and a limit on it is never an outage.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use phield_core::protect_memory;

const CHILD: &str = "PHIELD_TEST_MEMORY";
/// Of any Debian; it may lock 8 MiB at most.
const NOBODY: u32 = 65_534;
/// Far more than such a limit.
const LATER: usize = 256 << 20;

fn locked_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let locked = status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:"))
        .unwrap();
    locked.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// Does nothing by itself: the other test starts it as a process of its own.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let protection = protect_memory();
    assert!(protection.is_undumpable);
    assert_eq!(protection.is_locked, locked_kib() > 0);
    // Whatever was locked: memory that is wanted later is there.
    let later = vec![1_u8; LATER];
    assert_eq!(later.iter().map(|byte| usize::from(*byte)).sum::<usize>(), LATER);
    println!("{protection:?}, {} KiB locked", locked_kib());
}

fn run(as_nobody: bool) -> String {
    // Nobody may not read where the tests were built.
    let program = tempfile::Builder::new()
        .prefix("phield-memory-")
        .tempdir_in("/tmp")
        .unwrap();
    let copy = program.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut open = fs::metadata(program.path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o755);
    fs::set_permissions(program.path(), open).unwrap();
    let mut command = Command::new(&copy);
    command
        .args(["--exact", "memory::child", "--nocapture"])
        .env(CHILD, "1")
        .current_dir("/");
    if as_nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn memory_is_locked_where_it_may_be_and_a_limit_is_no_outage() {
    println!("{}", run(false));
    if is_root() {
        let limited = run(true);
        println!("{limited}");
        assert!(limited.contains("is_undumpable: true"));
    }
}

/// Only root starts a process as somebody else.
fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0
}
