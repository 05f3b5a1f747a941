//! What PostgreSQL alone has: arrays, sequences that give a row id before the row is sealed, indexes that are never finished,
//! partitions, tables that inherit, roles.

use std::sync::Arc;
use std::time::Duration;

use phield::sqlx::migrate::{Acknowledgement, Migration};
use phield::sqlx::rotate::{Mode, Rotation, RotationError, RotationOptions};
use phield::sqlx::{TableKeyStore, insert};
use phield::{
    BlindIndex, EncryptedPhi, KeyStore as _, KeyUse, Phi, RingError, RingName, SchemaFile, Sealed,
    SealedText, Uid,
};
use phield_database_tests::postgres::{fresh, sql};

use phield_testkit::TestRing;

use crate::keyring;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "notes")]
struct Note {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name"))]
    text: Phi<String>,
    #[phi(store = "text")]
    more: Option<Phi<String>>,
    author: Option<Uid>,
}

const TABLE: &str = "CREATE TABLE notes (id BIGSERIAL PRIMARY KEY, text BYTEA NOT NULL, text_index BYTEA NOT NULL, \
                     more TEXT, author UUID)";

#[tokio::test]
async fn columns_of_many_rows_bind_as_arrays() {
    let (keyring, db) = (keyring(), fresh().await);
    sqlx::query(sql(TABLE)).execute(&*db).await.unwrap();
    let author = Uid::from_uuid(uuid::Builder::from_custom_bytes([7; 16]).into_uuid());
    let notes: Vec<_> = (0..1000)
        .map(|id| Note {
            id,
            text: Phi::new(format!("note {id}")),
            more: (id % 3 == 0).then(|| Phi::from("more")),
            author: author.filter(|_| id % 2 == 0),
        })
        .collect();
    let (mut ids, mut texts, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut mores, mut authors) = (Vec::new(), Vec::new());
    for row in Note::seal_batch(&notes, &keyring).unwrap() {
        ids.push(row.id);
        texts.push(row.text);
        indexes.push(row.text_index);
        mores.push(row.more);
        authors.push(row.author);
    }
    let insert = "INSERT INTO notes (id, text, text_index, more, author) \
                  SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::text[], $5::uuid[])";
    let insert = sqlx::query(insert)
        .bind(ids)
        .bind(texts)
        .bind(indexes)
        .bind(mores)
        .bind(authors);
    assert_eq!(insert.execute(&*db).await.unwrap().rows_affected(), 1000);
    let rows: Vec<SealedNote> = sqlx::query_as("SELECT * FROM notes ORDER BY id")
        .fetch_all(&*db)
        .await
        .unwrap();
    assert_eq!(SealedNote::open_batch(rows, &keyring).unwrap(), notes);

    // And out again.
    type Arrays = (
        Vec<Sealed<String>>,
        Vec<BlindIndex>,
        Vec<Option<SealedText<String>>>,
        Vec<Option<Uid>>,
    );
    let select = "SELECT array_agg(text ORDER BY id), array_agg(text_index ORDER BY id), array_agg(more ORDER BY id), \
                  array_agg(author ORDER BY id) FROM notes WHERE id < 4";
    let (texts, indexes, mores, authors): Arrays = sqlx::query_as(select).fetch_one(&*db).await.unwrap();
    let opened = Note::TEXT.open(&keyring, &3, &texts[3]).unwrap();
    assert_eq!(opened.expose(), "note 3");
    assert_eq!(indexes[3], Note::text_index(&keyring, "note 3").unwrap()[0]);
    let present: Vec<_> = mores.iter().map(Option::is_some).collect();
    assert_eq!(present, [true, false, false, true]);
    assert_eq!(authors, [author, None, author, None]);
}

#[tokio::test]
async fn many_index_values_are_one_array() {
    let (keyring, db) = (keyring(), fresh().await);
    sqlx::query(sql(TABLE)).execute(&*db).await.unwrap();
    for id in 0..5 {
        let (text, more, author) = (Phi::new(format!("note {id}")), None, None);
        let note = Note {
            id,
            text,
            more,
            author,
        };
        insert(&*db, &note.seal(&keyring).unwrap()).await.unwrap();
    }
    let slots: Vec<_> = ["note 1", "note 4", "note 9"]
        .iter()
        .flat_map(|text| Note::text_index(&keyring, *text).unwrap())
        .collect();
    let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM notes WHERE text_index = ANY($1) ORDER BY id")
        .bind(slots)
        .fetch_all(&*db)
        .await
        .unwrap();
    assert_eq!(ids, [1, 4]);
}

