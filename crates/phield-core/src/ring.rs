//! A ring at rest: made, loaded and published (format §8.2). What changes it stands in the modules below.

mod age;
mod backup;
mod change;
mod check;
mod coverage;
mod destroy;
mod destroy_refused;
mod life;
mod merged;
mod new_key;
mod pace;
mod rekek;
mod restore;
mod wraps;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock;
use crate::error::RingError;
use crate::fips;
use crate::key::{KeyId, RingKey};
use crate::key_slot::KeySlot;
use crate::keyring::{Contents, Keyring, Shared, Snapshot};
use crate::manifest::Manifest;
use crate::name::ScopeName;
use crate::random::RandomError;
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::settings::{KnownRingKey, RingKeyPin, RingSettings};
use crate::store::{FileStore, KeyStore};
use crate::token::Suite;
use crate::witness::{EpochWitness, FileWitness};

pub use age::{Ages, KekAge, KeyAge, Urgency};
pub use check::{WrapCheck, WrapOutcome};
pub use destroy::{Destroyed, Destruction};
pub use destroy_refused::DestroyRefused;
pub use life::{Retired, Retirement, Rollout, Successor};
pub(crate) use new_key::NewKey;
pub use rekek::{Rekek, RekekPlan, RekekProgress, Rekeked};
pub use restore::{AcceptedLosses, MissingKek, Restored};
pub use wraps::{KeySelection, WrapsChanged};

/// How often a ring is read again when it seems stale: other processes may be changing it.
const MAX_TRIES: usize = 10;

/// A manifest whose MAC, records and epoch floor were checked.
pub struct VerifiedRing {
    manifest: Manifest,
    mac: [u8; 32],
    /// Which of the pins verified it.
    pin: usize,
    /// The key of that pin: unwrapping it again may be a call over a network.
    ring_key: KnownRingKey,
    stored: Vec<u8>,
}

impl VerifiedRing {
    pub(crate) fn new(
        manifest: Manifest,
        mac: [u8; 32],
        (pin, ring_key): (usize, KnownRingKey),
        stored: Vec<u8>,
    ) -> Self {
        Self {
            manifest,
            mac,
            pin,
            ring_key,
            stored,
        }
    }

    /// What the manifest says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn mac(&self) -> &[u8; 32] {
        &self.mac
    }

    /// The stored bytes: what a backup holds.
    #[must_use]
    pub fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// Until when it may be relied on, by the clock of this process: one hard TTL after its ring key was unwrapped.
    pub(crate) fn relied_until(&self) -> u64 {
        self.ring_key.relied_until()
    }

    /// Unwraps every key that is not destroyed and checks its check value. A key whose provider is out of reach, or
    /// refuses it, is left out; every other failure refuses the ring.
    ///
    /// The keyring ends with the hard TTL of `settings`: it does not refresh itself, as one of
    /// [`Ring::into_keyring`] does.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn keyring(&self, settings: &RingSettings) -> Result<Keyring, RingError> {
        self.keyring_without(settings, &[]).await
    }

    /// As [`keyring`](Self::keyring), without the keys that are named: they are known not to open.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn keyring_without(
        &self,
        settings: &RingSettings,
        closed: &[KeyId],
    ) -> Result<Keyring, RingError> {
        if self.manifest.app != settings.app || self.manifest.ring != settings.ring {
            return Err(RingError::Authentication);
        }
        let hard_ttl = clock::millis(settings.cache.hard_ttl());
        let mut keys = Vec::with_capacity(self.manifest.records.len());
        for record in &self.manifest.records {
            let slot = KeySlot::empty();
            keys.push((record.clone(), Arc::clone(&slot)));
            if !record.state.opens() || closed.contains(&record.context.key_id) {
                continue;
            }
            let expires = clock::now().saturating_add(hard_ttl);
            match settings.unwrap_record(record).await {
                Ok(unwrapped) => slot.fill(unwrapped.role(record), expires),
                Err(RingError::KeyUnavailable(..)) => {}
                Err(RingError::KeyRefused(..)) => drop(slot.evict(true)),
                Err(error) => return Err(error),
            }
        }
        let shared = Shared::new();
        shared.publish(Snapshot::new(self.manifest.epoch, keys));
        shared.rely_on_manifest_until(self.relied_until());
        Ok(Keyring::new(Contents::of(settings), shared, None))
    }

    /// The stored bytes of a changed manifest: epoch + 1, the rules checked, a new MAC by the pinned ring key that is
    /// active after the change.
    async fn changed(
        &self,
        settings: &RingSettings,
        change: impl FnOnce(&mut Manifest) -> Result<(), RingError>,
    ) -> Result<Vec<u8>, RingError> {
        let mut manifest = self.manifest.clone();
        change(&mut manifest)?;
        manifest.epoch = self
            .manifest
            .epoch
            .checked_add(1)
            .ok_or(RingError::Malformed("the last epoch"))?;
        manifest.check_change(&self.manifest)?;
        manifest.check_rules().map_err(RingError::Malformed)?;
        let (pin, record) = settings.writing_pin(&manifest)?;
        if pin == self.pin {
            return Ok(manifest.seal(self.ring_key.key()));
        }
        if pin != 0 {
            // Processes that do not pin it first would be locked out: one that has seen its MAC refuses the one before.
            return Err(RingError::PinOrder(record.context.key_id));
        }
        let ring_key = settings.unwrap(record).await?;
        Ok(manifest.seal(&RingKey::new(ring_key.expose_bytes())))
    }
}

