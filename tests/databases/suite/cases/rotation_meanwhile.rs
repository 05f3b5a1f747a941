//! What others do between the pass that works and the count: neither hides a row that is left under an old key.

use phield::{EncryptedPhi, KeyState, KeyUse, Phi, SchemaFile};
use phield::sqlx::rotate::{Mode, Rotation, RotationOptions, RotationStatus, TableProgress};
use sqlx::{AssertSqlSafe, Database as _, Pool};

use phield::sqlx::{insert, update};

use super::rotation::{Patient, World, all, filled, patient_with, under};
use super::{Db, Fresh, fresh, sql};

/// Has the database do something in the moment in which the first count begins.
pub(super) async fn before_the_count(db: &Pool<Db>, rotation: &Rotation<Db>, statements: &[&str]) {
    trigger((db, rotation), ("a", "UPDATE ON phield_rotation"), "OLD.phase = 'work' AND NEW.phase = 'count' AND NEW.pass = 1", statements).await;
}

/// A trigger on one of the tables of rotations, which are made where there are none.
async fn trigger(
    (db, rotation): (&Pool<Db>, &Rotation<Db>),
    (name, event): (&str, &str),
    condition: &str,
    statements: &[&str],
) {
    rotation.run(Mode::Scan, |_| {}).await.unwrap();
    let statements = statements.iter().map(|statement| format!("{statement};")).collect::<String>();
    let texts = match Db::NAME {
        "PostgreSQL" => vec![
            format!(
                "CREATE FUNCTION meanwhile_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF {condition} THEN {statements} END IF; RETURN NULL; END $$"
            ),
            format!("CREATE TRIGGER meanwhile_{name} AFTER {event} FOR EACH ROW EXECUTE FUNCTION meanwhile_{name}()"),
        ],
        "MySQL" => vec![format!(
            "CREATE TRIGGER meanwhile_{name} AFTER {event} FOR EACH ROW BEGIN IF {condition} THEN {statements} END IF; END"
        )],
        _ => vec![format!("CREATE TRIGGER meanwhile_{name} AFTER {event} WHEN {condition} BEGIN {statements} END")],
    };
    for text in texts {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(db).await.unwrap();
    }
}

/// A table of 20 rows of which the value of row 7 does not open, and its copy as it was.
async fn one_broken(db: &Pool<Db>, world: &World) -> Vec<Patient> {
    let patients = filled(db, &*world.keyring().await, 20).await;
    for text in [
        "CREATE TABLE good AS SELECT * FROM patients",
        "UPDATE patients SET ssn = (SELECT ssn FROM good WHERE id = 8) WHERE id = 7",
    ] {
        sqlx::query(sql(text)).execute(db).await.unwrap();
    }
    patients
}

#[tokio::test]
async fn a_note_of_a_row_that_is_gone_hides_no_other_row() {
    for (key_use, mode, column) in [(KeyUse::Data, Mode::Data, "ssn"), (KeyUse::Index, Mode::Pepper, "ssn_index")] {
        let (db, world) = (fresh().await, World::new());
        let mut patients = one_broken(&db, &world).await;
        let old = world.replace(key_use).await;
        let keyring = world.keyring().await;
        // A writer that does not know the new key yet.
        let late = format!("UPDATE patients SET {column} = (SELECT {column} FROM good WHERE id = 9) WHERE id = 9");
        let rotation = world.rotation(&db, &keyring, 7);
        before_the_count(&db, &rotation, &["DELETE FROM patients WHERE id = 7", &late]).await;
        let status = rotation.run(mode, |_| {}).await.unwrap();
        assert_eq!((status.state, status.pass, under(&status, old, "after")), ("done", 2, 0), "{mode:?}");
        assert_eq!((under(&status, old, "authentication"), rotation.quarantine(9).await.unwrap().len()), (0, 0));
        patients.remove(6);
        assert_eq!(all(&db, &keyring).await, patients);
    }
}

