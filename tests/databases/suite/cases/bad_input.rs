//! What somebody who writes to the database, or a mistake, can put into the columns: each is an error of its own kind, which
//! names the column where it was not read, and shows nothing of what stands there.

use phield::sqlx::{Error, insert};
use phield::{EncryptedPhi, KeyState, KeyUse, Keyring, OpenError, Phi};
use phield_testkit::TestRing;
use sqlx::Pool;

use super::{Db, fresh, sql};
use crate::keyring;

#[derive(Debug, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
struct Patient {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name"))]
    name: Phi<String>,
    #[phi(store = "text")]
    note: Phi<String>,
    other: Option<Phi<String>>,
}

/// The same columns in another table.
#[derive(Debug, EncryptedPhi)]
#[phi(table = "staff")]
struct Staff {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name"))]
    name: Phi<String>,
    #[phi(store = "text")]
    note: Phi<String>,
    other: Option<Phi<String>>,
}

const COLUMNS: &str = "(id {int} PRIMARY KEY, name {bytes}, name_index {index}, note {text}, other {bytes})";

/// Two patients and one of the staff.
async fn three_rows(keyring: &Keyring) -> phield_database_tests::Fresh<Db> {
    let db = fresh().await;
    for table in ["patients", "staff"] {
        let create = format!("CREATE TABLE {table} {COLUMNS}");
        sqlx::query(sql(&create)).execute(&*db).await.unwrap();
    }
    for id in [1, 2] {
        let (name, note, other) = ("Lovelace".into(), "marker-5521".into(), Some("x".into()));
        let row = Patient { id, name, note, other };
        insert(&*db, &row.seal(keyring).unwrap()).await.unwrap();
    }
    let (name, note, other) = ("Lovelace".into(), "marker-5521".into(), None);
    let row = Staff { id: 1, name, note, other };
    insert(&*db, &row.seal(keyring).unwrap()).await.unwrap();
    db
}

async fn run(db: &Pool<Db>, statement: &str) {
    sqlx::query(sql(statement)).execute(db).await.unwrap();
}

/// The error of fetching patient 1, and its text.
async fn refused(db: &Pool<Db>, keyring: &Keyring) -> (Error, String) {
    let error = Patient::fetch(db, keyring, &1).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(std::error::Error::source(&error).is_none());
    for value in ["Lovelace", "marker", "phi1", "PHI1"] {
        assert!(!text.contains(value), "{text}");
    }
    let shown = error.to_string();
    (error, shown)
}

#[tokio::test]
async fn a_moved_token_does_not_open() {
    let keyring = keyring();
    for moved in [
        // From another row,
        "UPDATE patients SET name = (SELECT name FROM (SELECT * FROM patients) AS p WHERE id = 2) WHERE id = 1",
        "UPDATE patients SET note = (SELECT note FROM (SELECT * FROM patients) AS p WHERE id = 2) WHERE id = 1",
        // another column,
        "UPDATE patients SET other = name WHERE id = 1",
        // another table.
        "UPDATE patients SET name = (SELECT name FROM staff WHERE id = 1) WHERE id = 1",
    ] {
        let db = three_rows(&keyring).await;
        assert!(Patient::fetch(&*db, &keyring, &1).await.unwrap().is_some());
        run(&db, moved).await;
        let (error, _) = refused(&db, &keyring).await;
        assert!(matches!(error, Error::Open(error) if error == OpenError::Authentication), "{moved}");
    }
}

#[tokio::test]
async fn a_row_under_another_id_does_not_open() {
    let keyring = keyring();
    let db = three_rows(&keyring).await;
    run(&db, "DELETE FROM patients WHERE id = 1").await;
    run(&db, "UPDATE patients SET id = 1 WHERE id = 2").await;
    let (error, _) = refused(&db, &keyring).await;
    assert!(matches!(error, Error::Open(error) if error == OpenError::Authentication));
}

/// Statements that spoil the row of patient 1, and what is said of it.
async fn spoiled(cases: &[(&str, &str)]) {
    let keyring = keyring();
    for (spoil, said) in cases {
        let db = three_rows(&keyring).await;
        run(&db, spoil).await;
        let (error, text) = refused(&db, &keyring).await;
        assert!(matches!(error, Error::Database(_)));
        assert!(text.starts_with("column ") && text.ends_with(said), "{spoil}: {text}");
    }
}

