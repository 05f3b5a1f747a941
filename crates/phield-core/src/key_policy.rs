//! How long keys are meant to serve, and how long an old one is kept: what reminders and the destruction of keys go by.
//! Nothing stops by it; that is what [`DataKeyPolicy`](crate::DataKeyPolicy) is for.

use std::time::Duration;

use crate::config::ConfigError;
use crate::name::ProviderName;
use crate::record::{KekReference, KeyUse};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer is no policy.
const MAX_DAYS: u32 = 36_500;

/// When keys are to be replaced, and when an old one may be destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyPolicy {
    /// How long a data key seals before it is to be replaced: 90 days.
    pub data_key: Duration,
    /// The same of index peppers and ring keys: 365 days. UID peppers and subject keys are not replaced.
    pub other_key: Duration,
    /// The same of key-encryption keys: 365 days.
    pub kek: Duration,
    /// How long before that a reminder begins: 14 days.
    pub warning: Duration,
    /// How long an old key is kept after the scan that found nothing of it (I-5): 30 days.
    ///
    /// # Security
    /// It is the time in which somebody can notice that something was not scanned. A destroyed key does not come back.
    pub destroy_after: Duration,
    /// Since when key-encryption keys exist, in seconds since the Unix epoch, where their provider does not tell.
    pub kek_since: Vec<(ProviderName, KekReference, u64)>,
}

impl KeyPolicy {
    /// How long a key of this use serves; `None` for those that are not replaced.
    #[must_use]
    pub fn lifetime(&self, key_use: KeyUse) -> Option<Duration> {
        match key_use {
            KeyUse::Data => Some(self.data_key),
            KeyUse::Index | KeyUse::Ring => Some(self.other_key),
            KeyUse::Uid | KeyUse::Subject => None,
        }
    }

    /// Since when a key-encryption key exists, as configuration says.
    #[must_use]
    pub fn since(&self, provider: &ProviderName, kek: &KekReference) -> Option<u64> {
        let mut entries = self.kek_since.iter();
        let found = entries.find(|(name, reference, _)| (name, reference) == (provider, kek));
        found.map(|(_, _, since)| *since)
    }

    /// So many days.
    ///
    /// # Errors
    /// [`ConfigError::KeyPolicy`] for 0, where that makes no sense, and more than a hundred years.
    pub(crate) fn days(days: u32, is_zero_good: bool) -> Result<Duration, ConfigError> {
        let good = days <= MAX_DAYS && (days > 0 || is_zero_good);
        good.then_some(DAY * days).ok_or(ConfigError::KeyPolicy)
    }
}

impl Default for KeyPolicy {
    fn default() -> Self {
        Self {
            data_key: DAY * 90,
            other_key: DAY * 365,
            kek: DAY * 365,
            warning: DAY * 14,
            destroy_after: DAY * 30,
            kek_since: Vec::new(),
        }
    }
}
