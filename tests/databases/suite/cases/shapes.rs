//! Tenants, composite row ids, names in SQL apart from labels, columns that the database fills.

use phield::sqlx::{Error, insert, insert_batch, update, update_batch};
use phield::{EncryptedPhi, InTenant, OpenError, Phi, Sealed};
use sqlx::Pool;

use super::{Db, fresh, sql};
use crate::keyring;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "visits",
    index(name = "code_note", on(code = "exact", note = "name"))
)]
struct Visit {
    #[phi(tenant)]
    clinic: String,
    #[phi(row_id)]
    patient_id: i64,
    #[phi(row_id)]
    number: i64,
    note: Phi<String>,
    other: Phi<String>,
    #[phi(index, store = "text")]
    code: Option<Phi<String>>,
    #[phi(generated)]
    serial: i64,
}

const VISITS: &str = "CREATE TABLE visits (clinic {key_text} NOT NULL, patient_id {int} NOT NULL, number {int} NOT NULL,
    note {bytes} NOT NULL, other {bytes} NOT NULL, code {text}, code_index {index}, serial {auto},
    code_note_index {index}, UNIQUE (clinic, patient_id, number))";

/// The same table after a migration that renamed it and two of its columns.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "visits",
    sql_name = "encounters",
    index(name = "code_note", on(icd = "exact", note = "name"))
)]
struct Encounter {
    #[phi(tenant)]
    clinic: String,
    #[phi(row_id, sql_name = "patient")]
    patient_id: i64,
    #[phi(row_id)]
    number: i64,
    #[phi(sql_name = "remark")]
    note: Phi<String>,
    other: Phi<String>,
    // Here the field has the new name, and `column` the label.
    #[phi(column = "code", index(sql_name = "code_index"), store = "text")]
    icd: Option<Phi<String>>,
    #[phi(generated)]
    serial: i64,
}

const RENAMES: [&str; 4] = [
    "ALTER TABLE visits RENAME TO encounters",
    "ALTER TABLE encounters RENAME COLUMN patient_id TO patient",
    "ALTER TABLE encounters RENAME COLUMN note TO remark",
    "ALTER TABLE encounters RENAME COLUMN code TO icd",
];

fn visit(clinic: &str, number: i64) -> Visit {
    Visit {
        clinic: clinic.to_owned(),
        patient_id: 7,
        number,
        note: Phi::from("cough"),
        other: Phi::from("fever"),
        code: Some(Phi::from("J10.1")),
        serial: 0,
    }
}

async fn run(db: &Pool<Db>, statement: &'static str) {
    sqlx::query(sql(statement)).execute(db).await.unwrap();
}

fn unnumbered(mut visits: Vec<Visit>) -> Vec<Visit> {
    visits.iter_mut().for_each(|visit| visit.serial = 0);
    visits
}

#[tokio::test]
async fn rows_of_tenants_are_apart() {
    let (keyring, db) = (keyring(), fresh().await);
    run(&db, VISITS).await;
    let (north, south) = ("north".to_owned(), "south".to_owned());
    insert(&*db, &visit(&north, 1).seal(&keyring).unwrap()).await.unwrap();
    let batch = [visit(&south, 1), visit(&south, 2)];
    let mut connection = db.acquire().await.unwrap();
    let sealed = Visit::seal_batch(&batch, &keyring).unwrap();
    assert_eq!(insert_batch(&mut *connection, sealed).await.unwrap(), 2);

    let found = Visit::find_by_code(&*db, &keyring, &south, "J10.1").await.unwrap();
    assert!(found.iter().all(|visit| visit.serial > 0), "the database numbers them");
    let mut found = unnumbered(found);
    found.sort_by_key(|visit| visit.number);
    assert_eq!(found, batch);
    let found = Visit::find_by_code_note(&*db, &keyring, &north, "J10.1", "COUGH").await.unwrap();
    assert_eq!(unnumbered(found), [visit(&north, 1)]);
    let fetched = Visit::fetch(&*db, &keyring, &south, &(7, 2)).await.unwrap();
    assert_eq!(unnumbered(fetched.into_iter().collect()), batch[1..]);
    assert_eq!(Visit::fetch(&*db, &keyring, &north, &(7, 2)).await.unwrap(), None);

    // The key of an update is tenant and row id.
    let mut changed = visit(&south, 1);
    changed.note = "better".into();
    assert_eq!(update(&*db, &changed.seal(&keyring).unwrap()).await.unwrap(), 1);
    let sealed = Visit::seal_batch(&[changed.clone(), visit(&north, 9)], &keyring).unwrap();
    assert_eq!(update_batch(&mut *connection, sealed).await.unwrap(), 1, "north has no ninth");
    let fetched = Visit::fetch(&*db, &keyring, &south, &(7, 1)).await.unwrap().unwrap();
    assert_eq!(fetched.note, changed.note);
    let fetched = Visit::fetch(&*db, &keyring, &north, &(7, 1)).await.unwrap().unwrap();
    assert_eq!(fetched.note.expose(), "cough");
}

