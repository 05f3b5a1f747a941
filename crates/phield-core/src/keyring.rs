//! The keyring: the keys of a ring in memory, ready to seal, open and index.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{OpenError, RingError, SealError};
use crate::fips;
use crate::index_workers::IndexWorkers;
use crate::indexing::{DevicePepper, IndexKeyCache};
use crate::key::{DataKey, Kek, KeyId, KeyMaterial, Pepper, UidPepper};
use crate::name::{AppName, RingName, ScopeName, TableName, TenantName};
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::row::SealingKey;
use crate::scope::Scopes;
use crate::token::Suite;

/// A sealer refuses from `not after` plus this many seconds: clocks of one fleet differ.
const NOT_AFTER_GRACE: u64 = 300;
/// Default and hard limit of a value, in bytes.
pub(crate) const DEFAULT_VALUE_LIMIT: usize = 1 << 20;
pub(crate) const MAX_VALUE_LIMIT: usize = 16 << 20;

/// The keys of one ring, in memory. Sealing and opening are synchronous and do no I/O.
///
/// Cheap to share by reference or in an [`Arc`](std::sync::Arc); it has no `Clone`, its keys are erased when it is dropped.
pub struct Keyring {
    app: AppName,
    ring: RingName,
    epoch: u64,
    scopes: Scopes,
    value_limit: usize,
    keys: BTreeMap<KeyId, LoadedKey>,
    index_keys: IndexKeyCache,
    index_workers: IndexWorkers,
    /// Slow indexes cost nothing: an ephemeral keyring of a test.
    cheap_slow_indexes: bool,
    compromised_opens: AtomicU64,
}

/// Why there is no ephemeral keyring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EphemeralError {
    /// Cheap slow indexes are for tests; this is a build without debug assertions.
    #[error("a release build has no cheap slow indexes")]
    ReleaseBuild,
    /// See [`Keyring::ephemeral`].
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// A record and its key, in the role of its use.
pub(crate) struct LoadedKey {
    pub(crate) key_use: KeyUse,
    suite: Option<Suite>,
    pub(crate) scope: Option<ScopeName>,
    pub(crate) state: KeyState,
    not_after: u64,
    pub(crate) role: Role,
}

/// What a provider gave for a record.
pub(crate) enum Unwrapped {
    Key(KeyMaterial),
    /// A pepper that never leaves its device.
    Device(DevicePepper),
    /// No provider could unwrap it now, or reach the device that holds it.
    Unavailable {
        device: bool,
    },
    /// It is destroyed.
    Destroyed,
}

pub(crate) enum Role {
    Data(DataKey),
    Index(Pepper),
    Device(DevicePepper),
    Uid(UidPepper),
    Subject(Kek),
    /// A use that is not served from memory, or a destroyed key.
    None,
    /// No provider could unwrap it, or reach the device that holds it.
    Unavailable {
        device: bool,
    },
}

/// What a token is opened with.
pub(crate) struct OpeningRecord<'k> {
    id: KeyId,
    loaded: &'k LoadedKey,
}

impl<'k> OpeningRecord<'k> {
    pub(crate) fn key(&self) -> Result<&'k DataKey, OpenError> {
        match &self.loaded.role {
            Role::Data(key) => Ok(key),
            _ => Err(OpenError::KeyUnavailable(self.id)),
        }
    }

    pub(crate) fn is_compromised(&self) -> bool {
        self.loaded.state == KeyState::Compromised
    }
}

/// Everything that a keyring is made of, once its manifest is verified.
pub(crate) struct Contents {
    pub(crate) app: AppName,
    pub(crate) ring: RingName,
    pub(crate) epoch: u64,
    pub(crate) scopes: Scopes,
    pub(crate) value_limit: usize,
    pub(crate) index_workers: IndexWorkers,
}

