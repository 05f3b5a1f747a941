//! What the checked macros of sqlx know of a database: the folders `.sqlx` of `tests/macros`, written by building those
//! packages against a temporary database with their schema. (`sqlx prepare` of sqlx-cli does the same, and takes minutes
//! to build.)

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::command::{Failed, cargo, task};
use crate::{root, target};

/// The packages in `tests/macros`, and the servers that they need.
const PACKAGES: [(&str, Option<&str>); 3] = [
    ("sqlite", None),
    ("postgres", Some("postgres")),
    ("mysql", Some("mariadb")),
];

/// Creates an SQLite database from a file of SQL.
const SQLITE: &str = "import sqlite3, sys\n\
    connection = sqlite3.connect(sys.argv[1])\n\
    connection.executescript(open(sys.argv[2]).read())";

/// Writes the folders anew.
pub(crate) fn write() -> Result<(), Failed> {
    for (name, server) in PACKAGES {
        let (made, committed) = (made(name, server)?, committed(name));
        if committed.exists() {
            fs::remove_dir_all(&committed).map_err(|error| unusable(&committed, &error))?;
        }
        fs::create_dir_all(&committed).map_err(|error| unusable(&committed, &error))?;
        for (file, text) in &made {
            let path = committed.join(file);
            fs::write(&path, text).map_err(|error| unusable(&path, &error))?;
        }
        println!("{}: {} queries", committed.display(), made.len());
    }
    Ok(())
}

/// Whether the folders are what they would be written as.
pub(crate) fn check() -> Result<(), Failed> {
    for (name, server) in PACKAGES {
        let folder = committed(name);
        if made(name, server)? != files(&folder)? {
            return Err(Failed(format!(
                "{} is not current; run: cargo xtask sqlx",
                folder.display()
            )));
        }
        println!("{} is current", folder.display());
    }
    Ok(())
}

fn package(name: &str) -> PathBuf {
    root().join("tests/macros").join(name)
}

fn committed(name: &str) -> PathBuf {
    package(name).join(".sqlx")
}

/// The files that the macros of a package write: name and text.
fn made(name: &str, server: Option<&str>) -> Result<BTreeMap<String, String>, Failed> {
    let folder = target().join("xtask-sqlx").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| unusable(&folder, &error))?;
    }
    let queries = folder.join("queries");
    fs::create_dir_all(&queries).map_err(|error| unusable(&queries, &error))?;
    let schema = package(name).join("schema.sql");
    let database = match server {
        None => Database::sqlite(&folder, &schema)?,
        Some(server) => Database::server(server, &schema)?,
    };
    let package = format!("phield-macro-tests-{name}");
    // What is built already would not be built again for another database.
    cargo(["clean", "--quiet", "--package", &package]).run()?;
    // With clippy, since nothing else builds phield with one database alone.
    let checked = cargo([
        "clippy",
        "--quiet",
        "--lib",
        "--package",
        &package,
        "--",
        "-D",
        "warnings",
    ])
    .env("SQLX_OFFLINE", "false")
    .env("SQLX_OFFLINE_DIR", &queries)
    .env("DATABASE_URL", &database.url);
    checked.run()?;
    database.stop()?;
    // Without the database, as everybody else builds it.
    cargo(["clean", "--quiet", "--package", &package]).run()?;
    files(&queries)
}

fn files(folder: &Path) -> Result<BTreeMap<String, String>, Failed> {
    let mut files = BTreeMap::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder).map_err(|error| unusable(folder, &error))? {
        let entry = entry.map_err(|error| unusable(folder, &error))?;
        let text = fs::read_to_string(entry.path()).map_err(|error| unusable(&entry.path(), &error))?;
        let text = format!("{}\n", text.trim_end());
        files.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Ok(files)
}

/// A database with the schema of a package.
struct Database {
    url: String,
    server: Option<Child>,
}

impl Database {
    fn sqlite(folder: &Path, schema: &Path) -> Result<Self, Failed> {
        let file = folder.join("database");
        let arguments = [
            "-c".as_ref(),
            SQLITE.as_ref(),
            file.as_os_str(),
            schema.as_os_str(),
        ];
        task("python3", arguments).run()?;
        Ok(Self {
            url: format!("sqlite:{}", file.display()),
            server: None,
        })
    }

    /// The example `server` of the testkit, which stops when its input is closed.
    fn server(name: &str, schema: &Path) -> Result<Self, Failed> {
        let schema = schema.display().to_string();
        let run = [
            "run",
            "--quiet",
            "--package",
            "phield-testkit",
            "--example",
            "server",
            "--",
            name,
        ];
        let mut server =
            cargo(run.into_iter().chain([schema.as_str()])).spawn(Stdio::piped(), Stdio::piped())?;
        let mut url = String::new();
        if let Some(output) = server.stdout.take() {
            let read = BufReader::new(output).read_line(&mut url);
            read.map_err(|error| Failed(format!("the server {name} says nothing: {error}")))?;
        }
        if url.trim().is_empty() {
            return Err(Failed(format!("the server {name} did not start")));
        }
        Ok(Self {
            url: url.trim().to_owned(),
            server: Some(server),
        })
    }

    fn stop(self) -> Result<(), Failed> {
        let Some(mut server) = self.server else {
            return Ok(());
        };
        drop(server.stdin.take());
        let ended = server.wait();
        ended
            .map(|_| ())
            .map_err(|error| Failed(format!("the server does not stop: {error}")))
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failed {
    Failed(format!("cannot use {}: {error}", path.display()))
}
