//! The shapes of models beyond one row id: tenants, composite row ids, revisions, names in SQL, generated columns.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy allows them in the test functions alone"
)]
#![cfg(all(feature = "derive", feature = "sqlx-sqlite"))]

use phield::sqlx::{Error, insert};
use phield::{
    AppName, EncryptedPhi, InTenant, Keyring, OfSubject, OpenError, Phi, Sealed, TenantName, Unsealable,
    WithExtra,
};
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

fn keyring() -> Keyring {
    Keyring::ephemeral(AppName::from_static("emr")).unwrap()
}

async fn database(table: &'static str) -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::query(table).execute(&mut connection).await.unwrap();
    connection
}

/// A visit of a patient.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "visits",
    sql_name = "encounters",
    index(
        name = "code_note",
        on(code = "exact", note = "name"),
        sql_name = "code_note_idx"
    )
)]
struct Visit {
    #[phi(tenant)]
    clinic: String,
    #[phi(row_id, sql_name = "patient")]
    patient_id: i64,
    #[phi(row_id)]
    number: i64,
    #[phi(subject)]
    person: Uuid,
    /// What was said.
    #[phi(sql_name = "remark", column = "note")]
    note: Phi<String>,
    #[phi(index(sql_name = "icd_index"), max_len = 8)]
    code: Option<Phi<String>>,
    #[phi(generated)]
    serial: i64,
    #[phi(sql_name = "order", sql_type = "VARCHAR(20)")]
    order_name: Option<String>,
}

const VISITS: &str = "CREATE TABLE encounters (
    clinic TEXT NOT NULL, patient INTEGER NOT NULL, number INTEGER NOT NULL, person BLOB NOT NULL, remark BLOB NOT NULL,
    code BLOB, icd_index BLOB, serial INTEGER PRIMARY KEY AUTOINCREMENT, \"order\" TEXT, code_note_idx BLOB,
    UNIQUE (clinic, patient, number)
)";

fn visit(clinic: &str, number: i64) -> Visit {
    Visit {
        clinic: clinic.to_owned(),
        patient_id: 7,
        number,
        person: Uuid::from_u128(7),
        note: Phi::from("cough"),
        code: Some(Phi::from("J10.1")),
        serial: 0,
        order_name: None,
    }
}

type VisitRow = InTenant<String, OfSubject<(i64, i64), Uuid>>;

fn place(visit: &Visit) -> VisitRow {
    InTenant {
        tenant: visit.clinic.clone(),
        row: OfSubject {
            row: (visit.patient_id, visit.number),
            subject: visit.person,
        },
    }
}

