//! That a rotation and a scan read every row: whatever keys a table has, and whatever stands in it.

use phield::sqlx::insert;
use phield::sqlx::rotate::{Mode, RotationError};
use phield::{EncryptedPhi, KeyUse, Keyring, Phi, SchemaFile};
use sqlx::{Database as _, Pool};

use super::rotation::{Patient, World, all, filled, patient, under};
use super::{Db, fresh, sql};

/// `patients` again, with other keys.
async fn made_again(db: &Pool<Db>, keyring: &Keyring, rows: i64, columns: &str, constraint: &str) {
    filled(db, keyring, rows).await;
    moved(db, columns, &format!("{{key_text}} NOT NULL{constraint}")).await;
}

/// Moves the rows into a table with other keys: other columns before those of the tokens, and another `ward` behind them.
async fn moved(db: &Pool<Db>, columns: &str, ward: &str) {
    let create = format!(
        "CREATE TABLE again ({columns}, ssn {{bytes}} NOT NULL, ssn_index {{index}} NOT NULL, note {{text}}, born {{bytes}}, ward {ward})"
    );
    let mut connection = db.acquire().await.unwrap();
    for text in [
        create.as_str(),
        "INSERT INTO again (id, ssn, ssn_index, note, born, ward) SELECT id, ssn, ssn_index, note, born, ward FROM patients",
        "DROP TABLE patients",
        "ALTER TABLE again RENAME TO patients",
    ] {
        sqlx::query(sql(text)).execute(&mut *connection).await.unwrap();
    }
}

/// SQLite and MariaDB have NULL before every value: a page that ends on one is followed by none.
#[tokio::test]
async fn a_unique_column_with_nulls_is_no_order_of_pages() {
    let (db, world) = (fresh().await, World::new());
    made_again(&db, &*world.keyring().await, 20, "pk {auto}, id {int} UNIQUE", "").await;
    let no_id = "INSERT INTO patients (ssn, ssn_index, ward) SELECT ssn, ssn_index, ward FROM patients";
    sqlx::query(sql(no_id)).execute(&*db).await.unwrap();
    let old = world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let rotation = world.rotation(&db, &keyring, 5);
    let plan = rotation.plan(Mode::Data).await.unwrap();
    let plan = plan.tables.first().unwrap();
    assert_eq!((plan.key.as_slice(), plan.rows), (&["pk".to_owned()][..], 40));
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    let progress = status.tables.first().unwrap();
    assert_eq!((progress.rows, under(&status, old, "before")), (40, 20 + 20 + 14 + 10));
    // What has no id does not open, and is told.
    let counts = ["after", "malformed"].map(|phase| under(&status, old, phase));
    assert_eq!(counts, [0, 20]);
    assert_eq!(rotation.quarantine(100).await.unwrap().len(), 20);
}

#[tokio::test]
async fn without_a_key_a_table_is_refused_or_gone_through_by_its_row_numbers() {
    let (db, world) = (fresh().await, World::new());
    made_again(&db, &*world.keyring().await, 20, "id {int} UNIQUE", "").await;
    let old = world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let status = world.rotation(&db, &keyring, 3).run(Mode::Data, |_| {}).await;
    if Db::NAME == "SQLite" {
        assert_eq!(under(&status.unwrap(), old, "after"), 0);
        assert_eq!(all(&db, &keyring).await, (1..=20).map(patient).collect::<Vec<Patient>>());
    } else {
        let error = status.unwrap_err();
        assert!(matches!(&error, RotationError::Table { why, .. } if why.contains("NOT NULL")), "{error}");
    }
}

/// Orders in which `>` is something else.
#[tokio::test]
async fn keys_whose_order_is_another_are_passed_over() {
    let (db, world) = (fresh().await, World::new());
    let [other, value] = match Db::NAME {
        "PostgreSQL" => ["numeric", "DEFAULT random()"],
        "MySQL" => ["ENUM('b', 'a')", "DEFAULT 'a'"],
        _ => ["REAL", "DEFAULT 0.5"],
    };
    let columns = format!("id {{int}} NOT NULL, other {other} NOT NULL {value}");
    let keys = ", PRIMARY KEY (other, id), UNIQUE (ward)";
    made_again(&db, &*world.keyring().await, 9, &columns, keys).await;
    let keyring = world.keyring().await;
    let plan = world.rotation(&db, &keyring, 3).plan(Mode::Scan).await.unwrap();
    let plan = plan.tables.first().unwrap();
    assert_eq!((plan.key.as_slice(), plan.rows), (&["ward".to_owned()][..], 9));
}

