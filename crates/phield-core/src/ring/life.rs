//! The life of a key: successor, activation, retirement (I-1 to I-3, I-8, I-9).

use crate::error::RingError;
use crate::fips;
use crate::key::KeyId;
use crate::name::ScopeName;
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::ring::change::Tries;
use crate::ring::{NewKey, Ring, VerifiedRing, now};
use crate::settings::RingKeyPin;
use crate::token::Suite;

/// How it is known that every process has a key that is to become active (I-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rollout {
    /// It was published a hard TTL and 5 minutes ago ([`CachePolicy::fleet_wait`](crate::CachePolicy::fleet_wait)): by now
    /// every process has read it, or has stopped.
    Waited,
    /// Every instance that uses the ring was seen to have it.
    ///
    /// # Security
    /// An instance that does not have it cannot open what the others seal, and does not find it by its indexes, until its
    /// next refresh.
    AcknowledgedByEveryInstance,
}

/// What a key becomes that shall not seal any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retirement {
    /// It opens and is queried. Its successor has waited as any key does before it becomes active.
    DecryptOnly(Rollout),
    /// It opens and is queried, and everything under it is to be re-sealed at once. Its successor takes its place at once,
    /// waited for or not.
    Compromised,
}

/// The key that will take the place of the active one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Successor {
    /// Its id.
    pub key_id: KeyId,
    /// Whether it was made now.
    pub is_new: bool,
}

/// What came of retiring a key.
#[derive(Debug)]
#[non_exhaustive]
pub struct Retired {
    /// The ring as it is stored now.
    pub ring: VerifiedRing,
    /// The key that became active in its place.
    pub successor: Option<KeyId>,
    /// The successor became active before every process could know it: some cannot open what the others seal until their
    /// next refresh.
    pub too_soon: bool,
}

impl Ring {
    /// Makes sure that there is a pre-active key which can take the place of the active one: the one that is there already,
    /// if every wrap of it opens, or a [new one](Self::add_key).
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn successor(
        &self,
        key_use: KeyUse,
        suite: Option<Suite>,
        scope: Option<ScopeName>,
    ) -> Result<Successor, RingError> {
        suite.map_or(Ok(()), fips::check_suite)?;
        let new = NewKey {
            suite,
            scope,
            ..NewKey::new(key_use, KeyState::PreActive)
        };
        let mut tries = Tries::default();
        loop {
            let verified = self.load().await?;
            let found = verified.manifest.records.iter().find(|record| {
                let context = &record.context;
                record.state == KeyState::PreActive
                    && (context.key_use, &context.suite, &context.scope) == (key_use, &new.suite, &new.scope)
            });
            if let Some(record) = found {
                self.settings.check_durable(record).await?;
                return Ok(Successor {
                    key_id: record.context.key_id,
                    is_new: false,
                });
            }
            // Whoever was first may have made one: then that is it.
            let (key_id, added) = self.try_to_add(&verified, &new).await?;
            if !tries.again(&added) {
                self.confirm_new(key_id, &added?).await?;
                return Ok(Successor { key_id, is_new: true });
            }
        }
    }

    /// Makes a pre-active key active; the same update makes the key before it decrypt-only (I-2, I-3). A key that is active
    /// already stays so: it may have been activated by a run that was interrupted.
    ///
    /// # Errors
    /// [`RingError::PinOrder`] for a ring key that is not the first pin; [`RingError::TooSoon`] before every process can know it (I-8); [`RingError::NotInBackup`] when the configured backup
    /// does not hold it as it is (I-9); what a wrap of it says that does not open (I-1); see [`RingError`].
    pub async fn activate(&self, id: KeyId, rollout: Rollout) -> Result<VerifiedRing, RingError> {
        let mut tries = Tries::default();
        loop {
            let verified = self.load().await?;
            let record = verified.manifest.record(id).ok_or(RingError::UnknownKey(id))?;
            if record.state.seals() {
                return Ok(verified);
            }
            self.check_ready(record, rollout).await?;
            let (now, policy) = (verified.now()?, self.settings.data_keys);
            let change = self
                .publish_change(&verified, |manifest| {
                    manifest.set_state(id, KeyState::Active, now, policy)
                })
                .await;
            if !tries.again(&change) {
                return change;
            }
        }
    }

