//! Values of the columns that say which row it is, and the bytes of those that hold tokens and index values.

use data_encoding::HEXLOWER;
use phield_core::{AsTenant as _, RowId, TenantName};
use uuid::Uuid;

/// A value of a column.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "what rows are told apart by")]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// A number.
    Integer(i64),
    /// A UUID, where the database or the schema says that it is one.
    Uuid(Uuid),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// What Rust's types do not hold: text of SQLite that is not UTF-8, digits of a number of MariaDB above [`i64::MAX`]. Rows have a
    /// place by it, and it is no identity and no token.
    Raw(Vec<u8>),
    /// A value of a type that rows have no place by, as the database sent it.
    Other(Vec<u8>),
}

// Row ids may name a person.
impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Integer(_) => "Integer(..)",
            Self::Uuid(_) => "Uuid(..)",
            Self::Text(_) => "Text(..)",
            Self::Bytes(_) => "Bytes(..)",
            Self::Raw(_) => "Raw(..)",
            Self::Other(_) => "Other(..)",
        })
    }
}

/// What the schema says about a column of a row's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityType {
    Integer,
    Uuid,
    Text,
    Bytes,
    /// A type of the application's own: what the database says decides.
    Other,
}

impl IdentityType {
    /// By the type in Rust, as it is written in the model.
    pub(crate) fn of_rust(rust_type: &str) -> Self {
        let text: String = rust_type.chars().filter(|c| !c.is_whitespace()).collect();
        let text = text
            .strip_prefix("Option<")
            .and_then(|t| t.strip_suffix('>'))
            .unwrap_or(&text);
        match text.rsplit("::").next().unwrap_or(text) {
            "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" => Self::Integer,
            "Uuid" | "Uid" | "Hyphenated" | "Simple" => Self::Uuid,
            "String" | "TenantName" | "str" | "&str" => Self::Text,
            _ if text == "Vec<u8>" => Self::Bytes,
            _ => Self::Other,
        }
    }

    /// The value as a row id; none when a column of this type cannot hold it.
    pub(crate) fn row_id(self, cell: &Cell) -> Option<RowId<'static>> {
        Some(match (self, cell) {
            (Self::Integer | Self::Other, Cell::Integer(id)) => RowId::Integer(*id),
            (Self::Uuid | Self::Other, Cell::Uuid(id)) => RowId::Uuid(*id),
            (Self::Uuid, Cell::Bytes(id)) => RowId::Uuid(Uuid::from_slice(id).ok()?),
            (Self::Uuid, Cell::Text(id)) => RowId::Uuid(Uuid::try_parse(id).ok()?),
            (Self::Text | Self::Other, Cell::Text(id)) => RowId::Text(id.clone().into()),
            (Self::Bytes | Self::Other, Cell::Bytes(id)) => RowId::Bytes(id.clone().into()),
            _ => return None,
        })
    }

    /// The value as a tenant.
    pub(crate) fn tenant(self, cell: &Cell) -> Option<TenantName> {
        let tenant = match (self, cell) {
            (_, Cell::Integer(id)) => id.as_tenant().ok()?.into_owned(),
            (_, Cell::Uuid(id)) => id.as_tenant().ok()?.into_owned(),
            (Self::Uuid, Cell::Bytes(id)) => Uuid::from_slice(id).ok()?.as_tenant().ok()?.into_owned(),
            (_, Cell::Text(name)) => name.as_tenant().ok()?.into_owned(),
            _ => return None,
        };
        Some(tenant)
    }
}

impl Cell {
    /// The bytes of a token or an index value; none for NULL and for what is neither.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.as_bytes()),
            // Counted, as what has no key.
            Self::Raw(_) | Self::Other(_) => Some(&[]),
            _ => None,
        }
    }

    /// Whether rows have a place by it.
    pub(crate) fn is_place(&self) -> bool {
        !matches!(self, Self::Null | Self::Other(_))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Raw(bytes) | Self::Other(bytes) => bytes.len(),
            _ => self.bytes().map_or(16, <[u8]>::len),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Null => "n".to_owned(),
            Self::Integer(id) => format!("i{id}"),
            Self::Uuid(id) => format!("u{id}"),
            Self::Text(text) => format!("t{}", HEXLOWER.encode(text.as_bytes())),
            Self::Bytes(bytes) => format!("b{}", HEXLOWER.encode(bytes)),
            Self::Raw(bytes) => format!("r{}", HEXLOWER.encode(bytes)),
            Self::Other(bytes) => format!("o{}", HEXLOWER.encode(bytes)),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).ok();
        let (kind, rest) = (text.get(..1)?, text.get(1..)?);
        Some(match kind {
            "n" if rest.is_empty() => Self::Null,
            "i" => Self::Integer(rest.parse().ok()?),
            "u" => Self::Uuid(Uuid::try_parse(rest).ok()?),
            "t" => Self::Text(String::from_utf8(hex(rest)?).ok()?),
            "b" => Self::Bytes(hex(rest)?),
            "r" => Self::Raw(hex(rest)?),
            "o" => Self::Other(hex(rest)?),
            _ => return None,
        })
    }
}

/// A place in the order of a table's rows, as it is kept in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor(pub(crate) Vec<Cell>);

impl Cursor {
    pub(crate) fn to_text(&self) -> String {
        let cells = self.0.iter().map(Cell::write);
        cells.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        text.split(',').map(Cell::read).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back() {
        let cells = vec![
            Cell::Integer(-42),
            Cell::Uuid(Uuid::from_u128(7)),
            Cell::Text("a,b é".to_owned()),
            Cell::Text(String::new()),
            Cell::Bytes(vec![0, 255, 44]),
            Cell::Raw(vec![255]),
            Cell::Other(vec![1]),
            Cell::Null,
        ];
        let cursor = Cursor(cells);
        assert_eq!(Cursor::from_text(&cursor.to_text()), Some(cursor));
        for wrong in ["", "x1", "i", "t0", "bzz", "u12", "n0", "i1,"] {
            assert_eq!(Cursor::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn types_by_their_names_in_rust() {
        let of = IdentityType::of_rust;
        assert_eq!(of("uuid :: Uuid"), IdentityType::Uuid);
        assert_eq!(of("i64"), IdentityType::Integer);
        assert_eq!(of("Option<String>"), IdentityType::Text);
        assert_eq!(of("Vec < u8 >"), IdentityType::Bytes);
        assert_eq!(of("PatientId"), IdentityType::Other);
    }

    #[test]
    fn what_a_column_cannot_hold_is_no_row_id() {
        let uuid = Uuid::from_u128(7);
        let is_uuid = |cell: &Cell| IdentityType::Uuid.row_id(cell) == Some(RowId::Uuid(uuid));
        assert!(is_uuid(&Cell::Bytes(uuid.as_bytes().to_vec())));
        assert!(is_uuid(&Cell::Text(uuid.to_string())) && is_uuid(&Cell::Uuid(uuid)));
        assert_eq!(IdentityType::Uuid.row_id(&Cell::Bytes(vec![1; 15])), None);
        assert_eq!(IdentityType::Integer.row_id(&Cell::Text("42".to_owned())), None);
        assert_eq!(IdentityType::Text.row_id(&Cell::Null), None);
    }
}
