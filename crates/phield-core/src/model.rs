//! What the expansion of the derive is written in: sealed fields, index columns and models, by trait. Not for users to
//! implement; [`IndexValue`] is the one that they meet, in the arguments of generated search methods.

use crate::binding::{AsTenant, RowBinding};
use crate::blind_index::{BlindIndex, Index, IndexError};
use crate::column::Column;
use crate::error::{OpenRowError, SealError, Unsealable};
use crate::field::Field;
use crate::frame::Padding;
use crate::indexing::PendingIndex;
use crate::keyring::Keyring;
use crate::name::{TableName, TenantName};
use crate::phi::{Phi, PlainColumn};
use crate::row::{Reported, RowOpener, Sealer, Token};
use crate::row_id::AsRowId;
use crate::sealed::Storage;
use crate::subject_key::Keys;
use crate::value::{Encoded, Value};

/// A model with sealed fields, and the struct of its columns.
#[doc(hidden)]
pub trait Model: Sized {
    /// The columns.
    type Sealed;
    /// What it is sealed and opened with: a [`Keyring`], or a [`SubjectKeyring`](crate::SubjectKeyring) for a table
    /// with subject keys.
    type Keys<'k>: Keys;
    /// How many tokens a row has.
    const TOKENS: usize;

    /// Shows every blind index of the row and its parts to `visit`, in the order of their columns.
    fn each_index(&self, visit: &mut IndexVisitor<'_>) -> Result<(), SealError>;

    /// Seals one row; `indexes` are the values of its blind indexes, in the order of their columns.
    fn seal_with(&self, sealer: &mut Sealer<'_>, indexes: IndexValues) -> Result<Self::Sealed, SealError>;

    /// Opens one row.
    fn open_reported(sealed: Self::Sealed, keys: &Self::Keys<'_>) -> Result<Reported<Self>, OpenRowError>;
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

/// The type of a model's sealed field: `Phi<T>`, or `Option<Phi<T>>` for a column that is SQL NULL when absent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Phi<T>` or `Option<Phi<T>>`",
    label = "cannot be a sealed field",
    note = "`#[phi(sealed)]` is for aliases of these two"
)]
#[doc(hidden)]
pub trait PhiField: Sized {
    /// What is sealed.
    type Value: Value;
    /// The column: `S` or `Option<S>`.
    type Stored<S: Storage<Value = Self::Value>>;
    /// Whether the column is SQL NULL when the value is absent.
    const SQL_NULL: bool;

    /// The field of a row that is about to be sealed.
    fn field<B: RowBinding + ?Sized>(&self, column: Column<Self::Value, B>) -> Result<Field<'_>, Unsealable>;

    /// The value as a part of an index.
    fn part(&self) -> Result<Option<Encoded<'_>>, Unsealable>;

    /// The token as a column.
    fn stored<S: Storage<Value = Self::Value>>(token: Token) -> Result<Self::Stored<S>, SealError>;

    /// Opens a column.
    fn open<S: Storage<Value = Self::Value>, B: RowBinding + ?Sized>(
        opener: &mut RowOpener<'_>,
        column: &Column<Self::Value, B>,
        stored: Self::Stored<S>,
    ) -> Result<Self, OpenRowError>;
}

impl<T: Value> PhiField for Phi<T> {
    type Value = T;
    type Stored<S: Storage<Value = T>> = S;
    const SQL_NULL: bool = false;

    fn field<B: RowBinding + ?Sized>(&self, column: Column<T, B>) -> Result<Field<'_>, Unsealable> {
        column.field(self)
    }

    fn part(&self) -> Result<Option<Encoded<'_>>, Unsealable> {
        self.expose().encode().map(Some)
    }

    fn stored<S: Storage<Value = T>>(token: Token) -> Result<S, SealError> {
        token.required()
    }

    fn open<S: Storage<Value = T>, B: RowBinding + ?Sized>(
        opener: &mut RowOpener<'_>,
        column: &Column<T, B>,
        stored: S,
    ) -> Result<Self, OpenRowError> {
        opener.open_column(column, stored)
    }
}

impl<T: Value> PhiField for Option<Phi<T>> {
    type Value = T;
    type Stored<S: Storage<Value = T>> = Option<S>;
    const SQL_NULL: bool = true;

    fn field<B: RowBinding + ?Sized>(&self, column: Column<T, B>) -> Result<Field<'_>, Unsealable> {
        column.optional_field(self.as_ref())
    }

    fn part(&self) -> Result<Option<Encoded<'_>>, Unsealable> {
        self.as_ref().map(|value| value.expose().encode()).transpose()
    }

    fn stored<S: Storage<Value = T>>(token: Token) -> Result<Option<S>, SealError> {
        Ok(token.optional())
    }

    fn open<S: Storage<Value = T>, B: RowBinding + ?Sized>(
        opener: &mut RowOpener<'_>,
        column: &Column<T, B>,
        stored: Option<S>,
    ) -> Result<Self, OpenRowError> {
        stored
            .map(|stored| opener.open_column(column, stored))
            .transpose()
    }
}

