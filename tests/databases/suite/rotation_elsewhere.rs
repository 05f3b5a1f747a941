//! Rows that a rotation must not miss, where each database has them in its own way: other schemas, policies, values that do not
//! decode.

use std::sync::Arc;

use phield::sqlx::insert_batch;
use phield::sqlx::migrate::{Migration, MigrationError};
use phield::sqlx::rotate::{Mode, Rotation, RotationError, RotationOptions};
use phield::{EncryptedPhi, KeyUse, Phi, Rollout, SchemaFile};
use phield_testkit::TestRing;
use sqlx::{AssertSqlSafe, Pool};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
struct Patient {
    #[phi(row_id)]
    id: i64,
    ssn: Phi<String>,
    #[phi(store = "text")]
    note: Option<Phi<String>>,
    ward: String,
}

fn patients() -> Vec<Patient> {
    let patient = |id| Patient {
        id,
        ssn: Phi::new(format!("{id:09}")),
        note: Some(Phi::from("sleeps badly")),
        ward: format!("ward {}", id % 2),
    };
    (1..=20).map(patient).collect()
}

/// A table with rows under a key that is not active any more, and how it is rotated.
macro_rules! world {
    ($database:ident, $id:literal) => {{
        let db = phield_database_tests::$database::fresh().await;
        let ring = TestRing::new("emr");
        let table = concat!(
            "CREATE TABLE patients (id ",
            $id,
            " NOT NULL PRIMARY KEY, ssn {bytes} NOT NULL, note {text}, \
             ward {key_text} NOT NULL)"
        );
        let sql = phield_database_tests::$database::sql;
        sqlx::query(sql(table)).execute(&*db).await.unwrap();
        let keyring = ring.ring().keyring().await.unwrap();
        let sealed = Patient::seal_batch(&patients(), &keyring).unwrap();
        insert_batch(&mut *db.acquire().await.unwrap(), sealed)
            .await
            .unwrap();
        let new = ring
            .ring()
            .successor(KeyUse::Data, Some(phield::Suite::Aes256Gcm), None)
            .await
            .unwrap();
        ring.ring()
            .activate(new.key_id, Rollout::AcknowledgedByEveryInstance)
            .await
            .unwrap();
        let keyring = Arc::new(ring.ring().keyring().await.unwrap());
        (db, keyring, ring)
    }};
}

fn rotation<DB: phield::sqlx::rotate::RotationDatabase>(
    db: &Pool<DB>,
    keyring: &Arc<phield::Keyring>,
    schema: SchemaFile,
) -> Rotation<DB> {
    let mut options = RotationOptions::default();
    options.acknowledged_by_every_instance = true;
    Rotation::new(db.clone(), Arc::clone(keyring), schema).with_options(options)
}

fn schema() -> SchemaFile {
    SchemaFile::of(&[Patient::SCHEMA]).unwrap()
}

