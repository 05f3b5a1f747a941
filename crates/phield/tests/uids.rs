//! UIDs in a database and in JSON: as row ids, foreign keys and subjects, where no PHI may stand.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]
#![cfg(all(feature = "derive", feature = "serde", feature = "sqlx-sqlite"))]

use phield::sqlx::insert;
use phield::{AppName, DomainName, EncryptedPhi, Keyring, Phi, Surrogate, Uid, UidDomain};
use sqlx::SqlitePool;

const CLINICAL: UidDomain = UidDomain::group(DomainName::from_static("clinical"));
const BILLING: UidDomain = UidDomain::group(DomainName::from_static("billing"));

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
struct Patient {
    #[phi(row_id)]
    id: Uid,
    surrogate: Phi<Surrogate>,
    #[phi(index(normalize = "name"))]
    name: Phi<String>,
    guardian: Option<Uid>,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "visits")]
struct Visit {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    patient: Uid,
    note: Phi<String>,
}

#[tokio::test]
async fn uids_in_a_database() {
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
    let tables = "CREATE TABLE patients (id BLOB PRIMARY KEY, surrogate BLOB NOT NULL, name BLOB NOT NULL,
                  name_index BLOB NOT NULL, guardian BLOB);
                  CREATE TABLE visits (id INTEGER PRIMARY KEY, patient BLOB NOT NULL, note BLOB NOT NULL)";
    sqlx::raw_sql(tables).execute(&pool).await.unwrap();

    let person = |name: &str, guardian| {
        let surrogate = Surrogate::random().unwrap();
        Patient {
            id: keyring.uid(&CLINICAL, None, &surrogate).unwrap(),
            surrogate: Phi::new(surrogate),
            name: name.into(),
            guardian,
        }
    };
    let ada = person("Ada", None);
    let child = person("Byron", Some(ada.id));
    let visit = Visit {
        id: 1,
        patient: child.id,
        note: "measles".into(),
    };
    for patient in [&ada, &child] {
        insert(&pool, &patient.seal(&keyring).unwrap()).await.unwrap();
    }
    insert(&pool, &visit.seal(&keyring).unwrap()).await.unwrap();

    assert_eq!(
        Patient::fetch(&pool, &keyring, &child.id).await.unwrap(),
        Some(child.clone())
    );
    let found = Patient::find_by_name(&pool, &keyring, "ADA").await.unwrap();
    assert_eq!(found, std::slice::from_ref(&ada));
    assert_eq!(Visit::fetch(&pool, &keyring, &1).await.unwrap(), Some(visit));
    let guardian: Uid = sqlx::query_scalar("SELECT guardian FROM patients WHERE id = ?")
        .bind(child.id)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(guardian, ada.id);
    // The visit is of the child; whoever gives it to somebody else makes it unreadable.
    sqlx::query("UPDATE visits SET patient = ?")
        .bind(ada.id)
        .execute(&pool)
        .await
        .unwrap();
    assert!(Visit::fetch(&pool, &keyring, &1).await.is_err());
    // What is no UIDv8 is none.
    let other = sqlx::query_scalar::<_, Uid>("SELECT x'00000000000040008000000000000000'");
    assert!(other.fetch_one(&pool).await.is_err());

    // From the surrogate that is sealed with her record come her UIDs elsewhere, and nothing joins them.
    let surrogate = found[0].surrogate.expose();
    let billing = keyring.uid(&BILLING, None, surrogate).unwrap();
    assert_ne!(billing, ada.id);
    let json = serde_json::to_string(&[billing, ada.id]).unwrap();
    assert_eq!(json, format!("[\"{billing}\",\"{}\"]", ada.id));
    assert_eq!(
        serde_json::from_str::<[Uid; 2]>(&json).unwrap(),
        [billing, ada.id]
    );
}
