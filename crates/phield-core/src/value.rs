//! Value types (format §5): the bytes of a value inside its frame, and the Rust types that have them.

use zeroize::{Zeroize as _, Zeroizing};

use crate::error::Unsealable;
use crate::wipe::{Erase, Wiped};

/// The type of an encrypted value. Authenticated with it: a text never opens as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueType {
    /// An encrypted "absent".
    Null,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Bytes,
    /// A signed integer of 64 bits.
    Integer,
    /// `true` or `false`.
    Bool,
    /// A date, `YYYY-MM-DD`.
    Date,
    /// A point in time, UTC.
    Timestamp,
    /// A decimal number, as given.
    Decimal,
    /// A JSON document (RFC 8259).
    Json,
    /// A floating-point number of 64 bits.
    Float,
    /// A UUID.
    Uuid,
}

impl ValueType {
    /// The name in schemas and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Integer => "integer",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Decimal => "decimal",
            Self::Json => "json",
            Self::Float => "float",
            Self::Uuid => "uuid",
        }
    }

    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Null => 0x00,
            Self::Text => 0x01,
            Self::Bytes => 0x02,
            Self::Integer => 0x03,
            Self::Bool => 0x04,
            Self::Date => 0x05,
            Self::Timestamp => 0x06,
            Self::Decimal => 0x07,
            Self::Json => 0x08,
            Self::Float => 0x09,
            Self::Uuid => 0x0a,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x00 => Self::Null,
            0x01 => Self::Text,
            0x02 => Self::Bytes,
            0x03 => Self::Integer,
            0x04 => Self::Bool,
            0x05 => Self::Date,
            0x06 => Self::Timestamp,
            0x07 => Self::Decimal,
            0x08 => Self::Json,
            0x09 => Self::Float,
            0x0a => Self::Uuid,
            _ => return None,
        })
    }

    /// Whether `value` is well formed for this type.
    pub(crate) fn accepts(self, value: &[u8]) -> bool {
        match self {
            Self::Null => value.is_empty(),
            Self::Text => std::str::from_utf8(value).is_ok(),
            Self::Bytes => true,
            Self::Integer | Self::Float => value.len() == 8,
            Self::Bool => matches!(value, [0 | 1]),
            Self::Date => date_parts(value).is_some(),
            Self::Timestamp => is_timestamp(value),
            Self::Decimal => is_decimal(value),
            Self::Json => serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok(),
            Self::Uuid => value.len() == 16,
        }
    }
}

/// `[0-9]+` as a number of at most four digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + u32::from(d - b'0')))
}

/// Year, month and day of `YYYY-MM-DD`, if it is a real date of the proleptic Gregorian calendar, years 0001–9999.
pub(crate) fn date_parts(value: &[u8]) -> Option<(u32, u32, u32)> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = value else {
        return None;
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    (year >= 1 && (1..=last).contains(&day)).then_some((year, month, day))
}

/// `YYYY-MM-DDTHH:MM:SS(\.\d*[1-9])?Z`
fn is_timestamp(value: &[u8]) -> bool {
    let Some((date, time)) = value.split_first_chunk::<10>() else {
        return false;
    };
    let &[b'T', h1, h2, b':', m1, m2, b':', s1, s2, ref rest @ ..] = time else {
        return false;
    };
    let in_range = |a, b, max| number(&[a, b]).is_some_and(|n| n <= max);
    let fraction_ok = match rest {
        [b'Z'] => true,
        [b'.', digits @ .., last @ b'1'..=b'9', b'Z'] => {
            last.is_ascii_digit() && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    date_parts(date).is_some()
        && in_range(h1, h2, 23)
        && in_range(m1, m2, 59)
        && in_range(s1, s2, 59)
        && fraction_ok
}

/// `-?[0-9]+(\.[0-9]+)?`
fn is_decimal(value: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let mut parts = value
        .strip_prefix(b"-")
        .unwrap_or(value)
        .splitn(2, |byte| *byte == b'.');
    parts.next().is_some_and(digits) && parts.next().is_none_or(digits)
}

/// A Rust type that phield can seal.
///
/// Implemented for text, bytes, integers, `bool`, [`Uuid`](uuid::Uuid), the dates of `chrono` and `time` behind
/// features of these names, and `Option` of each. Not for users to implement: the derive alone relies on it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sealed",
    note = "String, Vec<u8>, integers, bool, Uuid, dates (features `chrono`, `time`) and Option of these can"
)]
pub trait Value: Erase + Sized {
    /// The type tag that a token of this type has.
    const TYPE: ValueType;
    /// Whether an encrypted null is a value of this type.
    const NULLABLE: bool = false;

    /// The value's bytes.
    ///
    /// # Errors
    /// A value outside what the format can hold.
    fn encode(&self) -> Result<Encoded<'_>, Unsealable>;

    /// The value with these bytes; `None` when they are not well formed for this type.
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
    Inline(Zeroizing<[u8; 16]>, usize),
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