#[tokio::test]
async fn columns_that_hold_no_token_are_named() {
    let plaintext = "holds no phield token: plaintext, or cut off?";
    spoiled(&[
        ("UPDATE patients SET note = 'marker-5521'", &format!("note {plaintext}")),
        ("UPDATE patients SET note = ''", &format!("note {plaintext}")),
        ("UPDATE patients SET note = 'phi1.'", &format!("note {plaintext}")),
        ("UPDATE patients SET note = substr(note, 1, 50)", &format!("note {plaintext}")),
        ("UPDATE patients SET name = name_index", &format!("name {plaintext}")),
        (
            "UPDATE patients SET name_index = substr(name_index, 1, 4)",
            "name_index holds no blind index",
        ),
    ])
    .await;
}

#[tokio::test]
async fn text_that_the_database_changed_is_said_to_be() {
    let spaces = "note holds a token with spaces around it: CHAR(n) adds them, use VARCHAR or TEXT";
    let case = "note holds a token whose letters were changed to one case";
    spoiled(&[
        ("UPDATE patients SET note = concat(note, '   ')", spaces),
        ("UPDATE patients SET note = concat(' ', note)", spaces),
        ("UPDATE patients SET note = upper(note)", case),
        ("UPDATE patients SET note = lower(note)", case),
    ])
    .await;
}

#[tokio::test]
async fn null_where_a_value_must_be_is_named() {
    let null = "is NULL, and its field is no `Option`";
    spoiled(&[
        ("UPDATE patients SET name = NULL", &format!("name {null}")),
        ("UPDATE patients SET note = NULL", &format!("note {null}")),
        ("UPDATE patients SET name_index = NULL", &format!("name_index {null}")),
    ])
    .await;
}

#[tokio::test]
async fn a_column_of_the_wrong_type_is_named() {
    let keyring = keyring();
    let db = fresh().await;
    let table = "CREATE TABLE patients (id {int} PRIMARY KEY, name {bytes}, name_index {index}, note {int}, \
                 other {bytes})";
    run(&db, table).await;
    let (name, note, other) = ("Lovelace".into(), "marker-5521".into(), None);
    let sealed = Patient { id: 1, name, note, other }.seal(&keyring).unwrap();
    let insert = sqlx::query(sql("INSERT INTO patients (id, name, name_index, note) VALUES (1, ?, ?, 5521)"));
    let insert = insert.bind(sealed.name).bind(sealed.name_index);
    insert.execute(&*db).await.unwrap();
    let (_, text) = refused(&db, &keyring).await;
    assert!(text.contains("note has the wrong SQL type, "), "{text}");
    assert!(text.contains("INT"), "{text}");
}

#[tokio::test]
async fn tokens_of_an_unknown_key_do_not_open() {
    let db = three_rows(&keyring()).await;
    let (error, text) = refused(&db, &keyring()).await;
    assert!(matches!(error, Error::Open(error) if matches!(error.cause(), OpenError::UnknownKey(_))));
    assert!(text.ends_with("is not in the key ring"), "{text}");
}

#[tokio::test]
async fn tokens_of_a_destroyed_key_do_not_open() {
    let test_ring = TestRing::new("emr");
    let db = three_rows(&test_ring.keyring()).await;
    let ring = test_ring.ring();
    let records = ring.load().await.unwrap().manifest().records.clone();
    let data_key = |state| {
        let of = |record: &&phield::KeyRecord| {
            record.context.key_use == KeyUse::Data && record.state == state
        };
        records.iter().find(of).unwrap().context.key_id
    };
    let (old, next) = (data_key(KeyState::Active), data_key(KeyState::PreActive));
    ring.set_state(next, KeyState::Active).await.unwrap();
    let opened = Patient::fetch(&*db, &test_ring.keyring(), &1).await.unwrap();
    assert!(opened.is_some(), "a key that was replaced opens");
    ring.set_state(old, KeyState::Destroyed).await.unwrap();
    let (error, _) = refused(&db, &test_ring.keyring()).await;
    assert!(matches!(error, Error::Open(error) if error == OpenError::KeyState(old)));
}