impl fmt::Debug for VerifiedRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedRing")
            .field("ring", &self.manifest.ring.as_str())
            .field("app", &self.manifest.app.as_str())
            .field("epoch", &self.manifest.epoch)
            .field("records", &self.manifest.records.len())
            .finish_non_exhaustive()
    }
}

/// A ring in its place: settings, key store and epoch witness.
#[non_exhaustive]
pub struct Ring {
    /// What configuration says.
    pub settings: RingSettings,
    store: Arc<dyn KeyStore>,
    witness: Option<Arc<dyn EpochWitness>>,
    /// The first of the pins that has verified a manifest here. While the ring key is being replaced, a process that has
    /// seen a MAC by the new key refuses the old one (format §8.2).
    seen_pin: AtomicUsize,
    /// The backup of the manifest: no key becomes active that is not in it (I-9).
    backup: Option<FileStore>,
    /// The highest epoch that was seen here, and its MAC (format §8.2): there may be no witness.
    highest: Mutex<Option<(u64, [u8; 32])>>,
    /// The ring key as it was unwrapped last, for while its provider is out of reach.
    known: Mutex<Option<KnownRingKey>>,
}

impl Ring {
    /// A ring in a key store, its highest epoch kept by a witness.
    #[must_use]
    pub fn new(settings: RingSettings, store: impl KeyStore + 'static, witness: Option<FileWitness>) -> Self {
        let witness = witness.map(|witness| Arc::new(witness) as Arc<dyn EpochWitness>);
        Self::with_parts(settings, Arc::new(store), witness)
    }

    /// As [`new`](Self::new), of parts that were chosen at run time.
    #[must_use]
    pub fn with_parts(
        settings: RingSettings,
        store: Arc<dyn KeyStore>,
        witness: Option<Arc<dyn EpochWitness>>,
    ) -> Self {
        Self {
            settings,
            store,
            witness,
            seen_pin: AtomicUsize::new(usize::MAX),
            backup: None,
            highest: Mutex::new(None),
            known: Mutex::new(None),
        }
    }

    /// No key becomes active that is not in this backup, just as it is in the ring (I-9).
    #[must_use]
    pub fn with_backup(self, backup: FileStore) -> Self {
        Self {
            backup: Some(backup),
            ..self
        }
    }

    /// The configured backup of the manifest.
    #[must_use]
    pub fn backup(&self) -> Option<&FileStore> {
        self.backup.as_ref()
    }

