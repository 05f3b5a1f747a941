//! Wraps under other key-encryption keys: added, and taken away (I-6).

use crate::config::ConfigError;
use crate::error::RingError;
use crate::key::KeyId;
use crate::manifest::Manifest;
use crate::name::ProviderName;
use crate::provider::AllowedProvider;
use crate::record::{KekReference, KeyRecord, Wrap};
use crate::ring::change::Tries;
use crate::ring::{Ring, VerifiedRing};
use crate::settings::provider_error;
use crate::split;

/// Which keys get a wrap.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySelection {
    /// Every key that is not destroyed, is not under dual control and is not held by a device.
    All,
    /// These.
    These(Vec<KeyId>),
}

/// What came of adding or removing wraps.
#[derive(Debug)]
#[non_exhaustive]
pub struct WrapsChanged {
    /// The ring as it is stored now.
    pub ring: VerifiedRing,
    /// The keys that got a wrap, or lost it.
    pub changed: Vec<KeyId>,
    /// The keys that had such a wrap before; it opens.
    pub unchanged: Vec<KeyId>,
    /// The keys that cannot have such a wrap: under dual control, or held by a device.
    pub excluded: Vec<KeyId>,
}

/// The wraps that a ring still needs, made and tried.
struct Planned {
    wraps: Vec<(KeyId, Wrap)>,
    unchanged: Vec<KeyId>,
    excluded: Vec<KeyId>,
}

impl Ring {
    /// Adds wraps under one more key-encryption key, which configuration has: another region, a break-glass key, the
    /// successor of a KEK (I-6). The keys stay what they are.
    ///
    /// Each key is unwrapped by a wrap that it has, wrapped, and unwrapped again by the new wrap before anything is stored.
    /// All wraps are published in one update, read back and opened from what was stored. Keys that have the wrap already are
    /// tried alone, so that a run which was interrupted can be repeated.
    ///
    /// # Errors
    /// [`RingError::NoOtherWrap`] for a named key that is under dual control or held by a device; the first wrap that cannot
    /// be opened or made; see [`RingError`].
    pub async fn add_wrap(
        &self,
        provider: &ProviderName,
        kek: &KekReference,
        keys: &KeySelection,
    ) -> Result<WrapsChanged, RingError> {
        let mut providers = self.settings.providers.iter();
        let allowed = providers.find(|allowed| allowed.has(provider, kek));
        let allowed = allowed.ok_or_else(|| ConfigError::NoSuchKek(provider.to_string(), kek.to_string()))?;
        let (mut tries, mut changed) = (Tries::default(), Vec::new());
        loop {
            let verified = self.load().await?;
            let planned = self.plan(&verified.manifest, allowed, kek, keys).await?;
            if planned.wraps.is_empty() {
                let unchanged = planned.unchanged.into_iter();
                return Ok(WrapsChanged {
                    ring: verified,
                    unchanged: unchanged.filter(|id| !changed.contains(id)).collect(),
                    changed,
                    excluded: planned.excluded,
                });
            }
            let published = self
                .publish_change(&verified, |manifest| insert(manifest, &planned.wraps))
                .await;
            if !tries.again(&published) {
                self.check_stored(&published?.manifest, &planned.wraps).await?;
                changed.extend(planned.wraps.iter().map(|(id, _)| *id));
                // Somebody may have added a key meanwhile: read again until nothing is missing.
            }
        }
    }

    /// Takes the wraps under a key-encryption key away, of every key that has one: the last step of replacing a KEK (I-6).
    /// Configuration need not have it any more.
    ///
    /// Each of those keys is unwrapped by another wrap first, at this moment: otherwise nothing is taken away from any. Keys
    /// under dual control have no such wraps.
    ///
    /// # Errors
    /// [`RingError::LastWrap`] when a key has no other wrap that opens; see [`RingError`].
    pub async fn remove_wrap(
        &self,
        provider: &ProviderName,
        kek: &KekReference,
    ) -> Result<WrapsChanged, RingError> {
        let is_it = |wrap: &Wrap| wrap.provider == *provider && wrap.kek == *kek;
        let mut tries = Tries::default();
        loop {
            let verified = self.load().await?;
            let mut changed = Vec::new();
            for record in &verified.manifest.records {
                if record.wraps.iter().any(is_it) {
                    self.check_other_wrap(record, is_it).await?;
                    changed.push(record.context.key_id);
                }
            }
            let published = if changed.is_empty() {
                Ok(verified)
            } else {
                self.publish_change(&verified, |manifest| {
                    for record in &mut manifest.records {
                        record.wraps.retain(|wrap| !is_it(wrap));
                    }
                    Ok(())
                })
                .await
            };
            if !tries.again(&published) {
                return Ok(WrapsChanged {
                    ring: published?,
                    changed,
                    unchanged: Vec::new(),
                    excluded: Vec::new(),
                });
            }
        }
    }

