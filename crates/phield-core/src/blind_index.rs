//! Blind indexes (format §7): exact-match search without plaintext. An index finds candidates; the caller opens them.

use std::fmt;

use crate::index_algorithm::IndexAlgorithm;
use crate::key::KeyId;
use crate::lp;
use crate::name::{AppName, IndexName, TableName, TenantName, is_name};
use crate::normalize::Normalizer;
use crate::value::{Encoded, ValueType};
use crate::wipe::Wiped;

/// Longest index value: key id and 256 bits.
const MAX_LEN: usize = 36;

/// An index value as it stands in a column: `u32(pepper key id) ‖ first bits of the MAC`.
///
/// Equal values give equal index values under one pepper: that equality is what the column leaks, by declaration.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlindIndex {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl BlindIndex {
    /// `u32(pepper key id) ‖ first ⌈b/8⌉ bytes of t, unused low bits of the last byte 0`
    pub(crate) fn new(pepper: KeyId, mac: &[u8; 32], bits: u16) -> Self {
        let mac_len = usize::from(bits.div_ceil(8)).min(32);
        let mut bytes = [0; MAX_LEN];
        let (id, truncated) = bytes.split_at_mut(4);
        id.copy_from_slice(&pepper.to_bytes());
        for (to, from) in truncated.iter_mut().zip(mac).take(mac_len) {
            *to = *from;
        }
        if let (Some(last), spare @ 1..) = (truncated.get_mut(mac_len - 1), mac_len * 8 - usize::from(bits)) {
            *last &= 0xff << spare;
        }
        Self {
            bytes,
            len: u8::try_from(4 + mac_len).unwrap_or(u8::MAX),
        }
    }

    /// An index value as it came from a column; `None` when it is not 5–36 bytes with a key id in front.
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_LEN];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        let len = u8::try_from(value.len()).ok().filter(|len| *len > 4)?;
        KeyId::from_bytes(*value.first_chunk()?).map(|_| Self { bytes, len })
    }

    /// The bytes for a column.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The pepper that the value was made with.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        KeyId::from_bytes(*self.bytes.first_chunk()?)
    }
}

impl fmt::Debug for BlindIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key_id() {
            Some(id) => write!(f, "BlindIndex(key {id}, ..)"),
            None => f.write_str("BlindIndex(..)"),
        }
    }
}

/// Why no index value was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The ring has no active index pepper for this table and tenant.
    #[error("the key ring has no active index pepper for this table and tenant")]
    NoActivePepper,
    /// Rows may be indexed under more than two peppers: the current and former scopes of this table and tenant have
    /// more between them than a search has slots. Re-index the rows of a former scope, and take it off the list.
    #[error(
        "rows of this table and tenant may be indexed under more than two peppers; a search would miss some"
    )]
    TooManyPeppers,
    /// A pepper of this table and tenant could not be unwrapped, or its device is out of reach; a search without it
    /// would miss rows.
    #[error("index pepper {0} cannot be used now: its provider is out of reach")]
    KeyUnavailable(KeyId),
    /// The device that holds a pepper refused to use it.
    #[error("the provider refused to use index pepper {0}")]
    KeyRefused(KeyId),
    /// The pepper of this table and tenant is of the other kind: a `device-hmac-sha256` index needs a pepper that never
    /// leaves its device, every other index one that does. Give the table a scope of its own.
    #[error("index pepper {0} is not of the kind that the index needs: in a device, or in memory")]
    WrongPepper(KeyId),
    /// A device answers over a network: call the method whose name ends in `_async`.
    #[error("an index whose pepper is in a device is computed by an asynchronous call")]
    NeedsAsync,
    /// More slow indexes are waiting than the queue holds. Nothing was computed; try again later.
    #[error("too many slow indexes are waiting to be computed: try again later")]
    Busy,
    /// A worker of slow indexes failed in a way that it should not: a bug. Nothing was computed.
    #[error("a worker of slow indexes failed: this is a bug of phield")]
    Failed,
    /// The index pepper is past its `not after`: replace it.
    #[error("index pepper {0} is past its last day of writing: replace it")]
    KeyExpired(KeyId),
    /// No manifest could be read and verified within the hard TTL. Try again later.
    #[error(
        "the key ring could not be verified within its hard TTL: its key store, or the provider of its ring key, is out of reach"
    )]
    RingExpired,
    /// One value of the slow index takes more memory than the workers may use, or than the system gives.
    #[error("the slow index needs more memory than configuration gives its workers")]
    MemoryLimit,
    /// The value cannot be encoded.
    #[error(transparent)]
    Unsealable(#[from] crate::error::Unsealable),
    /// The values do not fit the index: another number of parts, or a type that its normalizer does not take.
    #[error("the values do not fit the definition of the index")]
    WrongParts,
    /// An absent part: rows without it have SQL NULL in the index column and are not found by it.
    #[error("a part of the index is absent: such rows are not indexed")]
    Absent,
}

impl IndexError {
    /// Whether it is an outage, and the same call may work later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::KeyUnavailable(_) | Self::RingExpired | Self::Busy)
    }
}

/// The definition of one blind index. It never changes under its name: a changed definition is a new index with its
/// own name and column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Index {
    table: TableName,
    name: IndexName,
    columns: &'static [&'static str],
    normalizers: &'static [Normalizer],
    algorithm: IndexAlgorithm,
    bits: u16,
}

