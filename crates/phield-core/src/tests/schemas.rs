//! Schema files: written and read back, refused where they contradict themselves; the sizes in them; their SQL.

mod files;
mod sizes;
mod sql;

use crate::frame::Padding;
use crate::index_algorithm::IndexAlgorithm;
use crate::normalize::Normalizer;
use crate::schema::{Binding, ColumnKind, ColumnSchema, IndexSchema, Schema, StorageKind};

/// A table with everything that a schema can have.
const VISITS: Schema = {
    const PART: &[&str] = &["note", "seen"];
    const INDEXES: &[IndexSchema] = &[
        IndexSchema::new("ssn", "ssn_index", &["ssn"], &[Normalizer::Ssn], 256)
            .with_algorithm(IndexAlgorithm::Pbkdf2 { iterations: 600_000 })
            .unique(),
        IndexSchema::new(
            "both",
            "both_index",
            PART,
            &[Normalizer::Name, Normalizer::Date],
            12,
        ),
    ];
    const COLUMNS: &[ColumnSchema] = &[
        ColumnSchema::new("seq", ColumnKind::plain("i64", None)).generated(),
        ColumnSchema::new("id", ColumnKind::plain("uuid::Uuid", None)),
        ColumnSchema::new("clinic", ColumnKind::plain("String", None)),
        ColumnSchema::new("patient", ColumnKind::plain("phield::Uid", None)),
        ColumnSchema::new("revision", ColumnKind::plain("i32", None)),
        ColumnSchema::new(
            "price",
            ColumnKind::plain("Option<Decimal>", Some("NUMERIC(10,2)")),
        ),
        ColumnSchema::new(
            "ssn",
            ColumnKind::sealed::<String>("ssn", false, Padding::Block16, StorageKind::Binary, Some(11)),
        ),
        ColumnSchema::new("ssn_index", ColumnKind::index("ssn", false)),
        ColumnSchema::new(
            "remark",
            ColumnKind::sealed::<String>("note", true, Padding::Padme(256), StorageKind::Text, None),
        ),
        ColumnSchema::new(
            "seen",
            ColumnKind::sealed::<String>("seen", false, Padding::Fixed(32), StorageKind::Text, None),
        ),
        ColumnSchema::new(
            "smoker",
            ColumnKind::sealed::<Option<bool>>("smoker", false, Padding::Block16, StorageKind::Binary, None),
        ),
        ColumnSchema::new("both_index", ColumnKind::index("both", true)),
    ];
    Schema::new(
        "visits",
        "clinic.visits",
        Binding::RowId(&["id"]),
        COLUMNS,
        INDEXES,
    )
    .in_tenant("clinic")
    .with_extra("revision")
    .under_subject_key("patient")
};

/// The smallest table.
const NOTES: Schema = {
    const COLUMNS: &[ColumnSchema] = &[ColumnSchema::new(
        "text",
        ColumnKind::sealed::<Vec<u8>>("text", false, Padding::None, StorageKind::Binary, None),
    )];
    Schema::new("notes", "notes", Binding::Unbound, COLUMNS, &[])
};
