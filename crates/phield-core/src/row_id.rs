//! Row ids (format §2): typed, so that `42`, `"42"` and the bytes `42` are three different rows.

use std::borrow::Cow;
use std::fmt;

use uuid::Uuid;

use crate::error::Unsealable;
use crate::lp;
use crate::uid::Uid;

/// Longest text or bytes row id, and longest `extra`, in bytes.
pub(crate) const MAX_PART: usize = 1024;
/// Longest composite row id, in bytes, with its type letter.
const MAX_COMPOSITE: usize = 4096;
/// Most parts of a composite row id.
const MAX_PARTS: usize = 16;

/// A row id, typed, so that `42`, `"42"` and the bytes `42` are three different rows.
///
/// Its `Debug` shows type and length alone: a row id may be a medical record number.
#[derive(Clone, PartialEq, Eq)]
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
    /// The same row id, owned.
    #[must_use]
    pub fn into_owned(self) -> RowId<'static> {
        match self {
            Self::Integer(id) => RowId::Integer(id),
            Self::Uuid(id) => RowId::Uuid(id),
            Self::Text(id) => RowId::Text(Cow::Owned(id.into_owned())),
            Self::Bytes(id) => RowId::Bytes(Cow::Owned(id.into_owned())),
            Self::Composite(parts) => RowId::Composite(parts.into_iter().map(RowId::into_owned).collect()),
        }
    }

    /// The row id that was encoded as these bytes, if any was.
    pub(crate) fn decode(bytes: &[u8]) -> Option<RowId<'static>> {
        match bytes {
            [b'i', id @ ..] => id
                .try_into()
                .ok()
                .map(|id| RowId::Integer(i64::from_be_bytes(id))),
            [b'u', id @ ..] => Uuid::from_slice(id).ok().map(RowId::Uuid),
            [b's', id @ ..] => String::from_utf8(id.to_vec())
                .ok()
                .map(|id| RowId::Text(id.into())),
            [b'b', id @ ..] => Some(RowId::Bytes(id.to_vec().into())),
            [b'c', parts @ ..] => {
                let parts = lp::decode_list(parts)?;
                parts
                    .into_iter()
                    .map(RowId::decode)
                    .collect::<Option<_>>()
                    .map(RowId::Composite)
            }
            _ => None,
        }
    }

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

impl fmt::Debug for RowId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(_) => f.write_str("RowId(integer)"),
            Self::Uuid(_) => f.write_str("RowId(UUID)"),
            Self::Text(id) => write!(f, "RowId(text, {} bytes)", id.len()),
            Self::Bytes(id) => write!(f, "RowId({} bytes)", id.len()),
            Self::Composite(parts) => write!(f, "RowId{parts:?}"),
        }
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
    note = "row ids and subjects are integers that fit i64, `Uuid`, `Uid`, text or bytes, and tuples of these"
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

/// The same row id as the UUID: how it is written down is a matter of the column.
macro_rules! written_uuid {
    ($($t:ty),*) => {$(
        impl AsRowId for $t {
            fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
                Ok(RowId::Uuid(*self.as_uuid()))
            }
        }
    )*};
}
written_uuid!(uuid::fmt::Hyphenated, uuid::fmt::Simple);

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

/// A composite row id, of parts that are none themselves.
macro_rules! composite_row_id {
    ($($part:ident: $position:tt),*) => {
        impl<$($part: AsRowId),*> AsRowId for ($($part,)*) {
            fn as_row_id(&self) -> Result<RowId<'_>, Unsealable> {
                Ok(RowId::Composite(vec![$(self.$position.as_row_id()?),*]))
            }
        }
    };
}
composite_row_id!(A: 0, B: 1);
composite_row_id!(A: 0, B: 1, C: 2);
composite_row_id!(A: 0, B: 1, C: 2, D: 3);
composite_row_id!(A: 0, B: 1, C: 2, D: 3, E: 4);
composite_row_id!(A: 0, B: 1, C: 2, D: 3, E: 4, F: 5);
composite_row_id!(A: 0, B: 1, C: 2, D: 3, E: 4, F: 5, G: 6);
composite_row_id!(A: 0, B: 1, C: 2, D: 3, E: 4, F: 5, G: 6, H: 7);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn tuples_are_composite_and_do_not_nest() {
        let id = Uuid::from_u128(7);
        let composite = RowId::Composite(vec![RowId::Uuid(id), RowId::Text("a".into())]);
        assert_eq!((id, "a").as_row_id(), Ok(composite.clone()));
        assert_eq!(
            (&id.hyphenated(), String::from("a")).as_row_id(),
            Ok(composite.clone())
        );
        assert_ne!(("a", id).as_row_id(), Ok(composite));
        let nested = ((1_i64, 2_i64), 3_i64);
        assert_eq!(
            nested.as_row_id().unwrap().encode(&mut Vec::new()),
            Err(Unsealable::RowId)
        );
    }

    #[test]
    fn debug_shows_no_id() {
        let ids = [
            RowId::Integer(4711),
            RowId::Text("MRN-4711".into()),
            RowId::Bytes(b"4711".as_slice().into()),
        ];
        let shown = format!("{ids:?} {:#?}", RowId::Composite(ids.to_vec()));
        assert!(!shown.contains("4711") && !shown.contains("52, 55"), "{shown}");
    }

    fn any_part() -> impl Strategy<Value = RowId<'static>> {
        prop_oneof![
            any::<i64>().prop_map(RowId::Integer),
            any::<u128>().prop_map(|n| RowId::Uuid(Uuid::from_u128(n))),
            ".{0,9}".prop_map(|t| RowId::Text(t.into())),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(|b| RowId::Bytes(b.into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            id in prop_oneof![any_part(), proptest::collection::vec(any_part(), 1..4).prop_map(RowId::Composite)],
        ) {
            let mut bytes = Vec::new();
            id.encode(&mut bytes).unwrap();
            prop_assert_eq!(RowId::decode(&bytes), Some(id.clone()));
            prop_assert_eq!(id.clone().into_owned(), id);
        }
    }
}
