//! Column types for sqlx (feature `sqlx`): `Type`, `Encode` and `Decode` of sealed values and index values, for every
//! database whose bytes and text sqlx knows. Here and not in `phield-sqlx`, because of the orphan rule.
//!
//! [`Phi`](crate::Phi) has none of these: plaintext cannot be bound.

use sqlx::database::Database;
use sqlx::encode::IsNull;
use sqlx::error::{BoxDynError, UnexpectedNullError};
use sqlx::{Decode, Encode, Type, ValueRef as _};
use uuid::Uuid;

use crate::blind_index::BlindIndex;
use crate::name::TenantName;
use crate::sealed::{Sealed, SealedText};
use crate::token;
use crate::uid::Uid;

/// Why a column was not read: what stands in it is none of ours, or was changed. Shows nothing of it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// Neither a token nor what is left of one.
    #[error("holds no phield token: plaintext, or cut off?")]
    NoToken,
    /// A token in text form with spaces around it.
    #[error("holds a token with spaces around it: CHAR(n) adds them, use VARCHAR or TEXT")]
    Spaces,
    /// A token in text form, all in upper or lower case.
    #[error("holds a token whose letters were changed to one case")]
    Case,
    /// No index value.
    #[error("holds no blind index")]
    NoIndex,
    /// No UID.
    #[error("holds no UID")]
    NoUid,
}

impl ColumnError {
    /// What became of a token in text form.
    fn of_text(text: &str) -> Self {
        let trimmed = text.trim();
        if trimmed.len() != text.len() && SealedText::<()>::from_text(trimmed.to_owned()).is_ok() {
            return Self::Spaces;
        }
        let prefix = text.get(..token::TEXT_PREFIX.len()).unwrap_or_default();
        let is_one_case = [u8::is_ascii_uppercase, u8::is_ascii_lowercase]
            .iter()
            .any(|is_other| !text.bytes().any(|byte| is_other(&byte)));
        // Half a hundred letters of base64 are of both cases.
        if prefix.eq_ignore_ascii_case(token::TEXT_PREFIX) && is_one_case && text.len() > 50 {
            return Self::Case;
        }
        Self::NoToken
    }
}

/// `Type`, `Encode` and `Decode` through a type that the driver knows.
macro_rules! column_type {
    ([$($generics:tt)*] $column:ty, $owned:ty, $borrowed:ty, $bytes:ident, $read:expr) => {
        impl<$($generics)* DB: Database> Type<DB> for $column
        where
            $owned: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <$owned>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <$owned>::compatible(ty)
            }
        }

        impl<'q, $($generics)* DB: Database> Encode<'q, DB> for $column
        where
            $owned: Encode<'q, DB>,
        {
            fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <$owned>::from(self.$bytes()).encode(buf)
            }

            fn size_hint(&self) -> usize {
                self.$bytes().len()
            }
        }

        impl<'r, $($generics)* DB: Database> Decode<'r, DB> for $column
        where
            &'r $borrowed: Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                // SQLite would give empty bytes.
                if value.is_null() {
                    return Err(UnexpectedNullError.into());
                }
                let read: fn(&$borrowed) -> Result<Self, BoxDynError> = $read;
                read(<&$borrowed>::decode(value)?)
            }
        }
    };
}

column_type!([T,] Sealed<T>, Vec<u8>, [u8], as_bytes, |bytes| {
    Self::from_bytes(bytes.to_vec()).map_err(|_| ColumnError::NoToken.into())
});
column_type!([T,] SealedText<T>, String, str, as_str, |text| {
    Self::from_text(text.to_owned()).map_err(|_| ColumnError::of_text(text).into())
});
column_type!([] BlindIndex, Vec<u8>, [u8], as_bytes, |bytes| {
    Self::from_bytes(bytes).ok_or(ColumnError::NoIndex.into())
});
column_type!([] TenantName, String, str, as_str, |name| Ok(Self::new(name)?));

/// A UID is a `UUID`, or 16 bytes, as the driver has it for [`Uuid`].
impl<DB: Database> Type<DB> for Uid
where
    Uuid: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        Uuid::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        Uuid::compatible(ty)
    }
}

impl<'q, DB: Database> Encode<'q, DB> for Uid
where
    Uuid: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.as_uuid().encode_by_ref(buf)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for Uid
where
    Uuid: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            return Err(UnexpectedNullError.into());
        }
        Self::from_uuid(Uuid::decode(value)?).ok_or_else(|| ColumnError::NoUid.into())
    }
}

/// `BYTEA[]`, `TEXT[]` and `UUID[]`, so that columns of many rows bind to `unnest($1::bytea[], …)`.
#[cfg(feature = "sqlx-postgres")]
mod arrays {
    use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
    use uuid::Uuid;

    use super::{BlindIndex, Sealed, SealedText, Uid};

    macro_rules! array_type {
        ([$($generics:tt)*] $column:ty, $element:ty) => {
            impl<$($generics)*> PgHasArrayType for $column {
                fn array_type_info() -> PgTypeInfo {
                    <$element>::array_type_info()
                }

                fn array_compatible(ty: &PgTypeInfo) -> bool {
                    <$element>::array_compatible(ty)
                }
            }
        };
    }

    array_type!([T] Sealed<T>, Vec<u8>);
    array_type!([T] SealedText<T>, String);
    array_type!([] BlindIndex, Vec<u8>);
    array_type!([] Uid, Uuid);
}
