//! What the expansion of the derive is written in: models, sealed fields and index columns, by trait. Not for users to
//! implement; [`IndexValue`] is the one that they meet, in the arguments of generated search methods.

mod columns;
mod embedded;
mod field;
mod part;
mod search;

use crate::binding::RowBinding;
use crate::blind_index::{BlindIndex, Index, IndexError};
use crate::column::Column;
use crate::context::Row;
use crate::error::{OpenRowError, SealError};
use crate::field::Field;
use crate::indexing::PendingIndex;
use crate::keyring::Keyring;
use crate::name::{TableName, TenantName};
use crate::row::{Reported, RowOpener, Sealer, Token};
use crate::schema::{ColumnSchema, IndexSchema};
use crate::subject_key::Keys;
use crate::value::Encoded;

pub use columns::{extra, schema, subject, subject_key, tenant};
pub use embedded::{
    Embedded, Place, assert_distinct, concat_columns, join, joined_len, names_of, placed, prefixed,
    prefixed_len, prefixed_names, text,
};
pub use field::{MaybePhi, PhiField, Plain, TokenColumn, field, has_one_length, open_field, part};
pub use part::{assert_bound, assert_plain, assert_sealed};
pub use search::{IndexValue, same_row_id, same_tenant, searched};

/// A struct that is read from sealed columns: a model, or a part of one.
#[doc(hidden)]
pub trait ReadModel: Sized {
    /// The columns.
    type Sealed;
    /// What it is sealed and opened with: a [`Keyring`], or a [`SubjectKeyring`](crate::SubjectKeyring) for a table
    /// with subject keys.
    type Keys<'k>: Keys;
    /// Logical name of the table.
    const TABLE: TableName;
    /// Fails when a rule is broken by the types that stand for the parameters of a generic struct.
    const CHECKED: () = ();

    /// Opens one row.
    fn open_reported(sealed: Self::Sealed, keys: &Self::Keys<'_>) -> Result<Reported<Self>, OpenRowError>;
}

/// A model with sealed fields, and the struct of its columns.
#[doc(hidden)]
pub trait Model: ReadModel {
    /// How many tokens a row has.
    const TOKENS: usize;
    /// Every column, in the order of the sealed struct.
    const COLUMNS: &'static [ColumnSchema];
    /// The blind indexes, in the order of their columns.
    const INDEXES: &'static [IndexSchema];

    /// Shows every blind index of the row and its parts to `visit`, in the order of their columns.
    fn each_index(&self, visit: &mut IndexVisitor<'_>) -> Result<(), SealError>;

    /// Seals one row; `indexes` are the values of its blind indexes, in the order of their columns.
    fn seal_with(&self, sealer: &mut Sealer<'_>, indexes: IndexValues) -> Result<Self::Sealed, SealError>;
}

/// What is called with each blind index of a row.
#[doc(hidden)]
pub type IndexVisitor<'v> =
    dyn FnMut(&Index, Option<&TenantName>, &[Option<Encoded<'_>>]) -> Result<(), SealError> + 'v;

/// The values of the blind indexes of a row, taken in the order of their columns.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct IndexValues(std::vec::IntoIter<Option<BlindIndex>>);

#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
impl IndexValues {
    /// Computes them; blocks this thread while slow ones are computed.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn of<M: Model>(row: &M, keyring: &Keyring) -> Result<Self, SealError> {
        let mut values = Vec::new();
        row.each_index(&mut |index, tenant, parts| {
            values.push(keyring.blind_index(index, tenant, parts)?);
            Ok(())
        })?;
        Ok(Self(values.into_iter()))
    }

    /// Begins to compute them: slow ones stand in the queue of the workers.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn begin<'k, M: Model>(row: &M, keyring: &'k Keyring) -> Result<PendingIndexes<'k>, SealError> {
        let mut pending = Vec::new();
        row.each_index(&mut |index, tenant, parts| {
            pending.push(keyring.begin_blind_index(index, tenant, parts)?);
            Ok(())
        })?;
        Ok(PendingIndexes(pending))
    }

    /// The next one.
    ///
    /// # Errors
    /// [`SealError::NoValue`] when a column that always has a value has none.
    pub fn column<I: IndexColumn>(&mut self) -> Result<I, SealError> {
        I::from_value(self.0.next().ok_or(SealError::NoValue)?)
    }
}

/// The values of the blind indexes of a row, on their way.
#[doc(hidden)]
#[derive(Debug)]
pub struct PendingIndexes<'k>(Vec<Option<PendingIndex<'k>>>);

#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
impl PendingIndexes<'_> {
    /// Once they are there.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub async fn values(self) -> Result<IndexValues, SealError> {
        let mut values = Vec::with_capacity(self.0.len());
        for pending in self.0 {
            values.push(match pending {
                Some(pending) => Some(pending.value().await?),
                None => None,
            });
        }
        Ok(IndexValues(values.into_iter()))
    }
}

/// The columns of a row that was sealed, taken in their order.
#[doc(hidden)]
#[derive(Debug)]
pub struct Columns<I> {
    tokens: I,
    indexes: IndexValues,
}

#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
impl<I: Iterator<Item = Token>> Columns<I> {
    /// The next column of tokens.
    pub fn token<C: TokenColumn>(&mut self) -> Result<C, SealError> {
        next_token(&mut self.tokens)
    }

