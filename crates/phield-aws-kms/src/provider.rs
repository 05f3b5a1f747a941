//! The provider.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::config::{Config, Region};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, EncryptionAlgorithmSpec, MacAlgorithmSpec};
use phield_core::{
    KekReference, KeyContext, KeyMaterial, KeyProvider, ProviderError, ProviderErrorKind, ProviderFuture,
    ProviderName,
};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::arn::KeyArn;
use crate::context::EncryptionContext;
use crate::failure::KmsFailure;
use crate::limits::CallLimits;

/// The name of the provider in wraps.
const AWS_KMS: ProviderName = ProviderName::from_static("aws-kms");
/// The longest wrap that KMS takes, in bytes.
const MAX_WRAP: usize = 6144;

/// The provider `aws-kms`: wraps are `Encrypt` and `GenerateDataKey` of symmetric KMS keys, index peppers are HMAC keys.
///
/// A reference is a key ARN, and calls go to the region in it. See the [documentation of this crate](crate) for what the
/// errors mean and what AWS sees.
///
/// # Runtime
/// Calls are made on the tokio runtime that polls them, with its I/O and time enabled; the provider remembers none, and
/// may be built before there is one. A call outside of any fails
/// ([`Unsupported`](ProviderErrorKind::Unsupported)). Connections are kept between calls, and each is served by the
/// runtime that opened it: after a runtime that is not dropped, but no longer driven, a first call from another one runs
/// into the time-out of an attempt, and the retry opens a new connection.
pub struct AwsKmsProvider {
    name: ProviderName,
    /// Of the caller, with the limits of the calls. The region is of no account: every key names its own.
    config: Config,
    grant_tokens: Vec<String>,
    /// By region, each made at its first use.
    clients: Mutex<BTreeMap<String, Client>>,
}

impl AwsKmsProvider {
    /// A provider with the credentials, HTTP client and endpoint of the application. An endpoint serves every region.
    ///
    /// Time-outs and retries are those of [`CallLimits`], whatever `config` says, for a call that waits for minutes would
    /// turn an outage of KMS into one of the application.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self::with_config(config.into())
    }

    /// A provider with the settings of a KMS client of the application. Time-outs and retries as with [`new`](Self::new).
    #[must_use]
    pub fn from_client(client: &Client) -> Self {
        Self::with_config(client.config().clone())
    }

    pub(crate) fn with_config(config: Config) -> Self {
        Self {
            name: AWS_KMS,
            config,
            grant_tokens: Vec::new(),
            clients: Mutex::default(),
        }
        .with_limits(CallLimits::default())
    }

    /// Other time-outs and retries.
    #[must_use]
    pub fn with_limits(mut self, limits: CallLimits) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(limits.connect_timeout())
            .operation_attempt_timeout(limits.attempt_timeout())
            .operation_timeout(limits.timeout())
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(limits.attempts())
            .with_initial_backoff(CallLimits::FIRST_BACKOFF)
            .with_max_backoff(CallLimits::LONGEST_BACKOFF);
        let config = self.config.to_builder();
        self.config = config.timeout_config(timeouts).retry_config(retries).build();
        self.clients = Mutex::default();
        self
    }

    /// Grant tokens, sent with every call: for grants that are younger than a few minutes.
    #[must_use]
    pub fn with_grant_tokens(mut self, tokens: impl IntoIterator<Item = String>) -> Self {
        self.grant_tokens.extend(tokens);
        self
    }

    /// The same under another name: for keys in a second account, reached with other credentials.
    #[must_use]
    pub fn with_name(mut self, name: ProviderName) -> Self {
        self.name = name;
        self
    }

    /// The client of a region.
    pub(crate) fn client(&self, region: &str) -> Client {
        // A panic while it was held has left nothing half done.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(region.to_owned()).or_insert_with(|| {
            let config = self.config.to_builder().region(Region::new(region.to_owned()));
            Client::from_conf(config.build())
        });
        client.clone()
    }

    /// The region that aliases and bare ids are looked up in.
    pub(crate) fn own_region(&self) -> Option<&str> {
        self.config.region().map(Region::as_ref)
    }

    pub(crate) fn grant_tokens(&self) -> Option<Vec<String>> {
        (!self.grant_tokens.is_empty()).then(|| self.grant_tokens.clone())
    }

    /// The client for a reference, before any call is made.
    fn begin(&self, kek: &KekReference, call: &'static str) -> Result<Client, ProviderError> {
        let arn = KeyArn::try_from(kek)
            .map_err(|error| ProviderError::new(ProviderErrorKind::UnknownKek, call).with_source(error))?;
        in_runtime(call)?;
        Ok(self.client(arn.region()))
    }

    async fn encrypt(
        &self,
        kek: &KekReference,
        context: &KeyContext,
        key: &KeyMaterial,
    ) -> Result<Vec<u8>, ProviderError> {
        let answer = self
            .begin(kek, "Encrypt")?
            .encrypt()
            .key_id(kek.as_str())
            .encryption_algorithm(EncryptionAlgorithmSpec::SymmetricDefault)
            .set_encryption_context(Some(EncryptionContext::from(context).into_pairs()))
            .set_grant_tokens(self.grant_tokens())
            .plaintext(Blob::new(key.expose_bytes()))
            .send()
            .await
            .map_err(|error| failed(&error, "Encrypt"))?;
        same_key(kek, answer.key_id(), "Encrypt")?;
        wrap_of(answer.ciphertext_blob, "Encrypt")
    }

    async fn generate_data_key(
        &self,
        kek: &KekReference,
        context: &KeyContext,
    ) -> Result<(KeyMaterial, Vec<u8>), ProviderError> {
        let mut answer = self
            .begin(kek, "GenerateDataKey")?
            .generate_data_key()
            .key_id(kek.as_str())
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(EncryptionContext::from(context).into_pairs()))
            .set_grant_tokens(self.grant_tokens())
            .send()
            .await
            .map_err(|error| failed(&error, "GenerateDataKey"))?;
        let key = secret(answer.plaintext.take(), "GenerateDataKey");
        same_key(kek, answer.key_id(), "GenerateDataKey")?;
        Ok((key?, wrap_of(answer.ciphertext_blob, "GenerateDataKey")?))
    }

    async fn decrypt(
        &self,
        kek: &KekReference,
        context: &KeyContext,
        wrapped: &[u8],
    ) -> Result<KeyMaterial, ProviderError> {
        if !(1..=MAX_WRAP).contains(&wrapped.len()) {
            return Err(ProviderError::new(ProviderErrorKind::Malformed, "Decrypt"));
        }
        let mut answer = self
            .begin(kek, "Decrypt")?
            .decrypt()
            .key_id(kek.as_str())
            .encryption_algorithm(EncryptionAlgorithmSpec::SymmetricDefault)
            .set_encryption_context(Some(EncryptionContext::from(context).into_pairs()))
            .set_grant_tokens(self.grant_tokens())
            .ciphertext_blob(Blob::new(wrapped))
            .send()
            .await
            .map_err(|error| failed(&error, "Decrypt"))?;
        // Before anything can fail: what came out is erased.
        let key = secret(answer.plaintext.take(), "Decrypt");
        same_key(kek, answer.key_id(), "Decrypt")?;
        key
    }

    async fn generate_mac(&self, key: &KekReference, message: &[u8]) -> Result<[u8; 32], ProviderError> {
        let mut answer = self
            .begin(key, "GenerateMac")?
            .generate_mac()
            .key_id(key.as_str())
            .mac_algorithm(MacAlgorithmSpec::HmacSha256)
            .set_grant_tokens(self.grant_tokens())
            .message(Blob::new(message))
            .send()
            .await
            .map_err(|error| failed(&error, "GenerateMac"))?;
        let mac = secret(answer.mac.take(), "GenerateMac");
        same_key(key, answer.key_id(), "GenerateMac")?;
        Ok(*mac?.expose_bytes())
    }
}