    /// The key store in words. No credentials.
    #[must_use]
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// Reads and verifies the manifest; the witness is asked before it is used.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn load(&self) -> Result<VerifiedRing, RingError> {
        let mut stored = self.read().await?;
        let mut tries = 0;
        loop {
            tries += 1;
            let verified = self.verify(&stored).await?;
            if self.seen_pin.fetch_min(verified.pin, Ordering::SeqCst) < verified.pin {
                return Err(RingError::Authentication);
            }
            // A writer may have died between its rename and its sync: what is relied on from here on must not be lost
            // to a power failure. Best effort, for a reader may not be allowed to sync.
            self.store.settle();
            let stale = match self.check_epoch(&verified).await {
                Ok(()) => return Ok(verified),
                Err(stale @ RingError::Stale { .. }) => stale,
                Err(error) => return Err(error),
            };
            // Another process may have changed the ring and told the witness since it was read here: stale is only
            // what still stands there.
            let current = self.read().await?;
            if current == stored || tries == MAX_TRIES {
                return Err(stale);
            }
            stored = current;
        }
    }

    /// Refuses an epoch below the highest that this process or the witness knows, and an equal one with another MAC.
    async fn check_epoch(&self, verified: &VerifiedRing) -> Result<(), RingError> {
        let Manifest { ring, epoch, .. } = &verified.manifest;
        let highest = || self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, mac)) = *highest()
            && (*epoch < known || (*epoch == known && mac != verified.mac))
        {
            return Err(RingError::Stale { epoch: *epoch, known });
        }
        if let Some(witness) = &self.witness {
            let check = witness.check(ring, *epoch, &verified.mac);
            self.settings.patience.store(|| witness.place(), check).await?;
        }
        let mut highest = highest();
        if highest.is_none_or(|(known, _)| known < *epoch) {
            *highest = Some((*epoch, verified.mac));
        }
        Ok(())
    }

    /// Verifies what is stored; by the ring key that it knows where that one's provider is out of reach.
    async fn verify(&self, stored: &[u8]) -> Result<VerifiedRing, RingError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let verified = self.settings.verify_knowing(stored, known.as_ref()).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &verified {
            Ok(verified) => *known = Some(verified.ring_key.clone()),
            Err(RingError::KeyRefused(..)) => *known = None,
            Err(_) => {}
        }
        verified
    }

    /// The error of a ring whose reading came to no end: something panicked.
    pub(crate) fn no_answer(&self) -> RingError {
        RingError::Store {
            place: self.store.place(),
            source: "reading or verifying it ended without an answer".into(),
        }
    }

    async fn read(&self) -> Result<Vec<u8>, RingError> {
        let place = || self.store.place();
        let stored = self.settings.patience.store(place, self.store.read()).await?;
        stored.ok_or_else(|| RingError::NoRing(self.store.place()))
    }

    /// Loads the ring and its keys, once: the keyring ends with the hard TTL. A service takes
    /// [`into_keyring`](Self::into_keyring).
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn keyring(&self) -> Result<Keyring, RingError> {
        self.load().await?.keyring(&self.settings).await
    }

    /// Makes a new ring in memory: ring key, data keys with their successors and index peppers for `scopes` (and for
    /// no scope), a UID pepper and a subject record. Pins its ring key in `settings`. Nothing is stored: publish it once it is backed up.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn generate(
        settings: &mut RingSettings,
        scopes: &[(Option<ScopeName>, Suite)],
    ) -> Result<VerifiedRing, RingError> {
        fips::check_module()?;
        let mut wanted = vec![
            NewKey::new(KeyUse::Uid, KeyState::Active),
            NewKey::new(KeyUse::Subject, KeyState::Active),
        ];
        for (scope, suite) in scopes {
            fips::check_suite(*suite)?;
            wanted.extend(NewKey::data(*suite, scope.as_ref()));
            wanted.push(NewKey::pepper(scope.as_ref()));
        }
        let now = now()?;
        let new_ring_key = NewKey::new(KeyUse::Ring, KeyState::Active);
        let (record, ring_key) = settings.make(new_ring_key, KeyId::random()?, now).await?;
        let mut records = vec![record];
        settings.pins = records.iter().map(RingKeyPin::of).collect();
        for new in wanted {
            let id = unused_id(&records)?;
            records.push(settings.make(new, id, now).await?.0);
        }
        records.sort_by_key(|record| record.context.key_id);
        let manifest = Manifest {
            ring: settings.ring.clone(),
            app: settings.app.clone(),
            epoch: 1,
            records,
        };
        manifest.check_rules().map_err(RingError::Malformed)?;
        let stored = manifest.seal(&RingKey::new(ring_key.expose_bytes()));
        settings.verify(&stored).await
    }

    /// Makes the key store ready for its first ring: creates its table, where it is one.
    ///
    /// # Errors
    /// [`RingError::Store`].
    pub async fn create_store(&self) -> Result<(), RingError> {
        self.store.create().await
    }

    /// Stores a new ring; refuses to replace one.
    ///
    /// # Errors
    /// [`RingError::Conflict`] when the key store holds a ring already.
    pub async fn publish(&self, ring: &VerifiedRing) -> Result<(), RingError> {
        self.store.replace(None, &ring.stored).await
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("settings", &self.settings)
            .field("store", &self.store)
            .field("witness", &self.witness)
            .finish_non_exhaustive()
    }
}

fn unused_id(records: &[KeyRecord]) -> Result<KeyId, RandomError> {
    loop {
        let id = KeyId::random()?;
        if records.iter().all(|record| record.context.key_id != id) {
            return Ok(id);
        }
    }
}

/// Seconds since the Unix epoch.
/// Clocks of one fleet differ by less, in seconds.
const SKEW: u64 = 300;

impl VerifiedRing {
    /// Seconds since the Unix epoch, unless the ring itself shows that the clock is behind.
    fn now(&self) -> Result<u64, RingError> {
        let created = self.manifest.records.iter().map(|record| record.created);
        not_behind(now()?, created.max().unwrap_or(0))
    }
}

fn not_behind(now: u64, newest: u64) -> Result<u64, RingError> {
    match newest.saturating_sub(now) {
        0..=SKEW => Ok(now),
        behind => Err(RingError::ClockBehind(behind)),
    }
}

fn now() -> Result<u64, RingError> {
    Ok(SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| RingError::Clock)?
        .as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key's last second is noted by this clock.
    #[test]
    fn a_clock_that_is_behind_is_told() {
        for now in [1_000, 1_300, 5_000] {
            assert_eq!(not_behind(now, 1_300).unwrap(), now);
        }
        let behind = not_behind(1_000, 11_800).unwrap_err();
        assert!(matches!(behind, RingError::ClockBehind(10_800)), "{behind:?}");
    }
}
