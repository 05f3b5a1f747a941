//! Another key-encryption key for every key (I-6): the new wrap, durable; opened as it is stored; then the old one away.
//! In batches of one update each, so that ten thousand keys are a few dozen manifests, and as many calls at a time as the
//! provider may get.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};

use crate::config::ConfigError;
use crate::error::RingError;
use crate::key::KeyId;
use crate::manifest::Manifest;
use crate::name::ProviderName;
use crate::provider::AllowedProvider;
use crate::record::{KekReference, KeyRecord, Wrap};
use crate::ring::change::Tries;
use crate::ring::pace::Pace;
use crate::ring::wraps::takes_wraps;
use crate::ring::{Ring, VerifiedRing};
use crate::settings::provider_error;
use crate::split;

/// How many keys are published in one update, unless said otherwise.
const BATCH: usize = 500;
/// How many calls are under way at a time, unless said otherwise.
const CONCURRENT: usize = 16;

/// Which key-encryption key takes the place of which, and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rekek {
    /// The one whose wraps go. It may have left the configuration where another wrap of each key opens.
    pub from: (ProviderName, KekReference),
    /// The one that takes its place; configuration has it.
    pub to: (ProviderName, KekReference),
    /// The old wraps stay: for the time in which other processes do not have the new key-encryption key in their configuration.
    /// Without this they find no wrap that they can open. Not set by [`new`](Self::new).
    pub keep_old: bool,
    /// How many keys are published in one update: 500 unless set. A run that is killed has made as many wraps for nothing
    /// at most.
    pub batch: usize,
    /// How many calls of providers are under way at a time: 16 unless set.
    pub concurrent: usize,
    /// The most calls of providers in a second. Needs a tokio runtime with timers.
    pub calls_per_second: Option<u32>,
}

impl Rekek {
    /// From one key-encryption key to another.
    #[must_use]
    pub fn new(from: (ProviderName, KekReference), to: (ProviderName, KekReference)) -> Self {
        Self {
            from,
            to,
            keep_old: false,
            batch: BATCH,
            concurrent: CONCURRENT,
            calls_per_second: None,
        }
    }

    fn is_from(&self, wrap: &Wrap) -> bool {
        (&wrap.provider, &wrap.kek) == (&self.from.0, &self.from.1)
    }

    fn is_to(&self, wrap: &Wrap) -> bool {
        (&wrap.provider, &wrap.kek) == (&self.to.0, &self.to.1)
    }
}

/// What there is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RekekPlan {
    /// The keys that have a wrap under the old one and none under the new one.
    pub to_wrap: Vec<KeyId>,
    /// The keys that have one under both already: a run was interrupted.
    pub to_remove: Vec<KeyId>,
    /// The keys under dual control with a share under the old one: such a wrap is not replaced. Make new keys, and destroy
    /// these.
    pub excluded: Vec<KeyId>,
    /// The epoch of the ring that was looked at.
    pub epoch: u64,
}

impl RekekPlan {
    /// How many calls of providers that takes, but for the few that open the ring key for every update: three for a key that
    /// needs a wrap (unwrap, wrap, unwrap as it is stored), one for a key that has both.
    #[must_use]
    pub fn calls(&self) -> usize {
        3 * self.to_wrap.len() + self.to_remove.len()
    }

    /// How many keys there are to do.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.to_wrap.len() + self.to_remove.len()
    }

    fn new(manifest: &Manifest, rekek: &Rekek) -> Self {
        let mut plan = Self {
            epoch: manifest.epoch,
            ..Self::default()
        };
        for record in manifest.records.iter().filter(|record| record.state.opens()) {
            let id = record.context.key_id;
            if record.wraps.iter().any(|wrap| has_share(wrap, &rekek.from)) {
                plan.excluded.push(id);
            }
            if !takes_wraps(record) || !record.wraps.iter().any(|wrap| rekek.is_from(wrap)) {
                continue;
            }
            match record.wraps.iter().any(|wrap| rekek.is_to(wrap)) {
                true if rekek.keep_old => {}
                true => plan.to_remove.push(id),
                false => plan.to_wrap.push(id),
            }
        }
        plan
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RekekProgress {
    /// Keys that were wrapped under the new one, in this run.
    pub wrapped: usize,
    /// Keys whose new wrap opens as it is stored and whose old wrap is gone, in this run.
    pub done: usize,
    /// Keys there were to do at the beginning.
    pub keys: usize,
    /// Calls of providers so far, but for those that open the ring key.
    pub calls: u64,
}

/// What came of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rekeked {
    /// The ring as it is stored now.
    pub ring: VerifiedRing,
    /// Keys that have no wrap under the old one any more, by this run.
    pub done: usize,
    /// Keys that stay as they are, and why: the others were done all the same.
    pub failed: Vec<(KeyId, RingError)>,
    /// See [`RekekPlan::excluded`].
    pub excluded: Vec<KeyId>,
    /// Calls of providers, but for those that open the ring key.
    pub calls: u64,
}

