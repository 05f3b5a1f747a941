//! Keys that are about to be made.

use crate::config::ConfigError;
use crate::context::KeyContext;
use crate::error::RingError;
use crate::fips;
use crate::key::{KeyId, KeyMaterial};
use crate::name::{RingName, ScopeName};
use crate::record::{KeyRecord, KeyState, KeyUse, Wrap};
use crate::ring::MissingKek;
use crate::schedule;
use crate::settings::{RingSettings, provider_error};
use crate::token::Suite;

/// A key that is about to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) key_use: KeyUse,
    pub(crate) suite: Option<Suite>,
    pub(crate) scope: Option<ScopeName>,
    pub(crate) state: KeyState,
}

impl NewKey {
    pub(crate) fn new(key_use: KeyUse, state: KeyState) -> Self {
        Self {
            key_use,
            suite: None,
            scope: None,
            state,
        }
    }

    /// The active data key of a scope, and the pre-active successor by which it can be replaced at once (I-8).
    pub(crate) fn data(suite: Suite, scope: Option<&ScopeName>) -> [Self; 2] {
        [KeyState::Active, KeyState::PreActive].map(|state| Self {
            suite: Some(suite),
            scope: scope.cloned(),
            ..Self::new(KeyUse::Data, state)
        })
    }

    pub(crate) fn pepper(scope: Option<&ScopeName>) -> Self {
        Self {
            scope: scope.cloned(),
            ..Self::new(KeyUse::Index, KeyState::Active)
        }
    }

    /// What the key will be.
    pub(crate) fn context(&self, ring: &RingName, key_id: KeyId) -> KeyContext {
        KeyContext {
            ring: ring.clone(),
            key_id,
            suite: self.suite,
            key_use: self.key_use,
            scope: self.scope.clone(),
            share: None,
        }
    }
}

impl RingSettings {
    /// Makes a fresh key and its record: the first provider generates it, every other key-encryption key wraps it. Under
    /// dual control no provider ever has the whole key, and it is made here.
    pub(crate) async fn make(
        &self,
        new: NewKey,
        key_id: KeyId,
        now: u64,
    ) -> Result<(KeyRecord, KeyMaterial), RingError> {
        new.suite.map_or(Ok(()), fips::check_suite)?;
        let context = new.context(&self.ring, key_id);
        let mut providers = self.providers.iter();
        let first = providers.find_map(|allowed| Some((allowed.provider(), allowed.keks().first()?)));
        let (key, generated) = match first {
            Some((provider, kek)) if self.dual_control.is_none() => {
                let generated = provider.generate(kek, &context).await;
                let (key, bytes) = generated.map_err(|error| provider_error(key_id, error))?;
                (key, Some(Wrap::new(provider.name().clone(), kek.clone(), bytes)))
            }
            _ => (KeyMaterial::random()?, None),
        };
        let record = self.record_of(new, key_id, &key, generated, now).await?;
        Ok((record, key))
    }

    /// As [`make`](Self::make), and under the key-encryption keys that answer, one at least: the others are given. Under
    /// dual control both are needed.
    pub(crate) async fn make_reachable(
        &self,
        new: NewKey,
        key_id: KeyId,
        now: u64,
    ) -> Result<(KeyRecord, Vec<MissingKek>), RingError> {
        if self.dual_control.is_some() {
            return Ok((self.make(new, key_id, now).await?.0, Vec::new()));
        }
        new.suite.map_or(Ok(()), fips::check_suite)?;
        let context = new.context(&self.ring, key_id);
        let (mut made, mut wraps, mut missing) = (None::<KeyMaterial>, Vec::new(), Vec::new());
        for allowed in &self.providers {
            let (provider, name) = (allowed.provider(), allowed.provider().name());
            for kek in allowed.keks() {
                let wrapped = match &made {
                    Some(key) => provider.wrap(kek, &context, key).await,
                    None => provider.generate(kek, &context).await.map(|(key, bytes)| {
                        made = Some(key);
                        bytes
                    }),
                };
                match wrapped {
                    Ok(bytes) => wraps.push(Wrap::new(name.clone(), kek.clone(), bytes)),
                    Err(error) => missing.push(MissingKek {
                        provider: name.clone(),
                        kek: kek.clone(),
                        error: provider_error(key_id, error),
                    }),
                }
            }
        }
        let Some(key) = made else {
            let failure = missing.into_iter().next().map(|kek| kek.error);
            return Err(failure.unwrap_or(ConfigError::NoProvider.into()));
        };
        wraps.sort_by(|a, b| a.order().cmp(&b.order()));
        Ok((self.record_with(new, context, &key, wraps, now), missing))
    }

    /// The record of this key, wrapped under every configured key-encryption key.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) async fn record(
        &self,
        new: NewKey,
        key_id: KeyId,
        key: &KeyMaterial,
        now: u64,
    ) -> Result<KeyRecord, RingError> {
        self.record_of(new, key_id, key, None, now).await
    }

    async fn record_of(
        &self,
        new: NewKey,
        key_id: KeyId,
        key: &KeyMaterial,
        generated: Option<Wrap>,
        now: u64,
    ) -> Result<KeyRecord, RingError> {
        let context = new.context(&self.ring, key_id);
        let wraps = self.wraps(&context, key, generated).await?;
        Ok(self.record_with(new, context, key, wraps, now))
    }

    fn record_with(
        &self,
        new: NewKey,
        context: KeyContext,
        key: &KeyMaterial,
        wraps: Vec<Wrap>,
        now: u64,
    ) -> KeyRecord {
        let check_value = schedule::check_value(key, &context);
        // A successor's time starts when it is activated.
        let not_after = match (new.key_use, new.state) {
            (KeyUse::Data, KeyState::Active) => self.data_keys.not_after(now),
            _ => 0,
        };
        KeyRecord {
            context,
            state: new.state,
            created: now,
            not_after,
            check_value,
            wraps,
        }
    }
}
