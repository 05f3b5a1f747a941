//! Row ids of every type, and rows whose key the database makes.

use phield::sqlx::{BindRow, SealedRow, Values, insert, insert_batch, update, update_batch};
use phield::{EncryptedPhi, Phi, Sealed};
use sqlx::Pool;
use uuid::Uuid;

use super::{Db, fresh, sql};
use crate::keyring;

/// The same case for a model whose row id has another type.
macro_rules! row_id {
    ($case:ident, $id:ty, $sql_type:literal, $ids:expr) => {
        #[tokio::test]
        async fn $case() {
            #[derive(Debug, Clone, PartialEq, EncryptedPhi)]
            #[phi(table = "notes")]
            struct Note {
                #[phi(row_id)]
                id: $id,
                #[phi(index(normalize = "name"))]
                text: Phi<String>,
                #[phi(store = "text")]
                more: Option<Phi<i64>>,
            }
            let (keyring, db) = (keyring(), fresh().await);
            let table = concat!(
                "CREATE TABLE notes (id ",
                $sql_type,
                " NOT NULL PRIMARY KEY, text {bytes} NOT NULL, text_index {index} NOT NULL, more {text})"
            );
            sqlx::query(sql(table)).execute(&*db).await.unwrap();
            let note = |id: $id| Note {
                id,
                text: "first".into(),
                more: None,
            };
            let mut notes: Vec<Note> = $ids.into_iter().map(note).collect();
            let mut connection = db.acquire().await.unwrap();
            let sealed = Note::seal_batch(&notes, &keyring).unwrap();
            assert_eq!(insert_batch(&mut *connection, sealed).await.unwrap(), 3);
            let found = Note::find_by_text(&*db, &keyring, "First").await.unwrap();
            assert_eq!(found.len(), 3);

            notes[0].text = "second".into();
            notes[0].more = Some(Phi::new(-7));
            let sealed = notes[0].seal(&keyring).unwrap();
            assert_eq!(update(&*db, &sealed).await.unwrap(), 1);
            notes[2].text = "third".into();
            let sealed = Note::seal_batch(&notes[1..], &keyring).unwrap();
            assert_eq!(update_batch(&mut *connection, sealed).await.unwrap(), 2);
            for note in &notes {
                let fetched = Note::fetch(&*db, &keyring, &note.id).await.unwrap();
                assert_eq!(fetched.as_ref(), Some(note));
            }
            let found = Note::find_by_text(&*db, &keyring, "third").await.unwrap();
            assert_eq!(found, notes[2..]);
        }
    };
}

row_id!(integers, i64, "{int}", [i64::MIN, 0, 77]);
row_id!(uuids, Uuid, "{uuid}", [Uuid::nil(), Uuid::now_v7(), Uuid::new_v4()]);
row_id!(
    texts,
    String,
    "{key_text}",
    ["A-1", "a-1", "Zoë's"].map(str::to_owned)
);
row_id!(
    bytes,
    Vec<u8>,
    "{key_bytes}",
    [vec![0], vec![0, 0xff], b"a'b".to_vec()]
);

/// The database may take "ABC" for "abc": what comes back is the row that was asked for, or none, and what is written is
/// that row, or none.
#[tokio::test]
async fn rows_are_the_ones_that_were_asked_for() {
    #[derive(Debug, Clone, PartialEq, EncryptedPhi)]
    #[phi(table = "notes")]
    struct Note {
        #[phi(row_id)]
        id: String,
        text: Phi<String>,
    }
    let (keyring, db) = (keyring(), fresh().await);
    let table = "CREATE TABLE notes (id {text_any_case} PRIMARY KEY, text {bytes} NOT NULL)";
    sqlx::query(sql(table)).execute(&*db).await.unwrap();
    let note = |id: &str, text: &str| Note {
        id: id.to_owned(),
        text: text.into(),
    };
    let upper = note("ABC", "of ABC");
    insert(&*db, &upper.seal(&keyring).unwrap()).await.unwrap();
    let rows: i64 = sqlx::query_scalar(sql("SELECT count(*) FROM notes WHERE id = ?"))
        .bind("abc")
        .fetch_one(&*db)
        .await
        .unwrap();
    assert_eq!(rows, 1, "the database takes one for the other");

    let lower = "abc".to_owned();
    assert_eq!(Note::fetch(&*db, &keyring, &lower).await.unwrap(), None);
    let sealed = note("abc", "of abc").seal(&keyring).unwrap();
    assert_eq!(update(&*db, &sealed).await.unwrap(), 0);
    let mut connection = db.acquire().await.unwrap();
    assert_eq!(update_batch(&mut *connection, [sealed]).await.unwrap(), 0);
    assert_eq!(
        Note::fetch(&*db, &keyring, &upper.id).await.unwrap(),
        Some(upper.clone())
    );
    let changed = note("ABC", "changed");
    let sealed = changed.seal(&keyring).unwrap();
    assert_eq!(update(&*db, &sealed).await.unwrap(), 1);
    assert_eq!(
        Note::fetch(&*db, &keyring, &upper.id).await.unwrap(),
        Some(changed)
    );
}

/// A table whose key the database makes keeps it: a `phi_id` beside it is what rows are sealed for.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "visits")]
struct Visit {
    #[phi(row_id)]
    phi_id: Uuid,
    note: Phi<String>,
}

