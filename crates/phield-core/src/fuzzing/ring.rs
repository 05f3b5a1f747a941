//! Key records and the ring manifest (format §8.1, §8.2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use super::identity::key_context_of;
use super::input::Input;
use crate::error::RingError;
use crate::key::{KeyId, KeyMaterial, RingKey};
use crate::local::{LocalProvider, decode_keks};
use crate::lp;
use crate::manifest::{Manifest, RawManifest};
use crate::name::{AppName, ProviderName, RingName};
use crate::provider::AllowedProvider;
use crate::record::{BadRecord, KekReference, KeyRecord, KeyState, KeyUse, RawRecord, Wrap};
use crate::ring::NewKey;
use crate::settings::{RingKeyPin, RingSettings};

const RING: RingName = RingName::from_static("prod");
const APP: AppName = AppName::from_static("emr");
/// Length of the MAC.
const MAC_LEN: usize = 32;
/// The bytes of the ring key.
const RING_KEY: [u8; 32] = [0x52; 32];
/// The id that is pinned, and the lowest epoch.
const PINNED: u32 = 5;
const MIN_EPOCH: u64 = 3;
const STATES: [KeyState; 5] = [
    KeyState::PreActive,
    KeyState::Active,
    KeyState::DecryptOnly,
    KeyState::Compromised,
    KeyState::Destroyed,
];

/// Any bytes as a record and as a manifest, and manifests of any records, changed or not.
pub fn key_record_and_manifest(data: &[u8]) {
    record(data);
    stored(data);
    // Any bytes as they would stand in front of a MAC.
    authentic(data);
    let mut input = Input::new(data);
    let manifest = manifest(&mut input);
    written(&manifest);
    changed(&manifest, &mut input);
    verified(manifest, &mut input);
}

fn ring_key() -> RingKey {
    RingKey::new(&RING_KEY)
}

/// A record that is accepted is encoded as it was read.
fn record(data: &[u8]) {
    let Some(raw) = RawRecord::parse(data) else {
        return;
    };
    let Ok(record) = KeyRecord::from_raw(&raw) else {
        return;
    };
    assert_eq!(record.encode(), data);
    assert_eq!(raw.context().as_ref(), Ok(&record.context));
    assert_eq!(raw.wraps().as_ref(), Ok(&record.wraps));
    assert_eq!(record.state.byte(), raw.state);
    assert!(rules_hold(std::slice::from_ref(&record)));
}

/// A manifest that is accepted is encoded as it was read. No input has the MAC of a key that it does not know.
fn stored(data: &[u8]) {
    let Some(raw) = RawManifest::parse(data) else {
        return;
    };
    assert!(!raw.authenticates(&ring_key()));
    assert!(ready(PINS.0.verify(data)).is_err());
    let (ring, app) = names(data).unwrap_or((RING, APP));
    if let Ok(manifest) = raw.into_manifest(&ring, &app) {
        assert_accepted(&manifest, &data[..data.len() - MAC_LEN]);
        // Of another ring, or of another application: not even malformed.
        for (ring, app) in [
            (RingName::from_static("other"), app),
            (ring, AppName::from_static("other")),
        ] {
            let raw = RawManifest::parse(data).unwrap();
            let same = manifest.ring == ring && manifest.app == app;
            assert_eq!(raw.into_manifest(&ring, &app) == Err(BadRecord::Elsewhere), !same);
        }
    }
}

/// The ring and the application that a manifest says it is of.
fn names(stored: &[u8]) -> Option<(RingName, AppName)> {
    let list = lp::decode_list(&stored[..stored.len() - MAC_LEN])?;
    let text = |at: usize| String::from_utf8(list[at].to_vec()).ok();
    Some((RingName::new(text(1)?).ok()?, AppName::new(text(2)?).ok()?))
}

fn assert_accepted(manifest: &Manifest, signed: &[u8]) {
    assert!(rules_hold(&manifest.records), "{manifest:?}");
    assert_eq!(manifest.check_rules(), Ok(()));
    let stored = manifest.seal(&ring_key());
    assert_eq!(&stored[..stored.len() - MAC_LEN], signed);
    assert!(RawManifest::parse(&stored).unwrap().authenticates(&ring_key()));
}