/// A run under way.
struct Run<'r> {
    ring: &'r Ring,
    rekek: &'r Rekek,
    allowed: &'r AllowedProvider,
    pace: Pace,
    progress: RekekProgress,
    failed: BTreeMap<KeyId, RingError>,
    report: &'r mut (dyn FnMut(&RekekProgress) + Send),
}

impl Ring {
    /// What [`rekek`](Self::rekek) would do. Changes nothing and calls no provider but for the ring key.
    ///
    /// # Errors
    /// When configuration does not have the new key-encryption key, or it is the old one; see [`RingError`].
    pub async fn plan_rekek(&self, rekek: &Rekek) -> Result<RekekPlan, RingError> {
        self.rekek_provider(rekek)?;
        Ok(RekekPlan::new(&self.load().await?.manifest, rekek))
    }

    /// Re-wraps every key that has a wrap under one key-encryption key under another one, and takes the old wrap away (I-6).
    /// The keys stay what they are, and nothing that they sealed is touched.
    ///
    /// Batch by batch: each key is unwrapped and wrapped; one update publishes the new wraps; each is opened as it is stored,
    /// and checked against the key's check value; one update takes the old wraps away. A run that was killed is started
    /// again, and does what is missing. A key that fails stays as it is and does not stop the others. Keys that somebody adds
    /// meanwhile are done, too.
    ///
    /// # Errors
    /// As [`plan_rekek`](Self::plan_rekek); when no key of a batch could be done, its first error; see [`RingError`].
    pub async fn rekek(
        &self,
        rekek: &Rekek,
        report: &mut (dyn FnMut(&RekekProgress) + Send),
    ) -> Result<Rekeked, RingError> {
        let allowed = self.rekek_provider(rekek)?;
        let mut verified = self.load().await?;
        let mut run = Run {
            ring: self,
            rekek,
            allowed,
            pace: Pace::new(rekek.calls_per_second),
            progress: RekekProgress {
                wrapped: 0,
                done: 0,
                keys: RekekPlan::new(&verified.manifest, rekek).keys(),
                calls: 0,
            },
            failed: BTreeMap::new(),
            report,
        };
        loop {
            let plan = RekekPlan::new(&verified.manifest, rekek);
            let ids: Vec<_> = plan.to_remove.iter().chain(&plan.to_wrap).copied().collect();
            let batch = ids.into_iter().filter(|id| !run.failed.contains_key(id));
            let batch: BTreeSet<_> = batch.take(rekek.batch.max(1)).collect();
            if batch.is_empty() {
                return Ok(Rekeked {
                    ring: verified,
                    done: run.progress.done,
                    failed: run.failed.into_iter().collect(),
                    excluded: plan.excluded,
                    calls: run.pace.calls(),
                });
            }
            verified = run.batch(verified, &batch).await?;
        }
    }

    fn rekek_provider(&self, rekek: &Rekek) -> Result<&AllowedProvider, RingError> {
        let (provider, kek) = &rekek.to;
        if rekek.from == rekek.to {
            return Err(ConfigError::SameKek.into());
        }
        let mut providers = self.settings.providers.iter();
        let allowed = providers.find(|allowed| allowed.has(provider, kek));
        allowed.ok_or_else(|| ConfigError::NoSuchKek(provider.to_string(), kek.to_string()).into())
    }
}

