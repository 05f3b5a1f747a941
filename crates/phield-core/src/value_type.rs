//! Value types (format §5): the type tag of a frame and the grammar of its value.

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
            Self::Timestamp => timestamp_parts(value).is_some(),
            Self::Decimal => is_decimal(value),
            // As text: `IgnoredAny` does not look at what is inside strings.
            Self::Json => std::str::from_utf8(value)
                .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()),
            Self::Uuid => value.len() == 16,
        }
    }
}

/// `[0-9]+` as a number of at most nine digits.
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

/// The parts of a timestamp, UTC.
#[cfg_attr(
    not(any(feature = "chrono", feature = "time")),
    allow(dead_code, reason = "read by the types of these crates")
)]
#[derive(Clone, Copy)]
pub(crate) struct TimestampParts<'a> {
    /// `YYYY-MM-DD`
    pub(crate) date: (u32, u32, u32),
    /// Hour, minute and second.
    pub(crate) time: (u32, u32, u32),
    /// The digits of the fraction of a second, the last of them not 0.
    fraction: &'a [u8],
}

impl TimestampParts<'_> {
    /// The fraction in nanoseconds; `None` when it is finer than that.
    #[cfg_attr(
        not(any(feature = "chrono", feature = "time")),
        allow(dead_code, reason = "read by the types of these crates")
    )]
    pub(crate) fn nanoseconds(self) -> Option<u32> {
        let zeros = 9_u32.checked_sub(u32::try_from(self.fraction.len()).ok()?)?;
        Some(number(self.fraction)? * 10_u32.pow(zeros))
    }
}

/// `YYYY-MM-DDTHH:MM:SS(\.\d*[1-9])?Z`
pub(crate) fn timestamp_parts(value: &[u8]) -> Option<TimestampParts<'_>> {
    let (date, time) = value.split_first_chunk::<10>()?;
    let &[b'T', h1, h2, b':', m1, m2, b':', s1, s2, ref rest @ ..] = time else {
        return None;
    };
    let in_range = |a, b, max| number(&[a, b]).filter(|n| *n <= max);
    let fraction: &[u8] = match rest {
        [b'Z'] => &[],
        [b'.', digits @ .., b'Z'] if matches!(digits, [.., b'1'..=b'9']) => digits,
        _ => return None,
    };
    fraction.iter().all(u8::is_ascii_digit).then_some(TimestampParts {
        date: date_parts(date)?,
        time: (
            in_range(h1, h2, 23)?,
            in_range(m1, m2, 59)?,
            in_range(s1, s2, 59)?,
        ),
        fraction,
    })
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
        assert!(!Json.accepts(b"\"\xff\""));
    }
}