#[tokio::test]
async fn rows_of_tenants_are_apart() {
    let (keyring, mut db) = (keyring(), database(VISITS).await);
    for clinic in ["north", "south"] {
        insert(&mut db, &visit(clinic, 1).seal(&keyring).unwrap())
            .await
            .unwrap();
    }
    let (north, south) = ("north".to_owned(), "south".to_owned());
    let [in_north, _] = Visit::code_index(&keyring, &north, "J10.1").unwrap();
    let [in_south, _] = Visit::code_index(&keyring, &south, "J10.1").unwrap();
    assert_ne!(in_north, in_south, "an index value is of one tenant");

    let found = Visit::find_by_code(&mut db, &keyring, &north, "J10.1")
        .await
        .unwrap();
    assert_eq!(
        found,
        [Visit {
            serial: 1,
            ..visit("north", 1)
        }]
    );
    let found = Visit::find_by_code_note(&mut db, &keyring, &south, "J10.1", "COUGH")
        .await
        .unwrap();
    assert_eq!(
        found,
        [Visit {
            serial: 2,
            ..visit("south", 1)
        }]
    );
    let fetched = Visit::fetch(&mut db, &keyring, &south, &(7, 1)).await.unwrap();
    assert_eq!(
        fetched,
        Some(Visit {
            serial: 2,
            ..visit("south", 1)
        })
    );
    assert_eq!(
        Visit::fetch(&mut db, &keyring, &south, &(7, 2)).await.unwrap(),
        None
    );

    // The row of another tenant with the index value of this one is not this tenant's.
    sqlx::query("UPDATE encounters SET icd_index = ? WHERE clinic = 'south'")
        .bind(in_north)
        .execute(&mut db)
        .await
        .unwrap();
    assert_eq!(
        Visit::find_by_code(&mut db, &keyring, &north, "J10.1")
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn every_bound_column_is_bound() {
    let (keyring, mut db) = (keyring(), database(VISITS).await);
    insert(&mut db, &visit("north", 1).seal(&keyring).unwrap())
        .await
        .unwrap();
    for change in [
        "clinic = 'south'",
        "patient = 8",
        "number = 2",
        "person = zeroblob(16)",
    ] {
        let mut transaction = db.begin().await.unwrap();
        let update = format!("UPDATE encounters SET {change}");
        sqlx::query(sqlx::AssertSqlSafe(update))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let row: SealedVisit = sqlx::query_as("SELECT * FROM encounters")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        let error = row.open(&keyring).unwrap_err();
        assert_eq!(error, OpenError::Authentication, "{change}");
        assert_eq!(error.to_string(), "visits.note: the token does not authenticate");
        transaction.rollback().await.unwrap();
    }
}

/// The labels are what tokens are bound to: tables and columns can be renamed in SQL.
#[tokio::test]
async fn a_renamed_table_and_column_still_open() {
    mod before {
        use phield::{EncryptedPhi, Phi};

        #[derive(EncryptedPhi)]
        #[phi(table = "visits")]
        pub(crate) struct Visit {
            #[phi(tenant)]
            pub(crate) clinic: String,
            #[phi(row_id)]
            pub(crate) patient_id: i64,
            #[phi(row_id)]
            pub(crate) number: i64,
            #[phi(subject)]
            pub(crate) person: uuid::Uuid,
            pub(crate) note: Phi<String>,
            #[phi(index)]
            pub(crate) code: Option<Phi<String>>,
        }
    }
    let keyring = keyring();
    let now = visit("north", 1);
    let old = before::Visit {
        clinic: now.clinic.clone(),
        patient_id: now.patient_id,
        number: now.number,
        person: now.person,
        note: now.note.clone(),
        code: now.code.clone(),
    };
    let old = old.seal(&keyring).unwrap();
    let mut renamed = now.seal(&keyring).unwrap();
    (renamed.note, renamed.code) = (old.note, old.code);
    assert_eq!(renamed.code_index, old.code_index);
    assert_eq!(renamed.open(&keyring).unwrap(), now);
    assert_eq!(
        SealedVisit::COLUMN_LIST,
        "clinic, patient, number, person, remark, code, icd_index, serial, \"order\", code_note_idx"
    );
}

#[tokio::test]
async fn columns_open_with_their_whole_binding() {
    let (keyring, mut db) = (keyring(), database(VISITS).await);
    let visit = visit("north", 1);
    insert(&mut db, &visit.seal(&keyring).unwrap()).await.unwrap();
    let remark: Sealed<String> = sqlx::query_scalar("SELECT remark FROM encounters")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(
        Visit::NOTE.open(&keyring, &place(&visit), &remark).unwrap(),
        visit.note
    );
    let mut elsewhere = place(&visit);
    elsewhere.row.row.1 = 2;
    let error = Visit::NOTE.open(&keyring, &elsewhere, &remark).unwrap_err();
    assert_eq!(error.to_string(), "visits.note: the token does not authenticate");
    assert!(error.row_id().is_some() && !format!("{error:?}").contains('7'));

    // One group: the compound index is over both.
    let both = Visit::seal_code_note(&keyring, &place(&visit), &Phi::from("fever"), &None).unwrap();
    assert!(both.code_note_index.is_none() && both.code_index.is_none());
    let code = Some(Phi::from("J10.12345"));
    let long = Visit::seal_code_note(&keyring, &place(&visit), &Phi::from("fever"), &code);
    assert_eq!(long.unwrap_err(), Unsealable::ValueTooLong.into());
}

#[tokio::test]
async fn a_column_that_does_not_hold_its_type_is_named_with_its_table() {
    let (keyring, mut db) = (keyring(), database(VISITS).await);
    insert(&mut db, &visit("north", 1).seal(&keyring).unwrap())
        .await
        .unwrap();
    sqlx::query("UPDATE encounters SET remark = x'00'")
        .execute(&mut db)
        .await
        .unwrap();
    let error = Visit::fetch(&mut db, &keyring, &"north".to_owned(), &(7, 1))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("encounters.remark"), "{error}");
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "orders")]
struct Order {
    #[phi(row_id)]
    id: i64,
    #[phi(tenant)]
    clinic: TenantId,
    #[phi(extra)]
    revision: i64,
    #[phi(index(normalize = "name", unique))]
    drug: Phi<String>,
    dose: Phi<i64>,
}

type TenantId = Uuid;

