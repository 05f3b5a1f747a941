//! How names, types and options are spelled in a schema file. For `#[serde(with = "text")]`.

use std::borrow::Cow;

use serde::{Deserialize as _, Deserializer, Serializer};

use super::StorageKind;
use crate::frame::Padding;
use crate::index_algorithm::IndexAlgorithm;
use crate::name::{ColumnName, IndexName, TableName};
use crate::normalize::Normalizer;
use crate::value_type::ValueType;

/// Something that a schema file spells as one word.
pub(super) trait Word: Sized {
    /// What it is called where it is misspelled.
    const WHAT: &'static str;

    fn word(&self) -> Cow<'_, str>;
    fn from_word(word: &str) -> Option<Self>;
}

pub(super) fn serialize<T: Word, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.word())
}

pub(super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let word = String::deserialize(deserializer)?;
    read(&word)
}

fn read<T: Word, E: serde::de::Error>(word: &str) -> Result<T, E> {
    T::from_word(word).ok_or_else(|| E::custom(format_args!("{word:?} is no {}", T::WHAT)))
}

/// A list of words.
pub(super) mod list {
    use super::*;

    pub(in crate::schema) fn serialize<T: Word, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(T::word))
    }

    pub(in crate::schema) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        words.iter().map(|word| read(word)).collect()
    }
}

macro_rules! names {
    ($($name:ident, $what:literal;)*) => {$(
        impl Word for $name {
            const WHAT: &'static str = $what;

            fn word(&self) -> Cow<'_, str> {
                self.as_str().into()
            }

            fn from_word(word: &str) -> Option<Self> {
                Self::new(word).ok()
            }
        }
    )*};
}
names! {
    TableName, "logical name of a table: 1 to 128 bytes of A-Z a-z 0-9 _ . : -";
    ColumnName, "logical name of a column: 1 to 128 bytes of A-Z a-z 0-9 _ . : -";
    IndexName, "logical name of an index: 1 to 128 bytes of A-Z a-z 0-9 _ . : -";
}

impl Word for ValueType {
    const WHAT: &'static str = "type of values";

    fn word(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    fn from_word(word: &str) -> Option<Self> {
        (0..=u8::MAX)
            .filter_map(Self::from_byte)
            .find(|value_type| value_type.as_str() == word)
    }
}

impl Word for Normalizer {
    const WHAT: &'static str = "normalizer";

    fn word(&self) -> Cow<'_, str> {
        self.id().into()
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Exact, Self::Digits, Self::Ssn, Self::Name, Self::Date]
            .into_iter()
            .find(|normalizer| normalizer.id() == word)
    }
}

impl Word for IndexAlgorithm {
    const WHAT: &'static str = "algorithm of an index";

    fn word(&self) -> Cow<'_, str> {
        self.id()
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::from_id(word)
    }
}

impl Word for StorageKind {
    const WHAT: &'static str = "storage: binary or text";

    fn word(&self) -> Cow<'_, str> {
        match self {
            Self::Binary => "binary".into(),
            Self::Text => "text".into(),
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "binary" => Some(Self::Binary),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// As in `#[phi(pad = "…")]`.
impl Word for Padding {
    const WHAT: &'static str = "padding: block(16), fixed(N), padme(N) or none";

    fn word(&self) -> Cow<'_, str> {
        match self {
            Self::Block16 => "block(16)".into(),
            Self::Fixed(n) => format!("fixed({n})").into(),
            Self::Padme(n) => format!("padme({n})").into(),
            Self::None => "none".into(),
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        let of = |name| word.strip_prefix(name)?.strip_suffix(')')?.parse().ok();
        let padding = match word {
            "block(16)" => Self::Block16,
            "none" => Self::None,
            _ => of("fixed(")
                .map(Self::Fixed)
                .or_else(|| of("padme(").map(Self::Padme))?,
        };
        // One spelling each: no signs, no leading zeros.
        (padding.is_valid() && padding.word() == word).then_some(padding)
    }
}
