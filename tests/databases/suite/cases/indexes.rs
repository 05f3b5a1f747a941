//! Finders of indexes that are slow, truncated, or lie.

use phield::sqlx::{insert, insert_batch};
use phield::{EncryptedPhi, Phi};

use super::{fresh, sql};
use crate::keyring;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "people")]
struct Person {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<String>,
}

#[tokio::test]
async fn an_index_value_is_a_claim_that_opening_checks() {
    let (keyring, db) = (keyring(), fresh().await);
    let table = "CREATE TABLE people (id {int} PRIMARY KEY, ssn {bytes} NOT NULL, ssn_index {index})";
    sqlx::query(sql(table)).execute(&*db).await.unwrap();
    for (id, ssn) in [(1, "999-12-3456"), (2, "999-65-4321")] {
        let ssn = ssn.into();
        let sealed = Person { id, ssn }.seal(&keyring).unwrap();
        insert(&*db, &sealed).await.unwrap();
    }
    let [adas, _] = Person::ssn_index(&keyring, "999123456").unwrap();
    for (index, id) in [(None, 1_i64), (Some(adas), 2)] {
        let update = sqlx::query(sql("UPDATE people SET ssn_index = ? WHERE id = ?"));
        update.bind(index).bind(id).execute(&*db).await.unwrap();
    }
    let found = Person::find_by_ssn(&*db, &keyring, "999-12-3456").await;
    assert_eq!(found.unwrap(), []);
}

// Release builds have no cheap slow indexes.
#[cfg(debug_assertions)]
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "codes")]
struct Code {
    #[phi(row_id)]
    id: i64,
    #[phi(index(bits = 8))]
    code: Phi<String>,
    #[phi(index(algorithm = "argon2id-m65536-t3-p1"))]
    slow: Phi<String>,
}

/// Eight bits for hundreds of values: an index value of one is that of others, too.
#[cfg(debug_assertions)]
#[tokio::test]
async fn false_hits_of_a_truncated_index_are_filtered() {
    use phield::{AppName, Keyring};

    let db = fresh().await;
    let keyring = Keyring::ephemeral_with_cheap_slow_indexes(AppName::from_static("emr")).unwrap();
    let table = "CREATE TABLE codes (id {int} PRIMARY KEY, code {bytes} NOT NULL, code_index {index} NOT NULL, \
                 slow {bytes} NOT NULL, slow_index {index} NOT NULL)";
    sqlx::query(sql(table)).execute(&*db).await.unwrap();
    let row = |id: i64| Code {
        id,
        code: Phi::new(format!("J{id}")),
        slow: Phi::new(format!("{}", id % 100)),
    };
    let rows: Vec<_> = (0..600).map(row).collect();
    let sealed = Code::seal_batch_async(&rows, &keyring).await.unwrap();
    let mut connection = db.acquire().await.unwrap();
    assert_eq!(insert_batch(&mut *connection, sealed).await.unwrap(), 600);

    let mut candidates = 0;
    for id in [0, 7, 300, 599] {
        let [slot, _] = Code::code_index(&keyring, &format!("J{id}")).unwrap();
        assert_eq!(slot.as_bytes().len(), 5);
        let count = sqlx::query_scalar::<_, i64>(sql("SELECT count(*) FROM codes WHERE code_index = ?"));
        candidates += count.bind(slot).fetch_one(&*db).await.unwrap();
        let found = Code::find_by_code(&*db, &keyring, &format!("J{id}")).await;
        assert_eq!(found.unwrap(), [row(id)]);
    }
    assert!(candidates > 4, "the index had false hits to filter");
    assert_eq!(Code::find_by_code(&*db, &keyring, "J600").await.unwrap(), []);

    // A finder waits for a slow index.
    let found = Code::find_by_slow(&*db, &keyring, "42").await.unwrap();
    let mut ids: Vec<_> = found.iter().map(|code| code.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [42, 142, 242, 342, 442, 542]);
}
