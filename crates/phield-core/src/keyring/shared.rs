//! What a keyring and the thread that refreshes it share: the manifest in force, and its keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::loaded::LoadedKey;
use crate::clock;
use crate::key::KeyId;
use crate::key_slot::{KeySlot, NEVER};
use crate::keyring_status::Counters;
use crate::name::ScopeName;
use crate::record::{KeyRecord, KeyUse};

/// What a keyring has in common with the thread that refreshes it.
pub(crate) struct Shared {
    pub(super) snapshot: ArcSwap<Snapshot>,
    /// Until when the manifest may be relied on, by [`clock::now`] (I-8).
    expires: AtomicU64,
    /// When it was verified last.
    verified: AtomicU64,
    counters: Counters,
}

/// What the manifest in force says.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(super) epoch: u64,
    pub(super) keys: BTreeMap<KeyId, Arc<LoadedKey>>,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            snapshot: ArcSwap::default(),
            expires: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            counters: Counters::default(),
        })
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Puts another manifest in force.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.verified.store(clock::now(), Ordering::Release);
    }

    /// How long ago the manifest in force was verified, in milliseconds.
    pub(crate) fn age(&self) -> u64 {
        clock::now().saturating_sub(self.verified.load(Ordering::Acquire))
    }

    pub(crate) fn rely_on_manifest_until(&self, expires: u64) {
        self.expires.store(expires, Ordering::Release);
    }

    pub(crate) fn expires(&self) -> u64 {
        self.expires.load(Ordering::Acquire)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Whether a manifest was verified within the hard TTL (I-8).
    pub(crate) fn is_manifest_live(&self) -> bool {
        let expires = self.expires();
        expires == NEVER || clock::now() < expires
    }
}

impl Snapshot {
    pub(crate) fn new(epoch: u64, keys: impl IntoIterator<Item = (KeyRecord, Arc<KeySlot>)>) -> Self {
        let keys = keys
            .into_iter()
            .map(|(record, slot)| (record.context.key_id, Arc::new(LoadedKey::new(&record, slot))));
        Self {
            epoch,
            keys: keys.collect(),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = (KeyId, &Arc<LoadedKey>)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }

    pub(crate) fn key(&self, id: KeyId) -> Option<&Arc<LoadedKey>> {
        self.keys.get(&id)
    }

    /// The active record for a use, table and tenant.
    pub(super) fn active(
        &self,
        key_use: KeyUse,
        scope: Option<&ScopeName>,
    ) -> Option<(KeyId, &Arc<LoadedKey>)> {
        self.keys()
            .find(|(_, key)| key.key_use == key_use && key.state.seals() && key.scope.as_ref() == scope)
    }
}
