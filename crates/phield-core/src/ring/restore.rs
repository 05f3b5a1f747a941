//! The restore of an older ring (format §8.2): never backwards, whatever was lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::RingError;
use crate::key::{KeyId, RingKey};
use crate::manifest::Manifest;
use crate::name::ScopeName;
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::ring::backup::is_same_key;
use crate::ring::{NewKey, Ring, VerifiedRing, now, unused_id};
use crate::settings::RingSettings;
use crate::token::Suite;

/// How far a restored ring is ahead of every epoch that is known: of those that were lost, too.
const EPOCHS_AHEAD: u64 = 65_536;

/// A ring that was put together from a backup, and is not stored yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored {
    /// The ring. Back it up and rehearse that before it is [published](Ring::publish_restored).
    pub ring: VerifiedRing,
    /// Why it was restored, as it was said.
    pub reason: String,
    /// The data keys that were made: for each scope an active one and its successor.
    pub new_keys: Vec<KeyId>,
    /// The data keys that were active and are decrypt-only now.
    pub retired: Vec<KeyId>,
    /// The other manifests that do not verify, by their place in the list; the stored one comes after the last of them.
    pub ignored: Vec<(usize, RingError)>,
    /// Keys whose providers are out of reach now.
    pub out_of_reach: Vec<KeyId>,
    /// What the key store held, which is replaced.
    previous: Option<Vec<u8>>,
}

impl Ring {
    /// Puts the ring together from a backup, in memory (format §8.2): verified under a pinned ring key; merged with what is
    /// stored and with every one of `others` that verifies, of each key the latest state, so that a destroyed one stays
    /// destroyed. Active data keys become decrypt-only, and new ones are made with their successors; index peppers, UID
    /// peppers and subject records stay. Its epoch is 65 536 above every one that is known, by the manifests, the epoch
    /// witness and `min_epoch`.
    ///
    /// # Errors
    /// [`RingError::NoReason`]; [`RingError::TwoKeys`] when one id is two keys; a key that no wrap opens, but for one whose
    /// provider is out of reach; see [`RingError`].
    pub async fn prepare_restore(
        &self,
        backup: &[u8],
        others: &[Vec<u8>],
        reason: &str,
    ) -> Result<Restored, RingError> {
        if reason.trim().is_empty() {
            return Err(RingError::NoReason);
        }
        let mut sources = vec![self.settings.verify_archived(backup).await?];
        let previous = self.store.read().await?;
        let mut ignored = Vec::new();
        for (place, other) in others.iter().chain(&previous).enumerate() {
            match self.settings.verify_archived(other).await {
                Ok(verified) => sources.push(verified),
                Err(error) => ignored.push((place, error)),
            }
        }
        // What is newest comes first.
        sources.sort_by_key(|source| std::cmp::Reverse(source.manifest.epoch));
        let mut merged = Merged::new(&sources)?;
        let out_of_reach = merged.choose_wraps(&self.settings, &sources).await?;
        let retired = merged.settle(&self.settings);
        let new_keys = merged.add_data_keys(&self.settings).await?;
        let known = self.highest_epoch(&sources).await?;
        let ring = merged.seal(&self.settings, known).await?;
        Ok(Restored {
            ring,
            reason: reason.trim().to_owned(),
            new_keys,
            retired,
            ignored,
            out_of_reach,
            previous,
        })
    }

    /// Stores a restored ring, if the key store still holds what it held, and gives it as it is stored. Then raise
    /// `min_epoch` to its epoch, and look for key ids in the data that the ring does not have.
    ///
    /// # Errors
    /// [`RingError::Conflict`] when somebody else wrote meanwhile; see [`RingError`].
    pub async fn publish_restored(&self, restored: &Restored) -> Result<VerifiedRing, RingError> {
        let previous = restored.previous.as_deref();
        self.store.replace(previous, &restored.ring.stored).await?;
        self.load().await
    }

    /// The highest epoch that anything here knows.
    async fn highest_epoch(&self, sources: &[VerifiedRing]) -> Result<u64, RingError> {
        let mut highest = self.settings.min_epoch;
        for source in sources {
            highest = highest.max(source.manifest.epoch);
            let Some(witness) = &self.witness else { continue };
            let epoch = source.manifest.epoch;
            match witness.check(&self.settings.ring, epoch, &source.mac).await {
                Ok(()) => {}
                Err(RingError::Stale { known, .. }) => highest = highest.max(known),
                Err(error) => return Err(error),
            }
        }
        Ok(highest)
    }
}

/// Every record of every manifest, each in its latest state.
struct Merged {
    records: BTreeMap<KeyId, KeyRecord>,
    now: u64,
}

