//! Identities (format §2, §8.1): which row, which field, which key. Encoded injectively by `LP`, never stored in a token.

use std::borrow::Cow;

use uuid::Uuid;

use crate::error::Unsealable;
use crate::key::KeyId;
use crate::lp;
use crate::name::{AppName, ColumnName, RingName, ScopeName, TableName, TenantName};
use crate::record::KeyUse;
use crate::subject_key::{SubjectError, SubjectKey, SubjectKeys};
use crate::token::Suite;
use crate::uid::Uid;

/// Longest text or bytes row id, and longest `extra`, in bytes.
const MAX_PART: usize = 1024;
/// Longest composite row id, in bytes, with its type letter.
const MAX_COMPOSITE: usize = 4096;
/// Most parts of a composite row id.
const MAX_PARTS: usize = 16;

/// A row id, typed, so that `42`, `"42"` and the bytes `42` are three different rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowId<'a> {
    /// A signed integer.
    Integer(i64),
    /// A UUID, in RFC 9562 byte order.
    Uuid(Uuid),
    /// Text of at most 1024 bytes, as given: no normalization.
    Text(Cow<'a, str>),
    /// Bytes, at most 1024.
    Bytes(Cow<'a, [u8]>),
    /// 1–16 parts, not nested, at most 4096 bytes encoded.
    Composite(Vec<Self>),
}

impl RowId<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unsealable> {
        match self {
            Self::Composite(parts) => encode_composite(parts, out),
            single => single.encode_part(out),
        }
    }

    fn encode_part(&self, out: &mut Vec<u8>) -> Result<(), Unsealable> {
        let (letter, bytes): (u8, &[u8]) = match self {
            Self::Integer(id) => (b'i', &id.to_be_bytes()),
            Self::Uuid(id) => (b'u', id.as_bytes()),
            Self::Text(id) => (b's', id.as_bytes()),
            Self::Bytes(id) => (b'b', id),
            Self::Composite(_) => return Err(Unsealable::RowId),
        };
        if bytes.len() > MAX_PART {
            return Err(Unsealable::RowId);
        }
        out.push(letter);
        out.extend_from_slice(bytes);
        Ok(())
    }
}

fn encode_composite(parts: &[RowId<'_>], out: &mut Vec<u8>) -> Result<(), Unsealable> {
    if parts.is_empty() || parts.len() > MAX_PARTS {
        return Err(Unsealable::RowId);
    }
    let encoded = parts.iter().map(|part| {
        let mut bytes = Vec::new();
        part.encode_part(&mut bytes).map(|()| bytes)
    });
    let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
    let list = lp::encode(&encoded.iter().map(Vec::as_slice).collect::<Vec<_>>());
    if list.len() + 1 > MAX_COMPOSITE {
        return Err(Unsealable::RowId);
    }
    out.push(b'c');
    out.extend_from_slice(&list);
    Ok(())
}

/// A Rust type that can be a row id, or name the person that a row belongs to.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a row id or a subject",
    note = "row ids and subjects are integers that fit i64, `Uuid`, `Uid`, text or bytes"
)]
pub trait AsRowId {
    /// The row id.
    ///
    /// # Errors
    /// An unsigned integer above `i64::MAX`.
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable>;
}

macro_rules! integer_row_id {
    ($($t:ty),*) => {$(
        impl AsRowId for $t {
            fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
                i64::try_from(*self).map(RowId::Integer).map_err(|_| Unsealable::IntegerRange)
            }
        }
    )*};
}
integer_row_id!(i8, i16, i32, i64, u8, u16, u32, u64);

impl AsRowId for Uid {
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
        Ok(RowId::Uuid(*self.as_uuid()))
    }
}

impl AsRowId for Uuid {
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
        Ok(RowId::Uuid(*self))
    }
}

impl AsRowId for str {
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
        Ok(RowId::Text(Cow::Borrowed(self)))
    }
}

impl AsRowId for String {
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
        self.as_str().as_row_id()
    }
}

impl AsRowId for [u8] {
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
        Ok(RowId::Bytes(Cow::Borrowed(self)))
    }
}

