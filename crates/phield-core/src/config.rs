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
//! [backup]                                      # optional: no key becomes active that is not in the backup
//! file = "/mnt/backup/ring.phield"
//!
//! [cache]                                       # optional: how long keys serve while their provider is out of reach
//! soft_ttl_seconds = 300                        # refreshed in the background
//! hard_ttl_seconds = 3600                       # gone; at most 259200
//! concurrent_unwraps = 16
//!
//! [dual_control]                                # optional: new keys need both of these
//! first = { provider = "local", kek = "1" }
//! second = { provider = "aws-kms", kek = "arn:aws:kms:…" }
//!
//! [data_keys]                                   # optional: how long data keys seal
//! days = 90
//! tokens_per_second = 500                       # what all processes together seal at most
//!
//! [policy]                                      # optional: when keys are to be replaced, and may be destroyed
//! data_key_days = 90
//! other_key_days = 365                          # index peppers, ring key
//! kek_days = 365
//! warning_days = 14
//! destroy_after_days = 30                       # after the scan that found nothing under an old key
//! kek = [{ provider = "aws-kms", kek = "arn:aws:kms:…", since = "2026-01-31" }] # where the provider does not tell
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
//!
//! The file may hold two lines more at its top: `single_kek_accepted = true`, where losing one key-encryption key may
//! lose everything, and `lock_memory = true`, which keeps the process out of swap and core dumps where it can.
//!
//! Variables go before the file: `PHIELD_RING_KEY` (pins, comma between), `PHIELD_MIN_EPOCH`, `PHIELD_KEY_STORE_FILE`,
//! `PHIELD_KEY_STORE_URL`, `PHIELD_EPOCH_WITNESS_FILE`, and `PHIELD_PASSPHRASE_FILE` for the provider `local`
//! (`PHIELD_PASSPHRASE_FILE_BREAK_GLASS` for one of that kind named `break-glass`).

mod entries;
mod error;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use entries::{
    CacheConfig, DataKeysConfig, DatabaseUrl, DualControlConfig, FileConfig, KekConfig, KekSinceConfig,
    KeyStoreConfig, LocalFiles, OneOrMany, PolicyConfig, ProviderConfig, ScopeConfig, SlowIndexConfig,
};
pub use error::ConfigError;

use crate::backends::Backends;
use crate::data_key_policy::DataKeyPolicy;
use crate::error::RingError;
use crate::index_workers::IndexWorkers;
use crate::keyring::{Keyring, MAX_VALUE_LIMIT};
use crate::memory::protect_memory;
use crate::name::{AppName, RingName};
use crate::provider::AllowedProvider;
use crate::ring::Ring;
use crate::scope::Scopes;
use crate::settings::{RingKeyPin, RingSettings};
use crate::store::{FileStore, KeyStore};
use crate::witness::{EpochWitness, FileWitness};