/// The schema with its table in another schema of the database.
fn schema_in(place: &str) -> SchemaFile {
    let json = schema().to_json().replace(
        r#""sql_table": "patients""#,
        &format!(r#""sql_table": "{place}.patients""#),
    );
    assert!(json.contains(place), "{json}");
    SchemaFile::from_json(&json).unwrap()
}

#[tokio::test]
async fn postgres_tables_of_the_same_name_are_not_registered() {
    let (db, keyring, _ring) = world!(postgres, "BIGINT");
    let schema_name: String = sqlx::query_scalar("SELECT current_schema()")
        .fetch_one(&*db)
        .await
        .unwrap();
    for text in [
        format!("CREATE SCHEMA {schema_name}_archive"),
        format!("CREATE TABLE {schema_name}_archive.patients AS SELECT * FROM patients"),
    ] {
        sqlx::query(AssertSqlSafe(text)).execute(&*db).await.unwrap();
    }
    for (registered, place, other) in [
        (
            schema(),
            format!("{schema_name}_archive."),
            format!("{schema_name}."),
        ),
        (
            schema_in(&schema_name),
            format!("{schema_name}_archive."),
            format!("{schema_name}."),
        ),
    ] {
        let found = rotation(&db, &keyring, registered).unregistered().await.unwrap();
        let names: Vec<_> = found
            .columns
            .iter()
            .map(|c| format!("{}.{}", c.table, c.column))
            .collect();
        for column in ["ssn", "note"] {
            assert!(names.contains(&format!("{place}patients.{column}")), "{names:?}");
            assert!(!names.contains(&format!("{other}patients.{column}")), "{names:?}");
        }
    }
}

#[tokio::test]
async fn mariadb_tables_of_the_same_name_are_not_registered() {
    let (db, keyring, _ring) = world!(mariadb, "BIGINT");
    let name: String = sqlx::query_scalar("SELECT database()")
        .fetch_one(&*db)
        .await
        .unwrap();
    let other = format!("{name}_archive");
    for text in [
        format!("CREATE DATABASE {other}"),
        format!("CREATE TABLE {other}.patients LIKE patients"),
        format!("INSERT INTO {other}.patients SELECT * FROM patients"),
        format!("CREATE TABLE {other}.old AS SELECT ssn FROM patients"),
    ] {
        sqlx::query(AssertSqlSafe(text)).execute(&*db).await.unwrap();
    }
    let found = rotation(&db, &keyring, schema_in(&other))
        .unregistered()
        .await
        .unwrap();
    let names: Vec<_> = found
        .columns
        .iter()
        .map(|c| format!("{}.{}", c.table, c.column))
        .collect();
    let expected = [
        format!("{name}.patients.ssn"),
        format!("{name}.patients.note"),
        format!("{other}.old.ssn"),
    ];
    assert_eq!(names, expected);
    let found = rotation(&db, &keyring, schema()).unregistered().await.unwrap();
    assert_eq!(found.columns.len(), 0, "{:?}", found.columns);
}

/// A policy hides rows from a role without a word; a rotation has to see all of them, or say that it cannot.
#[tokio::test]
async fn rows_that_a_policy_hides_are_an_error() {
    let (db, keyring, _ring) = world!(postgres, "BIGINT");
    let schema_name: String = sqlx::query_scalar("SELECT current_schema()")
        .fetch_one(&*db)
        .await
        .unwrap();
    let role = format!("{schema_name}_limited");
    for text in [
        format!("CREATE ROLE {role}"),
        format!("GRANT ALL ON SCHEMA {schema_name} TO {role}"),
        format!("GRANT ALL ON patients TO {role}"),
        "ALTER TABLE patients ADD COLUMN ssn_plain TEXT".to_owned(),
        "CREATE POLICY own ON patients USING (ward = current_setting('app.ward', true))".to_owned(),
        "ALTER TABLE patients ENABLE ROW LEVEL SECURITY".to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(text)).execute(&*db).await.unwrap();
    }
    let options = (*db.connect_options()).clone().options([("role", &role)]);
    let limited = Pool::<sqlx::Postgres>::connect_with(options).await.unwrap();
    let is_told = |error: &str| error.contains("row-level security") && error.contains("BYPASSRLS");
    let rotation = rotation(&limited, &keyring, schema());
    for mode in [Mode::Data, Mode::Scan, Mode::Verify] {
        let error = rotation.run(mode, |_| {}).await.unwrap_err();
        assert!(
            matches!(&error, RotationError::Table { table, .. } if table == "patients"),
            "{error:?}"
        );
        assert!(is_told(&error.to_string()), "{error}");
    }
    let error = rotation.unregistered().await.unwrap_err();
    assert!(is_told(&error.to_string()), "{error}");
    let migration = Migration::new(limited.clone(), Arc::clone(&keyring), schema());
    let error = migration.plan("patients", "ssn", "ssn_plain").await.unwrap_err();
    assert!(
        matches!(&error, MigrationError::Table(error) if is_told(&error.to_string())),
        "{error:?}"
    );

    let grant = format!("ALTER ROLE {role} BYPASSRLS");
    sqlx::query(AssertSqlSafe(grant)).execute(&*db).await.unwrap();
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!(status.tables.first().unwrap().changed, 20);
}

/// One value that is nothing stops nothing.
#[tokio::test]
async fn sqlite_text_that_is_not_utf8() {
    let (db, keyring, _ring) = world!(sqlite, "BIGINT");
    for text in [
        "UPDATE patients SET note = CAST(x'ff' AS TEXT) WHERE id = 2",
        "UPDATE patients SET ssn = CAST(x'11fffe' AS TEXT) WHERE id = 3",
        "UPDATE patients SET ward = CAST(x'fe' AS TEXT) WHERE id = 4",
    ] {
        sqlx::query(text).execute(&*db).await.unwrap();
    }
    let rotation = rotation(&db, &keyring, schema());
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, status.pass), ("done", 1));
    let noted = rotation.quarantine(100).await.unwrap();
    let noted: Vec<_> = noted
        .iter()
        .map(|v| (v.row_key.as_str(), v.column.as_str(), v.reason.as_str()))
        .collect();
    assert_eq!(noted, [("i2", "note", "malformed"), ("i3", "ssn", "malformed")]);
    assert_eq!(rotation.run(Mode::Scan, |_| {}).await.unwrap().state, "done");
}

