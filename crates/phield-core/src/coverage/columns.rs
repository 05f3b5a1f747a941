//! What a coverage report says of one column.

use serde::{Deserialize, Serialize};

use crate::key::KeyId;

/// What a counted column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CoveredKind {
    /// Tokens, under data keys.
    Token,
    /// Index values, under peppers.
    Index,
}

impl CoveredKind {
    /// What it holds, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Index => "index",
        }
    }
}

/// Why a row was put into quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum QuarantineReason {
    /// The ring has no key by its id.
    UnknownKey,
    /// It does not authenticate.
    Authentication,
    /// It is no token, or no index value.
    Malformed,
    /// Another row has this value of a unique index.
    Duplicate,
}

impl QuarantineReason {
    /// The name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown-key",
            Self::Authentication => "authentication",
            Self::Malformed => "malformed",
            Self::Duplicate => "duplicate",
        }
    }
}

/// One registered column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ColumnCoverage {
    /// Name of the table in SQL, with its schema in front where the database has schemas: `public.patients`.
    pub table: String,
    /// Name of the column in SQL.
    pub column: String,
    /// What it holds.
    pub kind: CoveredKind,
    /// By key id, each once. A key that is not here has no row in the column.
    pub keys: Vec<KeyCoverage>,
    /// Rows in quarantine. Those under old keys are in no count of `keys`.
    pub quarantined: Vec<QuarantinedRows>,
}

/// The rows of one column under one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyCoverage {
    /// The key.
    #[serde(with = "key_id")]
    pub key: KeyId,
    /// Rows before the pass, where it counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Rows after the pass; the one count of a scan. Under an old key, without those in quarantine, and those of shredded subjects.
    pub after: u64,
    /// Rows of shredded subjects: a state, not a failure.
    pub shredded: u64,
    /// Values that rotations of this database have opened under the key while it was compromised, and sealed again under another one.
    /// Whoever had the key can have made them: the key that they are under now is no evidence of where they are from.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compromised: u64,
}

/// Rows in quarantine for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct QuarantinedRows {
    /// Why.
    pub reason: QuarantineReason,
    /// The key id that stands in them; none where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_key_id")]
    pub key: Option<KeyId>,
    /// How many.
    pub rows: u64,
}

impl ColumnCoverage {
    pub(super) fn new(table: &str, column: &str, kind: CoveredKind) -> Self {
        Self {
            table: table.to_owned(),
            column: column.to_owned(),
            kind,
            keys: Vec::new(),
            quarantined: Vec::new(),
        }
    }

    /// The count of a key; a new one of 0 unless there is one.
    #[allow(clippy::missing_panics_doc, reason = "the entry was found or made just now")]
    pub fn key_mut(&mut self, key: KeyId) -> &mut KeyCoverage {
        let place = self.keys.binary_search_by_key(&key, |count| count.key);
        let place = place.unwrap_or_else(|place| {
            self.keys.insert(
                place,
                KeyCoverage {
                    key,
                    before: None,
                    after: 0,
                    shredded: 0,
                    compromised: 0,
                },
            );
            place
        });
        self.keys
            .get_mut(place)
            .expect("the place of an entry that is there")
    }

    /// Counts rows in quarantine. `key`: the id that stands in them, where it can be told.
    pub fn add_quarantined(&mut self, reason: QuarantineReason, key: Option<KeyId>, rows: u64) {
        let order = |entry: &QuarantinedRows| (entry.reason, entry.key);
        match self.quarantined.binary_search_by_key(&(reason, key), order) {
            Ok(place) => {
                if let Some(entry) = self.quarantined.get_mut(place) {
                    entry.rows = entry.rows.saturating_add(rows);
                }
            }
            Err(place) => self
                .quarantined
                .insert(place, QuarantinedRows { reason, key, rows }),
        }
    }

    /// Rows in quarantine, whatever their key.
    #[must_use]
    pub fn quarantined_rows(&self) -> u64 {
        sum(self.quarantined.iter().map(|entry| entry.rows))
    }

    pub(super) fn rows_under(&self, key: KeyId) -> u64 {
        sum(self.of(key).map(|count| count.after))
    }

    pub(super) fn shredded_of(&self, key: KeyId) -> u64 {
        sum(self.of(key).map(|count| count.shredded))
    }

    pub(super) fn compromised_of(&self, key: KeyId) -> u64 {
        sum(self.of(key).map(|count| count.compromised))
    }

    pub(super) fn quarantined_of(&self, key: KeyId) -> u64 {
        let may_be = |entry: &&QuarantinedRows| entry.key.is_none_or(|other| other == key);
        sum(self.quarantined.iter().filter(may_be).map(|entry| entry.rows))
    }

    fn of(&self, key: KeyId) -> impl Iterator<Item = &KeyCoverage> {
        self.keys.iter().filter(move |count| count.key == key)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(rows: &u64) -> bool {
    *rows == 0
}

pub(super) fn sum(rows: impl Iterator<Item = u64>) -> u64 {
    rows.fold(0, u64::saturating_add)
}

/// A key id as eight hex digits.
pub(super) mod key_id {
    use data_encoding::HEXLOWER;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::key::KeyId;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::coverage) fn serialize<S: Serializer>(
        id: &KeyId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(in crate::coverage) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<KeyId, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let id = bytes.and_then(|bytes| KeyId::from_bytes(bytes.try_into().ok()?));
        id.ok_or_else(|| D::Error::custom("a key id is eight lower-case hex digits, not all 0"))
    }
}

mod optional_key_id {
    use serde::{Deserializer, Serializer};

    use super::key_id;
    use crate::key::KeyId;

    pub(super) fn serialize<S: Serializer>(id: &Option<KeyId>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => key_id::serialize(id, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeyId>, D::Error> {
        key_id::deserialize(deserializer).map(Some)
    }
}

/// 32 bytes in hex.
pub(super) mod hex {
    use data_encoding::HEXLOWER;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::coverage) fn serialize<S: Serializer>(
        bytes: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&HEXLOWER.encode_display(bytes))
    }

    pub(in crate::coverage) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| D::Error::custom("64 lower-case hex digits"))
    }
}
