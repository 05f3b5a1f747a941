//! Value types (format §5): the bytes of a value inside its frame, and the Rust types that have them.

use zeroize::{Zeroize as _, Zeroizing};

use crate::error::Unsealable;
use crate::token::{BODY_AT, TAG_LEN};
use crate::wipe::{Erase, Wiped};

pub use crate::value_type::ValueType;

#[cfg(feature = "chrono")]
mod chrono;
#[cfg(feature = "decimal")]
mod decimal;
mod json;
#[cfg(feature = "time")]
mod time;
#[cfg(any(feature = "chrono", feature = "time"))]
mod timestamp;
mod user;

pub use json::Json;
pub use user::PhiValue;

/// Longest value that is held inline: a decimal of 96 bits, a timestamp with nanoseconds.
const INLINE: usize = 32;

/// A Rust type that phield can seal.
///
/// | types | feature |
/// |---|---|
/// | `String`, `Vec<u8>`, integers that fit `i64`, `f64`, `bool`, [`Uuid`](uuid::Uuid), [`Surrogate`](crate::Surrogate) | |
/// | [`Json<T>`](crate::Json): any serde value | |
/// | `NaiveDate`, `DateTime<Utc>` of `chrono` | `chrono` |
/// | `Date`, `OffsetDateTime` of `time` | `time` |
/// | `Decimal` of `rust_decimal` | `decimal` |
/// | your own newtypes and enumerations, by [`PhiValue`](crate::PhiValue) and its derive | |
/// | `Option` of each | |
///
/// Not for users to implement: [`PhiValue`](crate::PhiValue) is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sealed",
    note = "String, Vec<u8>, integers, f64, bool, Uuid, dates and times (features `chrono`, `time`), decimals \
            (feature `decimal`), Json<T> where T is Serialize, DeserializeOwned, PartialEq and Erase, types with `#[derive(PhiValue)]`, and Option of these can"
)]
pub trait Value: Erase + Sized {
    /// The type tag that a token of this type has.
    const TYPE: ValueType;
    /// Whether an encrypted null is a value of this type.
    const NULLABLE: bool = false;
    /// For a type of few values, `bool` or an enumeration: the length of its shortest and its longest value, in bytes.
    /// Such values are padded to one length, and an index over nothing else shows what they are.
    const LENGTHS: Option<[usize; 2]> = None;

    /// The value's bytes.
    ///
    /// # Errors
    /// A value outside what the format can hold.
    fn encode(&self) -> Result<Encoded<'_>, Unsealable>;

    /// The value with these bytes; `None` when they are not well formed for this type, or it cannot hold them.
    fn decode(opened: Opened) -> Option<Self>;
}

/// The bytes of a value before sealing: borrowed from it, or short and inline. Erased on drop.
#[derive(Debug)]
pub struct Encoded<'a> {
    value_type: ValueType,
    bytes: Bytes<'a>,
}

enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Inline(Zeroizing<[u8; INLINE]>, usize),
    Owned(Wiped),
}

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl<'a> Encoded<'a> {
    pub(crate) fn borrowed(value_type: ValueType, bytes: &'a [u8]) -> Self {
        Self {
            value_type,
            bytes: Bytes::Borrowed(bytes),
        }
    }

    /// A value of at most 32 bytes.
    pub(crate) fn inline(value_type: ValueType, value: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; INLINE]);
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = *from;
        }
        Self {
            value_type,
            bytes: Bytes::Inline(bytes, value.len().min(INLINE)),
        }
    }

    pub(crate) fn owned(value_type: ValueType, bytes: Wiped) -> Self {
        Self {
            value_type,
            bytes: Bytes::Owned(bytes),
        }
    }

    /// The value on its own, independent of what it was borrowed from.
    pub(crate) fn into_owned<'b>(self) -> Encoded<'b> {
        let bytes = match self.bytes {
            Bytes::Borrowed(bytes) => Bytes::Owned(Wiped(bytes.to_vec())),
            Bytes::Inline(bytes, len) => Bytes::Inline(bytes, len),
            Bytes::Owned(bytes) => Bytes::Owned(bytes),
        };
        Encoded {
            value_type: self.value_type,
            bytes,
        }
    }

    pub(crate) fn value_type(&self) -> ValueType {
        self.value_type
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Inline(bytes, len) => bytes.get(..*len).unwrap_or_default(),
            Bytes::Owned(bytes) => &bytes.0,
        }
    }
}

