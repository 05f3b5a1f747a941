//! Days of the calendar, of seconds since the Unix epoch: H. Hinnant, "chrono-compatible low-level date algorithms".

use std::fmt;

const DAY: u64 = 86_400;
/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

/// Seconds since the Unix epoch as `2026-01-31T23:59:59Z`.
pub(crate) struct Utc(pub(crate) u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > LAST {
            return write!(f, "{} s", self.0);
        }
        let (days, second) = (self.0 / DAY, self.0 % DAY);
        // Eras of 400 years from 0000-03-01.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Seconds since the Unix epoch as `2026-01-31T23:59:59Z`, for the other crates.
#[doc(hidden)]
#[must_use]
pub fn utc(seconds: u64) -> String {
    Utc(seconds).to_string()
}

/// The first second of a day `2026-01-31`, from 1970 to 9999.
pub(crate) fn midnight(day: &str) -> Option<u64> {
    let mut parts = day.splitn(3, '-');
    let mut part = |len| {
        let part = parts.next().filter(|part| part.len() == len)?;
        let is_number = part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u64>().ok().filter(|_| is_number)
    };
    let (year, month, date) = (part(4)?, part(2)?, part(2)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&date) {
        return None;
    }
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + date - 1;
    let seconds = days.checked_sub(719_468)?.checked_mul(DAY)?;
    // A day that a month does not have would be one of the next.
    Utc(seconds).to_string().starts_with(day).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let utc = |seconds| Utc(seconds).to_string();
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(utc(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(utc(u64::MAX), "18446744073709551615 s");
    }

    #[test]
    fn midnights() {
        assert_eq!(midnight("1970-01-01"), Some(0));
        assert_eq!(midnight("2000-02-29"), Some(951_782_400));
        assert_eq!(midnight("9999-12-31"), Some(LAST + 1 - DAY));
        for day in (0..LAST).step_by(86_400 * 97 + 12_345) {
            let text = Utc(day).to_string();
            assert_eq!(midnight(&text[..10]), Some(day / DAY * DAY), "{text}");
        }
        for wrong in [
            "2026-02-29",
            "2026-13-01",
            "2026-1-01",
            "+026-01-01",
            "1969-12-31",
            "2026-01-01T",
            "",
            "2026-00-10",
        ] {
            assert_eq!(midnight(wrong), None, "{wrong}");
        }
    }
}
