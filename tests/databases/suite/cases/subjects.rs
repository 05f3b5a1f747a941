//! Visits of several people, each person's rows under a key of their own, kept in a table of secrets.

use std::collections::HashSet;
use std::sync::Arc;

use phield::sqlx::rotate::{Mode, Rotation, RotationOptions};
use phield::sqlx::{Error, insert, insert_batch};
use phield::{
    AppName, EncryptedPhi, KeyUse, Keyring, OpenError, Phi, SchemaFile, SealError, SubjectError,
    SubjectKeyMap, SubjectStore, SubjectStoreError, SubjectStoreFuture, TenantName, UnderSubjectKey,
};
use phield_testkit::TestRing;
use sqlx::Pool;

use phield_database_tests::Fresh;

use super::rotation::activate_another;
use super::rotation_meanwhile::before_the_count;
use super::{Db, fresh, sql};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "visits", subject_keys)]
struct Visit {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    patient_id: i64,
    #[phi(index(normalize = "name"))]
    note: Phi<String>,
}

const ADA: i64 = 7;
const EVE: i64 = 8;

/// Subject secrets in a table of the same database. (In production: of another one, backed up for a short time.)
struct Secrets(Pool<Db>);

/// The tenant as a column: empty without one, which no tenant's name is.
fn column(tenant: Option<&TenantName>) -> String {
    tenant.map(ToString::to_string).unwrap_or_default()
}

impl SubjectStore for Secrets {
    fn read<'a>(
        &'a self,
        tenant: Option<&'a TenantName>,
        subject: &'a [u8],
    ) -> SubjectStoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let query = sqlx::query_scalar(sql("SELECT stored FROM secrets WHERE tenant = ? AND subject = ?"));
            Ok(query
                .bind(column(tenant))
                .bind(subject)
                .fetch_optional(&self.0)
                .await?)
        })
    }

    fn insert_if_absent<'a>(
        &'a self,
        tenant: Option<&'a TenantName>,
        subject: &'a [u8],
        stored: &'a [u8],
    ) -> SubjectStoreFuture<'a, ()> {
        Box::pin(async move {
            let query = sqlx::query(sql("INSERT INTO secrets SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM secrets WHERE tenant = ? AND subject = ?)"));
            let query = query.bind(column(tenant)).bind(subject).bind(stored);
            let query = query.bind(column(tenant)).bind(subject);
            query.execute(&self.0).await?;
            Ok(())
        })
    }

    fn compare_and_swap<'a>(
        &'a self,
        tenant: Option<&'a TenantName>,
        subject: &'a [u8],
        old: &'a [u8],
        new: &'a [u8],
    ) -> SubjectStoreFuture<'a, bool> {
        Box::pin(async move {
            let query =
                sqlx::query(sql("UPDATE secrets SET stored = ? WHERE tenant = ? AND subject = ? AND stored = ?"));
            let query = query.bind(new).bind(column(tenant)).bind(subject).bind(old);
            Ok(query.execute(&self.0).await?.rows_affected() == 1)
        })
    }
}

impl Secrets {
    /// What is stored for these people, as a program reads it before it opens their rows.
    async fn load(&self, keyring: &Keyring, people: &[i64]) -> SubjectKeyMap {
        let mut keys = SubjectKeyMap::new();
        for person in people {
            let encoded = [b"i".as_slice(), &person.to_be_bytes()].concat();
            let stored = self.read(None, &encoded).await.unwrap();
            keys.insert(keyring, None, person, stored.as_deref()).unwrap();
        }
        keys
    }
}

async fn database() -> Fresh<Db> {
    let db = fresh().await;
    for table in [
        "CREATE TABLE visits (id {int} PRIMARY KEY, patient_id {int} NOT NULL, note {bytes} NOT NULL, \
         note_index {index} NOT NULL)",
        "CREATE TABLE secrets (tenant {key_text} NOT NULL, subject {key_bytes} NOT NULL, stored {bytes} NOT NULL, \
         PRIMARY KEY (tenant, subject))",
    ] {
        sqlx::query(sql(table)).execute(&*db).await.unwrap();
    }
    db
}