    /// The wraps that are missing, each opened once before it is stored.
    async fn plan(
        &self,
        manifest: &Manifest,
        allowed: &AllowedProvider,
        kek: &KekReference,
        keys: &KeySelection,
    ) -> Result<Planned, RingError> {
        let mut planned = Planned {
            wraps: Vec::new(),
            unchanged: Vec::new(),
            excluded: Vec::new(),
        };
        for record in selected(manifest, keys)? {
            let id = record.context.key_id;
            if !takes_wraps(record) {
                match keys {
                    KeySelection::All => planned.excluded.push(id),
                    KeySelection::These(_) => return Err(RingError::NoOtherWrap(id)),
                }
                continue;
            }
            let name = allowed.provider().name();
            let mut wraps = record.wraps.iter();
            if let Some(wrap) = wraps.find(|wrap| wrap.provider == *name && wrap.kek == *kek) {
                self.settings.key_in(record, wrap).await?;
                planned.unchanged.push(id);
                continue;
            }
            let key = self.settings.key_of(record, |_| true).await?;
            let bytes = allowed.provider().wrap(kek, &record.context, &key).await;
            let bytes = bytes.map_err(|error| provider_error(id, error))?;
            let wrap = Wrap::new(name.clone(), kek.clone(), bytes);
            self.settings.key_in(record, &wrap).await?;
            planned.wraps.push((id, wrap));
        }
        Ok(planned)
    }

    /// The new wraps open as they are stored.
    async fn check_stored(&self, manifest: &Manifest, wraps: &[(KeyId, Wrap)]) -> Result<(), RingError> {
        for (id, wrap) in wraps {
            let record = manifest.record(*id).ok_or(RingError::UnknownKey(*id))?;
            // Somebody may have destroyed the key, or taken the wrap away, since.
            if let Some(stored) = record.wraps.iter().find(|stored| stored.order() == wrap.order()) {
                self.settings.key_in(record, stored).await?;
            }
        }
        Ok(())
    }

    /// I-6: the key comes out of another wrap, now.
    async fn check_other_wrap(
        &self,
        record: &KeyRecord,
        is_it: impl Fn(&Wrap) -> bool,
    ) -> Result<(), RingError> {
        let id = record.context.key_id;
        if !takes_wraps(record) {
            return Err(RingError::NoOtherWrap(id));
        }
        let other = self.settings.key_of(record, |wrap| !is_it(wrap)).await;
        other
            .map(drop)
            .map_err(|error| RingError::LastWrap(id, Box::new(error)))
    }
}

fn selected<'m>(manifest: &'m Manifest, keys: &KeySelection) -> Result<Vec<&'m KeyRecord>, RingError> {
    match keys {
        KeySelection::All => Ok(manifest
            .records
            .iter()
            .filter(|record| record.state.opens())
            .collect()),
        KeySelection::These(ids) => {
            let record = |id: &KeyId| {
                let record = manifest.record(*id).ok_or(RingError::UnknownKey(*id))?;
                let opens = record.state.opens();
                opens.then_some(record).ok_or(RingError::KeyState(*id))
            };
            ids.iter().map(record).collect()
        }
    }
}

/// Not a key under dual control, and not one that a device holds.
pub(super) fn takes_wraps(record: &KeyRecord) -> bool {
    record.device_wrap().is_none() && record.wraps.iter().all(|wrap| wrap.provider != split::SPLIT)
}

fn insert(manifest: &mut Manifest, wraps: &[(KeyId, Wrap)]) -> Result<(), RingError> {
    for (id, wrap) in wraps {
        let mut records = manifest.records.iter_mut();
        let record = records.find(|record| record.context.key_id == *id);
        let record = record.ok_or(RingError::UnknownKey(*id))?;
        record.wraps.push(wrap.clone());
        record.wraps.sort_by(|a, b| a.order().cmp(&b.order()));
    }
    Ok(())
}
