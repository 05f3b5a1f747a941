//! What the expansion of the derives names, by absolute paths. Not for use by hand.

pub use phield_core::{
    AsRowId, AsTenant, Binding, BlindIndex, Column, ColumnSchema, Embedded, Encoded, Erase, Field, InTenant,
    Index, IndexAlgorithm, IndexError, IndexSchema, IndexValue, IndexValues, IndexVisitor, Keyring, Keys,
    MaybePhi, Model, Normalizer, OfSubject, OpenRowError, Padding, PhiField, PhiValue, Place, Plain,
    PlainColumn, ReadModel, Reported, RowBinding, RowOpener, Schema, SealError, Sealed, SealedText, Sealer,
    SubjectKeyring, TableName, Token, Unbound, UnderSubjectKey, Unsealable, Value as SealedValue, WithExtra,
    assert_bound, assert_distinct, assert_plain, assert_sealed, concat_columns, extra, field, has_one_length,
    index_column, join, joined_len, names_of, next_token, open_field, part, placed, prefixed, prefixed_len,
    prefixed_names, row_opener, same_row_id, same_tenant, schema, seal_all_fields, seal_fields, seal_group,
    seal_indexed, seal_one, searched, subject, subject_key, tenant, text,
};
use phield_core::{IndexColumn, TokenColumn, Value};
pub use std::clone::Clone;
pub use std::marker::{Sized, Sync};
pub use std::option::Option;
pub use std::result::Result;
pub use std::vec::Vec;

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
    binding: &(impl RowBinding + ?Sized),
    parts: &[Option<Encoded<'_>>],
) -> Result<I, SealError> {
    let tenant = binding.tenant_binding()?;
    I::from_value(keyring.blind_index_async(index, tenant.as_deref(), parts).await?)
}

/// As [`seal_indexed`], without blocking the thread, and for device indexes too.
pub async fn seal_indexed_async<F: PhiField, B: RowBinding + ?Sized, C: TokenColumn, I: IndexColumn>(
    keys: &(impl Keys + ?Sized),
    row: &B,
    column: Column<F::Value, B>,
    index: &Index,
    value: &F,
) -> Result<(C, I), SealError> {
    // First: what is awaited holds no tokens.
    let index = index_column_async(keys.ring_keys(), index, row, &[value.part()?]).await?;
    Ok((seal_one(keys, row, column, value)?, index))
}

/// The values to search an index for, in a table without tenants.
pub fn query<const N: usize>(
    keyring: &Keyring,
    index: &Index,
    parts: [Option<Encoded<'_>>; N],
) -> Result<[BlindIndex; 2], IndexError> {
    keyring.index_query(index, None, &parts)
}

/// As [`query`], without blocking the thread, and for device indexes too.
pub async fn query_async<const N: usize>(
    keyring: &Keyring,
    index: &Index,
    parts: [Option<Encoded<'_>>; N],
) -> Result<[BlindIndex; 2], IndexError> {
    keyring.index_query_async(index, None, &parts).await
}

/// As [`query`], in a tenant.
pub fn query_in<const N: usize>(
    keyring: &Keyring,
    tenant: &(impl AsTenant + ?Sized),
    index: &Index,
    parts: [Option<Encoded<'_>>; N],
) -> Result<[BlindIndex; 2], IndexError> {
    keyring.index_query(index, Some(&*tenant.as_tenant()?), &parts)
}

/// As [`query_in`], without blocking the thread, and for device indexes too.
pub async fn query_in_async<const N: usize>(
    keyring: &Keyring,
    tenant: &(impl AsTenant + ?Sized),
    index: &Index,
    parts: [Option<Encoded<'_>>; N],
) -> Result<[BlindIndex; 2], IndexError> {
    keyring
        .index_query_async(index, Some(&*tenant.as_tenant()?), &parts)
        .await
}

/// Opens one row.
pub fn open<M: ReadModel>(row: M::Sealed, keys: &M::Keys<'_>) -> Result<M, OpenRowError> {
    M::open_reported(row, keys).map(|reported| reported.value)
}

/// Opens rows.
pub fn open_batch<M: ReadModel>(rows: Vec<M::Sealed>, keys: &M::Keys<'_>) -> Result<Vec<M>, OpenRowError> {
    rows.into_iter().map(|row| open(row, keys)).collect()
}

/// A row id is one, a subject, and an `extra`.
pub const fn assert_row_id<T: AsRowId + ?Sized>() {}

/// A tenant is one.
pub const fn assert_tenant<T: AsTenant + ?Sized>() {}

/// What is wrong with a plain column that holds PHI.
pub const HIDDEN_PHI: &str = "a plain column is or contains `Phi`: write its type as `Phi<T>` or `Option<Phi<T>>`, or \
     mark an alias of these `#[phi(sealed)]`";

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