impl Run<'_> {
    /// One batch: wrapped, published, opened as it is stored, the old wraps away.
    async fn batch(
        &mut self,
        verified: VerifiedRing,
        batch: &BTreeSet<KeyId>,
    ) -> Result<VerifiedRing, RingError> {
        let made = self.wrap(&verified.manifest, batch).await;
        let stored = if made.is_empty() {
            verified
        } else {
            let rekek = self.rekek;
            let add = |manifest: &mut Manifest| add(manifest, rekek, &made);
            publish(self.ring, verified, add).await?
        };
        let good = self.open(&stored.manifest, batch).await;
        if good.is_empty() {
            // Nothing of a whole batch: the provider is out of reach, or refuses. The next one would not fare better.
            let first = batch.iter().find_map(|id| self.failed.remove(id));
            return first.map_or(Ok(stored), Err);
        }
        let rekek = self.rekek;
        let stored = if rekek.keep_old {
            stored
        } else {
            let remove = |manifest: &mut Manifest| remove(manifest, rekek, &good);
            publish(self.ring, stored, remove).await?
        };
        self.progress.done += good.len();
        self.tell();
        Ok(stored)
    }

    /// The wraps that the keys of a batch lack.
    async fn wrap(&mut self, manifest: &Manifest, batch: &BTreeSet<KeyId>) -> BTreeMap<KeyId, Wrap> {
        let (ring, rekek, allowed) = (self.ring, self.rekek, self.allowed);
        let pace = self.pace.clone();
        let lacking = records(manifest, batch);
        let lacking = lacking.filter(|record| !record.wraps.iter().any(|wrap| rekek.is_to(wrap)));
        let calls: Vec<_> = lacking
            .map(|record| {
                let pace = &pace;
                async move {
                    let made = wrap_one(ring, record, (rekek, allowed), pace).await;
                    (record.context.key_id, made)
                }
            })
            .collect();
        let mut made = BTreeMap::new();
        let mut calls = stream::iter(calls).buffer_unordered(rekek.concurrent.max(1));
        while let Some((id, wrapped)) = calls.next().await {
            match wrapped {
                Ok(wrap) => {
                    made.insert(id, wrap);
                    self.progress.wrapped += 1;
                }
                Err(error) => drop(self.failed.insert(id, error)),
            }
            self.tell();
        }
        made
    }

    /// Opens the new wraps as they are stored, and gives those that do.
    async fn open(&mut self, manifest: &Manifest, batch: &BTreeSet<KeyId>) -> BTreeMap<KeyId, Wrap> {
        let (ring, rekek) = (self.ring, self.rekek);
        let pace = self.pace.clone();
        let calls: Vec<_> = records(manifest, batch)
            .filter_map(|record| {
                let wrap = record.wraps.iter().find(|wrap| rekek.is_to(wrap))?;
                let pace = &pace;
                Some(async move {
                    pace.wait().await;
                    let opened = ring.settings.key_in(record, wrap).await.map(drop);
                    (record.context.key_id, opened.map(|()| wrap.clone()))
                })
            })
            .collect();
        let mut good = BTreeMap::new();
        let mut calls = stream::iter(calls).buffer_unordered(rekek.concurrent.max(1));
        while let Some((id, opened)) = calls.next().await {
            match opened {
                Ok(wrap) => drop(good.insert(id, wrap)),
                Err(error) => drop(self.failed.insert(id, error)),
            }
            self.tell();
        }
        good
    }

    fn tell(&mut self) {
        self.progress.calls = self.pace.calls();
        (self.report)(&self.progress);
    }
}

/// Publishes a change that can be made to any manifest: made again on the one of whoever was first.
async fn publish(
    ring: &Ring,
    verified: VerifiedRing,
    change: impl Fn(&mut Manifest) + Send + Sync,
) -> Result<VerifiedRing, RingError> {
    let (mut tries, mut verified) = (Tries::default(), verified);
    loop {
        let published = ring.publish_change(&verified, |manifest| {
            change(manifest);
            Ok(())
        });
        let published = published.await;
        if !tries.again(&published) {
            return published;
        }
        verified = ring.load().await?;
    }
}

/// The key by the old wrap, or by another one that opens, under the new key-encryption key.
async fn wrap_one(
    ring: &Ring,
    record: &KeyRecord,
    (rekek, allowed): (&Rekek, &AllowedProvider),
    pace: &Pace,
) -> Result<Wrap, RingError> {
    let (id, (provider, kek)) = (record.context.key_id, &rekek.to);
    pace.wait().await;
    let key = match ring.settings.key_of(record, |wrap| rekek.is_from(wrap)).await {
        Ok(key) => key,
        Err(first) => {
            pace.wait().await;
            let other = ring.settings.key_of(record, |wrap| !rekek.is_from(wrap));
            other.await.map_err(|_| first)?
        }
    };
    pace.wait().await;
    let bytes = allowed.provider().wrap(kek, &record.context, &key).await;
    let bytes = bytes.map_err(|error| provider_error(id, error))?;
    Ok(Wrap::new(provider.clone(), kek.clone(), bytes))
}

fn records<'m>(manifest: &'m Manifest, batch: &BTreeSet<KeyId>) -> impl Iterator<Item = &'m KeyRecord> {
    let records = manifest.records.iter();
    records.filter(move |record| record.state.opens() && batch.contains(&record.context.key_id))
}

/// Adds the wraps, of keys that have none meanwhile.
fn add(manifest: &mut Manifest, rekek: &Rekek, made: &BTreeMap<KeyId, Wrap>) {
    for record in manifest.records.iter_mut().filter(|record| record.state.opens()) {
        let Some(wrap) = made.get(&record.context.key_id) else {
            continue;
        };
        if !record.wraps.iter().any(|wrap| rekek.is_to(wrap)) {
            record.wraps.push(wrap.clone());
            record.wraps.sort_by(|a, b| a.order().cmp(&b.order()));
        }
    }
}

/// Takes the old wraps away, of keys that have the very wrap that was opened.
fn remove(manifest: &mut Manifest, rekek: &Rekek, good: &BTreeMap<KeyId, Wrap>) {
    for record in &mut manifest.records {
        let opened = good.get(&record.context.key_id);
        if opened.is_some_and(|opened| record.wraps.contains(opened)) {
            record.wraps.retain(|wrap| !rekek.is_from(wrap));
        }
    }
}

/// Whether a share of a split wrap is under this key-encryption key.
fn has_share(wrap: &Wrap, kek: &(ProviderName, KekReference)) -> bool {
    let is_split = wrap.provider == split::SPLIT;
    is_split && split::references(&wrap.kek).is_some_and(|keks| keks.contains(kek))
}
