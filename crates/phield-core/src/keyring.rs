//! The keyring: the keys of a ring in memory, ready to seal, open and index.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::{Equivalent, HashMap};

use crate::blind_index::{BlindIndex, Index, IndexError};
use crate::error::{OpenError, RingError, SealError};
use crate::fips;
use crate::key::{DataKey, IndexKey, KeyId, KeyMaterial, Pepper};
use crate::name::{AppName, RingName, ScopeName, TableName, TenantName};
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::row::SealingKey;
use crate::schedule;
use crate::scope::Scopes;
use crate::token::Suite;
use crate::value::Encoded;

/// A sealer refuses from `not after` plus this many seconds: clocks of one fleet differ.
const NOT_AFTER_GRACE: u64 = 300;
/// Default and hard limit of a value, in bytes.
pub(crate) const DEFAULT_VALUE_LIMIT: usize = 1 << 20;
pub(crate) const MAX_VALUE_LIMIT: usize = 16 << 20;
/// Index keys kept per keyring; with many tenants the least work is to start over.
const MAX_INDEX_KEYS: usize = 4096;

/// The keys of one ring, in memory. Sealing and opening are synchronous and do no I/O.
///
/// Cheap to share by reference or in an [`Arc`]; it has no `Clone`, its keys are erased when it is dropped.
pub struct Keyring {
    app: AppName,
    ring: RingName,
    epoch: u64,
    scopes: Scopes,
    value_limit: usize,
    keys: BTreeMap<KeyId, LoadedKey>,
    /// Keys of indexes, derived once.
    index_keys: RwLock<HashMap<CachedIndex, Arc<IndexKey>>>,
    compromised_opens: AtomicU64,
}

/// A record and its key, in the role of its use.
struct LoadedKey {
    key_use: KeyUse,
    suite: Option<Suite>,
    scope: Option<ScopeName>,
    state: KeyState,
    not_after: u64,
    role: Role,
}

enum Role {
    Data(DataKey),
    Index(Pepper),
    /// A use that is not served from memory, or a destroyed key.
    None,
    /// No provider could unwrap it.
    Unavailable,
}

/// What a token is opened with.
pub(crate) struct OpeningKey<'k> {
    pub(crate) key: &'k DataKey,
    pub(crate) compromised: bool,
}

/// Everything that a keyring is made of, once its manifest is verified.
pub(crate) struct Contents {
    pub(crate) app: AppName,
    pub(crate) ring: RingName,
    pub(crate) epoch: u64,
    pub(crate) scopes: Scopes,
    pub(crate) value_limit: usize,
}

impl Keyring {
    /// A keyring of records whose keys were unwrapped and checked; `None` for a key out of reach.
    pub(crate) fn new(
        contents: Contents,
        keys: impl IntoIterator<Item = (KeyRecord, Option<KeyMaterial>)>,
    ) -> Self {
        let Contents {
            app,
            ring,
            epoch,
            scopes,
            value_limit,
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
            index_keys: RwLock::default(),
            compromised_opens: AtomicU64::new(0),
        }
    }

