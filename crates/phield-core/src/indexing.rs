//! Blind indexes by a keyring: which pepper, from memory, by a worker or in a device.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::{Equivalent, HashMap};

use crate::blind_index::{BlindIndex, Index, IndexError};
use crate::index_algorithm::{self, IndexAlgorithm, IndexKeys};
use crate::index_workers::Waiting;
use crate::key::{KeyId, Pepper};
use crate::key_slot::{Missing, Role};
use crate::keyring::{Keyring, LoadedKey};
use crate::name::TenantName;
use crate::provider::{KeyProvider, ProviderError, ProviderErrorKind, ProviderFuture};
use crate::record::{KekReference, KeyUse};
use crate::schedule;
use crate::value::Encoded;
use crate::wipe::Wiped;

/// Index keys kept per pepper; with many tenants the least work is to start over.
const MAX_INDEX_KEYS: usize = 4096;

/// An index pepper that never leaves its device.
pub(crate) struct DevicePepper {
    pub(crate) provider: Arc<dyn KeyProvider>,
    pub(crate) key: KekReference,
}

impl fmt::Debug for DevicePepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DevicePepper({})", self.key)
    }
}

/// One index value on its way.
#[doc(hidden)]
pub struct PendingIndex<'k> {
    pepper: KeyId,
    bits: u16,
    mac: Mac<'k>,
}

impl fmt::Debug for PendingIndex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingIndex").finish_non_exhaustive()
    }
}

enum Mac<'k> {
    Ready([u8; 32]),
    Worker(Waiting),
    Device(ProviderFuture<'k, [u8; 32]>),
}

impl PendingIndex<'_> {
    /// The index value; blocks this thread while a worker computes it.
    pub(crate) fn wait(self) -> Result<BlindIndex, IndexError> {
        let mac = match self.mac {
            Mac::Ready(mac) => mac,
            Mac::Worker(waiting) => waiting.wait()?,
            Mac::Device(_) => return Err(IndexError::NeedsAsync),
        };
        Ok(BlindIndex::new(self.pepper, &mac, self.bits))
    }

    /// The index value.
    pub(crate) async fn value(self) -> Result<BlindIndex, IndexError> {
        let mac = match self.mac {
            Mac::Ready(mac) => mac,
            Mac::Worker(waiting) => waiting.value().await?,
            Mac::Device(answer) => answer.await.map_err(|error| device_error(self.pepper, &error))?,
        };
        Ok(BlindIndex::new(self.pepper, &mac, self.bits))
    }
}

/// Everything but an outage is a refusal: trying again does not help.
fn device_error(pepper: KeyId, error: &ProviderError) -> IndexError {
    match error.kind() {
        ProviderErrorKind::Unavailable => IndexError::KeyUnavailable(pepper),
        _ => IndexError::KeyRefused(pepper),
    }
}

impl Keyring {
    /// The index value to write for a row: under the active pepper. `None` when a part is absent.
    ///
    /// A slow index is computed by the [workers](crate::IndexWorkers); this blocks the thread meanwhile. In
    /// asynchronous code call [`blind_index_async`](Self::blind_index_async).
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn blind_index(
        &self,
        index: &Index,
        tenant: Option<&TenantName>,
        parts: &[Option<Encoded<'_>>],
    ) -> Result<Option<BlindIndex>, IndexError> {
        let pending = self.begin_blind_index(index, tenant, parts)?;
        pending.map(PendingIndex::wait).transpose()
    }

    /// As [`blind_index`](Self::blind_index), without blocking the thread, and for device indexes too.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub async fn blind_index_async(
        &self,
        index: &Index,
        tenant: Option<&TenantName>,
        parts: &[Option<Encoded<'_>>],
    ) -> Result<Option<BlindIndex>, IndexError> {
        match self.begin_blind_index(index, tenant, parts)? {
            Some(pending) => pending.value().await.map(Some),
            None => Ok(None),
        }
    }

    /// The index value to write for a row, begun: slow ones stand in the queue of the workers.
    pub(crate) fn begin_blind_index(
        &self,
        index: &Index,
        tenant: Option<&TenantName>,
        parts: &[Option<Encoded<'_>>],
    ) -> Result<Option<PendingIndex<'_>>, IndexError> {
        let Some(values) = index.normalize(parts)? else {
            return Ok(None);
        };
        if !self.is_manifest_live() {
            return Err(IndexError::RingExpired);
        }
        let (id, pepper) = self
            .active(KeyUse::Index, index.table(), tenant)
            .ok_or(IndexError::NoActivePepper)?;
        if !serves(&pepper, index.algorithm()) {
            return Err(IndexError::WrongPepper(id));
        }
        if pepper.is_expired() {
            return Err(IndexError::KeyExpired(id));
        }
        self.begin(id, &pepper, index, tenant, values).map(Some)
    }

    /// The index values to search for: two slots, for `IN (?, ?)`. Outside a pepper rotation they are equal.
    ///
    /// Blocks the thread like [`blind_index`](Self::blind_index).
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
        let (first, second) = self.live_macs(index, tenant, values)?;
        let first = first.wait()?;
        let second = second.map(PendingIndex::wait).transpose()?;
        Ok([first, second.unwrap_or(first)])
    }

