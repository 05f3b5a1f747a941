//! Which wraps of a ring open now (I-1, I-6, I-9).

use std::fmt;

use crate::config::ConfigError;
use crate::error::RingError;
use crate::key::{KeyId, KeyMaterial};
use crate::name::ProviderName;
use crate::record::{KekReference, KeyRecord, Wrap};
use crate::ring::VerifiedRing;
use crate::settings::{RingSettings, checked, provider_error};
use crate::split;

/// What came of opening a wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WrapOutcome {
    /// The key came out, and it is the one of the record.
    Opens,
    /// Its key-encryption key is not on the allow-list: its provider was not asked.
    NotConfigured,
    /// The provider is out of reach: try again later.
    OutOfReach,
    /// The provider denied access, or its key is disabled or pending deletion.
    Refused,
    /// The provider does not have the key-encryption key.
    UnknownKek,
    /// What came out is not the key of the record, or nothing came out: a changed wrap, or one of another key.
    DoesNotAuthenticate,
    /// It is no wrap of this provider.
    Malformed,
}

impl WrapOutcome {
    /// The outcome in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::NotConfigured => "not configured",
            Self::OutOfReach => "out of reach",
            Self::Refused => "refused",
            Self::UnknownKek => "unknown KEK",
            Self::DoesNotAuthenticate => "does not authenticate",
            Self::Malformed => "malformed",
        }
    }

    fn of(error: &RingError) -> Self {
        match error {
            RingError::KeyUnavailable(..) => Self::OutOfReach,
            RingError::KeyRefused(..) => Self::Refused,
            RingError::Config(_) => Self::UnknownKek,
            RingError::Malformed(_) => Self::Malformed,
            _ => Self::DoesNotAuthenticate,
        }
    }
}

impl fmt::Display for WrapOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One wrap of one key, tried.
#[derive(Debug)]
#[non_exhaustive]
pub struct WrapCheck {
    /// The key.
    pub key_id: KeyId,
    /// The provider of the wrap.
    pub provider: ProviderName,
    /// Its key-encryption key.
    pub kek: KekReference,
    /// What came of it.
    pub outcome: WrapOutcome,
    /// Why it did not open, where a provider was asked.
    pub error: Option<RingError>,
}

impl VerifiedRing {
    /// Tries every wrap of every key that is not destroyed, and checks every check value: a report, whatever fails.
    pub async fn check(&self, settings: &RingSettings) -> Vec<WrapCheck> {
        let mut checks = Vec::new();
        for record in self.manifest.records.iter().filter(|record| record.state.opens()) {
            checks.extend(settings.check_wraps(record).await);
        }
        checks
    }

    /// Unwraps every record that is not destroyed through every wrap that configuration reaches, and checks every
    /// check value: the rehearsal of a restore (I-9). Returns how many wraps were opened.
    ///
    /// # Errors
    /// The first wrap that does not give its key.
    pub async fn check_every_wrap(&self, settings: &RingSettings) -> Result<usize, RingError> {
        let mut opened = 0;
        for record in self.manifest.records.iter().filter(|record| record.state.opens()) {
            opened += settings.check_configured(record).await?;
        }
        Ok(opened)
    }
}

impl RingSettings {
    /// Whether the wrap's key-encryption keys are on the allow-list, so that it is one to be opened here.
    fn has(&self, record: &KeyRecord, wrap: &Wrap) -> bool {
        if record.device_wrap().is_some() {
            self.providers.iter().any(|allowed| allowed.allows_mac(wrap))
        } else if wrap.provider == split::SPLIT {
            split::is_allowed(&self.providers, wrap)
        } else {
            self.providers.iter().any(|allowed| allowed.allows(wrap))
        }
    }

