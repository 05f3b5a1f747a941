//! Identities (format §2, §8.1) and the list encoding under them: injective, and decoded again.

use super::input::Input;
use crate::binding::Unbound;
use crate::context::{self, KeyContext, Row, Share};
use crate::error::Unsealable;
use crate::key::KeyId;
use crate::lp;
use crate::name::{AppName, ColumnName, RingName, ScopeName, TableName, TenantName};
use crate::record::KeyUse;
use crate::row_id::{AsRowId, RowId};
use crate::token::Suite;

/// Longest text or bytes row id and longest `extra`; most parts and longest encoding of a composite row id.
const MAX_PART: usize = 1024;
const MAX_PARTS: usize = 16;
const MAX_COMPOSITE: usize = 4096;

/// Any bytes as a list, and pairs of identities: equal bytes exactly where the identities are equal.
pub fn identity(data: &[u8]) {
    lists(data);
    let mut input = Input::new(data);
    let near = input.u8();
    let (app, other_app) = (input.name(), input.optional(Input::name));
    let a = Place::read(&mut input);
    // Most pairs differ in one part: two that have nothing in common prove little.
    let b = match near & 1 {
        0 => a.changed(&mut input),
        _ => Place::read(&mut input),
    };
    let app = AppName::new(app).unwrap();
    let other_app = other_app.map_or_else(|| app.clone(), |name| AppName::new(name).unwrap());
    rows((&app, &a), (&other_app, &b));
    fields(&a, &b);
    let a = key_context(&mut input);
    let b = match near & 2 {
        0 => changed_context(&a, &mut input),
        _ => key_context(&mut input),
    };
    assert_eq!(a.encode() == b.encode(), a == b);
    assert_key_context(&a);
    let split = input.u8();
    list_of(&mut input, split);
}

/// The place of a field: everything that its token is bound to but the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tenant: Option<TenantName>,
    pub(super) table: TableName,
    pub(super) row_id: Option<RowId<'static>>,
    pub(super) subject: Option<RowId<'static>>,
    pub(super) column: ColumnName,
    pub(super) extra: Option<Vec<u8>>,
}

impl Place {
    pub(super) fn read(input: &mut Input<'_>) -> Self {
        Self {
            tenant: input.optional(|input| TenantName::new(input.name()).unwrap()),
            table: TableName::new(input.name()).unwrap(),
            row_id: input.optional(Input::row_id),
            subject: input.optional(Input::row_id),
            column: ColumnName::new(input.name()).unwrap(),
            extra: input.optional(Input::bytes),
        }
    }

    /// This place with one part read anew, perhaps as it was; or with two parts that have changed places.
    pub(super) fn changed(&self, input: &mut Input<'_>) -> Self {
        let mut place = self.clone();
        match input.u8() % 9 {
            0 => place.tenant = input.optional(|input| TenantName::new(input.name()).unwrap()),
            1 => place.table = TableName::new(input.name()).unwrap(),
            2 => place.row_id = input.optional(Input::row_id),
            3 => place.subject = input.optional(Input::row_id),
            4 => place.column = ColumnName::new(input.name()).unwrap(),
            5 => place.extra = input.optional(Input::bytes),
            6 => std::mem::swap(&mut place.row_id, &mut place.subject),
            7 => {
                place.table = TableName::new(self.column.as_str()).unwrap();
                place.column = ColumnName::new(self.table.as_str()).unwrap();
            }
            _ => place.row_id = place.row_id.map(retyped),
        }
        place
    }