    /// As [`index_query`](Self::index_query), without blocking the thread, and for device indexes too.
    ///
    /// # Errors
    /// See [`IndexError`]; [`IndexError::Absent`] when a part is absent, for such rows are not indexed.
    pub async fn index_query_async(
        &self,
        index: &Index,
        tenant: Option<&TenantName>,
        parts: &[Option<Encoded<'_>>],
    ) -> Result<[BlindIndex; 2], IndexError> {
        let values = index.normalize(parts)?.ok_or(IndexError::Absent)?;
        let (first, second) = self.live_macs(index, tenant, values)?;
        let first = first.value().await?;
        Ok(match second {
            Some(second) => [first, second.value().await?],
            None => [first, first],
        })
    }

    /// The MACs under every pepper that values may be there under, begun. A pepper of the other kind has written none.
    fn live_macs(
        &self,
        index: &Index,
        tenant: Option<&TenantName>,
        values: Wiped,
    ) -> Result<(PendingIndex<'_>, Option<PendingIndex<'_>>), IndexError> {
        if !self.is_manifest_live() {
            return Err(IndexError::RingExpired);
        }
        let scopes = self.scopes().listed(index.table(), tenant);
        let mut live = self
            .live(KeyUse::Index, scopes)
            .filter(|(_, pepper)| serves(pepper, index.algorithm()));
        let (first, second) = (live.next().ok_or(IndexError::NoActivePepper)?, live.next());
        if live.next().is_some() {
            return Err(IndexError::TooManyPeppers);
        }
        let Some((id, pepper)) = second else {
            let (id, pepper) = first;
            return Ok((self.begin(id, &pepper, index, tenant, values)?, None));
        };
        let copy = Wiped(values.0.clone());
        let second = self.begin(id, &pepper, index, tenant, copy)?;
        let (id, pepper) = first;
        Ok((self.begin(id, &pepper, index, tenant, values)?, Some(second)))
    }

    /// Begins the MAC of one value under one pepper.
    fn begin<'k>(
        &'k self,
        id: KeyId,
        pepper: &LoadedKey,
        index: &Index,
        tenant: Option<&TenantName>,
        values: Wiped,
    ) -> Result<PendingIndex<'k>, IndexError> {
        let algorithm = index.algorithm();
        let role = pepper.role().map_err(|missing| match missing {
            Missing::Unavailable => IndexError::KeyUnavailable(id),
            Missing::Refused => IndexError::KeyRefused(id),
        })?;
        let mac = if let Role::Device(_) = &*role {
            let message = index_algorithm::device_message(&index.encode_context(self.app(), tenant), &values);
            Mac::Device(Box::pin(async move {
                let Role::Device(device) = &*role else {
                    return Err(ProviderError::new(ProviderErrorKind::Unsupported, "mac"));
                };
                device.provider.mac(&device.key, &message.0).await
            }))
        } else {
            let keys = self.derived_index_keys(id, &role, index, tenant)?;
            match algorithm.slow_memory_kib() {
                None => Mac::Ready(keys.fast(&values)),
                Some(_) if self.cheap_slow_indexes() => {
                    let mac = keys.slow(algorithm.cheapened(), &keys.slow_input(&values));
                    Mac::Ready(mac.ok_or(IndexError::MemoryLimit)?)
                }
                Some(memory_kib) => {
                    let input = keys.slow_input(&values);
                    let work = move || keys.slow(algorithm, &input).ok_or(IndexError::MemoryLimit);
                    Mac::Worker(self.index_workers().submit(memory_kib, Box::new(work))?)
                }
            }
        };
        Ok(PendingIndex {
            pepper: id,
            bits: index.bits(),
            mac,
        })
    }

    /// The keys of one index under one pepper, derived once.
    fn derived_index_keys(
        &self,
        id: KeyId,
        role: &Role,
        index: &Index,
        tenant: Option<&TenantName>,
    ) -> Result<Arc<IndexKeys>, IndexError> {
        let Role::Index(IndexPepper { pepper, keys }) = role else {
            return Err(IndexError::KeyUnavailable(id));
        };
        let wanted = IndexOfTenant { index, tenant };
        let derive = || {
            let ictx = index.encode_context(self.app(), tenant);
            IndexKeys {
                key: schedule::index_key(pepper, &ictx),
                salt: schedule::index_salt(pepper, &ictx),
            }
        };
        Ok(keys.get_or_derive(&wanted, derive))
    }
}

