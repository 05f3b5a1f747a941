//! `phield.schema.json`.

use serde_json::{Value, json};

use super::{NOTES, VISITS};
use crate::frame::Padding;
use crate::schema::{Binding, ColumnKind, ColumnSchema, Schema, SchemaFile, SchemaFileError, StorageKind};

fn both() -> SchemaFile {
    SchemaFile::of(&[VISITS, NOTES]).unwrap()
}

#[test]
fn a_file_is_written_and_read_back() {
    let json = both().to_json();
    assert!(
        json.starts_with("{\n  \"version\": 1,\n  \"tables\": [\n") && json.ends_with("}\n"),
        "{json}"
    );
    assert_eq!(SchemaFile::from_json(&json).unwrap(), both());
    assert_eq!(
        SchemaFile::from_json(&json.replace('\n', "\r\n")).unwrap(),
        both()
    );
    let expected = json!({
        "version": 1,
        "tables": [
            {
                "table": "visits",
                "sql_table": "clinic.visits",
                "binding": {"row_id": ["id"]},
                "tenant": "clinic",
                "subject": "patient",
                "subject_keys": true,
                "extra": "revision",
                "columns": [
                    {"kind": "plain", "sql_name": "seq", "rust_type": "i64", "generated": true},
                    {"kind": "plain", "sql_name": "id", "rust_type": "uuid::Uuid"},
                    {"kind": "plain", "sql_name": "clinic", "rust_type": "String"},
                    {"kind": "plain", "sql_name": "patient", "rust_type": "phield::Uid"},
                    {"kind": "plain", "sql_name": "revision", "rust_type": "i32"},
                    {"kind": "plain", "sql_name": "price", "rust_type": "Option<Decimal>", "sql_type": "NUMERIC(10,2)"},
                    {"kind": "sealed", "sql_name": "ssn", "name": "ssn", "value_type": "text", "padding": "block(16)", "storage": "binary", "max_len": 11},
                    {"kind": "index", "sql_name": "ssn_index", "index": "ssn"},
                    {"kind": "sealed", "sql_name": "remark", "name": "note", "value_type": "text", "sql_null": true, "padding": "padme(256)", "storage": "text"},
                    {"kind": "sealed", "sql_name": "seen", "name": "seen", "value_type": "text", "padding": "fixed(32)", "storage": "text"},
                    {"kind": "sealed", "sql_name": "smoker", "name": "smoker", "value_type": "bool", "encrypted_null": true, "padding": "block(16)", "storage": "binary", "max_len": 1},
                    {"kind": "index", "sql_name": "both_index", "index": "both", "sql_null": true},
                ],
                "indexes": [
                    {"name": "ssn", "sql_name": "ssn_index", "columns": ["ssn"], "normalizers": ["ssn.v1"], "algorithm": "pbkdf2-sha256-i600000", "bits": 256, "unique": true},
                    {"name": "both", "sql_name": "both_index", "columns": ["note", "seen"], "normalizers": ["name.v1", "date.v1"], "algorithm": "hmac-sha256", "bits": 12},
                ],
            },
            {
                "table": "notes",
                "sql_table": "notes",
                "binding": "unbound",
                "columns": [
                    {"kind": "sealed", "sql_name": "text", "name": "text", "value_type": "bytes", "padding": "none", "storage": "binary"},
                ],
            },
        ],
    });
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
    // In this order, byte for byte.
    let fields = [
        "\"table\"",
        "\"sql_table\"",
        "\"binding\"",
        "\"tenant\"",
        "\"subject\"",
        "\"subject_keys\"",
        "\"extra\"",
        "\"columns\"",
        "\"indexes\"",
    ];
    let at: Vec<_> = fields.iter().map(|field| json.find(field).unwrap()).collect();
    assert!(at.is_sorted());
}

