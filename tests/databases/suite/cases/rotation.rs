//! Rotation: rows end under the active keys, what does not open is told, and a row that somebody else writes is not lost.

use std::sync::Arc;

use phield::sqlx::rotate::{Mode, Rotation, RotationError, RotationOptions, RotationStatus};
use phield::sqlx::{insert_batch, update};
use phield::{EncryptedPhi, KeyId, KeyUse, Keyring, Phi, Rollout, SchemaFile, Suite};
use phield_testkit::TestRing;
use sqlx::{Database as _, Pool};

use super::{Db, fresh, sql};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
pub(super) struct Patient {
    #[phi(row_id)]
    pub(super) id: i64,
    #[phi(index(normalize = "ssn"))]
    pub(super) ssn: Phi<String>,
    #[phi(store = "text")]
    note: Option<Phi<String>>,
    born: Option<Phi<String>>,
    pub(super) ward: String,
}

pub(super) struct World {
    pub(super) ring: TestRing,
    pub(super) schema: SchemaFile,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            ring: TestRing::new("emr"),
            schema: SchemaFile::of(&[Patient::SCHEMA]).unwrap(),
        }
    }

    pub(super) async fn keyring(&self) -> Arc<Keyring> {
        Arc::new(self.ring.ring().keyring().await.unwrap())
    }

    /// A new active key; gives the one that was active.
    pub(super) async fn replace(&self, key_use: KeyUse) -> KeyId {
        let ring = self.ring.ring();
        let keyring = ring.keyring().await.unwrap();
        let keys = keyring.status().keys.into_iter();
        let mut old = keys.filter(|key| key.key_use == key_use && key.state.seals()).map(|key| key.id);
        let old = old.next_back().unwrap();
        activate_another(&self.ring, key_use).await;
        old
    }

    pub(super) fn rotation(&self, db: &Pool<Db>, keyring: &Arc<Keyring>, batch: u32) -> Rotation<Db> {
        let mut options = RotationOptions::default();
        options.batch = batch;
        options.who = "the suite".to_owned();
        options.acknowledged_by_every_instance = true;
        Rotation::new(db.clone(), Arc::clone(keyring), self.schema.clone()).with_options(options)
    }
}

/// Slow enough to do something meanwhile.
fn slowly() -> RotationOptions {
    let mut options = RotationOptions::default();
    (options.batch, options.rate, options.acknowledged_by_every_instance) = (4, Some(8), true);
    options
}

async fn table(db: &Pool<Db>) {
    let table = "CREATE TABLE patients (id {int} PRIMARY KEY, ssn {bytes} NOT NULL, ssn_index {index} NOT NULL, note {text}, \
                 born {bytes}, ward {key_text} NOT NULL)";
    sqlx::query(sql(table)).execute(db).await.unwrap();
}

pub(super) fn patient(id: i64) -> Patient {
    Patient {
        id,
        ssn: Phi::new(format!("{id:09}")),
        note: (id % 3 != 0).then(|| Phi::new("sleeps badly".repeat(usize::try_from(id % 5).unwrap()))),
        born: (id % 2 == 0).then(|| "1970-01-01".into()),
        ward: format!("ward {id}"),
    }
}

/// Another key of a use, active at once.
pub(super) async fn activate_another(ring: &TestRing, key_use: KeyUse) -> KeyId {
    let (ring, suite) = (ring.ring(), (key_use == KeyUse::Data).then_some(Suite::Aes256Gcm));
    let new = ring.successor(key_use, suite, None).await.unwrap().key_id;
    ring.activate(new, Rollout::AcknowledgedByEveryInstance).await.unwrap();
    new
}

/// A patient with the number of another one.
pub(super) fn patient_with(id: i64, ssn_of: i64) -> Patient {
    Patient { ssn: patient(ssn_of).ssn, ..patient(id) }
}

pub(super) async fn filled(db: &Pool<Db>, keyring: &Keyring, rows: i64) -> Vec<Patient> {
    table(db).await;
    let patients: Vec<_> = (1..=rows).map(patient).collect();
    let sealed = Patient::seal_batch(&patients, keyring).unwrap();
    insert_batch(&mut *db.acquire().await.unwrap(), sealed).await.unwrap();
    patients
}

