//! Models of more than one struct: parts of a model, generic models, flattened structs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy allows them in the test functions alone"
)]
#![cfg(all(feature = "derive", feature = "sqlx-sqlite"))]

use phield::sqlx::{insert, insert_batch};
use phield::{AppName, EncryptedPhi, InTenant, Json, Keyring, OpenError, Phi, Sealed, Value};
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

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients", sql_name = "persons")]
struct Patient {
    #[phi(tenant)]
    clinic: String,
    #[phi(row_id, sql_name = "patient_id")]
    id: Uuid,
    #[phi(column = "full-name", sql_name = "full_name", pad = "padme(64)")]
    name: Phi<String>,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<String>,
    #[phi(store = "text")]
    phone: Option<Phi<String>>,
    #[phi(sql_name = "order")]
    number: i64,
}

/// What the front desk sees.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(part_of = Patient)]
struct PatientContact {
    #[phi(row_id, sql_name = "patient_id")]
    id: Uuid,
    #[phi(store = "text")]
    phone: Option<Phi<String>>,
    #[phi(tenant)]
    clinic: String,
    /// By the name in SQL that the model says.
    #[phi(sql_name = "full_name")]
    name: Phi<String>,
    #[phi(sql_name = "order")]
    number: i64,
}

const PATIENTS: &str = "CREATE TABLE persons (
    clinic TEXT NOT NULL, patient_id BLOB PRIMARY KEY, full_name BLOB NOT NULL, ssn BLOB NOT NULL, ssn_index BLOB NOT NULL,
    phone TEXT, \"order\" INTEGER NOT NULL
)";

fn patient(id: u128) -> Patient {
    Patient {
        clinic: "north".to_owned(),
        id: Uuid::from_u128(id),
        name: "Ada Lovelace".into(),
        ssn: "999-12-3456".into(),
        phone: Some("555-0100".into()),
        number: 7,
    }
}

fn contact(id: u128) -> PatientContact {
    let Patient {
        clinic,
        id,
        name,
        phone,
        number,
        ssn: _,
    } = patient(id);
    PatientContact {
        id,
        phone,
        clinic,
        name,
        number,
    }
}

#[tokio::test]
async fn a_part_reads_the_columns_of_its_model() {
    let (keyring, mut db) = (keyring(), database(PATIENTS).await);
    let rows = Patient::seal_batch(&[patient(1), patient(2)], &keyring).unwrap();
    insert_batch(&mut db, rows).await.unwrap();

    assert_eq!(
        SealedPatientContact::COLUMN_LIST,
        "patient_id, phone, clinic, full_name, \"order\""
    );
    let clinic = "north".to_owned();
    let fetched = PatientContact::fetch(&mut db, &keyring, &clinic, &Uuid::from_u128(2)).await;
    assert_eq!(fetched.unwrap(), Some(contact(2)));
    let other = PatientContact::fetch(&mut db, &keyring, &"south".to_owned(), &Uuid::from_u128(2)).await;
    assert_eq!(other.unwrap(), None);

    let rows: Vec<SealedPatientContact> = sqlx::query_as(
        "SELECT patient_id, phone, clinic, full_name, \"order\" FROM persons ORDER BY patient_id",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    let reported = rows.first().unwrap().clone().open_reported(&keyring).unwrap();
    assert_eq!(reported.compromised, None);
    assert_eq!(
        SealedPatientContact::open_batch(rows, &keyring).unwrap(),
        [contact(1), contact(2)]
    );
}

#[tokio::test]
async fn a_part_is_bound_as_its_model() {
    let (keyring, mut db) = (keyring(), database(PATIENTS).await);
    insert(&mut db, &patient(1).seal(&keyring).unwrap())
        .await
        .unwrap();
    sqlx::query("UPDATE persons SET clinic = 'south'")
        .execute(&mut db)
        .await
        .unwrap();
    let row: SealedPatientContact = sqlx::query_as("SELECT * FROM persons")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let error = row.open(&keyring).unwrap_err();
    assert_eq!(error, OpenError::Authentication);
    assert!(error.to_string().starts_with("patients."), "{error}");
}

/// Its own parameters, one of them a constant, with a default and a bound of the user's own.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "observations")]
struct Observation<T, K = i64, const N: usize = 2>
where
    T: Value,
    K: Copy,
{
    #[phi(row_id)]
    id: K,
    #[phi(index)]
    payload: Phi<T>,
    previous: Option<Phi<T>>,
    history: Phi<Json<Vec<String>>>,
    source: Option<K>,
    marks: [i64; N],
}

#[test]
fn generic_models_round_trip() {
    let keyring = keyring();
    let text = Observation::<String> {
        id: 1,
        payload: "cough".into(),
        previous: None,
        history: Phi::new(Json(vec!["fever".to_owned()])),
        source: Some(7),
        marks: [1, 2],
    };
    let sealed: SealedObservation<String> = text.seal(&keyring).unwrap();
    assert_eq!(sealed.clone().open(&keyring).unwrap(), text);
    assert!(
        Observation::<String>::payload_index(&keyring, "cough")
            .unwrap()
            .contains(&sealed.payload_index)
    );

    let number = Observation::<i64, Uuid, 0> {
        id: Uuid::from_u128(1),
        payload: Phi::new(5),
        previous: Some(Phi::new(4)),
        history: text.history.clone(),
        source: None,
        marks: [],
    };
    let sealed = Observation::seal_batch(std::slice::from_ref(&number), &keyring).unwrap();
    assert_eq!(
        SealedObservation::open_batch(sealed, &keyring).unwrap(),
        std::slice::from_ref(&number)
    );
    let (payload, index) =
        Observation::<i64, Uuid, 0>::seal_payload(&keyring, &number.id, &number.payload).unwrap();
    let opened = Observation::<i64, Uuid, 0>::PAYLOAD.open(&keyring, &number.id, &payload);
    assert_eq!(opened.unwrap(), number.payload);
    assert_ne!(index, sealed_index(&keyring, &text));

    // A token of one type of values does not open as another one.
    let wrong = Observation::<bool, Uuid, 0>::PREVIOUS.name().clone();
    assert_eq!(wrong, *Observation::<i64, Uuid, 0>::PREVIOUS.name());
    let types: Vec<_> = Observation::<i64, Uuid, 0>::SCHEMA
        .columns
        .iter()
        .map(|column| column.sql_name)
        .collect();
    assert_eq!(
        types,
        [
            "id",
            "payload",
            "payload_index",
            "previous",
            "history",
            "source",
            "marks"
        ]
    );
}

fn sealed_index(keyring: &Keyring, observation: &Observation<String>) -> phield::BlindIndex {
    observation.seal(keyring).unwrap().payload_index
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "notes",
    index(name = "both", on(subject = "exact", text = "exact"), leaks_equality)
)]
struct Note<T: Value, S: Clone> {
    #[phi(row_id)]
    id: i64,
    subject: Phi<T>,
    text: Phi<String>,
    status: S,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(part_of = Note<T, S>)]
