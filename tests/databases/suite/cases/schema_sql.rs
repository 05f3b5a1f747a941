//! The statements of `phield schema sql`: the database takes them, and rows come back from their columns.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use phield::sqlx::insert;
use phield::{
    Binding, ColumnKind, ColumnSchema, Dialect, EncryptedPhi, IndexSchema, Normalizer, Padding, Phi, Schema,
    SchemaFile, StorageKind,
};
use sqlx::{AssertSqlSafe, Database as _};
use uuid::Uuid;

use super::{Db, fresh, sql};
use crate::keyring;

/// Plain columns of every type that all databases have, and every kind of sealed column.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "patients",
    index(name = "family_birth", on(family = "name", birth = "date"))
)]
struct Patient {
    #[phi(row_id)]
    id: Uuid,
    #[phi(pad = "fixed(64)")]
    family: Phi<String>,
    birth: Phi<NaiveDate>,
    #[phi(index(normalize = "ssn"))]
    ssn: Option<Phi<String>>,
    #[phi(store = "text", pad = "padme(256)")]
    note: Phi<String>,
    #[phi(store = "text")]
    smoker: Phi<Option<bool>>,
    #[phi(index(normalize = "exact", bits = 12))]
    number: Phi<i64>,
    scan: Option<Phi<Vec<u8>>>,
    order: bool, // a reserved word
    tiny: i8,
    short: i16,
    int: i32,
    long: i64,
    single: f32,
    double: f64,
    text: String,
    bytes: Option<Vec<u8>>,
    uuid: Option<Uuid>,
    date: NaiveDate,
    time: Option<NaiveTime>,
    local: NaiveDateTime,
    utc: Option<DateTime<Utc>>,
}

/// A table whose row id is text, in a database where text in a key needs a length.
#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "visits")]
struct Visit {
    #[phi(row_id)]
    id: String,
    note: Phi<String>,
}

/// What the derive makes of a generated column, a tenant and a unique index; under a name near every limit.
const LONG: Schema = {
    const NAME: &str = "a_table_with_a_name_that_is_as_long_as_databases_take_them_____";
    const COLUMNS: &[ColumnSchema] = &[
        ColumnSchema::new("seq", ColumnKind::plain("i64", None)).generated(),
        ColumnSchema::new("id", ColumnKind::plain("i64", None)),
        ColumnSchema::new("clinic", ColumnKind::plain("String", None)),
        ColumnSchema::new(
            "ssn",
            ColumnKind::sealed::<String>("ssn", true, Padding::Block16, StorageKind::Binary, Some(11)),
        ),
        ColumnSchema::new("ssn_index", ColumnKind::index("ssn", false)),
    ];
    const INDEXES: &[IndexSchema] =
        &[IndexSchema::new("ssn", "ssn_index", &["ssn"], &[Normalizer::Ssn], 256).unique()];
    Schema::new("long", NAME, Binding::RowId(&["id"]), COLUMNS, INDEXES).in_tenant("clinic")
};

fn dialect() -> Dialect {
    match Db::NAME {
        "SQLite" => Dialect::Sqlite,
        "PostgreSQL" => Dialect::Postgres,
        "MySQL" => Dialect::MariaDb,
        other => panic!("{other}"),
    }
}

fn patient(id: u128, ssn: Option<&str>) -> Patient {
    let date = NaiveDate::from_ymd_opt(2037, 12, 10).unwrap(); // before the last point in time that MariaDB lets sqlx bind
    let time = NaiveTime::from_hms_micro_opt(23, 59, 58, 123_456).unwrap();
    Patient {
        id: Uuid::from_u128(id),
        family: "Lovelace".into(),
        birth: date.into(),
        ssn: ssn.map(Phi::from),
        note: "x".repeat(100_000).into(), // more than a BLOB of MariaDB holds
        smoker: None.into(),
        number: i64::MIN.into(),
        scan: Some(vec![0xff; 100_000].into()),
        order: true,
        tiny: i8::MIN,
        short: i16::MIN,
        int: i32::MIN,
        long: i64::MIN,
        single: 1.5,
        double: -0.1,
        text: "Zoë".to_owned(),
        bytes: Some(vec![0, 255]),
        uuid: Some(Uuid::from_u128(id)),
        date,
        time: Some(time),
        local: date.and_time(time),
        utc: Some(date.and_time(time).and_utc()),
    }
}

#[tokio::test]
async fn the_statements_are_taken_and_rows_come_back() {
    let (keyring, db) = (keyring(), fresh().await);
    let schema = SchemaFile::of(&[Patient::SCHEMA, Visit::SCHEMA, LONG]).unwrap();
    let statements = schema.create_tables(dialect()).unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&*db)
        .await
        .unwrap();

    let absent = Patient {
        scan: None,
        bytes: None,
        uuid: None,
        time: None,
        utc: None,
        ..patient(2, None)
    };
    let rows = [patient(1, Some("999-12-3456")), absent];
    for row in &rows {
        insert(&*db, &row.seal(&keyring).unwrap()).await.unwrap();
        let read = Patient::fetch(&*db, &keyring, &row.id).await.unwrap();
        assert_eq!(read.as_ref(), Some(row));
    }
    let found = Patient::find_by_ssn(&*db, &keyring, "999123456").await.unwrap();
    assert_eq!(found, &rows[..1]);

    let visits = ["a", "A"].map(|id| Visit {
        id: id.to_owned(),
        note: id.into(),
    });
    for visit in &visits {
        insert(&*db, &visit.seal(&keyring).unwrap()).await.unwrap();
        // The row id is the primary key.
        assert!(insert(&*db, &visit.seal(&keyring).unwrap()).await.is_err());
    }
    // It is compared byte for byte.
    for visit in visits {
        assert_eq!(
            Visit::fetch(&*db, &keyring, &visit.id).await.unwrap(),
            Some(visit)
        );
    }

    // No token is longer than the schema says.
    let columns = schema.tables()[0].columns.iter();
    let lengths = columns.filter_map(|column| Some((column.sql_name(), column.longest_token()?)));
    for (name, longest) in lengths {
        let query = format!("SELECT count(*) FROM patients WHERE length({name}) > {longest}");
        let longer: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&*db)
            .await
            .unwrap();
        assert_eq!(longer, 0, "{name}");
    }
}

#[tokio::test]
async fn generated_integers_count_and_unique_indexes_are() {
    let db = fresh().await;
    let statements = SchemaFile::of(&[LONG]).unwrap().create_tables(dialect()).unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&*db)
        .await
        .unwrap();
    let insert = |id: i64, clinic: &'static str, index: u8| {
        let statement = format!(
            "INSERT INTO {} (id, clinic, ssn_index) VALUES (?, ?, ?)",
            LONG.sql_table
        );
        let query = sqlx::query(sql(&statement));
        query.bind(id).bind(clinic).bind(vec![index; 36]).execute(&*db)
    };
    insert(7, "a", 1).await.unwrap();
    insert(7, "b", 2).await.unwrap();
    assert!(
        insert(7, "a", 3).await.is_err(),
        "the row id of a tenant is there already"
    );
    assert!(
        insert(8, "a", 2).await.is_err(),
        "the index value is there already"
    );
    let statement = format!("SELECT seq FROM {} ORDER BY seq", LONG.sql_table);
    let counted: Vec<i64> = sqlx::query_scalar(sql(&statement)).fetch_all(&*db).await.unwrap();
    assert!(
        counted[0] >= 1 && counted[1] > counted[0] && counted.len() == 2,
        "{counted:?}"
    );
}
