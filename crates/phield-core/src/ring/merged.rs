//! Several manifests of one ring, put together for a restore.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::ConfigError;
use crate::error::RingError;
use crate::key::{KeyId, RingKey};
use crate::manifest::Manifest;
use crate::name::ScopeName;
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::ring::backup::is_same_key;
use crate::ring::{MissingKek, NewKey, VerifiedRing, WrapCheck, WrapOutcome, now, unused_id};
use crate::settings::RingSettings;
use crate::token::Suite;

/// How far a restored ring is ahead of every epoch that is known: of those that were lost, too.
const EPOCHS_AHEAD: u64 = 65_536;

/// Every record of every manifest, each in its latest state.
pub(super) struct Merged {
    records: BTreeMap<KeyId, KeyRecord>,
    now: u64,
}

/// What did not open.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) out_of_reach: Vec<(KeyId, RingError)>,
    pub(super) closed: Vec<(KeyId, RingError)>,
    pub(super) closed_wraps: Vec<WrapCheck>,
}

impl Merged {
    /// `sources`: the newest first.
    pub(super) fn new(sources: &[VerifiedRing]) -> Result<Self, RingError> {
        let (mut records, now) = (BTreeMap::<KeyId, KeyRecord>::new(), now()?);
        for record in sources.iter().flat_map(|source| &source.manifest.records) {
            let id = record.context.key_id;
            let merged = records.entry(id).or_insert_with(|| record.clone());
            if !is_same_key(merged, record) {
                return Err(RingError::TwoKeys(id));
            }
            if merged.state.seals() != record.state.seals() {
                // In one history it went on sealing, nobody knows until when.
                merged.not_after = merged.not_after.max(now);
            }
            merged.state = merged.state.max(record.state);
        }
        for record in records.values_mut() {
            if !record.state.opens() {
                record.wraps.clear();
            }
        }
        Ok(Self { records, now })
    }

    /// The wraps of each key as the newest manifest has them in which one opens. Gives what does not open.
    ///
    /// A key that no wrap opens is no reason not to restore the others, unless what comes out of every one of its wraps is
    /// another key, or no data key opens.
    pub(super) async fn choose_wraps(
        &mut self,
        settings: &RingSettings,
        sources: &[VerifiedRing],
    ) -> Result<Opened, RingError> {
        let mut opened = Opened::default();
        let (mut data_keys, mut closed_data_keys) = (0, Vec::new());
        for (id, record) in self.records.iter_mut().filter(|(_, record)| record.state.opens()) {
            let is_data = record.context.key_use == KeyUse::Data;
            data_keys += usize::from(is_data);
            let is_open = opened.choose(settings, sources, record).await?;
            closed_data_keys.extend((is_data && !is_open).then_some(*id));
        }
        match closed_data_keys.first() {
            Some(id) if closed_data_keys.len() == data_keys => Err(opened.why(*id)),
            _ => Ok(opened),
        }
    }

    /// Active and pre-active data keys become decrypt-only: nobody knows how much they sealed. Of other keys that are active
    /// in one place, from manifests of two histories, the pinned or youngest one stays. Gives the data keys.
    pub(super) fn settle(&mut self, settings: &RingSettings) -> Vec<KeyId> {
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
        let (mut retired, now) = (Vec::new(), self.now);
        for (id, record) in &mut self.records {
            let is_data = record.context.key_use == KeyUse::Data;
            let stays = !is_data && kept.values().any(|kept| kept == id);
            let is_next = is_data && record.state == KeyState::PreActive;
            if is_next || (record.state.seals() && !stays) {
                record.state = KeyState::DecryptOnly;
                retired.extend(is_data.then_some(*id));
            }
            if matches!(record.state, KeyState::DecryptOnly | KeyState::Compromised) {
                record.stop_sealing(now);
            }
        }
        retired
    }

