//! The keyring: the keys of a ring in memory, ready to seal, open and index.

mod loaded;
mod shared;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{OpenError, RingError, SealError};
use crate::fips;
use crate::index_workers::IndexWorkers;
use crate::key::{KeyId, KeyMaterial};
use crate::key_slot::{KeySlot, Missing, NEVER, Role};
use crate::name::{AppName, RingName, ScopeName, TableName, TenantName};
use crate::record::{KeyState, KeyUse};
use crate::refresher::Refresher;
use crate::scope::Scopes;
use crate::settings::RingSettings;
use crate::token::Suite;

pub(crate) use loaded::LoadedKey;
use loaded::{ActiveDataKey, OpeningRecord};
pub(crate) use shared::{Shared, Snapshot};

/// Default and hard limit of a value, in bytes.
pub(crate) const DEFAULT_VALUE_LIMIT: usize = 1 << 20;
pub(crate) const MAX_VALUE_LIMIT: usize = 16 << 20;

/// The keys of one ring, in memory. Sealing and opening are synchronous and do no I/O.
///
/// Cheap to share by reference or in an [`Arc`]; it has no `Clone`, its keys are erased when it is dropped.
///
/// # Time
///
/// A keyring that was [loaded](Self::load) refreshes itself: a thread of its own reads the manifest again and unwraps the
/// keys again after the soft TTL of its [`CachePolicy`](crate::CachePolicy) (5 minutes unless configured), while they go
/// on serving. New keys of the ring appear, state changes take effect, refused keys are gone. While a provider or the
/// key store is out of reach, everything goes on until the hard TTL (60 minutes); then sealing and searching fail with
/// errors that [may be retried](SealError::is_retryable), and come back by themselves. Opening ends with the keys: one hard
/// TTL after their provider was reached last, and after the manifest at the latest one more.
///
/// One that [`VerifiedRing::keyring`](crate::VerifiedRing::keyring) made has no such thread, and ends with the hard TTL.
///
/// # Security
/// Load it after forking: the child of a process has its keys, and no thread that refreshes them.
pub struct Keyring {
    app: AppName,
    ring: RingName,
    scopes: Scopes,
    value_limit: usize,
    shared: Arc<Shared>,
    index_workers: IndexWorkers,
    /// Slow indexes cost nothing: an ephemeral keyring of a test.
    cheap_slow_indexes: bool,
    compromised_opens: AtomicU64,
    refresher: Option<Refresher>,
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

/// What a keyring keeps of configuration.
pub(crate) struct Contents {
    pub(crate) app: AppName,
    pub(crate) ring: RingName,
    pub(crate) scopes: Scopes,
    pub(crate) value_limit: usize,
    pub(crate) index_workers: IndexWorkers,
}

impl Contents {
    pub(crate) fn of(settings: &RingSettings) -> Self {
        Self {
            app: settings.app.clone(),
            ring: settings.ring.clone(),
            scopes: settings.scopes.clone(),
            value_limit: settings.value_limit,
            index_workers: settings.index_workers.clone(),
        }
    }
}

impl Keyring {
    /// A keyring of what is shared with whoever refreshes it.
    pub(crate) fn new(contents: Contents, shared: Arc<Shared>, refresher: Option<Refresher>) -> Self {
        let Contents {
            app,
            ring,
            scopes,
            value_limit,
            index_workers,
        } = contents;
        Self {
            app,
            ring,
            scopes,
            value_limit: value_limit.min(MAX_VALUE_LIMIT),
            shared,
            index_workers,
            cheap_slow_indexes: false,
            compromised_opens: AtomicU64::new(0),
            refresher,
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
            scopes: Scopes::default(),
            value_limit: DEFAULT_VALUE_LIMIT,
            index_workers: IndexWorkers::default(),
        };
        let uses = [
            (KeyUse::Data, Some(suite)),
            (KeyUse::Index, None),
            (KeyUse::Uid, None),
            (KeyUse::Subject, None),
        ];
        let mut snapshot = Snapshot::default();
        for (key_use, suite) in uses {
            let id = loop {
                let id = KeyId::random()?;
                if snapshot.key(id).is_none() {
                    break id;
                }
            };
            let key = LoadedKey {
                key_use,
                suite,
                scope: None,
                state: KeyState::Active,
                not_after: 0,
                is_device: false,
                slot: KeySlot::with(Role::new(key_use, &KeyMaterial::random()?), NEVER),
            };
            snapshot.keys.insert(id, Arc::new(key));
        }
        let shared = Shared::new();
        shared.publish(snapshot);
        shared.rely_on_manifest_until(NEVER);
        Ok(Self::new(contents, shared, None))
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

    /// The epoch of the manifest that is in force; 0 for an ephemeral keyring.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.snapshot.load().epoch
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

    pub(crate) fn cheap_slow_indexes(&self) -> bool {
        self.cheap_slow_indexes
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    pub(crate) fn value_limit(&self) -> usize {
        self.value_limit
    }

    pub(crate) fn refresher(&self) -> Option<&Refresher> {
        self.refresher.as_ref()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether a manifest was verified within the hard TTL: else nothing is sealed and nothing is searched (I-8).
    pub(crate) fn is_manifest_live(&self) -> bool {
        self.shared.is_manifest_live()
    }

    /// The active data key for a table and tenant, if it may still seal at `now` (Unix seconds).
    pub(crate) fn active_data_key(
        &self,
        table: &TableName,
        tenant: Option<&TenantName>,
        now: u64,
    ) -> Result<ActiveDataKey, SealError> {
        if !self.is_manifest_live() {
            return Err(SealError::RingExpired);
        }
        let (id, loaded) = self
            .active(KeyUse::Data, table, tenant)
            .ok_or(SealError::NoActiveKey)?;
        if loaded.is_expired_at(now) {
            return Err(SealError::KeyExpired(id));
        }
        let suite = loaded.suite.ok_or(SealError::NoActiveKey)?;
        let role = loaded.role().map_err(|missing| match missing {
            Missing::Unavailable => SealError::KeyUnavailable(id),
            Missing::Refused => SealError::KeyRefused(id),
        })?;
        Ok(ActiveDataKey { id, suite, role })
    }

    /// The record of a token's key, by the order of format §4: everything that comes before the subject's secret and
    /// the key itself.
    pub(crate) fn opening_record(
        &self,
        id: KeyId,
        suite: Suite,
        scopes: &[Option<ScopeName>],
    ) -> Result<OpeningRecord, OpenError> {
        let loaded = self.record(id).ok_or(OpenError::UnknownKey(id))?;
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
    ) -> Option<(KeyId, Arc<LoadedKey>)> {
        let snapshot = self.shared.snapshot.load();
        let active = snapshot.active(key_use, self.scopes.current(table, tenant));
        active.map(|(id, key)| (id, Arc::clone(key)))
    }

    /// Every record of a use and of these scopes that is not destroyed.
    pub(crate) fn live(
        &self,
        key_use: KeyUse,
        scopes: &[Option<ScopeName>],
    ) -> impl Iterator<Item = (KeyId, Arc<LoadedKey>)> {
        let snapshot = self.shared.snapshot.load();
        let is_one =
            |key: &LoadedKey| key.key_use == key_use && key.state.opens() && scopes.contains(&key.scope);
        let live = snapshot.keys().filter(|(_, key)| is_one(key));
        let live: Vec<_> = live.map(|(id, key)| (id, Arc::clone(key))).collect();
        live.into_iter()
    }

    /// What the manifest in force says.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot()
    }

    /// The record with this id.
    pub(crate) fn record(&self, id: KeyId) -> Option<Arc<LoadedKey>> {
        self.shared.snapshot.load().key(id).map(Arc::clone)
    }
}

impl Drop for Keyring {
    /// The thread that refreshes the keys may take a moment to end: they are gone at once.
    fn drop(&mut self) {
        for (_, key) in self.shared.snapshot().keys() {
            key.slot.evict(false);
        }
        self.shared.publish(Snapshot::default());
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        f.debug_struct("Keyring")
            .field("app", &self.app.as_str())
            .field("ring", &self.ring.as_str())
            .field("epoch", &snapshot.epoch)
            .field("keys", &snapshot.keys.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod fixed {
    //! Keyrings with given keys, for vectors. Exists in this crate's own tests alone.

    use super::*;
    use crate::indexing::DevicePepper;

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
            scopes,
            value_limit: DEFAULT_VALUE_LIMIT,
            index_workers: IndexWorkers::default(),
        };
        let mut snapshot = Snapshot {
            epoch: 1,
            ..Snapshot::default()
        };
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
            let slot = match key {
                Some(key) if state != KeyState::Destroyed => {
                    KeySlot::with(Role::new(key_use, &KeyMaterial::init_with(|k| *k = key)), NEVER)
                }
                _ => KeySlot::empty(),
            };
            let scope = scope.map(ScopeName::from_static);
            let key = LoadedKey {
                key_use,
                suite,
                scope,
                state,
                not_after,
                is_device: false,
                slot,
            };
            snapshot.keys.insert(KeyId::new(id).unwrap(), Arc::new(key));
        }
        let shared = Shared::new();
        shared.publish(snapshot);
        shared.rely_on_manifest_until(NEVER);
        Keyring::new(contents, shared, None)
    }

    /// A keyring of a ring of this name.
    pub(crate) fn of_ring(ring: RingName, keys: impl IntoIterator<Item = FixedKey>) -> Keyring {
        let mut keyring = keyring("emr", Scopes::default(), keys);
        keyring.ring = ring;
        keyring
    }

    /// Adds an active index pepper that stays in a device.
    pub(crate) fn add_device(keyring: &Keyring, id: u32, device: DevicePepper) {
        let key = LoadedKey {
            key_use: KeyUse::Index,
            suite: None,
            scope: None,
            state: KeyState::Active,
            not_after: 0,
            is_device: true,
            slot: KeySlot::with(Role::Device(device), NEVER),
        };
        let mut keys = keyring.snapshot().keys.clone();
        keys.insert(KeyId::new(id).unwrap(), Arc::new(key));
        keyring.shared.publish(Snapshot { epoch: 1, keys });
    }
}