fn visit(id: i64, patient_id: i64, note: &str) -> Visit {
    Visit {
        id,
        patient_id,
        note: note.into(),
    }
}

/// Two people with secrets, two visits of each.
async fn two_people() -> (Keyring, Fresh<Db>, Secrets) {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let db = database().await;
    let secrets = Secrets((*db).clone());
    for person in [ADA, EVE] {
        keyring.subject_key_or_new(&secrets, None, &person).await.unwrap();
    }
    let subjects = secrets.load(&keyring, &[ADA, EVE]).await;
    let keys = keyring.with_subjects(&subjects);
    insert(&*db, &visit(1, ADA, "cough").seal(&keys).unwrap())
        .await
        .unwrap();
    let rows = [
        visit(2, EVE, "cough"),
        visit(3, ADA, "fever"),
        visit(4, EVE, "rash"),
    ];
    let sealed = Visit::seal_batch(&rows, &keys).unwrap();
    let mut connection = db.acquire().await.unwrap();
    insert_batch(&mut *connection, sealed).await.unwrap();
    drop(connection);
    (keyring, db, secrets)
}

fn is_open_error(error: &Error, is: impl Fn(&OpenError) -> bool) -> bool {
    matches!(error, Error::Open(error) if is(&error.cause()))
}

#[tokio::test]
async fn rows_of_two_people_are_found_and_fetched() {
    let (keyring, db, secrets) = two_people().await;
    let found = tokio::spawn(async move {
        let subjects = secrets.load(&keyring, &[ADA, EVE]).await;
        let keys = keyring.with_subjects(&subjects);
        let found = Visit::find_by_note(&*db, &keys, "Cough").await?;
        let fetched = Visit::fetch(&*db, &keys, &4).await?;
        Ok::<_, Error>((found, fetched))
    });
    let (found, fetched) = found.await.unwrap().unwrap();
    assert_eq!(found, [visit(1, ADA, "cough"), visit(2, EVE, "cough")]);
    assert_eq!(fetched, Some(visit(4, EVE, "rash")));
}

#[tokio::test]
async fn shredding_one_person_leaves_the_other() {
    let (keyring, db, secrets) = two_people().await;
    keyring.shred_subject(&secrets, None, &ADA).await.unwrap();
    let subjects = secrets.load(&keyring, &[ADA, EVE]).await;
    let keys = keyring.with_subjects(&subjects);
    assert_eq!(
        Visit::fetch(&*db, &keys, &2).await.unwrap(),
        Some(visit(2, EVE, "cough"))
    );
    assert_eq!(
        Visit::find_by_note(&*db, &keys, "rash").await.unwrap(),
        [visit(4, EVE, "rash")]
    );
    for id in [1, 3] {
        let error = Visit::fetch(&*db, &keys, &id).await.unwrap_err();
        assert!(is_open_error(&error, |error| matches!(
            error,
            OpenError::KeyState(_)
        )));
    }
    // One candidate is of the shredded person: the error says so, and no row is lost silently.
    let error = Visit::find_by_note(&*db, &keys, "cough").await.unwrap_err();
    assert!(is_open_error(&error, |error| matches!(
        error,
        OpenError::KeyState(_)
    )));
    // Shredding is complete without her index values. Then the finder does not meet her rows.
    let update = sqlx::query(sql("UPDATE visits SET note_index = ? WHERE patient_id = ?"));
    let no_value = [0_u8, 0, 0, 1, 0];
    update.bind(no_value.as_slice()).bind(ADA).execute(&*db).await.unwrap();
    assert_eq!(
        Visit::find_by_note(&*db, &keys, "cough").await.unwrap(),
        [visit(2, EVE, "cough")]
    );
    // She cannot be sealed for again, nor get a new secret.
    assert!(matches!(
        visit(5, ADA, "x").seal(&keys),
        Err(SealError::Subject(SubjectError::Shredded(_)))
    ));
    assert!(matches!(
        keyring.subject_key_or_new(&secrets, None, &ADA).await,
        Err(SubjectStoreError::Subject(SubjectError::Shredded(_)))
    ));
}

