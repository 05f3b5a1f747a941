//! Keys: which seal, for how long, and what takes their place.

use std::collections::BTreeSet;

use phield_core::{
    KeyAge, KeyRecord, KeyState, KeyUse, Manifest, RingSettings, ScopeName, Urgency, VerifiedRing,
};

use super::finding::{Area, Findings};
use crate::keys::days_left;
use crate::status::{kek_reminder, key_reminder};
use crate::text::{count, ids, now, utc};

/// Fewer days than this, and somebody has to act.
const FEW_DAYS: i64 = 14;
/// Clocks differ by less.
const SKEW: u64 = 300;

/// Keys and key-encryption keys that are older than their policy; what else is wrong with them is said elsewhere.
pub(super) fn check_ages(settings: &RingSettings, verified: &VerifiedRing, findings: &mut Findings) {
    let ages = verified.ages(settings, now());
    let is_said = |age: &&KeyAge| {
        let record = verified.manifest().record(age.key_id);
        let at_its_end = record.is_some_and(|record| age.due == Some(record.not_after));
        age.state == KeyState::Compromised || at_its_end
    };
    let keys = ages.keys.iter().filter(|age| !is_said(age));
    let keys = keys.filter_map(|age| Some((age.urgency, key_reminder(verified.manifest(), age)?)));
    let keks = ages
        .keks
        .iter()
        .filter_map(|age| Some((age.urgency, kek_reminder(age)?)));
    for (urgency, reminder) in keys.chain(keks) {
        let means = "It works on. The longer a key serves, the more is lost with it. [policy] says how long; `phield status` \
                     lists all.";
        if urgency == Urgency::Overdue {
            findings.warning(Area::Keys, reminder.what, means, reminder.command);
        } else {
            findings.note(Area::Keys, reminder.what, means, reminder.command);
        }
    }
}

pub(super) fn check(settings: &RingSettings, manifest: &Manifest, findings: &mut Findings) {
    let places: BTreeSet<_> = manifest
        .records
        .iter()
        .filter(|record| record.context.key_use == KeyUse::Data && record.state.opens())
        .map(|record| record.context.scope.clone())
        .collect();
    if places.is_empty() {
        findings.error(
            Area::Keys,
            "the ring has no data key",
            "Nothing can be sealed.",
            "phield keys add",
        );
    }
    for place in &places {
        check_place(settings, manifest, place.as_ref(), findings);
    }
    check_compromised(manifest, findings);
    check_clock(manifest, findings);
}

/// The data keys of a scope.
fn check_place(
    settings: &RingSettings,
    manifest: &Manifest,
    scope: Option<&ScopeName>,
    findings: &mut Findings,
) {
    let of_place = |state| {
        let is_it = move |record: &&KeyRecord| {
            record.context.key_use == KeyUse::Data
                && record.context.scope.as_ref() == scope
                && record.state == state
        };
        manifest.records.iter().filter(is_it)
    };
    let (place, option) = match scope {
        Some(scope) => (format!("of scope {scope}"), format!(" --scope {scope}")),
        None => ("without a scope".to_owned(), String::new()),
    };
    let successor = of_place(KeyState::PreActive).max_by_key(|record| record.created);
    match of_place(KeyState::Active).next() {
        Some(active) => check_end(settings, active, successor, findings),
        None => findings.error(
            Area::Keys,
            format!("no data key {place} is active"),
            "Nothing can be sealed there.",
            match successor {
                Some(record) => format!("phield keys activate {}", record.context.key_id),
                None => format!("phield keys add{option}, then activate it"),
            },
        ),
    }
    if successor.is_none() {
        findings.warning(
            Area::Keys,
            format!("no pre-active data key {place} stands by"),
            "A compromised key cannot be replaced at once: a new one waits a hard TTL and 5 minutes.",
            format!("phield keys add{option}"),
        );
    }
}

/// How long the active key seals.
fn check_end(
    settings: &RingSettings,
    active: &KeyRecord,
    successor: Option<&KeyRecord>,
    findings: &mut Findings,
) {
    let (id, end) = (active.context.key_id, active.not_after);
    if end == 0 {
        return;
    }
    let action = match successor {
        Some(record) => {
            let id = record.context.key_id;
            let ready = record
                .created
                .saturating_add(settings.cache.fleet_wait().as_secs());
            if ready > now() {
                format!("From {} on: phield keys activate {id}", utc(ready))
            } else {
                format!("phield keys activate {id}")
            }
        }
        None => "phield keys add now, and activate the new key once every process knows it".to_owned(),
    };
    if now() > end.saturating_add(SKEW) {
        findings.error(
            Area::Keys,
            format!("data key {id} seals no more since {}", utc(end)),
            "Nothing can be sealed: every write fails. What was sealed opens. (Or the clock of this machine is ahead.)",
            action,
        );
    } else if days_left(end) < FEW_DAYS {
        findings.warning(
            Area::Keys,
            format!(
                "data key {id} seals for {} more, until {}",
                match days_left(end) {
                    ..1 => "less than a day".to_owned(),
                    days => count(usize::try_from(days).unwrap_or(0), "day"),
                },
                utc(end)
            ),
            "After that nothing can be sealed.",
            action,
        );
    }
}

fn check_compromised(manifest: &Manifest, findings: &mut Findings) {
    let compromised: Vec<_> = manifest
        .records
        .iter()
        .filter(|record| record.state == KeyState::Compromised)
        .map(|record| record.context.key_id)
        .collect();
    if !compromised.is_empty() {
        findings.warning(
            Area::Keys,
            format!("compromised keys are still in use: {}", ids(&compromised)),
            "Rows under them open, and are reported as not authenticated. Whoever has the keys reads them.",
            "Re-seal everything under them; `compromised_opens` of the keyring counts what was read.",
        );
    }
}

fn check_clock(manifest: &Manifest, findings: &mut Findings) {
    let newest = manifest.records.iter().map(|record| record.created).max();
    if let Some(newest) = newest.filter(|newest| *newest > now().saturating_add(SKEW)) {
        findings.error(
            Area::Clock,
            format!("a key was made at {}, which is still to come by this machine's clock", utc(newest)),
            "This clock is behind, or that of the machine that made the key was ahead. New keys are activated too early or too \
             late, and old ones seal for too long.",
            "Set both clocks, and keep them by NTP.",
        );
    }
}
