//! What a keyring can tell about itself: for metrics, health checks and `phield doctor`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock;
use crate::key::KeyId;
use crate::key_slot::NEVER;
use crate::keyring::Keyring;
use crate::record::{KeyState, KeyUse};

/// What the thread of a keyring counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    reads: AtomicU64,
    refreshes: AtomicU64,
    failures: AtomicU64,
    evictions: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refreshed(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn evicted(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
    }
}

/// The state of a [`Keyring`] at one moment. Holds no key, and nothing about persons.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeyringStatus {
    /// The epoch of the manifest in force.
    pub epoch: u64,
    /// How long ago the manifest in force was read and verified last.
    pub manifest_age: Duration,
    /// How long the manifest may still be relied on; zero: nothing is sealed or searched. `None`: for ever.
    pub manifest_expires_in: Option<Duration>,
    /// How often the manifest was read and verified.
    pub reads: u64,
    /// How often a key was unwrapped.
    pub refreshes: u64,
    /// How often reading the manifest or unwrapping a key failed.
    pub failures: u64,
    /// How often a key was taken away: refused, or its hard TTL over.
    pub evictions: u64,
    /// How often a key was there when it was wanted: once or more for every row.
    pub hits: u64,
    /// How often it was not.
    pub misses: u64,
    /// Rows that were opened under a compromised key.
    pub compromised_opens: u64,
    /// The keys that are not destroyed.
    pub keys: Vec<KeyStatus>,
}

impl KeyringStatus {
    /// Whether rows can be sealed, opened and searched: the manifest is live and every key is there. A good readiness
    /// check is this; a good alarm is [`manifest_expires_in`](Self::manifest_expires_in) below half the hard TTL.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.manifest_expires_in != Some(Duration::ZERO) && self.keys.iter().all(|key| key.is_there)
    }
}

/// The state of one key in memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeyStatus {
    /// Its id.
    pub id: KeyId,
    /// What it is for.
    pub key_use: KeyUse,
    /// Its state in the manifest.
    pub state: KeyState,
    /// Whether it can be used.
    pub is_there: bool,
    /// Whether its provider refused it.
    pub is_refused: bool,
    /// How long ago it was unwrapped; `None` when it is not there.
    pub age: Option<Duration>,
    /// How long it can be used without being unwrapped again; `None`: for ever.
    pub expires_in: Option<Duration>,
    /// How often it was there when it was wanted.
    pub hits: u64,
    /// How often it was not.
    pub misses: u64,
}

impl Keyring {
    /// The state of the keyring now.
    #[must_use]
    pub fn status(&self) -> KeyringStatus {
        let snapshot = self.snapshot();
        let keys = snapshot
            .keys()
            .filter(|(_, key)| key.state.opens())
            .map(|(id, key)| {
                let slot = key.slot();
                let (hits, misses) = slot.uses();
                KeyStatus {
                    id,
                    key_use: key.key_use,
                    state: key.state,
                    is_there: slot.is_there(),
                    is_refused: slot.is_refused(),
                    age: slot.age().map(Duration::from_millis),
                    expires_in: expires_in(slot.expires()),
                    hits,
                    misses,
                }
            });
        let keys: Vec<_> = keys.collect();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = self.shared().counters();
        KeyringStatus {
            epoch: snapshot.epoch(),
            manifest_age: Duration::from_millis(self.shared().age()),
            manifest_expires_in: expires_in(self.shared().expires()),
            reads: count(&counters.reads),
            refreshes: count(&counters.refreshes),
            failures: count(&counters.failures),
            evictions: count(&counters.evictions),
            hits: keys.iter().map(|key| key.hits).sum(),
            misses: keys.iter().map(|key| key.misses).sum(),
            compromised_opens: self.compromised_opens(),
            keys,
        }
    }
}

fn expires_in(expires: u64) -> Option<Duration> {
    let left = expires.saturating_sub(clock::now());
    (expires != NEVER).then_some(Duration::from_millis(left))
}
