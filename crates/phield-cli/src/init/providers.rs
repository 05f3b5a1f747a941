//! Under which key-encryption keys a ring is made.

use std::path::{Path, PathBuf};

use phield_core::config::ProviderConfig;
use phield_core::{AllowedProvider, Backends, KekReference};

use crate::Error;

/// The key-encryption keys of `phield init`: a local key file alone, unless others are given.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Key-encryption keys [default: a local key file]")]
#[non_exhaustive]
pub struct KekArguments {
    /// A key of AWS KMS: an alias (alias/clinic), a key id or an ARN. Can be repeated, for another region
    #[arg(long, value_name = "KEY")]
    pub kms_key: Vec<String>,
    /// The region that aliases and key ids are looked up in [default: that of the first ARN]
    #[arg(long, value_name = "REGION", requires = "kms_key")]
    pub kms_region: Option<String>,
    /// Where KMS is called, for every region: a VPC endpoint without private DNS, an emulator
    #[arg(long, value_name = "URL", requires = "kms_key")]
    pub kms_endpoint_url: Option<String>,
    /// A key in an HSM, as `phield hsm create-key` made it. Can be repeated
    #[arg(long, value_name = "TOKEN/KEY", requires = "hsm_module")]
    pub hsm_key: Vec<String>,
    /// The PKCS#11 module of the HSM: a shared library
    #[arg(long, value_name = "FILE", requires_all = ["hsm_key", "hsm_pin_file"])]
    pub hsm_module: Option<PathBuf>,
    /// A file with the user PIN of the HSM, for your eyes alone (chmod 600)
    #[arg(long, value_name = "FILE", requires = "hsm_key")]
    pub hsm_pin_file: Option<PathBuf>,
    /// A local key file, too: a second wrap of every key, for the day on which KMS or the HSM is lost
    #[arg(long)]
    pub with_key_file: bool,
}

impl KekArguments {
    /// Whether there is a local key file.
    pub(super) fn has_key_file(&self) -> bool {
        self.with_key_file || (self.kms_key.is_empty() && self.hsm_key.is_empty())
    }

    /// The providers but for the local key file, each with its entries of `phield.toml`.
    pub(super) async fn open(
        &self,
        folder: &Path,
        backends: &Backends,
    ) -> Result<Vec<(ProviderConfig, AllowedProvider)>, Error> {
        let mut configs = Vec::new();
        if !self.kms_key.is_empty() {
            configs.push(self.kms().await?);
        }
        if !self.hsm_key.is_empty() {
            configs.push(self.hsm()?);
        }
        let mut opened = Vec::new();
        for config in configs {
            let provider = backends.provider(&config, folder).await?;
            let keks = config.keks.iter().map(|kek| {
                let kek = KekReference::new(kek.as_str());
                kek.ok_or(phield_core::config::ConfigError::KekReference)
            });
            let keks = keks.collect::<Result<Vec<_>, _>>()?;
            opened.push((config, AllowedProvider::new(provider, keks)));
        }
        Ok(opened)
    }

    /// Configuration keeps ARNs: an alias can be made to point to another key.
    async fn kms(&self) -> Result<ProviderConfig, Error> {
        let with = |mut config: ProviderConfig| {
            if let Some(url) = &self.kms_endpoint_url {
                config = config.with("endpoint_url", url);
            }
            match &self.kms_region {
                Some(region) => config.with("region", region),
                None => config,
            }
        };
        let mut search = with(ProviderConfig::new("aws-kms", []));
        if self.kms_region.is_none() {
            let arns = self.kms_key.iter().filter(|key| key.starts_with("arn:"));
            let regions = arns.filter_map(|arn| arn.split(':').nth(3));
            for region in regions.take(1) {
                search = search.with("region", region);
            }
        }
        let arns = resolve(&search, &self.kms_key).await?;
        Ok(with(ProviderConfig::new("aws-kms", arns)))
    }

    fn hsm(&self) -> Result<ProviderConfig, Error> {
        let mut config = ProviderConfig::new("pkcs11", self.hsm_key.clone());
        for (entry, path) in [("module", &self.hsm_module), ("pin_file", &self.hsm_pin_file)] {
            let Some(path) = path else { continue };
            let absolute = std::path::absolute(path).map_err(|source| Error::File {
                action: "find",
                path: path.clone(),
                source,
            })?;
            config = config.with(entry, absolute.to_str().ok_or(Error::Path)?);
        }
        Ok(config)
    }
}

#[cfg(feature = "aws-kms")]
async fn resolve(search: &ProviderConfig, keys: &[String]) -> Result<Vec<String>, Error> {
    let provider = phield_aws_kms::AwsKmsFactory::new().provider(search).await?;
    let mut arns = Vec::new();
    for key in keys {
        let arn = provider
            .resolve_key(key, phield_aws_kms::KeyPurpose::Wrap)
            .await?;
        arns.push(arn.to_string());
    }
    Ok(arns)
}

/// What is no key ARN, a provider that somebody else brings refuses.
#[cfg(not(feature = "aws-kms"))]
async fn resolve(_: &ProviderConfig, keys: &[String]) -> Result<Vec<String>, Error> {
    match keys.iter().find(|key| !key.contains(":key/")) {
        Some(alias) => Err(Error::NoAliases(alias.clone())),
        None => Ok(keys.to_vec()),
    }
}
