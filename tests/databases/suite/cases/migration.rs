//! A column of plaintext becomes a column of tokens, and back.

use std::sync::Arc;
use std::time::Duration;

use phield::sqlx::migrate::{
    self, Acknowledgement, Closed, Migration, MigrationError, MigrationOptions, MixedError, MixedTime, Plaintext, Step,
};
use phield::{EncryptedPhi, Keyring, Phi, SchemaFile, Sealed};
use sqlx::Database as _;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Db, Fresh, fresh, sql};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients", index(name = "ssn_born", on(ssn = "exact", born = "date")))]
pub(super) struct Patient {
    #[phi(row_id)]
    pub(super) id: Uuid,
    #[phi(sql_name = "ssn_sealed", index(normalize = "ssn"))]
    pub(super) ssn: Option<Phi<String>>,
    #[phi(sql_name = "born_sealed")]
    pub(super) born: Option<Phi<String>>,
    pub(super) clinic: i64,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "cards")]
pub(super) struct Card {
    #[phi(row_id)]
    pub(super) id: i64,
    #[phi(sql_name = "number_sealed", store = "text", index(unique))]
    pub(super) number: Option<Phi<String>>,
    #[phi(sql_name = "visits_sealed", pad = "fixed(32)")]
    pub(super) visits: Phi<Option<i64>>,
}

pub(super) async fn patients(db: &Fresh<Db>) {
    let create = "CREATE TABLE patients (id {uuid} PRIMARY KEY NOT NULL, ssn {text_any_case}, born {text}, clinic {int} NOT NULL, \
                  born_sealed {bytes})";
    sqlx::query(sql(create)).execute(&**db).await.unwrap();
}

pub(super) async fn insert_plain(db: &Fresh<Db>, ssn: Option<&str>) -> Uuid {
    let id = Uuid::now_v7();
    let insert = sqlx::query(sql("INSERT INTO patients (id, ssn, clinic) VALUES (?, ?, 7)"));
    insert.bind(id).bind(ssn).execute(&**db).await.unwrap();
    id
}

pub(super) fn migration(db: &Fresh<Db>, keyring: &Arc<Keyring>) -> Migration<Db> {
    let schema = SchemaFile::of(&[Patient::SCHEMA, Card::SCHEMA]).unwrap();
    let mut options = MigrationOptions::default();
    options.batch = 40;
    options.who = "tests".to_owned();
    Migration::new((**db).clone(), Arc::clone(keyring), schema).with_options(options)
}

/// A row, as the application reads it in the mixed time.
pub(super) async fn read(db: &Fresh<Db>, keyring: &Keyring, id: Uuid) -> Result<Option<String>, MixedError> {
    let mixed = MixedTime::of(&**db, Patient::SSN).await.unwrap();
    let select = sqlx::query_as(sql("SELECT ssn, ssn_sealed FROM patients WHERE id = ?"));
    let (plaintext, sealed): (Plaintext<String>, Option<Sealed<String>>) =
        select.bind(id).fetch_one(&**db).await.unwrap();
    let ssn = mixed.read(keyring, &id, plaintext, sealed)?;
    Ok(ssn.map(|ssn| ssn.expose().clone()))
}

fn why(read: Result<Option<String>, MixedError>) -> Closed {
    match read.unwrap_err() {
        MixedError::Closed { table, column, why } => {
            assert_eq!((table.as_str(), column.as_str()), ("patients", "ssn"));
            why
        }
        error => panic!("{error}"),
    }
}

pub(super) async fn execute(db: &Fresh<Db>, text: &str) -> u64 {
    sqlx::query(sql(text)).execute(&**db).await.unwrap().rows_affected()
}

/// No process goes by the step before any more.
pub(super) async fn a_minute_later(db: &Fresh<Db>) {
    execute(db, "UPDATE phield_migration SET since = since - 61").await;
}

pub(super) async fn count(db: &Fresh<Db>, what: &str) -> i64 {
    let select = format!("SELECT count(*) FROM {what}");
    sqlx::query_scalar(sql(&select)).fetch_one(&**db).await.unwrap()
}

/// As an application does in the mixed time: the token and the plaintext in one statement.
pub(super) async fn write_both(db: &Fresh<Db>, keyring: &Keyring, id: Uuid, ssn: &str) -> u64 {
    let mixed = MixedTime::of(&**db, Patient::SSN).await.unwrap();
    let patient = Patient {
        id,
        ssn: Some(Phi::from(ssn)),
        born: None,
        clinic: 8,
    };
    let plaintext = mixed.dual_write(patient.ssn.as_ref()).unwrap();
    migrate::update(&**db, &patient.seal(keyring).unwrap(), &[&plaintext]).await.unwrap()
}

