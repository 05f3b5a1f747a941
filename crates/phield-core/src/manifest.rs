//! The ring manifest (format §8.2): every key record of a ring under one MAC and one epoch.

use std::collections::{BTreeMap, BTreeSet};

use subtle::ConstantTimeEq as _;

use crate::data_key_policy::DataKeyPolicy;
use crate::error::RingError;
use crate::kdf::sha256;
use crate::key::{KeyId, RingKey};
use crate::lp;
use crate::name::{AppName, RingName};
use crate::record::{BadRecord, KeyRecord, KeyState, KeyUse, RawRecord};
use crate::schedule;

/// Length of the MAC at the end of a stored manifest.
const MAC_LEN: usize = 32;
/// What a manifest starts with.
const LABEL: &[u8] = b"phield.v1.manifest";
/// Elements before the records: label, ring, app, epoch.
const HEADER_ELEMENTS: usize = 4;
/// Most index peppers of one scope that are not destroyed: a query has two slots.
const MAX_PEPPERS: usize = 2;

/// The keys of a ring, verified or about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// The ring.
    pub ring: RingName,
    /// The application.
    pub app: AppName,
    /// Grows by one with every change.
    pub epoch: u64,
    /// By strictly ascending key id.
    pub records: Vec<KeyRecord>,
}

impl Manifest {
    /// `MANIFEST ‖ MAC`
    pub(crate) fn seal(&self, ring_key: &RingKey) -> Vec<u8> {
        let mut stored = self.encode();
        let mac = mac(ring_key, &stored);
        stored.extend_from_slice(&mac);
        stored
    }

    /// `MANIFEST = LP("phield.v1.manifest", ring, app, u64(epoch), R_k … by strictly ascending key id)`
    fn encode(&self) -> Vec<u8> {
        let records: Vec<_> = self.records.iter().map(KeyRecord::encode).collect();
        let epoch = self.epoch.to_be_bytes();
        let mut elements = vec![LABEL, self.ring.as_bytes(), self.app.as_bytes(), &epoch];
        elements.extend(records.iter().map(Vec::as_slice));
        lp::encode(&elements)
    }

    /// Refuses bytes that have not the structure of a stored manifest.
    pub(crate) fn check_structure(stored: &[u8]) -> Result<(), RingError> {
        RawManifest::parse(stored).map_or(Err(RingError::Malformed("the new manifest")), |_| Ok(()))
    }

    /// The record with this id.
    #[must_use]
    pub fn record(&self, id: KeyId) -> Option<&KeyRecord> {
        self.records.iter().find(|record| record.context.key_id == id)
    }

    /// Moves a key to another state at `now` (Unix seconds). The key that was active in its place becomes decrypt-only.
    pub(crate) fn set_state(
        &mut self,
        id: KeyId,
        next: KeyState,
        now: u64,
        policy: DataKeyPolicy,
    ) -> Result<(), RingError> {
        let record = self.record(id).ok_or(RingError::UnknownKey(id))?;
        let (key_use, scope) = (record.context.key_use, record.context.scope.clone());
        if next == KeyState::Active {
            let in_its_place = |other: &&mut KeyRecord| {
                let context = &other.context;
                context.key_id != id && context.key_use == key_use && context.scope == scope
            };
            for other in self.records.iter_mut().filter(in_its_place) {
                if other.state.seals() {
                    other.set_state(KeyState::DecryptOnly, now, policy)?;
                }
            }
        }
        let record = self.records.iter_mut().find(|record| record.context.key_id == id);
        record
            .ok_or(RingError::UnknownKey(id))?
            .set_state(next, now, policy)
    }

    /// Notes that a key that seals no more sealed until `now` at most.
    pub(crate) fn stop_sealing(&mut self, id: KeyId, now: u64) -> Result<(), RingError> {
        let record = self.records.iter_mut().find(|record| record.context.key_id == id);
        record.ok_or(RingError::UnknownKey(id))?.stop_sealing(now);
        Ok(())
    }

