//! Column types for sqlx (feature `sqlx`): `Type`, `Encode` and `Decode` of sealed values and index values, for every
//! database whose bytes and text sqlx knows. Here and not in `phield-sqlx`, because of the orphan rule.
//!
//! [`Phi`](crate::Phi) has none of these: plaintext cannot be bound.

use sqlx::database::Database;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Decode, Encode, Type};
use uuid::Uuid;

use crate::blind_index::BlindIndex;
use crate::error::OpenError;
use crate::name::TenantName;
use crate::sealed::{Sealed, SealedText};
use crate::uid::{InvalidUid, Uid};

/// An index value in a column that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the column does not hold a blind index")]
struct NoIndex;

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
        }

        impl<'r, $($generics)* DB: Database> Decode<'r, DB> for $column
        where
            &'r $borrowed: Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                let read: fn(&$borrowed) -> Result<Self, BoxDynError> = $read;
                read(<&$borrowed>::decode(value)?)
            }
        }
    };
}

column_type!([T,] Sealed<T>, Vec<u8>, [u8], as_bytes, |bytes| Ok(Self::from_bytes(bytes.to_vec())?));
column_type!([T,] SealedText<T>, String, str, as_str, |text| {
    Self::from_text(text.to_owned()).map_err(|error: OpenError| error.into())
});
column_type!([] TenantName, String, str, as_str, |name| Ok(Self::new(name)?));
column_type!([] BlindIndex, Vec<u8>, [u8], as_bytes, |bytes| Self::from_bytes(bytes).ok_or(NoIndex.into()));

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
        Self::from_uuid(Uuid::decode(value)?).ok_or_else(|| InvalidUid.into())
    }
}
