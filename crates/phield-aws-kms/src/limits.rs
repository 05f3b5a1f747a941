//! How long a call may take, and how often it is tried.

use std::time::Duration;

/// How long a call of KMS may take, and how often it is tried again when KMS is out of reach, throttles or fails.
///
/// By default a call is tried 3 times and gives up after 10 seconds in all; an attempt gives up after half of that, and
/// connecting after a fifth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    timeout: Duration,
    attempts: u32,
}

/// The limits are no limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timeout_ms is 100 to 60000 and attempts is 1 to 10")]
#[non_exhaustive]
pub struct InvalidLimits;

impl CallLimits {
    pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(200);
    pub(crate) const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

    /// A whole call gives up after `timeout` (0.1 to 60 seconds), having been tried `attempts` times (1 to 10) at most.
    ///
    /// # Errors
    /// When one is out of bounds.
    pub fn new(timeout: Duration, attempts: u32) -> Result<Self, InvalidLimits> {
        let good = (100..=60_000).contains(&timeout.as_millis()) && (1..=10).contains(&attempts);
        good.then_some(Self { timeout, attempts }).ok_or(InvalidLimits)
    }

    /// How long a whole call may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long one attempt may take.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        self.timeout / 2
    }

    /// How long connecting may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.timeout / 5
    }

    /// How often a call is tried at most.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            attempts: 3,
        }
    }
}
