//! A provider that fails as it is told.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use phield_core::{
    KekReference, KeyContext, KeyId, KeyMaterial, KeyProvider, KeyUse, ProviderError, ProviderErrorKind,
    ProviderFuture, ProviderName,
};

/// What happens to calls of a [`FaultyProvider`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    None,
    /// They fail at once.
    Fails(ProviderErrorKind),
    /// They are never answered: a black hole.
    Hangs,
    /// They are answered late.
    Late(Duration),
    /// They panic.
    Panics,
}

/// A real provider in front of which outages and refusals are played, and calls are counted.
pub struct FaultyProvider {
    inner: Arc<dyn KeyProvider>,
    fault: Mutex<(Fault, Option<KeyUse>)>,
    refused: Mutex<Option<Vec<u8>>>,
    unwraps: Mutex<Vec<KeyId>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl FaultyProvider {
    /// In front of this provider.
    #[must_use]
    pub fn new(inner: Arc<dyn KeyProvider>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            fault: Mutex::new((Fault::None, None)),
            refused: Mutex::default(),
            unwraps: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    /// From now on this happens to every call.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = (fault, None);
    }

    /// From now on this happens to calls for keys of one use.
    pub fn set_for(&self, key_use: KeyUse, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = (fault, Some(key_use));
    }

    /// From now on this wrap is refused.
    pub fn refuse(&self, wrap: &[u8]) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(wrap.to_vec());
    }

    fn refuses(&self, wrap: &[u8]) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_deref() == Some(wrap)
    }

    /// The keys that were to be unwrapped so far, failed calls included.
    #[must_use]
    pub fn unwraps(&self) -> Vec<KeyId> {
        self.unwraps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The most calls that were under way at a time.
    #[must_use]
    pub fn most_at_a_time(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn note(&self, id: KeyId) {
        self.unwraps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id);
    }

    async fn pass(&self, context: &KeyContext, call: &'static str) -> Result<(), ProviderError> {
        let (fault, key_use) = *self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if key_use.is_some_and(|key_use| key_use != context.key_use) {
            return Ok(());
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Fails(kind) => Err(ProviderError::new(kind, call)),
            Fault::Hangs => std::future::pending().await,
            #[allow(clippy::panic, reason = "as it is told")]
            Fault::Panics => panic!("the provider panics, as it is told"),
            Fault::Late(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
        }
    }
}

/// One call under way.
struct Running<'a>(&'a FaultyProvider);

impl<'a> Running<'a> {
    fn new(provider: &'a FaultyProvider) -> Self {
        let running = provider.running.fetch_add(1, Ordering::SeqCst) + 1;
        provider.most.fetch_max(running, Ordering::SeqCst);
        Self(provider)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl KeyProvider for FaultyProvider {
    fn name(&self) -> &ProviderName {
        self.inner.name()
    }

    fn kek_created(&self, kek: &KekReference) -> Option<u64> {
        self.inner.kek_created(kek)
    }

    fn wrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        Box::pin(async move {
            self.pass(context, "wrap").await?;
            self.inner.wrap(kek, context, key).await
        })
    }

    fn unwrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        Box::pin(async move {
            let _running = Running::new(self);
            self.note(context.key_id);
            self.pass(context, "unwrap").await?;
            if self.refuses(wrapped) {
                return Err(ProviderError::new(ProviderErrorKind::Refused, "unwrap"));
            }
            self.inner.unwrap(kek, context, wrapped).await
        })
    }
}

impl fmt::Debug for FaultyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyProvider")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