pub(super) async fn all(db: &Pool<Db>, keyring: &Keyring) -> Vec<Patient> {
    let select = "SELECT * FROM patients ORDER BY id";
    let rows: Vec<SealedPatient> = sqlx::query_as(sql(select)).fetch_all(db).await.unwrap();
    SealedPatient::open_batch(rows, keyring).unwrap()
}

/// How many values of these columns are under a key after the rotation.
pub(super) fn under(status: &RotationStatus, key: KeyId, phase: &str) -> u64 {
    let counts = status.counts.iter();
    let counts = counts.filter(|count| count.key == key.to_string() && count.phase == phase);
    counts.map(|count| count.count).sum()
}

#[tokio::test]
async fn data_keys() {
    let (db, world) = (fresh().await, World::new());
    let before = world.keyring().await;
    let patients = filled(&db, &before, 57).await;
    let old = world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let wards = "SELECT count(*) FROM patients WHERE ward LIKE 'ward %'";
    let rotation = world.rotation(&db, &keyring, 10);
    let plan = rotation.plan(Mode::Data).await.unwrap();
    assert_eq!(plan.tables.len(), 1);
    assert_eq!(plan.tables.first().unwrap().rows, 57);
    assert!(rotation.status().await.unwrap().is_none());

    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, status.pass, status.who.as_str()), ("done", 1, "the suite"));
    let tokens = 57 + 38 + 28;
    assert_eq!((under(&status, old, "before"), under(&status, old, "after")), (tokens, 0));
    assert!(status.quarantined.is_empty());
    let progress = status.tables.first().unwrap();
    assert_eq!((progress.total, progress.rows, progress.changed), (57, 57, 57));
    assert_eq!(all(&db, &keyring).await, patients);
    // Index values stay what they were.
    let found = Patient::find_by_ssn(&*db, &keyring, "000000042").await.unwrap();
    assert_eq!(found, [patient(42)]);
    let wards: i64 = sqlx::query_scalar(sql(wards)).fetch_one(&*db).await.unwrap();
    assert_eq!(wards, 57);

    // A second one finds nothing to do, and writes nothing.
    let again = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_ne!(again.id, status.id);
    assert_eq!(again.tables.first().unwrap().changed, 0);
}

#[tokio::test]
async fn peppers() {
    let (db, world) = (fresh().await, World::new());
    let patients = filled(&db, &*world.keyring().await, 57).await;
    let old = world.replace(KeyUse::Index).await;
    let keyring = world.keyring().await;
    let status = world.rotation(&db, &keyring, 10).run(Mode::Pepper, |_| {}).await.unwrap();
    assert_eq!((under(&status, old, "before"), under(&status, old, "after")), (57, 0));
    assert_eq!(all(&db, &keyring).await, patients);
    for id in [1, 30, 57] {
        let found = Patient::find_by_ssn(&*db, &keyring, format!("{id:09}").as_str()).await.unwrap();
        assert_eq!(found, [patient(id)]);
    }
}

#[tokio::test]
async fn what_does_not_open_is_in_quarantine_and_repaired() {
    let (db, world) = (fresh().await, World::new());
    let patients = filled(&db, &*world.keyring().await, 40).await;
    let execute = async |text: &str| sqlx::query(sql(text)).execute(&*db).await.unwrap();
    execute("CREATE TABLE good AS SELECT * FROM patients").await;
    // Of another row, no token at all, of a key that nobody has, text in another case.
    execute("UPDATE patients SET ssn = (SELECT ssn FROM good WHERE id = 8) WHERE id = 7").await;
    execute("UPDATE patients SET born = ssn_index WHERE id = 10").await;
    let unknown = "UPDATE patients SET note = 'phi1.Ef____8BAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9AQUI' WHERE id = 11";
    execute(unknown).await;
    execute("UPDATE patients SET note = lower(note) WHERE id = 13").await;
    world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let rotation = world.rotation(&db, &keyring, 7);
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, status.pass), ("done", 1));
    let noted = rotation.quarantine(100).await.unwrap();
    let noted: Vec<_> = noted
        .iter()
        .map(|value| (value.row_key.as_str(), value.column.as_str(), value.reason.as_str()))
        .collect();
    let expected = [
        ("i10", "born", "malformed"),
        ("i11", "note", "unknown-key"),
        ("i13", "note", "malformed"),
        ("i7", "ssn", "authentication"),
    ];
    assert_eq!(noted, expected);

    for column in ["ssn", "born", "note"] {
        let repair = format!("UPDATE patients SET {column} = (SELECT {column} FROM good WHERE good.id = patients.id) WHERE id IN (7, 10, 11, 13)");
        execute(&repair).await;
    }
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!(status.tables.first().unwrap().changed, 4);
    assert_eq!(rotation.quarantine(100).await.unwrap().len(), 0);
    assert_eq!(all(&db, &keyring).await, patients);
}

