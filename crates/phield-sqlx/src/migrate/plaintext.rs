//! Columns of plaintext while they are migrated: one type that is read and never bound, one that is bound and never read.

use std::fmt;

use phield_core::{Erase, Phi};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type, ValueRef as _};

use super::database::MigrationDatabase;
use crate::row::BindColumn;
use crate::statement::Statement;

/// A column of plaintext, read from a row while it is migrated; SQL NULL is a value of it.
///
/// It shows what it holds to nobody but [`MixedTime::read`](super::MixedTime::read), which asks first whether the migration is
/// open; and it is erased when dropped. It cannot be bound.
///
/// ```compile_fail,E0277
/// # use phield_sqlx::migrate::Plaintext;
/// fn bind(plaintext: Plaintext<String>) {
///     let _ = sqlx::query::<sqlx::Sqlite>("UPDATE patients SET ssn = ?").bind(plaintext);
/// }
/// ```
///
/// ```compile_fail,E0616
/// # use phield_sqlx::migrate::Plaintext;
/// fn look(plaintext: Plaintext<String>) -> bool {
///     plaintext.value.is_some()
/// }
/// ```
pub struct Plaintext<T: Erase> {
    pub(super) value: Option<Phi<T>>,
}

impl<T: Erase> Plaintext<T> {
    /// The same column as another type: of a newtype of your own, or decrypted from another library's format
    /// (`RailsKeys::decrypt` of the crate `phield-import`).
    ///
    /// # Errors
    /// What `convert` says.
    ///
    /// # Security
    /// `convert` sees the plaintext, whether the migration is open or not. Keep it to converting.
    pub fn try_map<U: Erase, E>(
        self,
        convert: impl FnOnce(&T) -> Result<Phi<U>, E>,
    ) -> Result<Plaintext<U>, E> {
        let value = self.value.map(|value| convert(value.expose())).transpose()?;
        Ok(Plaintext { value })
    }
}

impl<T: Erase> fmt::Debug for Plaintext<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(..)")
    }
}

impl<DB: Database, T: Erase + Type<DB>> Type<DB> for Plaintext<T> {
    fn type_info() -> DB::TypeInfo {
        T::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        T::compatible(ty)
    }
}

/// A driver's own error repeats the value.
#[derive(Debug, thiserror::Error)]
#[error("a column of plaintext does not hold its type")]
struct NotItsType;

impl<'r, DB: Database, T: Erase + Decode<'r, DB>> Decode<'r, DB> for Plaintext<T> {
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            return Ok(Self { value: None });
        }
        let decoded = T::decode(value).map_err(|_| NotItsType)?;
        Ok(Self {
            value: Some(Phi::new(decoded)),
        })
    }
}

/// What is written into a column of plaintext in the mixed time, beside the token: by
/// [`MixedTime::dual_write`](super::MixedTime::dual_write) alone. Bind it in a statement of your own, or give it to
/// [`insert`](super::insert) and [`update`](super::update).
///
/// # Security
/// The one type of phield that binds plaintext.
///
/// ```compile_fail,E0451
/// # use phield_core::Phi;
/// # use phield_sqlx::migrate::DualWrite;
/// fn without_a_migration(ssn: &Phi<String>) -> DualWrite<'_, String> {
///     DualWrite { column: None, value: Some(ssn) }
/// }
/// ```
pub struct DualWrite<'v, T: Erase> {
    /// Where it is written; none when the column is gone.
    pub(super) column: Option<String>,
    /// SQL NULL after the cutover.
    pub(super) value: Option<&'v Phi<T>>,
}

impl<T: Erase> fmt::Debug for DualWrite<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DualWrite(..)")
    }
}

impl<DB: Database, T: Erase + Type<DB>> Type<DB> for DualWrite<'_, T> {
    fn type_info() -> DB::TypeInfo {
        T::type_info()
    }
}

impl<'q, DB: Database, T: Erase + Encode<'q, DB> + Type<DB>> Encode<'q, DB> for DualWrite<'_, T> {
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self.value {
            // A driver's own error repeats the value.
            Some(value) => value.expose().encode_by_ref(buf).map_err(|_| NotItsType.into()),
            None => Ok(IsNull::Yes),
        }
    }

    fn produces(&self) -> Option<DB::TypeInfo> {
        self.value.and_then(|value| value.expose().produces())
    }

    fn size_hint(&self) -> usize {
        self.value.map_or(1, |value| value.expose().size_hint())
    }
}

/// A [`DualWrite`] of any type. Not for users to implement.
///
/// [`Sync`]: a handler that awaits a write can be spawned.
pub trait DualColumn<DB: MigrationDatabase>: private::Sealed + Sync {
    /// The column of the plaintext, by its name in SQL; none when it is gone.
    #[doc(hidden)]
    fn column(&self) -> Option<&str>;

    #[doc(hidden)]
    fn bind(&self, statement: &mut Statement<DB>);
}

impl<DB: MigrationDatabase, T: Erase> DualColumn<DB> for DualWrite<'_, T>
where
    Self: BindColumn<DB> + Sync,
{
    fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    fn bind(&self, statement: &mut Statement<DB>) {
        self.bind_column(statement);
    }
}

impl<T: Erase> private::Sealed for DualWrite<'_, T> {}

mod private {
    #[allow(unnameable_types, reason = "a sealed trait")]
    pub trait Sealed {}
}
