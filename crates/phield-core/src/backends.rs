//! What a configuration can name: kinds of providers and of key stores. The core has the local key file and the key store
//! file; other crates, and third parties, add theirs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::{ConfigError, ProviderConfig};
use crate::error::RingError;
use crate::local::LocalProviderFactory;
use crate::name::RingName;
use crate::provider::KeyProvider;
use crate::store::{KeyStore, RingFuture};

/// Opens providers of one kind that `phield.toml` names in `[[provider]]`.
pub trait ProviderFactory: Send + Sync {
    /// The `kind` in configuration: `local`, `aws-kms`, `pkcs11`, or a name of its own.
    fn kind(&self) -> &'static str;

    /// Opens the provider. Its own entries are [`ProviderConfig::options`]; relative paths start at `folder`. It is named
    /// [`ProviderConfig::name`] in wraps.
    ///
    /// Wrong entries are [`ConfigError`]s. A provider that is out of reach is no error here: it is opened, and fails when
    /// it is asked.
    fn open<'a>(
        &'a self,
        config: &'a ProviderConfig,
        folder: &'a Path,
    ) -> RingFuture<'a, Arc<dyn KeyProvider>>;
}

/// Opens key stores of one kind that `phield.toml` names by `url` in `[key_store]`.
pub trait KeyStoreFactory: Send + Sync {
    /// The schemes of its URLs: `postgres`, `sqlite`.
    fn schemes(&self) -> &'static [&'static str];

    /// Opens the key store of a ring: the row of that name in `table`. The URL may hold a password: it stands in no
    /// error.
    fn open<'a>(
        &'a self,
        url: &'a str,
        table: &'a str,
        ring: &'a RingName,
    ) -> RingFuture<'a, Arc<dyn KeyStore>>;
}

/// The kinds of providers and key stores that a configuration can name.
///
/// The crate `phield` has a function that gives those of its features.
pub struct Backends {
    providers: Vec<Arc<dyn ProviderFactory>>,
    key_stores: Vec<Arc<dyn KeyStoreFactory>>,
}

impl Backends {
    /// Local key files, and key stores in files.
    #[must_use]
    pub fn local() -> Self {
        Self {
            providers: vec![Arc::new(LocalProviderFactory)],
            key_stores: Vec::new(),
        }
    }

    /// Adds a kind of providers.
    #[must_use]
    pub fn with_provider(mut self, factory: impl ProviderFactory + 'static) -> Self {
        self.providers.push(Arc::new(factory));
        self
    }

    /// Adds a kind of key stores.
    #[must_use]
    pub fn with_key_store(mut self, factory: impl KeyStoreFactory + 'static) -> Self {
        self.key_stores.push(Arc::new(factory));
        self
    }

    /// Opens a provider that configuration names.
    ///
    /// # Errors
    /// [`ConfigError::UnknownProvider`] for a kind that is not here; see [`RingError`].
    pub async fn provider(
        &self,
        config: &ProviderConfig,
        folder: &Path,
    ) -> Result<Arc<dyn KeyProvider>, RingError> {
        let kind = config.kind();
        let factory = self.providers.iter().find(|factory| factory.kind() == kind);
        let factory = factory.ok_or_else(|| ConfigError::UnknownProvider(kind.to_owned()))?;
        factory.open(config, folder).await
    }

    pub(crate) async fn key_store(
        &self,
        url: &str,
        table: &str,
        ring: &RingName,
    ) -> Result<Arc<dyn KeyStore>, RingError> {
        // The URL may hold a password: only its scheme is shown.
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let knows = |factory: &&Arc<dyn KeyStoreFactory>| factory.schemes().contains(&scheme);
        let factory = self.key_stores.iter().find(knows);
        let factory = factory.ok_or_else(|| ConfigError::UnknownKeyStore(scheme.to_owned()))?;
        factory.open(url, table, ring).await
    }
}

impl Default for Backends {
    fn default() -> Self {
        Self::local()
    }
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.providers.iter().map(|factory| factory.kind()).collect();
        f.debug_struct("Backends")
            .field("providers", &kinds)
            .finish_non_exhaustive()
    }
}