/// By SQL alone: to another row, column, tenant.
#[tokio::test]
async fn a_token_that_was_copied_does_not_open() {
    for copied in [
        "UPDATE visits SET note = (SELECT note FROM (SELECT * FROM visits) AS v WHERE number = 2) WHERE number = 1",
        "UPDATE visits SET note = other WHERE number = 1",
        "UPDATE visits SET note = (SELECT note FROM (SELECT * FROM visits) AS v WHERE clinic = 'south') WHERE number = 1",
        "UPDATE visits SET clinic = 'east' WHERE number = 1",
        "UPDATE visits SET patient_id = 8 WHERE number = 1",
    ] {
        let (keyring, db) = (keyring(), fresh().await);
        run(&db, VISITS).await;
        for row in [visit("north", 1), visit("north", 2), visit("south", 3)] {
            insert(&*db, &row.seal(&keyring).unwrap()).await.unwrap();
        }
        run(&db, copied).await;
        let row: SealedVisit = sqlx::query_as(sql("SELECT * FROM visits WHERE number = 1"))
            .fetch_one(&*db)
            .await
            .unwrap();
        let error = row.open(&keyring).unwrap_err();
        assert_eq!(error, OpenError::Authentication, "{copied}");
        assert_eq!(error.to_string(), "visits.note: the token does not authenticate");
    }
}

/// The labels are what tokens are bound to.
#[tokio::test]
async fn a_renamed_table_and_renamed_columns_still_open() {
    let (keyring, db) = (keyring(), fresh().await);
    run(&db, VISITS).await;
    insert(&*db, &visit("north", 1).seal(&keyring).unwrap()).await.unwrap();
    for rename in RENAMES {
        run(&db, rename).await;
    }
    let north = "north".to_owned();
    let by_index = Encounter::find_by_icd(&*db, &keyring, &north, "J10.1").await.unwrap();
    let fetched = Encounter::fetch(&*db, &keyring, &north, &(7, 1)).await.unwrap().unwrap();
    assert_eq!(by_index, std::slice::from_ref(&fetched));
    let was = visit("north", 1);
    assert_eq!((&fetched.note, &fetched.other, &fetched.icd), (&was.note, &was.other, &was.code));

    let remark: Sealed<String> = sqlx::query_scalar("SELECT remark FROM encounters").fetch_one(&*db).await.unwrap();
    let row = InTenant { tenant: north.clone(), row: (7, 1) };
    assert_eq!(Encounter::NOTE.open(&keyring, &row, &remark).unwrap(), was.note);

    let mut changed = fetched;
    changed.other = "none".into();
    assert_eq!(update(&*db, &changed.seal(&keyring).unwrap()).await.unwrap(), 1);
    let fetched = Encounter::fetch(&*db, &keyring, &north, &(7, 1)).await.unwrap();
    assert_eq!(fetched, Some(changed));
}

#[tokio::test]
async fn a_spoiled_column_is_named_with_its_table() {
    let (keyring, db) = (keyring(), fresh().await);
    run(&db, VISITS).await;
    insert(&*db, &visit("north", 1).seal(&keyring).unwrap()).await.unwrap();
    run(&db, "UPDATE visits SET code = 'J10.1'").await;
    let error = Visit::fetch(&*db, &keyring, &"north".to_owned(), &(7, 1)).await.unwrap_err();
    assert!(matches!(error, Error::Database(_)));
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("visits.code") && !shown.contains("J10"), "{shown}");
}