/// A cell put back to what it was does not open: its revision is another one.
#[test]
fn a_revision_is_bound_into_every_token() {
    let keyring = keyring();
    let first = Order {
        id: 1,
        clinic: Uuid::from_u128(1),
        revision: 1,
        drug: "aspirin".into(),
        dose: Phi::new(100),
    };
    let second = Order {
        revision: 2,
        dose: Phi::new(500),
        ..first.clone()
    };
    let (old, mut new) = (first.seal(&keyring).unwrap(), second.seal(&keyring).unwrap());
    assert_eq!(new.clone().open(&keyring).unwrap(), second);
    let row = WithExtra {
        row: InTenant {
            tenant: first.clinic,
            row: 1,
        },
        extra: 2,
    };
    assert_eq!(
        Order::DOSE.open(&keyring, &row, &new.dose).unwrap().expose(),
        &500
    );
    assert_eq!(
        Order::DOSE.open(&keyring, &row, &old.dose).unwrap_err(),
        OpenError::Authentication
    );
    new.dose = old.dose;
    assert_eq!(
        new.open(&keyring).unwrap_err().to_string(),
        "orders.dose: the token does not authenticate"
    );
    assert_eq!(Order::SCHEMA.extra, Some("revision"));
    assert!(Order::SCHEMA.indexes.iter().all(|index| index.unique));
}

#[test]
fn the_schema_has_labels_and_names() {
    let schema = Visit::SCHEMA;
    assert_eq!((schema.table, schema.sql_table), ("visits", "encounters"));
    assert_eq!((schema.tenant, schema.subject), (Some("clinic"), Some("person")));
    assert_eq!(schema.binding, phield::Binding::RowId(&["patient", "number"]));
    let generated: Vec<_> = schema
        .columns
        .iter()
        .filter(|column| column.generated)
        .map(|column| column.sql_name)
        .collect();
    assert_eq!(generated, ["serial"]);
    let shown = format!("{schema:?}");
    for part in [
        "max_len: Some(8)",
        "sql_type: Some(\"VARCHAR(20)\")",
        "rust_type: \"Option<String>\"",
        "sql_name: \"icd_index\"",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn tenants_that_are_no_names_are_refused() {
    let keyring = keyring();
    let sealed = visit("north clinic", 1).seal(&keyring);
    assert_eq!(sealed.unwrap_err(), Unsealable::Tenant.into());
    assert!(TenantName::new("north clinic").is_err());
    let _: Option<Error> = None;
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "labs")]
struct Lab {
    #[phi(row_id)]
    id: uuid::fmt::Hyphenated,
    #[phi(tenant)]
    clinic: TenantName,
    result: Phi<String>,
}

/// A tenant is a column of text, and a UUID in text is the same row id as in bytes.
#[tokio::test]
async fn tenant_names_and_written_uuids_are_columns() {
    let table = "CREATE TABLE labs (id TEXT NOT NULL, clinic TEXT NOT NULL, result BLOB NOT NULL, PRIMARY KEY (clinic, id))";
    let (keyring, mut db) = (keyring(), database(table).await);
    let lab = Lab {
        id: Uuid::from_u128(9).hyphenated(),
        clinic: TenantName::from_static("north"),
        result: "negative".into(),
    };
    insert(&mut db, &lab.seal(&keyring).unwrap()).await.unwrap();
    let fetched = Lab::fetch(&mut db, &keyring, &lab.clinic, &lab.id).await.unwrap();
    assert_eq!(fetched.as_ref(), Some(&lab));
    let result: Sealed<String> = sqlx::query_scalar("SELECT result FROM labs")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let row = InTenant {
        tenant: lab.clinic.clone(),
        row: lab.id,
    };
    assert_eq!(Lab::RESULT.open(&keyring, &row, &result).unwrap(), lab.result);
    sqlx::query("UPDATE labs SET clinic = 'two words'")
        .execute(&mut db)
        .await
        .unwrap();
    let read = sqlx::query_as::<_, SealedLab>("SELECT * FROM labs")
        .fetch_one(&mut db)
        .await;
    assert!(read.unwrap_err().to_string().contains("labs.clinic"));
}

#[derive(Debug, EncryptedPhi)]
#[phi(table = "remarks", unbound)]
struct Remark {
    #[phi(tenant)]
    clinic: i64,
    text: Phi<String>,
}

/// A tenant is not a key: an update by it alone would write over every row of the tenant. With no key it does not compile.
#[test]
fn an_unbound_row_has_no_key() {
    use phield::sqlx::SealedRow;
    assert_eq!(
        (SealedRemark::KEY, SealedRemark::TENANT),
        ([].as_slice(), Some("clinic"))
    );
    assert_eq!(SealedVisit::KEY, ["clinic", "patient", "number"]);
    let remark = Remark {
        clinic: 1,
        text: "x".into(),
    };
    let keyring = keyring();
    let opened = remark.seal(&keyring).unwrap().open(&keyring).unwrap();
    assert_eq!((opened.clinic, opened.text.expose().as_str()), (1, "x"));
}
