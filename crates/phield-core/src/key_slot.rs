//! One key of a keyring in memory: there, or gone. Shared by all manifests that know the key, so that taking it away takes
//! it from everybody at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::clock;
use crate::indexing::{DevicePepper, IndexPepper};
use crate::key::{DataKey, Kek, KeyMaterial, Pepper, UidPepper};
use crate::record::{KeyRecord, KeyUse};

/// A deadline that never comes: keys of an ephemeral keyring.
pub(crate) const NEVER: u64 = u64::MAX;

/// A key in the role of its use.
pub(crate) enum Role {
    Data(DataKey),
    Index(IndexPepper),
    Device(DevicePepper),
    Uid(UidPepper),
    Subject(Kek),
    /// A use that is not served from memory.
    None,
}

impl Role {
    pub(crate) fn new(key_use: KeyUse, key: &KeyMaterial) -> Self {
        match key_use {
            KeyUse::Data => Self::Data(DataKey::new(key.expose_bytes())),
            KeyUse::Index => Self::Index(IndexPepper::new(Pepper::new(key.expose_bytes()))),
            KeyUse::Uid => Self::Uid(UidPepper::new(key.expose_bytes())),
            KeyUse::Subject => Self::Subject(Kek::new(key.expose_bytes())),
            KeyUse::Ring => Self::None,
        }
    }
}

/// What a provider gave for a record.
pub(crate) enum Unwrapped {
    Key(KeyMaterial),
    /// A pepper that never leaves its device.
    Device(DevicePepper),
}

impl Unwrapped {
    pub(crate) fn role(self, record: &KeyRecord) -> Role {
        match self {
            Self::Key(key) => Role::new(record.context.key_use, &key),
            Self::Device(pepper) => Role::Device(pepper),
        }
    }
}

/// Why a key is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No provider could unwrap it, or its time is over.
    Unavailable,
    /// Its provider refuses it.
    Refused,
}

/// The place of one key.
pub(crate) struct KeySlot {
    role: ArcSwapOption<Role>,
    /// When it is gone, by [`clock::now`].
    expires: AtomicU64,
    /// When the key was unwrapped last, by the same clock.
    filled: AtomicU64,
    refused: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl KeySlot {
    /// An empty place.
    pub(crate) fn empty() -> Arc<Self> {
        Arc::new(Self {
            role: ArcSwapOption::empty(),
            expires: AtomicU64::new(0),
            filled: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// A key that is there until `expires`.
    pub(crate) fn with(role: Role, expires: u64) -> Arc<Self> {
        let slot = Self::empty();
        slot.fill(role, expires);
        slot
    }

    /// The key, if it is there and its time is not over.
    pub(crate) fn get(&self) -> Result<Arc<Role>, Missing> {
        let role = self.role.load_full().filter(|_| self.is_live());
        let counter = if role.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        role.ok_or_else(|| match self.refused.load(Ordering::Acquire) {
            true => Missing::Refused,
            false => Missing::Unavailable,
        })
    }

    /// Whether there is a key whose time is not over.
    pub(crate) fn is_there(&self) -> bool {
        self.role.load().is_some() && self.is_live()
    }

    fn is_live(&self) -> bool {
        let expires = self.expires.load(Ordering::Acquire);
        expires == NEVER || clock::now() < expires
    }

    /// Puts a key there, or keeps the one that is there for longer: a key of one id and check value is one key.
    pub(crate) fn fill(&self, role: Role, expires: u64) {
        if self.role.load().is_none() {
            self.role.store(Some(Arc::new(role)));
        }
        self.filled.store(clock::now(), Ordering::Release);
        self.expires.store(expires, Ordering::Release);
        self.refused.store(false, Ordering::Release);
    }

    /// Takes the key away. Whoever is using it finishes; then it is erased. Gives whether there was one.
    pub(crate) fn evict(&self, refused: bool) -> bool {
        self.expires.store(0, Ordering::Release);
        self.refused.store(refused, Ordering::Release);
        self.role.swap(None).is_some()
    }

    /// When the key is gone, by [`clock::now`].
    pub(crate) fn expires(&self) -> u64 {
        self.expires.load(Ordering::Acquire)
    }

    /// How long ago it was unwrapped, if it is there, in milliseconds.
    pub(crate) fn age(&self) -> Option<u64> {
        let filled = self.filled.load(Ordering::Acquire);
        self.is_there().then(|| clock::now().saturating_sub(filled))
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// How often it was there when it was wanted, and how often not.
    pub(crate) fn uses(&self) -> (u64, u64) {
        (
            self.hits.load(Ordering::Relaxed),
            self.misses.load(Ordering::Relaxed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> Role {
        Role::Data(DataKey::new(&[1; 32]))
    }

    #[test]
    fn a_key_comes_and_goes() {
        let slot = KeySlot::empty();
        assert_eq!(slot.get().err(), Some(Missing::Unavailable));
        slot.fill(role(), clock::now() + 60_000);
        assert!(slot.get().is_ok() && slot.is_there());
        assert!(slot.evict(true) && !slot.evict(true));
        assert_eq!(slot.get().err(), Some(Missing::Refused));
        slot.fill(role(), NEVER);
        assert!(slot.get().is_ok() && !slot.is_refused());
        assert_eq!(slot.uses(), (2, 2));
    }

    /// Nobody has to come by and take it away.
    #[test]
    fn a_key_whose_time_is_over_is_gone() {
        let slot = KeySlot::with(role(), clock::now() + 30);
        assert!(slot.get().is_ok());
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(slot.get().err(), Some(Missing::Unavailable));
        assert!(!slot.is_there());
    }

    /// Who has it finishes with it; then it is erased.
    #[test]
    fn an_evicted_key_is_dropped_with_its_last_use() {
        let slot = KeySlot::with(role(), NEVER);
        let used = slot.get().unwrap();
        slot.evict(false);
        assert_eq!(Arc::strong_count(&used), 1);
    }
}
