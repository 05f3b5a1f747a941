//! What a database refuses: the error says what helps, and shows no value, in the text, in `Debug` and in its sources.

use phield::sqlx::{DatabaseError, Error, insert, update};
use phield::{EncryptedPhi, Keyring, Phi};
use sqlx::{Connection as _, Database as _, Pool};

use super::{Db, fresh, sql};
use crate::keyring;

/// In a plain column, since those are what a database can repeat.
const MARKER: &str = "marker-5521";

#[derive(Debug, Clone, EncryptedPhi)]
#[phi(table = "patients")]
struct Patient {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<String>,
    ward: Option<String>,
    clinic: i64,
}

async fn tables(db: &Pool<Db>) {
    for table in [
        "CREATE TABLE clinics (id {int} PRIMARY KEY)",
        "INSERT INTO clinics VALUES (7)",
        "CREATE TABLE patients (id {int} PRIMARY KEY, ssn {bytes} NOT NULL, ssn_index {index} NOT NULL, \
         ward {key_text} NOT NULL, clinic {int} NOT NULL, CONSTRAINT one_ward UNIQUE (ward), \
         CONSTRAINT ward_is_long CHECK (length(ward) > 3), \
         CONSTRAINT in_a_clinic FOREIGN KEY (clinic) REFERENCES clinics (id))",
    ] {
        sqlx::query(sql(table)).execute(db).await.unwrap();
    }
}

fn patient(id: i64, ward: Option<&str>) -> Patient {
    Patient {
        id,
        ssn: "999-12-3456".into(),
        ward: ward.map(str::to_owned),
        clinic: 7,
    }
}

/// The error of inserting a row, its texts searched for the marker.
async fn refused(db: &Pool<Db>, keyring: &Keyring, row: &Patient) -> DatabaseError {
    without_values(insert(db, &row.seal(keyring).unwrap()).await.unwrap_err())
}

fn without_values(error: Error) -> DatabaseError {
    assert!(std::error::Error::source(&error).is_none());
    let text = format!("{error} {error:?} {error:#?}");
    for value in [MARKER, "marker", "999", "5521"] {
        assert!(!text.contains(value), "{text}");
    }
    match error {
        Error::Database(error) => error,
        other => panic!("a database error: {other}"),
    }
}

#[tokio::test]
async fn a_unique_violation() {
    let (keyring, db) = (keyring(), fresh().await);
    tables(&db).await;
    let ada = patient(1, Some(MARKER));
    insert(&*db, &ada.seal(&keyring).unwrap()).await.unwrap();
    let error = refused(&db, &keyring, &patient(2, Some(MARKER))).await;
    assert!(error.is_unique_violation() && !error.is_retryable() && !error.is_disconnected());
    let constraint = error.constraint().unwrap();
    assert!(["one_ward", "patients.ward"].contains(&constraint), "{constraint}");
    assert!(error.to_string().starts_with("the database refused: UniqueViolation, "));
    assert!(error.to_string().contains(constraint));
    let whole = error.expose_sqlx_error();
    assert!(format!("{whole} {whole:?}").contains("ward"), "it is there for whoever may see it");
}

#[tokio::test]
async fn a_missing_value() {
    let (keyring, db) = (keyring(), fresh().await);
    tables(&db).await;
    let error = refused(&db, &keyring, &patient(1, None)).await;
    assert!(error.is_not_null_violation() && !error.is_unique_violation());
    assert!(error.column().unwrap().ends_with("ward"), "{error}");
    assert!(error.to_string().contains("ward"));
}

#[tokio::test]
async fn a_check() {
    let (keyring, db) = (keyring(), fresh().await);
    tables(&db).await;
    let error = refused(&db, &keyring, &patient(1, Some("552"))).await;
    assert!(error.is_check_violation());
    assert_eq!(error.constraint(), Some("ward_is_long"));
}

#[tokio::test]
async fn a_foreign_key() {
    let (keyring, db) = (keyring(), fresh().await);
    tables(&db).await;
    let mut row = patient(1, Some(MARKER));
    row.clinic = 5521;
    let error = refused(&db, &keyring, &row).await;
    assert!(error.is_foreign_key_violation());
    // SQLite does not say which.
    assert!(error.constraint().is_none_or(|name| name == "in_a_clinic"));
    assert_eq!(error.constraint().is_none(), error.to_string().ends_with("787"));
}