/// As the derive makes it of a model with a column that the database fills.
struct SealedVisitWithKey {
    id: i64,
    phi_id: Uuid,
    note: Sealed<String>,
}

impl SealedRow for SealedVisitWithKey {
    const TABLE: &'static str = "visits";
    const COLUMNS: &'static [&'static str] = &["id", "phi_id", "note"];
    const KEY: &'static [&'static str] = &["phi_id"];
    const GENERATED: &'static [&'static str] = &["id"];
}

impl BindRow<Db> for SealedVisitWithKey {
    fn bind_row(&self, values: &mut Values<'_, Db>) {
        values.bind(&self.phi_id);
        values.bind(&self.note);
    }
}

async fn visits(db: &Pool<Db>) {
    let table = "CREATE TABLE visits (id {auto}, phi_id {uuid} NOT NULL UNIQUE, note {bytes} NOT NULL)";
    sqlx::query(sql(table)).execute(db).await.unwrap();
}

#[tokio::test]
async fn a_phi_id_stands_beside_a_key_that_the_database_makes() {
    let (keyring, db) = (keyring(), fresh().await);
    visits(&db).await;
    let visit = |text: &str| Visit {
        phi_id: Uuid::now_v7(),
        note: text.into(),
    };
    let seal = |visit: &Visit| {
        let sealed = visit.seal(&keyring).unwrap();
        SealedVisitWithKey {
            id: 0,
            phi_id: sealed.phi_id,
            note: sealed.note,
        }
    };
    let mut rows: Vec<_> = ["cough", "fever", "rash"].map(visit).into();
    let mut connection = db.acquire().await.unwrap();
    let sealed: Vec<_> = rows.iter().map(seal).collect();
    assert!(sealed.iter().all(|row| row.id == 0));
    assert_eq!(insert_batch(&mut *connection, sealed).await.unwrap(), 3);
    let ids: Vec<i64> = sqlx::query_scalar(sql("SELECT id FROM visits ORDER BY id"))
        .fetch_all(&*db)
        .await
        .unwrap();
    assert_eq!(ids, [1, 2, 3], "the database made them");
    rows[1].note = "none".into();
    assert_eq!(update(&*db, &seal(&rows[1])).await.unwrap(), 1);
    assert_eq!(
        Visit::fetch(&*db, &keyring, &rows[1].phi_id).await.unwrap(),
        Some(rows[1].clone())
    );
    let ids: Vec<i64> = sqlx::query_scalar(sql("SELECT id FROM visits ORDER BY id"))
        .fetch_all(&*db)
        .await
        .unwrap();
    assert_eq!(ids, [1, 2, 3], "an update leaves them");
}

#[tokio::test]
async fn an_unbound_table_leaves_its_key_to_the_database() {
    #[derive(Debug, PartialEq, EncryptedPhi)]
    #[phi(table = "comments", unbound)]
    struct Comment {
        text: Phi<String>,
        kind: i64,
    }
    let (keyring, db) = (keyring(), fresh().await);
    let table = "CREATE TABLE comments (id {auto}, text {bytes} NOT NULL, kind {int} NOT NULL)";
    sqlx::query(sql(table)).execute(&*db).await.unwrap();
    let comment = |kind| Comment {
        text: "unbound".into(),
        kind,
    };
    let sealed = Comment::seal_batch(&[comment(1), comment(2)], &keyring).unwrap();
    let mut connection = db.acquire().await.unwrap();
    insert_batch(&mut *connection, sealed).await.unwrap();
    let query = "SELECT text, kind FROM comments ORDER BY id";
    let rows: Vec<SealedComment> = sqlx::query_as(sql(query)).fetch_all(&*db).await.unwrap();
    let opened = SealedComment::open_batch(rows, &keyring).unwrap();
    assert_eq!(opened, [comment(1), comment(2)]);
}

/// A key that the database writes in its own way is the same key: of text alone the bytes decide.
#[tokio::test]
async fn keys_that_are_no_plain_text_are_updated() {
    #[derive(Debug, Clone, PartialEq, EncryptedPhi)]
    #[phi(table = "notes")]
    struct Note {
        #[phi(row_id)]
        id: i64,
        #[phi(row_id)]
        name: String,
        text: Phi<String>,
    }
    let (keyring, db) = (keyring(), fresh().await);
    let table = "CREATE TABLE notes (id {padded_int} NOT NULL, name {other_text} NOT NULL, text {bytes} NOT NULL)";
    sqlx::query(sql(table)).execute(&*db).await.unwrap();
    let mut note = Note {
        id: 7,
        name: "Zo\u{eb}".to_owned(),
        text: "first".into(),
    };
    insert(&*db, &note.seal(&keyring).unwrap()).await.unwrap();
    note.text = "second".into();
    assert_eq!(update(&*db, &note.seal(&keyring).unwrap()).await.unwrap(), 1);
    note.text = "third".into();
    let mut connection = db.acquire().await.unwrap();
    let sealed = Note::seal_batch(std::slice::from_ref(&note), &keyring).unwrap();
    assert_eq!(update_batch(&mut *connection, sealed).await.unwrap(), 1);
    let id = (note.id, note.name.clone());
    assert_eq!(Note::fetch(&*db, &keyring, &id).await.unwrap(), Some(note.clone()));
    note.name = "ZO\u{cb}".to_owned();
    assert_eq!(update(&*db, &note.seal(&keyring).unwrap()).await.unwrap(), 0);
}
