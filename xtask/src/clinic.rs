//! The example, as a new user runs it; then the independent checker opens the database that it left.

use std::fs;
use std::path::Path;

use crate::command::{Failed, cargo, task};
use crate::target;

/// The sealed columns of the example's table.
const SEALED: &str = "fhir_id,family_name,given_names,titles,other_names,ssn,mrn,licence,passport,other_identifiers,phone,\
    address,birth_date,birth_place,deceased,mothers_maiden_name";

/// Twice into the same database: the first run seals, the second opens what is there.
pub(crate) fn run(python: &Path) -> Result<(), Failed> {
    let folder = target().join("xtask-clinic");
    let unusable = |error| Failed(format!("cannot use {}: {error}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(unusable)?;
    }
    fs::create_dir_all(&folder).map_err(unusable)?;
    let database = folder.join("clinic.db");
    let (database, ring) = (database.display().to_string(), folder.join("clinic.db.ring"));
    for _ in 0..2 {
        let release = [
            "run",
            "--release",
            "--package",
            "phield-examples",
            "--example",
            "clinic",
            "--",
            "--db",
            &database,
        ];
        cargo(release).run()?;
    }
    check(python, &database, &ring)
}

/// Opens every token of the database with the Python implementation of the format.
fn check(python: &Path, database: &str, ring: &Path) -> Result<(), Failed> {
    let file = |name: &str| ring.join(name).display().to_string();
    let (manifest, key_file, passphrase) = (file("ring.phield"), file("keys.phield"), file("passphrase"));
    let pin = pin(&ring.join("phield.toml"))?;
    let arguments = [
        "tests/interop/checker.py",
        "database",
        "--app=clinic",
        "--ring=clinic-example",
        "--manifest",
        &manifest,
        "--key-file",
        &key_file,
        "--passphrase-file",
        &passphrase,
        "--ring-key",
        &pin,
        "--db",
        database,
        "--table=patients",
        "--row-id=id:uuid",
        "--columns",
        SEALED,
    ];
    task(python, arguments).run()
}

/// The pinned ring key: `ring_key = "…"`.
fn pin(config: &Path) -> Result<String, Failed> {
    let text = fs::read_to_string(config)
        .map_err(|error| Failed(format!("cannot read {}: {error}", config.display())))?;
    let pin = text
        .lines()
        .find_map(|line| line.strip_prefix("ring_key = \"")?.strip_suffix('"'));
    pin.map(str::to_owned)
        .ok_or_else(|| Failed(format!("{} pins no ring key", config.display())))
}
