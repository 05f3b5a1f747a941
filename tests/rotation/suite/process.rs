//! The processes that rotate.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

/// Longer than any of them takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(300);
const SIGKILL: i32 = 9;

/// When a process is killed: before its n-th write, or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KillPoint {
    pub(crate) write: u64,
    pub(crate) after: bool,
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Killed,
    Done,
}

/// The rotator, with these arguments.
pub(crate) fn rotator(arguments: &[(&str, &str)]) -> Command {
    program(env!("CARGO_BIN_EXE_rotator"), arguments)
}

/// An instance of an application, with these arguments: its input and output are pipes.
pub(crate) fn traffic(arguments: &[(&str, &str)]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_traffic"), arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

fn program(path: &str, arguments: &[(&str, &str)]) -> Command {
    let mut command = Command::new(path);
    command.args(arguments.iter().map(|(name, value)| format!("{name}={value}")));
    command.env_remove("PHIELD_PASSPHRASE_FILE");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The library that kills, in `<target>/rotation-killer/debug` beside this program.
fn killer() -> PathBuf {
    let name = "rotation-killer/debug/libphield_test_killer.so";
    let program = std::env::current_exe().unwrap();
    let found = program
        .ancestors()
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("<target>/{name} is missing: `cargo xtask rotation` builds it"))
}

/// Runs a process to its end, which is expected to be a good one.
pub(crate) async fn finish(command: &mut Command) -> Result<(), String> {
    finish_or(command, async || String::new()).await
}

/// As [`finish`]; of a process that does not end, `hung` says what its database is busy with.
pub(crate) async fn finish_or(
    command: &mut Command,
    hung: impl AsyncFnOnce() -> String,
) -> Result<(), String> {
    let child = command.spawn().map_err(|error| error.to_string())?;
    good(&output_or(child, hung).await?)
}

/// Runs a process that is killed at a write, if it comes there.
pub(crate) async fn kill_at(command: &mut Command, point: KillPoint) -> Result<Ended, String> {
    command.env("LD_PRELOAD", killer());
    command.env("PHIELD_KILL_AT", point.write.to_string());
    command.env("PHIELD_KILL_WHEN", if point.after { "after" } else { "before" });
    ended(&output(command.spawn().map_err(|error| error.to_string())?).await?)
}

/// Runs a process to its end: how many writes it makes, by name, `total` first.
pub(crate) async fn count(command: &mut Command, file: &Path) -> Result<Vec<(String, u64)>, String> {
    command.env("LD_PRELOAD", killer()).env("PHIELD_KILL_TOTAL", file);
    finish(command).await?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("no total: {error}"))?;
    let line = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines()
        .map(line)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("no total: {text}"))
}

/// As [`finish`], of a process that runs already.
pub(crate) async fn wait(child: Child) -> Result<(), String> {
    good(&output(child).await?)
}

fn good(output: &Output) -> Result<(), String> {
    match ended(output)? {
        Ended::Done => Ok(()),
        Ended::Killed => Err("it was killed".to_owned()),
    }
}

/// Kills a process.
pub(crate) fn kill(id: u32) {
    let status = std::process::Command::new("kill")
        .args(["-KILL", &id.to_string()])
        .status();
    assert!(status.unwrap().success());
}

async fn output(child: Child) -> Result<Output, String> {
    output_or(child, async || String::new()).await
}

async fn output_or(child: Child, hung: impl AsyncFnOnce() -> String) -> Result<Output, String> {
    let id = child.id();
    // It is killed by the drop of this: first it is looked at.
    let mut output = std::pin::pin!(child.wait_with_output());
    match tokio::time::timeout(PATIENCE, &mut output).await {
        Ok(output) => output.map_err(|error| error.to_string()),
        Err(_) => {
            let threads = id.map(threads).unwrap_or_default();
            Err(format!(
                "it does not end; its threads:\n{threads}{}",
                hung().await
            ))
        }
    }
}

/// What the threads of a process wait for, by the names of the kernel.
fn threads(id: u32) -> String {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let folders = std::fs::read_dir(format!("/proc/{id}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let thread = |folder: std::fs::DirEntry| {
        let [name, waits, call] = ["comm", "wchan", "syscall"].map(|file| read(&folder.path().join(file)));
        format!("{name}: {waits}, {call}\n")
    };
    folders.map(thread).collect()
}

fn ended(output: &Output) -> Result<Ended, String> {
    match (output.status.success(), output.status.signal()) {
        (true, _) => Ok(Ended::Done),
        (_, Some(SIGKILL)) => Ok(Ended::Killed),
        _ => Err(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
