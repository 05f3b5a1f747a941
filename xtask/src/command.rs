//! Child processes, run at the root of the repository.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Child, Command, Stdio};

use crate::root;

/// Why a task stopped: one sentence for the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command that is printed when it fails.
pub(crate) struct Task(Command);

/// The cargo that runs this. The checked macros of sqlx read what is committed, whatever database is configured here.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Task {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    task(program, arguments).env("SQLX_OFFLINE", "true")
}

/// Any program.
pub(crate) fn task<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Task {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    Task(command)
}

impl Task {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it with its output shown.
    pub(crate) fn run(mut self) -> Result<(), Failed> {
        match self.0.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failed(format!("{status}: {}", self.line()))),
            Err(error) => Err(Failed(format!("cannot run {}: {error}", self.line()))),
        }
    }

    /// Starts it.
    pub(crate) fn spawn(mut self, input: Stdio, output: Stdio) -> Result<Child, Failed> {
        let child = self.0.stdin(input).stdout(output).spawn();
        child.map_err(|error| Failed(format!("cannot run {}: {error}", self.line())))
    }

    /// What it prints, if it succeeds.
    pub(crate) fn output(mut self) -> Option<String> {
        let output = self.0.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether it succeeds; its output is not shown.
    pub(crate) fn succeeds(mut self) -> bool {
        let quiet = self
            .0
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    /// As one would type it, with the variables that were set.
    fn line(&self) -> String {
        let variables = self.0.get_envs().filter_map(|(name, value)| {
            let (name, value) = (name.to_string_lossy(), value?.to_string_lossy());
            Some(format!("{name}={}", quoted(&value)))
        });
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        variables
            .chain(words.map(|word| quoted(&word.to_string_lossy())))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn quoted(word: &str) -> String {
    if word.contains(' ') {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

/// Whether a program is on the path.
pub(crate) fn exists(program: &str) -> bool {
    task(program, ["--version"]).succeeds()
}