struct NoteSubject<T: Value, S: Clone> {
    #[phi(row_id)]
    id: i64,
    subject: Phi<T>,
    status: S,
}

#[tokio::test]
async fn generic_models_are_inserted_found_and_read_in_parts() {
    let (keyring, mut db) = (
        keyring(),
        database("CREATE TABLE notes (id INTEGER PRIMARY KEY, subject BLOB, text BLOB, status TEXT, both_index BLOB)")
            .await,
    );
    let note = Note {
        id: 1,
        subject: Phi::new(5_i64),
        text: "cough".into(),
        status: "open".to_owned(),
    };
    insert(&mut db, &note.seal(&keyring).unwrap()).await.unwrap();
    let found = Note::<i64, String>::find_by_both(&mut db, &keyring, &5, "cough").await;
    assert_eq!(found.unwrap(), std::slice::from_ref(&note));
    assert_eq!(
        Note::fetch(&mut db, &keyring, &1).await.unwrap(),
        Some(note.clone())
    );
    let part: Option<NoteSubject<i64, String>> = NoteSubject::fetch(&mut db, &keyring, &1).await.unwrap();
    assert_eq!(part.unwrap().subject, note.subject);
    let both = Note::<i64, String>::seal_both(&keyring, &1, &note.subject, &note.text).unwrap();
    assert_eq!(
        Note::<i64, String>::TEXT.open(&keyring, &1, &both.text).unwrap(),
        note.text
    );
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(embedded)]
struct Address {
    street: Phi<String>,
    #[phi(store = "text", column = "postal-code", sql_name = "postcode", max_len = 10)]
    zip: Option<Phi<String>>,
    country: String,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "people")]
struct Person {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "name"))]
    name: Phi<String>,
    /// Where letters go.
    #[phi(flatten)]
    address: Address,
    #[phi(flatten = "work_")]
    work: Address,
    #[phi(tenant, sql_name = "group")]
    clinic: String,
}

const PEOPLE: &str = "CREATE TABLE people (
    id INTEGER PRIMARY KEY, name BLOB NOT NULL, name_index BLOB NOT NULL, street BLOB NOT NULL, postcode TEXT,
    country TEXT NOT NULL, work_street BLOB NOT NULL, work_postcode TEXT, work_country TEXT NOT NULL, \"group\" TEXT
)";

fn person(id: i64) -> Person {
    Person {
        id,
        name: "Ada".into(),
        address: Address {
            street: "Elm St 1".into(),
            zip: Some("12345".into()),
            country: "UK".to_owned(),
        },
        work: Address {
            street: "Oak Ave 2".into(),
            zip: None,
            country: "US".to_owned(),
        },
        clinic: "north".to_owned(),
    }
}