impl AsRowId for Vec<u8> {
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
        self.as_slice().as_row_id()
    }
}

impl AsRowId for RowId<'_> {
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
        Ok(self.clone())
    }
}

impl<T: AsRowId + ?Sized> AsRowId for &T {
    fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
        (**self).as_row_id()
    }
}

/// In the place of a row id: the row is **unbound**. Its tokens can be moved between rows of the same column by
/// somebody who writes to the database, and still open. An explicit choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a unit that users write")]
pub struct Unbound;

mod sealed {
    //! What binds rows is for this crate alone to say: a wrapper that forgot the subject would seal without it.

    /// Not nameable elsewhere.
    #[allow(unnameable_types, reason = "that is what it is for")]
    pub trait Sealed {}

    impl<T: super::AsRowId + ?Sized> Sealed for T {}
    impl Sealed for super::Unbound {}
    impl<R, S> Sealed for super::OfSubject<R, S> {}
    impl<R, S> Sealed for super::UnderSubjectKey<R, S> {}
}

/// What binds a sealed row to its place: a row id, [`Unbound`], or one of the two with a subject. Not for users to
/// implement; [`AsRowId`] is.
pub trait RowBinding: sealed::Sealed {
    /// The row id, or `None` for an unbound row.
    ///
    /// # Errors
    /// A row id that cannot be encoded.
    fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable>;

    /// The person that the row belongs to, where that is bound too.
    ///
    /// # Errors
    /// A subject that cannot be encoded.
    fn subject_binding(&self) -> Result<Option<RowId<'_>>, Unsealable>;

    /// Whether the person is bound, and whether the row is sealed under that person's key.
    fn subject_use(&self) -> SubjectUse;
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

/// What binds the rows of a column, known from its type alone.
pub trait ColumnBinding: RowBinding {
    /// Whether a person is bound, and whether rows are sealed under that person's key.
    #[doc(hidden)]
    const SUBJECT: SubjectUse;
}

/// A row id or [`Unbound`]: what can be bound together with a subject.
pub trait WithoutSubject: RowBinding {}

impl<T: AsRowId + ?Sized> RowBinding for T {
    fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        self.as_row_id().map(Some)
    }

    fn subject_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        Ok(None)
    }

    fn subject_use(&self) -> SubjectUse {
        SubjectUse::None
    }
}

impl<T: AsRowId + ?Sized> ColumnBinding for T {
    const SUBJECT: SubjectUse = SubjectUse::None;
}

impl<T: AsRowId + ?Sized> WithoutSubject for T {}

impl RowBinding for Unbound {
    fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        Ok(None)
    }

    fn subject_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
        Ok(None)
    }

    fn subject_use(&self) -> SubjectUse {
        SubjectUse::None
    }
}

impl ColumnBinding for Unbound {
    const SUBJECT: SubjectUse = SubjectUse::None;
}

impl WithoutSubject for Unbound {}

/// A row id together with the person that the row belongs to: both are bound.
///
/// Give it where a row reaches its person through a plain column: otherwise somebody who writes to the database
/// re-assigns the row by editing that column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a list of arguments by name")]
pub struct UnderSubjectKey<R, S> {
    /// The row id, or [`Unbound`].
    pub row: R,
    /// The person.
    pub subject: S,
}

macro_rules! binding_with_subject {
    ($binding:ident, $use:expr) => {
        impl<R: WithoutSubject, S: AsRowId> RowBinding for $binding<R, S> {
            fn row_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
                self.row.row_binding()
            }

            fn subject_binding(&self) -> Result<Option<RowId<'_>>, Unsealable> {
                self.subject.as_row_id().map(Some)
            }

            fn subject_use(&self) -> SubjectUse {
                $use
            }
        }

        impl<R: WithoutSubject, S: AsRowId> ColumnBinding for $binding<R, S> {
            const SUBJECT: SubjectUse = $use;
        }
    };
}
binding_with_subject!(OfSubject, SubjectUse::Bound);
binding_with_subject!(UnderSubjectKey, SubjectUse::Keyed);