    /// A keyring with fresh random keys that exist in this process alone: for unit tests and trials.
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
        let ring = RingName::from_static("ephemeral");
        let contents = Contents {
            app,
            ring,
            epoch: 0,
            scopes: Scopes::default(),
            value_limit: DEFAULT_VALUE_LIMIT,
        };
        let keyring = Self::new(contents, []);
        let data = KeyMaterial::random()?;
        let pepper = KeyMaterial::random()?;
        let data_id = KeyId::random()?;
        let pepper_id = loop {
            let id = KeyId::random()?;
            if id != data_id {
                break id;
            }
        };
        Ok(keyring
            .with_key(data_id, KeyUse::Data, Some(suite), None, KeyState::Active, &data)
            .with_key(pepper_id, KeyUse::Index, None, None, KeyState::Active, &pepper))
    }

    fn with_key(
        mut self,
        id: KeyId,
        key_use: KeyUse,
        suite: Option<Suite>,
        scope: Option<ScopeName>,
        state: KeyState,
        key: &KeyMaterial,
    ) -> Self {
        let role = Role::new(key_use, key);
        self.keys.insert(
            id,
            LoadedKey {
                key_use,
                suite,
                scope,
                state,
                not_after: 0,
                role,
            },
        );
        self
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
        if loaded.not_after != 0 && now >= loaded.not_after.saturating_add(NOT_AFTER_GRACE) {
            return Err(SealError::KeyExpired(id));
        }
        match (&loaded.role, loaded.suite) {
            (Role::Data(key), Some(suite)) => Ok(SealingKey { id, suite, key }),
            _ => Err(SealError::KeyUnavailable(id)),
        }
    }

    /// The data key of a token, by the order of format §4.
    pub(crate) fn opening_key(
        &self,
        id: KeyId,
        suite: Suite,
        scopes: &[Option<ScopeName>],
    ) -> Result<OpeningKey<'_>, OpenError> {
        let loaded = self.keys.get(&id).ok_or(OpenError::UnknownKey(id))?;
        if loaded.key_use != KeyUse::Data {
            return Err(OpenError::Authentication);
        }
        if loaded.state == KeyState::Destroyed {
            return Err(OpenError::KeyState(id));
        }
        if loaded.suite != Some(suite) || !scopes.contains(&loaded.scope) {
            return Err(OpenError::Authentication);
        }
        match &loaded.role {
            Role::Data(key) => Ok(OpeningKey {
                key,
                compromised: loaded.state == KeyState::Compromised,
            }),
            _ => Err(OpenError::KeyUnavailable(id)),
        }
    }

    /// The index value to write for a row: under the active pepper. `None` when a part is absent.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn blind_index(
        &self,
        index: &Index,
        tenant: Option<&TenantName>,
        parts: &[Option<Encoded<'_>>],
    ) -> Result<Option<BlindIndex>, IndexError> {
        let Some(values) = index.normalize(parts)? else {
            return Ok(None);
        };
        let (id, loaded) = self
            .active(KeyUse::Index, index.table(), tenant)
            .ok_or(IndexError::NoActivePepper)?;
        let key = self.index_key(id, loaded, index, tenant)?;
        Ok(Some(index.compute(id, &key, &values)))
    }

    /// The index values to search for: two slots, for `IN (?, ?)`. Outside a pepper rotation they are equal.
    ///
    /// # Errors
    /// See [`IndexError`]; [`IndexError::Absent`] when a part is absent, for such rows are not indexed.
    pub fn index_query(
        &self,
        index: &Index,
        tenant: Option<&TenantName>,
        parts: &[Option<Encoded<'_>>],
    ) -> Result<[BlindIndex; 2], IndexError> {
        let values = index.normalize(parts)?.ok_or(IndexError::Absent)?;
        let scopes = self.scopes.listed(index.table(), tenant);
        let mut slots = self
            .keys
            .iter()
            .filter(|(_, key)| key.key_use == KeyUse::Index && key.state != KeyState::Destroyed)
            .filter(|(_, key)| scopes.contains(&key.scope))
            .map(|(id, key)| {
                self.index_key(*id, key, index, tenant)
                    .map(|k| index.compute(*id, &k, &values))
            });
        let first = slots.next().ok_or(IndexError::NoActivePepper)??;
        let second = slots.next().transpose()?.unwrap_or(first);
        match slots.next() {
            None => Ok([first, second]),
            Some(_) => Err(IndexError::TooManyPeppers),
        }
    }

    /// The active record for a use, table and tenant.
    fn active(
        &self,
        key_use: KeyUse,
        table: &TableName,
        tenant: Option<&TenantName>,
    ) -> Option<(KeyId, &LoadedKey)> {
        let scope = self.scopes.current(table, tenant);
        let matches = |key: &LoadedKey| {
            key.key_use == key_use && key.state == KeyState::Active && key.scope.as_ref() == scope
        };
        self.keys
            .iter()
            .find(|(_, key)| matches(key))
            .map(|(id, key)| (*id, key))
    }

    /// The key of one index under one pepper, derived once.
    fn index_key(
        &self,
        id: KeyId,
        loaded: &LoadedKey,
        index: &Index,
        tenant: Option<&TenantName>,
    ) -> Result<Arc<IndexKey>, IndexError> {
        let Role::Index(pepper) = &loaded.role else {
            return Err(IndexError::KeyUnavailable(id));
        };
        let wanted = IndexOfTenant {
            pepper: id,
            index,
            tenant,
        };
        if let Some(key) = self
            .index_keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&wanted)
        {
            return Ok(Arc::clone(key));
        }
        let mut ictx = Vec::with_capacity(192);
        index.encode_context(&self.app, tenant, &mut ictx);
        let key = Arc::new(schedule::index_key(pepper, &ictx));
        let mut cache = self.index_keys.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_INDEX_KEYS {
            cache.clear();
        }
        cache.insert(
            CachedIndex {
                pepper: id,
                index: index.clone(),
                tenant: tenant.cloned(),
            },
            Arc::clone(&key),
        );
        Ok(key)
    }
}

/// What an index key is kept under: everything that went into it but the app, which is the keyring's.
#[derive(PartialEq, Eq)]
struct CachedIndex {
    pepper: KeyId,
    index: Index,
    tenant: Option<TenantName>,
}

/// A [`CachedIndex`] to look for, without a copy.
struct IndexOfTenant<'a> {
    pepper: KeyId,
    index: &'a Index,
    tenant: Option<&'a TenantName>,
}

impl Hash for CachedIndex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        IndexOfTenant {
            pepper: self.pepper,
            index: &self.index,
            tenant: self.tenant.as_ref(),
        }
        .hash(state);
    }
}

impl Hash for IndexOfTenant<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A part is enough to spread; equality compares the whole.
        self.pepper.hash(state);
        self.index.name().hash(state);
        self.tenant.hash(state);
    }
}

impl Equivalent<CachedIndex> for IndexOfTenant<'_> {
    fn equivalent(&self, cached: &CachedIndex) -> bool {
        self.pepper == cached.pepper && *self.index == cached.index && self.tenant == cached.tenant.as_ref()
    }
}

impl LoadedKey {
    fn new(record: KeyRecord, key: Option<KeyMaterial>) -> Self {
        let KeyRecord {
            context,
            state,
            not_after,
            created: _,
            check_value: _,
            wraps: _,
        } = record;
        let role = match key {
            _ if state == KeyState::Destroyed => Role::None,
            Some(key) => Role::new(context.key_use, &key),
            None => Role::Unavailable,
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
            KeyUse::Uid | KeyUse::Subject | KeyUse::Ring => Self::None,
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
                None => Role::Unavailable,
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
}