/// These bytes in front of a MAC of 32 other bytes: never authentic.
fn authentic(data: &[u8]) {
    for mac in [[0; MAC_LEN], [0xff; MAC_LEN]] {
        let stored = [data, &mac].concat();
        if let Some(raw) = RawManifest::parse(&stored) {
            assert_eq!(*raw.mac, mac);
            assert!(!raw.authenticates(&ring_key()));
        }
    }
}

/// The rules of §8.1, §8.2 and §8.5, once more: counted, where the reader compares.
fn rules_hold(records: &[KeyRecord]) -> bool {
    let ids: BTreeSet<_> = records.iter().map(|record| record.context.key_id).collect();
    let ascending =
        ids.len() == records.len() && ids.iter().eq(records.iter().map(|record| &record.context.key_id));
    let wraps_in_order = |record: &KeyRecord| {
        let order: Vec<_> = record
            .wraps
            .iter()
            .map(|wrap| (wrap.provider.as_str(), wrap.kek.as_str()))
            .collect();
        let set: BTreeSet<_> = order.iter().copied().collect();
        set.len() == order.len()
            && set.into_iter().eq(order.iter().copied())
            && record.wraps.is_empty() == (record.state == KeyState::Destroyed)
            && (order.iter().all(|(provider, _)| *provider == "split")
                || order.iter().all(|(provider, _)| *provider != "split"))
    };
    let (mut active, mut peppers) = (BTreeMap::new(), BTreeMap::new());
    for record in records {
        let context = &record.context;
        if record.state == KeyState::Active {
            *active.entry((context.key_use, &context.scope)).or_insert(0) += 1;
        }
        if context.key_use == KeyUse::Index && record.state != KeyState::Destroyed {
            *peppers.entry(&context.scope).or_insert(0) += 1;
        }
    }
    ascending
        && records.iter().all(wraps_in_order)
        && active.values().all(|count| *count == 1)
        && peppers.values().all(|count| *count <= 2)
}

/// A manifest that may break every rule but those of its types.
fn manifest(input: &mut Input<'_>) -> Manifest {
    // Around the lowest epoch that is accepted, unless it is any at all.
    let epoch = match input.u8() {
        255 => input.u64(),
        small => u64::from(small % 8),
    };
    let count = input.below(8);
    // Ids mostly ascend, or hardly anything would get past the first rule.
    let mut id = 0_u32;
    let mut records = Vec::new();
    for _ in 0..count {
        id = id.wrapping_add(1).wrapping_add(match input.u8() {
            255 => input.u32(),
            step => u32::from(step % 4),
        });
        let ring = match input.u8() {
            255 => RingName::new(input.name()).unwrap(),
            _ => RING,
        };
        records.push(KeyRecord {
            context: key_context_of(ring, id, input),
            state: *input.choice(&STATES),
            created: input.u64(),
            not_after: input.u64(),
            check_value: [input.u8(); 32],
            wraps: (0..input.below(4)).map(|_| wrap(input)).collect(),
        });
    }
    Manifest {
        ring: RING,
        app: APP,
        epoch,
        records,
    }
}

fn wrap(input: &mut Input<'_>) -> Wrap {
    let provider = match input.u8() % 4 {
        0 => "aws-kms".to_owned(),
        1 | 2 => "local".to_owned(),
        _ => input.name(),
    };
    let kek = KekReference::new(input.text()).unwrap_or_else(|| KekReference::new("1").unwrap());
    Wrap::new(ProviderName::new(provider).unwrap(), kek, input.bytes())
}

/// What is written is read again, and accepted exactly when the rules hold.
fn written(manifest: &Manifest) {
    let stored = manifest.seal(&ring_key());
    let ids = manifest.records.iter().map(|record| record.context.key_id);
    let Some(raw) = RawManifest::parse(&stored) else {
        assert!(!ids.is_sorted_by(|a, b| a < b));
        return;
    };
    assert!(ids.is_sorted_by(|a, b| a < b));
    assert!(raw.authenticates(&ring_key()));
    assert!(!raw.authenticates(&RingKey::new(&[0x53; 32])));
    let one_ring = manifest.records.iter().all(|record| record.context.ring == RING);
    let good = one_ring && rules_hold(&manifest.records);
    match raw.into_manifest(&RING, &APP) {
        Ok(read) => {
            assert!(good);
            assert_eq!(read, *manifest);
            assert_accepted(&read, &stored[..stored.len() - MAC_LEN]);
        }
        Err(why) => {
            assert!(!good, "{why:?}: {manifest:?}");
            assert_eq!(why == BadRecord::Elsewhere, !one_ring);
        }
    }
    for record in &manifest.records {
        self::record(&record.encode());
    }
}