impl Keyring {
    /// A keyring of records whose keys were unwrapped and checked.
    pub(crate) fn new(contents: Contents, keys: impl IntoIterator<Item = (KeyRecord, Unwrapped)>) -> Self {
        let Contents {
            app,
            ring,
            epoch,
            scopes,
            value_limit,
            index_workers,
        } = contents;
        let keys = keys
            .into_iter()
            .map(|(record, key)| (record.context.key_id, LoadedKey::new(record, key)));
        Self {
            app,
            ring,
            epoch,
            scopes,
            value_limit: value_limit.min(MAX_VALUE_LIMIT),
            keys: keys.collect(),
            index_keys: IndexKeyCache::default(),
            index_workers,
            cheap_slow_indexes: false,
            compromised_opens: AtomicU64::new(0),
        }
    }

    /// A keyring with fresh random keys of every use that exist in this process alone: for unit tests and trials.
    ///
    /// # Security
    /// Nothing sealed with it can be opened once it is dropped.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn ephemeral(app: AppName) -> Result<Self, RingError> {
        Self::ephemeral_with_suite(app, Suite::Aes256Gcm)
    }

    /// As [`ephemeral`](Self::ephemeral), with a data key of this suite.
    ///
    /// # Errors
    /// When the operating system gives no randomness, or the FIPS profile does not have the suite.
    pub fn ephemeral_with_suite(app: AppName, suite: Suite) -> Result<Self, RingError> {
        fips::check_module()?;
        fips::check_suite(suite)?;
        let contents = Contents {
            app,
            ring: RingName::from_static("ephemeral"),
            epoch: 0,
            scopes: Scopes::default(),
            value_limit: DEFAULT_VALUE_LIMIT,
            index_workers: IndexWorkers::default(),
        };
        let mut keyring = Self::new(contents, []);
        let uses = [
            (KeyUse::Data, Some(suite)),
            (KeyUse::Index, None),
            (KeyUse::Uid, None),
            (KeyUse::Subject, None),
        ];
        for (key_use, suite) in uses {
            let id = loop {
                let id = KeyId::random()?;
                if keyring.record(id).is_none() {
                    break id;
                }
            };
            let key = LoadedKey {
                key_use,
                suite,
                scope: None,
                state: KeyState::Active,
                not_after: 0,
                role: Role::new(key_use, &KeyMaterial::random()?),
            };
            keyring.keys.insert(id, key);
        }
        Ok(keyring)
    }

    /// As [`ephemeral`](Self::ephemeral), with slow indexes that cost nothing: for tests of models that have one, where
    /// Argon2id with 64 MiB would take the time of everything else together.
    ///
    /// ```
    /// use phield_core::{AppName, Keyring};
    ///
    /// let keyring = Keyring::ephemeral_with_cheap_slow_indexes(AppName::from_static("emr"))?;
    /// # Ok::<(), phield_core::EphemeralError>(())
    /// ```
    ///
    /// # Security
    /// Release builds refuse it: what such an index hides can be guessed. Its values differ from those of the same
    /// index under another keyring, like all values of an ephemeral keyring.
    ///
    /// # Errors
    /// In a build without debug assertions (`cargo build --release`), and when the operating system gives no
    /// randomness.
    pub fn ephemeral_with_cheap_slow_indexes(app: AppName) -> Result<Self, EphemeralError> {
        if !cfg!(debug_assertions) {
            return Err(EphemeralError::ReleaseBuild);
        }
        let mut keyring = Self::ephemeral(app)?;
        keyring.cheap_slow_indexes = true;
        Ok(keyring)
    }

    /// The application that the keyring seals for.
    #[must_use]
    pub fn app(&self) -> &AppName {
        &self.app
    }

    /// The ring.
    #[must_use]
    pub fn ring(&self) -> &RingName {
        &self.ring
    }

    /// The epoch of the manifest that the keyring was loaded from; 0 for an ephemeral one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many rows were opened under a compromised key so far: re-seal them.
    #[must_use]
    pub fn compromised_opens(&self) -> u64 {
        self.compromised_opens.load(Ordering::Relaxed)
    }

    pub(crate) fn count_compromised(&self) {
        self.compromised_opens.fetch_add(1, Ordering::Relaxed);
    }

    /// The workers that compute slow indexes.
    #[must_use]
    pub fn index_workers(&self) -> &IndexWorkers {
        &self.index_workers
    }

    pub(crate) fn index_keys(&self) -> &IndexKeyCache {
        &self.index_keys
    }

    pub(crate) fn cheap_slow_indexes(&self) -> bool {
        self.cheap_slow_indexes
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    pub(crate) fn value_limit(&self) -> usize {
        self.value_limit
    }

    /// The active data key for a table and tenant, if it may still seal at `now` (Unix seconds).
    pub(crate) fn sealing_key(
        &self,
        table: &TableName,
        tenant: Option<&TenantName>,
        now: u64,
    ) -> Result<SealingKey<'_>, SealError> {
        let (id, loaded) = self
            .active(KeyUse::Data, table, tenant)
            .ok_or(SealError::NoActiveKey)?;
        if loaded.is_expired_at(now) {
            return Err(SealError::KeyExpired(id));
        }
        match (&loaded.role, loaded.suite) {
            (Role::Data(key), Some(suite)) => Ok(SealingKey { id, suite, key }),
            _ => Err(SealError::KeyUnavailable(id)),
        }
    }

    /// The record of a token's key, by the order of format §4: everything that comes before the subject's secret and
    /// the key itself.
    pub(crate) fn opening_record(
        &self,
        id: KeyId,
        suite: Suite,
        scopes: &[Option<ScopeName>],
    ) -> Result<OpeningRecord<'_>, OpenError> {
        let loaded = self.keys.get(&id).ok_or(OpenError::UnknownKey(id))?;
        if loaded.key_use != KeyUse::Data {
            return Err(OpenError::Authentication);
        }
        if !loaded.state.opens() {
            return Err(OpenError::KeyState(id));
        }
        if loaded.suite != Some(suite) || !scopes.contains(&loaded.scope) {
            return Err(OpenError::Authentication);
        }
        Ok(OpeningRecord { id, loaded })
    }

    /// The active record for a use, table and tenant.
    pub(crate) fn active(
        &self,
        key_use: KeyUse,
        table: &TableName,
        tenant: Option<&TenantName>,
    ) -> Option<(KeyId, &LoadedKey)> {
        let scope = self.scopes.current(table, tenant);
        let matches =
            |key: &LoadedKey| key.key_use == key_use && key.state.seals() && key.scope.as_ref() == scope;
        self.keys
            .iter()
            .find(|(_, key)| matches(key))
            .map(|(id, key)| (*id, key))
    }

    /// Every record of a use and of these scopes that is not destroyed.
    pub(crate) fn live<'k>(
        &'k self,
        key_use: KeyUse,
        scopes: &'k [Option<ScopeName>],
    ) -> impl Iterator<Item = (KeyId, &'k LoadedKey)> {
        self.keys
            .iter()
            .filter(move |(_, key)| {
                key.key_use == key_use && key.state.opens() && scopes.contains(&key.scope)
            })
            .map(|(id, key)| (*id, key))
    }

    /// Every record, of whatever state.
    pub(crate) fn records(&self) -> impl Iterator<Item = (KeyId, &LoadedKey)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }

    /// The record with this id.
    pub(crate) fn record(&self, id: KeyId) -> Option<&LoadedKey> {
        self.keys.get(&id)
    }
}

