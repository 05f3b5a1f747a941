//! The dates and times of `chrono`.

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};

use super::timestamp::{encode_date, encode_timestamp};
use super::{Encoded, Opened, Value};
use crate::error::Unsealable;
use crate::value_type::{ValueType, date_parts, timestamp_parts};

impl Value for NaiveDate {
    const TYPE: ValueType = ValueType::Date;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        encode_date(self.year(), self.month(), self.day())
    }

    fn decode(opened: Opened) -> Option<Self> {
        let (year, month, day) = date_parts(opened.as_bytes())?;
        Self::from_ymd_opt(i32::try_from(year).ok()?, month, day)
    }
}

/// To the nanosecond. A leap second (`23:59:60`) is refused: the format has none.
impl Value for DateTime<Utc> {
    const TYPE: ValueType = ValueType::Timestamp;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        let date = (self.year(), self.month(), self.day());
        let time = (self.hour(), self.minute(), self.second());
        // chrono counts a leap second as more than 999 999 999 nanoseconds.
        encode_timestamp(date, time, self.nanosecond())
    }

    fn decode(opened: Opened) -> Option<Self> {
        let parts = timestamp_parts(opened.as_bytes())?;
        let ((year, month, day), (hour, minute, second)) = (parts.date, parts.time);
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?
            .and_hms_nano_opt(hour, minute, second, parts.nanoseconds()?)
            .map(|utc| utc.and_utc())
    }
}
