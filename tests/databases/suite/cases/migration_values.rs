//! No step of a migration destroys a value that stands in the token alone.

use std::sync::Arc;
use std::time::Duration;

use phield::sqlx::migrate::{self, Acknowledgement, Migration, MigrationOptions, MigrationError, Step};
use phield::{Keyring, Phi, SchemaFile};

use super::migration::{
    Card, Patient, a_minute_later, count, execute, insert_plain, migration, patients, read, write_both,
};
use super::{Db, Fresh, fresh};

async fn cards(db: &Fresh<Db>) {
    let create = "CREATE TABLE cards (id {int} PRIMARY KEY NOT NULL, number {text}, number_sealed {text}, number_index {index}, visits {int})";
    execute(db, create).await;
}

/// As the application of after the cutover writes: the token alone.
async fn insert_card(db: &Fresh<Db>, keyring: &Keyring, id: i64, visits: Option<i64>) {
    let card = Card {
        id,
        number: None,
        visits: Phi::new(visits),
    };
    migrate::insert(&**db, &card.seal(keyring).unwrap(), &[]).await.unwrap();
}

async fn visits(db: &Fresh<Db>, keyring: &Keyring, id: i64) -> Option<i64> {
    let card = Card::fetch(&**db, keyring, &id).await.unwrap().unwrap();
    *card.visits.expose()
}

async fn only_sealed(migration: &Migration<Db>, table: &str, column: &str) -> u64 {
    match migration.revert(table, column).await.unwrap_err() {
        MigrationError::OnlySealed { rows } => rows,
        error => panic!("{error}"),
    }
}

/// The backfill has sealed none of them: the application wrote every row.
#[tokio::test]
async fn a_column_that_is_never_null_in_tokens() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    cards(&db).await;
    let migration = migration(&db, &keyring);
    migration.add("cards", "visits", "visits").await.unwrap();
    let done = migration.backfill("cards", "visits", None, |_| {}).await.unwrap();
    assert_eq!((done.step, done.sealed), (Some(Step::Backfill), 0));
    migration.cutover("cards", "visits", true).await.unwrap();
    insert_card(&db, &keyring, 1, Some(7)).await;
    insert_card(&db, &keyring, 2, None).await;
    assert_eq!(migration.revert("cards", "visits").await.unwrap().unwrap().step, Some(Step::Backfill));
    a_minute_later(&db).await;
    assert_eq!(only_sealed(&migration, "cards", "visits").await, 1);

    // The plaintext that is not there wins over nothing, and is in nobody's way.
    migration.backfill("cards", "visits", Some(0), |_| {}).await.unwrap();
    let check = migration.check("cards", "visits").await.unwrap();
    assert_eq!((check.differing, check.only_sealed), (0, 1), "{check}");
    migration.cutover("cards", "visits", true).await.unwrap();
    assert_eq!(visits(&db, &keyring, 1).await, Some(7));
    assert_eq!(visits(&db, &keyring, 2).await, None);

    // An encrypted null beside SQL NULL is no value that is lost.
    migration.revert("cards", "visits").await.unwrap();
    a_minute_later(&db).await;
    execute(&db, "UPDATE cards SET visits = 7 WHERE id = 1").await;
    assert_eq!(migration.revert("cards", "visits").await.unwrap(), None);
}

#[tokio::test]
async fn a_token_that_is_newer_than_its_plaintext() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    let migration = migration(&db, &keyring);
    migration.add("patients", "ssn", "ssn").await.unwrap();
    let id = insert_plain(&db, None).await;
    write_both(&db, &keyring, id, "999-00-0001").await;
    assert_eq!(migration.backfill("patients", "ssn", None, |_| {}).await.unwrap().sealed, 0);
    // MixedTime is taken out too early.
    let patient = Patient {
        id,
        ssn: Some(Phi::from("999-00-0002")),
        born: None,
        clinic: 7,
    };
    migrate::update(&*db, &patient.seal(&keyring).unwrap(), &[]).await.unwrap();
    a_minute_later(&db).await;
    let refused = migration.revert("patients", "ssn").await.unwrap_err();
    let MigrationError::Rows(check) = &refused else { panic!("{refused}") };
    assert_eq!((check.differing, check.unreadable), (1, 0), "{refused}");
    // A token that does not open may hold a value that nothing else does.
    execute(&db, "UPDATE patients SET ssn_sealed = ssn_index").await;
    let refused = migration.revert("patients", "ssn").await.unwrap_err();
    let MigrationError::Rows(check) = &refused else { panic!("{refused}") };
    assert_eq!((check.differing, check.unreadable), (0, 1), "{refused}");
    execute(&db, "UPDATE patients SET ssn_sealed = NULL").await;
    assert_eq!(migration.revert("patients", "ssn").await.unwrap(), None);
    assert_eq!(count(&db, "phield_quarantine").await, 0);
}

/// A column that never was one of plaintext has nothing to go back to.
#[tokio::test]
async fn a_live_column_is_not_declared() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    let migration = migration(&db, &keyring);
    let id = insert_plain(&db, None).await;
    migration.add("patients", "ssn", "ssn").await.unwrap();
    write_both(&db, &keyring, id, "999-00-0001").await;
    // It goes on, since it is declared.
    migration.add("patients", "ssn", "ssn").await.unwrap();
    execute(&db, "DELETE FROM phield_migration").await;
    let refused = migration.add("patients", "ssn", "ssn").await.unwrap_err();
    assert!(matches!(refused, MigrationError::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("1 rows have a token"), "{refused}");
    assert_eq!(count(&db, "phield_migration").await, 0);
    assert!(read(&db, &keyring, id).await.unwrap().is_some());
}

