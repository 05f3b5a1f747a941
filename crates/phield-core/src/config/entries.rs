//! The entries of `phield.toml`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cache_policy::CachePolicy;
use crate::civil;
use crate::config::ConfigError;
use crate::data_key_policy::DataKeyPolicy;
use crate::index_workers::IndexWorkerLimits;
use crate::key_policy::KeyPolicy;
use crate::local::LOCAL;
use crate::name::{InvalidName, ProviderName, ScopeName, TableName, TenantName};
use crate::record::KekReference;
use crate::scope::Scopes;

/// One text or a list of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::exhaustive_enums, reason = "complete by its name")]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Many.
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn iter(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }
}

/// A file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileConfig {
    /// Its path.
    pub file: PathBuf,
}

impl FileConfig {
    /// The file with this path.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }
}

/// Where the manifest is: a file, or a table of a database by its URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyStoreConfig {
    /// The path of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The URL of the database; better in the variable `PHIELD_KEY_STORE_URL`, with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<DatabaseUrl>,
    /// The table; `phield_key_store` unless configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

impl KeyStoreConfig {
    /// The key store in this file.
    #[must_use]
    pub fn file(file: impl Into<PathBuf>) -> Self {
        Self {
            file: Some(file.into()),
            url: None,
            table: None,
        }
    }
}

/// A URL that may hold a password: its `Debug` shows the scheme alone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// A URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL, for a driver.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split_once(':').map_or("", |(scheme, _)| scheme);
        write!(f, "DatabaseUrl({scheme}:…)")
    }
}

/// A key provider: what all have, and the entries of its kind, of which `Debug` shows the names alone: somebody may have
/// written a PIN there.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProviderConfig {
    /// The name that wraps carry. It stays what it is.
    pub name: String,
    /// `local`, `aws-kms`, `pkcs11`, or the kind of a third party; the name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The key-encryption keys that are allowed: new keys are wrapped under each.
    pub keks: Vec<String>,
    /// The index peppers in the provider's device that are allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mac_keys: Vec<String>,
    /// The entries of its kind.
    #[serde(flatten)]
    options: toml::Table,
}

impl ProviderConfig {
    /// A provider named as its kind, with these key-encryption keys allowed.
    #[must_use]
    pub fn new(kind: impl Into<String>, keks: impl IntoIterator<Item = String>) -> Self {
        Self {
            name: kind.into(),
            kind: None,
            keks: keks.into_iter().collect(),
            mac_keys: Vec::new(),
            options: toml::Table::new(),
        }
    }

    /// With an entry of its kind.
    #[must_use]
    pub fn with(mut self, entry: &str, text: impl Into<String>) -> Self {
        let text = toml::Value::String(text.into());
        self.options.insert(entry.to_owned(), text);
        self
    }

    /// The kind of provider.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(&self.name)
    }

    /// The name that wraps carry.
    ///
    /// # Errors
    /// When it is no name.
    pub fn provider_name(&self) -> Result<ProviderName, InvalidName> {
        ProviderName::new(self.name.clone())
    }

    /// The environment variable that goes before one of its entries: `variable` where it has the name of its kind, else
    /// with its own name behind, `PHIELD_PASSPHRASE_FILE_BREAK_GLASS` for a local one named `break-glass`.
    #[must_use]
    pub fn variable(&self, variable: &str) -> String {
        if self.kind() == self.name {
            return variable.to_owned();
        }
        let name = self.name.to_ascii_uppercase();
        format!(
            "{variable}_{}",
            name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        )
    }

    /// The entries of its kind: a type that has `#[serde(deny_unknown_fields)]`.
    ///
    /// # Errors
    /// [`ConfigError::Provider`]; which entry is wrong, not what it says.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        self.options
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| self.wrong(message_without_values(&error)))
    }

    /// The error of an entry: `message` says what to fix and quotes no value.
    #[must_use]
    pub fn wrong(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::Provider {
            provider: self.name.clone(),
            message: message.into(),
        }
    }

    pub(super) fn references(list: &[String]) -> Result<Vec<KekReference>, ConfigError> {
        list.iter()
            .map(|kek| KekReference::new(kek.as_str()).ok_or(ConfigError::KekReference))
            .collect()
    }
}

