//! What the expansion of the derives names, by absolute paths. Not for use by hand.

use phield_core::{AsRowId, Encoded, IndexColumn, TenantName, Value};
pub use phield_core::{
    AsTenant, Binding, BlindIndex, Column, ColumnKind, ColumnSchema, Erase, InTenant, Index, IndexAlgorithm,
    IndexError, IndexSchema, IndexValue, IndexValues, IndexVisitor, Keyring, Keys, MaybePhi, Model,
    Normalizer, OfSubject, OpenRowError, Padding, PhiField, PhiValue, Plain, Reported, Row, RowBinding,
    Schema, SealError, Sealed, SealedText, Sealer, StorageKind, SubjectKeyring, TableName, Unbound,
    UnderSubjectKey, WithExtra, has_one_length, index_column, row_opener, same_row_id, same_tenant,
};

pub use crate::schema_test::schema_test;

/// For `#[derive(::phield::__private::serde::Serialize)]` with `#[serde(crate = "::phield::__private::serde")]`.
#[cfg(feature = "serde")]
pub use serde;

/// How many rows have index values on their way at once: enough to keep every worker busy, few enough to leave the
/// queue to others.
const ROWS_AWAITED: usize = 64;

/// Everything of a database that the expansion names.
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
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

/// As [`seal`], without blocking the thread while index values are computed.
pub async fn seal_async<M: Model>(row: &M, keys: &M::Keys<'_>) -> Result<M::Sealed, SealError> {
    let indexes = IndexValues::begin(row, keys.ring_keys())?.values().await?;
    row.seal_with(&mut Sealer::new(keys, 1, M::TOKENS)?, indexes)
}

/// As [`seal_batch`], without blocking the thread while index values are computed.
pub async fn seal_batch_async<M: Model>(rows: &[M], keys: &M::Keys<'_>) -> Result<Vec<M::Sealed>, SealError> {
    let mut sealed = Vec::with_capacity(rows.len());
    let mut rest = rows;
    while !rest.is_empty() {
        let mut pending = Vec::new();
        for row in rest.iter().take(ROWS_AWAITED) {
            match IndexValues::begin(row, keys.ring_keys()) {
                Ok(begun) => pending.push(begun),
                // The queue is full: first comes what stands in it.
                Err(SealError::Index(IndexError::Busy)) if !pending.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        let (begun, later) = rest.split_at(pending.len());
        rest = later;
        let mut indexes = Vec::with_capacity(begun.len());
        for pending in pending {
            indexes.push(pending.values().await?);
        }
        let mut sealer = Sealer::new(keys, begun.len(), M::TOKENS)?;
        for (row, indexes) in begun.iter().zip(indexes) {
            sealed.push(row.seal_with(&mut sealer, indexes)?);
        }
    }
    Ok(sealed)
}

/// As [`index_column`], without blocking the thread, and for device indexes too.
pub async fn index_column_async<I: IndexColumn>(
    keyring: &Keyring,
    index: &Index,
    tenant: Option<&TenantName>,
    parts: &[Option<Encoded<'_>>],
) -> Result<I, SealError> {
    I::from_value(keyring.blind_index_async(index, tenant, parts).await?)
}

/// Opens one row.
pub fn open<M: Model>(row: M::Sealed, keys: &M::Keys<'_>) -> Result<M, OpenRowError> {
    M::open_reported(row, keys).map(|reported| reported.value)
}

/// Opens rows.
pub fn open_batch<M: Model>(rows: Vec<M::Sealed>, keys: &M::Keys<'_>) -> Result<Vec<M>, OpenRowError> {
    rows.into_iter().map(|row| open(row, keys)).collect()
}

/// A row id is one, a subject, and an `extra`.
pub const fn assert_row_id<T: AsRowId + ?Sized>() {}

/// A tenant is one.
pub const fn assert_tenant<T: AsTenant + ?Sized>() {}

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