#[tokio::test]
async fn the_whole_way() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    let mut ids = Vec::new();
    for i in 0..130 {
        ids.push(insert_plain(&db, Some(&format!("999-12-{i:04}"))).await);
    }
    let none = insert_plain(&db, None).await;
    let migration = migration(&db, &keyring);

    let plan = migration.plan("patients", "ssn", "ssn").await.unwrap();
    assert_eq!((plan.step, plan.rows, plan.left, plan.add.len()), (None, 131, 131, 5), "{plan:?}");
    for _ in 0..2 {
        let added = migration.add("patients", "ssn", "ssn").await.unwrap();
        assert_eq!((added.step, added.who.as_str()), (Some(Step::Add), "tests"));
    }
    let other = migration.add("patients", "ssn", "born").await.unwrap_err();
    assert!(matches!(other, MigrationError::Another { .. }), "{other}");
    assert!(migration.plan("patients", "ssn", "ssn").await.unwrap().add.is_empty());

    // The mixed time: old rows, and rows that are written now.
    assert_eq!(read(&db, &keyring, ids[0]).await.unwrap().unwrap(), "999-12-0000");
    assert_eq!(read(&db, &keyring, none).await.unwrap(), None);
    assert_eq!(write_both(&db, &keyring, ids[1], "999-00-0001").await, 1);
    assert_eq!(read(&db, &keyring, ids[1]).await.unwrap().unwrap(), "999-00-0001");
    assert_eq!(count(&db, "patients WHERE ssn = '999-00-0001' AND ssn_sealed IS NOT NULL").await, 1);
    let early = migration.cutover("patients", "ssn", true).await.unwrap_err();
    assert!(matches!(early, MigrationError::Order { at: Step::Add, .. }), "{early}");

    let done = migration.backfill("patients", "ssn", None, |_| {}).await.unwrap();
    assert_eq!((done.step, done.sealed, done.left), (Some(Step::Backfill), 129, Some(0)));
    let found = Patient::find_by_ssn(&*db, &keyring, "999 12 0129").await.unwrap();
    assert_eq!(found.iter().map(|patient| patient.id).collect::<Vec<_>>(), [ids[129]]);

    // A process of the old version still writes plaintext alone: over a row, and a new row.
    execute(&db, "UPDATE patients SET ssn = '999-99-9999' WHERE ssn = '999-12-0005'").await;
    let late = insert_plain(&db, Some("999-88-8888")).await;
    assert!(matches!(
        migration.cutover("patients", "ssn", false).await.unwrap_err(),
        MigrationError::DualWrites
    ));
    let refused = migration.cutover("patients", "ssn", true).await.unwrap_err();
    let MigrationError::Rows(check) = &refused else { panic!("{refused}") };
    assert_eq!((check.left, check.differing, check.absent, check.unreadable), (1, 1, 0, 0), "{refused}");
    let error = migration.backfill("patients", "ssn", Some(0), |_| {}).await.unwrap_err();
    assert!(matches!(error, MigrationError::PlaintextWins { rows: 1, given: 0 }), "{error}");
    assert_eq!(count(&db, "phield_quarantine WHERE reason = 'differs'").await, 1);
    migration.backfill("patients", "ssn", Some(1), |_| {}).await.unwrap();
    assert_eq!(read(&db, &keyring, ids[5]).await.unwrap().unwrap(), "999-99-9999");

    let cut = migration.cutover("patients", "ssn", true).await.unwrap();
    assert_eq!(cut.step, Some(Step::Cutover));
    assert_eq!(migration.cutover("patients", "ssn", true).await.unwrap(), cut);
    assert_eq!(read(&db, &keyring, late).await.unwrap().unwrap(), "999-88-8888");
    // Plaintext is neither read nor written.
    let unsealed = insert_plain(&db, Some("999-77-7777")).await;
    assert_eq!(why(read(&db, &keyring, unsealed).await), Closed::Cutover);
    assert_eq!(write_both(&db, &keyring, ids[2], "999-00-0002").await, 1);
    assert_eq!(count(&db, "patients WHERE ssn IS NULL AND ssn_sealed IS NOT NULL").await, 1);
    assert_eq!(read(&db, &keyring, ids[2]).await.unwrap().unwrap(), "999-00-0002");

    the_drop(&db, &keyring, &migration).await;
    let found = Patient::find_by_ssn(&*db, &keyring, "999 00 0001").await.unwrap();
    assert_eq!(found.iter().map(|patient| patient.id).collect::<Vec<_>>(), [ids[1]]);
}