#[tokio::test]
async fn what_was_put_back_under_the_old_key_is_left() {
    let (db, world) = (fresh().await, World::new());
    let patients = one_broken(&db, &world).await;
    let old = world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let rotation = world.rotation(&db, &keyring, 7);
    let repair = "UPDATE patients SET ssn = (SELECT ssn FROM good WHERE id = 7) WHERE id = 7";
    before_the_count(&db, &rotation, &[repair]).await;
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, status.pass, under(&status, old, "after")), ("done", 2, 0));
    assert_eq!(all(&db, &keyring).await, patients);
}

#[tokio::test]
async fn what_is_in_quarantine_is_counted_apart() {
    for (key_use, mode) in [(KeyUse::Data, Mode::Data), (KeyUse::Index, Mode::Pepper)] {
        let (db, world) = (fresh().await, World::new());
        one_broken(&db, &world).await;
        let old = world.replace(key_use).await;
        let status = world.rotation(&db, &world.keyring().await, 7).run(mode, |_| {}).await.unwrap();
        let counts = ["after", "authentication"].map(|phase| under(&status, old, phase));
        assert_eq!((status.state, status.pass, counts), ("done", 1, [0, 1]), "{mode:?}");
    }
}

/// What was under a compromised key is under a good one afterwards: how many values that is stays known, whatever comes after it.
#[tokio::test]
async fn what_was_under_a_compromised_key_is_not_forgotten() {
    let (db, world) = (fresh().await, World::new());
    filled(&db, &*world.keyring().await, 20).await;
    let old = world.replace(KeyUse::Data).await;
    world.ring.ring().retire_without_successor(old, KeyState::Compromised).await.unwrap();
    sqlx::query(sql("CREATE TABLE good AS SELECT * FROM patients")).execute(&*db).await.unwrap();
    let rotation = world.rotation(&db, &world.keyring().await, 7);
    // A second pass, over one value more.
    let late = "UPDATE patients SET ssn = (SELECT ssn FROM good WHERE id = 9) WHERE id = 9";
    before_the_count(&db, &rotation, &[late]).await;
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    let compromised = |status: &RotationStatus| {
        let counts = status.counts.iter().filter(|count| count.phase == "compromised");
        let counts = counts.map(|count| (count.table.clone(), count.column.clone(), count.key.clone(), count.count));
        counts.collect::<Vec<_>>()
    };
    let expected = [("born", 10), ("note", 14), ("ssn", 21)];
    let expected = expected.map(|(column, count)| ("patients".to_owned(), column.to_owned(), old.to_string(), count));
    assert_eq!((status.state, status.pass, compromised(&status)), ("done", 2, expected.to_vec()));
    for mode in [Mode::Scan, Mode::Verify] {
        let status = rotation.run(mode, |_| {}).await.unwrap();
        assert_eq!(compromised(&status), expected.to_vec(), "{mode:?}");
    }
}

/// A count that has passed rows over is no evidence; one of a table that others work with is.
#[tokio::test]
async fn rows_that_a_count_has_passed_over_are_missed() {
    for come_back in [true, false] {
        let (db, world) = (fresh().await, World::new());
        filled(&db, &*world.keyring().await, 300).await;
        sqlx::query(sql("CREATE TABLE good AS SELECT * FROM patients")).execute(&*db).await.unwrap();
        world.replace(KeyUse::Data).await;
        let rotation = world.rotation(&db, &world.keyring().await, 100);
        before_the_count(&db, &rotation, &["DELETE FROM patients WHERE id > 10"]).await;
        if come_back {
            let counted = "EXISTS (SELECT 1 FROM phield_rotation WHERE phase = 'count' AND mode = 'data')";
            let back = "INSERT INTO patients SELECT * FROM good WHERE id > 10";
            trigger((&db, &rotation), ("b", "DELETE ON phield_rotation_share"), counted, &[back]).await;
        }
        let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
        let table = status.tables.first().unwrap();
        let expected = (300, 10, Some(if come_back { 300 } else { 10 }));
        assert_eq!((table.total, table.rows, table.at_end), expected);
        assert_eq!(table.is_short(), come_back);
    }
}