    /// Takes a key out of use: no process seals with it once it has refreshed. An active key's `successor` becomes active in
    /// the same update (I-2, I-3): the one that is named, or the youngest pre-active key of its use and scope that has
    /// waited long enough.
    ///
    /// # Errors
    /// [`RingError::NoSuccessor`] where there is none: [`retire_without_successor`](Self::retire_without_successor);
    /// [`RingError::Transition`]; as for [`activate`](Self::activate).
    pub async fn retire(
        &self,
        id: KeyId,
        into: Retirement,
        successor: Option<KeyId>,
    ) -> Result<Retired, RingError> {
        let mut tries = Tries::default();
        loop {
            let verified = self.load().await?;
            let record = verified.manifest.record(id).ok_or(RingError::UnknownKey(id))?;
            let next = into.state();
            if !record.state.seals() {
                return self.retire_without_successor(id, next).await.map(Retired::alone);
            }
            let successor = self.choose(&verified, record, successor)?;
            let successor_id = successor.context.key_id;
            let too_soon = self.check_too_soon(successor).is_err();
            match into {
                Retirement::DecryptOnly(rollout) => self.check_ready(successor, rollout).await?,
                Retirement::Compromised => {
                    check_transition(successor, KeyState::Active)?;
                    self.check_pin(successor)?;
                    self.settings.check_reachable(successor).await?;
                    self.check_backed_up(successor).await?;
                }
            }
            let (now, policy) = (verified.now()?, self.settings.data_keys);
            let change = self
                .publish_change(&verified, |manifest| {
                    manifest.set_state(successor_id, KeyState::Active, now, policy)?;
                    match into {
                        Retirement::DecryptOnly(_) => Ok(()),
                        Retirement::Compromised => manifest.set_state(id, next, now, policy),
                    }
                })
                .await;
            if !tries.again(&change) {
                return Ok(Retired {
                    ring: change?,
                    successor: Some(successor_id),
                    too_soon,
                });
            }
        }
    }

    /// As [`retire`](Self::retire), and nothing takes the key's place: nothing is sealed in its scope until another key is
    /// activated. A key that is in that state already stays as it is; where its ring does not say since when it seals no
    /// more, which the destruction of a key counts from, that is now (decision 0008).
    ///
    /// # Errors
    /// [`RingError::Transition`]; see [`RingError`].
    pub async fn retire_without_successor(
        &self,
        id: KeyId,
        next: KeyState,
    ) -> Result<VerifiedRing, RingError> {
        let mut tries = Tries::default();
        loop {
            let verified = self.load().await?;
            let record = verified.manifest.record(id).ok_or(RingError::UnknownKey(id))?;
            let now = verified.now()?;
            if record.state == next && record.stopped_sealing(now).is_some() {
                return Ok(verified);
            }
            if !matches!(next, KeyState::DecryptOnly | KeyState::Compromised) {
                return Err(RingError::Transition(id, record.state, next));
            }
            let (policy, is_note) = (self.settings.data_keys, record.state == next);
            let change = self
                .publish_change(&verified, |manifest| match is_note {
                    true => manifest.stop_sealing(id, now),
                    false => manifest.set_state(id, next, now, policy),
                })
                .await;
            if !tries.again(&change) {
                return change;
            }
        }
    }

    /// Everything that holds before a key becomes active.
    async fn check_ready(&self, record: &KeyRecord, rollout: Rollout) -> Result<(), RingError> {
        check_transition(record, KeyState::Active)?;
        self.check_pin(record)?;
        match rollout {
            Rollout::Waited => self.check_too_soon(record)?,
            Rollout::AcknowledgedByEveryInstance => {}
        }
        self.settings.check_durable(record).await?;
        self.check_backed_up(record).await
    }

    /// A ring key that becomes active authenticates the ring at once: it is the first pin by then (format §8.2, step 3).
    fn check_pin(&self, record: &KeyRecord) -> Result<(), RingError> {
        let id = record.context.key_id;
        if record.context.key_use != KeyUse::Ring
            || self.settings.pins.first() == Some(&RingKeyPin::of(record))
        {
            return Ok(());
        }
        Err(RingError::PinOrder(id))
    }

