//! `phield.toml`: where the ring is and what may open it. Validated as a whole, with messages that say what to fix.
//!
//! ```toml
//! app = "clinic"
//! ring = "clinic-production"
//! ring_key = "0a1b2c3d:<64 hex digits>"        # or a list, while the ring key is being replaced
//! min_epoch = 1                                 # and, or, an epoch witness
//!
//! [key_store]
//! file = "ring.phield"                          # paths are relative to this file
//!
//! [epoch_witness]
//! file = "/var/lib/clinic/epoch.witness"        # where a writer of the key store cannot write
//!
//! [[provider]]
//! name = "local"
//! key_file = "keys.phield"
//! passphrase_file = "/run/secrets/phield"       # or the variable PHIELD_PASSPHRASE_FILE
//! keks = ["1"]                                  # the allow-list
//!
//! [data_keys]                                   # optional: how long data keys seal
//! days = 90
//! tokens_per_second = 500                       # what all processes together seal at most
//!
//! [slow_index]                                  # optional: what the workers of slow indexes may use
//! memory_mib = 256
//! threads = 2
//! queue = 1000
//!
//! [[scope]]                                     # optional: which keys serve which tables and tenants
//! table = "notes"
//! tenant = "t1"
//! scope = "a"
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data_key_policy::DataKeyPolicy;
use crate::error::RingError;
use crate::index_workers::{IndexWorkerLimits, IndexWorkers};
use crate::key::KeyId;
use crate::keyring::{Keyring, MAX_VALUE_LIMIT};
use crate::local::{LOCAL, LocalKeyFile, LocalProvider, Passphrase};
use crate::name::{AppName, InvalidName, RingName, ScopeName, TableName, TenantName};
use crate::provider::AllowedProvider;
use crate::record::KekReference;
use crate::ring::Ring;
use crate::scope::Scopes;
use crate::settings::{RingKeyPin, RingSettings};
use crate::store::FileStore;
use crate::witness::FileWitness;

/// Overrides `passphrase_file` of the local provider.
const PASSPHRASE_FILE_VARIABLE: &str = "PHIELD_PASSPHRASE_FILE";

/// Something in configuration is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// The configuration file is not what it should be.
    ///
    /// The line itself is not kept: somebody may have written a passphrase there.
    #[error("{} is not a phield configuration: line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A pin.
    #[error("ring_key is written as 8 hex digits, a colon and 64 hex digits, all lower-case")]
    Pin,
    /// No pin.
    #[error("ring_key is missing: `phield init` prints it")]
    NoPin,
    /// Neither an epoch witness nor a floor.
    #[error("an old key ring could be put back unnoticed: give [epoch_witness] or min_epoch")]
    NoEpochFloor,
    /// No provider.
    #[error("no provider with a key-encryption key is configured: add [[provider]] with keks")]
    NoProvider,
    /// A provider that this build does not have.
    #[error("there is no key provider {0:?} in this build")]
    UnknownProvider(String),
    /// A key-encryption key.
    #[error("no allowed key-encryption key opens key {0}: is its reference in keks, and in the key file?")]
    KekNotAllowed(KeyId),
    /// A provider without keys that stay in a device.
    #[error("the provider of key {0} has no keys that stay in a device")]
    NoDevice(KeyId),
    /// A reference.
    #[error("a key-encryption key reference is 1 to 512 bytes of printable ASCII")]
    KekReference,
    /// No passphrase file.
    #[error("the local provider needs passphrase_file, or the variable PHIELD_PASSPHRASE_FILE")]
    NoPassphraseFile,
    /// A passphrase.
    #[error("{} holds no passphrase: it is empty or not UTF-8", .0.display())]
    Passphrase(PathBuf),
    /// A file that should be there.
    #[error("{} does not exist", .0.display())]
    NoFile(PathBuf),
    /// Parameters of a key file.
    #[error("the parameters of the key file are out of bounds")]
    Stretching,
    /// What the FIPS profile (feature `fips`) does not have; the message says what to use instead.
    #[error("refused by the FIPS profile: {0}")]
    NotFips(&'static str),
    /// A build with the feature `fips` whose cryptographic module is not in its FIPS mode.
    #[error("the cryptographic module is not in FIPS mode")]
    NoFipsMode,
    /// The value limit.
    #[error("value_limit is at most 16 MiB")]
    ValueLimit,
    /// How long data keys seal.
    #[error(
        "[data_keys] takes days of 1 to 365 and tokens_per_second above 0, together at most 2^40 tokens a key"
    )]
    DataKeyPolicy,
    /// The workers of slow indexes.
    #[error("[slow_index] takes memory_mib of 64 or more, and threads and queue of 1 or more")]
    IndexWorkers,
}

