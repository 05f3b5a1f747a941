//! How long a data key seals (format §6): by time and by the rate of the whole fleet, without a shared counter.

use std::time::Duration;

use crate::config::ConfigError;

/// Most tokens under one data key: above it, the chance of a repeated (row key, nonce) is no longer negligible.
const HARD_TOKENS: u64 = 1 << 40;
/// Above this many tokens a rotation is advised.
const ADVISED_TOKENS: u64 = 1 << 32;
/// A data key encrypts for at most a year (SP 800-57 Part 1 §5.3.6).
const MAX_SECONDS: u64 = 365 * DAY;
const DAY: u64 = 24 * 60 * 60;

/// How long a data key seals, and how many tokens all processes together seal in a second at most.
///
/// The product stays below 2^40 tokens, by which the chance that a nonce repeats under a row key is below 2^-41.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyPolicy {
    seconds: u64,
    tokens_per_second: u64,
}

impl DataKeyPolicy {
    /// Data keys that seal for `days` days while the fleet seals at most `tokens_per_second` fields in a second.
    ///
    /// # Errors
    /// [`ConfigError::DataKeyPolicy`] for 0, more than 365 days, or more than 2^40 tokens.
    pub fn new(days: u32, tokens_per_second: u64) -> Result<Self, ConfigError> {
        let seconds = u64::from(days) * DAY;
        let tokens = seconds.checked_mul(tokens_per_second);
        let good = seconds > 0
            && seconds <= MAX_SECONDS
            && tokens.is_some_and(|tokens| (1..=HARD_TOKENS).contains(&tokens));
        good.then_some(Self {
            seconds,
            tokens_per_second,
        })
        .ok_or(ConfigError::DataKeyPolicy)
    }

    /// The last second in which a data key that becomes active at `now` seals.
    pub(crate) fn not_after(self, now: u64) -> u64 {
        now.saturating_add(self.seconds)
    }

    /// How long a data key seals.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How many tokens a data key seals at most.
    #[must_use]
    pub const fn tokens(self) -> u64 {
        self.seconds * self.tokens_per_second
    }

    /// Whether that is more than 2^32, the advised limit: then rotate more often.
    #[must_use]
    pub const fn is_above_advice(self) -> bool {
        self.tokens() > ADVISED_TOKENS
    }
}

impl Default for DataKeyPolicy {
    /// 90 days, 500 fields a second: below the advised 2^32 tokens.
    fn default() -> Self {
        Self {
            seconds: 90 * DAY,
            tokens_per_second: 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_format_6() {
        let policy = |days, rate| DataKeyPolicy::new(days, rate);
        assert!(policy(90, 140_000).is_ok());
        assert!(policy(90, 142_000).is_err());
        assert!(policy(365, 34_000).is_ok());
        assert!(policy(366, 1).is_err());
        assert!(policy(0, 1).is_err() && policy(1, 0).is_err() && policy(1, u64::MAX).is_err());
        assert!(!DataKeyPolicy::default().is_above_advice());
        assert!(policy(90, 600).unwrap().is_above_advice());
        assert_eq!(DataKeyPolicy::default().not_after(1000), 1000 + 7_776_000);
    }
}
