//! What two processes must not do to each other.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use sqlx::Sqlite;
use sqlx::sqlite::SqlitePoolOptions;

use super::*;

const BEGINNING: Beginning = Beginning {
    epoch: 1,
    clocks: Clocks { earlier: 1, apart: 0 },
    open_writers: false,
};

fn record() -> Record {
    Record {
        id: "r".to_owned(),
        mode: Mode::Data,
        paused: false,
        started: 1,
        ready: 1,
        ended: 0,
        who: String::new(),
        epoch: 1,
        pass: 1,
        phase: Phase::Work,
        shape: String::new(),
        counting_since: 0,
        clocks: 0,
        report: String::new(),
    }
}

async fn pool() -> Pool<Sqlite> {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    create::<Sqlite>(&pool).await.unwrap();
    pool
}

async fn started(connection: &mut sqlx::SqliteConnection) -> Record {
    start::<Sqlite>(connection, &record(), &[("patients".to_owned(), 3)], false)
        .await
        .unwrap()
}

async fn claim_of(connection: &mut sqlx::SqliteConnection, record: &Record) -> Claim {
    claim_by("worker", connection, record).await
}

async fn claim_by(owner: &str, connection: &mut sqlx::SqliteConnection, record: &Record) -> Claim {
    let none = || Statement::new("SELECT 1 WHERE 1 = 0");
    let ends = |_: &str, _: Option<&Cursor>| Some([none(), none()]);
    claim::<Sqlite>(connection, record, (owner, 30), ends)
        .await
        .unwrap()
}

/// The answer to a claim may be lost, and its worker alive: nobody else would ever get the share.
#[tokio::test]
async fn a_worker_gets_the_share_that_it_does_not_know_of() {
    let pool = pool().await;
    let mut connection = pool.acquire().await.unwrap();
    let work = started(&mut connection).await;
    let shares = [
        claim_of(&mut connection, &work).await,
        claim_of(&mut connection, &work).await,
    ];
    let [Claim::Share(first), Claim::Share(second)] = shares else {
        panic!("no share")
    };
    assert_eq!(first.number, second.number);
    assert!(matches!(
        claim_by("another", &mut connection, &work).await,
        Claim::Wait
    ));
}

/// The commit of a page may come to its end after the page was read again.
#[tokio::test]
async fn no_page_is_counted_twice() {
    let pool = pool().await;
    let mut connection = pool.acquire().await.unwrap();
    let work = started(&mut connection).await;
    let Claim::Share(mut share) = claim_of(&mut connection, &work).await else {
        panic!("no share")
    };
    let done = Done {
        rows: 2,
        ..Done::default()
    };
    let mut written = Vec::new();
    for (after, place) in [(None, 2), (None, 2), (Some(2), 4)] {
        let cursor = |id| Cursor(vec![Cell::Integer(id)]);
        share.after = after.map(cursor);
        let mut transaction = begin::<Sqlite>(&mut connection).await.unwrap();
        let place = cursor(place);
        let is_new = checkpoint::<Sqlite>(&mut transaction, &work, &share, &done, Some(&place), false).await;
        written.push(is_new.unwrap());
        transaction.commit().await.unwrap();
    }
    assert_eq!(written, [true, false, true]);
    let tables = progress::<Sqlite>(&mut connection, "r").await.unwrap();
    assert_eq!(tables.first().unwrap().rows, 4);
}

/// A worker that waited for the shares of another process comes back when that one is in the next phase: it must not seal, and
/// count as before, what is to be counted as after.
#[tokio::test]
async fn no_share_of_another_phase() {
    let pool = pool().await;
    let mut connection = pool.acquire().await.unwrap();
    let work = started(&mut connection).await;
    let Claim::Share(share) = claim_of(&mut connection, &work).await else {
        panic!("no share")
    };
    assert!(matches!(
        claim_by("another", &mut connection, &work).await,
        Claim::Wait
    ));
    let mut transaction = begin::<Sqlite>(&mut connection).await.unwrap();
    assert!(
        checkpoint::<Sqlite>(&mut transaction, &work, &share, &Done::default(), None, true)
            .await
            .unwrap()
    );
    transaction.commit().await.unwrap();
    assert!(matches!(claim_of(&mut connection, &work).await, Claim::Through));
    assert!(
        next_phase::<Sqlite>(&mut connection, &work, (Phase::Count, 1), BEGINNING, &[])
            .await
            .unwrap()
    );
    // The late one.
    assert!(matches!(claim_of(&mut connection, &work).await, Claim::Through));
    assert!(
        !next_phase::<Sqlite>(&mut connection, &work, (Phase::Count, 1), BEGINNING, &[])
            .await
            .unwrap()
    );
    // Neither one that was given back.
    let count = by_id::<Sqlite>(&mut connection, "r").await.unwrap();
    assert!(matches!(claim_of(&mut connection, &count).await, Claim::Share(_)));
    end_leases::<Sqlite>(&mut connection, "r", None).await.unwrap();
    assert!(matches!(claim_of(&mut connection, &work).await, Claim::Through));
    assert!(matches!(claim_of(&mut connection, &count).await, Claim::Share(_)));
}

/// The key of a row may be an MRN.
#[test]
fn no_row_key_is_in_a_debug_text() {
    let value = Quarantined {
        table: "patients".to_owned(),
        row_key: "iMRN12345".to_owned(),
        column: "ssn".to_owned(),
        reason: "authentication".to_owned(),
        key: "0000000a".to_owned(),
        noted: 1,
    };
    let note = Note {
        row_key: "iMRN12345".to_owned(),
        column: "ssn".to_owned(),
        reason: "authentication",
        key: "0000000a".to_owned(),
        held: String::new(),
    };
    let text = format!("{value:?} {note:?}");
    assert!(text.contains("patients") && !text.contains("MRN12345"), "{text}");
}