/// The bytes of a value after opening, still in the buffer of its token. Erased on drop.
pub struct Opened {
    buffer: Wiped,
    value_type: ValueType,
    start: usize,
    len: usize,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl Opened {
    #[inline]
    pub(crate) fn new(buffer: Wiped, value_type: ValueType, start: usize, len: usize) -> Self {
        Self {
            buffer,
            value_type,
            start,
            len,
        }
    }

    pub(crate) fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// Whether the bytes are well formed for the type in the frame.
    pub(crate) fn is_well_formed(&self) -> bool {
        self.value_type.accepts(self.as_bytes())
    }

    /// The whole frame: type, value and padding.
    pub(crate) fn frame(&self) -> &[u8] {
        let frame = self
            .buffer
            .0
            .get(BODY_AT..self.buffer.0.len().saturating_sub(TAG_LEN));
        frame.unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.buffer
            .0
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }

    /// The value as a vector, moved to the front of the buffer it is in. The rest of the buffer is wiped.
    #[inline]
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        let (start, len) = (self.start, self.len);
        let buffer = &mut self.buffer.0;
        buffer.copy_within(start..start + len, 0);
        if let Some(rest) = buffer.get_mut(len..) {
            rest.zeroize();
        }
        buffer.truncate(len);
        self.buffer.into_inner()
    }
}

impl Value for String {
    const TYPE: ValueType = ValueType::Text;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        Ok(Encoded::borrowed(Self::TYPE, self.as_bytes()))
    }

    #[inline]
    fn decode(opened: Opened) -> Option<Self> {
        match Self::from_utf8(opened.into_vec()) {
            Ok(text) => Some(text),
            Err(wrong) => {
                drop(Wiped(wrong.into_bytes()));
                None
            }
        }
    }
}

impl Value for Vec<u8> {
    const TYPE: ValueType = ValueType::Bytes;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        Ok(Encoded::borrowed(Self::TYPE, self))
    }

    fn decode(opened: Opened) -> Option<Self> {
        Some(opened.into_vec())
    }
}

macro_rules! integer_values {
    ($($t:ty),*) => {$(
        impl Value for $t {
            const TYPE: ValueType = ValueType::Integer;

            fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
                let integer = i64::try_from(*self).map_err(|_| Unsealable::IntegerRange)?;
                Ok(Encoded::inline(Self::TYPE, &integer.to_be_bytes()))
            }

            fn decode(opened: Opened) -> Option<Self> {
                let bytes = opened.as_bytes().try_into().ok()?;
                Self::try_from(i64::from_be_bytes(bytes)).ok()
            }
        }
    )*};
}
integer_values!(i8, i16, i32, i64, u8, u16, u32, u64);

/// IEEE 754, every bit of it: -0.0 and the payload of a NaN come back as they were.
impl Value for f64 {
    const TYPE: ValueType = ValueType::Float;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        Ok(Encoded::inline(Self::TYPE, &self.to_be_bytes()))
    }

    fn decode(opened: Opened) -> Option<Self> {
        opened.as_bytes().try_into().ok().map(Self::from_be_bytes)
    }
}

impl Value for bool {
    const TYPE: ValueType = ValueType::Bool;
    const LENGTHS: Option<[usize; 2]> = Some([1, 1]);

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        Ok(Encoded::inline(Self::TYPE, &[u8::from(*self)]))
    }

    fn decode(opened: Opened) -> Option<Self> {
        match opened.as_bytes() {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Value for uuid::Uuid {
    const TYPE: ValueType = ValueType::Uuid;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        Ok(Encoded::inline(Self::TYPE, self.as_bytes()))
    }

    fn decode(opened: Opened) -> Option<Self> {
        opened.as_bytes().try_into().ok().map(Self::from_bytes)
    }
}

impl<T: Value> Value for Option<T> {
    const TYPE: ValueType = T::TYPE;
    const NULLABLE: bool = {
        assert!(
            !T::NULLABLE,
            "`Some(None)` and `None` would be the same encrypted null"
        );
        true
    };
    const LENGTHS: Option<[usize; 2]> = match T::LENGTHS {
        Some([_, longest]) => Some([0, longest]),
        None => None,
    };

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        self.as_ref()
            .map_or_else(|| Ok(Encoded::borrowed(ValueType::Null, &[])), T::encode)
    }

    fn decode(opened: Opened) -> Option<Self> {
        match opened.value_type() {
            ValueType::Null => opened.as_bytes().is_empty().then_some(None),
            _ => T::decode(opened).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opened_values_leave_nothing_behind() {
        let buffer = Wiped(b"HEADER-name of a patient-TAIL".to_vec());
        let opened = Opened::new(buffer, ValueType::Text, 7, 17);
        assert_eq!(format!("{opened:?}"), "Opened { .. }");
        let mut vec = opened.into_vec();
        assert_eq!(vec, b"name of a patient");
        vec.resize(29, 0xee);
        assert!(vec.get(17..).unwrap().iter().all(|b| *b == 0xee));
    }

    #[test]
    fn debug_shows_no_value() {
        let name = String::from("Ada");
        assert_eq!(
            format!("{:?}", name.encode().unwrap()),
            "Encoded { value_type: Text, bytes: .. }"
        );
        assert_eq!(
            format!("{:?}", 42_i64.encode().unwrap()),
            "Encoded { value_type: Integer, bytes: .. }"
        );
        assert_eq!(u64::MAX.encode().err(), Some(Unsealable::IntegerRange));
    }
}
