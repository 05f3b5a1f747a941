//! Models in SQLite.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy allows them in the test functions alone"
)]
#![cfg(all(feature = "derive", feature = "sqlx-sqlite"))]

use phield::sqlx::{Error, insert, insert_batch};
use phield::{AppName, EncryptedPhi, IndexError, Keyring, OpenError, Phi, Sealed};
use sqlx::{Connection as _, Row as _, SqliteConnection, SqlitePool};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "order",
    index(name = "family_zip", on(family = "name", zip = "digits"))
)]
struct Patient {
    #[phi(row_id)]
    id: Uuid,
    family: Phi<String>,
    zip: Option<Phi<String>>,
    #[phi(index(normalize = "ssn"))]
    ssn: Option<Phi<String>>,
    #[phi(store = "text")]
    note: Phi<Option<String>>,
    group: i64,
    r#where: Option<String>,
}

const TABLE: &str = "CREATE TABLE \"order\" (
    id BLOB PRIMARY KEY NOT NULL, family BLOB NOT NULL, zip BLOB, ssn BLOB, ssn_index BLOB UNIQUE, note TEXT NOT NULL,
    \"group\" INTEGER NOT NULL, \"where\" TEXT, family_zip_index BLOB
)";

fn keyring() -> Keyring {
    Keyring::ephemeral(AppName::from_static("emr")).unwrap()
}

async fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::query(TABLE).execute(&mut connection).await.unwrap();
    connection
}

async fn count(connection: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM \"order\"")
        .fetch_one(connection)
        .await
        .unwrap()
}

fn patient(ssn: Option<&str>) -> Patient {
    Patient {
        id: Uuid::now_v7(),
        family: Phi::from("García"),
        zip: Some(Phi::from("12345-678")),
        ssn: ssn.map(Phi::from),
        note: Phi::new(None),
        group: 3,
        r#where: None,
    }
}

#[tokio::test]
async fn a_row_is_inserted_found_and_fetched() {
    let (keyring, mut db) = (keyring(), database().await);
    let (ada, other) = (patient(Some("999-12-3456")), patient(None));
    insert(&mut db, &ada.seal(&keyring).unwrap()).await.unwrap();
    insert(&mut db, &other.seal(&keyring).unwrap()).await.unwrap();
    assert_eq!(
        Patient::find_by_ssn(&mut db, &keyring, "999 12 3456")
            .await
            .unwrap(),
        std::slice::from_ref(&ada)
    );
    let by_phi = Patient::find_by_ssn(&mut db, &keyring, ada.ssn.as_ref().unwrap())
        .await
        .unwrap();
    assert_eq!(by_phi, std::slice::from_ref(&ada));
    assert!(
        Patient::find_by_ssn(&mut db, &keyring, "999 12 3457")
            .await
            .unwrap()
            .is_empty()
    );
    let both = Patient::find_by_family_zip(&mut db, &keyring, "garcia", "12345678")
        .await
        .unwrap();
    assert_eq!(both, [ada.clone(), other.clone()]);
    assert_eq!(
        Patient::fetch(&mut db, &keyring, &other.id).await.unwrap(),
        Some(other)
    );
    assert_eq!(
        Patient::fetch(&mut db, &keyring, &Uuid::nil()).await.unwrap(),
        None
    );
}

/// In the model's own order columns are read by position, in any other by name: backwards, between others, and where two
/// columns of a row have changed places.
#[tokio::test]
async fn columns_are_found_wherever_they_stand() {
    let (keyring, mut db) = (keyring(), database().await);
    let ada = patient(Some("999-12-3456"));
    insert(&mut db, &ada.seal(&keyring).unwrap()).await.unwrap();
    let names: Vec<_> = SealedPatient::COLUMNS
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect();
    let reversed: Vec<_> = names.iter().rev().cloned().collect();
    let mut swapped = names.clone();
    swapped.swap(1, 3);
    let between = [
        &["1 AS before".to_owned()],
        names.as_slice(),
        &["2 AS behind".to_owned()],
    ]
    .concat();
    for columns in [names, reversed, swapped, between] {
        let sql = format!("SELECT {} FROM \"order\"", columns.join(", "));
        let row: SealedPatient = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut db)
            .await
            .unwrap();
        assert_eq!(row.open(&keyring).unwrap(), ada);
    }
    let missing = sqlx::query_as::<_, SealedPatient>("SELECT id, family FROM \"order\"");
    let missing = Error::from(missing.fetch_one(&mut db).await.unwrap_err());
    assert!(missing.to_string().contains("order.zip"), "{missing}");
}