    /// The rules of a change from `before` to this manifest: records stay what they are, states go forward, and new keys
    /// are pre-active.
    pub(crate) fn check_change(&self, before: &Self) -> Result<(), RingError> {
        if self.ring != before.ring || self.app != before.app {
            return Err(RingError::Malformed("a change of ring or app"));
        }
        // A ring has ten thousand keys where every tenant has its own.
        let by_id = |manifest: &'_ Self| -> BTreeMap<KeyId, usize> {
            let ids = manifest.records.iter().map(|record| record.context.key_id);
            ids.zip(0..).collect()
        };
        let (here, there) = (by_id(self), by_id(before));
        for old in &before.records {
            let id = old.context.key_id;
            let new = here.get(&id).and_then(|place| self.records.get(*place));
            let new = new.ok_or(RingError::RecordChanged(id))?;
            if new.context != old.context || new.check_value != old.check_value || new.created != old.created
            {
                return Err(RingError::RecordChanged(id));
            }
            if new.state != old.state && !old.state.may_become(new.state) {
                return Err(RingError::Transition(id, old.state, new.state));
            }
            let activated = new.state != old.state && new.state == KeyState::Active;
            let sooner = new.not_after != 0 && (old.not_after == 0 || new.not_after < old.not_after);
            let needs_one = activated && new.context.key_use == KeyUse::Data;
            let changed = new.not_after != old.not_after;
            if (changed && !activated && !sooner) || (needs_one && new.not_after == 0) {
                return Err(RingError::NotAfter(id));
            }
        }
        for new in &self.records {
            let id = new.context.key_id;
            if there.contains_key(&id) {
                continue;
            }
            // I-8: published first, activated later. Only `init` and restore write active keys at once.
            if new.state != KeyState::PreActive {
                return Err(RingError::Transition(id, KeyState::PreActive, new.state));
            }
            let is_other_uid_pepper = |other: &KeyRecord| {
                let (new, context) = (&new.context, &other.context);
                let same_place = context.key_use == KeyUse::Uid && context.scope == new.scope;
                same_place && context.key_id != id && other.state.opens()
            };
            if new.context.key_use == KeyUse::Uid && self.records.iter().any(is_other_uid_pepper) {
                return Err(RingError::SecondUidPepper(id));
            }
        }
        Ok(())
    }

    /// The rules that hold between records; those within a record were checked when it was read.
    pub(crate) fn check_rules(&self) -> Result<(), &'static str> {
        if !self
            .records
            .is_sorted_by(|a, b| a.context.key_id < b.context.key_id)
        {
            return Err("key ids are not ascending");
        }
        let (mut active, mut peppers) = (BTreeSet::new(), BTreeMap::new());
        for record in &self.records {
            record.check_wraps()?;
            let place = (record.context.key_use, &record.context.scope);
            if record.state.seals() && !active.insert(place) {
                return Err("two keys of one use and scope are active");
            }
            if record.context.key_use == KeyUse::Index && record.state.opens() {
                let count = peppers.entry(place).or_insert(0);
                *count += 1;
                if *count > MAX_PEPPERS {
                    return Err("a scope has more than two index peppers");
                }
            }
        }
        Ok(())
    }
}

/// A stored manifest whose structure and lengths are right; nothing in it is trusted yet.
#[derive(Debug)]
pub(crate) struct RawManifest<'a> {
    ring: &'a [u8],
    app: &'a [u8],
    epoch: u64,
    records: Vec<RawRecord<'a>>,
    signed: &'a [u8],
    pub(crate) mac: &'a [u8; MAC_LEN],
}