    pub(super) fn with_row<R>(&self, f: impl FnOnce(&Row<'_>) -> R) -> R {
        let row = match &self.row_id {
            Some(id) => Row::new(&self.table, id),
            None => Row::new(&self.table, &Unbound),
        };
        let mut row = row.unwrap();
        if let Some(tenant) = &self.tenant {
            row = row.with_tenant(tenant);
        }
        if let Some(subject) = &self.subject {
            row = row.with_subject(subject).unwrap();
        }
        f(&row)
    }

    pub(super) fn row(&self, app: &AppName) -> Result<Vec<u8>, Unsealable> {
        self.with_row(|row| row.encode(app))
    }

    pub(super) fn field(&self) -> Result<Vec<u8>, Unsealable> {
        let mut field = Vec::new();
        context::encode_field(&self.column, self.extra.as_deref(), &mut field)?;
        Ok(field)
    }

    /// Whether the format has an encoding for the row (§2).
    pub(super) fn row_is_encodable(&self) -> bool {
        let encodable = |id: &Option<RowId<'_>>| id.as_ref().is_none_or(is_encodable);
        encodable(&self.row_id) && encodable(&self.subject)
    }

    pub(super) fn extra_is_encodable(&self) -> bool {
        self.extra.as_ref().is_none_or(|extra| extra.len() <= MAX_PART)
    }
}

/// The same bytes as another type of row id.
fn retyped(id: RowId<'static>) -> RowId<'static> {
    match id {
        RowId::Integer(n) => RowId::Text(n.to_string().into()),
        RowId::Uuid(uuid) => RowId::Bytes(uuid.as_bytes().to_vec().into()),
        RowId::Text(text) => RowId::Bytes(text.into_owned().into_bytes().into()),
        RowId::Bytes(bytes) => RowId::Composite(vec![RowId::Bytes(bytes)]),
        RowId::Composite(mut parts) => parts.pop().unwrap_or(RowId::Integer(0)),
    }
}

/// The length of a row id that is no composite, without its type letter.
fn part_len(id: &RowId<'_>) -> Option<usize> {
    match id {
        RowId::Integer(_) => Some(8),
        RowId::Uuid(_) => Some(16),
        RowId::Text(text) => Some(text.len()),
        RowId::Bytes(bytes) => Some(bytes.len()),
        RowId::Composite(_) => None,
    }
}

fn is_encodable(id: &RowId<'_>) -> bool {
    let RowId::Composite(parts) = id else {
        return part_len(id).is_some_and(|len| len <= MAX_PART);
    };
    let lengths = parts
        .iter()
        .map(|part| part_len(part).filter(|len| *len <= MAX_PART));
    let sum = lengths
        .map(|len| Some(len? + 5))
        .try_fold(5, |sum, len| Some(sum + len?));
    (1..=MAX_PARTS).contains(&parts.len()) && sum.is_some_and(|sum| sum <= MAX_COMPOSITE)
}

/// `ROW` is injective: over the pair, and because it decodes to what was encoded.
fn rows(a: (&AppName, &Place), b: (&AppName, &Place)) {
    let row = |(app, place): (&AppName, &Place)| {
        let row = place.row(app);
        assert_eq!(row.is_ok(), place.row_is_encodable(), "{place:?}");
        row.ok().inspect(|row| assert_row(app, place, row))
    };
    let parts = |(app, place): (&AppName, &Place)| {
        let place = place.clone();
        (
            app.clone(),
            place.tenant,
            place.table,
            place.row_id,
            place.subject,
        )
    };
    if let (Some(row_a), Some(row_b)) = (row(a), row(b)) {
        assert_eq!(row_a == row_b, parts(a) == parts(b), "{a:?} {b:?}");
    }
}

fn assert_row(app: &AppName, place: &Place, row: &[u8]) {
    let [app_bytes, tenant, table, row_id, subject] = lp::decode(row).unwrap();
    let tenant = lp::decode_optional(tenant).unwrap();
    assert_eq!(app_bytes, app.as_bytes());
    assert_eq!(tenant, place.tenant.as_ref().map(TenantName::as_bytes));
    assert_eq!(table, place.table.as_bytes());
    let decoded = |id| {
        lp::decode_optional(id)
            .unwrap()
            .map(|id| decode_row_id(id).unwrap())
    };
    assert_eq!(decoded(row_id), place.row_id);
    assert_eq!(decoded(subject), place.subject);
    assert_exact(row);
}

/// The reading of §2 that phield itself never needs.
fn decode_row_id(bytes: &[u8]) -> Option<RowId<'_>> {
    let (letter, value) = bytes.split_first()?;
    Some(match letter {
        b'i' => RowId::Integer(i64::from_be_bytes(value.try_into().ok()?)),
        b'u' => RowId::Uuid(uuid::Uuid::from_slice(value).ok()?),
        b's' => RowId::Text(std::str::from_utf8(value).ok()?.into()),
        b'b' => RowId::Bytes(value.into()),
        b'c' => RowId::Composite(
            lp::decode_list(value)?
                .into_iter()
                .map(decode_row_id)
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

fn fields(a: &Place, b: &Place) {
    let field = |place: &Place| {
        let field = place.field();
        assert_eq!(field.is_ok(), place.extra_is_encodable());
        let field = field.ok()?;
        let [column, extra] = lp::decode(&field).unwrap();
        assert_eq!(column, place.column.as_bytes());
        assert_eq!(lp::decode_optional(extra), Some(place.extra.as_deref()));
        assert_exact(&field);
        Some(field)
    };
    if let (Some(field_a), Some(field_b)) = (field(a), field(b)) {
        let same = (&a.column, &a.extra) == (&b.column, &b.extra);
        assert_eq!(field_a == field_b, same, "{a:?} {b:?}");
    }
}

/// The context of a key of any use. Only data keys have a suite, as in every record that is accepted.
pub(super) fn key_context(input: &mut Input<'_>) -> KeyContext {
    let ring = RingName::new(input.name()).unwrap();
    let mut context = key_context_of(ring, input.u32(), input);
    context.share = *input.choice(&[None, None, Some(Share::First), Some(Share::Second)]);
    context
}

pub(super) fn key_context_of(ring: RingName, id: u32, input: &mut Input<'_>) -> KeyContext {
    let uses = [
        KeyUse::Data,
        KeyUse::Index,
        KeyUse::Uid,
        KeyUse::Subject,
        KeyUse::Ring,
    ];
    let key_use = *input.choice(&uses);
    let suite = *input.choice(&[Suite::Aes256Gcm, Suite::XChaCha20Poly1305]);
    KeyContext {
        ring,
        key_id: KeyId::new(id).unwrap_or(KeyId::new(1).unwrap()),
        suite: (key_use == KeyUse::Data).then_some(suite),
        key_use,
        scope: input.optional(|input| ScopeName::new(input.name()).unwrap()),
        share: None,
    }
}

fn changed_context(context: &KeyContext, input: &mut Input<'_>) -> KeyContext {
    let mut changed = context.clone();
    let other = key_context(input);
    match input.u8() % 6 {
        0 => changed.ring = other.ring,
        1 => changed.key_id = other.key_id,
        2 => changed.suite = other.suite,
        3 => changed.key_use = other.key_use,
        4 => changed.scope = other.scope,
        _ => changed.share = other.share,
    }
    changed
}

fn assert_key_context(context: &KeyContext) {
    let encoded = context.encode();
    let krec = match context.share {
        None => encoded,
        Some(share) => {
            let [label, krec, number] = lp::decode(&encoded).unwrap();
            assert_eq!(label, b"phield.v1.share");
            assert_eq!(number, [if share == Share::First { 1 } else { 2 }]);
            assert_exact(&encoded);
            krec.to_vec()
        }
    };
    let [label, ring, id, suite, key_use, scope] = lp::decode(&krec).unwrap();
    assert_eq!(label, b"phield.v1.keyrec");
    assert_eq!(ring, context.ring.as_bytes());
    assert_eq!(id, context.key_id.to_bytes());
    assert_eq!(suite, [context.suite.map_or(0, Suite::byte)]);
    assert_eq!(KeyUse::from_bytes(key_use), Some(context.key_use));
    let scope = lp::decode_optional(scope).unwrap();
    assert_eq!(scope, context.scope.as_ref().map(ScopeName::as_bytes));
    assert_exact(&krec);
}

/// A list that decodes is encoded as the same bytes; one byte more or less is refused.
fn lists(data: &[u8]) {
    if let Some(list) = lp::decode_list(data) {
        assert_eq!(lp::encode(&list), data);
        assert_exact(data);
        assert_eq!(lp::decode::<3>(data).is_some(), list.len() == 3);
    }
    match (lp::decode_optional(data), data) {
        (Some(None), []) | (None, [0 | 2.., ..]) => {}
        (Some(Some(value)), [1, rest @ ..]) => assert_eq!(value, rest),
        (decoded, _) => panic!("{decoded:?} of {data:02x?}"),
    }
    if let Some(id) = decode_row_id(data).filter(is_encodable) {
        // No second encoding of an id: what decodes is what would be written.
        let table = TableName::from_static("t");
        let row = Row::new(&table, &id).unwrap().encode(&AppName::from_static("a"));
        let row = row.unwrap();
        let [_, _, _, written, _] = lp::decode(&row).unwrap();
        assert_eq!(written.strip_prefix(&[1]), Some(data));
        assert_eq!(id.as_row_id().unwrap(), id);
    }
}

fn assert_exact(list: &[u8]) {
    assert!(lp::decode_list(list).is_some());
    assert!(lp::decode_list(&[list, &[0]].concat()).is_none());
    assert!(lp::decode_list(&list[..list.len() - 1]).is_none());
    let mut counted = list.to_vec();
    counted[3] = counted[3].wrapping_add(1);
    assert!(lp::decode_list(&counted).is_none());
}

/// Lists of any elements, and the same bytes cut elsewhere.
fn list_of(input: &mut Input<'_>, split: u8) {
    let mut elements = Vec::new();
    while !input.is_empty() && elements.len() < 64 {
        elements.push(input.bytes());
    }
    let slices: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    let encoded = lp::encode(&slices);
    assert_eq!(lp::decode_list(&encoded), Some(slices.clone()));
    assert_exact(&encoded);
    let mut written = Vec::new();
    lp::start(&mut written, slices.len());
    for element in &slices {
        lp::push(&mut written, element);
    }
    assert_eq!(written, encoded);
    if let [first, second, rest @ ..] = slices.as_slice() {
        let joined = [*first, second].concat();
        let cut = usize::from(split) % (joined.len() + 1);
        let (left, right) = joined.split_at(cut);
        let other = lp::encode(&[&[left, right], rest].concat());
        assert_eq!(other == encoded, cut == first.len());
    }
}
