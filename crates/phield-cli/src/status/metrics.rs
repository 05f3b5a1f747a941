//! Ages in the text format of Prometheus (version 0.0.4).

use std::fmt::Write as _;

use phield_core::{Ages, KekAge, KeyAge, Urgency, VerifiedRing};

/// Every metric: gauges, in seconds where they are times.
pub(super) fn text(verified: &VerifiedRing, ages: &Ages, now: u64) -> String {
    let manifest = verified.manifest();
    let place = format!("app=\"{}\",ring=\"{}\"", manifest.app, manifest.ring);
    let mut out = Metrics(String::new());
    out.head("phield_ring_epoch", "The epoch of the key ring.");
    out.line("phield_ring_epoch", &place, manifest.epoch);
    out.head(
        "phield_status_time_seconds",
        "When this was written, since the Unix epoch: an old file says nothing.",
    );
    out.line("phield_status_time_seconds", &place, now);

    let key = |age: &KeyAge| {
        let scope = age.scope.as_ref().map(ToString::to_string).unwrap_or_default();
        format!(
            "{place},key=\"{}\",use=\"{}\",scope=\"{scope}\",state=\"{}\"",
            age.key_id, age.key_use, age.state
        )
    };
    let policy = |age: &KeyAge| age.lifetime.map(|lifetime| lifetime.as_secs());
    out.family("phield_key_age_seconds", KEY_AGE, &ages.keys, &key, |age| {
        Some(now.saturating_sub(age.since))
    });
    out.family("phield_key_policy_seconds", KEY_POLICY, &ages.keys, &key, policy);
    out.family("phield_key_overdue", OVERDUE, &ages.keys, &key, |age| {
        Some(u64::from(age.urgency == Urgency::Overdue))
    });

    let kek = |age: &KekAge| {
        format!(
            "{place},provider=\"{}\",kek=\"{}\"",
            age.provider,
            escaped(age.kek.as_str())
        )
    };
    out.family("phield_kek_age_seconds", KEK_AGE, &ages.keks, &kek, |age| {
        Some(now.saturating_sub(age.since?))
    });
    out.family("phield_kek_policy_seconds", KEK_POLICY, &ages.keks, &kek, |age| {
        Some(age.lifetime.as_secs())
    });
    out.family("phield_kek_keys", KEK_KEYS, &ages.keks, &kek, |age| {
        Some(age.keys as u64)
    });
    out.family("phield_kek_overdue", OVERDUE, &ages.keks, &kek, |age| {
        Some(u64::from(age.urgency == Urgency::Overdue))
    });
    out.0
}

struct Metrics(String);

impl Metrics {
    fn head(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    /// One metric of every key that has it.
    fn family<T>(
        &mut self,
        name: &str,
        help: &str,
        of: &[T],
        labels: &impl Fn(&T) -> String,
        value: impl Fn(&T) -> Option<u64>,
    ) {
        self.head(name, help);
        for one in of {
            if let Some(value) = value(one) {
                self.line(name, &labels(one), value);
            }
        }
    }
}

/// A reference is printable ASCII: of what a label escapes it can hold these two.
fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"")
}

const KEY_AGE: &str = "How long a key has served, in seconds: an active data key since its activation, others since they were made.";
const KEY_POLICY: &str = "How long an active key is meant to serve, in seconds.";
const KEK_AGE: &str = "How long a key-encryption key exists, in seconds, where that is known.";
const KEK_POLICY: &str = "How long a key-encryption key is meant to serve, in seconds.";
const KEK_KEYS: &str = "How many keys of the ring are wrapped under it.";
const OVERDUE: &str = "1 when it was to be replaced by now, else 0.";