    /// I-8, by this machine's clock.
    fn check_too_soon(&self, record: &KeyRecord) -> Result<(), RingError> {
        let ready = record
            .created
            .saturating_add(self.settings.cache.fleet_wait().as_secs());
        match ready.saturating_sub(now()?) {
            0 => Ok(()),
            seconds => Err(RingError::TooSoon {
                key_id: record.context.key_id,
                seconds,
            }),
        }
    }

    fn choose<'v>(
        &self,
        verified: &'v VerifiedRing,
        retiring: &KeyRecord,
        named: Option<KeyId>,
    ) -> Result<&'v KeyRecord, RingError> {
        let (id, manifest) = (retiring.context.key_id, &verified.manifest);
        let fits = |record: &&KeyRecord| {
            let (context, place) = (&record.context, &retiring.context);
            (context.key_use, &context.scope) == (place.key_use, &place.scope)
        };
        if let Some(named) = named {
            let record = manifest.record(named).ok_or(RingError::UnknownKey(named))?;
            return Some(record).filter(fits).ok_or(RingError::NoSuccessor(id));
        }
        let pre_active = |record: &&KeyRecord| record.state == KeyState::PreActive;
        let candidates = manifest.records.iter().filter(fits).filter(pre_active);
        candidates
            .max_by_key(|record| (self.check_too_soon(record).is_ok(), record.created))
            .ok_or(RingError::NoSuccessor(id))
    }
}

impl Retirement {
    fn state(self) -> KeyState {
        match self {
            Self::DecryptOnly(_) => KeyState::DecryptOnly,
            Self::Compromised => KeyState::Compromised,
        }
    }
}

impl Retired {
    fn alone(ring: VerifiedRing) -> Self {
        Self {
            ring,
            successor: None,
            too_soon: false,
        }
    }
}

fn check_transition(record: &KeyRecord, next: KeyState) -> Result<(), RingError> {
    if record.state.may_become(next) {
        return Ok(());
    }
    Err(RingError::Transition(record.context.key_id, record.state, next))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::cache_policy::CachePolicy;
    use crate::local::{LocalKeyFile, LocalProvider, Passphrase};
    use crate::name::{AppName, RingName};
    use crate::provider::AllowedProvider;
    use crate::record::KekReference;
    use crate::settings::RingSettings;
    use crate::store::FileStore;
    use crate::stretch::Stretching;

    /// A key waits for the hard TTL and five minutes, to the second, and longer when its time is still to come.
    #[test]
    fn how_long_a_key_waits() {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = Passphrase::new("correct horse battery staple".to_owned());
        let keys = LocalKeyFile::create(&folder.path().join("keys"), &passphrase, Stretching::minimal(), 1);
        let provider = LocalProvider::new(&keys.unwrap());
        let provider = AllowedProvider::new(Arc::new(provider), [KekReference::new("1").unwrap()]);
        let (app, name) = (AppName::from_static("emr"), RingName::from_static("dev"));
        let mut settings = RingSettings::new(app, name, vec![provider]);
        settings.cache = CachePolicy::new(Duration::from_secs(1), Duration::from_secs(1000)).unwrap();
        let suite = Suite::Aes256Gcm;
        let verified = pollster::block_on(Ring::generate(&mut settings, &[(None, suite)])).unwrap();
        let ring = Ring::new(settings, FileStore::new(folder.path().join("ring")), None);
        let mut record = verified.manifest.records.first().unwrap().clone();
        let wait = 1000 + 5 * 60;
        let at = now().unwrap();
        let mut seconds = |created| {
            record.created = created;
            match ring.check_too_soon(&record) {
                Ok(()) => 0,
                Err(RingError::TooSoon { seconds, .. }) => seconds,
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(seconds(at - wait), 0);
        assert_eq!(seconds(0), 0);
        // The test itself may take a second.
        assert!((9..=10).contains(&seconds(at - wait + 10)));
        assert!((wait - 1..=wait).contains(&seconds(at)));
        assert!(seconds(at + 100) > wait);
        assert!(seconds(u64::MAX) > wait);
    }
}
