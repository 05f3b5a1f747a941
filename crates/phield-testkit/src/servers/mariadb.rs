//! MariaDB.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::{Folder, Process, Program, find, run, run_with_input};

const MARIADB: Program = Program {
    name: "MariaDB",
    package: "mariadb-server",
    user: Some("mysql"),
    stop: "TERM",
    end: "KILL",
};

/// A MariaDB server with an empty database, `phield`.
#[derive(Debug)]
pub struct MariaDbServer(Process);

impl MariaDbServer {
    /// The one of this process, started by the first call. It is never stopped before the process ends.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDbServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server.
    ///
    /// # Panics
    /// When there is none on this machine, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with_options(&[])
    }

    /// Starts a server with options of `mariadbd`: `--general-log`. Files are relative to [`data_dir`](Self::data_dir).
    ///
    /// # Panics
    /// When there is none on this machine, or it does not start.
    #[must_use]
    pub fn with_options(options: &[&str]) -> Self {
        let (install, mariadbd) = (program("mariadb-install-db"), program("mariadbd"));
        let folder = Folder::new(&MARIADB);
        let mut init = folder.command(&install);
        init.args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]);
        init.arg(format!("--datadir={}", folder.join("data").display()));
        run(&mut init);
        let first = "CREATE DATABASE IF NOT EXISTS phield;\n";
        let first = folder.write("init.sql", first);
        let command = |folder: &Folder, port: u16| {
            let mut command = folder.command(&mariadbd);
            command.arg("--no-defaults");
            command.arg(format!("--datadir={}", folder.join("data").display()));
            command.arg(format!("--init-file={}", first.display()));
            // Relative to the data folder: the path of a socket is limited to 107 bytes. A commit is written to the
            // log at once, so that it survives `kill`, but not flushed to the disk.
            command.args([
                "--socket=socket",
                "--pid-file=pid",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
            ]);
            command.args([
                "--innodb-flush-log-at-trx-commit=2",
                "--character-set-server=utf8mb4",
            ]);
            command.arg(format!("--port={port}")).args(options);
            command
        };
        Self(Process::start(MARIADB, folder, command, is_ready))
    }

    /// The address of its database: `mysql://root@127.0.0.1:…/phield`. The user may do everything.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/phield", self.0.port)
    }

    /// Where its data files are, logs of InnoDB and all.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.0.folder().join("data")
    }

    /// What it logs: errors, unless options say more. The general log is a file in [`data_dir`](Self::data_dir).
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.0.log_file()
    }

    /// Its process id; `None` when it is stopped.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.0.id()
    }

    /// Runs SQL with the client `mariadb`, which ends at the first error.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn run_sql(&self, sql: &str) {
        run_with_input(self.client("mariadb").arg("phield"), sql);
    }

    /// What `mariadb-dump` writes of every database, as SQL.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        run(self.client("mariadb-dump").arg("--all-databases"))
    }

    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.args(["--no-defaults", "--host=127.0.0.1", "--user=root"]);
        command.arg(format!("--port={}", self.0.port));
        command
    }

    /// Stops it in an orderly way; connections are closed. Its files stay until it is dropped.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Kills it (SIGKILL): connections break, nothing is tidied.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again, stopping it before if it runs: the same address, the same files.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.0.restart();
    }
}

/// It greets whoever connects once it takes queries; before, it listens in silence.
fn is_ready(process: &Process, _: u32) -> bool {
    let Ok(mut connection) = TcpStream::connect((Ipv4Addr::LOCALHOST, process.port)) else {
        return false;
    };
    let waited = connection.set_read_timeout(Some(Duration::from_secs(5)));
    waited.is_ok() && connection.read_exact(&mut [0]).is_ok()
}

fn program(name: &str) -> PathBuf {
    find(
        name,
        &MARIADB,
        &["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from),
    )
}
