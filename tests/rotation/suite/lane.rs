//! A database and a ring for one rotation at a time, put back before each.

use std::fs;
use std::path::{Path, PathBuf};

use phield::RingSettings;
use phield_testkit::TestRing;
use tempfile::TempDir;

/// The files of a ring that a process is given: with those that a killed one leaves behind, they are all of its folder.
fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What a number of lanes start from: a ring, and its rows in a database.
pub(crate) struct Start {
    pub(crate) ring: TestRing,
    pub(crate) folder: TempDir,
}

impl Start {
    pub(crate) fn new() -> Self {
        Self {
            ring: TestRing::new("emr"),
            folder: TempDir::with_prefix("phield-rotation-").unwrap(),
        }
    }

    pub(crate) fn settings(&self) -> &RingSettings {
        &self.ring.ring().settings
    }

    /// A fresh copy of the ring.
    pub(crate) fn copy_ring(&self, lane: &str) -> PathBuf {
        let folder = self.folder.path().join(format!("ring-{lane}"));
        copy_folder(self.ring.folder(), &folder);
        folder
    }
}

pub(crate) mod sqlite {
    use super::{Path, PathBuf, fs};

    /// What a server keeps; here nothing.
    #[derive(Debug)]
    pub(crate) struct Server;

    pub(crate) fn server() -> &'static Server {
        &Server
    }

    fn file(folder: &Path, lane: &str) -> PathBuf {
        folder.join(format!("{lane}.db"))
    }

    /// An empty database.
    pub(crate) async fn url(_: &Server, folder: &Path, lane: &str) -> String {
        format!("sqlite://{}?mode=rwc", file(folder, lane).display())
    }

    /// There is no server that still works for a process that is dead.
    pub(crate) const OTHERS: Option<&str> = None;

    /// Nobody can be asked.
    pub(crate) const ACTIVITY: Option<&str> = None;

    /// Whether a lane is put back by copying the file of another: then that is done.
    pub(crate) fn copy(folder: &Path, from: &str, to: &str) -> bool {
        for left in ["db-journal", "db-wal", "db-shm"] {
            let _ = fs::remove_file(file(folder, to).with_extension(left));
        }
        fs::copy(file(folder, from), file(folder, to)).unwrap();
        true
    }
}

macro_rules! on_server {
    ($database:ident $server:ident $options:ty, $others:literal, $activity:literal) => {
        pub(crate) mod $database {
            use std::sync::atomic::{AtomicUsize, Ordering};

            use phield_testkit::servers::$server;
            use sqlx::{AssertSqlSafe, ConnectOptions as _};

            use super::Path;

            pub(crate) type Server = $server;

            pub(crate) fn server() -> &'static Server {
                $server::shared()
            }

            /// An empty database of its own.
            pub(crate) async fn url(server: &Server, _: &Path, lane: &str) -> String {
                static NEXT: AtomicUsize = AtomicUsize::new(1);
                let name = format!("{lane}{}", NEXT.fetch_add(1, Ordering::Relaxed));
                let options: $options = server.url().parse().unwrap();
                let mut connection = options.connect().await.unwrap();
                let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
                sqlx::query(create).execute(&mut connection).await.unwrap();
                let url = server.url();
                let (server, _) = url.rsplit_once('/').unwrap();
                format!("{server}/{name}")
            }

            /// Counts the connections of other processes to the database of this one.
            pub(crate) const OTHERS: Option<&str> = Some($others);

            /// What every connection does, in lines.
            pub(crate) const ACTIVITY: Option<&str> = Some($activity);

            /// A server's tables are put back by statements.
            pub(crate) fn copy(_: &Path, _: &str, _: &str) -> bool {
                false
            }
        }
    };
}

on_server!(
    postgres PostgresServer sqlx::postgres::PgConnectOptions,
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
     AND pid <> pg_backend_pid()",
    "SELECT concat_ws(' ', pid, datname, state, wait_event, query) FROM pg_stat_activity"
);
on_server!(
    mariadb MariaDbServer sqlx::mysql::MySqlConnectOptions,
    "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
    "SELECT CAST(concat_ws(' ', id, db, command, time, state, info) AS CHAR) FROM information_schema.processlist"
);