#[tokio::test]
async fn a_few_rows_that_others_move_are_missed_by_no_count() {
    let (db, world) = (fresh().await, World::new());
    filled(&db, &*world.keyring().await, 120).await;
    let rotation = world.rotation(&db, &world.keyring().await, 100);
    let status = rotation.run(Mode::Scan, |_| {}).await.unwrap();
    let table = status.tables.first().unwrap();
    let is_short = |rows, total, at_end| {
        let (at_end, table) = (Some(at_end), table.clone());
        TableProgress { rows, total, at_end, ..table }.is_short()
    };
    assert_eq!((table.total, table.rows, table.at_end), (120, 120, Some(120)));
    for (rows, total, at_end, expected) in [
        (20, 120, 120, false),
        (19, 120, 120, true),
        (19, 120, 119, false),
        (0, 5000, 100, false),
        (990_000, 1_000_000, 1_100_000, false),
        (989_999, 1_000_000, 1_100_000, true),
        (2_000_000, 1_000_000, 1_000_000, false),
    ] {
        assert_eq!(is_short(rows, total, at_end), expected, "{rows} {total} {at_end}");
    }
}

/// What a transaction has written is seen by nobody before its end: a count that begins meanwhile would be evidence that it is not there.
#[tokio::test]
async fn a_count_waits_for_transactions_that_are_open() {
    for ends in [true, false] {
        // One that writes waits for all others there.
        if !ends && Db::NAME == "SQLite" {
            continue;
        }
        let (db, world) = (fresh().await, World::new());
        filled(&db, &*world.keyring().await, 10).await;
        sqlx::query(sql("CREATE TABLE good AS SELECT * FROM patients")).execute(&*db).await.unwrap();
        sqlx::query(sql("DELETE FROM patients WHERE id = 3")).execute(&*db).await.unwrap();
        let old = world.replace(KeyUse::Data).await;
        let keyring = world.keyring().await;
        let mut options = RotationOptions::default();
        options.acknowledged_by_every_instance = true;
        options.lease = std::time::Duration::from_secs(if ends { 30 } else { 1 });
        let rotation = world.rotation(&db, &keyring, 7).with_options(options);
        for mode in [Mode::Data, Mode::Scan] {
            let mut writer = db.begin().await.unwrap();
            let late = "INSERT INTO patients SELECT * FROM good WHERE id = 3";
            sqlx::query(sql(late)).execute(&mut *writer).await.unwrap();
            let run = rotation.run(mode, |_| {});
            let status = if ends {
                let end = async {
                    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
                    writer.commit().await.unwrap();
                };
                tokio::join!(run, end).0.unwrap()
            } else {
                let status = run.await.unwrap();
                writer.rollback().await.unwrap();
                status
            };
            assert_eq!((status.state, status.open_writers), ("done", !ends), "{mode:?}");
            let counts = status.counts.iter().filter(|count| count.phase == "after" && count.column == "ssn");
            let rows: u64 = counts.map(|count| count.count).sum();
            let is_of_old = under(&status, old, "after") > 0;
            assert_eq!((rows, is_of_old), (if ends { 10 } else { 9 }, ends && mode == Mode::Scan), "{mode:?}");
            sqlx::query(sql("DELETE FROM patients WHERE id = 3")).execute(&*db).await.unwrap();
        }
    }
}

/// When a count began decides about the destruction of keys; it is told by two clocks.
#[tokio::test]
async fn clocks_that_are_apart() {
    let (db, world) = (fresh().await, World::new());
    filled(&db, &*world.keyring().await, 3).await;
    let keyring = world.keyring().await;
    for mode in [Mode::Scan, Mode::Verify, Mode::Data] {
        for (ahead, behind, is_wrong) in [(0, 0, false), (290, 0, false), (4000, 0, true), (-4000, 4000, true)] {
            let mut options = RotationOptions::default();
            (options.acknowledged_by_every_instance, options.clock_ahead) = (true, ahead);
            let rotation = world.rotation(&db, &keyring, 7).with_options(options);
            let status = rotation.run(mode, |_| {}).await.unwrap();
            let apart = status.clocks_apart.abs_diff(ahead.unsigned_abs());
            let began = (status.started - behind).abs_diff(status.counting_since);
            assert!(apart < 10 && began < 10, "{mode:?} {ahead}: {apart} {began}");
            assert_eq!(status.has_wrong_clock(), is_wrong, "{mode:?} {ahead}");
        }
    }
}