impl<'a> RawManifest<'a> {
    /// Structure, lengths and ascending ids.
    pub(crate) fn parse(stored: &'a [u8]) -> Option<Self> {
        let (signed, mac) = stored.split_last_chunk::<MAC_LEN>()?;
        let elements = lp::decode_list(signed)?;
        let (header, records) = elements.split_at_checked(HEADER_ELEMENTS)?;
        let &[label, ring, app, epoch] = header else {
            return None;
        };
        if label != LABEL {
            return None;
        }
        let epoch = u64::from_be_bytes(epoch.try_into().ok()?);
        let records = records
            .iter()
            .map(|record| RawRecord::parse(record))
            .collect::<Option<Vec<_>>>()?;
        let ascending = records.is_sorted_by(|a, b| a.key_id < b.key_id);
        ascending.then_some(Self {
            ring,
            app,
            epoch,
            records,
            signed,
            mac,
        })
    }

    /// The record with this id, not trusted.
    pub(crate) fn record(&self, id: KeyId) -> Option<&RawRecord<'a>> {
        self.records.iter().find(|record| record.key_id == id)
    }

    /// Whether the MAC is by this key. Compared in constant time.
    pub(crate) fn authenticates(&self, ring_key: &RingKey) -> bool {
        mac(ring_key, self.signed).ct_eq(self.mac).into()
    }

    /// What the manifest says, once it is authenticated.
    pub(crate) fn into_manifest(self, ring: &RingName, app: &AppName) -> Result<Manifest, BadRecord> {
        if self.ring != ring.as_bytes()
            || self.app != app.as_bytes()
            || self.records.iter().any(|record| record.ring != ring.as_bytes())
        {
            return Err(BadRecord::Elsewhere);
        }
        let records = self
            .records
            .iter()
            .map(KeyRecord::from_raw)
            .collect::<Result<Vec<_>, _>>()?;
        let manifest = Manifest {
            ring: ring.clone(),
            app: app.clone(),
            epoch: self.epoch,
            records,
        };
        manifest.check_rules()?;
        Ok(manifest)
    }
}

/// `MAC = KDF(ring key, "phield.v1.manifest", SHA-256(MANIFEST), 32)`
fn mac(ring_key: &RingKey, manifest: &[u8]) -> [u8; MAC_LEN] {
    schedule::manifest_mac(ring_key, &sha256(manifest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::KeyContext;
    use crate::name::{ProviderName, ScopeName};
    use crate::record::{KekReference, Wrap};

    /// Names are looked at once the MAC is right, and a bad one is said to be that.
    #[test]
    fn a_bad_name_in_an_authenticated_manifest() {
        let (ring, app) = (RingName::from_static("dev"), AppName::from_static("emr"));
        let record = KeyRecord {
            context: KeyContext {
                ring: ring.clone(),
                key_id: KeyId::new(1).unwrap(),
                suite: None,
                key_use: KeyUse::Uid,
                scope: Some(ScopeName::from_static("billing")),
                share: None,
            },
            state: KeyState::Active,
            created: 0,
            not_after: 0,
            check_value: [0; 32],
            wraps: vec![Wrap::new(
                ProviderName::from_static("local"),
                KekReference::new("1").unwrap(),
                vec![0; 93],
            )],
        };
        let manifest = Manifest {
            ring: ring.clone(),
            app: app.clone(),
            epoch: 1,
            records: vec![record],
        };
        let key = RingKey::new(&[1; 32]);
        let said = |from: &str, to: &str| {
            let mut stored = manifest.encode();
            let at = stored
                .windows(from.len())
                .rposition(|w| w == from.as_bytes())
                .unwrap();
            stored.splice(at..at + from.len(), to.bytes());
            let mac = mac(&key, &stored);
            stored.extend_from_slice(&mac);
            let raw = RawManifest::parse(&stored).unwrap();
            assert!(raw.authenticates(&key));
            raw.into_manifest(&ring, &app).err()
        };
        let name = |what| Some(BadRecord::Name(crate::name::InvalidName { what }));
        assert_eq!(said("billing", "billing"), None);
        assert_eq!(said("billing", "bill+ng"), name("scope name"));
        assert_eq!(said("local", "lo al"), name("provider name"));
        assert_eq!(
            said("uid", "uie"),
            Some(BadRecord::Malformed("a key record has an unknown use"))
        );
    }
}
