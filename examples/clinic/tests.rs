//! Runs the example as a user would, in a process of its own, and reads what it prints.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Stands in values that no message may repeat.
const SECRET: &str = "Xylander";

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// The example, which Cargo builds beside the tests.
fn clinic(arguments: &[&str]) -> Run {
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples").join("clinic");
    assert!(
        example.exists(),
        "{} is missing: `cargo test -p phield-examples` builds it",
        example.display()
    );
    let output = Command::new(example)
        .arg("--fast")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

impl Run {
    fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// What it said when it failed: one line, without anything secret.
    fn failed(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        assert!(!self.err.contains(SECRET), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        self.err
    }
}

/// Found and searched values of the scan of one database.
fn scanned(screen: &str, database: &str) -> (usize, usize) {
    let line = screen
        .lines()
        .find(|line| line.trim_start().starts_with(database))
        .expect(screen);
    let numbers = line.replace(',', "");
    let mut numbers = numbers.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Asserts that nothing was found in the sealed database and everything in the control, and returns how much that was.
fn assert_scan(screen: &str) -> usize {
    let (found, searched) = scanned(screen, "plaintext control");
    assert_eq!(found, searched, "{screen}");
    assert_eq!(scanned(screen, "sealed database"), (0, searched), "{screen}");
    searched
}

/// A folder for one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, lines: &[&str]) -> String {
        fs::write(self.path(name), lines.join("\n")).unwrap();
        self.name(name)
    }
}

fn patient(family: &str, ssn: &str) -> String {
    format!(
        r#"{{"resourceType":"Patient","name":[{{"family":"{family}","given":["Anna"]}}],"gender":"female",
        "identifier":[{{"system":"http://hl7.org/fhir/sid/us-ssn","value":"{ssn}"}}],"birthDate":"1980-02-29"}}"#
    )
    .replace('\n', "")
}

#[test]
fn the_bundled_patients_are_unreadable_in_the_file() {
    // In one run of some thousand, random bytes hold a value of five bytes by chance; never twice.
    let screens = [clinic(&[]).ok(), clinic(&[]).ok()];
    let screen = screens
        .iter()
        .find(|screen| scanned(screen, "sealed database").0 == 0)
        .unwrap_or(&screens[0]);
    assert!(assert_scan(screen) > 2000);
    assert!(
        screen.starts_with("240 patients of the bundled file\n"),
        "{screen}"
    );
    assert!(
        screen.contains("each equal to its record in the input"),
        "{screen}"
    );
    assert!(screen.contains("A patient, found by SSN"), "{screen}");
    assert!(
        screen.lines().count() <= 40 && screen.lines().all(|line| line.chars().count() <= 110),
        "{screen}"
    );
}

#[test]
fn a_kept_database_is_opened_again() {
    let folder = Folder::new();
    let (db, ring) = (folder.name("clinic.db"), folder.path("clinic.db.ring"));
    let first = clinic(&["--db", &db]).ok();
    assert!(first.contains("sealed and stored"), "{first}");
    assert_eq!(fs::metadata(&ring).unwrap().permissions().mode() & 0o777, 0o700);
    for file in [
        "phield.toml",
        "keys.phield",
        "passphrase",
        "ring.phield",
        "epoch.witness",
    ] {
        assert!(ring.join(file).exists(), "{file}");
    }
    let second = clinic(&["--db", &db]).ok();
    assert!(
        second.starts_with("240 patients found in ") && !second.contains("stored"),
        "{second}"
    );
    assert_eq!(
        scanned(&second, "plaintext control"),
        scanned(&first, "plaintext control")
    );
    let table = |screen: &str| {
        screen
            .lines()
            .filter(|line| line.starts_with("  ssn"))
            .collect::<String>()
    };
    assert_eq!(table(&first), table(&second));

    let other = folder.write("other.ndjson", &[&patient("Aldous", "999-12-3456")]);
    let third = clinic(&["--db", &db, "--input", &other]).ok();
    assert!(
        third.contains("made from another input") && !third.contains("sealed database"),
        "{third}"
    );
}

#[test]
fn half_of_a_place_is_refused() {
    let folder = Folder::new();
    let db = folder.name("clinic.db");
    fs::create_dir(folder.path("clinic.db.ring")).unwrap();
    assert!(clinic(&["--db", &db]).failed().contains("its database"));
    assert!(!Path::new(&db).exists());
    fs::remove_dir(folder.path("clinic.db.ring")).unwrap();
    fs::write(&db, "").unwrap();
    assert!(clinic(&["--db", &db]).failed().contains("its key ring"));
}

