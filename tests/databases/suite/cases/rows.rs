//! Rows are inserted, found, fetched and read by own SQL.

use phield::sqlx::{Error, column_list, insert, insert_batch};
use phield::{EncryptedPhi, OpenError, Phi, Sealed};
use sqlx::{Connection as _, Pool, Row as _};
use uuid::Uuid;

use super::{Db, fresh, sql};
use crate::keyring;

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

async fn table(db: &Pool<Db>) {
    let table = "CREATE TABLE \"order\" (id {uuid} NOT NULL PRIMARY KEY, family {bytes} NOT NULL, zip {bytes}, \
                 ssn {bytes}, ssn_index {index} UNIQUE, note {text} NOT NULL, \"group\" {int} NOT NULL, \
                 \"where\" {key_text}, family_zip_index {index})";
    sqlx::query(sql(table)).execute(db).await.unwrap();
}

async fn count<'c>(executor: impl sqlx::Executor<'c, Database = Db>) -> i64 {
    let count = sqlx::query_scalar(sql("SELECT count(*) FROM \"order\""));
    count.fetch_one(executor).await.unwrap()
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

/// The SQL of a query for all columns.
fn select(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sql(&format!("SELECT {} FROM \"order\" {rest}", column_list::<Db, SealedPatient>()))
}

#[tokio::test]
async fn a_row_is_inserted_found_and_fetched() {
    let (keyring, db) = (keyring(), fresh().await);
    table(&db).await;
    let (mut ada, other) = (patient(Some("999-12-3456")), patient(None));
    ada.r#where = Some("ward 4".to_owned());
    ada.note = Phi::new(Some("sleeps badly".to_owned()));
    for row in [&ada, &other] {
        insert(&*db, &row.seal(&keyring).unwrap()).await.unwrap();
    }
    let found = Patient::find_by_ssn(&*db, &keyring, "999 12 3456").await.unwrap();
    assert_eq!(found, std::slice::from_ref(&ada));
    let by_phi = Patient::find_by_ssn(&*db, &keyring, ada.ssn.as_ref().unwrap()).await;
    assert_eq!(by_phi.unwrap(), std::slice::from_ref(&ada));
    let nobody = Patient::find_by_ssn(&*db, &keyring, "999 12 3457").await.unwrap();
    assert_eq!(nobody, []);
    let mut both = Patient::find_by_family_zip(&*db, &keyring, "garcia", "12345678")
        .await
        .unwrap();
    both.sort_by_key(|row| row.id);
    assert_eq!(both, [ada.clone(), other.clone()]);
    assert_eq!(
        Patient::fetch(&*db, &keyring, &other.id).await.unwrap(),
        Some(other)
    );
    assert_eq!(
        Patient::fetch(&*db, &keyring, &Uuid::nil()).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn columns_compose_with_own_sql() {
    let (keyring, db) = (keyring(), fresh().await);
    table(&db).await;
    let ada = patient(Some("999-12-3456"));
    insert(&*db, &ada.seal(&keyring).unwrap()).await.unwrap();
    let slots = Patient::ssn_index(&keyring, "999123456").unwrap();
    let query = sqlx::query_as(select("WHERE ssn_index IN (?, ?)"));
    let row: SealedPatient = query.bind(slots[0]).bind(slots[1]).fetch_one(&*db).await.unwrap();
    assert_eq!(row.open(&keyring).unwrap(), ada);

    let (ssn, ssn_index) = Patient::seal_ssn(&keyring, &ada.id, &Some(Phi::from("999-65-4321"))).unwrap();
    let update = sqlx::query(sql("UPDATE \"order\" SET ssn = ?, ssn_index = ? WHERE id = ?"));
    let update = update.bind(ssn).bind(ssn_index).bind(ada.id);
    assert_eq!(update.execute(&*db).await.unwrap().rows_affected(), 1);
    let found = Patient::find_by_ssn(&*db, &keyring, "999654321").await.unwrap();
    assert_eq!(found.len(), 1);
    let family: Sealed<String> = sqlx::query_scalar(sql("SELECT family FROM \"order\""))
        .fetch_one(&*db)
        .await
        .unwrap();
    assert_eq!(
        Patient::FAMILY.open(&keyring, &ada.id, &family).unwrap().expose(),
        "García"
    );
}

#[tokio::test]
async fn absent_values_are_null_and_present_ones_are_ciphertext() {
    let (keyring, db) = (keyring(), fresh().await);
    table(&db).await;
    for _ in 0..2 {
        insert(&*db, &patient(None).seal(&keyring).unwrap()).await.unwrap();
    }
    let rows = sqlx::query(select("")).fetch_all(&*db).await.unwrap();
    for row in rows {
        assert_eq!(row.get::<Option<Vec<u8>>, _>("ssn"), None);
        assert_eq!(row.get::<Option<Vec<u8>>, _>("ssn_index"), None);
        let (family, note) = (row.get::<Vec<u8>, _>("family"), row.get::<String, _>("note"));
        assert!(!family.windows(3).any(|part| part == b"Gar"));
        assert!(note.starts_with("phi1."));
    }
}

#[tokio::test]
async fn a_batch_is_larger_than_one_statement() {
    let (keyring, db) = (keyring(), fresh().await);
    table(&db).await;
    // Nine columns: PostgreSQL and MariaDB bind 65,535 values, SQLite half of that.
    let rows: Vec<_> = (0..8000).map(|i| patient(Some(&format!("{i:09}")))).collect();
    let sealed = Patient::seal_batch(&rows, &keyring).unwrap();
    let mut connection = db.acquire().await.unwrap();
    assert_eq!(insert_batch(&mut *connection, sealed).await.unwrap(), 8000);
    assert_eq!(count(&*db).await, 8000);
    for i in [0, 7281, 7282, 7999] {
        let found = Patient::find_by_ssn(&*db, &keyring, &format!("{i:09}")).await;
        assert_eq!(found.unwrap(), rows[i..=i]);
    }
    let none = insert_batch(&mut *connection, Vec::<SealedPatient>::new()).await;
    assert_eq!(none.unwrap(), 0);
}

/// 24 MB of rows, where MariaDB takes 16 MiB in a statement; from an iterator that seals each as it is asked for.
#[tokio::test]
async fn a_batch_of_large_rows_is_cut_by_their_size() {
    #[derive(Debug, EncryptedPhi)]
    #[phi(table = "scans")]
    struct Scan {
        #[phi(row_id)]
        id: i64,
        image: Phi<Vec<u8>>,
    }
    let (keyring, db) = (keyring(), fresh().await);
    let blob = if std::any::type_name::<Db>().contains("MySql") { "LONGBLOB" } else { "{bytes}" };
    let table = format!("CREATE TABLE scans (id {{int}} PRIMARY KEY, image {blob} NOT NULL)");
    sqlx::query(sql(&table)).execute(&*db).await.unwrap();
    let rows = (0..48).map(|id| {
        let image = Phi::new(vec![7_u8; 500_000]);
        Scan { id, image }.seal(&keyring).unwrap()
    });
    let mut connection = db.acquire().await.unwrap();
    assert_eq!(insert_batch(&mut *connection, rows).await.unwrap(), 48);
    let last = Scan::fetch(&*db, &keyring, &47).await.unwrap().unwrap();
    assert_eq!(last.image.expose().len(), 500_000);
}

#[tokio::test]
async fn a_batch_is_inserted_whole_or_not_at_all() {
    let (keyring, db) = (keyring(), fresh().await);
    table(&db).await;
    let mut rows: Vec<_> = (0..8000).map(|i| patient(Some(&format!("{i:09}")))).collect();
    rows[7999].ssn = rows[0].ssn.clone();
    let sealed = Patient::seal_batch(&rows, &keyring).unwrap();
    let mut connection = db.acquire().await.unwrap();
    let error = insert_batch(&mut *connection, sealed.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::Database(database) if database.is_unique_violation()));
    assert_eq!(count(&*db).await, 0);

    let mut transaction = connection.begin().await.unwrap();
    insert(&mut *transaction, &patient(None).seal(&keyring).unwrap())
        .await
        .unwrap();
    assert!(insert_batch(&mut *transaction, sealed).await.is_err());
    assert_eq!(count(&mut *transaction).await, 1, "the caller's transaction goes on");
    transaction.commit().await.unwrap();
    assert_eq!(count(&*db).await, 1);

    let mut transaction = connection.begin().await.unwrap();
    let one = Patient::seal_batch(&[patient(None)], &keyring).unwrap();
    insert_batch(&mut *transaction, one).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(count(&*db).await, 1);
}

/// A batch that failed leaves no transaction open behind it: another connection writes the same rows at once.
#[tokio::test]
async fn a_failed_batch_leaves_no_locks() {
    let (keyring, db) = (keyring(), fresh().await);
    table(&db).await;
    let (a, b) = (patient(Some("1")), patient(Some("1")));
    let sealed = Patient::seal_batch(&[a.clone(), b], &keyring).unwrap();
    let mut idle = db.acquire().await.unwrap();
    insert_batch(&mut *idle, sealed).await.unwrap_err();
    let sealed = a.seal(&keyring).unwrap();
    let other = insert(&*db, &sealed);
    tokio::time::timeout(std::time::Duration::from_secs(4), other)
        .await
        .expect("it does not wait")
        .unwrap();
    drop(idle);
}

#[tokio::test]
async fn finders_run_on_pools_in_spawned_tasks() {
    let (keyring, db) = (std::sync::Arc::new(keyring()), fresh().await);
    table(&db).await;
    let pool = (*db).clone();
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

#[tokio::test]
async fn a_field_that_was_added_later_is_absent_in_old_rows() {
    mod old {
        #[derive(phield::EncryptedPhi)]
        #[phi(table = "people")]
        pub(super) struct Person {
            #[phi(row_id)]
            pub(super) id: i64,
            pub(super) name: phield::Phi<String>,
        }
    }
    #[derive(Debug, PartialEq, EncryptedPhi)]
    #[phi(table = "people")]
    struct Person {
        #[phi(row_id)]
        id: i64,
        name: Phi<String>,
        #[phi(index(normalize = "digits"))]
        phone: Option<Phi<String>>,
    }
    let (keyring, db) = (keyring(), fresh().await);
    let table = "CREATE TABLE people (id {int} PRIMARY KEY, name {bytes} NOT NULL)";
    sqlx::query(sql(table)).execute(&*db).await.unwrap();
    let name = "Ada".into();
    insert(&*db, &old::Person { id: 1, name }.seal(&keyring).unwrap())
        .await
        .unwrap();
    for column in ["phone {bytes}", "phone_index {index}"] {
        let alter = format!("ALTER TABLE people ADD COLUMN {column}");
        sqlx::query(sql(&alter)).execute(&*db).await.unwrap();
    }
    let ada = Person::fetch(&*db, &keyring, &1).await.unwrap().unwrap();
    let (name, phone) = ("Ada".into(), None);
    assert_eq!(ada, Person { id: 1, name, phone });
}

#[tokio::test]
async fn rows_of_another_ring_do_not_open() {
    let (keyring, db) = (keyring(), fresh().await);
    table(&db).await;
    let ada = patient(Some("999-12-3456"));
    insert(&*db, &ada.seal(&keyring).unwrap()).await.unwrap();
    let absent = Patient::find_by_ssn(&*db, &crate::keyring(), "999123456").await;
    assert_eq!(absent.unwrap(), [], "another ring has other index values");
    let other_ring = Patient::fetch(&*db, &crate::keyring(), &ada.id).await;
    assert!(matches!(other_ring, Err(Error::Open(error)) if matches!(error.cause(), OpenError::UnknownKey(_))));
}