impl Merged {
    /// `sources`: the newest first.
    fn new(sources: &[VerifiedRing]) -> Result<Self, RingError> {
        let mut records = BTreeMap::<KeyId, KeyRecord>::new();
        for record in sources.iter().flat_map(|source| &source.manifest.records) {
            let id = record.context.key_id;
            let merged = records.entry(id).or_insert_with(|| record.clone());
            if !is_same_key(merged, record) {
                return Err(RingError::TwoKeys(id));
            }
            merged.state = merged.state.max(record.state);
        }
        for record in records.values_mut() {
            if !record.state.opens() {
                record.wraps.clear();
            }
        }
        Ok(Self { records, now: now()? })
    }

    /// The wraps of each key as the newest manifest has them in which one opens. Gives the keys out of reach.
    async fn choose_wraps(
        &mut self,
        settings: &RingSettings,
        sources: &[VerifiedRing],
    ) -> Result<Vec<KeyId>, RingError> {
        let mut out_of_reach = Vec::new();
        for (id, record) in &mut self.records {
            if !record.state.opens() {
                continue;
            }
            let mut failure = None;
            let versions = sources.iter().filter_map(|source| source.manifest.record(*id));
            for version in versions.filter(|version| version.state.opens()) {
                match settings.check_reachable(version).await {
                    Ok(()) => {
                        record.wraps.clone_from(&version.wraps);
                        failure = None;
                        break;
                    }
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            match failure {
                None => {}
                Some(RingError::KeyUnavailable(..)) => out_of_reach.push(*id),
                Some(error) => return Err(error),
            }
        }
        Ok(out_of_reach)
    }

    /// Active data keys become decrypt-only: nobody knows how much they sealed. Of other keys that are active in one place,
    /// from manifests of two histories, the pinned or youngest one stays. Gives the data keys.
    fn settle(&mut self, settings: &RingSettings) -> Vec<KeyId> {
        let mut kept = BTreeMap::<(KeyUse, Option<ScopeName>), KeyId>::new();
        let mut active: Vec<_> = self
            .records
            .values()
            .filter(|record| record.state.seals())
            .collect();
        let pin = |record: &KeyRecord| {
            let mut pins = settings.pins.iter();
            pins.position(|pin| pin.key_id() == record.context.key_id)
        };
        active.sort_by_key(|record| {
            (
                pin(record).unwrap_or(usize::MAX),
                std::cmp::Reverse(record.created),
            )
        });
        for record in active {
            let context = &record.context;
            let place = (context.key_use, context.scope.clone());
            kept.entry(place).or_insert(context.key_id);
        }
        let mut retired = Vec::new();
        for (id, record) in &mut self.records {
            let is_data = record.context.key_use == KeyUse::Data;
            let stays = !is_data && kept.values().any(|kept| kept == id);
            if record.state.seals() && !stays {
                record.state = KeyState::DecryptOnly;
                retired.extend(is_data.then_some(*id));
            }
        }
        retired
    }

    /// A fresh active data key and its successor for every scope that sealed, or was to.
    async fn add_data_keys(&mut self, settings: &RingSettings) -> Result<Vec<KeyId>, RingError> {
        let mut places = BTreeMap::<Option<ScopeName>, (u64, Suite)>::new();
        for record in self.records.values() {
            let (context, state) = (&record.context, record.state);
            if let Some(suite) = context.suite.filter(|_| state <= KeyState::DecryptOnly) {
                let place = places.entry(context.scope.clone());
                let newest = place.or_insert((record.created, suite));
                if record.created > newest.0 {
                    *newest = (record.created, suite);
                }
            }
        }
        let mut added = BTreeSet::new();
        for (scope, (_, suite)) in places {
            for new in NewKey::data(suite, scope.as_ref()) {
                let records: Vec<_> = self.records.values().cloned().collect();
                let id = unused_id(&records)?;
                let (record, _) = settings.make(new, id, self.now).await?;
                settings.check_reachable(&record).await?;
                self.records.insert(id, record);
                added.insert(id);
            }
        }
        Ok(added.into_iter().collect())
    }

    /// Under the MAC of the pinned ring key that is active.
    async fn seal(self, settings: &RingSettings, known: u64) -> Result<VerifiedRing, RingError> {
        let epoch = known.checked_add(EPOCHS_AHEAD);
        let manifest = Manifest {
            ring: settings.ring.clone(),
            app: settings.app.clone(),
            epoch: epoch.ok_or(RingError::Malformed("the last epoch"))?,
            records: self.records.into_values().collect(),
        };
        manifest.check_rules().map_err(RingError::Malformed)?;
        let (_, record) = settings.writing_pin(&manifest)?;
        let ring_key = settings.key_of(record, |_| true).await?;
        let stored = manifest.seal(&RingKey::new(ring_key.expose_bytes()));
        settings.verify(&stored).await
    }
}