#[tokio::test]
async fn columns_compose_with_own_sql() {
    let (keyring, mut db) = (keyring(), database().await);
    let ada = patient(Some("999-12-3456"));
    insert(&mut db, &ada.seal(&keyring).unwrap()).await.unwrap();
    assert_eq!(
        SealedPatient::COLUMN_LIST,
        "id, family, zip, ssn, ssn_index, note, \"group\", \"where\", family_zip_index"
    );
    let slots = Patient::ssn_index(&keyring, "999123456").unwrap();
    let sql = format!(
        "SELECT {} FROM \"order\" WHERE ssn_index IN (?, ?)",
        SealedPatient::COLUMN_LIST
    );
    let query = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(slots[0])
        .bind(slots[1]);
    let row: SealedPatient = query.fetch_one(&mut db).await.unwrap();
    // As `query_as!` builds it.
    let SealedPatient {
        id,
        family,
        zip,
        ssn,
        ssn_index,
        note,
        group,
        r#where,
        family_zip_index,
    } = row;
    let row = SealedPatient {
        id,
        family,
        zip,
        ssn,
        ssn_index,
        note,
        group,
        r#where,
        family_zip_index,
    };
    assert_eq!(row.open(&keyring).unwrap(), ada);

    let (ssn, ssn_index) = Patient::seal_ssn(&keyring, &ada.id, &Some(Phi::from("999-65-4321"))).unwrap();
    let update = sqlx::query("UPDATE \"order\" SET ssn = ?, ssn_index = ? WHERE id = ?");
    update
        .bind(ssn)
        .bind(ssn_index)
        .bind(ada.id)
        .execute(&mut db)
        .await
        .unwrap();
    assert_eq!(
        Patient::find_by_ssn(&mut db, &keyring, "999654321")
            .await
            .unwrap()
            .len(),
        1
    );
    let family: Sealed<String> = sqlx::query_scalar("SELECT family FROM \"order\"")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(
        Patient::FAMILY.open(&keyring, &ada.id, &family).unwrap().expose(),
        "García"
    );
}

#[tokio::test]
async fn absent_values_are_null_and_present_ones_are_ciphertext() {
    let (keyring, mut db) = (keyring(), database().await);
    insert(&mut db, &patient(None).seal(&keyring).unwrap())
        .await
        .unwrap();
    insert(&mut db, &patient(None).seal(&keyring).unwrap())
        .await
        .unwrap();
    let rows = sqlx::query("SELECT * FROM \"order\"")
        .fetch_all(&mut db)
        .await
        .unwrap();
    for row in rows {
        assert_eq!(row.get::<Option<Vec<u8>>, _>("ssn"), None);
        assert_eq!(row.get::<Option<Vec<u8>>, _>("ssn_index"), None);
        let (family, note) = (row.get::<Vec<u8>, _>("family"), row.get::<String, _>("note"));
        assert!(!family.windows(3).any(|part| part == b"Gar"));
        assert!(note.starts_with("phi1."));
    }
    sqlx::query("UPDATE \"order\" SET note = 'in the clear'")
        .execute(&mut db)
        .await
        .unwrap();
    let error = Patient::find_by_family_zip(&mut db, &keyring, "garcia", "12345678")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "column order.note holds no phield token: plaintext, or cut off?"
    );
}

#[tokio::test]
async fn a_batch_is_larger_than_one_statement() {
    let (keyring, mut db) = (keyring(), database().await);
    let rows: Vec<_> = (0..4000).map(|i| patient(Some(&format!("{i:09}")))).collect();
    let sealed = Patient::seal_batch(&rows, &keyring).unwrap();
    assert_eq!(insert_batch(&mut db, sealed).await.unwrap(), 4000);
    assert_eq!(count(&mut db).await, 4000);
    assert_eq!(
        Patient::find_by_ssn(&mut db, &keyring, "000003999")
            .await
            .unwrap(),
        rows[3999..]
    );
    assert_eq!(
        insert_batch(&mut db, Vec::<SealedPatient>::new()).await.unwrap(),
        0
    );
}