impl fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderConfig")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("keks", &self.keks)
            .field("mac_keys", &self.mac_keys)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// What a TOML error says, but for the value that it quotes: somebody may have written a PIN there.
fn message_without_values(error: &toml::de::Error) -> String {
    let message = error.message();
    match message.split_once(": ") {
        Some((what, rest)) => match rest.rsplit_once(", expected ") {
            Some((_, expected)) => format!("{what}, expected {expected}"),
            None => what.to_owned(),
        },
        None => message.to_owned(),
    }
}

/// Two key-encryption keys that are both needed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DualControlConfig {
    /// The first.
    pub first: KekConfig,
    /// The second.
    pub second: KekConfig,
}

impl DualControlConfig {
    pub(super) fn keks(&self) -> Result<[(ProviderName, KekReference); 2], ConfigError> {
        let kek = |config: &KekConfig| {
            let reference = KekReference::new(config.kek.as_str()).ok_or(ConfigError::KekReference)?;
            Ok::<_, ConfigError>((ProviderName::new(config.provider.clone())?, reference))
        };
        Ok([kek(&self.first)?, kek(&self.second)?])
    }
}

/// A key-encryption key of a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KekConfig {
    /// The name of the provider.
    pub provider: String,
    /// The reference.
    pub kek: String,
}

/// How long keys are used without having been asked for again; see [`CachePolicy`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheConfig {
    /// Then they are refreshed in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_ttl_seconds: Option<u64>,
    /// Then they are gone, if no refresh worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_ttl_seconds: Option<u64>,
    /// How many keys are unwrapped at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_unwraps: Option<usize>,
}

impl CacheConfig {
    pub(super) fn policy(&self) -> Result<CachePolicy, ConfigError> {
        let default = CachePolicy::default();
        let seconds = |value: Option<u64>, default| value.map_or(default, Duration::from_secs);
        CachePolicy::new(
            seconds(self.soft_ttl_seconds, default.soft_ttl()),
            seconds(self.hard_ttl_seconds, default.hard_ttl()),
        )?
        .with_concurrent_unwraps(self.concurrent_unwraps.unwrap_or(default.concurrent_unwraps()))
    }
}

/// How long data keys seal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DataKeysConfig {
    /// Days that a data key seals for; 90 unless configured.
    #[serde(default = "DataKeysConfig::default_days")]
    pub days: u32,
    /// Fields that all processes together seal in a second at most; 500 unless configured.
    #[serde(default = "DataKeysConfig::default_rate")]
    pub tokens_per_second: u64,
}

impl DataKeysConfig {
    fn default_days() -> u32 {
        90
    }

    fn default_rate() -> u64 {
        500
    }
}

/// When keys are to be replaced and may be destroyed; see [`KeyPolicy`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PolicyConfig {
    /// Days that a data key is meant to seal for; 90 unless configured, and never more than `[data_keys]` lets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_key_days: Option<u32>,
    /// Days that an index pepper and a ring key are meant to serve; 365 unless configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_key_days: Option<u32>,
    /// Days that a key-encryption key is meant to serve; 365 unless configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kek_days: Option<u32>,
    /// Days before that in which it is said; 14 unless configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning_days: Option<u32>,
    /// Days that an old key is kept after the scan that found nothing of it; 30 unless configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroy_after_days: Option<u32>,
    /// Since when key-encryption keys exist, where their provider does not tell: KMS and HSM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kek: Vec<KekSinceConfig>,
}

/// Since when a key-encryption key exists.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KekSinceConfig {
    /// The name of the provider.
    pub provider: String,
    /// The reference.
    pub kek: String,
    /// The day: `2026-01-31`.
    pub since: String,
}

