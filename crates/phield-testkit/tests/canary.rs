//! The binary `canary`, as a user runs it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const VALUES: &str = "Müller-Ångström\n\n999-12-3456\nLovelace\n";

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs it with a list on standard input. Nothing that it prints may hold a value.
fn canary(list: &str, arguments: &[&str]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_canary"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let run = Run {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    for value in list.lines().filter(|value| !value.is_empty()) {
        assert!(!run.out.contains(value) && !run.err.contains(value));
    }
    run
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn says_where_and_which_but_never_what() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::create_dir(file("log")).unwrap();
    fs::write(file("log/app"), "12:00 found 999-12-3456").unwrap();
    fs::write(file("log/dump"), "\\x4C6f76656C616365").unwrap();
    fs::write(file("values"), VALUES).unwrap();
    let found = canary(VALUES, &["--values-file", "-", name(&file("log"))]);
    assert_eq!(found.code, Some(1), "{}", found.err);
    let expected = format!(
        "{0}/app: byte 12: UTF-8: the value of line 3\n{0}/dump: byte 2: hexadecimal: the value of line 4\n",
        name(&file("log"))
    );
    assert_eq!(found.out, expected);
    assert_eq!(
        found.err,
        "canary: 2 files searched for 3 values: 2 found, 0 not read\n"
    );

    // The same from a file, in several places.
    let list = file("values");
    let again = canary(
        "",
        &[
            "--values-file",
            name(&list),
            name(&file("log/app")),
            name(&file("log")),
        ],
    );
    assert_eq!((again.code, again.out.lines().count()), (Some(1), 3));
}

#[test]
fn nothing_found_is_0_and_nothing_read_is_2() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("clean");
    fs::write(&file, "Ada 999-12-3457").unwrap();
    let clean = canary(VALUES, &["--values-file", "-", name(folder.path())]);
    assert_eq!((clean.code, clean.out.as_str()), (Some(0), ""));
    assert!(clean.err.contains("1 files searched for 3 values: 0 found"));

    let missing = name(&folder.path().join("missing")).to_owned();
    let unread = canary(VALUES, &["--values-file", "-", name(&file), &missing]);
    assert_eq!(unread.code, Some(2));
    assert!(unread.err.contains(&format!("cannot read {missing}")));
    let empty = TempDir::new().unwrap();
    assert_eq!(
        canary(VALUES, &["--values-file", "-", name(empty.path())]).code,
        Some(2)
    );
    // Found is found, whatever else could not be read.
    fs::write(&file, "Lovelace").unwrap();
    assert_eq!(
        canary(VALUES, &["--values-file", "-", name(&file), &missing]).code,
        Some(1)
    );
}

#[test]
fn a_list_that_would_mislead_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("log"), "Lee").unwrap();
    let path = name(folder.path());
    let short = canary("Lovelace\nLee\n", &["--values-file", "-", path]);
    assert_eq!((short.code, short.out.as_str()), (Some(2), ""));
    assert!(
        short.err.contains("the value of line 2 has less than 5 bytes"),
        "{}",
        short.err
    );
    let taken = canary("Lovelace\nLee\n", &["--values-file", "-", "--short", path]);
    assert_eq!(taken.code, Some(1));
    assert_eq!(canary("\n\n", &["--values-file", "-", path]).code, Some(2));
    assert_eq!(
        canary("", &["--values-file", "/nowhere/at/all", path]).code,
        Some(2)
    );
    assert_eq!(canary("", &[path]).code, Some(2), "values are never arguments");
}
