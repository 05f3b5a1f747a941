//! What binds a row to its place (format §2): its row id, tenant, subject and `extra`, by type. A column knows the type of
//! its rows' binding, so that none of them can be forgotten.

use std::borrow::Cow;
use std::fmt;

use uuid::Uuid;

use crate::error::Unsealable;
use crate::name::TenantName;
use crate::row_id::{AsRowId, RowId};

/// In the place of a row id: the row is **unbound**. Its tokens can be moved between rows of the same column by
/// somebody who writes to the database, and still open. An explicit choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a unit that users write")]
pub struct Unbound;

/// A row id together with the person that the row belongs to: both are bound.
///
/// Give it where a row reaches its person through a plain column: otherwise somebody who writes to the database
/// re-assigns the row by editing that column.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a list of arguments by name")]
pub struct OfSubject<R, S> {
    /// The row id, or [`Unbound`].
    pub row: R,
    /// The person.
    pub subject: S,
}

/// As [`OfSubject`], for a table whose rows are sealed under the keys of their subjects: it takes a
/// [`SubjectKeyring`](crate::SubjectKeyring) to seal and to open.
///
/// # Security
/// That a table has subject keys is declared in source, for the table and for good: rows that were sealed without them
/// are not shredded with their subject, and do not open with them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a list of arguments by name")]
pub struct UnderSubjectKey<R, S> {
    /// The row id, or [`Unbound`].
    pub row: R,
    /// The person.
    pub subject: S,
}

/// A row of a tenant: what [`row`](Self::row) says, in this tenant alone.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a list of arguments by name")]
pub struct InTenant<T, B> {
    /// The tenant: a [`TenantName`], text that is one, a UUID or an integer.
    pub tenant: T,
    /// The row id, [`Unbound`], or one of the two with a subject.
    pub row: B,
}

/// A row whose tokens are bound to a value of the application's own, too: the `extra` of the format, in most cases the
/// revision of the row.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a list of arguments by name")]
pub struct WithExtra<B, E> {
    /// The row, by what binds it otherwise.
    pub row: B,
    /// The value, encoded as a row id is: an integer, a UUID, text or bytes, of at most 1024 bytes encoded.
    pub extra: E,
}

/// Ids may name persons: none is shown.
macro_rules! debug_without_ids {
    ($($binding:ident),*) => {$(
        impl<A, B> fmt::Debug for $binding<A, B> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($binding), "(..)"))
            }
        }
    )*};
}
debug_without_ids!(OfSubject, UnderSubjectKey, InTenant, WithExtra);

/// A Rust type that can name a tenant.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot name a tenant",
    note = "tenants are `TenantName`, text of 1 to 128 bytes of A-Z a-z 0-9 _ . : -, `Uuid` or integers"
)]
pub trait AsTenant {
    /// The tenant. A UUID is its 36 lower-case characters with hyphens, an integer its decimal digits.
    ///
    /// # Errors
    /// [`Unsealable::Tenant`] for text that is no name.
    fn as_tenant(&self) -> Result<Cow<'_, TenantName>, Unsealable>;
}

impl AsTenant for TenantName {
    fn as_tenant(&self) -> Result<Cow<'_, TenantName>, Unsealable> {
        Ok(Cow::Borrowed(self))
    }
}

/// Tenants by the text that they are written as.
macro_rules! written_tenant {
    ($($t:ty: |$tenant:ident| $text:expr),*) => {$(
        impl AsTenant for $t {
            fn as_tenant(&self) -> Result<Cow<'_, TenantName>, Unsealable> {
                let $tenant = self;
                TenantName::new($text).map(Cow::Owned).map_err(|_| Unsealable::Tenant)
            }
        }
    )*};
}
written_tenant!(
    str: |tenant| tenant,
    String: |tenant| tenant.as_str(),
    Uuid: |tenant| tenant.hyphenated().to_string(),
    i16: |tenant| tenant.to_string(),
    i32: |tenant| tenant.to_string(),
    i64: |tenant| tenant.to_string(),
    u16: |tenant| tenant.to_string(),
    u32: |tenant| tenant.to_string(),
    u64: |tenant| tenant.to_string()
);

