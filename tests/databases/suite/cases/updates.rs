//! Updates of whole rows, one and many.

use phield::sqlx::{column_list, insert_batch, update, update_batch};
use phield::{EncryptedPhi, Keyring, Phi};
use sqlx::{Connection as _, Pool};
use uuid::Uuid;

use super::{Db, fresh, sql};
use crate::keyring;

/// Every kind of column that a value can be written to.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "group")]
struct Patient {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn"))]
    ssn: Option<Phi<String>>,
    #[phi(store = "text")]
    note: Option<Phi<String>>,
    code: Option<Uuid>,
    ward: Option<String>,
    alive: Option<bool>,
    order: Option<i64>,
}

async fn table(db: &Pool<Db>) {
    let table = "CREATE TABLE \"group\" (id {int} PRIMARY KEY, ssn {bytes}, ssn_index {index} UNIQUE, note {text}, \
                 code {uuid}, ward {key_text}, alive BOOLEAN, \"order\" {int})";
    sqlx::query(sql(table)).execute(db).await.unwrap();
}

fn full(id: i64) -> Patient {
    Patient {
        id,
        ssn: Some(Phi::new(format!("{id:09}"))),
        note: Some("sleeps badly".into()),
        code: Some(Uuid::from_u128(7)),
        ward: Some("4'\"\\".to_owned()),
        alive: Some(true),
        order: Some(i64::MAX),
    }
}

fn empty(id: i64) -> Patient {
    Patient {
        id,
        ssn: None,
        note: None,
        code: None,
        ward: None,
        alive: None,
        order: None,
    }
}

async fn filled(keyring: &Keyring, rows: &[Patient]) -> phield_database_tests::Fresh<Db> {
    let db = fresh().await;
    table(&db).await;
    let sealed = Patient::seal_batch(rows, keyring).unwrap();
    insert_batch(&mut *db.acquire().await.unwrap(), sealed).await.unwrap();
    db
}

async fn all(db: &Pool<Db>, keyring: &Keyring) -> Vec<Patient> {
    let select = format!("SELECT {} FROM \"group\" ORDER BY id", column_list::<Db, SealedPatient>());
    let rows: Vec<SealedPatient> = sqlx::query_as(sql(&select)).fetch_all(db).await.unwrap();
    SealedPatient::open_batch(rows, keyring).unwrap()
}

#[tokio::test]
async fn every_column_is_written_and_no_other_row() {
    let keyring = keyring();
    let db = filled(&keyring, &[full(1), full(2), empty(3)]).await;
    assert_eq!(update(&*db, &empty(1).seal(&keyring).unwrap()).await.unwrap(), 1);
    assert_eq!(update(&*db, &full(3).seal(&keyring).unwrap()).await.unwrap(), 1);
    assert_eq!(all(&db, &keyring).await, [empty(1), full(2), full(3)]);
    let found = Patient::find_by_ssn(&*db, &keyring, "000000003").await.unwrap();
    assert_eq!(found, [full(3)]);
    assert_eq!(update(&*db, &full(4).seal(&keyring).unwrap()).await.unwrap(), 0);
    assert_eq!(all(&db, &keyring).await.len(), 3);
}

/// NULL in the first row of a batch, and in the last, and in all: the database knows the types of the columns.
#[tokio::test]
async fn nulls_have_types_wherever_they_stand() {
    let keyring = keyring();
    let db = filled(&keyring, &[full(1), full(2), full(3)]).await;
    let mut connection = db.acquire().await.unwrap();
    for batch in [
        [empty(1), full(2), full(3)],
        [full(1), full(2), empty(3)],
        [empty(1), empty(2), empty(3)],
        [full(1), empty(2), full(3)],
    ] {
        let sealed = Patient::seal_batch(&batch, &keyring).unwrap();
        assert_eq!(update_batch(&mut *connection, sealed).await.unwrap(), 3);
        assert_eq!(all(&db, &keyring).await, batch);
    }
}

#[tokio::test]
async fn a_batch_is_larger_than_one_statement() {
    let keyring = keyring();
    let rows: Vec<_> = (0..9000).map(empty).collect();
    let db = filled(&keyring, &rows).await;
    let mut connection = db.acquire().await.unwrap();
    let changed: Vec<_> = (0..9001).map(full).collect();
    let sealed = Patient::seal_batch(&changed, &keyring).unwrap();
    let started = std::time::Instant::now();
    let matched = update_batch(&mut *connection, sealed).await.unwrap();
    assert_eq!(matched, 9000, "one row is not there");
    println!("9000 rows updated in {:?}", started.elapsed());
    assert_eq!(all(&db, &keyring).await, changed[..9000]);
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all() {
    let keyring = keyring();
    let rows: Vec<_> = (0..9000).map(empty).collect();
    let db = filled(&keyring, &rows).await;
    let mut changed: Vec<_> = (0..9000).map(full).collect();
    changed[8999].ssn = changed[0].ssn.clone();
    let sealed = Patient::seal_batch(&changed, &keyring).unwrap();
    let mut connection = db.acquire().await.unwrap();
    let error = update_batch(&mut *connection, sealed).await.unwrap_err();
    assert!(matches!(&error, phield::sqlx::Error::Database(error) if error.is_unique_violation()));
    assert_eq!(all(&db, &keyring).await, rows);

    let mut transaction = connection.begin().await.unwrap();
    let one = [full(7).seal(&keyring).unwrap()];
    assert_eq!(update_batch(&mut *transaction, one).await.unwrap(), 1);
    transaction.rollback().await.unwrap();
    assert_eq!(all(&db, &keyring).await, rows);
}

/// The count is of the rows that were found, not of those that changed: writing the same again counts.
#[tokio::test]
async fn rows_that_stay_as_they_are_count() {
    let keyring = keyring();
    let db = filled(&keyring, &[full(1)]).await;
    let sealed = full(1).seal(&keyring).unwrap();
    for _ in 0..2 {
        assert_eq!(update(&*db, &sealed).await.unwrap(), 1);
    }
}