    /// A value of at most 16 bytes.
    pub(crate) fn inline(value_type: ValueType, value: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; 16]);
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = *from;
        }
        Self {
            value_type,
            bytes: Bytes::Inline(bytes, value.len().min(16)),
        }
    }

    pub(crate) fn value_type(&self) -> ValueType {
        self.value_type
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Inline(bytes, len) => bytes.get(..*len).unwrap_or_default(),
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

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.buffer
            .0
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }

    /// The value as a vector, moved to the front of the buffer it is in. The rest of the buffer is wiped.
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

impl Value for bool {
    const TYPE: ValueType = ValueType::Bool;

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

/// `YYYY-MM-DD` of a date in the years 0001–9999.
#[cfg(any(feature = "chrono", feature = "time"))]
fn encode_date<'a>(year: i32, month: u32, day: u32) -> Result<Encoded<'a>, Unsealable> {
    use std::io::Write as _;

    let mut text = Zeroizing::new([0_u8; 10]);
    let written =
        (1..=9999).contains(&year) && write!(text.as_mut_slice(), "{year:04}-{month:02}-{day:02}").is_ok();
    if written {
        Ok(Encoded::inline(ValueType::Date, &*text))
    } else {
        Err(Unsealable::DateRange)
    }
}

#[cfg(feature = "chrono")]
impl Value for chrono::NaiveDate {
    const TYPE: ValueType = ValueType::Date;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        use chrono::Datelike as _;
        encode_date(self.year(), self.month(), self.day())
    }

    fn decode(opened: Opened) -> Option<Self> {
        let (year, month, day) = date_parts(opened.as_bytes())?;
        Self::from_ymd_opt(i32::try_from(year).ok()?, month, day)
    }
}

#[cfg(feature = "time")]
impl Value for time::Date {
    const TYPE: ValueType = ValueType::Date;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        encode_date(
            self.year(),
            u32::from(u8::from(self.month())),
            u32::from(self.day()),
        )
    }

    fn decode(opened: Opened) -> Option<Self> {
        let (year, month, day) = date_parts(opened.as_bytes())?;
        let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
        Self::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()
    }
}

impl<T: Value> Value for Option<T> {
    const TYPE: ValueType = T::TYPE;
    const NULLABLE: bool = true;

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
    fn type_bytes() {
        for byte in 0..=255 {
            assert!(ValueType::from_byte(byte).is_none_or(|value_type| value_type.byte() == byte));
            assert_eq!(ValueType::from_byte(byte).is_some(), byte <= 0x0a);
        }
    }

    #[test]
    fn well_formed_values() {
        use ValueType::*;
        let table: &[(ValueType, &[&str], &[&str])] = &[
            (Null, &[""], &["a"]),
            (
                Date,
                &["2024-02-29", "0001-01-01", "9999-12-31", "2000-02-29"],
                &[
                    "2023-02-29",
                    "1900-02-29",
                    "0000-01-01",
                    "2024-13-01",
                    "2024-00-01",
                    "2024-04-31",
                    "2024-01-00",
                    "2024-1-01",
                    "24-01-01",
                    "2024-01-01 ",
                    "+024-01-01",
                    "",
                ],
            ),
            (
                Timestamp,
                &[
                    "2026-11-22T04:05:06Z",
                    "2026-11-22T04:05:06.78Z",
                    "2026-11-22T23:59:59.001Z",
                ],
                &[
                    "2026-11-22T24:00:00Z",
                    "2026-11-22T00:60:00Z",
                    "2026-11-22T00:00:60Z",
                    "2026-11-22T00:00:00.Z",
                    "2026-11-22T00:00:00.10Z",
                    "2026-11-22T00:00:00",
                    "2026-11-22 00:00:00Z",
                    "2026-11-31T00:00:00Z",
                    "2026-11-22T00:00:00.0Z",
                    "2026-11-22T00:00:00.a1Z",
                    "2026-11-22T00:00:00z",
                ],
            ),
            (
                Decimal,
                &["0", "-12.50", "007", "1.0"],
                &["", "-", ".5", "5.", "1.2.3", "+1", "1e5", "1,5", "--1"],
            ),
            (
                Json,
                &["{}", " [1] ", "\"x\"", "null", "1.5e3"],
                &["", "{", "{'a':1}", "[1,]", "\u{feff}{}", "NaN", "01"],
            ),
            (Bool, &["\0", "\u{1}"], &["", "\u{2}", "\0\0"]),
            (Integer, &["12345678"], &["1234567", "123456789"]),
            (Float, &["12345678"], &["1234567"]),
            (Uuid, &["0123456789abcdef"], &["0123456789abcde"]),
        ];
        for (value_type, good, bad) in table {
            for value in *good {
                assert!(value_type.accepts(value.as_bytes()), "{value_type:?} {value:?}");
            }
            for value in *bad {
                assert!(!value_type.accepts(value.as_bytes()), "{value_type:?} {value:?}");
            }
        }
        assert!(!Text.accepts(&[0xff]));
    }

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