/// Ten rows, of which two have the same value, before a unique index is filled.
async fn without_index() -> (Fresh<Db>, World, Rotation<Db>) {
    let (db, world) = (fresh().await, World::new());
    filled(&db, &*world.keyring().await, 10).await;
    let rotation = world.rotation(&db, &world.keyring().await, 100);
    let twice = patient_with(10, 9);
    update(&*db, &twice.seal(&*world.keyring().await).unwrap()).await.unwrap();
    for text in [
        "ALTER TABLE patients RENAME TO old",
        PATIENTS_WITHOUT_INDEX,
        "INSERT INTO patients (id, ssn, note, born, ward) SELECT id, ssn, note, born, ward FROM old",
        "CREATE UNIQUE INDEX patients_ssn ON patients (ssn_index)",
    ] {
        sqlx::query(sql(text)).execute(&*db).await.unwrap();
    }
    (db, world, rotation)
}

async fn filled_rows(db: &Pool<Db>) -> i64 {
    let count = "SELECT count(*) FROM patients WHERE ssn_index IS NOT NULL";
    sqlx::query_scalar(sql(count)).fetch_one(db).await.unwrap()
}

/// An instance of the version before the index writes into a row whenever it is to be filled.
#[tokio::test]
async fn a_row_that_is_written_all_the_time_is_filled_by_the_next_pass() {
    let (db, world, rotation) = without_index().await;
    for text in ["CREATE TABLE spare (n {int}, ssn {bytes})", "CREATE TABLE turn (n {int})", "INSERT INTO turn VALUES (0)"] {
        sqlx::query(sql(text)).execute(&*db).await.unwrap();
    }
    let keyring = world.keyring().await;
    for n in 1..=100 {
        update(&*db, &patient_with(7, 7).seal(&keyring).unwrap()).await.unwrap();
        let keep = format!("INSERT INTO spare SELECT {n}, ssn FROM patients WHERE id = 7");
        sqlx::query(sql(&keep)).execute(&*db).await.unwrap();
    }
    sqlx::query(sql("UPDATE patients SET ssn_index = NULL")).execute(&*db).await.unwrap();
    let writes = [
        "UPDATE turn SET n = n + 1",
        "UPDATE patients SET ssn = (SELECT spare.ssn FROM spare, turn WHERE spare.n = turn.n) WHERE id = 7",
    ];
    let in_the_first_pass = "(SELECT pass FROM phield_rotation WHERE open_slot = 1 AND phase = 'work') = 1";
    trigger((&db, &rotation), ("a", "UPDATE ON phield_rotation_share"), in_the_first_pass, &writes).await;
    let status = rotation.run(Mode::Index, |_| {}).await.unwrap();
    assert_eq!((status.state, status.pass), ("done", 2));
    assert_eq!((filled_rows(&db).await, rotation.quarantine(9).await.unwrap().len()), (9, 1));
    let found = Patient::find_by_ssn(&*db, &keyring, "000000007").await.unwrap();
    assert_eq!(found, [patient_with(7, 7)]);
}

/// A worker that is thought dead may have been at a row that it writes alone, because of a duplicate.
#[tokio::test]
async fn who_has_lost_a_share_writes_no_row_of_it() {
    let (db, _, rotation) = without_index().await;
    sqlx::query(sql("CREATE TABLE written (id {int})")).execute(&*db).await.unwrap();
    let of_another = "INSERT INTO written SELECT NEW.id FROM phield_rotation_share WHERE owner = 'another'";
    trigger((&db, &rotation), ("a", "UPDATE ON patients"), "NEW.id > 3", &[of_another]).await;
    let lost = "UPDATE phield_rotation_share SET owner = 'another', lease = 0";
    trigger((&db, &rotation), ("b", "UPDATE ON patients"), "NEW.id = 3", &[lost]).await;
    let status = rotation.run(Mode::Index, |_| {}).await.unwrap();
    let written: Vec<i64> = sqlx::query_scalar(sql("SELECT id FROM written")).fetch_all(&*db).await.unwrap();
    assert_eq!((status.state, written.len()), ("done", 0), "{written:?}");
    assert_eq!((filled_rows(&db).await, rotation.quarantine(9).await.unwrap().len()), (9, 1));
}

