//! What the macros made does in the database what it says.
#![allow(clippy::unwrap_used, reason = "a test")]

use phield::{AppName, Keyring};
use phield_macro_tests_mysql::{Patient, change_note, find_by_ssn, insert, name};
use phield_testkit::servers::MariaDbServer;
use uuid::Uuid;

#[tokio::test]
async fn models_go_through_the_checked_macros() {
    let server = MariaDbServer::start();
    let pool = sqlx::MySqlPool::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(include_str!("../schema.sql"))
        .execute(&pool)
        .await
        .unwrap();
    let keyring = Keyring::ephemeral(AppName::from_static("emr")).unwrap();
    let patient = |clinic, note: Option<&str>| Patient {
        id: Uuid::now_v7(),
        name: "Ada".into(),
        ssn: "999-12-3456".into(),
        note: note.map(Into::into),
        clinic,
    };
    let mut patients = [patient(1, None), patient(2, Some("sleeps badly"))];
    for patient in &patients {
        insert(&pool, &keyring, patient).await.unwrap();
    }
    assert_eq!(
        find_by_ssn(&pool, &keyring, "999 12 3456").await.unwrap(),
        patients
    );
    assert_eq!(find_by_ssn(&pool, &keyring, "999 12 3457").await.unwrap(), []);
    let id = patients[0].id;
    assert_eq!(name(&pool, &keyring, id).await.unwrap().expose(), "Ada");
    assert_eq!(change_note(&pool, &keyring, id, "better").await.unwrap(), 1);
    patients[0].note = Some("better".into());
    assert_eq!(find_by_ssn(&pool, &keyring, "999123456").await.unwrap(), patients);
}
