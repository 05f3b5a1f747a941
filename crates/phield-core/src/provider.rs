//! Key providers: the one joint that third parties implement.

use std::error::Error;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use crate::context::KeyContext;
use crate::key::KeyMaterial;
use crate::name::ProviderName;
use crate::record::{KekReference, Wrap};

/// A boxed future, so that providers can be chosen at run time.
pub type ProviderFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// Wraps and unwraps the keys of a ring under key-encryption keys that it alone holds.
///
/// # Security
/// A wrap must be bound to the [`KeyContext`]: unwrapping under another context fails. A provider never falls back
/// to another key-encryption key than the one named.
pub trait KeyProvider: Send + Sync + fmt::Debug {
    /// The name that wraps carry: `local`, `aws-kms`, `pkcs11`, or a name of its own.
    fn name(&self) -> &ProviderName;

    /// Encrypts `key` under the key-encryption key `kek`, bound to `context`.
    fn wrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>>;

    /// Makes a fresh key and its wrap in one call, where the provider does that itself (`GenerateDataKey` of a KMS).
    /// Unless overridden, the key is 32 bytes of the operating system's randomness, [wrapped](Self::wrap).
    fn generate<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
    ) -> ProviderFuture<'a, (KeyMaterial, Vec<u8>)> {
        Box::pin(async move {
            let random =
                |source| ProviderError::new(ProviderErrorKind::Unavailable, "generate").with_source(source);
            let key = KeyMaterial::random().map_err(random)?;
            let wrapped = self.wrap(kek, context, &key).await?;
            Ok((key, wrapped))
        })
    }

    /// Decrypts what [`wrap`](Self::wrap) or [`generate`](Self::generate) made.
    fn unwrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial>;

    /// When the key-encryption key was made, in seconds since the Unix epoch, where that is known without a call: for
    /// reminders. Unless overridden, nobody knows.
    fn kek_created(&self, kek: &KekReference) -> Option<u64> {
        let _ = kek;
        None
    }

    /// HMAC-SHA-256 of `message` by the key `key`, which never leaves the provider's device: for blind indexes of the
    /// algorithm `device-hmac-sha256`.
    ///
    /// # Security
    /// `message` holds an unkeyed hash of an indexed value: where values are few, that is as good as the value. It must
    /// not be logged.
    ///
    /// A provider without such keys has nothing to write: unless overridden, the answer is
    /// [`ProviderErrorKind::Unsupported`].
    fn mac<'a>(&'a self, key: &'a KekReference, message: &'a [u8]) -> ProviderFuture<'a, [u8; 32]> {
        let (_, _) = (key, message);
        Box::pin(ready(Err(ProviderError::new(
            ProviderErrorKind::Unsupported,
            "mac",
        ))))
    }
}

/// What a provider's failure means for the ring (format §8.5, R-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// Out of reach, throttled or broken: try again.
    Unavailable,
    /// Access denied, key disabled or pending deletion.
    Refused,
    /// The wrap does not open under this key and context.
    Authentication,
    /// The wrap is not one of this provider's.
    Malformed,
    /// The provider has no such key-encryption key.
    UnknownKek,
    /// The provider does not do this.
    Unsupported,
}

/// A call of a provider failed.
#[derive(Debug)]
pub struct ProviderError {
    kind: ProviderErrorKind,
    call: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ProviderError {
    /// The failure of the call with this name.
    #[must_use]
    pub fn new(kind: ProviderErrorKind, call: &'static str) -> Self {
        Self {
            kind,
            call,
            source: None,
        }
    }

    /// Adds the provider's own error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the failure means.
    #[must_use]
    pub fn kind(&self) -> ProviderErrorKind {
        self.kind
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ProviderErrorKind::Unavailable => "is out of reach",
            ProviderErrorKind::Refused => "refused access to the key",
            ProviderErrorKind::Authentication => "could not open the wrap",
            ProviderErrorKind::Malformed => "does not know this kind of wrap",
            ProviderErrorKind::UnknownKek => "does not have this key-encryption key",
            ProviderErrorKind::Unsupported => "does not do this",
        };
        write!(f, "the key provider {what} ({})", self.call)
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A provider and the key-encryption keys of it that configuration allows.
#[derive(Debug, Clone)]
pub struct AllowedProvider {
    provider: Arc<dyn KeyProvider>,
    keks: Vec<KekReference>,
    mac_keys: Vec<KekReference>,
}

impl AllowedProvider {
    /// `provider`, restricted to `keks`: every other reference is refused before the provider is called.
    #[must_use]
    pub fn new(provider: Arc<dyn KeyProvider>, keks: impl IntoIterator<Item = KekReference>) -> Self {
        Self {
            provider,
            keks: keks.into_iter().collect(),
            mac_keys: Vec::new(),
        }
    }

    /// Allows these index peppers too, which stay in the provider's device. They wrap nothing.
    #[must_use]
    pub fn with_mac_keys(mut self, keys: impl IntoIterator<Item = KekReference>) -> Self {
        self.mac_keys.extend(keys);
        self
    }

    /// The provider.
    #[must_use]
    pub fn provider(&self) -> &dyn KeyProvider {
        self.provider.as_ref()
    }

    pub(crate) fn shared(&self) -> Arc<dyn KeyProvider> {
        Arc::clone(&self.provider)
    }

    /// The key-encryption keys, in the order of configuration: new keys are wrapped under each.
    #[must_use]
    pub fn keks(&self) -> &[KekReference] {
        &self.keks
    }

    pub(crate) fn allows_mac(&self, wrap: &Wrap) -> bool {
        *self.provider.name() == wrap.provider && self.mac_keys.contains(&wrap.kek)
    }

    pub(crate) fn allows(&self, wrap: &Wrap) -> bool {
        self.has(&wrap.provider, &wrap.kek)
    }

    /// Whether it is this provider, and the key-encryption key is one of those that are allowed.
    pub(crate) fn has(&self, provider: &ProviderName, kek: &KekReference) -> bool {
        self.provider.name() == provider && self.keks.contains(kek)
    }
}