/// The identity of a row: `ROW = LP(app, opt(tenant), table, opt(row id), opt(subject))` (format §2).
///
/// A token opens only under the identity that it was sealed with.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    table: &'a TableName,
    tenant: Option<&'a TenantName>,
    row_id: Option<RowId<'a>>,
    subject: Option<RowId<'a>>,
    /// Sealed under the subject's key.
    keyed: bool,
    key: Option<&'a SubjectKey>,
}

impl<'a> Row<'a> {
    /// The row of `table` with this id; [`Unbound`] in the place of an id makes an unbound row.
    ///
    /// # Errors
    /// An integer id above `i64::MAX`.
    pub fn new(table: &'a TableName, binding: &'a (impl RowBinding + ?Sized)) -> Result<Self, Unsealable> {
        Ok(Self {
            table,
            tenant: None,
            row_id: binding.row_binding()?,
            subject: binding.subject_binding()?,
            keyed: binding.subject_use() == SubjectUse::Keyed,
            key: None,
        })
    }

    /// The tenant that the row belongs to.
    #[must_use]
    pub fn with_tenant(mut self, tenant: &'a TenantName) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// The person that the row belongs to.
    ///
    /// # Security
    /// Give it for every row that reaches its person through a plain column: otherwise somebody who writes to the
    /// database re-assigns the row by editing that column.
    ///
    /// # Errors
    /// An integer above `i64::MAX`.
    pub fn with_subject(mut self, subject: &'a (impl AsRowId + ?Sized)) -> Result<Self, Unsealable> {
        self.subject = Some(subject.as_row_id()?);
        Ok(self)
    }

    /// The person that the row belongs to, under whose key it is sealed (format §8.3).
    ///
    /// # Errors
    /// An integer above `i64::MAX`.
    pub fn with_subject_key(
        self,
        subject: &'a (impl AsRowId + ?Sized),
        key: &'a SubjectKey,
    ) -> Result<Self, Unsealable> {
        let mut row = self.with_subject(subject)?;
        (row.keyed, row.key) = (true, Some(key));
        Ok(row)
    }

    /// The key of the row's subject, where rows are sealed under it: the one given with the row, or one of `subjects`.
    /// `None` for a row without subject keys.
    pub(crate) fn subject_key<'k>(
        &self,
        ring: &RingName,
        subjects: Option<&'k dyn SubjectKeys>,
    ) -> Result<Option<&'k SubjectKey>, SubjectError>
    where
        'a: 'k,
    {
        if !self.keyed {
            return Ok(None);
        }
        let mut subject = Vec::with_capacity(32);
        let id = self.subject.as_ref().ok_or(SubjectError::NoSecret)?;
        id.encode(&mut subject)?;
        let key = match (self.key, subjects) {
            (Some(key), _) => key,
            (None, Some(subjects)) => subjects.subject_key(self.tenant, &subject)?,
            (None, None) => return Err(SubjectError::NoSecret),
        };
        // Whatever the source of keys says: never the key of somebody else.
        let same = key.is_of(ring, self.tenant, &subject);
        same.then_some(Some(key)).ok_or(SubjectError::Authentication)
    }

    /// What the row has to do with a person.
    pub(crate) fn subject_use(&self) -> SubjectUse {
        match (&self.subject, self.keyed) {
            (_, true) => SubjectUse::Keyed,
            (Some(_), false) => SubjectUse::Bound,
            (None, false) => SubjectUse::None,
        }
    }

    pub(crate) fn table(&self) -> &TableName {
        self.table
    }

    pub(crate) fn tenant(&self) -> Option<&TenantName> {
        self.tenant
    }

    /// `ROW`
    pub(crate) fn encode(&self, app: &AppName) -> Result<Vec<u8>, Unsealable> {
        let mut out = Vec::with_capacity(128);
        let mut ids = Vec::with_capacity(32);
        let mut list = lp::Writer::new(&mut out, 5);
        list.element(app.as_bytes())
            .optional(self.tenant.map(TenantName::as_bytes))
            .element(self.table.as_bytes());
        for id in [&self.row_id, &self.subject] {
            ids.clear();
            if let Some(id) = id {
                id.encode(&mut ids)?;
            }
            list.optional(id.is_some().then_some(ids.as_slice()));
        }
        Ok(out)
    }
}