impl PolicyConfig {
    pub(super) fn policy(&self, data_keys: DataKeyPolicy) -> Result<KeyPolicy, ConfigError> {
        let mut policy = KeyPolicy::default();
        let set = |days: Option<u32>, is_zero_good, to: &mut Duration| -> Result<(), ConfigError> {
            if let Some(days) = days {
                *to = KeyPolicy::days(days, is_zero_good)?;
            }
            Ok(())
        };
        set(self.data_key_days, false, &mut policy.data_key)?;
        set(self.other_key_days, false, &mut policy.other_key)?;
        set(self.kek_days, false, &mut policy.kek)?;
        set(self.warning_days, true, &mut policy.warning)?;
        set(self.destroy_after_days, true, &mut policy.destroy_after)?;
        policy.data_key = policy.data_key.min(data_keys.lifetime());
        for KekSinceConfig { provider, kek, since } in &self.kek {
            let reference = KekReference::new(kek.as_str()).ok_or(ConfigError::KekReference)?;
            let since = civil::midnight(since).ok_or(ConfigError::KeyPolicy)?;
            let entry = (ProviderName::new(provider.clone())?, reference, since);
            policy.kek_since.push(entry);
        }
        Ok(policy)
    }
}

/// What the workers of slow indexes may use; see [`IndexWorkerLimits`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SlowIndexConfig {
    /// Memory, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Requests that may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<usize>,
}

impl SlowIndexConfig {
    pub(super) fn limits(&self) -> Result<IndexWorkerLimits, ConfigError> {
        let mut limits = IndexWorkerLimits::default();
        limits.memory_mib = self.memory_mib.unwrap_or(limits.memory_mib);
        limits.threads = self.threads.unwrap_or(limits.threads);
        limits.queue = self.queue.unwrap_or(limits.queue);
        // The least value of a slow index takes 64 MiB.
        if limits.memory_mib >= 64 && limits.threads >= 1 && limits.queue >= 1 {
            Ok(limits)
        } else {
            Err(ConfigError::IndexWorkers)
        }
    }
}

/// A scope rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ScopeConfig {
    /// The table; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The tenant; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The scope that seals; the keys without a scope when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Scopes that sealed before; the empty text stands for the keys without a scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<String>,
}

impl ScopeConfig {
    pub(super) fn assign(&self, scopes: Scopes) -> Result<Scopes, ConfigError> {
        let table = self.table.clone().map(TableName::new).transpose()?;
        let tenant = self.tenant.clone().map(TenantName::new).transpose()?;
        let scope = self.scope.clone().map(ScopeName::new).transpose()?;
        let former = self.former.iter().map(|name| match name.as_str() {
            "" => Ok(None),
            name => ScopeName::new(name).map(Some),
        });
        let former = former.collect::<Result<Vec<_>, InvalidName>>()?;
        Ok(scopes.assign(table, tenant, scope, former))
    }
}

/// Where `phield init` puts the files of a ring with a local key file.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs, reason = "a list of arguments by name")]
pub struct LocalFiles {
    /// The folder that the other paths are relative to.
    pub folder: PathBuf,
    /// The manifest.
    pub key_store: PathBuf,
    /// The highest epoch seen.
    pub epoch_witness: PathBuf,
    /// The key file.
    pub key_file: PathBuf,
    /// The passphrase of the key file.
    pub passphrase_file: PathBuf,
    /// The backup of the manifest.
    pub backup: Option<PathBuf>,
}

impl LocalFiles {
    /// The provider of the key file.
    #[must_use]
    pub fn provider(&self) -> ProviderConfig {
        let text = |path: &Path| path.display().to_string();
        ProviderConfig::new(LOCAL.to_string(), ["1".to_owned()])
            .with("key_file", text(&self.key_file))
            .with("passphrase_file", text(&self.passphrase_file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PIN in the wrong place, and a grant token in the right one.
    #[test]
    fn debug_shows_no_value_of_a_providers_own_entries() {
        let config: ProviderConfig = toml::from_str(
            "name = \"hsm\"\nkind = \"pkcs11\"\nkeks = [\"phield/kek\"]\nmac_keys = [\"phield/pepper\"]\n\
             pin = \"pin-4711\"\n[region]\ngrant_tokens = [\"token-4711\"]\n",
        )
        .unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("4711"), "{shown}");
        assert_eq!(
            shown,
            "ProviderConfig { name: \"hsm\", kind: Some(\"pkcs11\"), keks: [\"phield/kek\"], \
             mac_keys: [\"phield/pepper\"], options: [\"pin\", \"region\"] }"
        );
    }
}