#[tokio::test]
async fn a_row_that_others_write_is_not_lost() {
    let (db, world) = (fresh().await, World::new());
    let mut patients = filled(&db, &*world.keyring().await, 120).await;
    let old = world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let rotation = world.rotation(&db, &keyring, 5);
    let writes = async {
        for (i, patient) in patients.iter_mut().enumerate().filter(|(i, _)| i % 7 == 0) {
            patient.ssn = Phi::new(format!("{:09}", 900_000_000 + i));
            patient.note = Some("written meanwhile".into());
            let sealed = patient.seal(&keyring).unwrap();
            let mut tries = 0;
            while let Err(error) = update(&*db, &sealed).await {
                tries += 1;
                assert!(tries < 50 && matches!(&error, phield::sqlx::Error::Database(e) if e.is_retryable()), "{error}");
            }
        }
    };
    let (status, ()) = tokio::join!(rotation.run(Mode::Data, |_| {}), writes);
    let status = status.unwrap();
    assert_eq!(under(&status, old, "after"), 0);
    assert_eq!(all(&db, &keyring).await, patients);
}

/// A new index, as the model of the next version has it: it has a column of its own, and no value in old rows.
#[tokio::test]
async fn a_new_unique_index_is_filled_and_duplicates_are_told() {
    #[derive(Debug, EncryptedPhi)]
    #[phi(table = "patients")]
    struct Next {
        #[phi(row_id)]
        id: i64,
        #[phi(index(normalize = "ssn"))]
        ssn: Phi<String>,
        #[phi(store = "text", index(normalize = "exact"))]
        note: Option<Phi<String>>,
        #[phi(index(normalize = "exact", unique))]
        born: Option<Phi<String>>,
        ward: String,
    }
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    table(&db).await;
    let patients: Vec<_> = (1..=30)
        .map(|id| Patient {
            // 4 and 5 have the birthday of 1 and 2.
            born: (id % 3 > 0).then(|| Phi::new(format!("1970-01-{:02}", if id < 6 { id % 3 } else { id }))),
            ..patient(id)
        })
        .collect();
    let sealed = Patient::seal_batch(&patients, &keyring).unwrap();
    insert_batch(&mut *db.acquire().await.unwrap(), sealed).await.unwrap();
    for column in ["note_index", "born_index"] {
        let add = format!("ALTER TABLE patients ADD COLUMN {column} {{index}}");
        sqlx::query(sql(&add)).execute(&*db).await.unwrap();
    }
    sqlx::query(sql("CREATE UNIQUE INDEX patients_born ON patients (born_index)")).execute(&*db).await.unwrap();
    let schema = SchemaFile::of(&[Next::SCHEMA]).unwrap();
    let mut options = RotationOptions::default();
    (options.batch, options.acknowledged_by_every_instance) = (7, true);
    let rotation = Rotation::new(db.clone(), Arc::clone(&keyring), schema).with_options(options);
    let status = rotation.run(Mode::Index, |_| {}).await.unwrap();
    assert_eq!(status.state, "done");
    let noted = rotation.quarantine(100).await.unwrap();
    let noted: Vec<_> = noted.iter().map(|v| (v.row_key.as_str(), v.column.as_str(), v.reason.as_str())).collect();
    assert_eq!(noted, [("i4", "born_index", "duplicate"), ("i5", "born_index", "duplicate")]);
    let found = Next::find_by_born(&*db, &keyring, "1970-01-29").await.unwrap();
    assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [29]);
    let found = Next::find_by_born(&*db, &keyring, "1970-01-01").await.unwrap();
    assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [1]);

    // Put right, it leaves the list.
    sqlx::query(sql("DELETE FROM patients WHERE id IN (1, 5)")).execute(&*db).await.unwrap();
    rotation.run(Mode::Index, |_| {}).await.unwrap();
    assert_eq!(rotation.quarantine(100).await.unwrap().len(), 0);
    let found = Next::find_by_born(&*db, &keyring, "1970-01-01").await.unwrap();
    assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [4]);
}