/// Sets the value at a JSON pointer, or takes it away.
fn with(pointer: &str, value: Option<Value>) -> String {
    let mut json: Value = serde_json::from_str(&both().to_json()).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match (json.pointer_mut(parent).unwrap(), value) {
        (Value::Object(fields), Some(value)) => drop(fields.insert(field.to_owned(), value)),
        (Value::Object(fields), None) => drop(fields.remove(field).unwrap()),
        (Value::Array(items), Some(value)) => items[field.parse::<usize>().unwrap()] = value,
        (Value::Array(items), None) => drop(items.remove(field.parse().unwrap())),
        other => panic!("{other:?}"),
    }
    json.to_string()
}

#[test]
fn another_version_is_refused_before_anything_else() {
    for (version, known) in [(0, false), (1, true), (2, false)] {
        let json = format!("{{\"tables\": [], \"version\": {version}, \"new field\": 1}}");
        let error = SchemaFile::from_json(&json).unwrap_err();
        assert_eq!(error == SchemaFileError::Version(version), !known, "{error}");
    }
    assert!(
        SchemaFile::from_json("{\"tables\": []}")
            .unwrap_err()
            .to_string()
            .contains("missing field `version`")
    );
    assert!(
        SchemaFile::from_json("")
            .unwrap_err()
            .to_string()
            .starts_with("not a phield schema file: ")
    );
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let long = "n".repeat(129);
    let table: [(&str, Option<Value>, &str); 61] = [
        ("/tables/0/unknown", Some(json!(1)), "unknown field `unknown`"),
        (
            "/tables/0/columns/0/unknown",
            Some(json!(1)),
            "unknown field `unknown`",
        ),
        (
            "/tables/0/indexes/0/unknown",
            Some(json!(1)),
            "unknown field `unknown`",
        ),
        ("/unknown", Some(json!(1)), "unknown field `unknown`"),
        (
            "/tables/0/columns/7/generated",
            Some(json!(true)),
            "unknown field `generated`",
        ),
        (
            "/tables/0/columns/0/kind",
            Some(json!("secret")),
            "unknown variant `secret`",
        ),
        ("/tables/0/columns/0/kind", None, "missing field `kind`"),
        ("/tables/0/columns/0/sql_name", None, "missing field `sql_name`"),
        ("/tables/0/binding", None, "missing field `binding`"),
        ("/tables/0/binding", Some(json!("none")), "unknown variant `none`"),
        (
            "/tables/0/table",
            Some(json!("my visits")),
            "no logical name of a table",
        ),
        ("/tables/0/table", Some(json!("")), "no logical name of a table"),
        (
            "/tables/0/columns/6/name",
            Some(json!("a/b")),
            "no logical name of a column",
        ),
        (
            "/tables/0/columns/7/index",
            Some(json!(long)),
            "no logical name of an index",
        ),
        (
            "/tables/0/columns/6/value_type",
            Some(json!("String")),
            "no type of values",
        ),
        (
            "/tables/0/columns/6/padding",
            Some(json!("fixed(1)")),
            "no padding",
        ),
        (
            "/tables/0/columns/6/padding",
            Some(json!("fixed(032)")),
            "no padding",
        ),
        (
            "/tables/0/columns/6/padding",
            Some(json!("padme(18874369)")),
            "no padding",
        ),
        (
            "/tables/0/columns/6/padding",
            Some(json!("block(8)")),
            "no padding",
        ),
        ("/tables/0/columns/6/storage", Some(json!("blob")), "no storage"),
        ("/tables/0/columns/6/max_len", Some(json!(-1)), "expected u32"),
        (
            "/tables/0/indexes/0/normalizers/0",
            Some(json!("ssn.v2")),
            "no normalizer",
        ),
        (
            "/tables/0/indexes/0/algorithm",
            Some(json!("pbkdf2-sha256-i1")),
            "no algorithm",
        ),
        (
            "/tables/0/sql_table",
            Some(json!("a.b.c")),
            "not the name of a table in SQL",
        ),
        (
            "/tables/0/sql_table",
            Some(json!("a.")),
            "not the name of a table in SQL",
        ),
        (
            "/tables/0/sql_table",
            Some(json!("a\"b")),
            "not the name of a table in SQL",
        ),
        (
            "/tables/0/columns/0/sql_name",
            Some(json!("")),
            "not a name in SQL",
        ),
        (
            "/tables/0/columns/0/sql_name",
            Some(json!(long)),
            "not a name in SQL",
        ),
        (
            "/tables/0/columns/0/sql_name",
            Some(json!("a`b")),
            "not a name in SQL",
        ),
        (
            "/tables/0/columns/0/sql_name",
            Some(json!("a\\")),
            "not a name in SQL",
        ),
        (
            "/tables/0/columns/0/sql_name",
            Some(json!("a\nb")),
            "not a name in SQL",
        ),
        (
            "/tables/0/columns/0/sql_name",
            Some(json!("ID")),
            "two columns of one name",
        ),
        (
            "/tables/0/columns/8/name",
            Some(json!("ssn")),
            "two columns of one logical name",
        ),
        (
            "/tables/0/indexes/1/name",
            Some(json!("ssn")),
            "two indexes of one name",
        ),
        (
            "/tables/0/binding",
            Some(json!({"row_id": []})),
            "a row id is of 1 to 16 columns",
        ),
        (
            "/tables/0/binding",
            Some(json!({"row_id": vec!["id"; 17]})),
            "a row id is of 1 to 16 columns",
        ),
        (
            "/tables/0/binding",
            Some(json!({"row_id": ["id", "id"]})),
            "twice in the row id",
        ),
        (
            "/tables/0/binding",
            Some(json!({"row_id": ["uuid"]})),
            "no plain column",
        ),
        (
            "/tables/0/binding",
            Some(json!({"row_id": ["ssn"]})),
            "no plain column",
        ),
        ("/tables/0/tenant", Some(json!("nowhere")), "no plain column"),
        ("/tables/0/subject", Some(json!("ssn_index")), "no plain column"),
        ("/tables/0/extra", Some(json!("nowhere")), "no plain column"),
        ("/tables/0/subject", None, "subject keys without a subject"),
        (
            "/tables/0/columns/0/rust_type",
            Some(json!("")),
            "not a type in Rust",
        ),
        (
            "/tables/0/columns/5/sql_type",
            Some(json!(" ")),
            "not a type in SQL",
        ),
        (
            "/tables/0/columns/5/sql_type",
            Some(json!("INT; DROP TABLE visits")),
            "not a type in SQL",
        ),
        (
            "/tables/0/columns/5/sql_type",
            Some(json!("INT -- x")),
            "not a type in SQL",
        ),
        (
            "/tables/0/columns/5/sql_type",
            Some(json!("INT /* x")),
            "not a type in SQL",
        ),
        (
            "/tables/0/columns/5/sql_type",
            Some(json!("INT\n")),
            "not a type in SQL",
        ),
        (
            "/tables/0/columns/7/index",
            Some(json!("nowhere")),
            "a column of an index that is not defined",
        ),
        ("/tables/0/columns/7", None, "an index without its column"),
        (
            "/tables/0/indexes/0/sql_name",
            Some(json!("both_index")),
            "a column of an index that is not defined",
        ),
        (
            "/tables/0/indexes/0",
            None,
            "a column of an index that is not defined",
        ),
        ("/tables/0/indexes/1/bits", Some(json!(0)), "1 to 256 bits"),
        ("/tables/0/indexes/1/bits", Some(json!(257)), "1 to 256 bits"),
        (
            "/tables/0/indexes/0/bits",
            Some(json!(255)),
            "only an index of 256 bits is unique",
        ),
        (
            "/tables/0/indexes/0/normalizers",
            Some(json!([])),
            "one normalizer a column",
        ),
        (
            "/tables/0/indexes/0/columns",
            Some(json!([])),
            "one normalizer a column",
        ),
        (
            "/tables/0/indexes/0/columns",
            Some(json!(["nowhere"])),
            "an index over a column that is not there",
        ),
        (
            "/tables/0/columns/6/value_type",
            Some(json!("integer")),
            "does not take the values",
        ),
        (
            "/tables/1/sql_table",
            Some(json!("CLINIC.Visits")),
            "both the SQL table",
        ),
    ];
    for (pointer, value, expected) in table {
        let what = format!("{pointer} {value:?}");
        let error = SchemaFile::from_json(&with(pointer, value))
            .expect_err(&what)
            .to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
    let error = SchemaFile::from_json(&with("/tables/0/extra", Some(json!("nowhere")))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "table visits: what binds a row is no plain column of the table: \"nowhere\""
    );
}

const OTHER_NOTES: Schema = {
    const COLUMNS: &[ColumnSchema] = &[
        ColumnSchema::new("id", ColumnKind::plain("i64", None)),
        ColumnSchema::new(
            "text",
            ColumnKind::sealed::<Vec<u8>>("text", true, Padding::Fixed(64), StorageKind::Binary, None),
        ),
    ];
    Schema::new("notes", "notes", Binding::RowId(&["id"]), COLUMNS, &[])
};

#[test]
fn models_of_one_table() {
    let error = SchemaFile::of(&[NOTES, VISITS, NOTES]).unwrap_err();
    assert_eq!(error.to_string(), "table notes is there twice");
    let error = SchemaFile::of(&[NOTES, VISITS, OTHER_NOTES]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "table notes is there twice, and differs:\n  \
         notes.binding: \"unbound\" -> {\"row_id\":[\"id\"]}\n  \
         notes.columns.text.padding: \"none\" -> \"fixed(64)\"\n  \
         notes.columns.text.sql_null is new: true\n  \
         notes.columns.id is new"
    );
    let renamed = Schema {
        table: "letters",
        ..OTHER_NOTES
    };
    assert_eq!(
        SchemaFile::of(&[NOTES, renamed]).unwrap_err().to_string(),
        "tables notes and letters are both the SQL table notes"
    );
    let wrong = Schema {
        table: "my notes",
        ..NOTES
    };
    assert!(
        SchemaFile::of(&[wrong])
            .unwrap_err()
            .to_string()
            .starts_with("table my notes: table name")
    );
}

#[test]
fn differences_are_told_by_name() {
    let (old, new) = (
        SchemaFile::of(&[NOTES, VISITS]).unwrap(),
        SchemaFile::of(&[OTHER_NOTES]).unwrap(),
    );
    assert_eq!(
        old.differences(&new),
        [
            "notes.binding: \"unbound\" -> {\"row_id\":[\"id\"]}",
            "notes.columns.text.padding: \"none\" -> \"fixed(64)\"",
            "notes.columns.text.sql_null is new: true",
            "notes.columns.id is new",
            "visits is gone",
        ]
    );
    assert_eq!(
        both().differences(&old),
        ["order of tables: visits, notes -> notes, visits"]
    );
    assert_eq!(both().differences(&both()), Vec::<String>::new());
    // Whatever is equal has no difference, and whatever is not has one.
    let changes = [
        ("/tables/0/sql_table", Some(json!("v"))),
        ("/tables/0/tenant", None),
        ("/tables/0/subject_keys", None),
        ("/tables/0/indexes/1/bits", Some(json!(13))),
        ("/tables/0/indexes/0/algorithm", Some(json!("hmac-sha256"))),
        ("/tables/0/columns/6/max_len", None),
        ("/tables/0/columns/1/rust_type", Some(json!("i64"))),
        (
            "/tables/0/columns/2",
            Some(json!({"kind": "plain", "sql_name": "clinic", "rust_type": "i64"})),
        ),
        ("/tables/1", None),
    ];
    for (pointer, value) in changes {
        let changed = SchemaFile::from_json(&with(pointer, value)).unwrap();
        assert_eq!(both().differences(&changed).len(), 1, "{pointer}");
        assert_ne!(changed, both());
    }
}