impl KeyProvider for AwsKmsProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn wrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        Box::pin(self.encrypt(kek, context, key))
    }

    fn generate<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
    ) -> ProviderFuture<'a, (KeyMaterial, Vec<u8>)> {
        Box::pin(self.generate_data_key(kek, context))
    }

    fn unwrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        Box::pin(self.decrypt(kek, context, wrapped))
    }

    fn mac<'a>(&'a self, key: &'a KekReference, message: &'a [u8]) -> ProviderFuture<'a, [u8; 32]> {
        Box::pin(self.generate_mac(key, message))
    }
}

// The configuration of the SDK may hold credentials, and grant tokens are nobody's business.
impl fmt::Debug for AwsKmsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKmsProvider")
            .field("name", &self.name.as_str())
            .finish_non_exhaustive()
    }
}

/// The SDK panics without a runtime.
pub(crate) fn in_runtime(call: &'static str) -> Result<(), ProviderError> {
    Handle::try_current().map(|_| ()).map_err(|error| {
        ProviderError::new(ProviderErrorKind::Unsupported, call).with_source(error.to_string())
    })
}

fn failed<E>(error: &SdkError<E, HttpResponse>, call: &'static str) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    KmsFailure::of(error).during(call)
}

/// KMS says which key it used: another one than was asked for is refused.
fn same_key(kek: &KekReference, used: Option<&str>, call: &'static str) -> Result<(), ProviderError> {
    if used == Some(kek.as_str()) {
        return Ok(());
    }
    let kind = ProviderErrorKind::Authentication;
    Err(KmsFailure::new(kind, "the answer is of another key than was asked for").during(call))
}

/// The 32 bytes of an answer, moved into their place; the SDK's own copy is erased.
fn secret(blob: Option<Blob>, call: &'static str) -> Result<KeyMaterial, ProviderError> {
    let bytes = Zeroizing::new(blob.map(Blob::into_inner).unwrap_or_default());
    KeyMaterial::try_init_with(|key| {
        let bytes: &[u8; 32] = bytes.as_slice().try_into()?;
        key.copy_from_slice(bytes);
        Ok(())
    })
    .map_err(|_: std::array::TryFromSliceError| {
        let kind = ProviderErrorKind::Authentication;
        KmsFailure::new(kind, "what came out is not 32 bytes").during(call)
    })
}

fn wrap_of(blob: Option<Blob>, call: &'static str) -> Result<Vec<u8>, ProviderError> {
    let bytes = blob.map(Blob::into_inner).unwrap_or_default();
    if (1..=MAX_WRAP).contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(KmsFailure::new(ProviderErrorKind::Unavailable, "the answer is not one of KMS").during(call))
}
