//! Dates and points in time as text, for the crates that have types for them.

use std::io::Write as _;

use zeroize::Zeroizing;

use super::{Encoded, INLINE};
use crate::error::Unsealable;
use crate::value_type::ValueType;

/// `YYYY-MM-DD` of a date in the years 0001–9999.
pub(super) fn encode_date<'a>(year: i32, month: u32, day: u32) -> Result<Encoded<'a>, Unsealable> {
    let mut text = Zeroizing::new([0_u8; 10]);
    let written =
        (1..=9999).contains(&year) && write!(text.as_mut_slice(), "{year:04}-{month:02}-{day:02}").is_ok();
    if written {
        Ok(Encoded::inline(ValueType::Date, &*text))
    } else {
        Err(Unsealable::DateRange)
    }
}

/// `YYYY-MM-DDTHH:MM:SS(\.\d*[1-9])?Z` of a point in time in the years 0001–9999, UTC, without leap seconds.
pub(super) fn encode_timestamp<'a>(
    (year, month, day): (i32, u32, u32),
    (hour, minute, second): (u32, u32, u32),
    nanoseconds: u32,
) -> Result<Encoded<'a>, Unsealable> {
    if !(1..=9999).contains(&year) || second > 59 || nanoseconds > 999_999_999 {
        return Err(Unsealable::DateRange);
    }
    let mut text = Zeroizing::new([0_u8; INLINE]);
    let mut rest = text.as_mut_slice();
    let mut written = write!(
        rest,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
    if nanoseconds != 0 {
        let (mut digits, mut width) = (nanoseconds, 9);
        while digits % 10 == 0 {
            (digits, width) = (digits / 10, width - 1);
        }
        written = written.and_then(|()| write!(rest, ".{digits:0width$}"));
    }
    written = written.and_then(|()| rest.write_all(b"Z"));
    let len = INLINE - rest.len();
    match (written, text.get(..len)) {
        (Ok(()), Some(text)) => Ok(Encoded::inline(ValueType::Timestamp, text)),
        _ => Err(Unsealable::DateRange),
    }
}
