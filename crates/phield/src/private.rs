//! What the expansion of the derive names, by absolute paths. Not for use by hand.

use phield_core::{AsRowId, Value, ValueType};
pub use phield_core::{
    Binding, BlindIndex, Column, ColumnKind, ColumnSchema, Index, IndexError, IndexSchema, IndexValue,
    Keyring, MaybePhi, Model, Normalizer, OpenError, Padding, PhiField, Plain, Reported, Row, Schema,
    SealError, Sealed, SealedText, Sealer, StorageKind, TableName, Unbound, index_column, row_opener,
    same_row_id,
};

/// Everything of a database that the expansion names.
#[cfg(feature = "sqlx-sqlite")]
pub use phield_sqlx::__private as sqlx;

/// Seals one row.
pub fn seal<M: Model>(row: &M, keyring: &Keyring) -> Result<M::Sealed, SealError> {
    row.seal_with(&mut keyring.sealer(1, M::TOKENS)?)
}

/// Seals rows.
pub fn seal_batch<M: Model>(rows: &[M], keyring: &Keyring) -> Result<Vec<M::Sealed>, SealError> {
    let mut sealer = keyring.sealer(rows.len(), M::TOKENS)?;
    rows.iter().map(|row| row.seal_with(&mut sealer)).collect()
}

/// Opens one row.
pub fn open<M: Model>(row: M::Sealed, keyring: &Keyring) -> Result<M, OpenError> {
    M::open_reported(row, keyring).map(|reported| reported.value)
}

/// Opens rows.
pub fn open_batch<M: Model>(rows: Vec<M::Sealed>, keyring: &Keyring) -> Result<Vec<M>, OpenError> {
    rows.into_iter().map(|row| open(row, keyring)).collect()
}

/// A row id is one.
pub const fn assert_row_id<T: AsRowId + ?Sized>() {}

/// Whether values are of two kinds only, for a type whose name the derive does not know.
#[must_use]
pub const fn is_bool<T: Value>() -> bool {
    matches!(T::TYPE, ValueType::Bool)
}

/// Whether a normalizer takes values of a type whose name the derive does not know.
#[must_use]
pub const fn accepts<T: Value>(normalizer: Normalizer) -> bool {
    normalizer.accepts(T::TYPE)
}