#[tokio::test]
async fn a_sequence_gives_the_row_id_first() {
    let (keyring, db) = (keyring(), fresh().await);
    sqlx::query(sql(TABLE)).execute(&*db).await.unwrap();
    for expected in 1..=3 {
        let id = sqlx::query_scalar("SELECT nextval(pg_get_serial_sequence('notes', 'id'))")
            .fetch_one(&*db)
            .await
            .unwrap();
        assert_eq!(id, expected);
        let (text, more, author) = ("cough".into(), None, None);
        let note = Note {
            id,
            text,
            more,
            author,
        };
        insert(&*db, &note.seal(&keyring).unwrap()).await.unwrap();
        assert_eq!(Note::fetch(&*db, &keyring, &id).await.unwrap(), Some(note));
    }
}

/// Under these levels PostgreSQL does not look again at a row that somebody else has just changed: it says so, and that is
/// the answer of a compare-and-swap that lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_loser_of_a_swap_is_told_under_every_isolation_level() {
    let ring = TestRing::new("clinic");
    let first = ring.ring().load().await.unwrap().stored().to_vec();
    ring.ring().add_key(KeyUse::Index, None, None).await.unwrap();
    let second = ring.ring().load().await.unwrap().stored().to_vec();
    ring.ring().add_key(KeyUse::Subject, None, None).await.unwrap();
    let third = ring.ring().load().await.unwrap().stored().to_vec();
    for level in ["read committed", "repeatable read", "serializable"] {
        let db = fresh().await;
        let options = (*db.connect_options()).clone();
        let options = options
            .options([("default_transaction_isolation", level)])
            .application_name("phield key store swap");
        let store = TableKeyStore::<sqlx::Postgres>::new(options, RingName::from_static("clinic-test"));
        store.create_table().await.unwrap();
        store.replace(None, &first).await.unwrap();
        let mut winner = db.begin().await.unwrap();
        sqlx::query(sql("UPDATE phield_key_store SET manifest = $1"))
            .bind(&second)
            .execute(&mut *winner)
            .await
            .unwrap();
        let waiting = async {
            // Until the swap waits for the row.
            let blocked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'phield key store swap' \
                           AND wait_event_type = 'Lock'";
            loop {
                let count: i64 = sqlx::query_scalar(sql(blocked)).fetch_one(&*db).await.unwrap();
                if count > 0 {
                    return winner.commit().await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (swapped, ()) = tokio::join!(store.replace(Some(&first), &third), waiting);
        assert!(
            matches!(swapped, Err(RingError::Conflict)),
            "{level}: {swapped:?}"
        );
        assert_eq!(store.read().await.unwrap().as_deref(), Some(second.as_slice()));
    }
}

/// What no manifest is as large as is not read.
#[tokio::test]
async fn a_manifest_that_is_too_large() {
    let db = fresh().await;
    let options = (*db.connect_options()).clone();
    let store = TableKeyStore::<sqlx::Postgres>::new(options, RingName::from_static("clinic-test"));
    store.create_table().await.unwrap();
    let fill = "INSERT INTO phield_key_store VALUES ('clinic-test', decode(repeat('00', 16777217), 'hex'))";
    sqlx::query(sql(fill)).execute(&*db).await.unwrap();
    let error = store.read().await.unwrap_err();
    assert!(matches!(error, RingError::Malformed(_)), "{error:?}");
    let shorten = "UPDATE phield_key_store SET manifest = substring(manifest FROM 2)";
    sqlx::query(sql(shorten)).execute(&*db).await.unwrap();
    assert_eq!(store.read().await.unwrap().unwrap().len(), 16 << 20);
}

/// The server goes down while it makes an index beside writers: it keeps an index that it searches by never, and whose name is
/// taken.
#[tokio::test]
async fn an_index_that_was_never_finished_is_made_again() {
    let (keyring, db) = (Arc::new(keyring()), fresh().await);
    sqlx::query(sql(
        "CREATE TABLE notes (id BIGSERIAL PRIMARY KEY, plain TEXT, more TEXT, author UUID)",
    ))
    .execute(&*db)
    .await
    .unwrap();
    let schema = SchemaFile::of(&[Note::SCHEMA]).unwrap();
    let migration = Migration::new((*db).clone(), Arc::clone(&keyring), schema);
    migration.add("notes", "text", "plain").await.unwrap();
    assert_eq!(indexes(&db).await, [("notes_text_index".to_owned(), true)]);
    sqlx::query(sql("DROP INDEX notes_text_index"))
        .execute(&*db)
        .await
        .unwrap();

    // It waits for a writer, and its process ends meanwhile.
    let mut writer = db.begin().await.unwrap();
    sqlx::query(sql("INSERT INTO notes (plain) VALUES ('a note')"))
        .execute(&mut *writer)
        .await
        .unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
               AND query LIKE 'CREATE INDEX CONCURRENTLY \"notes_text_index\"%' AND wait_event_type = 'Lock'";
    let ended = async {
        while sqlx::query(sql(end)).fetch_all(&*db).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (added, ()) = tokio::join!(migration.add("notes", "text", "plain"), ended);
    added.unwrap_err();
    writer.commit().await.unwrap();
    assert_eq!(indexes(&db).await, [("notes_text_index".to_owned(), false)]);

    let plan = migration.plan("notes", "text", "plain").await.unwrap();
    assert_eq!(
        plan.add,
        [
            "DROP INDEX CONCURRENTLY \"notes_text_index\";",
            "CREATE INDEX CONCURRENTLY \"notes_text_index\" ON \"notes\" (\"text_index\");"
        ]
    );
    migration.add("notes", "text", "plain").await.unwrap();
    assert_eq!(indexes(&db).await, [("notes_text_index".to_owned(), true)]);
}

/// The indexes of the table beside its key, and whether they are valid.
async fn indexes(db: &sqlx::PgPool) -> Vec<(String, bool)> {
    let select = "SELECT x.relname::text, i.indisvalid FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid \
                  WHERE i.indrelid = 'notes'::regclass AND NOT i.indisprimary";
    sqlx::query_as(select).fetch_all(db).await.unwrap()
}

/// A cast to `character` would keep one of them, and one to `numeric(6, 2)` rounds: what was written is read again.
#[tokio::test]
async fn an_unseal_tells_what_a_column_does_not_hold() {
    let (keyring, db) = (Arc::new(keyring()), fresh().await);
    sqlx::query(sql(TABLE)).execute(&*db).await.unwrap();
    for column in ["wide CHAR(12)", "narrow CHAR(4)", "rounded NUMERIC(6, 2)"] {
        let add = format!("ALTER TABLE notes ADD COLUMN {column}");
        sqlx::query(sqlx::AssertSqlSafe(add)).execute(&*db).await.unwrap();
    }
    for (id, text) in [(1, "1.5"), (2, "1.234")] {
        let note = Note {
            id,
            text: Phi::from(text),
            more: None,
            author: None,
        };
        insert(&*db, &note.seal(&keyring).unwrap()).await.unwrap();
    }
    let schema = SchemaFile::of(&[Note::SCHEMA]).unwrap();
    let migration = Migration::new((*db).clone(), Arc::clone(&keyring), schema);
    let unseal = async |into: &str| {
        let text = format!("write the plaintext of notes.text into the column {into} of the database");
        let known = Acknowledgement::plaintext_phi(&text);
        migration.unseal("notes", "text", into, &known, |_| {}).await
    };
    let done = unseal("wide").await.unwrap();
    assert_eq!((done.written, done.differing, done.unreadable), (2, 0, 0));
    let wide: Vec<String> = sqlx::query_scalar(sql("SELECT rtrim(wide) FROM notes ORDER BY id"))
        .fetch_all(&*db)
        .await
        .unwrap();
    assert_eq!(wide, ["1.5", "1.234"]);
    let narrow = unseal("narrow").await.unwrap_err();
    assert!(
        narrow
            .to_string()
            .contains("22001: a value is too long for its column"),
        "{narrow}"
    );
    let done = unseal("rounded").await.unwrap();
    assert_eq!(
        (done.written, done.differing),
        (2, 2),
        "1.50 is not what was sealed, either"
    );
}

/// Indexes of a table with partitions are not made beside writers.
#[tokio::test]
async fn a_table_with_partitions_is_migrated() {
    let (keyring, db) = (Arc::new(keyring()), fresh().await);
    for statement in [
        "CREATE TABLE notes (id BIGINT PRIMARY KEY, plain TEXT, more TEXT, author UUID) PARTITION BY RANGE (id)",
        "CREATE TABLE notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (50)",
        "CREATE TABLE notes_2 PARTITION OF notes FOR VALUES FROM (50) TO (100)",
        "INSERT INTO notes (id, plain) SELECT n, 'note ' || n FROM generate_series(1, 99) AS n",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&*db)
            .await
            .unwrap();
    }
    let schema = SchemaFile::of(&[Note::SCHEMA]).unwrap();
    let migration = Migration::new((*db).clone(), Arc::clone(&keyring), schema);
    migration.add("notes", "text", "plain").await.unwrap();
    let done = migration.backfill("notes", "text", None, |_| {}).await.unwrap();
    assert_eq!((done.sealed, done.left), (99, Some(0)));
    assert_eq!(indexes(&db).await, [("notes_text_index".to_owned(), true)]);
    // A transaction that writes into a partition by its name is waited for.
    let rotation = Rotation::new((*db).clone(), keyring, SchemaFile::of(&[Note::SCHEMA]).unwrap());
    let mut options = RotationOptions::default();
    options.lease = Duration::from_secs(1);
    let rotation = rotation.with_options(options);
    let mut writer = db.begin().await.unwrap();
    sqlx::query(sql("UPDATE notes_2 SET more = NULL WHERE id = 60"))
        .execute(&mut *writer)
        .await
        .unwrap();
    assert!(rotation.run(Mode::Scan, |_| {}).await.unwrap().open_writers);
    writer.commit().await.unwrap();
    assert!(!rotation.run(Mode::Scan, |_| {}).await.unwrap().open_writers);
}

/// Keys of a table that others inherit from are not those of their rows.
#[tokio::test]
async fn a_table_that_others_inherit_from_is_not_gone_through_by_its_key() {
    let (keyring, db) = (Arc::new(keyring()), fresh().await);
    sqlx::query(sql(TABLE)).execute(&*db).await.unwrap();
    sqlx::query(sql("CREATE TABLE old_notes (PRIMARY KEY (id)) INHERITS (notes)"))
        .execute(&*db)
        .await
        .unwrap();
    let rotation = Rotation::new((*db).clone(), keyring, SchemaFile::of(&[Note::SCHEMA]).unwrap());
    let refused = rotation.run(Mode::Scan, |_| {}).await.unwrap_err();
    assert!(matches!(refused, RotationError::Table { .. }), "{refused}");
}

/// What a role may not see is not taken for something that is not there.
#[tokio::test]
async fn a_role_without_rights_is_told_so() {
    let (keyring, db) = (Arc::new(keyring()), fresh().await);
    sqlx::query(sql(TABLE)).execute(&*db).await.unwrap();
    let rotation = |pool: sqlx::PgPool| {
        Rotation::new(
            pool,
            Arc::clone(&keyring),
            SchemaFile::of(&[Note::SCHEMA]).unwrap(),
        )
    };
    rotation((*db).clone()).run(Mode::Scan, |_| {}).await.unwrap();
    let schema: String = sqlx::query_scalar(sql("SELECT current_schema()::text"))
        .fetch_one(&*db)
        .await
        .unwrap();
    let role = format!("r_{schema}");
    for statement in [
        format!("CREATE ROLE {role}"),
        format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&*db)
            .await
            .unwrap();
    }
    let options = (*db.connect_options()).clone().options([("role", &role)]);
    let limited = rotation(sqlx::PgPool::connect_with(options).await.unwrap());
    for refused in [
        limited.status().await.map(drop).unwrap_err(),
        limited.quarantine(9).await.map(drop).unwrap_err(),
        limited.pause().await.unwrap_err(),
    ] {
        assert!(
            refused.to_string().contains("the role lacks a privilege"),
            "{refused}"
        );
    }
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop))
        .execute(&*db)
        .await
        .unwrap();
}