impl<T: AsTenant + ?Sized> AsTenant for &T {
    fn as_tenant(&self) -> Result<Cow<'_, TenantName>, Unsealable> {
        (**self).as_tenant()
    }
}

mod sealed {
    //! What binds rows is for this crate alone to say: a wrapper that forgot the subject would seal without it.

    /// Not nameable elsewhere.
    #[allow(unnameable_types, reason = "that is what it is for")]
    pub trait Sealed {}

    impl<T: super::AsRowId + ?Sized> Sealed for T {}
    impl Sealed for super::Unbound {}
    impl<R, S> Sealed for super::OfSubject<R, S> {}
    impl<R, S> Sealed for super::UnderSubjectKey<R, S> {}
    impl<T, B> Sealed for super::InTenant<T, B> {}
    impl<B, E> Sealed for super::WithExtra<B, E> {}
}

/// What a binding binds beside the row id: known from its type alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BindingUse {
    /// A tenant.
    pub tenant: bool,
    /// A person.
    pub subject: SubjectUse,
    /// A value of the application's own.
    pub extra: bool,
}

impl BindingUse {
    const NONE: Self = Self {
        tenant: false,
        subject: SubjectUse::None,
        extra: false,
    };
}

/// What a row has to do with a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum SubjectUse {
    /// Nothing.
    None,
    /// It is bound to the person.
    Bound,
    /// It is bound to the person, and sealed under that person's key.
    Keyed,
}

/// What binds a sealed row to its place: a row id or [`Unbound`]; one of the two with a subject; any of these in a tenant;
/// all of it with an `extra`. Not for users to implement; [`AsRowId`] is.
pub trait RowBinding: sealed::Sealed {
    /// What is bound beside the row id.
    #[doc(hidden)]
    const USE: BindingUse;

    /// The row id, or `None` for an unbound row.
    ///
    /// # Errors
    /// A row id that cannot be encoded.
    fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable>;

    /// The person that the row belongs to, where that is bound too.
    ///
    /// # Errors
    /// A subject that cannot be encoded.
    fn subject_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        Ok(None)
    }

    /// The tenant, where that is bound too.
    ///
    /// # Errors
    /// A tenant that is no name.
    fn tenant_binding(&self) -> Result<Option<Cow<'_, TenantName>>, Unsealable> {
        Ok(None)
    }

    /// The `extra` of every field of the row, where there is one.
    ///
    /// # Errors
    /// One that cannot be encoded.
    fn extra_binding(&self) -> Result<Option<Vec<u8>>, Unsealable> {
        Ok(None)
    }
}

/// A row id or [`Unbound`]: what can be bound together with a subject.
pub trait WithoutSubject: RowBinding {}

/// A row id, [`Unbound`], or one of the two with a subject: what can be bound together with a tenant.
pub trait WithoutTenant: RowBinding {}

/// Whatever has no `extra` yet.
pub trait WithoutExtra: RowBinding {}

impl<T: AsRowId + ?Sized> RowBinding for T {
    const USE: BindingUse = BindingUse::NONE;

    fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        self.as_row_id().map(Some)
    }
}

impl<T: AsRowId + ?Sized> WithoutSubject for T {}
impl<T: AsRowId + ?Sized> WithoutTenant for T {}
impl<T: AsRowId + ?Sized> WithoutExtra for T {}

impl RowBinding for Unbound {
    const USE: BindingUse = BindingUse::NONE;

    fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        Ok(None)
    }
}

impl WithoutSubject for Unbound {}
impl WithoutTenant for Unbound {}
impl WithoutExtra for Unbound {}

macro_rules! binding_with_subject {
    ($binding:ident, $use:expr) => {
        impl<R: WithoutSubject, S: AsRowId> RowBinding for $binding<R, S> {
            const USE: BindingUse = BindingUse {
                subject: $use,
                ..R::USE
            };

            fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
                self.row.row_binding()
            }

            fn subject_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
                self.subject.as_row_id().map(Some)
            }
        }

        impl<R: WithoutSubject, S: AsRowId> WithoutTenant for $binding<R, S> {}
        impl<R: WithoutSubject, S: AsRowId> WithoutExtra for $binding<R, S> {}
    };
}
binding_with_subject!(OfSubject, SubjectUse::Bound);
binding_with_subject!(UnderSubjectKey, SubjectUse::Keyed);

