//! Many rows, one at a time.

use futures_util::{StreamExt as _, TryStreamExt as _};
use phield::sqlx::{Error, insert_batch, open_stream};
use phield::{EncryptedPhi, OpenError, Phi};

use super::{fresh, sql};
use crate::keyring;

#[derive(Debug, PartialEq, EncryptedPhi)]
#[phi(table = "notes")]
struct Note {
    #[phi(row_id)]
    id: i64,
    text: Phi<String>,
}

const ROWS: i64 = 5000;

fn note(id: i64) -> Note {
    Note {
        id,
        text: Phi::new(format!("note {id}")),
    }
}

#[tokio::test]
async fn rows_are_opened_as_they_come() {
    let (keyring, db) = (keyring(), fresh().await);
    let table = "CREATE TABLE notes (id {int} PRIMARY KEY, text {bytes} NOT NULL)";
    sqlx::query(sql(table)).execute(&*db).await.unwrap();
    let mut connection = db.acquire().await.unwrap();
    let sealed = (0..ROWS).map(|id| note(id).seal(&keyring).unwrap());
    insert_batch(&mut *connection, sealed).await.unwrap();

    let select = || sqlx::query_as::<_, SealedNote>(sql("SELECT id, text FROM notes ORDER BY id"));
    let mut seen = 0;
    let mut notes = open_stream::<Note, _>(select().fetch(&*db), &keyring);
    while let Some(opened) = notes.try_next().await.unwrap() {
        assert_eq!(opened, note(seen));
        seen += 1;
    }
    assert_eq!(seen, ROWS);
    drop(notes);

    // In a task of its own; what is not asked for is not read.
    let (pool, keyring) = ((*db).clone(), std::sync::Arc::new(keyring));
    let keys = std::sync::Arc::clone(&keyring);
    let first = tokio::spawn(async move {
        let rows = sqlx::query_as(sql("SELECT id, text FROM notes ORDER BY id")).fetch(&pool);
        open_stream::<Note, _>(rows, &keys).take(3).try_collect::<Vec<_>>().await
    });
    assert_eq!(first.await.unwrap().unwrap(), [note(0), note(1), note(2)]);

    // One row that does not open is one error; the rows after it come.
    let swap = "UPDATE notes SET text = (SELECT text FROM (SELECT text FROM notes WHERE id = 8) AS other) WHERE id = 7";
    sqlx::query(sql(swap)).execute(&*db).await.unwrap();
    let opened: Vec<_> = open_stream::<Note, _>(select().fetch(&*db), &keyring).collect().await;
    assert_eq!(opened.len(), 5000);
    for (row, id) in opened.iter().zip(0..) {
        match row {
            Ok(row) => assert_eq!(*row, note(id)),
            Err(error) => {
                assert!(matches!(error, Error::Open(error) if *error == OpenError::Authentication));
                assert_eq!(id, 7);
            }
        }
    }
}
