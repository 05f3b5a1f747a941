//! Changes of a ring (I-2): each one update, epoch + 1, compare-and-swap on the manifest that was read.

use crate::error::RingError;
use crate::fips;
use crate::key::KeyId;
use crate::manifest::Manifest;
use crate::name::{ProviderName, ScopeName};
use crate::record::{KekReference, KeyRecord, KeyState, KeyUse, Wrap};
use crate::ring::{NewKey, Ring, VerifiedRing, now, unused_id};
use crate::token::Suite;

/// How often a change is made anew because somebody else changed the ring first: each time, somebody got on.
const CHANGE_TRIES: usize = 100;

/// Counts how often a change was made anew.
#[derive(Debug, Default)]
pub(super) struct Tries(usize);

impl Tries {
    /// Whether to read the ring again and make the change anew.
    pub(super) fn again<T>(&mut self, result: &Result<T, RingError>) -> bool {
        self.0 += 1;
        matches!(result, Err(RingError::Conflict)) && self.0 < CHANGE_TRIES
    }
}

impl Ring {
    /// Adds a fresh key, pre-active (I-8): every process knows it before it seals. Gives its id.
    ///
    /// The first provider generates it, and every configured key-encryption key wraps it. Once it is published, the ring is
    /// read again and the key unwrapped by each of them (I-1). When somebody else changes the ring meanwhile, key, id and
    /// wraps are made anew.
    ///
    /// # Errors
    /// See [`RingError`]. When the key was published, but one of its wraps did not open then, the key stays as it is:
    /// [`activate`](Self::activate) tries them again.
    pub async fn add_key(
        &self,
        key_use: KeyUse,
        suite: Option<Suite>,
        scope: Option<ScopeName>,
    ) -> Result<KeyId, RingError> {
        suite.map_or(Ok(()), fips::check_suite)?;
        let new = NewKey {
            suite,
            scope,
            ..NewKey::new(key_use, KeyState::PreActive)
        };
        let mut tries = Tries::default();
        loop {
            let verified = self.load().await?;
            let (id, added) = self.try_to_add(&verified, &new).await?;
            if !tries.again(&added) {
                return self.confirm_new(id, &added?).await.map(|()| id);
            }
        }
    }

    /// Makes a key with its wraps, and adds it to this very manifest.
    pub(super) async fn try_to_add(
        &self,
        verified: &VerifiedRing,
        new: &NewKey,
    ) -> Result<(KeyId, Result<VerifiedRing, RingError>), RingError> {
        let id = unused_id(&verified.manifest.records)?;
        let (record, _) = self.settings.make(new.clone(), id, now()?).await?;
        Ok((id, self.add_record(verified, record).await))
    }

    /// Adds an index pepper that stays in a provider's device, pre-active (I-8). The device computes its check value.
    ///
    /// # Errors
    /// See [`RingError`]; `Config` when the key is not allowed as a MAC key.
    pub async fn add_device_pepper(
        &self,
        provider: &ProviderName,
        key: &KekReference,
        scope: Option<ScopeName>,
    ) -> Result<VerifiedRing, RingError> {
        let wrap = Wrap::new(provider.clone(), key.clone(), Vec::new());
        let new = NewKey {
            scope,
            ..NewKey::new(KeyUse::Index, KeyState::PreActive)
        };
        let mut tries = Tries::default();
        loop {
            let verified = self.load().await?;
            let id = unused_id(&verified.manifest.records)?;
            let record = self
                .settings
                .device_record(new.clone(), id, wrap.clone(), now()?)
                .await?;
            let added = self.add_record(&verified, record).await;
            if !tries.again(&added) {
                return added;
            }
        }
    }

    /// Publishes one more record. Its time starts here: making its wraps may have taken long.
    async fn add_record(
        &self,
        verified: &VerifiedRing,
        mut record: KeyRecord,
    ) -> Result<VerifiedRing, RingError> {
        record.created = now()?;
        self.publish_change(verified, |manifest| {
            manifest.records.push(record);
            manifest.records.sort_by_key(|record| record.context.key_id);
            Ok(())
        })
        .await
    }

    /// I-1: a key counts once it was read back and unwrapped by every wrap.
    pub(super) async fn confirm_new(&self, id: KeyId, stored: &VerifiedRing) -> Result<(), RingError> {
        let record = stored.manifest.record(id).ok_or(RingError::UnknownKey(id))?;
        self.settings.check_durable(record).await
    }

    /// Moves a key to another state (I-2: one atomic update; I-3: a data key or pepper that becomes active makes the one
    /// before it decrypt-only in the same update). Nothing waits and nothing is checked: see
    /// [`activate`](Self::activate) and [`retire`](Self::retire).
    ///
    /// # Errors
    /// [`RingError::Transition`] for a step that [`KeyState::may_become`] does not allow; see [`RingError`].
    #[doc(hidden)]
    pub async fn set_state(&self, id: KeyId, next: KeyState) -> Result<VerifiedRing, RingError> {
        let (now, policy) = (now()?, self.settings.data_keys);
        let verified = self.load().await?;
        self.publish_change(&verified, |manifest| manifest.set_state(id, next, now, policy))
            .await
    }

    /// Changes the ring: epoch + 1, a new MAC, compare-and-swap on the manifest that was read (I-2). Nothing is stored
    /// when the changed manifest breaks a rule.
    ///
    /// # Errors
    /// [`RingError::Conflict`] when somebody else changed it first; see [`RingError`].
    #[doc(hidden)]
    pub async fn update(&self, change: impl FnOnce(&mut Manifest)) -> Result<VerifiedRing, RingError> {
        let verified = self.load().await?;
        self.publish_change(&verified, |manifest| {
            change(manifest);
            Ok(())
        })
        .await
    }

    /// Changes this very manifest and no other: [`RingError::Conflict`] when it is not the stored one any more. Gives what
    /// is stored then.
    pub(super) async fn publish_change(
        &self,
        verified: &VerifiedRing,
        change: impl FnOnce(&mut Manifest) -> Result<(), RingError>,
    ) -> Result<VerifiedRing, RingError> {
        let stored = verified.changed(&self.settings, change).await?;
        self.settings.verify(&stored).await?;
        self.store.replace(Some(&verified.stored), &stored).await?;
        self.load().await
    }
}