async fn refused(migration: &Migration<Db>, into: &str) -> MigrationError {
    let known = format!("write the plaintext of patients.ssn into the column {into} of the database");
    let known = Acknowledgement::plaintext_phi(&known);
    migration.unseal("patients", "ssn", into, &known, |_| {}).await.unwrap_err()
}

/// The way out overwrites no column but that of its own migration.
#[tokio::test]
async fn an_unseal_takes_an_empty_column() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    execute(&db, "ALTER TABLE patients ADD COLUMN notes {text}").await;
    let ids = [insert_plain(&db, Some("999-12-0001")).await, insert_plain(&db, Some("999-12-0002")).await];
    let migration = migration(&db, &keyring);
    for from in ["clinic", "born_sealed", "id"] {
        let error = migration.add("patients", "ssn", from).await.unwrap_err();
        assert!(matches!(error, MigrationError::Unsupported { .. }), "{from}: {error}");
    }
    migration.add("patients", "ssn", "ssn").await.unwrap();
    migration.backfill("patients", "ssn", None, |_| {}).await.unwrap();
    for into in ["born_sealed", "ssn_sealed", "ssn_index", "ssn_born_index", "clinic", "id"] {
        let error = refused(&migration, into).await;
        assert!(matches!(error, MigrationError::Unsupported { .. }), "{into}: {error}");
    }
    // Names of SQLite and MariaDB have no case.
    let error = refused(&migration, "BORN_SEALED").await;
    let is_refused = matches!(error, MigrationError::Unsupported { .. } | MigrationError::NoPlaintextColumn { .. });
    assert!(is_refused, "{error}");

    // The text is one of this column.
    let other = Acknowledgement::plaintext_phi("write the plaintext of patients.ssn into the column ssn of the database");
    let error = migration.unseal("patients", "ssn", "notes", &other, |_| {}).await.unwrap_err();
    assert!(matches!(error, MigrationError::Acknowledge { .. }), "{error}");
    execute(&db, "UPDATE patients SET notes = 'allergic' WHERE ssn = '999-12-0001'").await;
    let error = refused(&migration, "notes").await;
    assert!(matches!(error, MigrationError::Occupied { rows: 1, .. }), "{error}");
    assert_eq!(count(&db, "patients WHERE notes IS NOT NULL").await, 1);
    // A row that has no token, and something else than NULL.
    execute(&db, "UPDATE patients SET notes = NULL").await;
    execute(&db, "UPDATE patients SET ssn_sealed = NULL, notes = 'allergic' WHERE ssn = '999-12-0001'").await;
    assert!(matches!(refused(&migration, "notes").await, MigrationError::Occupied { rows: 1, .. }));

    // Where its own value stands, it goes on.
    migration.backfill("patients", "ssn", None, |_| {}).await.unwrap();
    execute(&db, "UPDATE patients SET notes = ssn WHERE ssn = '999-12-0001'").await;
    let known = Acknowledgement::plaintext_phi("write the plaintext of patients.ssn into the column notes of the database");
    for written in [1, 0] {
        let done = migration.unseal("patients", "ssn", "notes", &known, |_| {}).await.unwrap();
        assert_eq!((done.rows, done.written), (2, written));
    }
    assert_eq!(count(&db, "patients WHERE notes = ssn").await, 2);
    for id in ids {
        assert!(read(&db, &keyring, id).await.unwrap().is_some());
    }
}

/// Another part of an index is written between the read and the write of a page.
#[tokio::test]
async fn an_index_value_is_one_of_all_its_parts() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    insert_plain(&db, Some("999-12-0001")).await;
    let id = insert_plain(&db, Some("999-12-0002")).await;
    // The second page is read, and written a second later.
    let mut options = MigrationOptions::default();
    (options.batch, options.rate) = (1, Some(1));
    let schema = SchemaFile::of(&[Patient::SCHEMA]).unwrap();
    let migration = Migration::new((*db).clone(), Arc::clone(&keyring), schema).with_options(options);
    migration.add("patients", "ssn", "ssn").await.unwrap();
    let write = async {
        while count(&db, "patients WHERE ssn_sealed IS NOT NULL").await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let patient = Patient {
            id,
            ssn: None,
            born: Some(Phi::from("1980-02-29")),
            clinic: 7,
        };
        migrate::update(&*db, &patient.seal(&keyring).unwrap(), &[]).await.unwrap();
        assert_eq!(count(&db, "patients WHERE ssn_sealed IS NOT NULL").await, 1, "too late to tell anything");
    };
    let (done, ()) = tokio::join!(migration.backfill("patients", "ssn", None, |_| {}), write);
    assert_eq!(done.unwrap().sealed, 2);
    let found = Patient::find_by_ssn_born(&*db, &keyring, "999-12-0002", "1980-02-29").await.unwrap();
    assert_eq!(found.iter().map(|patient| patient.id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn a_column_of_floating_point_numbers_is_no_source() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    let migration = migration(&db, &keyring);
    for (i, sql_type) in ["REAL", "FLOAT", "DOUBLE PRECISION"].into_iter().enumerate() {
        execute(&db, &format!("ALTER TABLE patients ADD COLUMN weight_{i} {sql_type}")).await;
        let error = migration.add("patients", "ssn", &format!("weight_{i}")).await.unwrap_err();
        assert!(error.to_string().contains("floating-point"), "{sql_type}: {error}");
    }
}
