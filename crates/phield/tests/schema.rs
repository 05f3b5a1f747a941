//! The schema file of an application, kept current by `schema_test!`; and its SQL, in SQLite.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]
#![cfg(all(feature = "derive", feature = "chrono", feature = "sqlx-sqlite"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use phield::__private::schema_test;
use phield::sqlx::insert;
use phield::{AppName, Dialect, EncryptedPhi, Keyring, Phi, PhiValue, Schema, SchemaFile};
use sqlx::SqlitePool;
use tempfile::TempDir;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, PhiValue)]
enum HivStatus {
    Positive,
    Negative,
    NotTested,
}

/// Every plain type that SQLite has, and every kind of sealed column.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "patients",
    index(name = "family_birth", on(family = "name", birth = "date"))
)]
struct Patient {
    #[phi(row_id)]
    id: Uuid,
    family: Phi<String>,
    birth: Phi<NaiveDate>,
    #[phi(index(normalize = "ssn"))]
    ssn: Option<Phi<String>>,
    #[phi(store = "text", pad = "padme(256)")]
    note: Phi<String>,
    weight: Phi<Option<f64>>,
    #[phi(index(normalize = "exact", bits = 1, leaks_equality))]
    hiv: Phi<HivStatus>,
    seen: Option<Phi<DateTime<Utc>>>,
    order: bool, // a reserved word
    tiny: i8,
    short: i16,
    int: i32,
    long: i64,
    byte: u8,
    word: u16,
    dword: u32,
    single: f32,
    double: f64,
    text: String,
    bytes: Vec<u8>,
    uuid: Option<Uuid>,
    date: NaiveDate,
    time: Option<NaiveTime>,
    local: NaiveDateTime,
    utc: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "visits", subject_keys)]
struct Visit {
    #[phi(row_id)]
    id: String,
    #[phi(subject)]
    patient: Uuid,
    note: Phi<Vec<u8>>,
}

phield::schema_test!("tests/phield.schema.json", [Patient, Visit]);

/// The same macro with another file, in a process of its own.
mod elsewhere {
    use super::{Patient, Visit};

    fn file() -> String {
        std::env::var("TEST_SCHEMA_FILE").unwrap_or_else(|_| "tests/phield.schema.json".to_owned())
    }

    phield::schema_test!(file().as_str(), [Patient, Visit,]);
}

fn run(file: &Path, update: Option<&str>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "elsewhere::phield_schema"])
        .env("TEST_SCHEMA_FILE", file)
        .env_remove("PHIELD_UPDATE_SCHEMA");
    if let Some(update) = update {
        command.env("PHIELD_UPDATE_SCHEMA", update);
    }
    command.output().unwrap()
}

#[test]
fn the_test_writes_the_file_when_it_is_told_to() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("schema.json");
    for update in [None, Some("0"), Some("")] {
        let output = run(&file, update);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{printed}");
        assert!(!file.exists());
    }
    assert!(run(&file, Some("1")).status.success());
    let expected = SchemaFile::of(&[Patient::SCHEMA, Visit::SCHEMA])
        .unwrap()
        .to_json();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    assert!(run(&file, None).status.success());
}

fn fails(folder: &Path, models: &[Schema]) -> String {
    schema_test(folder.to_str().unwrap(), "schema.json", models).unwrap_err()
}

