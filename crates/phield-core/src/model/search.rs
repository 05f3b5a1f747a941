//! What an index is searched by, and whether a row that was found is the one that was asked for.

use crate::binding::AsTenant;
use crate::blind_index::IndexError;
use crate::error::Unsealable;
use crate::phi::Phi;
use crate::row_id::AsRowId;
use crate::value::{Encoded, Value};

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

/// What an index is searched by, as a part of it.
#[doc(hidden)]
pub fn searched<T, V: IndexValue<T> + ?Sized>(value: &V) -> Result<Option<Encoded<'_>>, IndexError> {
    Ok(Some(value.encode_part()?))
}

/// Whether two row ids name the same row, by what a token is bound to.
#[doc(hidden)]
pub fn same_row_id<I: AsRowId + ?Sized, J: AsRowId + ?Sized>(a: &I, b: &J) -> bool {
    a.as_row_id().is_ok_and(|a| b.as_row_id() == Ok(a))
}

/// Whether two tenants are the same.
#[doc(hidden)]
pub fn same_tenant<T: AsTenant + ?Sized>(a: &T, b: &T) -> bool {
    a.as_tenant().is_ok_and(|a| b.as_tenant() == Ok(a))
}
