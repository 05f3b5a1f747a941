//! The dates and times of `time`.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

use super::timestamp::{encode_date, encode_timestamp};
use super::{Encoded, Opened, Value};
use crate::error::Unsealable;
use crate::value_type::{ValueType, date_parts, timestamp_parts};

fn date((year, month, day): (u32, u32, u32)) -> Option<Date> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()
}

impl Value for Date {
    const TYPE: ValueType = ValueType::Date;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        encode_date(
            self.year(),
            u32::from(u8::from(self.month())),
            u32::from(self.day()),
        )
    }

    fn decode(opened: Opened) -> Option<Self> {
        date(date_parts(opened.as_bytes())?)
    }
}

/// To the nanosecond, in UTC: it comes back with the offset zero, whatever offset it had.
impl Value for OffsetDateTime {
    const TYPE: ValueType = ValueType::Timestamp;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        let utc = self
            .checked_to_offset(UtcOffset::UTC)
            .ok_or(Unsealable::DateRange)?;
        let date = (utc.year(), u32::from(u8::from(utc.month())), u32::from(utc.day()));
        let time = (utc.hour().into(), utc.minute().into(), utc.second().into());
        encode_timestamp(date, time, utc.nanosecond())
    }

    fn decode(opened: Opened) -> Option<Self> {
        let parts = timestamp_parts(opened.as_bytes())?;
        let (hour, minute, second) = parts.time;
        let byte = |number: u32| u8::try_from(number).ok();
        let time =
            Time::from_hms_nano(byte(hour)?, byte(minute)?, byte(second)?, parts.nanoseconds()?).ok()?;
        Some(Self::new_utc(date(parts.date)?, time))
    }
}
