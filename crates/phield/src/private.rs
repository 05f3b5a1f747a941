//! What the expansion of the derive names, by absolute paths. Not for use by hand.

use phield_core::{AsRowId, Value};
pub use phield_core::{
    Binding, BlindIndex, Column, ColumnKind, ColumnSchema, Index, IndexError, IndexSchema, IndexValue,
    IndexValues, IndexVisitor, Keyring, Keys, MaybePhi, Model, Normalizer, OpenError, Padding, PhiField,
    Plain, Reported, Row, Schema, SealError, Sealed, SealedText, Sealer, StorageKind, TableName, Unbound,
    index_column, row_opener, same_row_id,
};

/// Everything of a database that the expansion names.
#[cfg(feature = "sqlx-sqlite")]
pub use phield_sqlx::__private as sqlx;

/// Seals one row.
pub fn seal<M: Model>(row: &M, keys: &M::Keys<'_>) -> Result<M::Sealed, SealError> {
    let indexes = IndexValues::of(row, keys.ring_keys())?;
    row.seal_with(&mut Sealer::new(keys, 1, M::TOKENS)?, indexes)
}

/// Seals rows.
pub fn seal_batch<M: Model>(rows: &[M], keys: &M::Keys<'_>) -> Result<Vec<M::Sealed>, SealError> {
    let mut sealer = Sealer::new(keys, rows.len(), M::TOKENS)?;
    rows.iter()
        .map(|row| row.seal_with(&mut sealer, IndexValues::of(row, keys.ring_keys())?))
        .collect()
}

/// Opens one row.
pub fn open<M: Model>(row: M::Sealed, keys: &M::Keys<'_>) -> Result<M, OpenError> {
    M::open_reported(row, keys).map(|reported| reported.value)
}

/// Opens rows.
pub fn open_batch<M: Model>(rows: Vec<M::Sealed>, keys: &M::Keys<'_>) -> Result<Vec<M>, OpenError> {
    rows.into_iter().map(|row| open(row, keys)).collect()
}

/// A row id is one.
pub const fn assert_row_id<T: AsRowId + ?Sized>() {}

/// Whether values are of few kinds, for a type whose name the derive does not know: a bool, an enumeration.
#[must_use]
pub const fn has_few_values<T: Value>() -> bool {
    T::LENGTHS.is_some()
}

/// Whether a normalizer takes values of a type whose name the derive does not know.
#[must_use]
pub const fn accepts<T: Value>(normalizer: Normalizer) -> bool {
    normalizer.accepts(T::TYPE)
}
