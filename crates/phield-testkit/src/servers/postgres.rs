//! PostgreSQL.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::process::{Folder, Process, Program, find, run, run_with_input};

const POSTGRES: Program = Program {
    name: "PostgreSQL",
    package: "postgresql",
    user: Some("postgres"),
    stop: "INT",
    end: "QUIT",
};

/// A PostgreSQL server with an empty database.
#[derive(Debug)]
pub struct PostgresServer(Process);

impl PostgresServer {
    /// The one of this process, started by the first call. It is never stopped before the process ends.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server.
    ///
    /// # Panics
    /// When there is none on this machine, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with_settings(&[])
    }

    /// Starts a server with settings of `postgresql.conf`: `("log_statement", "all")`.
    ///
    /// # Panics
    /// When there is none on this machine, or it does not start.
    #[must_use]
    pub fn with_settings(settings: &[(&str, &str)]) -> Self {
        let (initdb, postgres) = (program("initdb"), program("postgres"));
        let folder = Folder::new(&POSTGRES);
        let mut init = folder.command(&initdb);
        init.arg("-D").arg(folder.join("data"));
        run(init.args([
            "-U",
            "phield",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]));
        // No durability: nothing of these files is kept. No socket: the path of one is limited to 107 bytes.
        let mut file = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n\
                        full_page_writes = off\n"
            .to_owned();
        for (name, value) in settings {
            writeln!(file, "{name} = '{}'", value.replace('\'', "''")).expect("text grows");
        }
        fs::OpenOptions::new()
            .append(true)
            .open(folder.join("data/postgresql.conf"))
            .and_then(|mut conf| std::io::Write::write_all(&mut conf, file.as_bytes()))
            .expect("initdb made the file");
        let command = |folder: &Folder, port: u16| {
            let mut command = folder.command(&postgres);
            command
                .arg("-D")
                .arg(folder.join("data"))
                .args(["-p", &port.to_string()]);
            command
        };
        Self(Process::start(POSTGRES, folder, command, is_ready))
    }

    /// The address of its database: `postgres://phield@127.0.0.1:…/postgres`. The user may do everything.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://phield@127.0.0.1:{}/postgres", self.0.port)
    }

    /// Where its data files are, WAL and all.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.0.folder().join("data")
    }

    /// What it logs.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.0.log_file()
    }

    /// Its process id; `None` when it is stopped.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.0.id()
    }

    /// Runs SQL with `psql`, which ends at the first error.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn run_sql(&self, sql: &str) {
        let mut psql = Command::new(program("psql"));
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.url()]);
        run_with_input(&mut psql, sql);
    }

    /// What `pg_dump` writes, as SQL.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        run(Command::new(program("pg_dump")).args(["-d", &self.url()]))
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

/// Its lock file starts with its process id, and says in the eighth line when it takes connections: `pg_ctl` waits for
/// that, too. A killed server leaves the file behind.
fn is_ready(process: &Process, id: u32) -> bool {
    let file = fs::read_to_string(process.folder().join("data/postmaster.pid")).unwrap_or_default();
    let line = |number| file.lines().nth(number).unwrap_or_default().trim();
    line(0) == id.to_string() && line(7) == "ready"
}

/// Debian puts the programs of each version into a folder of its own, and not on the path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort_by_key(|folder| version(folder));
    find(name, &POSTGRES, &folders)
}

fn version(bin: &Path) -> Option<u32> {
    bin.parent()?.file_name()?.to_str()?.parse().ok()
}