/// A value that another row has keeps the row from no other index.
#[tokio::test]
async fn a_duplicate_in_one_new_index_hinders_no_other() {
    #[derive(Debug, EncryptedPhi)]
    #[phi(table = "patients")]
    struct Next {
        #[phi(row_id)]
        id: i64,
        #[phi(index(normalize = "ssn"))]
        ssn: Phi<String>,
        #[phi(store = "text", index(normalize = "exact", unique))]
        note: Option<Phi<String>>,
        #[phi(index(normalize = "exact", unique))]
        born: Option<Phi<String>>,
        ward: String,
    }
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    let create = "CREATE TABLE patients (id {int} PRIMARY KEY, ssn {bytes} NOT NULL, ssn_index {index}, note {text}, \
                  note_index {index}, born {bytes}, born_index {index}, ward {key_text} NOT NULL)";
    sqlx::query(sql(create)).execute(&*db).await.unwrap();
    // 2 has the birthday of 1, 3 its note, and 4 both.
    let values = [("a", "x"), ("b", "x"), ("a", "y"), ("a", "x"), ("e", "z")];
    let patients = values.iter().zip(1..).map(|((note, born), id)| Patient {
        note: Some((*note).into()),
        born: Some((*born).into()),
        ..patient(id)
    });
    let sealed = Patient::seal_batch(&patients.collect::<Vec<_>>(), &keyring).unwrap();
    insert_batch(&mut *db.acquire().await.unwrap(), sealed).await.unwrap();
    for text in [
        "UPDATE patients SET ssn_index = NULL",
        "CREATE UNIQUE INDEX patients_note ON patients (note_index)",
        "CREATE UNIQUE INDEX patients_born ON patients (born_index)",
    ] {
        sqlx::query(sql(text)).execute(&*db).await.unwrap();
    }
    let schema = SchemaFile::of(&[Next::SCHEMA]).unwrap();
    let mut options = RotationOptions::default();
    options.acknowledged_by_every_instance = true;
    let rotation = Rotation::new(db.clone(), Arc::clone(&keyring), schema).with_options(options);
    let status = rotation.run(Mode::Index, |_| {}).await.unwrap();
    let progress = status.tables.first().unwrap();
    assert_eq!((progress.rows, progress.changed), (5, 5));
    let noted = rotation.quarantine(100).await.unwrap();
    let noted: Vec<_> = noted.iter().map(|v| (v.row_key.as_str(), v.column.as_str(), v.reason.as_str())).collect();
    let duplicates = [("i2", "born_index"), ("i3", "note_index"), ("i4", "born_index"), ("i4", "note_index")];
    assert_eq!(noted, duplicates.map(|(row, column)| (row, column, "duplicate")));
    let empty = async |column: &str| {
        let select = format!("SELECT id FROM patients WHERE {column} IS NULL ORDER BY id");
        let ids: Vec<i64> = sqlx::query_scalar(sql(&select)).fetch_all(&*db).await.unwrap();
        ids
    };
    assert_eq!(empty("ssn_index").await, [0_i64; 0]);
    assert_eq!((empty("note_index").await, empty("born_index").await), (vec![3, 4], vec![2, 4]));
    let ids = |found: Vec<Next>| found.iter().map(|row| row.id).collect::<Vec<_>>();
    for id in 1..=5 {
        let ssn = format!("{id:09}");
        assert_eq!(ids(Next::find_by_ssn(&*db, &keyring, ssn.as_str()).await.unwrap()), [id]);
    }
    assert_eq!(ids(Next::find_by_note(&*db, &keyring, "b").await.unwrap()), [2]);
    assert_eq!(ids(Next::find_by_born(&*db, &keyring, "y").await.unwrap()), [3]);
}

#[tokio::test]
async fn it_waits_until_nobody_seals_under_the_old_key() {
    let (db, world) = (fresh().await, World::new());
    filled(&db, &*world.keyring().await, 3).await;
    world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let mut options = RotationOptions::default();
    options.hard_ttl = std::time::Duration::from_secs(1000);
    let rotation = Rotation::new(db.clone(), keyring, world.schema.clone()).with_options(options);
    let error = rotation.run(Mode::Data, |_| {}).await.unwrap_err();
    assert!(matches!(error, RotationError::TooSoon { seconds: 990..=1000 }), "{error:?}");
    assert_eq!(rotation.status().await.unwrap().unwrap().state, "waiting");
}