/// Values that a unique index tells apart, and an order of another collation would not: a page that ends between them passes one over.
#[tokio::test]
async fn keys_that_differ_by_case_alone() {
    let (db, world) = (fresh().await, World::new());
    let mut patients = filled(&db, &*world.keyring().await, 12).await;
    let (ward, collation) = match Db::NAME {
        "PostgreSQL" => ("TEXT", ""),
        "MySQL" => ("VARCHAR(20) COLLATE utf8mb4_bin", ""),
        _ => ("TEXT COLLATE NOCASE", "COLLATE BINARY"),
    };
    moved(&db, "id {int}", &format!("{ward} NOT NULL")).await;
    let index = format!("CREATE UNIQUE INDEX by_ward ON patients (ward {collation})");
    sqlx::query(sql(&index)).execute(&*db).await.unwrap();
    for patient in &mut patients {
        let name = format!("{}{}", if patient.id % 2 == 0 { "w" } else { "W" }, (patient.id - 1) / 2);
        let rename = format!("UPDATE patients SET ward = '{name}' WHERE id = {}", patient.id);
        sqlx::query(sql(&rename)).execute(&*db).await.unwrap();
        patient.ward = name;
    }
    let old = world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let rotation = world.rotation(&db, &keyring, 1);
    let plan = rotation.plan(Mode::Data).await.unwrap();
    assert_eq!(plan.tables.first().unwrap().key, ["ward"]);
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, status.pass, status.tables.first().unwrap().rows), ("done", 1, 12));
    assert_eq!(under(&status, old, "after"), 0);
    assert_eq!(all(&db, &keyring).await, patients);
}

/// What stands beside a token can be longer than anything that a token is sealed with.
#[tokio::test]
async fn a_row_that_nothing_can_have_been_sealed_with_is_in_quarantine() {
    #[derive(Debug, Clone, PartialEq, EncryptedPhi)]
    #[phi(table = "remarks")]
    struct Remark {
        #[phi(row_id)]
        id: i64,
        text: Phi<String>,
        #[phi(extra)]
        label: String,
    }
    let (db, mut world) = (fresh().await, World::new());
    let create = "CREATE TABLE remarks (id {int} PRIMARY KEY, text {bytes} NOT NULL, label {text} NOT NULL)";
    sqlx::query(sql(create)).execute(&*db).await.unwrap();
    for id in 1..=3 {
        let remark = Remark { id, text: "none".into(), label: "short".to_owned() };
        insert(&*db, &remark.seal(&*world.keyring().await).unwrap()).await.unwrap();
    }
    let long = format!("UPDATE remarks SET label = '{}' WHERE id = 2", "x".repeat(1025));
    sqlx::query(sql(&long)).execute(&*db).await.unwrap();
    world.schema = SchemaFile::of(&[Remark::SCHEMA]).unwrap();
    let old = world.replace(KeyUse::Data).await;
    let status = world.rotation(&db, &world.keyring().await, 7).run(Mode::Data, |_| {}).await.unwrap();
    let counts = ["after", "authentication"].map(|phase| under(&status, old, phase));
    assert_eq!((status.state, counts), ("done", [0, 1]));
}

/// Copies that nobody thinks of, each with the tokens in another form.
#[tokio::test]
async fn tokens_in_other_forms_are_found() {
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    filled(&db, &keyring, 30).await;
    let [hex, base64, bytes] = match Db::NAME {
        "PostgreSQL" => ["CAST(to_jsonb(patients) AS TEXT)", "encode(ssn, 'base64')", "convert_to(note, 'UTF8')"],
        "MySQL" => ["concat('ssn: ', hex(ssn))", "json_object('ssn', to_base64(ssn))", "CAST(note AS BINARY(500))"],
        _ => ["'ssn: ' || hex(ssn)", "note", "CAST(note AS BLOB)"],
    };
    for text in [
        "CREATE TABLE phield_audit (id {int}, body {text}, encoded {text}, blob_of_text {bytes}, quiet {text_any_case})",
        &format!(
            "INSERT INTO phield_audit SELECT id, {hex}, {base64}, {bytes}, 'phi1. 1100000007 EQAAAAeg' FROM patients WHERE id IN (4, 5)"
        ),
    ] {
        sqlx::query(sql(text)).execute(&*db).await.unwrap();
    }
    let found = world.rotation(&db, &keyring, 5).unregistered().await.unwrap();
    let own = found.columns.iter().filter(|c| c.table.ends_with("phield_audit"));
    let names: Vec<_> = own.map(|c| format!("{} {}", c.column, c.rows)).collect();
    assert_eq!(names, ["body 2", "encoded 2", "blob_of_text 2"]);
}

