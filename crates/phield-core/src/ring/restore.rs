//! The restore of an older ring (format §8.2): never backwards, whatever was lost.

use crate::error::RingError;
use crate::key::KeyId;
use crate::name::ProviderName;
use crate::record::KekReference;
use crate::ring::merged::Merged;
use crate::ring::{Ring, VerifiedRing, WrapCheck};

/// What a restore may lose, because somebody said so. Nothing, by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a list of consents by name")]
pub struct AcceptedLosses {
    /// What other manifests know that are there and cannot be verified with this configuration, or now.
    pub unverified: bool,
    /// What the ring became after the newest manifest that is here, where the epoch witness or `min_epoch` knows a later one.
    pub history: bool,
}

/// A key-encryption key under which new keys were not wrapped.
#[derive(Debug)]
#[non_exhaustive]
pub struct MissingKek {
    /// Its provider.
    pub provider: ProviderName,
    /// Which.
    pub kek: KekReference,
    /// Why.
    pub error: RingError,
}

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
    /// The data keys that were active or pre-active and are decrypt-only now.
    pub retired: Vec<KeyId>,
    /// The other manifests that do not verify, by their place in the list; the stored one comes after the last of them.
    pub ignored: Vec<(usize, RingError)>,
    /// The highest epoch that is known, where the newest manifest here is older: what was changed since is lost.
    pub lost_since: Option<u64>,
    /// Keys whose providers are out of reach now.
    pub out_of_reach: Vec<KeyId>,
    /// Keys that no wrap opens, because their key-encryption keys are refused or not configured. They stay in the ring.
    pub closed: Vec<(KeyId, RingError)>,
    /// Wraps that do not open, of keys that another wrap opens.
    pub closed_wraps: Vec<WrapCheck>,
    /// The key-encryption keys that do not answer: the new keys have no wrap under them
    /// ([`add_wrap`](Ring::add_wrap), once they do).
    pub missing_keks: Vec<MissingKek>,
    /// What the key store held, which is replaced.
    previous: Option<Vec<u8>>,
}

impl Restored {
    /// The keys that no wrap opens now.
    #[must_use]
    pub fn closed_keys(&self) -> Vec<KeyId> {
        let closed = self.closed.iter().map(|(id, _)| *id);
        self.out_of_reach.iter().copied().chain(closed).collect()
    }

    /// What the key store held, and the restored ring takes the place of; none where there was nothing.
    ///
    /// # Security
    /// Keep it where it did not [verify](Self::ignored): it may hold keys that are in no other manifest.
    #[must_use]
    pub fn replaced(&self) -> Option<&[u8]> {
        self.previous.as_deref()
    }
}

impl Ring {
    /// Puts the ring together from a backup, in memory (format §8.2): verified under a pinned ring key; merged with what is
    /// stored and with every one of `others` that verifies, of each key the latest state, so that a destroyed one stays
    /// destroyed. Index peppers, UID peppers and subject records stay. Its epoch is 65 536 above every one that is known, by
    /// the manifests, the epoch witness and `min_epoch`.
    ///
    /// Active data keys become decrypt-only, and new ones are made with their successors. So do pre-active ones, which format
    /// §8.2 does not say and means: nobody knows whether they became active in the history that was lost, and how much they
    /// sealed there.
    ///
    /// New keys are wrapped under the key-encryption keys that answer, one at least. A key that no wrap opens now stays in the
    /// ring as it is, and is told. Nothing is written, not even the epoch witness.
    ///
    /// # Errors
    /// [`RingError::NoReason`]; [`RingError::TwoKeys`] when one id is two keys; [`RingError::Unverified`] for another
    /// manifest that is not known to be bad: its provider, or configuration, is at fault; [`RingError::HistoryLost`]; wraps
    /// that give another key; when no data key opens at all; see [`RingError`].
    pub async fn prepare_restore(
        &self,
        backup: &[u8],
        others: &[Vec<u8>],
        reason: &str,
        accepted: AcceptedLosses,
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
                Err(error) if is_bad(&error) || accepted.unverified => ignored.push((place, error)),
                Err(error) => {
                    let source = Box::new(error);
                    return Err(RingError::Unverified { place, source });
                }
            }
        }
        // What is newest comes first.
        sources.sort_by_key(|source| std::cmp::Reverse(source.manifest.epoch));
        let newest = sources.first().map_or(0, |source| source.manifest.epoch);
        let (known, is_lost) = self.highest_epoch(&sources).await?;
        if is_lost && !accepted.history {
            return Err(RingError::HistoryLost { newest, known });
        }
        let mut merged = Merged::new(&sources)?;
        let opened = merged.choose_wraps(&self.settings, &sources).await?;
        let retired = merged.settle(&self.settings);
        let (new_keys, missing_keks) = merged.add_data_keys(&self.settings).await?;
        let ring = merged.seal(&self.settings, known).await?;
        Ok(Restored {
            ring,
            reason: reason.trim().to_owned(),
            new_keys,
            retired,
            ignored,
            lost_since: is_lost.then_some(known),
            out_of_reach: opened.out_of_reach.into_iter().map(|(id, _)| id).collect(),
            closed: opened.closed,
            closed_wraps: opened.closed_wraps,
            missing_keks,
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

    /// The highest epoch that anything here knows, and whether that is a manifest that is not here. `sources`: the newest
    /// first.
    async fn highest_epoch(&self, sources: &[VerifiedRing]) -> Result<(u64, bool), RingError> {
        let (mut highest, mut is_lost) = (0, false);
        let Some(newest) = sources.first() else {
            return Ok((self.settings.min_epoch, false));
        };
        highest = highest.max(newest.manifest.epoch);
        if self.settings.min_epoch > highest {
            (highest, is_lost) = (self.settings.min_epoch, true);
        }
        // Of two histories with one epoch, the witness may know either.
        let newest: Vec<_> = sources
            .iter()
            .filter(|source| source.manifest.epoch == newest.manifest.epoch)
            .collect();
        let mut unknown = None;
        let mut is_known = false;
        for source in newest {
            match self.compare(source).await {
                Ok(()) => is_known = true,
                Err(RingError::Stale { known, .. }) => unknown = Some(known),
                Err(error) => return Err(error),
            }
        }
        if let Some(known) = unknown.filter(|_| !is_known) {
            (highest, is_lost) = (highest.max(known), true);
        }
        Ok((highest, is_lost))
    }

    /// Asks the epoch witness, which remembers nothing of it.
    async fn compare(&self, source: &VerifiedRing) -> Result<(), RingError> {
        match &self.witness {
            Some(witness) => {
                let epoch = source.manifest.epoch;
                witness.compare(&self.settings.ring, epoch, &source.mac).await
            }
            None => Ok(()),
        }
    }
}

/// Whether this says that a manifest is none of this ring, whatever configuration and providers do. One that does not authenticate
/// may be the newest there is, under a ring key that configuration does not pin yet, or any more.
fn is_bad(error: &RingError) -> bool {
    matches!(error, RingError::Malformed(_) | RingError::NoRing(_))
}
