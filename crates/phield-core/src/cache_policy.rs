//! How long keys may be used without asking where they came from (R-12, I-8).

use std::time::Duration;

use crate::config::ConfigError;

/// The longest hard TTL.
const MAX_HARD_TTL: Duration = Duration::from_secs(72 * 60 * 60);
/// Clocks of one fleet differ: added to the hard TTL where one process waits for the others (I-8).
const FLEET_GRACE: Duration = Duration::from_secs(300);

/// How long a [`Keyring`](crate::Keyring) uses its keys without having verified its manifest and unwrapped them again.
///
/// After the **soft TTL** they are refreshed in the background, and go on serving meanwhile. After the **hard TTL**
/// without a refresh that worked they are gone: nothing is sealed, opened or searched until the provider is back.
///
/// # Security
/// The hard TTL is how long an outage may last, and it is also how long a process whose access was revoked while it could
/// not reach its provider keeps its keys, and how long the activation of a new key waits. A refusal (access denied, key
/// disabled) is not an outage: it takes the keys at the next refresh, after one soft TTL at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy {
    soft_ttl: Duration,
    hard_ttl: Duration,
    concurrent_unwraps: usize,
}

impl CachePolicy {
    /// Keys are refreshed after `soft_ttl` and gone after `hard_ttl`, at most 72 hours.
    ///
    /// # Errors
    /// [`ConfigError::CachePolicy`] when the soft TTL is zero or not below the hard one, or that is above 72 hours.
    pub fn new(soft_ttl: Duration, hard_ttl: Duration) -> Result<Self, ConfigError> {
        let good = !soft_ttl.is_zero() && soft_ttl < hard_ttl && hard_ttl <= MAX_HARD_TTL;
        good.then_some(Self {
            soft_ttl,
            hard_ttl,
            ..Self::default()
        })
        .ok_or(ConfigError::CachePolicy)
    }

    /// Asks providers to unwrap at most this many keys at a time: 16 unless configured.
    ///
    /// # Errors
    /// [`ConfigError::CachePolicy`] for 0.
    pub fn with_concurrent_unwraps(self, concurrent_unwraps: usize) -> Result<Self, ConfigError> {
        (concurrent_unwraps > 0)
            .then_some(Self {
                concurrent_unwraps,
                ..self
            })
            .ok_or(ConfigError::CachePolicy)
    }

    /// After this time, keys and manifest are refreshed in the background.
    #[must_use]
    pub const fn soft_ttl(&self) -> Duration {
        self.soft_ttl
    }

    /// After this time without a refresh that worked, keys are gone.
    #[must_use]
    pub const fn hard_ttl(&self) -> Duration {
        self.hard_ttl
    }

    /// How many keys are unwrapped at a time.
    #[must_use]
    pub const fn concurrent_unwraps(&self) -> usize {
        self.concurrent_unwraps
    }

    /// After this time every process knows a published manifest, or has stopped sealing and searching (I-8).
    #[must_use]
    pub fn fleet_wait(&self) -> Duration {
        self.hard_ttl.saturating_add(FLEET_GRACE)
    }
}

impl Default for CachePolicy {
    /// 5 minutes, 60 minutes, 16 unwraps at a time.
    fn default() -> Self {
        Self {
            soft_ttl: Duration::from_secs(5 * 60),
            hard_ttl: Duration::from_secs(60 * 60),
            concurrent_unwraps: 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let policy =
            |soft, hard| CachePolicy::new(Duration::from_secs(soft), Duration::from_secs(hard)).is_ok();
        assert!(policy(1, 2) && policy(300, 72 * 3600));
        assert!(!policy(0, 2) && !policy(2, 2) && !policy(300, 72 * 3600 + 1));
        assert!(CachePolicy::default().with_concurrent_unwraps(0).is_err());
        assert_eq!(CachePolicy::default().fleet_wait(), Duration::from_secs(65 * 60));
    }
}