    /// A fresh active data key and its successor for every scope that sealed, or was to. Gives the key-encryption keys that
    /// they have no wrap under, too.
    pub(super) async fn add_data_keys(
        &mut self,
        settings: &RingSettings,
    ) -> Result<(Vec<KeyId>, Vec<MissingKek>), RingError> {
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
        let mut missing = Vec::<MissingKek>::new();
        for (scope, (_, suite)) in places {
            for new in NewKey::data(suite, scope.as_ref()) {
                let records: Vec<_> = self.records.values().cloned().collect();
                let id = unused_id(&records)?;
                let (record, without) = settings.make_reachable(new, id, self.now).await?;
                settings.check_reachable(&record).await?;
                for kek in without {
                    let is_it =
                        |other: &MissingKek| (&other.provider, &other.kek) == (&kek.provider, &kek.kek);
                    if !missing.iter().any(is_it) {
                        missing.push(kek);
                    }
                }
                self.records.insert(id, record);
                added.insert(id);
            }
        }
        Ok((added.into_iter().collect(), missing))
    }

    /// Under the MAC of the pinned ring key that is active.
    pub(super) async fn seal(self, settings: &RingSettings, known: u64) -> Result<VerifiedRing, RingError> {
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

impl Opened {
    /// Gives a record the wraps of the newest of its versions that opens; whether there is one.
    async fn choose(
        &mut self,
        settings: &RingSettings,
        sources: &[VerifiedRing],
        record: &mut KeyRecord,
    ) -> Result<bool, RingError> {
        let id = record.context.key_id;
        let (mut failed, mut is_torn) = (Vec::new(), false);
        let versions = sources.iter().filter_map(|source| source.manifest.record(id));
        for version in versions.filter(|version| version.state.opens()) {
            let (opens, closed): (Vec<_>, Vec<_>) = settings
                .check_wraps(version)
                .await
                .into_iter()
                .partition(|check| check.outcome == WrapOutcome::Opens);
            if !opens.is_empty() && !closed.iter().any(is_wrong) {
                record.wraps.clone_from(&version.wraps);
                let tried = |check: &WrapCheck| check.outcome != WrapOutcome::NotConfigured;
                self.closed_wraps.extend(closed.into_iter().filter(tried));
                return Ok(true);
            }
            is_torn |= !opens.is_empty();
            failed.extend(closed);
        }
        if is_torn {
            // It opens, and another wrap of it gives another key: somebody has to look at that first.
            return Err(RingError::Authentication);
        }
        self.add(id, failed).map(|()| false)
    }

    /// A key of which these wraps were tried, and none opens.
    fn add(&mut self, id: KeyId, failed: Vec<WrapCheck>) -> Result<(), RingError> {
        let all_wrong = !failed.is_empty() && failed.iter().all(is_wrong);
        let gravest = failed.into_iter().max_by_key(|check| match check.outcome {
            WrapOutcome::OutOfReach => 3,
            WrapOutcome::Refused => 2,
            WrapOutcome::NotConfigured => 0,
            _ => 1,
        });
        let error = gravest.and_then(|check| check.error);
        let error = error.unwrap_or_else(|| ConfigError::KekNotAllowed(id).into());
        if all_wrong {
            return Err(error);
        }
        if matches!(error, RingError::KeyUnavailable(..)) {
            self.out_of_reach.push((id, error));
        } else {
            self.closed.push((id, error));
        }
        Ok(())
    }

    /// Why a key does not open.
    fn why(self, id: KeyId) -> RingError {
        let mut failed = self.out_of_reach.into_iter().chain(self.closed);
        let found = failed.find(|(closed, _)| *closed == id);
        found.map_or(ConfigError::KekNotAllowed(id).into(), |(_, error)| error)
    }
}

/// What came out of a wrap is another key, or nothing could come out of it.
fn is_wrong(check: &WrapCheck) -> bool {
    matches!(
        check.outcome,
        WrapOutcome::DoesNotAuthenticate | WrapOutcome::Malformed
    )
}
