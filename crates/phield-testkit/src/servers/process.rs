//! A server process in a folder of its own, and the shell that outlives the tests to end it.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start or stop, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many free ports are tried: another process can take one first.
const PORTS: usize = 5;

/// How often a server that was killed is started again.
const RESTARTS: usize = 50;

/// What tells one server program from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    /// The Debian package, for the message when it is missing.
    pub(super) package: &'static str,
    /// Who runs it when the tests run as root, if not root.
    pub(super) user: Option<&'static str>,
    /// The signal that stops it in an orderly way.
    pub(super) stop: &'static str,
    /// The signal that stops it at once, and leaves nothing behind outside its folder.
    pub(super) end: &'static str,
}

/// The folder of a server. Removed by its [`Supervisor`].
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    supervisor: Supervisor,
    /// User and group that the server runs as, if not those of the tests.
    owner: Option<(u32, u32)>,
}

impl Folder {
    pub(super) fn new(program: &Program) -> Self {
        let prefix = format!("phield-{}-", program.name.to_lowercase());
        let path = TempDir::with_prefix(prefix)
            .expect("a temporary directory")
            .keep();
        let user_of = |name| (user(program, name, "-u"), user(program, name, "-g"));
        let owner = program.user.filter(|_| is_root()).map(user_of);
        if let Some((user, group)) = owner {
            chown(&path, Some(user), Some(group)).expect("root gives folders away");
        }
        let supervisor = Supervisor::start(&path, program.end);
        Self {
            path,
            supervisor,
            owner,
        }
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A program that runs in the folder, as its owner.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.path).stdin(Stdio::null());
        // A MariaDB server that starts removes the temporary tables that it finds, of other servers, too.
        command.env("TMPDIR", &self.path);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    /// Writes a file that the server can read.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).expect("the temporary directory is writable");
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group)).expect("root gives files away");
        }
        path
    }
}

/// Whether the server with this process id takes connections.
type Ready = fn(&Process, u32) -> bool;

/// A server that runs, or has been stopped.
#[derive(Debug)]
pub(super) struct Process {
    program: Program,
    folder: Folder,
    command: Command,
    child: Option<Child>,
    ready: Ready,
    pub(super) port: u16,
}

impl Process {
    /// Starts a server on a free port; `command` makes its command line.
    pub(super) fn start(
        program: Program,
        folder: Folder,
        command: impl Fn(&Folder, u16) -> Command,
        ready: Ready,
    ) -> Self {
        let mut process = Self {
            program,
            command: Command::new(""),
            child: None,
            ready,
            port: 0,
            folder,
        };
        for _ in 0..PORTS {
            process.port = free_port();
            process.command = command(&process.folder, process.port);
            if process.spawn() {
                return process;
            }
        }
        process.did_not_start()
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it; whether it became ready.
    fn spawn(&mut self) -> bool {
        let log = || {
            File::options()
                .create(true)
                .append(true)
                .open(self.folder.join("log"))
                .expect("the temporary directory is writable")
        };
        // A group of its own: Ctrl-C is for the tests, and the supervisor ends the server after them.
        let command = self.command.stdout(log()).stderr(log()).process_group(0);
        let mut child = command.spawn().expect("a program that was found runs");
        self.folder.supervisor.watch(Some(child.id()));
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if child.try_wait().expect("a child can be waited for").is_some() {
                self.folder.supervisor.watch(None);
                return false;
            }
            if (self.ready)(self, child.id()) {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
        false
    }

    fn did_not_start(&self) -> ! {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(20).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        fail(&format!(
            "{} did not start; the end of its log:\n{}",
            self.program.name,
            tail.join("\n")
        ))
    }

    pub(super) fn stop(&mut self) {
        self.end_by(self.program.stop);
    }

    pub(super) fn kill(&mut self) {
        self.end_by("KILL");
    }

    fn end_by(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let id = child.id().to_string();
        let kill = Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$2\"", "sh", signal, &id])
            .status();
        assert!(
            kill.is_ok_and(|status| status.success()),
            "the server ended before it was told to"
        );
        child.wait().expect("a child can be waited for");
        self.folder.supervisor.watch(None);
    }

    /// Starts it again, on the same port and files.
    pub(super) fn restart(&mut self) {
        self.stop();
        // The children of a killed PostgreSQL notice it soon, and until then no other server takes its folder.
        for _ in 0..RESTARTS {
            if self.spawn() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.did_not_start()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The supervisor ends the server. A child that nobody waits for stays as a zombie, and looks alive to it.
        drop(self.folder.supervisor.pipe.take());
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// A shell that waits for the end of this process, then ends the server and removes its folder.
#[derive(Debug)]
struct Supervisor {
    shell: Child,
    pipe: Option<ChildStdin>,
}

/// Reads the process id of the server, an empty line when there is none, until the pipe is closed.
const SUPERVISE: &str = r#"
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -"$2" "$pid"
    waited=0
    while kill -0 "$pid" && [ "$waited" -lt 100 ]; do sleep 0.1; waited=$((waited + 1)); done
    kill -KILL "$pid"
fi
rm -rf "$1"
"#;

impl Supervisor {
    fn start(folder: &Path, signal: &str) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SUPERVISE, "sh"])
            .arg(folder)
            .arg(signal)
            .stdin(Stdio::piped());
        // In a group of its own, so that Ctrl-C does not end it before its work.
        shell.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell = shell.spawn().expect("there is a shell");
        let pipe = shell.stdin.take();
        Self { shell, pipe }
    }

    fn watch(&mut self, id: Option<u32>) {
        let line = id.map_or_else(String::new, |id| id.to_string());
        let pipe = self.pipe.as_mut().expect("the pipe is open until the drop");
        writeln!(pipe, "{line}").expect("the supervisor reads");
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}

/// A program on the path or in one of some folders, the last of which is preferred.
pub(super) fn find(name: &str, program: &Program, folders: &[PathBuf]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file())
        .last();
    found.unwrap_or_else(|| {
        fail(&format!(
            "these tests need a {} server, and there is no `{name}`: as root, `apt-get install {}`",
            program.name, program.package
        ))
    })
}

/// Runs a program to its end.
pub(super) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output();
    finish(command, output)
}

/// Runs a program to its end, and gives it its input.
pub(super) fn run_with_input(command: &mut Command, input: &str) {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = child.and_then(|mut child| {
        let mut stdin = child.stdin.take().expect("the input is a pipe");
        // A program that reads no further says why on its own.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output()
    });
    finish(command, output);
}

fn finish(command: &Command, output: std::io::Result<Output>) -> Vec<u8> {
    match output {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => fail(&format!(
            "{command:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => fail(&format!("{command:?}: {error}")),
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// The owner of this process's own entry is who runs it.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The number of the user that a server runs as, or of the user's group.
fn user(program: &Program, name: &str, which: &str) -> u32 {
    let output = Command::new("id").args([which, name]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        fail(&format!(
            "there is no user `{name}` to run {} as: as root, `apt-get install {}`",
            program.name, program.package
        ))
    })
}

#[allow(clippy::panic, reason = "a test cannot go on without its server")]
pub(super) fn fail(why: &str) -> ! {
    panic!("{why}")
}