#[tokio::test]
async fn a_wrong_schema_is_named() {
    let (keyring, db) = (keyring(), fresh().await);
    let ada = patient(1, Some(MARKER));
    let error = refused(&db, &keyring, &ada).await;
    assert!(error.to_string().contains(", there is no table patients, code "), "{error}");
    let table = "CREATE TABLE patients (id {int} PRIMARY KEY, ssn {bytes}, ward {text}, clinic {int})";
    sqlx::query(sql(table)).execute(&*db).await.unwrap();
    let error = refused(&db, &keyring, &ada).await;
    let missing = ", there is no column ssn_index in table patients, code ";
    assert!(error.to_string().contains(missing), "{error}");
    let error = update(&*db, &ada.seal(&keyring).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains(missing), "{error}");
}

/// In SQL of the application's own, what is missing may be a value that was written without quotation marks.
#[tokio::test]
async fn own_sql_with_a_value_in_it_is_not_repeated() {
    let db = fresh().await;
    tables(&db).await;
    for mistake in [
        "SELECT * FROM patients WHERE ward = marker5521",
        "SELECT * FROM marker5521",
        "SELECT * FROM patients WHERE ward = 'marker5521",
        "SELECT marker5521(1)",
    ] {
        let error = sqlx::query(sql(mistake)).execute(&*db).await.unwrap_err();
        assert!(error.to_string().contains("marker5521"), "{mistake}: {error}");
        without_values(error.into());
    }
}

#[tokio::test]
async fn values_that_do_not_fit_are_not_repeated() {
    let db = fresh().await;
    tables(&db).await;
    for mistake in [
        "INSERT INTO clinics VALUES ('marker-5521')",
        "UPDATE clinics SET id = id + 9223372036854775807 + 55215521",
        "SELECT id FROM clinics WHERE id = (SELECT 'marker-5521' UNION SELECT 'marker-552') ",
    ] {
        // Not every database refuses each of these; whatever it says is not shown.
        if let Err(error) = sqlx::query(sql(mistake)).execute(&*db).await {
            without_values(error.into());
        }
    }
}

#[tokio::test]
async fn a_deadlock_can_be_retried() {
    let (keyring, db) = (keyring(), fresh().await);
    tables(&db).await;
    for (id, ward) in [(1, MARKER), (2, "ward two")] {
        let sealed = patient(id, Some(ward)).seal(&keyring).unwrap();
        insert(&*db, &sealed).await.unwrap();
    }
    let sealed = |id, ward| patient(id, Some(ward)).seal(&keyring).unwrap();
    let (mut a, mut b) = (db.acquire().await.unwrap(), db.acquire().await.unwrap());
    let (mut a, mut b) = (a.begin().await.unwrap(), b.begin().await.unwrap());
    for transaction in [&mut a, &mut b] {
        let count: i64 = sqlx::query_scalar(sql("SELECT count(*) FROM patients"))
            .fetch_one(&mut **transaction)
            .await
            .unwrap();
        assert_eq!(count, 2);
    }
    update(&mut *a, &sealed(1, MARKER)).await.unwrap();
    let knows_deadlocks = Db::NAME != sqlx::Sqlite::NAME;
    let second = update(&mut *b, &sealed(2, "ward two")).await;
    // An update locks its own rows and no other; SQLite locks the whole database, and refuses at once.
    assert_eq!(second.is_ok(), knows_deadlocks);
    let error = match second {
        Err(error) => error,
        Ok(_) => {
            let (two, one) = (sealed(2, "ward two"), sealed(1, MARKER));
            let (a, b) = tokio::join!(update(&mut *a, &two), update(&mut *b, &one));
            a.and(b).unwrap_err()
        }
    };
    let error = without_values(error);
    assert!(error.is_retryable() && !error.is_unique_violation(), "{error}");
    assert_eq!(error.is_deadlock(), knows_deadlocks, "{error}");
}

#[tokio::test]
async fn a_connection_that_is_gone() {
    let (keyring, db) = (keyring(), fresh().await);
    tables(&db).await;
    let ada = patient(1, Some(MARKER)).seal(&keyring).unwrap();
    let mut connection = db.acquire().await.unwrap();
    phield_database_tests::cut_off(&mut *connection, &db).await;
    let error = insert(&mut *connection, &ada).await;
    if let Err(error) = error {
        assert!(without_values(error).is_disconnected());
    }
    drop(connection);
    db.close().await;
    let error = without_values(insert(&*db, &ada).await.unwrap_err());
    assert!(error.is_disconnected() && !error.is_retryable());
    assert_eq!(error.to_string(), "the connection pool is closed");
}