    /// The key in one wrap, checked against the record.
    pub(crate) async fn key_in(&self, record: &KeyRecord, wrap: &Wrap) -> Result<KeyMaterial, RingError> {
        let id = record.context.key_id;
        if wrap.provider == split::SPLIT {
            return checked(
                record,
                split::unwrap(&self.providers, self.patience, &record.context, wrap).await?,
            );
        }
        let allowed = self.providers.iter().find(|allowed| allowed.allows(wrap));
        let provider = allowed.ok_or(ConfigError::KekNotAllowed(id))?.provider();
        let key = provider.unwrap(&wrap.kek, &record.context, &wrap.bytes).await;
        checked(record, key.map_err(|error| provider_error(id, error))?)
    }

    /// Asks for the key in one wrap, or the device that has it, and forgets it.
    async fn try_wrap(&self, record: &KeyRecord, wrap: &Wrap) -> Result<(), RingError> {
        match record.device_wrap() {
            Some(wrap) => self.device(record, wrap).await.map(drop),
            None => self.key_in(record, wrap).await.map(drop),
        }
    }

    /// Tries every wrap of a key.
    pub(super) async fn check_wraps(&self, record: &KeyRecord) -> Vec<WrapCheck> {
        let mut checks = Vec::with_capacity(record.wraps.len());
        for wrap in &record.wraps {
            checks.push(self.check_wrap(record, wrap).await);
        }
        checks
    }

    async fn check_wrap(&self, record: &KeyRecord, wrap: &Wrap) -> WrapCheck {
        let (outcome, error) = if self.has(record, wrap) {
            match self.try_wrap(record, wrap).await {
                Ok(()) => (WrapOutcome::Opens, None),
                Err(error) => (WrapOutcome::of(&error), Some(error)),
            }
        } else {
            (WrapOutcome::NotConfigured, None)
        };
        WrapCheck {
            key_id: record.context.key_id,
            provider: wrap.provider.clone(),
            kek: wrap.kek.clone(),
            outcome,
            error,
        }
    }

    /// Opens every wrap of a record that configuration has; how many those are.
    pub(crate) async fn check_configured(&self, record: &KeyRecord) -> Result<usize, RingError> {
        let mut opened = 0;
        for wrap in record.wraps.iter().filter(|wrap| self.has(record, wrap)) {
            self.try_wrap(record, wrap).await?;
            opened += 1;
        }
        Ok(opened)
    }

    /// I-1: every wrap that configuration has opens, and there is one.
    pub(crate) async fn check_durable(&self, record: &KeyRecord) -> Result<(), RingError> {
        match self.check_configured(record).await? {
            0 => Err(ConfigError::KekNotAllowed(record.context.key_id).into()),
            _ => Ok(()),
        }
    }

    /// One wrap opens, and none that is within reach gives anything else: where there is no time to wait for a provider.
    pub(crate) async fn check_reachable(&self, record: &KeyRecord) -> Result<(), RingError> {
        let mut out_of_reach = None;
        let mut opened = false;
        for wrap in record.wraps.iter().filter(|wrap| self.has(record, wrap)) {
            match self.try_wrap(record, wrap).await {
                Ok(()) => opened = true,
                Err(error @ RingError::KeyUnavailable(..)) => out_of_reach = Some(error),
                Err(error) => return Err(error),
            }
        }
        if opened {
            return Ok(());
        }
        Err(out_of_reach.unwrap_or_else(|| ConfigError::KekNotAllowed(record.context.key_id).into()))
    }

    /// The key of a record by the first wrap that opens, of those that `which` takes.
    pub(crate) async fn key_of(
        &self,
        record: &KeyRecord,
        which: impl Fn(&Wrap) -> bool,
    ) -> Result<KeyMaterial, RingError> {
        let mut failure = None;
        for wrap in record
            .wraps
            .iter()
            .filter(|wrap| which(wrap) && self.has(record, wrap))
        {
            match self.key_in(record, wrap).await {
                Ok(key) => return Ok(key),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| ConfigError::KekNotAllowed(record.context.key_id).into()))
    }
}