#[tokio::test]
async fn an_edited_subject_column_re_assigns_nothing() {
    let (keyring, db, secrets) = two_people().await;
    let update = sqlx::query(sql("UPDATE visits SET patient_id = ? WHERE id = 1"));
    update.bind(EVE).execute(&*db).await.unwrap();
    let subjects = secrets.load(&keyring, &[ADA, EVE]).await;
    let error = Visit::fetch(&*db, &keyring.with_subjects(&subjects), &1).await;
    assert!(is_open_error(&error.unwrap_err(), |error| *error == OpenError::Authentication));
    // Nor does it under no key at all.
    let only_ada = secrets.load(&keyring, &[ADA]).await;
    let error = Visit::fetch(&*db, &keyring.with_subjects(&only_ada), &1).await;
    assert!(is_open_error(&error.unwrap_err(), |error| *error == OpenError::NoSubjectSecret));
}

#[tokio::test]
async fn what_was_not_loaded_is_named() {
    let (keyring, db, secrets) = two_people().await;
    let subjects = secrets.load(&keyring, &[EVE]).await;
    let keys = keyring.with_subjects(&subjects);
    let error = Visit::find_by_note(&*db, &keys, "cough").await.unwrap_err();
    assert!(is_open_error(&error, |error| *error == OpenError::NoSubjectSecret));
    assert_eq!(
        Visit::fetch(&*db, &keys, &2).await.unwrap(),
        Some(visit(2, EVE, "cough"))
    );
    // The way that the manual tells: ask for the subjects of the candidates, and load their keys.
    let [first, second] = Visit::note_index(&keyring, "cough").unwrap();
    let query = sqlx::query_scalar(sql("SELECT DISTINCT patient_id FROM visits WHERE note_index IN (?, ?)"));
    let people: Vec<i64> = query.bind(first).bind(second).fetch_all(&*db).await.unwrap();
    let subjects = secrets.load(&keyring, &people).await;
    let keys = keyring.with_subjects(&subjects);
    assert_eq!(Visit::find_by_note(&*db, &keys, "cough").await.unwrap().len(), 2);

    let row = UnderSubjectKey { row: 2, subject: EVE };
    let (note, note_index) = Visit::seal_note(&keys, &row, &"asthma".into()).unwrap();
    let update = sqlx::query(sql("UPDATE visits SET note = ?, note_index = ? WHERE id = 2"));
    update.bind(note).bind(note_index).execute(&*db).await.unwrap();
    assert_eq!(
        Visit::find_by_note(&*db, &keys, "asthma").await.unwrap(),
        [visit(2, EVE, "asthma")]
    );
}

/// A rotation of the visits, in pages of 12 rows.
fn rotation(db: &Pool<Db>, keyring: &Arc<Keyring>) -> Rotation<Db> {
    let mut options = RotationOptions::default();
    (options.batch, options.acknowledged_by_every_instance) = (12, true);
    let schema = SchemaFile::of(&[Visit::SCHEMA]).unwrap();
    let rotation = Rotation::new(db.clone(), Arc::clone(keyring), schema).with_options(options);
    rotation.with_subjects(Arc::new(Secrets(db.clone())))
}