/// A page that is read again, with a row that somebody put into it, ends before the row that it ended with.
#[tokio::test]
async fn a_row_that_is_pushed_out_of_its_page_is_filled_by_the_next_pass() {
    let (db, world, _) = without_index().await;
    let keyring = world.keyring().await;
    for text in [
        "DELETE FROM patients WHERE id = 10",
        "CREATE TABLE spare AS SELECT * FROM patients",
        "DELETE FROM patients WHERE id = 6",
    ] {
        sqlx::query(sql(text)).execute(&*db).await.unwrap();
    }
    update(&*db, &patient_with(9, 9).seal(&keyring).unwrap()).await.unwrap();
    sqlx::query(sql("UPDATE patients SET ssn_index = NULL")).execute(&*db).await.unwrap();
    // While the first page, 1, 2, 3, 4, is written. The second one, 5, 7, 8, 9, is read before, or at the same time.
    let writes = [
        "UPDATE patients SET ssn = (SELECT ssn FROM spare WHERE id = 9) WHERE id = 9",
        "INSERT INTO patients SELECT * FROM spare WHERE id = 6",
    ];
    let rotation = world.rotation(&db, &keyring, 4);
    let once = "NOT EXISTS (SELECT 1 FROM patients WHERE id = 6)";
    trigger((&db, &rotation), ("a", "UPDATE ON phield_rotation_share"), once, &writes).await;
    let status = rotation.run(Mode::Index, |_| {}).await.unwrap();
    assert_eq!((status.state, filled_rows(&db).await), ("done", 9));
}

const PATIENTS_WITHOUT_INDEX: &str =
    "CREATE TABLE patients (id {int} PRIMARY KEY, ssn {bytes} NOT NULL, ssn_index {index}, note {text}, born {bytes}, ward {key_text} NOT NULL)";

/// A database that has an index unique of which the schema does not say so: what is in the way of one index is in the way of no other.
#[tokio::test]
async fn a_duplicate_under_a_new_pepper_hinders_no_other_index() {
    #[derive(Debug, Clone, PartialEq, EncryptedPhi)]
    #[phi(table = "people")]
    struct Person {
        #[phi(row_id)]
        id: i64,
        #[phi(index(normalize = "ssn"))]
        ssn: Phi<String>,
        #[phi(index(normalize = "exact"))]
        born: Phi<String>,
    }
    let (db, mut world) = (fresh().await, World::new());
    let create = "CREATE TABLE people (id {int} PRIMARY KEY, ssn {bytes}, ssn_index {index}, born {bytes}, born_index {index} UNIQUE)";
    sqlx::query(sql(create)).execute(&*db).await.unwrap();
    let people = [1, 2].map(|id| Person { id, ssn: Phi::new(format!("{id:09}")), born: "1970-01-01".into() });
    let [first, second] = &people;
    // Each under a pepper of its own, so that the database lets both in.
    insert(&*db, &second.seal(&*world.keyring().await).unwrap()).await.unwrap();
    let old = world.replace(KeyUse::Index).await;
    insert(&*db, &first.seal(&*world.keyring().await).unwrap()).await.unwrap();
    world.schema = SchemaFile::of(&[Person::SCHEMA]).unwrap();
    let keyring = world.keyring().await;
    let status = world.rotation(&db, &keyring, 7).run(Mode::Pepper, |_| {}).await.unwrap();
    let counts = ["after", "duplicate"].map(|phase| under(&status, old, phase));
    assert_eq!((status.state, status.pass, counts), ("done", 1, [0, 1]));
    for person in &people {
        let found = Person::find_by_ssn(&*db, &keyring, person.ssn.expose().as_str()).await.unwrap();
        assert_eq!(found, std::slice::from_ref(person));
    }
}