    /// The next column of index values.
    pub fn index<C: IndexColumn>(&mut self) -> Result<C, SealError> {
        self.indexes.column()
    }

    /// The columns of an embedded struct.
    pub fn embedded<E: Embedded>(&mut self, embedded: &E) -> Result<E::Sealed, SealError> {
        embedded.sealed(&mut self.tokens)
    }
}

/// The next column of tokens.
#[doc(hidden)]
pub fn next_token<C: TokenColumn>(tokens: &mut dyn Iterator<Item = Token>) -> Result<C, SealError> {
    C::from_token(tokens.next().ok_or(SealError::NoValue)?)
}

/// Seals the fields of a row.
#[doc(hidden)]
pub fn seal_fields<M: ReadModel, const N: usize>(
    _: &M,
    sealer: &mut Sealer<'_>,
    indexes: IndexValues,
    binding: &(impl RowBinding + ?Sized),
    fields: [Field<'_>; N],
) -> Result<Columns<std::array::IntoIter<Token, N>>, SealError> {
    const { M::CHECKED };
    let tokens = sealer
        .seal_row(&Row::new(&M::TABLE, binding)?, fields)?
        .into_iter();
    Ok(Columns { tokens, indexes })
}

/// As [`seal_fields`], for a row with embedded structs, the number of whose fields the derive does not know.
#[doc(hidden)]
pub fn seal_all_fields<M: ReadModel>(
    _: &M,
    sealer: &mut Sealer<'_>,
    indexes: IndexValues,
    binding: &(impl RowBinding + ?Sized),
    fields: &[Field<'_>],
) -> Result<Columns<std::vec::IntoIter<Token>>, SealError> {
    const { M::CHECKED };
    let tokens = sealer
        .seal_fields(&Row::new(&M::TABLE, binding)?, fields)?
        .into_iter();
    Ok(Columns { tokens, indexes })
}

/// Seals fields of a row that exists, on their own.
#[doc(hidden)]
pub fn seal_group<const N: usize>(
    keys: &(impl Keys + ?Sized),
    table: &TableName,
    binding: &(impl RowBinding + ?Sized),
    fields: [Field<'_>; N],
) -> Result<Columns<std::array::IntoIter<Token, N>>, SealError> {
    let tokens = Sealer::new(keys, 1, N)?.seal_row(&Row::new(table, binding)?, fields)?;
    Ok(Columns {
        tokens: tokens.into_iter(),
        indexes: IndexValues::default(),
    })
}

/// Seals one field of a row that exists.
#[doc(hidden)]
pub fn seal_one<F: PhiField, B: RowBinding + ?Sized, C: TokenColumn>(
    keys: &(impl Keys + ?Sized),
    row: &B,
    column: Column<F::Value, B>,
    value: &F,
) -> Result<C, SealError> {
    let table = column.table().clone();
    seal_group(keys, &table, row, [value.field(column)?])?.token()
}

/// As [`seal_one`], with the index over the field.
#[doc(hidden)]
pub fn seal_indexed<F: PhiField, B: RowBinding + ?Sized, C: TokenColumn, I: IndexColumn>(
    keys: &(impl Keys + ?Sized),
    row: &B,
    column: Column<F::Value, B>,
    index: &Index,
    value: &F,
) -> Result<(C, I), SealError> {
    let index = index_column(keys.ring_keys(), index, row, &[value.part()?])?;
    Ok((seal_one(keys, row, column, value)?, index))
}

/// The opener of a row.
#[doc(hidden)]
pub fn row_opener<'k, M: ReadModel>(
    keys: &'k M::Keys<'_>,
    binding: &(impl RowBinding + ?Sized),
) -> Result<RowOpener<'k>, OpenRowError> {
    const { M::CHECKED };
    RowOpener::of_binding(keys, &M::TABLE, binding)
}

/// An index column: [`BlindIndex`], or `Option` of it where a part of the index can be absent.
#[doc(hidden)]
pub trait IndexColumn: Sized {
    /// The value that was computed for a row, if it has one.
    fn from_value(value: Option<BlindIndex>) -> Result<Self, SealError>;
}

impl IndexColumn for BlindIndex {
    fn from_value(value: Option<BlindIndex>) -> Result<Self, SealError> {
        value.ok_or(SealError::NoValue)
    }
}

impl IndexColumn for Option<BlindIndex> {
    fn from_value(value: Self) -> Result<Self, SealError> {
        Ok(value)
    }
}

/// The index column of the row with this binding.
#[doc(hidden)]
pub fn index_column<I: IndexColumn>(
    keyring: &Keyring,
    index: &Index,
    binding: &(impl RowBinding + ?Sized),
    parts: &[Option<Encoded<'_>>],
) -> Result<I, SealError> {
    let tenant = binding.tenant_binding()?;
    I::from_value(keyring.blind_index(index, tenant.as_deref(), parts)?)
}

impl From<IndexError> for SealError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::NoActivePepper => Self::NoActivePepper,
            IndexError::KeyUnavailable(id) => Self::KeyUnavailable(id),
            IndexError::Unsealable(unsealable) => Self::Unsealable(unsealable),
            IndexError::WrongParts => Self::WrongIndexParts,
            IndexError::Absent => Self::NoValue,
            other => Self::Index(other),
        }
    }
}