/// The schema file has no schema; a report says of which table it is.
#[tokio::test]
async fn a_table_is_told_by_its_whole_name() {
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    filled(&db, &keyring, 1).await;
    let expected = match Db::NAME {
        "SQLite" => "patients".to_owned(),
        name => {
            let own = if name == "MySQL" { "database()" } else { "current_schema()" };
            let select = format!("SELECT concat({own}, '.patients')");
            sqlx::query_scalar(sql(&select)).fetch_one(&*db).await.unwrap()
        }
    };
    let found = world.rotation(&db, &keyring, 5).unregistered().await.unwrap();
    let tables = found.registered.iter().map(|table| (table.table.as_str(), table.sql_table.as_str()));
    assert_eq!(tables.collect::<Vec<_>>(), [("patients", expected.as_str())]);
}

/// SQLite takes the name of a column that is not there for a text, and that text for a token that does not open.
#[tokio::test]
async fn a_schema_of_another_database_is_refused() {
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    filled(&db, &keyring, 3).await;
    sqlx::query(sql("ALTER TABLE patients RENAME COLUMN born TO birthday")).execute(&*db).await.unwrap();
    for mode in [Mode::Data, Mode::Pepper, Mode::Index, Mode::Verify, Mode::Scan] {
        let rotation = world.rotation(&db, &keyring, 5);
        let refused = rotation.run(mode, |_| {}).await.unwrap_err();
        assert!(matches!(&refused, RotationError::NoColumn { column, .. } if column == "born"), "{refused}");
        assert!(matches!(rotation.plan(mode).await.unwrap_err(), RotationError::NoColumn { .. }));
    }
    sqlx::query(sql("DROP TABLE patients")).execute(&*db).await.unwrap();
    let rotation = world.rotation(&db, &keyring, 5);
    let refused = rotation.run(Mode::Scan, |_| {}).await.unwrap_err();
    assert!(refused.to_string().contains("there is no table patients in this database"), "{refused}");
    assert!(rotation.status().await.unwrap().is_none());
}

