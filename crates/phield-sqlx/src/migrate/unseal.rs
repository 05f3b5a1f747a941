//! Values on their way out: as a column of plaintext takes them.

use data_encoding::HEXLOWER;
use phield_core::{Dialect, PlainValue, ValueType};

use crate::rotate::swap::Value;

/// How a column of plaintext takes its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColumnForm {
    dialect: Dialect,
    is_binary: bool,
}

/// Types of PostgreSQL that a text is cast to.
const CASTS: &[&str] = &[
    "text",
    "character varying",
    "character",
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "boolean",
    "date",
    "timestamp with time zone",
    "timestamp without time zone",
    "json",
    "jsonb",
    "uuid",
];

impl ColumnForm {
    /// By the type of the column in SQL, in lower case; none for a type that is not known here.
    pub(crate) fn of(dialect: Dialect, value_type: ValueType, sql_type: &str) -> Option<Self> {
        let is_binary = ["blob", "binary", "bytea"]
            .iter()
            .any(|binary| sql_type.contains(binary));
        let is_known = match dialect {
            Dialect::Postgres => is_binary || CASTS.contains(&sql_type),
            _ => true,
        };
        let fits = match value_type {
            ValueType::Bytes => is_binary,
            ValueType::Uuid => true,
            _ => !is_binary,
        };
        (is_known && fits).then_some(Self { dialect, is_binary })
    }

    /// The expression of a bound value in this column.
    pub(crate) fn expression(self, sql_type: &str, bound: &str) -> String {
        if self.dialect == Dialect::Postgres && !self.is_binary {
            format!("CAST({bound} AS {sql_type})")
        } else {
            bound.to_owned()
        }
    }
}

/// A value as the column takes it: bytes, or text that the database converts.
pub(crate) fn column_value(value: &PlainValue<'_>, value_type: ValueType, form: ColumnForm) -> Option<Value> {
    let text = |text: String| {
        if form.is_binary {
            None
        } else {
            Some(Value::Text(Some(text)))
        }
    };
    match value {
        PlainValue::Null if form.is_binary => Some(Value::Bytes(None)),
        PlainValue::Null => Some(Value::Text(None)),
        PlainValue::Integer(n) if value_type == ValueType::Bool && form.dialect == Dialect::Postgres => {
            text((*n == 1).to_string())
        }
        PlainValue::Integer(n) => text(n.to_string()),
        PlainValue::Text(value) => text(value.to_string()),
        PlainValue::Bytes(bytes) if form.is_binary => Some(Value::Bytes(Some(bytes.to_vec()))),
        PlainValue::Bytes(bytes) if value_type == ValueType::Uuid => text(hyphenated(bytes)),
        PlainValue::Bytes(_) => None,
    }
}

/// RFC 9562, lower case.
fn hyphenated(uuid: &[u8]) -> String {
    let mut text = HEXLOWER.encode(uuid);
    for at in [20, 16, 12, 8] {
        if text.is_char_boundary(at) {
            text.insert(at, '-');
        }
    }
    text
}