async fn the_drop(db: &Fresh<Db>, keyring: &Arc<Keyring>, migration: &Migration<Db>) {
    let known = Acknowledgement::backups("backups still hold the plaintext of patients.ssn");
    let other = Acknowledgement::backups("yes");
    let refused = migration.drop_plaintext("patients", "ssn", &other).await.unwrap_err();
    assert!(matches!(refused, MigrationError::Acknowledge { .. }), "{refused}");
    let refused = migration.drop_plaintext("patients", "ssn", &known).await.unwrap_err();
    assert!(matches!(refused, MigrationError::TooSoon { seconds: 1..=60 }), "{refused}");
    a_minute_later(db).await;
    let refused = migration.drop_plaintext("patients", "ssn", &known).await.unwrap_err();
    let MigrationError::Rows(check) = &refused else { panic!("{refused}") };
    assert_eq!((check.left, check.differing), (1, 0), "plaintext of before the cutover is old, and no difference");
    execute(db, "DELETE FROM patients WHERE ssn = '999-77-7777'").await;
    for _ in 0..2 {
        let dropped = migration.drop_plaintext("patients", "ssn", &known).await.unwrap();
        assert_eq!(dropped.step, Some(Step::Drop));
    }
    assert!(sqlx::query(sql("SELECT ssn FROM patients")).execute(&**db).await.is_err());
    let back = migration.revert("patients", "ssn").await.unwrap_err();
    assert!(matches!(back, MigrationError::Order { at: Step::Drop, .. }), "{back}");
    // What the application writes through MixedTime still works, until it is taken out.
    let mixed = MixedTime::of(&**db, Patient::SSN).await.unwrap();
    let patient = Patient {
        id: Uuid::now_v7(),
        ssn: Some(Phi::from("999-66-6666")),
        born: None,
        clinic: 1,
    };
    let plaintext = mixed.dual_write(patient.ssn.as_ref()).unwrap();
    migrate::insert(&**db, &patient.seal(keyring).unwrap(), &[&plaintext]).await.unwrap();
}

#[tokio::test]
async fn without_a_known_step_no_plaintext_is_read() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    let id = insert_plain(&db, Some("999-12-3456")).await;
    let migration = migration(&db, &keyring);
    // No table of migrations at all.
    let mixed = MixedTime::of(&*db, Patient::SSN).await.unwrap();
    let select = sqlx::query_as(sql("SELECT ssn, id FROM patients"));
    let (plaintext, _): (Plaintext<String>, Uuid) = select.fetch_one(&*db).await.unwrap();
    let refused = mixed.read(&*keyring, &id, plaintext, None::<Sealed<String>>).unwrap_err();
    assert!(!format!("{refused} {refused:?} {mixed:?}").contains("999"), "{refused}");
    assert!(refused.to_string().contains("table patients, column ssn"), "{refused}");

    migration.add("patients", "ssn", "ssn").await.unwrap();
    assert!(read(&db, &keyring, id).await.is_ok());
    execute(&db, "UPDATE phield_migration SET step = 'reopened'").await;
    assert_eq!(why(read(&db, &keyring, id).await), Closed::UnknownStep);
    let unknown = migration.backfill("patients", "ssn", None, |_| {}).await.unwrap_err();
    assert!(matches!(unknown, MigrationError::UnknownStep { .. }), "{unknown}");
    execute(&db, "DELETE FROM phield_migration").await;
    assert_eq!(why(read(&db, &keyring, id).await), Closed::NoMigration);
}

#[tokio::test]
async fn no_write_is_lost_while_rows_are_sealed() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    let mut ids = Vec::new();
    for i in 0..120 {
        ids.push(insert_plain(&db, Some(&format!("Abc-{i:04}"))).await);
    }
    let migration = migration(&db, &keyring);
    migration.add("patients", "ssn", "ssn").await.unwrap();
    let writes = async {
        for (i, id) in ids.iter().enumerate().rev() {
            // A change of case alone is a change, whatever the collation says.
            assert_eq!(write_both(&db, &keyring, *id, &format!("aBC-{i:04}")).await, 1);
        }
    };
    let (done, ()) = tokio::join!(migration.backfill("patients", "ssn", None, |_| {}), writes);
    assert!(done.is_ok());
    for (i, id) in ids.iter().enumerate() {
        assert_eq!(read(&db, &keyring, *id).await.unwrap().unwrap(), format!("aBC-{i:04}"));
    }
    migration.backfill("patients", "ssn", None, |_| {}).await.unwrap();
    assert!(migration.check("patients", "ssn").await.unwrap().is_clean());
}

