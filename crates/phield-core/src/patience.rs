//! How long the thread that refreshes a keyring waits for one answer. Every call has its own limit, so that a provider that
//! never answers does not keep the next one from being asked.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use crate::cache_policy::CachePolicy;
use crate::error::RingError;
use crate::provider::{ProviderError, ProviderErrorKind};

/// Longest and shortest limit; in between it is the soft TTL.
const LONGEST: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_secs(1);

/// The limit of one call; none outside the thread, where providers have limits of their own and there may be no timer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience(Option<Duration>);

impl Patience {
    /// Needs a tokio runtime with timers.
    pub(crate) fn of(policy: &CachePolicy) -> Self {
        Self(Some(policy.soft_ttl().clamp(SHORTEST, LONGEST)))
    }

    /// A call of a provider.
    pub(crate) async fn call<T>(
        self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let late = |_| ProviderError::new(ProviderErrorKind::Unavailable, "no answer in time");
        match self.0 {
            Some(limit) => timeout(limit, call).await.map_err(late)?,
            None => call.await,
        }
    }

    /// A call of the key store or epoch witness at `place`.
    pub(crate) async fn store<T>(
        self,
        place: impl FnOnce() -> String,
        call: impl Future<Output = Result<T, RingError>>,
    ) -> Result<T, RingError> {
        match self.0 {
            Some(limit) => timeout(limit, call).await.map_err(|_| RingError::Store {
                place: place(),
                source: "no answer in time".into(),
            })?,
            None => call.await,
        }
    }
}