#[test]
fn the_test_says_what_differs_and_what_to_do() {
    let folder = TempDir::new().unwrap();
    let file: PathBuf = folder.path().join("schema.json");
    let (shown, models) = (file.display(), [Patient::SCHEMA, Visit::SCHEMA]);
    let update = "run the test with PHIELD_UPDATE_SCHEMA=1, and commit the file";
    assert_eq!(
        fails(folder.path(), &models),
        format!("{shown} is not there: {update}.")
    );

    let right = SchemaFile::of(&models).unwrap().to_json();
    std::fs::write(&file, &right).unwrap();
    assert_eq!(
        schema_test(folder.path().to_str().unwrap(), "schema.json", &models),
        Ok(())
    );
    // A checkout with other line ends is the same file.
    std::fs::write(&file, right.replace('\n', "\r\n")).unwrap();
    assert_eq!(
        schema_test(folder.path().to_str().unwrap(), "schema.json", &models),
        Ok(())
    );

    let changed = right
        .replacen("\"rust_type\": \"i64\"", "\"rust_type\": \"i32\"", 1)
        .replacen("padme(256)", "padme(512)", 1)
        .replacen("\"subject_keys\": true,", "", 1);
    std::fs::write(&file, changed).unwrap();
    assert_eq!(
        fails(folder.path(), &models),
        format!(
            "{shown} is not what the models say (file -> models):\n  \
             patients.columns.note.padding: \"padme(512)\" -> \"padme(256)\"\n  \
             patients.columns.long.rust_type: \"i32\" -> \"i64\"\n  \
             visits.subject_keys is new: true\n\
             If the models are right, {update}."
        )
    );
    std::fs::write(&file, right.replacen("\"version\": 1", "\"version\": 7", 1)).unwrap();
    let error = fails(folder.path(), &models);
    assert!(
        error.contains("version 7") && error.ends_with(&format!("To write it anew, {update}.")),
        "{error}"
    );
    let error = fails(folder.path(), &[Visit::SCHEMA, Visit::SCHEMA]);
    assert_eq!(
        error,
        "the models do not go together: table visits is there twice"
    );
}

fn patient(id: u128, ssn: Option<&str>) -> Patient {
    let date = NaiveDate::from_ymd_opt(1815, 12, 10).unwrap();
    let time = NaiveTime::from_hms_micro_opt(23, 59, 58, 123_456).unwrap();
    Patient {
        id: Uuid::from_u128(id),
        family: "Lovelace".into(),
        birth: date.into(),
        ssn: ssn.map(Phi::from),
        note: "x".repeat(300).into(),
        weight: None.into(),
        hiv: HivStatus::NotTested.into(),
        seen: Some(date.and_time(time).and_utc().into()),
        order: true,
        tiny: i8::MIN,
        short: i16::MIN,
        int: i32::MIN,
        long: i64::MIN,
        byte: u8::MAX,
        word: u16::MAX,
        dword: u32::MAX,
        single: 1.5,
        double: -0.1,
        text: "text".to_owned(),
        bytes: vec![0, 255],
        uuid: Some(Uuid::from_u128(id)),
        date,
        time: Some(time),
        local: date.and_time(time),
        utc: Some(date.and_time(time).and_utc()),
    }
}

#[tokio::test]
async fn sqlite_takes_the_statements_and_the_rows() {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
    let schema = SchemaFile::of(&[Patient::SCHEMA, Visit::SCHEMA]).unwrap();
    let sql = schema.create_tables(Dialect::Sqlite).unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&pool)
        .await
        .unwrap();

    let without = Patient {
        seen: None,
        uuid: None,
        time: None,
        utc: None,
        ..patient(2, None)
    };
    let rows = [patient(1, Some("999-12-3456")), without];
    for row in &rows {
        insert(&pool, &row.seal(&keyring).unwrap()).await.unwrap();
        let read = Patient::fetch(&pool, &keyring, &row.id).await.unwrap();
        assert_eq!(read.as_ref(), Some(row));
    }
    let found = Patient::find_by_ssn(&pool, &keyring, "999123456").await.unwrap();
    assert_eq!(found, &rows[..1]);

    let stored = keyring.new_subject_secret(None, &rows[0].id).unwrap();
    let key = keyring.open_subject_secret(None, &rows[0].id, &stored).unwrap();
    let keys = keyring.with_subjects(&key);
    let visit = Visit {
        id: "v1".to_owned(),
        patient: rows[0].id,
        note: vec![7; 9].into(),
    };
    insert(&pool, &visit.seal(&keys).unwrap()).await.unwrap();
    // The row id is the primary key.
    assert!(insert(&pool, &visit.seal(&keys).unwrap()).await.is_err());
    assert_eq!(
        Visit::fetch(&pool, &keys, &"v1".to_owned()).await.unwrap(),
        Some(visit)
    );

    let indexes: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(
        indexes,
        [
            "patients_family_birth_index",
            "patients_hiv_index",
            "patients_ssn_index"
        ]
    );
    // No token is longer than the schema says.
    let columns = schema.tables()[0].columns.iter();
    for (name, longest) in columns.filter_map(|column| Some((column.sql_name(), column.longest_token()?))) {
        let sql = format!("SELECT max(length(\"{name}\")) FROM patients");
        let len: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(usize::try_from(len).unwrap() <= longest, "{name}");
    }
}