#[tokio::test]
async fn bad_rows_and_duplicates_stop_nothing() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    let create = "CREATE TABLE cards (id {int} PRIMARY KEY NOT NULL, number {text}, visits {int}, visits_sealed {bytes})";
    execute(&db, create).await;
    execute(
        &db,
        "INSERT INTO cards (id, number, visits) VALUES (1, 'a', 1), (2, 'b', NULL), (3, 'a', 3), (4, 'c', 4)",
    )
    .await;
    let migration = migration(&db, &keyring);
    migration.add("cards", "number", "number").await.unwrap();
    let done = migration.backfill("cards", "number", None, |_| {}).await.unwrap();
    assert_eq!((done.step, done.left), (Some(Step::Add), Some(1)));
    assert_eq!(count(&db, "cards WHERE number_sealed IS NOT NULL").await, 3);
    assert_eq!(count(&db, "phield_quarantine WHERE reason = 'duplicate' AND row_key = 'i3'").await, 1);
    execute(&db, "UPDATE cards SET number = 'd' WHERE id = 3").await;
    let done = migration.backfill("cards", "number", None, |_| {}).await.unwrap();
    assert_eq!((done.step, done.left), (Some(Step::Backfill), Some(0)));
    assert_eq!(count(&db, "phield_quarantine").await, 0);
    assert!(migration.check("cards", "number").await.unwrap().is_clean());

    // A number, and SQL NULL as an encrypted null.
    migration.add("cards", "visits", "visits").await.unwrap();
    migration.backfill("cards", "visits", None, |_| {}).await.unwrap();
    assert_eq!(count(&db, "cards WHERE visits_sealed IS NULL").await, 0);
    for (id, visits) in [(1_i64, Some(1_i64)), (2, None), (3, Some(3))] {
        let card = Card::fetch(&*db, &keyring, &id).await.unwrap().unwrap();
        assert_eq!(*card.visits.expose(), visits);
    }
    execute(&db, "UPDATE cards SET visits_sealed = number_index WHERE id = 4").await;
    let check = migration.check("cards", "visits").await.unwrap();
    assert_eq!((check.unreadable, check.differing), (1, 0));
}

#[tokio::test]
async fn back_to_plaintext() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    let mut ids = Vec::new();
    for i in 0..50 {
        ids.push(insert_plain(&db, Some(&format!("999-12-{i:04}"))).await);
    }
    let migration = migration(&db, &keyring);
    migration.add("patients", "ssn", "ssn").await.unwrap();
    migration.backfill("patients", "ssn", None, |_| {}).await.unwrap();
    migration.cutover("patients", "ssn", true).await.unwrap();
    write_both(&db, &keyring, ids[3], "999-00-0003").await;
    // The old version comes back.
    let open = migration.revert("patients", "ssn").await.unwrap().unwrap();
    assert_eq!(open.step, Some(Step::Backfill));
    // Who asked before it still writes NULL beside the token.
    let refused = migration.revert("patients", "ssn").await.unwrap_err();
    assert!(matches!(refused, MigrationError::TooSoon { seconds: 1..=60 }), "{refused}");
    a_minute_later(&db).await;
    let refused = migration.revert("patients", "ssn").await.unwrap_err();
    assert!(matches!(refused, MigrationError::OnlySealed { rows: 1 }), "{refused}");
    let acknowledged = Acknowledgement::plaintext_phi("write the plaintext of patients.ssn into the column ssn of the database");
    let other = Acknowledgement::plaintext_phi("");
    let refused = migration.unseal("patients", "ssn", "ssn", &other, |_| {}).await.unwrap_err();
    assert!(matches!(refused, MigrationError::Acknowledge { .. }), "{refused}");
    let done = migration.unseal("patients", "ssn", "ssn", &acknowledged, |_| {}).await.unwrap();
    assert_eq!((done.rows, done.written, done.unreadable), (50, 1, 0));
    let again = migration.unseal("patients", "ssn", "ssn", &acknowledged, |_| {}).await.unwrap();
    assert_eq!((again.rows, again.written, again.unreadable), (50, 0, 0));
    assert_eq!(count(&db, "patients WHERE ssn = '999-00-0003'").await, 1);
    assert_eq!(migration.revert("patients", "ssn").await.unwrap(), None);
    assert!(sqlx::query(sql("SELECT ssn_sealed FROM patients")).execute(&*db).await.is_err());
    assert!(migration.status().await.unwrap().is_empty());
    // And the same way again.
    migration.add("patients", "ssn", "ssn").await.unwrap();
    let done = migration.backfill("patients", "ssn", None, |_| {}).await.unwrap();
    assert_eq!(done.sealed, 50);
}