impl<T: AsTenant, B: WithoutTenant> RowBinding for InTenant<T, B> {
    const USE: BindingUse = BindingUse {
        tenant: true,
        ..B::USE
    };

    fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        self.row.row_binding()
    }

    fn subject_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        self.row.subject_binding()
    }

    fn tenant_binding(&self) -> Result<Option<Cow<'_, TenantName>>, Unsealable> {
        self.tenant.as_tenant().map(Some)
    }
}

impl<T: AsTenant, B: WithoutTenant> WithoutExtra for InTenant<T, B> {}

impl<B: WithoutExtra, E: AsRowId> RowBinding for WithExtra<B, E> {
    const USE: BindingUse = BindingUse {
        extra: true,
        ..B::USE
    };

    fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        self.row.row_binding()
    }

    fn subject_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        self.row.subject_binding()
    }

    fn tenant_binding(&self) -> Result<Option<Cow<'_, TenantName>>, Unsealable> {
        self.row.tenant_binding()
    }

    fn extra_binding(&self) -> Result<Option<Vec<u8>>, Unsealable> {
        let mut extra = Vec::with_capacity(16);
        self.extra.as_row_id()?.encode(&mut extra)?;
        Ok(Some(extra))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Row;
    use crate::name::TableName;

    #[test]
    fn tenants_are_what_they_are_written_as() {
        let name = |tenant: &dyn AsTenant| tenant.as_tenant().map(|tenant| tenant.to_string());
        assert_eq!(name(&TenantName::from_static("t1")), Ok("t1".to_owned()));
        assert_eq!(name(&"t1"), Ok("t1".to_owned()));
        assert_eq!(name(&String::from("t1")), Ok("t1".to_owned()));
        assert_eq!(name(&-7_i64), Ok("-7".to_owned()));
        assert_eq!(name(&u64::MAX), Ok("18446744073709551615".to_owned()));
        assert_eq!(
            name(&Uuid::from_u128(0xAB)),
            Ok("00000000-0000-0000-0000-0000000000ab".to_owned())
        );
        for wrong in ["", "two words", "ümlaut", &"x".repeat(129)] {
            assert_eq!(name(&wrong), Err(Unsealable::Tenant));
        }
    }

    #[test]
    fn debug_shows_no_ids() {
        let row = OfSubject {
            row: "MRN-4711",
            subject: "4711",
        };
        let row = WithExtra {
            row: InTenant { tenant: "north", row },
            extra: "4711",
        };
        let table = TableName::from_static("visits");
        let shown = format!("{row:?} {:?} {:?}", row.row, Row::new(&table, &row).unwrap());
        assert!(!shown.contains("4711") && !shown.contains("52, 55"), "{shown}");
    }

    /// The use that a column knows from a type is the use of every row made with it.
    #[test]
    fn the_use_of_a_type_is_the_use_of_its_rows() {
        fn check<B: RowBinding>(binding: &B) -> BindingUse {
            let table = TableName::from_static("t");
            let row = Row::new(&table, binding).unwrap();
            assert_eq!(row.binding_use(), B::USE);
            assert_eq!(row.extra().is_some(), B::USE.extra);
            B::USE
        }
        let of = OfSubject {
            row: 1_i64,
            subject: 2_i64,
        };
        let uses = [
            check(&1_i64),
            check(&of),
            check(&UnderSubjectKey {
                row: Unbound,
                subject: 2_i64,
            }),
            check(&InTenant {
                tenant: "a",
                row: 1_i64,
            }),
            check(&WithExtra {
                row: 1_i64,
                extra: 3_i64,
            }),
            check(&InTenant { tenant: "a", row: of }),
            check(&WithExtra {
                row: InTenant { tenant: "a", row: of },
                extra: 3_i64,
            }),
        ];
        for (i, a) in uses.iter().enumerate() {
            assert!(uses.iter().skip(i + 1).all(|b| a != b));
        }
        assert_eq!(check(&Unbound), check(&1_i64));
    }
}
