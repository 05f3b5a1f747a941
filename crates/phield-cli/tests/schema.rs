//! `phield schema`, run as a person runs it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use phield_core::{Binding, ColumnKind, ColumnSchema, Dialect, Padding, Schema, SchemaFile, StorageKind};
use tempfile::TempDir;

/// As `phield::schema_test!` writes it.
const CLINIC: &str = include_str!("schema/phield.schema.json");

fn phield(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phield"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// The statements.
fn good(arguments: &[&str], folder: &Path) -> String {
    let output = phield(arguments, folder);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{arguments:?}: {stderr}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What is said of a failure; nothing else is printed.
fn bad(arguments: &[&str], folder: &Path, code: i32) -> String {
    let output = phield(arguments, folder);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    stderr
}

const DIALECTS: [(&str, Dialect, &str); 3] = [
    ("sqlite", Dialect::Sqlite, include_str!("schema/sqlite.sql")),
    ("postgres", Dialect::Postgres, include_str!("schema/postgres.sql")),
    ("mariadb", Dialect::MariaDb, include_str!("schema/mariadb.sql")),
];

#[test]
fn sql_of_every_dialect() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("phield.schema.json"), CLINIC).unwrap();
    fs::write(folder.path().join("other.json"), CLINIC).unwrap();
    for (name, dialect, expected) in DIALECTS {
        assert_eq!(
            good(&["schema", "sql", "--dialect", name], folder.path()),
            expected,
            "{name}"
        );
        let named = ["schema", "sql", "--schema", "other.json", "--dialect", name];
        assert_eq!(good(&named, folder.path()), expected);
        // The library prints the same.
        let file = SchemaFile::from_json(CLINIC).unwrap();
        assert_eq!(file.create_tables(dialect).unwrap(), expected);
    }
    // The file is as it is written.
    assert_eq!(SchemaFile::from_json(CLINIC).unwrap().to_json(), CLINIC);
}

#[test]
fn files_that_are_none() {
    let folder = TempDir::new().unwrap();
    let sql = ["schema", "sql", "--dialect", "sqlite"];
    assert_eq!(
        bad(&sql, folder.path(), 1),
        "error: cannot read phield.schema.json\n  caused by: No such file or directory (os error 2)\n"
    );
    let path = folder.path().join("phield.schema.json");
    fs::write(&path, CLINIC.replacen("\"version\": 1", "\"version\": 2", 1)).unwrap();
    assert_eq!(
        bad(&sql, folder.path(), 1),
        "error: cannot use phield.schema.json\n  \
         caused by: a schema file of version 2: this phield reads version 1; use the one that wrote it\n"
    );
    fs::write(&path, CLINIC.replacen("\"row_id\"", "\"rowid\"", 1)).unwrap();
    let error = bad(&sql, folder.path(), 1);
    assert!(
        error.contains("not a phield schema file: unknown variant `rowid`"),
        "{error}"
    );
    fs::write(
        &path,
        CLINIC.replacen("\"rust_type\": \"NaiveDate\"", "\"rust_type\": \"Moon\"", 1),
    )
    .unwrap();
    assert_eq!(
        bad(&sql, folder.path(), 1),
        "error: these columns have no type in SQLite that phield knows; give each `#[phi(sql_type = \"…\")]`:\n  \
         visits.day: Moon\n"
    );
    bad(&["schema", "sql"], folder.path(), 2);
    bad(&["schema", "sql", "--dialect", "oracle"], folder.path(), 2);
}

#[derive(clap::Parser)]
struct Embedded {
    #[command(subcommand)]
    command: phield_cli::Command,
}

/// A command line of one's own prints from the constants of its models, without a file.
#[test]
fn from_constants() {
    const COLUMNS: &[ColumnSchema] = &[ColumnSchema::new(
        "text",
        ColumnKind::sealed::<String>("text", false, Padding::Block16, StorageKind::Binary, Some(100)),
    )];
    let notes = Schema::new("notes", "notes", Binding::Unbound, COLUMNS, &[]);
    let run = |more: &[&str]| {
        let arguments = [&["phield", "schema", "sql", "--dialect", "mariadb"], more].concat();
        let Embedded { command } = clap::Parser::parse_from(arguments);
        let mut out = Vec::new();
        let mut host = phield_cli::Host::new(&mut out).with_schema(SchemaFile::of(&[notes]).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(phield_cli::run(&command, &mut host)).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        run(&[]),
        "CREATE TABLE `notes` (\n    `text` VARBINARY(173) NOT NULL -- sealed text: tokens of at most 173 bytes\n);\n"
    );
    // A file that is named goes first.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("clinic.json");
    fs::write(&path, CLINIC).unwrap();
    assert_eq!(run(&["--schema", path.to_str().unwrap()]), DIALECTS[2].2);
}
