//! Identities (format §2, §8.1): which row, which field, which key. Encoded injectively by `LP`, never stored in a token.

use std::borrow::Cow;
use std::fmt;

use crate::binding::{BindingUse, RowBinding, SubjectUse};
use crate::error::Unsealable;
use crate::key::KeyId;
use crate::lp;
use crate::name::{AppName, ColumnName, RingName, ScopeName, TableName, TenantName};
use crate::record::KeyUse;
use crate::reseal::RowIdentity;
use crate::row_id::{AsRowId, MAX_PART, RowId};
use crate::subject_key::{SubjectError, SubjectKey, SubjectKeys};
use crate::token::Suite;

/// The identity of a row: `ROW = LP(app, opt(tenant), table, opt(row id), opt(subject))` (format §2).
///
/// A token opens only under the identity that it was sealed with.
#[derive(Clone)]
pub struct Row<'a> {
    table: &'a TableName,
    tenant: Option<Cow<'a, TenantName>>,
    row_id: Option<RowId<'a>>,
    subject: Option<RowId<'a>>,
    /// Sealed under the subject's key.
    keyed: bool,
    key: Option<&'a SubjectKey>,
    /// Of every field that has none of its own.
    extra: Option<Vec<u8>>,
}

// The id of a row, and its `extra`, may name a person.
impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({}, {:?})", self.table, self.binding_use())
    }
}

impl<'a> Row<'a> {
    /// The row of `table` with this id; [`Unbound`](crate::Unbound) in the place of an id makes an unbound row.
    ///
    /// # Errors
    /// An integer id above `i64::MAX`, or a tenant that is no name.
    pub fn new<B: RowBinding + ?Sized>(table: &'a TableName, binding: &'a B) -> Result<Self, Unsealable> {
        Ok(Self {
            table,
            tenant: binding.tenant_binding()?,
            row_id: binding.row_binding()?,
            subject: binding.subject_binding()?,
            keyed: matches!(B::USE.subject, SubjectUse::Keyed),
            key: None,
            extra: binding.extra_binding()?,
        })
    }

    /// The row with an identity that was read from its columns.
    pub(crate) fn of_identity(
        table: &'a TableName,
        identity: &'a RowIdentity,
        keyed: bool,
    ) -> Result<Self, Unsealable> {
        let extra = identity.extra.as_ref().map(|extra| {
            let mut bytes = Vec::with_capacity(16);
            extra.encode(&mut bytes).map(|()| bytes)
        });
        Ok(Self {
            table,
            tenant: identity.tenant.as_ref().map(Cow::Borrowed),
            row_id: identity.row_id.clone(),
            subject: identity.subject.clone(),
            keyed,
            key: None,
            extra: extra.transpose()?,
        })
    }

    /// The tenant that the row belongs to.
    #[must_use]
    pub fn with_tenant(mut self, tenant: &'a TenantName) -> Self {
        self.tenant = Some(Cow::Borrowed(tenant));
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
            (None, Some(subjects)) => subjects.subject_key(self.tenant(), &subject)?,
            (None, None) => return Err(SubjectError::NoSecret),
        };
        // Whatever the source of keys says: never the key of somebody else.
        let same = key.is_of(ring, self.tenant(), &subject);
        same.then_some(Some(key)).ok_or(SubjectError::Authentication)
    }

    /// What the row is bound to beside its id.
    pub(crate) fn binding_use(&self) -> BindingUse {
        let subject = match (&self.subject, self.keyed) {
            (_, true) => SubjectUse::Keyed,
            (Some(_), false) => SubjectUse::Bound,
            (None, false) => SubjectUse::None,
        };
        BindingUse {
            tenant: self.tenant.is_some(),
            subject,
            extra: self.extra.is_some(),
        }
    }

    /// The `extra` of every field that has none of its own.
    pub(crate) fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    pub(crate) fn table(&self) -> &TableName {
        self.table
    }

    pub(crate) fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_deref()
    }

    /// `ROW`
    pub(crate) fn encode(&self, app: &AppName) -> Result<Vec<u8>, Unsealable> {
        let mut out = Vec::with_capacity(128);
        let mut list = lp::Writer::new(&mut out, 5);
        list.element(app.as_bytes())
            .optional(self.tenant().map(TenantName::as_bytes))
            .element(self.table.as_bytes());
        for id in [&self.row_id, &self.subject] {
            match id {
                Some(id) => list.present(|out| id.encode(out))?,
                None => list.optional(None),
            };
        }
        Ok(out)
    }
}

/// Appends `FIELD = LP(column, opt(extra))` (format §2).
#[inline]
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
    /// A whole key without suite and scope; the fields say the rest.
    #[must_use]
    pub fn new(ring: RingName, key_id: KeyId, key_use: KeyUse) -> Self {
        Self {
            ring,
            key_id,
            suite: None,
            key_use,
            scope: None,
            share: None,
        }
    }

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
    use crate::binding::Unbound;
    use proptest::prelude::*;
    use uuid::Uuid;

    static TABLE: TableName = TableName::from_static("patients");

    fn encoded(row: &Row<'_>) -> Vec<u8> {
        row.encode(&AppName::from_static("emr")).unwrap()
    }

    #[test]
    fn row_ids_of_different_types_do_not_collide() {
        let composite = RowId::Composite(vec![RowId::Integer(42)]);
        let bytes = b"42".to_vec();
        let rows = [
            row(&42_i64),
            row("42"),
            row(&bytes),
            row(&composite),
            row(&Unbound),
            row(""),
        ];
        let rows: Vec<_> = rows.iter().map(encoded).collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                assert_eq!(i == j, a == b);
            }
        }
    }

    fn row(id: &(impl RowBinding + ?Sized)) -> Row<'_> {
        Row::new(&TABLE, id).unwrap()
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
                let row = Row { table: &table, tenant: tenant.map(Cow::Owned), row_id: row_id.clone(), subject: subject.clone(), keyed: false, key: None, extra: None };
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