#[tokio::test]
async fn sqlite_row_ids_that_are_not_utf8_keep_their_place() {
    let (db, keyring, _ring) = world!(sqlite, "TEXT");
    sqlx::query("UPDATE patients SET id = CAST(x'ff' || CAST(id AS BLOB) AS TEXT) WHERE id IN ('2', '3')")
        .execute(&*db)
        .await
        .unwrap();
    let mut options = RotationOptions::default();
    (options.acknowledged_by_every_instance, options.batch) = (true, 1);
    let rotation = rotation(&db, &keyring, schema()).with_options(options);
    let status = rotation.run(Mode::Verify, |_| {}).await.unwrap();
    assert_eq!((status.state, status.tables.first().unwrap().rows), ("done", 20));
    assert!(
        rotation
            .quarantine(100)
            .await
            .unwrap()
            .iter()
            .any(|value| value.row_key == "rff32")
    );
}

/// A primary key of SQLite takes NULL, and no row comes after it.
#[tokio::test]
async fn sqlite_null_in_a_primary_key_is_an_error() {
    let (db, keyring, _ring) = world!(sqlite, "BIGINT");
    let mut connection = db.acquire().await.unwrap();
    for text in [
        "CREATE TABLE other (id INT PRIMARY KEY, ssn BLOB, note TEXT, ward TEXT)",
        "INSERT INTO other SELECT * FROM patients",
        "INSERT INTO other SELECT NULL, ssn, note, ward FROM patients",
        "DROP TABLE patients",
        "ALTER TABLE other RENAME TO patients",
    ] {
        sqlx::query(text).execute(&mut *connection).await.unwrap();
    }
    drop(connection);
    let error = rotation(&db, &keyring, schema())
        .run(Mode::Scan, |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RotationError::Table { why, .. } if why.contains("NULL")),
        "{error:?}"
    );
}

#[tokio::test]
async fn mariadb_numbers_above_what_a_row_id_holds() {
    let (db, keyring, _ring) = world!(mariadb, "BIGINT UNSIGNED");
    let move_away = "UPDATE patients SET id = 18446744073709551000 + id WHERE id IN (2, 3)";
    sqlx::query(move_away).execute(&*db).await.unwrap();
    let mut options = RotationOptions::default();
    (options.acknowledged_by_every_instance, options.batch) = (true, 1);
    let rotation = rotation(&db, &keyring, schema()).with_options(options);
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!(
        (status.state, status.pass, status.tables.first().unwrap().changed),
        ("done", 1, 18)
    );
    let noted = rotation.quarantine(100).await.unwrap();
    assert_eq!(noted.len(), 4);
    assert!(noted.iter().all(|value| value.reason == "malformed"));
}

/// Domains are their types.
#[tokio::test]
async fn postgres_domains_hold_tokens() {
    let (db, keyring, _ring) = world!(postgres, "BIGINT");
    for text in [
        "CREATE DOMAIN secret AS bytea",
        "CREATE DOMAIN secret_twice AS secret",
        "CREATE DOMAIN document AS jsonb",
        "CREATE TABLE copies AS SELECT id, ssn::secret AS ssn, ssn::secret::secret_twice AS twice, ARRAY[ssn] AS several, \
         jsonb_build_object('note', note)::document AS body FROM patients",
    ] {
        sqlx::query(text).execute(&*db).await.unwrap();
    }
    let schema_name: String = sqlx::query_scalar("SELECT current_schema()")
        .fetch_one(&*db)
        .await
        .unwrap();
    let found = rotation(&db, &keyring, schema()).unregistered().await.unwrap();
    let own = found
        .columns
        .iter()
        .filter(|c| c.table == format!("{schema_name}.copies"));
    let names: Vec<_> = own.map(|c| format!("{} {}", c.column, c.rows)).collect();
    assert_eq!(names, ["ssn 20", "twice 20", "several 20", "body 20"]);
}
