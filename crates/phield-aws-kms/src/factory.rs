//! The provider from `phield.toml`.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use phield_core::config::{ConfigError, ProviderConfig};
use phield_core::{KeyProvider, ProviderFactory, RingError, RingFuture};
use serde::Deserialize;

use crate::arn::KeyArn;
use crate::limits::CallLimits;
use crate::provider::AwsKmsProvider;

/// The kind `aws-kms` of configuration, for [`Backends::with_provider`](phield_core::Backends::with_provider).
///
/// Credentials are found as every AWS SDK finds them: variables, profile, web identity, ECS, EC2. Nothing is called before a
/// key is asked for.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AwsKmsFactory;

impl AwsKmsFactory {
    /// The kind.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// The provider that configuration describes, for a key ceremony: [`AwsKmsProvider::resolve_key`] takes an alias.
    ///
    /// # Errors
    /// What is wrong with configuration.
    pub async fn provider(self, config: &ProviderConfig) -> Result<AwsKmsProvider, RingError> {
        open(config).await
    }
}

/// The entries of the provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AwsKmsOptions {
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    #[serde(default)]
    grant_tokens: Vec<String>,
    timeout_ms: Option<u64>,
    attempts: Option<u32>,
}

impl ProviderFactory for AwsKmsFactory {
    fn kind(&self) -> &'static str {
        "aws-kms"
    }

    fn open<'a>(&'a self, config: &'a ProviderConfig, _: &'a Path) -> RingFuture<'a, Arc<dyn KeyProvider>> {
        Box::pin(async move { Ok(Arc::new(open(config).await?) as Arc<dyn KeyProvider>) })
    }
}

async fn open(config: &ProviderConfig) -> Result<AwsKmsProvider, RingError> {
    let options: AwsKmsOptions = config.options()?;
    let name = config.provider_name().map_err(ConfigError::from)?;
    let arns = config.keks.iter().chain(&config.mac_keys).map(|key| {
        let arn = key.parse::<KeyArn>();
        arn.map_err(|error| {
            config.wrong(format!(
                "keks and mac_keys: {error}; `phield init` takes an alias and writes the ARN"
            ))
        })
    });
    let arns = arns.collect::<Result<Vec<_>, _>>()?;
    let limits = limits(&options).ok_or_else(|| config.wrong(crate::InvalidLimits.to_string()))?;
    if options.endpoint_url.as_deref().is_some_and(|url| !is_safe(url)) {
        let rule =
            "endpoint_url is an https URL, or an http URL of this machine, without a user name or password";
        return Err(config.wrong(rule).into());
    }
    // Without one the SDK would ask the metadata service of EC2 for it. Calls go to the region of the key.
    let first = || arns.first().map(|arn| arn.region().to_owned());
    let region = options.region.or_else(first).map(Region::new);
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region.clone());
    if let Some(profile) = options.profile {
        loader = loader.profile_name(profile);
    }
    let mut kms = aws_sdk_kms::config::Builder::from(&loader.load().await).region(region);
    if let Some(url) = options.endpoint_url {
        kms = kms.endpoint_url(url);
    }
    Ok(AwsKmsProvider::with_config(kms.build())
        .with_limits(limits)
        .with_grant_tokens(options.grant_tokens)
        .with_name(name))
}

fn limits(options: &AwsKmsOptions) -> Option<CallLimits> {
    let default = CallLimits::default();
    let timeout = options
        .timeout_ms
        .map_or(default.timeout(), Duration::from_millis);
    CallLimits::new(timeout, options.attempts.unwrap_or(default.attempts())).ok()
}

/// Keys go over this connection: encrypted, or inside the machine.
fn is_safe(url: &str) -> bool {
    let host = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
        (!authority.is_empty() && !authority.contains('@')).then_some(authority)
    };
    if let Some(rest) = url.strip_prefix("https://") {
        return host(rest).is_some();
    }
    let Some(authority) = url.strip_prefix("http://").and_then(host) else {
        return false;
    };
    let name = authority
        .rsplit_once(':')
        .map_or(authority.as_str(), |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) {
                name
            } else {
                authority.as_str()
            }
        });
    matches!(name, "localhost" | "[::1]")
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for good in [
            "https://kms.eu-central-1.amazonaws.com",
            "https://vpce-1-2.kms.eu-central-1.vpce.amazonaws.com/",
            "http://127.0.0.1:4566",
            "http://127.1.2.3:4566/",
            "http://localhost",
            "http://[::1]:4566/",
        ] {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "kms.eu-central-1.amazonaws.com",
            "http://kms.eu-central-1.amazonaws.com",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1@evil.example",
            "http://10.0.0.1:4566",
            "http://localhost@evil.example",
            "http://evil.example/127.0.0.1",
            "https://user:password@kms.eu-central-1.amazonaws.com",
            "https://",
            "HTTP://evil.example",
        ] {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}
