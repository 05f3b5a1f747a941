//! Sealed fields by trait: what a `Phi<T>` and an `Option<Phi<T>>` are on their way into a column and out of it.

use crate::binding::RowBinding;
use crate::column::Column;
use crate::error::{OpenRowError, SealError, Unsealable};
use crate::field::Field;
use crate::frame::Padding;
use crate::phi::{Phi, PlainColumn};
use crate::row::{RowOpener, Token};
use crate::sealed::{Sealed, SealedText, Storage};
use crate::value::{Encoded, Value};

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

/// The type of a column of tokens: [`Sealed`], [`SealedText`], or `Option` of one where the value can be absent.
#[doc(hidden)]
pub trait TokenColumn: Sized {
    /// The token of a field as its column.
    fn from_token(token: Token) -> Result<Self, SealError>;
}

macro_rules! token_column {
    ($($storage:ident),*) => {$(
        impl<T> TokenColumn for $storage<T> {
            fn from_token(token: Token) -> Result<Self, SealError> {
                token.required()
            }
        }

        impl<T> TokenColumn for Option<$storage<T>> {
            fn from_token(token: Token) -> Result<Self, SealError> {
                Ok(token.optional())
            }
        }
    )*};
}
token_column!(Sealed, SealedText);

/// A field of a row that is about to be sealed.
#[doc(hidden)]
pub fn field<F: PhiField, B: RowBinding + ?Sized>(
    value: &F,
    column: Column<F::Value, B>,
) -> Result<Field<'_>, Unsealable> {
    value.field(column)
}

/// A field as a part of an index.
#[doc(hidden)]
pub fn part<F: PhiField>(value: &F) -> Result<Option<Encoded<'_>>, Unsealable> {
    value.part()
}

/// Opens a column of a row.
#[doc(hidden)]
pub fn open_field<F: PhiField, S: Storage<Value = F::Value>, B: RowBinding + ?Sized>(
    opener: &mut RowOpener<'_>,
    column: &Column<F::Value, B>,
    stored: F::Stored<S>,
) -> Result<F, OpenRowError> {
    F::open(opener, column, stored)
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