/// A table can be dropped after its columns were listed. It is no table that a scan may pass over: it can have got another name.
#[tokio::test]
async fn tables_that_come_and_go_end_no_scan() {
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    filled(&db, &keyring, 3).await;
    sqlx::query(sql("CREATE TABLE copy_0 AS SELECT ssn FROM patients")).execute(&*db).await.unwrap();
    let other = db.clone();
    let churn = tokio::spawn(async move {
        for round in 0..60 {
            // Faster than that, no list would be true any more when it is read.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let texts = [
                format!("CREATE TABLE gone_{round} (body {{text}})"),
                format!("ALTER TABLE copy_{round} RENAME TO copy_{}", round + 1),
                format!("DROP TABLE gone_{round}"),
            ];
            for text in texts {
                // SQLite has one writer, and readers that it waits for.
                while sqlx::query(sql(&text)).execute(&other).await.is_err() {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        }
    });
    let rotation = world.rotation(&db, &keyring, 5);
    while !churn.is_finished() {
        let found = rotation.unregistered().await.unwrap();
        // A list of MariaDB's can have neither the old name nor the new one.
        let is_found = found.columns.iter().any(|column| column.table.contains("copy_"));
        assert!(is_found || Db::NAME == "MySQL", "{found:?}");
    }
    churn.await.unwrap();
    let found = rotation.unregistered().await.unwrap();
    assert!(found.columns.iter().any(|column| column.table.ends_with("copy_60")), "{found:?}");
}

/// A count that nobody has worked at for long, and then goes on, says nothing of what was written since.
#[tokio::test]
async fn a_count_that_was_left_begins_anew() {
    for (mode, phase) in [(Mode::Scan, "count"), (Mode::Verify, "work"), (Mode::Data, "count")] {
        let (db, world) = (fresh().await, World::new());
        let patients = filled(&db, &*world.keyring().await, 20).await;
        sqlx::query(sql("CREATE TABLE good AS SELECT * FROM patients")).execute(&*db).await.unwrap();
        let old = world.replace(KeyUse::Data).await;
        let keyring = world.keyring().await;
        let rotation = world.rotation(&db, &keyring, 7);
        rotation.run(Mode::Data, |_| {}).await.unwrap();
        let first = rotation.run(mode, |_| {}).await.unwrap();
        // It ended just before its end, and later a row comes back from a backup.
        for (seconds, pass) in [(0, 1), (2 * 3600, 2)] {
            let left = format!(
                "UPDATE phield_rotation SET open_slot = 1, phase = '{phase}', ended = 0, counting_since = counting_since - {seconds} \
                 WHERE id = '{}'",
                first.id
            );
            sqlx::query(sql(&left)).execute(&*db).await.unwrap();
            if pass == 2 {
                let put_back = "UPDATE patients SET ssn = (SELECT ssn FROM good WHERE id = 9) WHERE id = 9";
                sqlx::query(sql(put_back)).execute(&*db).await.unwrap();
            }
            let status = rotation.run(mode, |_| {}).await.unwrap();
            assert_eq!((status.state, status.pass, &status.id), ("done", pass, &first.id), "{mode:?}");
            if pass == 2 {
                let phase = if mode == Mode::Verify { "before" } else { "after" };
                let expected = u64::from(mode != Mode::Data);
                assert_eq!(under(&status, old, phase), expected, "{mode:?}");
                let is_later = status.counting_since >= first.counting_since;
                assert!(is_later, "{mode:?}: {} {}", status.counting_since, first.counting_since);
            }
        }
        if mode == Mode::Data {
            let scan = rotation.run(Mode::Scan, |_| {}).await.unwrap();
            assert_eq!(under(&scan, old, "after"), 0);
        }
        assert_eq!(all(&db, &keyring).await, patients);
    }
}

/// No page has a row whose key is NULL, which SQLite allows: the more rows a table has, the less would be seen of it.
#[tokio::test]
async fn a_key_that_is_null_is_an_error_in_a_table_of_any_size() {
    if Db::NAME != "SQLite" {
        return;
    }
    let (db, world) = (fresh().await, World::new());
    let keyring = world.keyring().await;
    made_again(&db, &keyring, 500, "id {key_text} PRIMARY KEY", "").await;
    let copy = "INSERT INTO patients (id, ssn, ssn_index, note, born, ward) SELECT NULL, ssn, ssn_index, note, born, ward \
                FROM patients LIMIT 1";
    sqlx::query(sql(copy)).execute(&*db).await.unwrap();
    for mode in [Mode::Scan, Mode::Data] {
        let refused = world.rotation(&db, &keyring, 2).run(mode, |_| {}).await.unwrap_err();
        assert!(matches!(refused, RotationError::Table { .. }), "{refused}");
    }
}

/// A ring of before the keys that rows are under would put them into quarantine.
#[tokio::test]
async fn an_older_ring_and_one_of_another_database_do_not_rotate() {
    let (db, world) = (fresh().await, World::new());
    let older = world.keyring().await;
    let patients = filled(&db, &older, 20).await;
    world.replace(KeyUse::Data).await;
    let keyring = world.keyring().await;
    let rotation = world.rotation(&db, &keyring, 7);
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    let again = format!("UPDATE phield_rotation SET open_slot = 1, phase = 'work', ended = 0 WHERE id = '{}'", status.id);
    sqlx::query(sql(&again)).execute(&*db).await.unwrap();
    let refused = world.rotation(&db, &older, 7).run(Mode::Data, |_| {}).await.unwrap_err();
    assert!(matches!(refused, RotationError::OtherRing | RotationError::OlderRing { .. }), "{refused}");
    rotation.run(Mode::Data, |_| {}).await.unwrap();

    let other = World::new().keyring().await;
    for mode in [Mode::Data, Mode::Pepper] {
        let refused = world.rotation(&db, &other, 7).run(mode, |_| {}).await.unwrap_err();
        assert!(matches!(refused, RotationError::OtherRing), "{refused}");
    }
    assert_eq!(all(&db, &keyring).await, patients);
    assert_eq!(rotation.quarantine(9).await.unwrap().len(), 0);
}