/// Appends `FIELD = LP(column, opt(extra))` (format §2).
pub(crate) fn encode_field(
    column: &ColumnName,
    extra: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Unsealable> {
    if extra.is_some_and(|extra| extra.len() > MAX_PART) {
        return Err(Unsealable::Extra);
    }
    lp::Writer::new(out, 2).element(column.as_bytes()).optional(extra);
    Ok(())
}

/// The identity of a key record: `KREC = LP("phield.v1.keyrec", ring, u32(key id), suite byte, use, opt(scope))`
/// (format §8.1). Wraps and check values are bound to it.
///
/// A type that holds checked names and numbers only: nothing a user typed can reach a provider through it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyContext {
    /// The ring.
    pub ring: RingName,
    /// The id of the key.
    pub key_id: KeyId,
    /// The suite of a data key; `None` for every other use.
    pub suite: Option<Suite>,
    /// What the key is for.
    pub key_use: KeyUse,
    /// What the key serves.
    pub scope: Option<ScopeName>,
    /// Which share of a key under dual control; `None` for a whole key.
    pub share: Option<Share>,
}

/// One of the two shares of a key under dual control (format §8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a split is in two")]
pub enum Share {
    /// The first, random.
    First,
    /// The second, the key ⊕ the first.
    Second,
}

impl Share {
    fn byte(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }
}