impl Index {
    /// An index over one or more columns of a table, with one normalizer each, cut to `bits` (1–256).
    ///
    /// # Panics
    /// On a wrong name, number of bits or number of normalizers; in a `const` that is a compile error.
    #[must_use]
    pub const fn new(
        table: &'static str,
        name: &'static str,
        columns: &'static [&'static str],
        normalizers: &'static [Normalizer],
        bits: u16,
    ) -> Self {
        assert!(bits >= 1 && bits <= 256, "an index has 1 to 256 bits");
        assert!(
            columns.len() == normalizers.len() && !columns.is_empty(),
            "an index has one normalizer a column"
        );
        let mut rest = columns;
        while let [first, tail @ ..] = rest {
            assert!(
                is_name(first.as_bytes()),
                "a column name is 1 to 128 bytes of A-Z a-z 0-9 _ . : -"
            );
            rest = tail;
        }
        Self {
            table: TableName::from_static(table),
            name: IndexName::from_static(name),
            columns,
            normalizers,
            algorithm: IndexAlgorithm::HmacSha256,
            bits,
        }
    }

    /// An index by the names in a schema, which was checked.
    pub(crate) fn of_names(
        table: TableName,
        name: IndexName,
        columns: &'static [&'static str],
        normalizers: &'static [Normalizer],
        bits: u16,
    ) -> Self {
        Self {
            table,
            name,
            columns,
            normalizers,
            algorithm: IndexAlgorithm::HmacSha256,
            bits,
        }
    }

    /// The same index by another algorithm: another definition, so under another name.
    #[must_use]
    pub const fn with_algorithm(mut self, algorithm: IndexAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// The logical name of the index.
    #[must_use]
    pub fn name(&self) -> &IndexName {
        &self.name
    }

    /// The logical names of the indexed columns.
    #[must_use]
    pub fn columns(&self) -> &'static [&'static str] {
        self.columns
    }

    /// One normalizer a column.
    #[must_use]
    pub fn normalizers(&self) -> &'static [Normalizer] {
        self.normalizers
    }

    /// How many bits of the MAC an index value keeps.
    #[must_use]
    pub fn bits(&self) -> u16 {
        self.bits
    }

    /// How index values are computed.
    #[must_use]
    pub fn algorithm(&self) -> IndexAlgorithm {
        self.algorithm
    }

    /// Appends `ICTX = LP("phield.v1.ictx", app, opt(tenant), table, column, index, normalizer id, algorithm id)`.
    pub(crate) fn encode_context(&self, app: &AppName, tenant: Option<&TenantName>) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        lp::Writer::new(&mut out, 8)
            .element(b"phield.v1.ictx")
            .element(app.as_bytes())
            .optional(tenant.map(TenantName::as_bytes))
            .element(self.table.as_bytes())
            .joined(self.columns.iter().copied())
            .element(self.name.as_bytes())
            .joined(self.normalizers.iter().map(|n| n.id()))
            .element(self.algorithm.id().as_bytes());
        out
    }

    /// `LP(v1, …, vn)` of the normalised values; `None` when a part is absent or an encrypted null.
    pub(crate) fn normalize(&self, parts: &[Option<Encoded<'_>>]) -> Result<Option<Wiped>, IndexError> {
        if parts.len() != self.normalizers.len() {
            return Err(IndexError::WrongParts);
        }
        let total: usize = parts
            .iter()
            .flatten()
            .map(|value| value.as_bytes().len() + 4)
            .sum();
        let mut list = Wiped(Vec::with_capacity(4 + total));
        lp::start(&mut list.0, parts.len());
        for (part, normalizer) in parts.iter().zip(self.normalizers) {
            let value = match part {
                None => return Ok(None),
                Some(value) if value.value_type() == ValueType::Null => return Ok(None),
                Some(value) if !normalizer.accepts(value.value_type()) => return Err(IndexError::WrongParts),
                Some(value) => normalizer.normalize(value.as_bytes()),
            };
            list.reserve(4 + value.as_bytes().len());
            lp::push(&mut list.0, value.as_bytes());
        }
        Ok(Some(list))
    }

    /// Whether two rows have the same normalised value, so that a candidate of a search is a real hit.
    ///
    /// # Errors
    /// When the parts do not fit the index.
    #[doc(hidden)]
    pub fn same_value(
        &self,
        a: &[Option<Encoded<'_>>],
        b: &[Option<Encoded<'_>>],
    ) -> Result<bool, IndexError> {
        let (a, b) = (self.normalize(a)?, self.normalize(b)?);
        Ok(a.zip(b).is_some_and(|(a, b)| a.0 == b.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_clears_unused_low_bits() {
        let id = KeyId::new(5).unwrap();
        for bits in 1..=256_u16 {
            let index = BlindIndex::new(id, &[0xff; 32], bits);
            let mac = index.as_bytes().get(4..).unwrap();
            assert_eq!(mac.len(), usize::from(bits.div_ceil(8)));
            assert_eq!(mac.iter().map(|b| b.count_ones()).sum::<u32>(), u32::from(bits));
            assert_eq!(BlindIndex::from_bytes(index.as_bytes()), Some(index));
        }
        for bad in [&[0, 0, 0, 5][..], &[0, 0, 0, 0, 1], &[1; 37], &[]] {
            assert_eq!(BlindIndex::from_bytes(bad), None);
        }
        assert_eq!(
            format!("{:?}", BlindIndex::new(id, &[1; 32], 256)),
            "BlindIndex(key 00000005, ..)"
        );
    }
}