#[tokio::test]
async fn a_batch_is_inserted_whole_or_not_at_all() {
    let (keyring, mut db) = (keyring(), database().await);
    let mut rows: Vec<_> = (0..4000).map(|i| patient(Some(&format!("{i:09}")))).collect();
    rows[3999].ssn = rows[0].ssn.clone();
    let sealed = Patient::seal_batch(&rows, &keyring).unwrap();
    let error = insert_batch(&mut db, sealed.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::Database(database) if database.is_unique_violation()));
    assert_eq!(count(&mut db).await, 0);

    let mut transaction = db.begin().await.unwrap();
    insert(&mut *transaction, &patient(None).seal(&keyring).unwrap())
        .await
        .unwrap();
    assert!(insert_batch(&mut *transaction, sealed).await.is_err());
    assert_eq!(
        count(&mut transaction).await,
        1,
        "the caller's transaction goes on"
    );
    transaction.commit().await.unwrap();
    assert_eq!(count(&mut db).await, 1);

    let mut transaction = db.begin().await.unwrap();
    insert_batch(
        &mut *transaction,
        Patient::seal_batch(&[patient(None)], &keyring).unwrap(),
    )
    .await
    .unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(count(&mut db).await, 1);
}

#[tokio::test]
async fn an_index_value_is_a_claim_that_opening_checks() {
    let (keyring, mut db) = (keyring(), database().await);
    let (ada, eve) = (patient(Some("999-12-3456")), patient(Some("999-65-4321")));
    for row in [&ada, &eve] {
        insert(&mut db, &row.seal(&keyring).unwrap()).await.unwrap();
    }
    let [adas, _] = Patient::ssn_index(&keyring, "999123456").unwrap();
    let update = "UPDATE \"order\" SET ssn_index = ? WHERE id = ?";
    for (index, id) in [(None, ada.id), (Some(adas), eve.id)] {
        sqlx::query(update)
            .bind(index)
            .bind(id)
            .execute(&mut db)
            .await
            .unwrap();
    }
    assert!(
        Patient::find_by_ssn(&mut db, &keyring, "999-12-3456")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn errors_name_their_kind_and_show_no_values() {
    let (keyring, mut db) = (keyring(), database().await);
    let ada = patient(Some("999-12-3456"));
    insert(&mut db, &ada.seal(&keyring).unwrap()).await.unwrap();
    let error = insert(&mut db, &ada.seal(&keyring).unwrap()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database refused: UniqueViolation, constraint order.ssn_index, code 2067"
    );
    assert_eq!(
        format!("{error:?}"),
        "Database(DatabaseError(the database refused: UniqueViolation, constraint order.ssn_index, code 2067))"
    );
    assert!(std::error::Error::source(&error).is_none());
    let Error::Database(database) = error else {
        panic!("a database error")
    };
    assert!(
        database
            .expose_sqlx_error()
            .to_string()
            .contains("order.ssn_index")
    );

    let absent = Patient::find_by_ssn(&mut db, &self::keyring(), "1").await;
    assert!(absent.unwrap().is_empty(), "another ring has other index values");
    let other_ring = Patient::fetch(&mut db, &self::keyring(), &ada.id).await;
    assert!(
        matches!(other_ring, Err(Error::Open(error)) if matches!(error.cause(), OpenError::UnknownKey(_)))
    );
    sqlx::query("ALTER TABLE \"order\" DROP COLUMN \"where\"")
        .execute(&mut db)
        .await
        .unwrap();
    assert!(
        Patient::fetch(&mut db, &keyring, &ada.id).await.is_err(),
        "a missing column is no text"
    );
    let _: Error = IndexError::Absent.into();
}

#[tokio::test]
async fn finders_run_on_pools_in_spawned_tasks() {
    let keyring = std::sync::Arc::new(keyring());
    let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
    sqlx::query(TABLE).execute(&pool).await.unwrap();
    let found = tokio::spawn(async move {
        insert(&pool, &patient(Some("1")).seal(&keyring).unwrap()).await?;
        let mut transaction = pool.begin().await?;
        insert_batch(&mut *transaction, vec![patient(Some("2")).seal(&keyring)?]).await?;
        transaction.commit().await?;
        let ssn = String::from("2");
        let found = Patient::find_by_ssn(&pool, &keyring, &ssn).await?;
        Patient::fetch(&pool, &keyring, &found[0].id).await
    });
    assert!(found.await.unwrap().unwrap().is_some());
}

#[derive(Debug, PartialEq, EncryptedPhi)]
#[phi(table = "notes")]
struct Note {
    #[phi(row_id)]
    id: String,
    text: Phi<String>,
}

/// The database may take "ABC" for "abc", or be made to: what comes back is the row that was asked for, or none.
#[tokio::test]
async fn fetch_gives_the_row_that_was_asked_for() {
    let (keyring, mut db) = (keyring(), database().await);
    let table = "CREATE TABLE notes (id TEXT COLLATE NOCASE PRIMARY KEY, text BLOB NOT NULL)";
    sqlx::query(table).execute(&mut db).await.unwrap();
    let note = Note {
        id: "ABC".to_owned(),
        text: "of ABC".into(),
    };
    insert(&mut db, &note.seal(&keyring).unwrap()).await.unwrap();
    assert_eq!(
        Note::fetch(&mut db, &keyring, &"abc".to_owned()).await.unwrap(),
        None
    );
    assert_eq!(
        Note::fetch(&mut db, &keyring, &"ABC".to_owned()).await.unwrap(),
        Some(note)
    );
}

/// What is missing in the schema is named; nothing else of the database's messages is.
#[tokio::test]
async fn a_wrong_schema_is_named() {
    let (keyring, mut db) = (keyring(), database().await);
    let note = Note {
        id: "1".to_owned(),
        text: "x".into(),
    }
    .seal(&keyring)
    .unwrap();
    let missing = insert(&mut db, &note).await.unwrap_err().to_string();
    assert_eq!(
        missing,
        "the database refused: Other, there is no table notes, code 1"
    );
    sqlx::query("CREATE TABLE notes (id TEXT PRIMARY KEY)")
        .execute(&mut db)
        .await
        .unwrap();
    let missing = insert(&mut db, &note).await.unwrap_err().to_string();
    assert_eq!(
        missing,
        "the database refused: Other, there is no column text in table notes, code 1"
    );
}

// Release builds have no cheap slow indexes.
#[cfg(debug_assertions)]
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "codes")]
struct Code {
    #[phi(row_id)]
    id: i64,
    #[phi(index(bits = 8))]
    code: Phi<String>,
    #[phi(index(algorithm = "argon2id-m65536-t3-p1"))]
    slow: Phi<String>,
}