#[test]
fn a_malformed_line_is_named_and_nothing_is_made() {
    let folder = Folder::new();
    let (db, good) = (folder.name("clinic.db"), patient(SECRET, "999-12-3456"));
    let bad = [
        (&good[..good.len() - 1], "the JSON ends too early"),
        (&good[..good.len() - 9], "line 4, column"),
        (&format!("{good} {SECRET}"), "not valid JSON"),
        (
            &good.replace(r#""female""#, &format!(r#"["{SECRET}"]"#)),
            "not in the form of a Patient",
        ),
        (
            &good.replace(r#""1980-02-29""#, r#"{"Xylander":"Xylander"}"#),
            "not in the form of a Patient",
        ),
        (&good.replace("Patient", SECRET), "not a Patient resource"),
    ];
    for (bad, problem) in bad {
        let input = folder.write("bad.ndjson", &[&good, "", &good, bad, &good]);
        let message = clinic(&["--db", &db, "--input", &input]).failed();
        assert!(
            message.starts_with("error: line 4") && message.contains(problem),
            "{message}"
        );
        assert!(!Path::new(&db).exists() && !folder.path("clinic.db.ring").exists());
    }
    fs::write(folder.path("bad.ndjson"), b"{\"resourceType\":\"\xff\xfe\"}").unwrap();
    assert!(
        clinic(&["--input", &folder.name("bad.ndjson")])
            .failed()
            .starts_with("error: line 1, column")
    );
    assert!(
        clinic(&["--input", &folder.name("none.ndjson")])
            .failed()
            .contains("cannot read")
    );
}

#[test]
fn a_value_over_the_limit_is_refused_before_anything_is_stored() {
    let folder = Folder::new();
    let (db, limit) = (folder.name("clinic.db"), 1 << 20);
    let good = patient("Aldous", "999-12-3456");
    let too_long = patient(&SECRET.repeat(limit / SECRET.len() + 1), "999-12-3456");
    let input = folder.write("long.ndjson", &[&good, &too_long, &good]);
    let message = clinic(&["--db", &db, "--input", &input]).failed();
    assert!(message.starts_with("error: line 2: "), "{message}");
    assert!(message.contains("longer than the value limit"), "{message}");

    // The next run finds an empty table and imports. A value at the limit fits; the control splits it over pages.
    let longest = patient(&SECRET.repeat(limit / SECRET.len()), "999-12-3456");
    let input = folder.write("longest.ndjson", &[&good, &longest]);
    let screen = clinic(&["--db", &db, "--input", &input]).ok();
    assert!(screen.starts_with("2 patients of "), "{screen}");
    assert!(
        screen.contains("A patient (the first of 2), found by SSN"),
        "{screen}"
    );
    let (found, searched) = scanned(&screen, "plaintext control");
    assert_eq!(
        (found + 1, screen.contains("split over several pages")),
        (searched, true),
        "{screen}"
    );
    assert_eq!(scanned(&screen, "sealed database").0, 0, "{screen}");
}

#[test]
fn nothing_of_a_rich_record_is_lost() {
    let rich = r#"{"resourceType":"Patient","id":"fhir-0001","extension":[{"url":"x","valueDecimal":0.5},
        {"url":"http://hl7.org/fhir/StructureDefinition/patient-birthPlace","valueAddress":{"city":"Kleinberg"}}],
        "identifier":[{"type":{"coding":[{"code":"MR"}]},"value":"MRN-1"},{"type":{"coding":[{"code":"MR"}]},
        "system":"urn:b","value":"MRN-2"},{"type":{"coding":[{"code":"SS"}]},"value":"900-01-0001"},
        {"system":"http://hl7.org/fhir/sid/us-ssn","value":"900-01-0002"},{"value":"bare"}],
        "name":[{"use":"maiden","family":"Formerly"},{"use":"official","family":"Female","given":[null,"Ann\nA"],
        "prefix":["Dr."],"suffix":["Jr."],"_given":[{"id":"a"}]}],"telecom":[{"value":"555-0100"},{"value":"a@b.example"}],
        "address":[{"line":["1 Elm"],"city":"Saxony City","state":"Saxony"},{"text":"Somewhere else"}],
        "gender":"Female","deceasedBoolean":true,"photo":[{"title":"ignored"}]}"#;
    let folder = Folder::new();
    let poor = r#"{"resourceType":"Patient"}"#;
    let input = folder.write("rich.ndjson", &["\u{feff}", poor, &rich.replace('\n', ""), "\r"]);
    let screen = clinic(&["--input", &input, "--find", "900010001"]).ok();
    let rows = [
        ("fhir_id", "fhir-0001"),
        ("family_name", "Female"),
        ("given_names", "Ann / A"),
        ("titles", "Dr. Jr."),
        ("other_names", "Formerly"),
        ("ssn", "900-01-0001"),
        ("mrn", "MRN-1"),
        ("other_identifiers", "urn:b|MRN-2 / http://hl7.org/fhir/si.."),
        ("phone", "555-0100 / a@b.example"),
        ("address", "1 Elm, Saxony City, Saxony / Somewhe.."),
        ("birth_place", "Kleinberg"),
        ("deceased", "true"),
        ("state", "Saxony"),
    ];
    for (column, value) in rows {
        let line = screen
            .lines()
            .find(|line| line.starts_with(&format!("  {column} ")))
            .expect(&screen);
        assert!(line[26..].starts_with(&format!("{value} ")), "{column}: {line}");
    }
    assert!(screen.contains("(2 more also stand in plain columns"), "{screen}");
    assert_eq!(assert_scan(&screen), 14, "{screen}");
    assert!(
        clinic(&["--input", &input, "--find", "1"])
            .ok()
            .contains("No patient has this SSN")
    );
    let nobody = folder.write("poor.ndjson", &[poor]);
    assert!(
        clinic(&["--input", &nobody])
            .ok()
            .contains("No patient has an SSN")
    );
}