#[tokio::test]
async fn flattened_rows_are_inserted_found_and_read_by_their_names_in_sql() {
    let (keyring, mut db) = (keyring(), database(PEOPLE).await);
    let rows = Person::seal_batch(&[person(1), person(2)], &keyring).unwrap();
    insert_batch(&mut db, rows).await.unwrap();
    let clinic = "north".to_owned();
    let found = Person::find_by_name(&mut db, &keyring, &clinic, "ADA")
        .await
        .unwrap();
    assert_eq!(found, [person(1), person(2)]);
    assert_eq!(
        Person::fetch(&mut db, &keyring, &clinic, &2).await.unwrap(),
        Some(person(2))
    );
    let list = "id, name, name_index, street, postcode, country, work_street, work_postcode, work_country, \"group\"";
    assert_eq!(SealedPerson::COLUMN_LIST, list);
    let select = format!("SELECT {list} FROM people");
    let rows: Vec<SealedPerson> = sqlx::query_as(sqlx::AssertSqlSafe(select))
        .fetch_all(&mut db)
        .await
        .unwrap();
    assert_eq!(
        SealedPerson::open_batch(rows, &keyring).unwrap(),
        [person(1), person(2)]
    );
    let nulls: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM people WHERE work_postcode IS NULL AND postcode LIKE 'phi1.%'",
    )
    .fetch_one(&mut db)
    .await
    .unwrap();
    assert_eq!(nulls, 2);
}

#[tokio::test]
async fn tokens_do_not_open_under_another_prefix_or_in_another_row() {
    let (keyring, mut db) = (keyring(), database(PEOPLE).await);
    let rows = Person::seal_batch(&[person(1), person(2)], &keyring).unwrap();
    insert_batch(&mut db, rows).await.unwrap();
    for (change, column) in [
        ("street = work_street", "people.street"),
        ("work_street = street", "people.work_street"),
        ("work_postcode = postcode", "people.work_postal-code"),
        (
            "street = (SELECT street FROM people AS other WHERE other.id <> people.id)",
            "people.street",
        ),
        ("name = street", "people.name"),
    ] {
        let mut transaction = db.begin().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE people SET {change}")))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let row: SealedPerson = sqlx::query_as("SELECT * FROM people WHERE id = 1")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        let error = row.open(&keyring).unwrap_err();
        assert_eq!(error, OpenError::Authentication, "{change}");
        assert_eq!(
            error.to_string(),
            format!("{column}: the token does not authenticate")
        );
        transaction.rollback().await.unwrap();
    }
    sqlx::query("UPDATE people SET work_street = x'00'")
        .execute(&mut db)
        .await
        .unwrap();
    let error = Person::fetch(&mut db, &keyring, &"north".to_owned(), &1)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("people.work_street"), "{error}");
}

/// Flattened columns are sealed as the same columns written out would be.
#[test]
fn flattened_columns_are_columns_of_the_table() {
    #[derive(Debug, Clone, PartialEq, EncryptedPhi)]
    #[phi(table = "people")]
    struct WrittenOut {
        #[phi(row_id)]
        id: i64,
        #[phi(tenant)]
        clinic: String,
        street: Phi<String>,
        #[phi(column = "work_postal-code", store = "text")]
        work_zip: Option<Phi<String>>,
    }

    let (keyring, mut person) = (keyring(), person(1));
    person.work.zip = Some("98765".into());
    let sealed = person.seal(&keyring).unwrap();
    let row = InTenant {
        tenant: person.clinic.clone(),
        row: person.id,
    };
    let street: &Sealed<String> = &sealed.address.street;
    assert_eq!(
        WrittenOut::STREET.open(&keyring, &row, street).unwrap(),
        person.address.street
    );
    let zip = sealed.work.zip.as_ref().unwrap();
    assert_eq!(
        WrittenOut::WORK_ZIP.open(&keyring, &row, zip).unwrap().expose(),
        "98765"
    );
    // One salt for the row: the heads of its tokens, 32 bytes, are alike.
    let head = |token: &Sealed<String>| token.as_bytes().get(..21).map(<[u8]>::to_vec);
    assert_eq!(head(&sealed.name), head(&sealed.work.street));

    person.address.zip = Some("12345-678901".into());
    assert!(
        person.seal(&keyring).is_err(),
        "the embedded struct's `max_len` holds"
    );
    let shown = format!("{:?}", Person::SCHEMA);
    for part in [
        "sql_name: \"work_postcode\"",
        "name: \"work_postal-code\"",
        "max_len: Some(10)",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "contacts", unbound)]
struct Contact<T: Value> {
    value: Phi<T>,
    #[phi(flatten = "home_")]
    home: Address,
}

#[test]
fn generic_models_have_flattened_fields() {
    let keyring = keyring();
    let contact = Contact {
        value: Phi::new(5_i64),
        home: person(1).address,
    };
    let sealed = contact.seal(&keyring).unwrap();
    assert_eq!(
        SealedContact::<i64>::COLUMN_LIST,
        "value, home_street, home_postcode, home_country"
    );
    assert_eq!(sealed.open(&keyring).unwrap(), contact);
}
