//! From an alias to the ARN that a ring keeps: for key ceremonies alone.

use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyState, KeyUsageType};
use phield_core::{KekReference, ProviderError};

use crate::arn::KeyArn;
use crate::failure::KmsFailure;
use crate::provider::{AwsKmsProvider, in_runtime};

/// What a key of KMS is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPurpose {
    /// Wrapping keys: a symmetric key for encryption and decryption.
    Wrap,
    /// An index pepper: an HMAC key of 256 bits.
    Mac,
}

/// A key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// An alias or a bare id, and no region to look it up in.
    #[error("there is no region to look {0:?} up in: give the ARN, or a region")]
    NoRegion(String),
    /// It is neither an alias nor a key.
    #[error("{0:?} is neither an alias of AWS KMS, nor a key id, nor an ARN of one of them")]
    NoKey(String),
    /// KMS does not say.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The answer names no key.
    #[error("AWS KMS answered without a key ARN")]
    NoArn,
    /// The key is disabled, pending deletion, or has no key material.
    #[error("the key {arn} cannot be used: its state is {state}")]
    State {
        /// The key.
        arn: KekReference,
        /// Its state, in the words of KMS.
        state: String,
    },
    /// The key is for something else.
    #[error("the key {arn} is of the usage {usage} and the spec {spec}; wanted is {wanted}")]
    Usage {
        /// The key.
        arn: KekReference,
        /// Its usage, in the words of KMS.
        usage: String,
        /// Its spec, in the words of KMS.
        spec: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl AwsKmsProvider {
    /// The key ARN behind an alias (`alias/phield`), a key id, or an ARN of either, of a key that is enabled and of the
    /// right kind. It takes the permission `kms:DescribeKey`.
    ///
    /// # Security
    /// For `phield init` and key ceremonies alone, whose person checks the ARN that comes out: whoever may change an alias
    /// points it to a key of their own. Nothing else in phield takes an alias.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve_key(&self, key: &str, purpose: KeyPurpose) -> Result<KekReference, ResolveError> {
        let region = self.region_of(key)?;
        in_runtime("DescribeKey")?;
        let described = self
            .client(&region)
            .describe_key()
            .key_id(key)
            .set_grant_tokens(self.grant_tokens())
            .send()
            .await
            .map_err(|error| KmsFailure::of(&error).during("DescribeKey"))?;
        let metadata = described.key_metadata.ok_or(ResolveError::NoArn)?;
        let arn = metadata.arn().and_then(|arn| arn.parse::<KeyArn>().ok());
        let arn = arn
            .and_then(|arn| KekReference::new(arn.as_str()))
            .ok_or(ResolveError::NoArn)?;
        check(arn, &metadata, purpose)
    }

    /// Where to ask: in the region of an ARN, else in the provider's own.
    fn region_of(&self, key: &str) -> Result<String, ResolveError> {
        let shown = || key.chars().take(200).collect();
        let printable = key.bytes().all(|byte| byte.is_ascii_graphic()) && (1..=512).contains(&key.len());
        if !printable {
            return Err(ResolveError::NoKey(shown()));
        }
        let own = || {
            self.own_region()
                .map(str::to_owned)
                .ok_or_else(|| ResolveError::NoRegion(shown()))
        };
        if !key.starts_with("arn:") {
            return own();
        }
        // The region of a key in the account and under the id of an alias' ARN.
        let as_key = key.replacen(":alias/", ":key/", 1);
        let (account, _) = as_key
            .split_once(":key/")
            .ok_or_else(|| ResolveError::NoKey(shown()))?;
        let arn = format!("{account}:key/0").parse::<KeyArn>();
        Ok(arn.map_err(|_| ResolveError::NoKey(shown()))?.region().to_owned())
    }
}

fn check(arn: KekReference, key: &KeyMetadata, purpose: KeyPurpose) -> Result<KekReference, ResolveError> {
    let state = key.key_state();
    if !key.enabled() || state.is_some_and(|state| *state != KeyState::Enabled) {
        let state = state.map_or("Disabled", KeyState::as_str).to_owned();
        return Err(ResolveError::State { arn, state });
    }
    let (usage, spec, wanted) = match purpose {
        KeyPurpose::Wrap => (
            KeyUsageType::EncryptDecrypt,
            KeySpec::SymmetricDefault,
            "ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT",
        ),
        KeyPurpose::Mac => (
            KeyUsageType::GenerateVerifyMac,
            KeySpec::Hmac256,
            "GENERATE_VERIFY_MAC, HMAC_256",
        ),
    };
    if key.key_usage() == Some(&usage) && key.key_spec() == Some(&spec) {
        return Ok(arn);
    }
    Err(ResolveError::Usage {
        arn,
        usage: key.key_usage().map_or("unknown", KeyUsageType::as_str).to_owned(),
        spec: key.key_spec().map_or("unknown", KeySpec::as_str).to_owned(),
        wanted,
    })
}