impl LoadedKey {
    /// Whether the last moment in which it may seal, write or wrap has passed, by this machine's clock. A clock that
    /// stands before 1970 is no reason: what seals fails by itself then.
    pub(crate) fn is_expired(&self) -> bool {
        self.not_after != 0
            && SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .is_ok_and(|now| self.is_expired_at(now.as_secs()))
    }

    fn is_expired_at(&self, now: u64) -> bool {
        self.not_after != 0 && now >= self.not_after.saturating_add(NOT_AFTER_GRACE)
    }

    fn new(record: KeyRecord, key: Unwrapped) -> Self {
        let KeyRecord {
            context,
            state,
            not_after,
            created: _,
            check_value: _,
            wraps: _,
        } = record;
        let role = match key {
            Unwrapped::Key(key) => Role::new(context.key_use, &key),
            Unwrapped::Device(pepper) => Role::Device(pepper),
            Unwrapped::Unavailable { device } => Role::Unavailable { device },
            Unwrapped::Destroyed => Role::None,
        };
        Self {
            key_use: context.key_use,
            suite: context.suite,
            scope: context.scope,
            state,
            not_after,
            role,
        }
    }
}

impl Role {
    fn new(key_use: KeyUse, key: &KeyMaterial) -> Self {
        match key_use {
            KeyUse::Data => Self::Data(DataKey::new(key.expose_bytes())),
            KeyUse::Index => Self::Index(Pepper::new(key.expose_bytes())),
            KeyUse::Uid => Self::Uid(UidPepper::new(key.expose_bytes())),
            KeyUse::Subject => Self::Subject(Kek::new(key.expose_bytes())),
            KeyUse::Ring => Self::None,
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("app", &self.app.as_str())
            .field("ring", &self.ring.as_str())
            .field("epoch", &self.epoch)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod fixed {
    //! Keyrings with given keys, for vectors. Exists in this crate's own tests alone.

    use super::*;

    /// One key of a test ring.
    pub(crate) struct FixedKey {
        pub(crate) id: u32,
        pub(crate) key_use: KeyUse,
        pub(crate) suite: Option<Suite>,
        pub(crate) scope: Option<&'static str>,
        pub(crate) state: KeyState,
        pub(crate) not_after: u64,
        pub(crate) key: Option<[u8; 32]>,
    }

    impl FixedKey {
        pub(crate) fn data(id: u32, suite: Suite, key: [u8; 32]) -> Self {
            Self {
                id,
                key_use: KeyUse::Data,
                suite: Some(suite),
                scope: None,
                state: KeyState::Active,
                not_after: 0,
                key: Some(key),
            }
        }

        pub(crate) fn index(id: u32, key: [u8; 32]) -> Self {
            Self {
                key_use: KeyUse::Index,
                suite: None,
                ..Self::data(id, Suite::Aes256Gcm, key)
            }
        }
    }

    /// A keyring of these keys.
    pub(crate) fn keyring(
        app: &'static str,
        scopes: Scopes,
        keys: impl IntoIterator<Item = FixedKey>,
    ) -> Keyring {
        let ring = RingName::from_static("fixed");
        let contents = Contents {
            app: AppName::from_static(app),
            ring,
            epoch: 1,
            scopes,
            value_limit: DEFAULT_VALUE_LIMIT,
            index_workers: IndexWorkers::default(),
        };
        let mut keyring = Keyring::new(contents, []);
        for FixedKey {
            id,
            key_use,
            suite,
            scope,
            state,
            not_after,
            key,
        } in keys
        {
            let role = match key {
                _ if state == KeyState::Destroyed => Role::None,
                Some(key) => Role::new(key_use, &KeyMaterial::init_with(|k| *k = key)),
                None => Role::Unavailable { device: false },
            };
            let scope = scope.map(ScopeName::from_static);
            let key = LoadedKey {
                key_use,
                suite,
                scope,
                state,
                not_after,
                role,
            };
            keyring.keys.insert(KeyId::new(id).unwrap(), key);
        }
        keyring
    }

    /// A keyring of a ring of this name.
    pub(crate) fn of_ring(ring: RingName, keys: impl IntoIterator<Item = FixedKey>) -> Keyring {
        let mut keyring = keyring("emr", Scopes::default(), keys);
        keyring.ring = ring;
        keyring
    }

    /// Adds an active index pepper that stays in a device.
    pub(crate) fn add_device(keyring: &mut Keyring, id: u32, device: DevicePepper) {
        let key = LoadedKey {
            key_use: KeyUse::Index,
            suite: None,
            scope: None,
            state: KeyState::Active,
            not_after: 0,
            role: Role::Device(device),
        };
        keyring.keys.insert(KeyId::new(id).unwrap(), key);
    }
}