/// What `phield.toml` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The application.
    pub app: String,
    /// The ring.
    pub ring: String,
    /// The pinned ring keys, tried in order.
    pub ring_key: OneOrMany,
    /// Epochs below are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_epoch: Option<u64>,
    /// Longest value that is sealed, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_limit: Option<usize>,
    /// Where the manifest is.
    pub key_store: FileConfig,
    /// Where the highest epoch is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_witness: Option<FileConfig>,
    /// The key providers, tried in order.
    #[serde(default, rename = "provider")]
    pub providers: Vec<ProviderConfig>,
    /// How long data keys seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_keys: Option<DataKeysConfig>,
    /// What the workers of slow indexes may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_index: Option<SlowIndexConfig>,
    /// Which keys serve which tables and tenants; the first that matches decides.
    #[serde(default, rename = "scope", skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<ScopeConfig>,
    /// Relative paths start here.
    #[serde(skip)]
    folder: PathBuf,
}

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
    fn iter(&self) -> impl Iterator<Item = &String> {
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

/// A key provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProviderConfig {
    /// `local`.
    pub name: String,
    /// The key file of the local provider.
    pub key_file: PathBuf,
    /// The file with its passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
    /// The key-encryption keys that are allowed.
    pub keks: Vec<String>,
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
    fn limits(&self) -> Result<IndexWorkerLimits, ConfigError> {
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

impl Config {
    /// A configuration with one local provider, as `phield init` writes it.
    #[must_use]
    pub fn local(app: &AppName, ring: &RingName, pin: &RingKeyPin, files: LocalFiles) -> Self {
        Self {
            app: app.to_string(),
            ring: ring.to_string(),
            ring_key: OneOrMany::One(pin.to_string()),
            min_epoch: Some(1),
            value_limit: None,
            key_store: FileConfig::new(files.key_store),
            epoch_witness: Some(FileConfig::new(files.epoch_witness)),
            providers: vec![ProviderConfig {
                name: LOCAL.to_string(),
                key_file: files.key_file,
                passphrase_file: Some(files.passphrase_file),
                keks: vec!["1".to_owned()],
            }],
            data_keys: None,
            slow_index: None,
            scopes: Vec::new(),
            folder: files.folder,
        }
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Reads a configuration; relative paths in it start at its folder.
    ///
    /// # Errors
    /// When the file cannot be read or has unknown or missing entries.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read(path.to_owned(), source))?;
        let mut config: Self = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
        config.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(config)
    }

    /// The key store file.
    #[must_use]
    pub fn key_store_path(&self) -> PathBuf {
        self.folder.join(&self.key_store.file)
    }

    /// Opens the providers and puts the ring together. Validates every entry; reads no manifest yet.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn ring(&self) -> Result<Ring, RingError> {
        let witness = self
            .epoch_witness
            .as_ref()
            .map(|witness| FileWitness::new(self.folder.join(&witness.file)));
        Ok(Ring::new(
            self.settings()?,
            FileStore::new(self.key_store_path()),
            witness,
        ))
    }

    fn settings(&self) -> Result<RingSettings, RingError> {
        if self.epoch_witness.is_none() && self.min_epoch.is_none_or(|epoch| epoch == 0) {
            return Err(ConfigError::NoEpochFloor.into());
        }
        let app = AppName::new(self.app.clone()).map_err(ConfigError::from)?;
        let ring = RingName::new(self.ring.clone()).map_err(ConfigError::from)?;
        let pins = self
            .ring_key
            .iter()
            .map(|pin| pin.parse())
            .collect::<Result<Vec<_>, _>>()?;
        if pins.is_empty() {
            return Err(ConfigError::NoPin.into());
        }
        let scopes = self.scopes()?;
        let providers = self
            .providers
            .iter()
            .map(|provider| self.provider(provider))
            .collect::<Result<Vec<_>, _>>()?;
        if providers.iter().all(|provider| provider.keks().is_empty()) {
            return Err(ConfigError::NoProvider.into());
        }
        let mut settings = RingSettings::new(app, ring, providers);
        settings.pins = pins;
        settings.min_epoch = self.min_epoch.unwrap_or(0);
        settings.scopes = scopes;
        if let Some(data_keys) = &self.data_keys {
            settings.data_keys = DataKeyPolicy::new(data_keys.days, data_keys.tokens_per_second)?;
        }
        if let Some(slow_index) = &self.slow_index {
            settings.index_workers = IndexWorkers::new(slow_index.limits()?);
        }
        if let Some(limit) = self.value_limit {
            settings.value_limit = limit;
        }
        if settings.value_limit > MAX_VALUE_LIMIT {
            Err(ConfigError::ValueLimit.into())
        } else {
            Ok(settings)
        }
    }

    fn provider(&self, provider: &ProviderConfig) -> Result<AllowedProvider, RingError> {
        if provider.name != LOCAL.as_str() {
            return Err(ConfigError::UnknownProvider(provider.name.clone()).into());
        }
        let keks = provider
            .keks
            .iter()
            .map(|kek| KekReference::new(kek.as_str()).ok_or(ConfigError::KekReference));
        let keks = keks.collect::<Result<Vec<_>, _>>()?;
        let from_variable = std::env::var_os(PASSPHRASE_FILE_VARIABLE).map(PathBuf::from);
        let configured = provider
            .passphrase_file
            .as_ref()
            .map(|file| self.folder.join(file));
        let passphrase_file = from_variable
            .or(configured)
            .ok_or(ConfigError::NoPassphraseFile)?;
        let passphrase = Passphrase::from_file(&passphrase_file)?;
        let file = LocalKeyFile::open(&self.folder.join(&provider.key_file), &passphrase)?;
        Ok(AllowedProvider::new(Arc::new(LocalProvider::new(&file)), keks))
    }

    fn scopes(&self) -> Result<Scopes, ConfigError> {
        let mut scopes = Scopes::default();
        for rule in &self.scopes {
            let table = rule.table.clone().map(TableName::new).transpose()?;
            let tenant = rule.tenant.clone().map(TenantName::new).transpose()?;
            let scope = rule.scope.clone().map(ScopeName::new).transpose()?;
            let former = rule.former.iter().map(|name| match name.as_str() {
                "" => Ok(None),
                name => ScopeName::new(name).map(Some),
            });
            scopes = scopes.assign(table, tenant, scope, former.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(scopes)
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    ConfigError::Syntax {
        path: path.to_owned(),
        line,
        message: error.message().to_owned(),
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
}

impl Keyring {
    /// Loads the keyring that a `phield.toml` describes. Opening a local key file takes about a second, by design.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn load(config: impl AsRef<Path>) -> Result<Self, RingError> {
        Config::read(config.as_ref())?.ring()?.keyring().await
    }
}