impl KeyContext {
    /// `KREC`; for a share `LP("phield.v1.share", KREC, number of the share)`
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        lp::Writer::new(&mut out, 6)
            .element(b"phield.v1.keyrec")
            .element(self.ring.as_bytes())
            .element(&self.key_id.to_bytes())
            .element(&[self.suite.map_or(0, Suite::byte)])
            .element(self.key_use.as_str().as_bytes())
            .optional(self.scope.as_ref().map(ScopeName::as_bytes));
        match self.share {
            Some(share) => lp::encode(&[b"phield.v1.share".as_slice(), &out, &[share.byte()]]),
            None => out,
        }
    }

    /// The same for a provider that takes pairs, the encryption context of AWS KMS. Public by design; no PHI can be in
    /// them.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("phield:v", "1".to_owned()),
            ("phield:ring", self.ring.to_string()),
            ("phield:key", self.key_id.to_string()),
            (
                "phield:suite",
                format!("{:02x}", self.suite.map_or(0, Suite::byte)),
            ),
            ("phield:use", self.key_use.to_string()),
        ];
        pairs.extend(
            self.scope
                .as_ref()
                .map(|scope| ("phield:scope", scope.to_string())),
        );
        pairs.extend(self.share.map(|share| ("phield:share", share.byte().to_string())));
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static TABLE: TableName = TableName::from_static("patients");

    fn encoded(row: &Row<'_>) -> Vec<u8> {
        row.encode(&AppName::from_static("emr")).unwrap()
    }

    #[test]
    fn row_ids_of_different_types_do_not_collide() {
        let composite = RowId::Composite(vec![RowId::Integer(42)]);
        let ids: [&dyn RowBinding; 6] = [&42_i64, &"42", &b"42".to_vec(), &composite, &Unbound, &""];
        let rows: Vec<_> = ids.iter().map(|id| encoded(&row(&**id))).collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                assert_eq!(i == j, a == b);
            }
        }
    }

    fn row<'a>(id: &'a dyn RowBinding) -> Row<'a> {
        Row {
            table: &TABLE,
            tenant: None,
            row_id: id.row_binding().unwrap(),
            subject: None,
            keyed: false,
            key: None,
        }
    }

    #[test]
    fn limits_of_row_ids() {
        let text = |n: usize| RowId::Text("x".repeat(n).into());
        let encode = |id: &RowId<'_>| id.encode(&mut Vec::new());
        assert_eq!(encode(&text(1024)), Ok(()));
        assert_eq!(encode(&text(0)), Ok(()));
        assert_eq!(encode(&text(1025)), Err(Unsealable::RowId));
        assert_eq!(
            encode(&RowId::Bytes(vec![0; 1025].into())),
            Err(Unsealable::RowId)
        );
        assert_eq!(encode(&RowId::Composite(vec![])), Err(Unsealable::RowId));
        assert_eq!(
            encode(&RowId::Composite(vec![text(1); 17])),
            Err(Unsealable::RowId)
        );
        assert_eq!(encode(&RowId::Composite(vec![text(1); 16])), Ok(()));
        assert_eq!(
            encode(&RowId::Composite(vec![RowId::Composite(vec![text(1)])])),
            Err(Unsealable::RowId)
        );
        // 'c', count 4, 3 × (length 4, letter, 1018), then length 4, letter and 1017: exactly 4096.
        let of = |last: usize| RowId::Composite(vec![text(1018), text(1018), text(1018), text(last)]);
        assert_eq!(encode(&of(1017)), Ok(()));
        assert_eq!(encode(&of(1018)), Err(Unsealable::RowId));
        assert_eq!(
            encode(&RowId::Composite(vec![text(1024); 4])),
            Err(Unsealable::RowId)
        );
        assert_eq!((u64::MAX).as_row_id(), Err(Unsealable::IntegerRange));
        assert_eq!((i64::MAX as u64).as_row_id(), Ok(RowId::Integer(i64::MAX)));
    }

    #[test]
    fn extra_is_limited() {
        let column = ColumnName::from_static("ssn");
        assert_eq!(encode_field(&column, Some(&[0; 1024]), &mut Vec::new()), Ok(()));
        assert_eq!(
            encode_field(&column, Some(&[0; 1025]), &mut Vec::new()),
            Err(Unsealable::Extra)
        );
    }

    fn any_id() -> impl Strategy<Value = Option<RowId<'static>>> {
        let part = prop_oneof![
            any::<i64>().prop_map(RowId::Integer),
            any::<u128>().prop_map(|n| RowId::Uuid(Uuid::from_u128(n))),
            ".{0,9}".prop_map(|t| RowId::Text(t.into())),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(|b| RowId::Bytes(b.into())),
        ];
        let composite = proptest::collection::vec(part.clone(), 1..4).prop_map(RowId::Composite);
        proptest::option::of(prop_oneof![part, composite])
    }

    fn any_name() -> impl Strategy<Value = String> {
        "[a-c.]{1,3}"
    }

    proptest! {
        /// two identities have the same bytes exactly when they are the same identity.
        #[test]
        fn row_is_injective(
            a in (any_name(), proptest::option::of(any_name()), any_name(), any_id(), any_id()),
            b in (any_name(), proptest::option::of(any_name()), any_name(), any_id(), any_id()),
        ) {
            let bytes = |(app, tenant, table, row_id, subject): &(String, Option<String>, String, Option<RowId<'static>>, Option<RowId<'static>>)| {
                let tenant = tenant.clone().map(|t| TenantName::new(t).unwrap());
                let table = TableName::new(table.clone()).unwrap();
                let row = Row { table: &table, tenant: tenant.as_ref(), row_id: row_id.clone(), subject: subject.clone(), keyed: false, key: None };
                row.encode(&AppName::new(app.clone()).unwrap()).unwrap()
            };
            prop_assert_eq!(bytes(&a) == bytes(&b), a == b);
        }

        #[test]
        fn field_is_injective(a in (any_name(), proptest::option::of(any::<Vec<u8>>())), b in (any_name(), proptest::option::of(any::<Vec<u8>>()))) {
            let bytes = |(column, extra): &(String, Option<Vec<u8>>)| {
                let mut out = Vec::new();
                encode_field(&ColumnName::new(column.clone()).unwrap(), extra.as_deref(), &mut out).unwrap();
                out
            };
            prop_assert_eq!(bytes(&a) == bytes(&b), a == b);
        }
    }
}