/// The table of a key store in a database.
const KEY_STORE_TABLE: &str = "phield_key_store";

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
    /// Losing the one key-encryption key loses everything, and that is accepted: `phield doctor` is silent about it (I-9).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_kek_accepted: bool,
    /// Keeps the memory of the process out of swap and core dumps, where the system allows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lock_memory: bool,
    /// Where the manifest is.
    pub key_store: KeyStoreConfig,
    /// Where the highest epoch is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_witness: Option<FileConfig>,
    /// Where the backup of the manifest is: no key becomes active that is not in it (I-9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<FileConfig>,
    /// The key providers, tried in order.
    #[serde(default, rename = "provider")]
    pub providers: Vec<ProviderConfig>,
    /// How long data keys seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_keys: Option<DataKeysConfig>,
    /// When keys are to be replaced, and may be destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyConfig>,
    /// New keys need two key-encryption keys to be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dual_control: Option<DualControlConfig>,
    /// How long keys are used without having been asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheConfig>,
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
            single_kek_accepted: false,
            lock_memory: false,
            providers: vec![files.provider()],
            key_store: KeyStoreConfig::file(files.key_store),
            epoch_witness: Some(FileConfig::new(files.epoch_witness)),
            backup: files.backup.map(FileConfig::new),
            data_keys: None,
            policy: None,
            dual_control: None,
            cache: None,
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
        config.apply_environment(std::env::var_os)?;
        Ok(config)
    }

    /// What the environment says goes before what the file says: `PHIELD_RING_KEY`, `PHIELD_MIN_EPOCH`,
    /// `PHIELD_KEY_STORE_FILE`, `PHIELD_KEY_STORE_URL`, `PHIELD_EPOCH_WITNESS_FILE`. One that is not UTF-8 is an error: the
    /// file says something else.
    fn apply_environment(
        &mut self,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<(), ConfigError> {
        let variable = |name| {
            let text = variable(name).map(OsString::into_string).transpose();
            text.map_err(|_| ConfigError::Variable(name))
        };
        if let Some(pins) = variable("PHIELD_RING_KEY")? {
            self.ring_key = OneOrMany::Many(pins.split(',').map(str::to_owned).collect());
        }
        if let Some(epoch) = variable("PHIELD_MIN_EPOCH")? {
            let epoch = epoch
                .parse()
                .map_err(|_| ConfigError::Variable("PHIELD_MIN_EPOCH"))?;
            self.min_epoch = Some(epoch);
        }
        if let Some(file) = variable("PHIELD_KEY_STORE_FILE")? {
            self.key_store = KeyStoreConfig::file(file);
        }
        if let Some(url) = variable("PHIELD_KEY_STORE_URL")? {
            (self.key_store.file, self.key_store.url) = (None, Some(DatabaseUrl::new(url)));
        }
        if let Some(file) = variable("PHIELD_EPOCH_WITNESS_FILE")? {
            self.epoch_witness = Some(FileConfig::new(file));
        }
        Ok(())
    }

    /// The folder that relative paths start at.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The key store file; `None` when it is in a database.
    #[must_use]
    pub fn key_store_path(&self) -> Option<PathBuf> {
        let file = self.key_store.file.as_ref();
        file.map(|file| self.folder.join(file))
    }

    /// The file of the epoch witness.
    #[must_use]
    pub fn epoch_witness_path(&self) -> Option<PathBuf> {
        let witness = self.epoch_witness.as_ref();
        witness.map(|witness| self.folder.join(&witness.file))
    }

    /// The file of the ring's backup.
    #[must_use]
    pub fn backup_path(&self) -> Option<PathBuf> {
        self.backup.as_ref().map(|backup| self.folder.join(&backup.file))
    }

    /// Opens the providers and puts the ring together. Validates every entry; reads no manifest yet.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn ring(&self, backends: &Backends) -> Result<Ring, RingError> {
        let settings = self.settings(backends).await?;
        let store = self.key_store(backends, &settings.ring).await?;
        let witness = self.epoch_witness_path().map(FileWitness::new);
        let witness = witness.map(|witness| Arc::new(witness) as Arc<dyn EpochWitness>);
        let ring = Ring::with_parts(settings, store, witness);
        Ok(match self.backup_path() {
            Some(backup) => ring.with_backup(FileStore::new(backup)),
            None => ring,
        })
    }

    /// Where the manifest is.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn key_store(
        &self,
        backends: &Backends,
        ring: &RingName,
    ) -> Result<Arc<dyn KeyStore>, RingError> {
        let table = self.key_store.table.as_deref().unwrap_or(KEY_STORE_TABLE);
        match (self.key_store_path(), &self.key_store.url) {
            (Some(file), None) => Ok(Arc::new(FileStore::new(file))),
            (None, Some(url)) => backends.key_store(url.expose(), table, ring).await,
            _ => Err(ConfigError::KeyStore.into()),
        }
    }

    /// What it says about the ring, with its providers opened.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn settings(&self, backends: &Backends) -> Result<RingSettings, RingError> {
        let mut settings = self.checked()?;
        settings.providers = self.providers(backends).await?;
        if let Some(keks) = &settings.dual_control {
            let has = |(provider, kek)| {
                settings
                    .providers
                    .iter()
                    .any(|allowed| allowed.has(provider, kek))
            };
            if keks[0] == keks[1] || !keks.iter().all(|(provider, kek)| has((provider, kek))) {
                return Err(ConfigError::DualControl.into());
            }
        }
        Ok(settings)
    }

    /// Everything that is checked without opening a provider.
    fn checked(&self) -> Result<RingSettings, ConfigError> {
        if self.epoch_witness.is_none() && self.min_epoch.is_none_or(|epoch| epoch == 0) {
            return Err(ConfigError::NoEpochFloor);
        }
        let (app, ring) = (AppName::new(self.app.clone())?, RingName::new(self.ring.clone())?);
        let mut settings = RingSettings::new(app, ring, Vec::new());
        let pins = self.ring_key.iter().map(|pin| pin.parse());
        settings.pins = pins.collect::<Result<Vec<_>, _>>()?;
        if settings.pins.is_empty() {
            return Err(ConfigError::NoPin);
        }
        settings.min_epoch = self.min_epoch.unwrap_or(0);
        let mut scopes = self.scopes.iter();
        settings.scopes = scopes.try_fold(Scopes::default(), |scopes, rule| rule.assign(scopes))?;
        if let Some(data_keys) = &self.data_keys {
            settings.data_keys = DataKeyPolicy::new(data_keys.days, data_keys.tokens_per_second)?;
        }
        settings.policy = match &self.policy {
            Some(policy) => policy.policy(settings.data_keys)?,
            None => PolicyConfig::default().policy(settings.data_keys)?,
        };
        if let Some(cache) = &self.cache {
            settings.cache = cache.policy()?;
        }
        if let Some(slow_index) = &self.slow_index {
            settings.index_workers = IndexWorkers::new(slow_index.limits()?);
        }
        settings.dual_control = self
            .dual_control
            .as_ref()
            .map(DualControlConfig::keks)
            .transpose()?;
        settings.value_limit = self.value_limit.unwrap_or(settings.value_limit);
        if settings.value_limit > MAX_VALUE_LIMIT {
            return Err(ConfigError::ValueLimit);
        }
        Ok(settings)
    }

    /// The providers in their order, each with its allow-list.
    async fn providers(&self, backends: &Backends) -> Result<Vec<AllowedProvider>, RingError> {
        if self.providers.iter().all(|provider| provider.keks.is_empty()) {
            return Err(ConfigError::NoProvider.into());
        }
        let mut providers = Vec::<AllowedProvider>::new();
        for config in &self.providers {
            let name = config.provider_name().map_err(ConfigError::from)?;
            if providers.iter().any(|other| *other.provider().name() == name) {
                return Err(ConfigError::ProviderTwice(config.name.clone()).into());
            }
            let keks = ProviderConfig::references(&config.keks)?;
            let mac_keys = ProviderConfig::references(&config.mac_keys)?;
            let provider = backends.provider(config, &self.folder).await?;
            providers.push(AllowedProvider::new(provider, keks).with_mac_keys(mac_keys));
        }
        Ok(providers)
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

impl Keyring {
    /// Loads the keyring that a `phield.toml` with local key files describes. Opening a key file takes about a second,
    /// by design.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn load(config: impl AsRef<Path>) -> Result<Self, RingError> {
        Self::load_with(config, &Backends::local()).await
    }

    /// As [`load`](Self::load), with the providers and key stores of `backends`.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn load_with(config: impl AsRef<Path>, backends: &Backends) -> Result<Self, RingError> {
        let config = Config::read(config.as_ref())?;
        if config.lock_memory {
            // What could not be done is logged; it is no reason not to start.
            let _ = protect_memory();
        }
        config.ring(backends).await?.into_keyring().await
    }
}