/// Eight bits for hundreds of values: an index value of one is that of others, too.
#[cfg(debug_assertions)]
#[tokio::test]
async fn false_hits_of_a_truncated_index_are_filtered() {
    let (mut db, keyring) = (
        database().await,
        Keyring::ephemeral_with_cheap_slow_indexes(AppName::from_static("emr")),
    );
    let keyring = keyring.unwrap();
    let table = "CREATE TABLE codes (id INTEGER PRIMARY KEY, code BLOB NOT NULL, code_index BLOB NOT NULL, \
                 slow BLOB NOT NULL, slow_index BLOB NOT NULL)";
    sqlx::query(table).execute(&mut db).await.unwrap();
    let row = |id: i64| Code {
        id,
        code: Phi::new(format!("J{id}")),
        slow: Phi::new(format!("{}", id % 100)),
    };
    let rows: Vec<_> = (0..600).map(row).collect();
    let sealed = Code::seal_batch_async(&rows, &keyring).await.unwrap();
    assert_eq!(insert_batch(&mut db, sealed).await.unwrap(), 600);

    let mut candidates = 0;
    for id in [0, 7, 300, 599] {
        let [slot, _] = Code::code_index(&keyring, &format!("J{id}")).unwrap();
        assert_eq!(slot.as_bytes().len(), 5);
        candidates += sqlx::query_scalar::<_, i64>("SELECT count(*) FROM codes WHERE code_index = ?")
            .bind(slot)
            .fetch_one(&mut db)
            .await
            .unwrap();
        let found = Code::find_by_code(&mut db, &keyring, &format!("J{id}"))
            .await
            .unwrap();
        assert_eq!(found, [row(id)]);
    }
    assert!(candidates > 4, "the index had false hits to filter");
    assert!(
        Code::find_by_code(&mut db, &keyring, "J600")
            .await
            .unwrap()
            .is_empty()
    );

    // A finder waits for a slow index.
    let found = Code::find_by_slow(&mut db, &keyring, "42").await.unwrap();
    let ids: Vec<_> = found.iter().map(|code| code.id).collect();
    assert_eq!(ids, [42, 142, 242, 342, 442, 542]);
}