/// One bit, the length or the MAC changed: refused.
fn changed(manifest: &Manifest, input: &mut Input<'_>) {
    let good = manifest.seal(&ring_key());
    let mut stored = good.clone();
    let (kind, at) = (input.u8() % 4, usize::from(input.u16()));
    let len = stored.len();
    match kind {
        0 => stored[at / 8 % len] ^= 1 << (at % 8),
        1 => stored.truncate(at % len),
        2 => stored.push(input.u8()),
        _ => stored[len - MAC_LEN..].copy_from_slice(&input.array::<MAC_LEN>()),
    }
    if stored != good {
        let raw = RawManifest::parse(&stored);
        assert!(raw.is_none_or(|raw| !raw.authenticates(&ring_key())));
    }
}

/// Configuration that pins [`RING_KEY`], and the record of that key.
static PINS: LazyLock<(RingSettings, KeyRecord)> = LazyLock::new(|| {
    let kek = lp::encode(&[&1_u32.to_be_bytes(), &[0; 8], &[1], &[0x4b; 32]]);
    let file = decode_keks(&lp::encode(&[&kek])).unwrap();
    let kek = KekReference::new("1").unwrap();
    let allowed = AllowedProvider::new(Arc::new(LocalProvider::new(&file)), [kek]);
    let mut settings = RingSettings::new(APP, RING, vec![allowed]);
    let new = NewKey {
        key_use: KeyUse::Ring,
        suite: None,
        scope: None,
        state: KeyState::Active,
    };
    let key = KeyMaterial::init_with(|k| *k = RING_KEY);
    let id = KeyId::new(PINNED).unwrap();
    let record = ready(settings.record(new, id, &key, 1)).unwrap();
    settings.pins = vec![RingKeyPin::of(&record)];
    settings.min_epoch = MIN_EPOCH;
    (settings, record)
});

/// The output of a future that is always ready, as those of the local provider are.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the local provider never waits"),
    }
}

/// What configuration accepts: the pinned key's record and MAC, the rules, a live ring key, the epoch floor; and
/// nothing that somebody else has sealed, whatever it says about the pinned key.
fn verified(mut manifest: Manifest, input: &mut Input<'_>) {
    let (settings, genuine) = &*PINS;
    let mut pinned = KeyRecord {
        state: *input.choice(&STATES),
        ..genuine.clone()
    };
    let foreign = input.u8() % 4;
    match foreign {
        1 => pinned.check_value[usize::from(input.u8() % 32)] ^= 1,
        2 => {
            let at = input.below(pinned.wraps[0].bytes.len());
            pinned.wraps[0].bytes[at] ^= 1;
        }
        _ => {}
    }
    if pinned.state == KeyState::Destroyed {
        pinned.wraps.clear();
    }
    let id = pinned.context.key_id;
    manifest.records.retain(|record| record.context.key_id != id);
    let at = manifest
        .records
        .iter()
        .position(|record| record.context.key_id > id)
        .unwrap_or(manifest.records.len());
    manifest.records.insert(at, pinned);
    let key = match foreign {
        3 => RingKey::new(&[0x53; 32]),
        _ => ring_key(),
    };
    let stored = manifest.seal(&key);
    let state = manifest.record(id).unwrap().state;
    let one_ring = manifest.records.iter().all(|record| record.context.ring == RING);
    let good = foreign == 0
        && one_ring
        && rules_hold(&manifest.records)
        && state < KeyState::Compromised
        && manifest.epoch >= MIN_EPOCH;
    match ready(settings.verify(&stored)) {
        Ok(ring) => {
            assert!(good, "{manifest:?}");
            assert_eq!((ring.manifest(), ring.stored()), (&manifest, stored.as_slice()));
        }
        Err(error) => {
            assert!(!good, "{error}: {manifest:?}");
            // Before the MAC is verified, no rule and no epoch decides: only structure, the wrap and the pinned record.
            let early = match error {
                RingError::Authentication | RingError::KeyState(_) => true,
                RingError::Malformed(what) => what == "a wrap" || RawManifest::parse(&stored).is_none(),
                _ => false,
            };
            assert!(foreign == 0 || early, "{error}");
        }
    }
}