/// Whether a pepper is of the kind that an algorithm needs.
fn serves(pepper: &LoadedKey, algorithm: IndexAlgorithm) -> bool {
    pepper.is_device == algorithm.is_device()
}

/// An index pepper, and the keys that were derived from it: they go with it.
pub(crate) struct IndexPepper {
    pepper: Pepper,
    keys: IndexKeyCache,
}

impl IndexPepper {
    pub(crate) fn new(pepper: Pepper) -> Self {
        Self {
            pepper,
            keys: IndexKeyCache::default(),
        }
    }
}

/// Keys of indexes, derived once.
#[derive(Default)]
pub(crate) struct IndexKeyCache(RwLock<HashMap<CachedIndex, Arc<IndexKeys>>>);

impl IndexKeyCache {
    fn get_or_derive(
        &self,
        wanted: &IndexOfTenant<'_>,
        derive: impl FnOnce() -> IndexKeys,
    ) -> Arc<IndexKeys> {
        let cached = |map: &HashMap<CachedIndex, Arc<IndexKeys>>| map.get(wanted).map(Arc::clone);
        if let Some(keys) = cached(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return keys;
        }
        let keys = Arc::new(derive());
        let mut cache = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_INDEX_KEYS {
            cache.clear();
        }
        cache.insert(
            CachedIndex {
                index: wanted.index.clone(),
                tenant: wanted.tenant.cloned(),
            },
            Arc::clone(&keys),
        );
        keys
    }
}

/// What the keys of an index are kept under: everything that went into them but the pepper, which has the cache, and the app, which is
/// the keyring's.
#[derive(PartialEq, Eq)]
struct CachedIndex {
    index: Index,
    tenant: Option<TenantName>,
}

/// A [`CachedIndex`] to look for, without a copy.
struct IndexOfTenant<'a> {
    index: &'a Index,
    tenant: Option<&'a TenantName>,
}

impl Hash for CachedIndex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        IndexOfTenant {
            index: &self.index,
            tenant: self.tenant.as_ref(),
        }
        .hash(state);
    }
}

impl Hash for IndexOfTenant<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A part is enough to spread; equality compares the whole.
        self.index.name().hash(state);
        self.tenant.hash(state);
    }
}

impl Equivalent<CachedIndex> for IndexOfTenant<'_> {
    fn equivalent(&self, cached: &CachedIndex) -> bool {
        *self.index == cached.index && self.tenant == cached.tenant.as_ref()
    }
}