#[tokio::test]
async fn paused_and_gone_on_with() {
    let (db, world) = (fresh().await, World::new());
    let patients = filled(&db, &*world.keyring().await, 30).await;
    world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let rotation = world.rotation(&db, &keyring, 4);
    assert!(matches!(rotation.pause().await.unwrap_err(), RotationError::NoRotation));
    let slow = world.rotation(&db, &keyring, 4).with_options(slowly());
    let pausing = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if rotation.pause().await.is_ok() {
                break;
            }
        }
    };
    let (stopped, ()) = tokio::join!(slow.run(Mode::Data, |_| {}), pausing);
    assert!(matches!(stopped.unwrap_err(), RotationError::Paused));
    assert!(matches!(rotation.run(Mode::Data, |_| {}).await.unwrap_err(), RotationError::Paused));
    assert!(matches!(rotation.run(Mode::Pepper, |_| {}).await.unwrap_err(), RotationError::UnderWay { .. }));
    assert_eq!(rotation.status().await.unwrap().unwrap().state, "paused");
    assert_eq!(rotation.end_pause().await.unwrap(), Mode::Data);
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, status.tables.first().unwrap().changed), ("done", 30));
    assert_eq!(all(&db, &keyring).await, patients);
}

/// What a pass went through with another schema it does not go through again: so it is not gone on with.
#[tokio::test]
async fn another_schema_does_not_join_and_a_cancelled_one_makes_room() {
    let (db, world) = (fresh().await, World::new());
    let patients = filled(&db, &*world.keyring().await, 12).await;
    let old = world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let rotation = world.rotation(&db, &keyring, 5);
    assert!(matches!(rotation.cancel().await.unwrap_err(), RotationError::NoRotation));
    let mut stops = RotationOptions::default();
    stops.hard_ttl = std::time::Duration::from_secs(1000);
    let stops = Rotation::new(db.clone(), Arc::clone(&keyring), world.schema.clone()).with_options(stops);
    stops.run(Mode::Data, |_| {}).await.unwrap_err();

    sqlx::query(sql("ALTER TABLE patients ADD COLUMN remark {text}")).execute(&*db).await.unwrap();
    let text = world.schema.to_json().replace("\"note\"", "\"remark\"");
    let other = SchemaFile::from_json(&text).unwrap();
    let mut options = RotationOptions::default();
    options.acknowledged_by_every_instance = true;
    let other = Rotation::new(db.clone(), Arc::clone(&keyring), other).with_options(options);
    let error = other.run(Mode::Data, |_| {}).await.unwrap_err();
    assert!(matches!(error, RotationError::OtherSchema { .. }), "{error:?}");

    rotation.cancel().await.unwrap();
    assert_eq!(rotation.status().await.unwrap().unwrap().state, "cancelled");
    assert!(matches!(rotation.cancel().await.unwrap_err(), RotationError::NoRotation));
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, under(&status, old, "after")), ("done", 0));
    assert_eq!(all(&db, &keyring).await, patients);
}

/// A worker that is at a page when the rotation is cancelled ends, and says why.
#[tokio::test]
async fn cancelled_while_it_works() {
    let (db, world) = (fresh().await, World::new());
    let patients = filled(&db, &*world.keyring().await, 30).await;
    world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let slow = world.rotation(&db, &keyring, 4).with_options(slowly());
    let cancelling = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if slow.cancel().await.is_ok() {
                break;
            }
        }
    };
    let (stopped, ()) = tokio::join!(slow.run(Mode::Data, |_| {}), cancelling);
    assert!(matches!(stopped.unwrap_err(), RotationError::Cancelled));
    assert_eq!(all(&db, &keyring).await, patients);
}