/// Asks whether a plain column hides PHI: `PLAIN` is the constant of [`Plain`](Self) itself for a type that holds no
/// [`Phi`], and otherwise the one of [`MaybePhi`]. By a constant, because the error of the compiler about the missing
/// trait would not say what is wrong.
#[doc(hidden)]
#[derive(Debug)]
pub struct Plain<T: ?Sized>(std::marker::PhantomData<T>);

impl<T: PlainColumn + ?Sized> Plain<T> {
    /// It holds no PHI.
    pub const PLAIN: bool = true;
}

/// The other answer of [`Plain`].
#[doc(hidden)]
pub trait MaybePhi {
    /// It holds PHI.
    const PLAIN: bool = false;
}

impl<T: ?Sized> MaybePhi for Plain<T> {}

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

/// The index column of a row.
#[doc(hidden)]
pub fn index_column<I: IndexColumn>(
    keyring: &Keyring,
    index: &Index,
    tenant: Option<&TenantName>,
    parts: &[Option<Encoded<'_>>],
) -> Result<I, SealError> {
    I::from_value(keyring.blind_index(index, tenant, parts)?)
}

/// Whether all values have one padded length, for a type of few values; other types need not.
#[doc(hidden)]
#[must_use]
pub const fn has_one_length<T: Value>(padding: Padding) -> bool {
    match T::LENGTHS {
        Some(lengths) => Padding::hides(lengths, padding),
        None => true,
    }
}

/// Whether two row ids name the same row, by what a token is bound to.
#[doc(hidden)]
pub fn same_row_id<I: AsRowId + ?Sized, J: AsRowId + ?Sized>(a: &I, b: &J) -> bool {
    a.as_row_id().is_ok_and(|a| b.as_row_id() == Ok(a))
}

/// The opener of the row with this id.
#[doc(hidden)]
pub fn row_opener<'k>(
    keys: &'k (impl Keys + ?Sized),
    table: &TableName,
    binding: &(impl RowBinding + ?Sized),
) -> Result<RowOpener<'k>, OpenRowError> {
    RowOpener::of_binding(keys, table, binding)
}

/// Whether two tenants are the same.
#[doc(hidden)]
pub fn same_tenant<T: AsTenant + ?Sized>(a: &T, b: &T) -> bool {
    a.as_tenant().is_ok_and(|a| b.as_tenant() == Ok(a))
}

/// What an indexed column of type `T` can be searched by: a `T`, a `Phi<T>`, and `str` and `[u8]` for text and bytes.
///
/// A column of type `Option<T>` is searched by what a column of type `T` is searched by. Not for users to implement.
#[diagnostic::on_unimplemented(
    message = "an indexed column of type `{T}` cannot be searched by `{Self}`",
    note = "take `&T`, `&Phi<T>`, or `&str` and `&[u8]` for text and bytes"
)]
pub trait IndexValue<T> {
    /// The value as a part of an index.
    #[doc(hidden)]
    fn encode_part(&self) -> Result<Encoded<'_>, Unsealable>;
}

impl<T: Value> IndexValue<T> for T {
    fn encode_part(&self) -> Result<Encoded<'_>, Unsealable> {
        self.encode()
    }
}

impl<T: Value> IndexValue<Option<T>> for T {
    fn encode_part(&self) -> Result<Encoded<'_>, Unsealable> {
        self.encode()
    }
}

impl<T: Value> IndexValue<T> for Phi<T> {
    fn encode_part(&self) -> Result<Encoded<'_>, Unsealable> {
        self.expose().encode()
    }
}

impl<T: Value> IndexValue<Option<T>> for Phi<T> {
    fn encode_part(&self) -> Result<Encoded<'_>, Unsealable> {
        self.expose().encode()
    }
}

macro_rules! borrowed_index_value {
    ($borrowed:ty, $owned:ty) => {
        impl IndexValue<$owned> for $borrowed {
            fn encode_part(&self) -> Result<Encoded<'_>, Unsealable> {
                Ok(Encoded::borrowed(<$owned>::TYPE, self.as_ref()))
            }
        }

        impl IndexValue<Option<$owned>> for $borrowed {
            fn encode_part(&self) -> Result<Encoded<'_>, Unsealable> {
                Ok(Encoded::borrowed(<$owned>::TYPE, self.as_ref()))
            }
        }
    };
}
borrowed_index_value!(str, String);
borrowed_index_value!([u8], Vec<u8>);

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