/// A process of its own, as far as the database sees: with connections that end with it.
async fn another(db: &Fresh<Db>, keyring: &Arc<Keyring>) -> Migration<Db> {
    let pool = sqlx::Pool::connect_with((*db.connect_options()).clone()).await.unwrap();
    let mut options = MigrationOptions::default();
    options.batch = 5;
    let schema = SchemaFile::of(&[Patient::SCHEMA]).unwrap();
    Migration::new(pool, Arc::clone(keyring), schema).with_options(options)
}

/// Ended at any moment, a backfill goes on where it was, and an unseal likewise.
#[tokio::test]
async fn it_goes_on_wherever_it_was_stopped() {
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    for i in 0..150 {
        insert_plain(&db, Some(&format!("999-12-{i:04}"))).await;
    }
    let migration = migration(&db, &keyring);
    migration.add("patients", "ssn", "ssn").await.unwrap();
    let (mut stops, mut patience) = (0, Duration::from_millis(5));
    let done = loop {
        let stopped = another(&db, &keyring).await;
        match timeout(patience, stopped.backfill("patients", "ssn", None, |_| {})).await {
            Ok(done) => break done.unwrap(),
            Err(_) => (stops, patience) = (stops + 1, patience * 5 / 4),
        }
        // Every row is whole: a token and an index value, or neither.
        let halves = "patients WHERE (ssn_sealed IS NULL AND ssn_index IS NOT NULL) OR (ssn_sealed IS NOT NULL AND ssn_index IS NULL)";
        assert_eq!(count(&db, halves).await, 0);
    };
    assert!(stops > 1, "it was stopped {stops} times");
    assert_eq!(
        (done.step, done.sealed, done.left),
        (Some(Step::Backfill), 150, Some(0))
    );
    assert!(migration.check("patients", "ssn").await.unwrap().is_clean());
    execute(&db, "UPDATE patients SET ssn = NULL").await;
    let known = Acknowledgement::plaintext_phi("write the plaintext of patients.ssn into the column ssn of the database");
    let mut patience = Duration::from_millis(5);
    let unsealed = loop {
        let stopped = another(&db, &keyring).await;
        let unseal = stopped.unseal("patients", "ssn", "ssn", &known, |_| {});
        match timeout(patience, unseal).await {
            Ok(done) => break done.unwrap(),
            Err(_) => patience = patience * 5 / 4,
        }
    };
    assert_eq!((unsealed.rows, unsealed.unreadable), (150, 0));
    assert!(migration.check("patients", "ssn").await.unwrap().is_clean());
    assert_eq!(count(&db, "patients WHERE ssn IS NULL").await, 0);
}

/// Somebody of the old version has written a row, and the drop waits for them: the row has its value nowhere else.
#[tokio::test]
async fn a_plaintext_that_comes_while_the_drop_waits_is_not_lost() {
    if Db::NAME == "SQLite" {
        // There the check waits, too.
        return;
    }
    let (db, keyring) = (fresh().await, Arc::new(crate::keyring()));
    patients(&db).await;
    for i in 0..10 {
        insert_plain(&db, Some(&format!("999-12-{i:04}"))).await;
    }
    let migration = migration(&db, &keyring);
    migration.add("patients", "ssn", "ssn").await.unwrap();
    migration.backfill("patients", "ssn", None, |_| {}).await.unwrap();
    migration.cutover("patients", "ssn", true).await.unwrap();
    a_minute_later(&db).await;
    let mut late = db.begin().await.unwrap();
    let insert = "INSERT INTO patients (id, ssn, clinic) VALUES (?, '999-88-8888', 1)";
    sqlx::query(sql(insert)).bind(Uuid::now_v7()).execute(&mut *late).await.unwrap();
    let known = Acknowledgement::backups("backups still hold the plaintext of patients.ssn");
    let commit = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        late.commit().await.unwrap();
    };
    let (dropped, ()) = tokio::join!(migration.drop_plaintext("patients", "ssn", &known), commit);
    let refused = dropped.unwrap_err();
    let MigrationError::Rows(check) = &refused else { panic!("{refused}") };
    assert_eq!(check.left, 1, "{refused}");
    assert_eq!(count(&db, "patients WHERE ssn = '999-88-8888'").await, 1);
    // Nobody is locked out any more.
    execute(&db, "DELETE FROM patients WHERE ssn = '999-88-8888'").await;
    migration.drop_plaintext("patients", "ssn", &known).await.unwrap();
}