/// Who comes after a worker that was killed is told why nothing moves, and for how long.
#[tokio::test]
async fn who_waits_for_the_rows_of_another_says_so() {
    let (db, world) = (fresh().await, World::new());
    let patients = filled(&db, &*world.keyring().await, 30).await;
    world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let mut options = slowly();
    options.lease = std::time::Duration::from_secs(5);
    let slow = world.rotation(&db, &keyring, 4).with_options(options);
    let killed = tokio::spawn(async move { slow.run(Mode::Data, |_| {}).await.map(drop) });
    let rotation = world.rotation(&db, &keyring, 4);
    let status = loop {
        match rotation.status().await {
            Ok(Some(status)) if status.tables.iter().any(|table| table.rows > 0) => break status,
            _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    assert_eq!((status.workers, status.waits_for_others), (1, None));
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());

    let waits = std::sync::Mutex::new(Vec::new());
    let status = rotation.run(Mode::Data, |status| waits.lock().unwrap().push(status.waits_for_others)).await.unwrap();
    let waits = waits.into_inner().unwrap();
    assert!(waits.iter().flatten().count() > 0 && waits.iter().flatten().all(|seconds| *seconds <= 5), "{waits:?}");
    assert!(waits.last() == Some(&None), "{waits:?}");
    assert_eq!((status.state, status.workers), ("done", 0));
    assert_eq!(all(&db, &keyring).await, patients);
}

/// More keys in one page than a statement takes values.
#[tokio::test]
async fn a_column_of_other_bytes_is_counted() {
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    filled(&db, &keyring, 1).await;
    let token: Vec<u8> = sqlx::query_scalar(sql("SELECT ssn FROM patients")).fetch_one(&*db).await.unwrap();
    let mut transaction = db.begin().await.unwrap();
    for id in 2_u32..5001 {
        let mut ssn = token.clone();
        ssn[1..5].copy_from_slice(&(id << 8).to_be_bytes());
        let index = [&(id << 8).to_be_bytes()[..], &[7; 32]].concat();
        let insert = "INSERT INTO patients (id, ssn, ssn_index, ward) VALUES (?, ?, ?, 'w')";
        let insert = sqlx::query(sql(insert)).bind(i64::from(id)).bind(ssn).bind(index);
        insert.execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let status = world.rotation(&db, &keyring, 10_000).run(Mode::Scan, |_| {}).await.unwrap();
    let keys = status.counts.iter().filter(|count| count.phase == "after" && count.count == 1);
    assert!(keys.count() >= 2 * 4999);
}

#[tokio::test]
async fn several_workers_do_every_row_once() {
    let (db, world) = (fresh().await, World::new());
    let patients = filled(&db, &*world.keyring().await, 200).await;
    world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let mut options = RotationOptions::default();
    (options.batch, options.workers, options.acknowledged_by_every_instance) = (2, 3, true);
    let rotation = Rotation::new(db.clone(), Arc::clone(&keyring), world.schema.clone()).with_options(options);
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    let progress = status.tables.first().unwrap();
    assert_eq!((progress.rows, progress.changed), (200, 200));
    assert_eq!(all(&db, &keyring).await, patients);
}

#[tokio::test]
async fn columns_that_nobody_registered_are_found() {
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    filled(&db, &keyring, 150).await;
    for text in [
        // Beyond the first rows, inside of other text, and what only looks like a token.
        "CREATE TABLE copies AS SELECT id, CASE WHEN id < 149 THEN NULL ELSE ssn END AS secret FROM patients",
        "CREATE TABLE letters (id {int}, body {text}, digest {bytes})",
        "INSERT INTO letters SELECT id, concat('{\"note\": \"', note, '\"}'), ssn_index FROM patients WHERE id = 4",
        "UPDATE patients SET note = 'in the clear' WHERE id = 2",
    ] {
        let text = if Db::NAME == "SQLite" {
            text.replace("concat('{\"note\": \"', note, '\"}')", "'{\"note\": \"' || note || '\"}'")
        } else {
            text.to_owned()
        };
        // Braces that are not of types.
        let text = text.replace("'{\"note\"", "'(\"note\"").replace("'\"}'", "'\")'");
        sqlx::query(sql(&text)).execute(&*db).await.unwrap();
    }
    let found = world.rotation(&db, &keyring, 5).unregistered().await.unwrap();
    // Other tests have schemas of their own in the same database of PostgreSQL, which is looked through as a whole.
    let schema: String = match Db::NAME {
        "PostgreSQL" => {
            let schema = sqlx::query_scalar("SELECT current_schema() || '.'");
            schema.fetch_one(&*db).await.unwrap()
        }
        _ => String::new(),
    };
    let names = |columns: &[phield::sqlx::rotate::UnregisteredColumn]| {
        let own = columns.iter().filter(|c| c.table.starts_with(&schema));
        let names = own.map(|c| format!("{}.{} {}", c.table.rsplit('.').next().unwrap(), c.column, c.rows));
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&found.columns), ["copies.secret 2", "letters.body 1"]);
    assert_eq!(names(&found.plaintext), ["patients.note 1"]);
    assert!(found.unbound.is_empty());
}
