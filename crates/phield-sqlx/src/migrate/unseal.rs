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

/// What a text is cast to for a column of this type of PostgreSQL: without its length, for a cast cuts off what is too long, and
/// an assignment refuses it.
fn cast_of(sql_type: &str) -> Option<String> {
    let (name, rest) = sql_type.split_once('(').unwrap_or((sql_type, ""));
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    let name = format!("{name}{after}");
    match name.as_str() {
        "character" => Some("text".to_owned()),
        name => CASTS.contains(&name).then(|| name.to_owned()),
    }
}

impl ColumnForm {
    /// By the type of the column in SQL, in lower case; none for a type that is not known here.
    pub(crate) fn of(dialect: Dialect, value_type: ValueType, sql_type: &str) -> Option<Self> {
        let is_binary = ["blob", "binary", "bytea"]
            .iter()
            .any(|binary| sql_type.contains(binary));
        let is_known = match dialect {
            Dialect::Postgres => is_binary || cast_of(sql_type).is_some(),
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
        match cast_of(sql_type).filter(|_| self.dialect == Dialect::Postgres && !self.is_binary) {
            Some(cast) => format!("CAST({bound} AS {cast})"),
            None => bound.to_owned(),
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