/// A page has rows of many people, each sealed again under the key of its own; rows of somebody who was shredded stay.
#[tokio::test]
async fn a_rotation_seals_every_row_under_the_key_of_its_subject() {
    let ring = TestRing::new("emr");
    let before = ring.ring().keyring().await.unwrap();
    let db = database().await;
    let secrets = Secrets((*db).clone());
    let people = [ADA, EVE, 9];
    for person in people {
        before.subject_key_or_new(&secrets, None, &person).await.unwrap();
    }
    let visits: Vec<_> = (1..=30)
        .zip(people.iter().cycle())
        .map(|(id, person)| visit(id, *person, &format!("note {id}")))
        .collect();
    let subjects = secrets.load(&before, &people).await;
    let sealed = Visit::seal_batch(&visits, &before.with_subjects(&subjects)).unwrap();
    insert_batch(&mut *db.acquire().await.unwrap(), sealed).await.unwrap();
    before.shred_subject(&secrets, None, &ADA).await.unwrap();

    for (key_use, mode) in [(KeyUse::Data, Mode::Data), (KeyUse::Index, Mode::Pepper)] {
        activate_another(&ring, key_use).await;
        if key_use == KeyUse::Index {
            // As shredding asks for.
            let rows = sqlx::query(sql("DELETE FROM visits WHERE patient_id = ?")).bind(ADA);
            rows.execute(&*db).await.unwrap();
        }
        let keyring = Arc::new(ring.ring().keyring().await.unwrap());
        let rotation = rotation(&db, &keyring);
        let status = rotation.run(mode, |_| {}).await.unwrap();
        assert_eq!((status.state, status.pass, status.quarantined.len()), ("done", 1, 0));
        let progress = status.tables.first().unwrap();
        assert_eq!(progress.changed, 20);
        if key_use == KeyUse::Data {
            let shredded = status.counts.iter().filter(|count| count.phase == "shredded");
            assert_eq!(shredded.map(|count| count.count).sum::<u64>(), 10);
        }
        let subjects = secrets.load(&keyring, &people).await;
        let keys = keyring.with_subjects(&subjects);
        for visit in visits.iter().filter(|visit| visit.patient_id != ADA) {
            let note = visit.note.expose().as_str();
            assert_eq!(Visit::find_by_note(&*db, &keys, note).await.unwrap(), std::slice::from_ref(visit));
        }
    }
    // Format §1: no two rows have a salt in common.
    let select = sqlx::query_scalar(sql("SELECT note FROM visits"));
    let notes: Vec<Vec<u8>> = select.fetch_all(&*db).await.unwrap();
    let salts: HashSet<_> = notes.iter().map(|note| note.get(5..17).unwrap()).collect();
    let nonces: HashSet<_> = notes.iter().map(|note| note.get(33..45).unwrap()).collect();
    assert_eq!((notes.len(), salts.len(), nonces.len()), (20, 20, 20));
}

/// Nor is a row of somebody who was shredded, and that is deleted meanwhile, one for another.
#[tokio::test]
async fn a_shredded_row_that_is_gone_hides_no_other_row() {
    let ring = TestRing::new("emr");
    let before = ring.ring().keyring().await.unwrap();
    let db = database().await;
    let secrets = Secrets((*db).clone());
    for person in [ADA, EVE] {
        before.subject_key_or_new(&secrets, None, &person).await.unwrap();
    }
    let subjects = secrets.load(&before, &[ADA, EVE]).await;
    let visits = [(1, ADA), (2, EVE)].map(|(id, person)| visit(id, person, "cough"));
    let sealed = Visit::seal_batch(&visits, &before.with_subjects(&subjects)).unwrap();
    insert_batch(&mut *db.acquire().await.unwrap(), sealed).await.unwrap();
    sqlx::query(sql("CREATE TABLE good AS SELECT * FROM visits")).execute(&*db).await.unwrap();
    before.shred_subject(&secrets, None, &ADA).await.unwrap();
    let new = activate_another(&ring, KeyUse::Data).await;
    let late = "UPDATE visits SET note = (SELECT note FROM good WHERE id = 2) WHERE id = 2";
    let rotation = rotation(&db, &Arc::new(ring.ring().keyring().await.unwrap()));
    before_the_count(&db, &rotation, &["DELETE FROM visits WHERE id = 1", late]).await;
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, status.pass, status.quarantined.len()), ("done", 2, 0));
    let notes: Vec<Vec<u8>> = sqlx::query_scalar(sql("SELECT note FROM visits")).fetch_all(&*db).await.unwrap();
    let keys: Vec<_> = notes.iter().map(|note| note.get(1..5).unwrap().to_vec()).collect();
    assert_eq!(keys, [new.get().to_be_bytes()]);
}
