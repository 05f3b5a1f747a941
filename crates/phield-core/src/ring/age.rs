//! How old keys are, and which are to be replaced: reminders. Nothing stops by them.

use std::time::Duration;

use crate::key::KeyId;
use crate::key_policy::KeyPolicy;
use crate::name::{ProviderName, ScopeName};
use crate::record::{KekReference, KeyRecord, KeyState, KeyUse};
use crate::ring::VerifiedRing;
use crate::settings::RingSettings;
use crate::split;

/// Whether a key is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Urgency {
    /// Not yet, or never.
    Fine,
    /// Within the days of warning.
    Soon,
    /// By now.
    Overdue,
}

impl Urgency {
    /// The word in listings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Soon => "soon",
            Self::Overdue => "overdue",
        }
    }

    fn of(due: Option<u64>, policy: &KeyPolicy, now: u64) -> Self {
        match due {
            Some(due) if now >= due => Self::Overdue,
            Some(due) if now.saturating_add(policy.warning.as_secs()) >= due => Self::Soon,
            _ => Self::Fine,
        }
    }
}

/// A key of the ring and its age. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyAge {
    /// Its id.
    pub key_id: KeyId,
    /// What it is for.
    pub key_use: KeyUse,
    /// What it serves.
    pub scope: Option<ScopeName>,
    /// Its state.
    pub state: KeyState,
    /// Since when it counts: of an active data key its activation, which is what its `not after` and `[data_keys]` say; of
    /// every other key when it was made.
    pub since: u64,
    /// How long it is meant to serve; only active keys of a use that is replaced have this.
    pub lifetime: Option<Duration>,
    /// When it is to be replaced: after its lifetime, or at its `not after`, whichever is first.
    pub due: Option<u64>,
    /// Whether it is to be replaced. A compromised key is overdue, whatever its age.
    pub urgency: Urgency,
}

/// A key-encryption key and its age.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KekAge {
    /// Its provider.
    pub provider: ProviderName,
    /// Its reference.
    pub kek: KekReference,
    /// How many keys of the ring are wrapped under it, alone or as a share.
    pub keys: usize,
    /// Since when it exists, in seconds since the Unix epoch: as its provider says, or `[policy]` in configuration. The ring
    /// does not tell: a wrap has no time, and its key may be older than the key-encryption key, or younger.
    pub since: Option<u64>,
    /// How long it is meant to serve.
    pub lifetime: Duration,
    /// When it is to be replaced, where its age is known.
    pub due: Option<u64>,
    /// Whether it is to be replaced; fine where its age is not known.
    pub urgency: Urgency,
}

/// How old the keys of a ring are, and those that wrap them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ages {
    /// Every key that is not destroyed, by id.
    pub keys: Vec<KeyAge>,
    /// The key-encryption keys of the configuration, in its order, then those that wraps name and configuration does not.
    pub keks: Vec<KekAge>,
}

impl Ages {
    /// How many keys and key-encryption keys are so urgent.
    #[must_use]
    pub fn count(&self, urgency: Urgency) -> usize {
        let keys = self.keys.iter().map(|key| key.urgency);
        let keks = self.keks.iter().map(|kek| kek.urgency);
        keys.chain(keks).filter(|other| *other == urgency).count()
    }
}

impl VerifiedRing {
    /// How old the keys are at `now` (seconds since the Unix epoch), by the policy of `settings`.
    #[must_use]
    pub fn ages(&self, settings: &RingSettings, now: u64) -> Ages {
        let records = || self.manifest.records.iter().filter(|record| record.state.opens());
        let keys = records().map(|record| key_age(record, settings, now)).collect();
        let mut keks = Vec::<KekAge>::new();
        let mut add = |provider: &ProviderName, kek: &KekReference, keys| {
            let is_it = |other: &&mut KekAge| (&other.provider, &other.kek) == (provider, kek);
            match keks.iter_mut().find(is_it) {
                Some(known) => known.keys += keys,
                None => keks.push(kek_age((provider, kek), keys, settings, now)),
            }
        };
        for allowed in &settings.providers {
            for kek in allowed.keks() {
                add(allowed.provider().name(), kek, 0);
            }
        }
        for wrap in records().flat_map(|record| &record.wraps) {
            if wrap.provider == split::SPLIT {
                for (provider, kek) in split::references(&wrap.kek).into_iter().flatten() {
                    add(&provider, &kek, 1);
                }
            } else if !wrap.bytes.is_empty() {
                // A pepper in a device has no wrap: it is a key of the device itself.
                add(&wrap.provider, &wrap.kek, 1);
            }
        }
        Ages { keys, keks }
    }
}

fn key_age(record: &KeyRecord, settings: &RingSettings, now: u64) -> KeyAge {
    let (context, policy) = (&record.context, &settings.policy);
    let is_active = record.state == KeyState::Active;
    let activated = record
        .not_after
        .saturating_sub(settings.data_keys.lifetime().as_secs());
    let since = match context.key_use {
        KeyUse::Data if is_active && record.not_after != 0 => activated.max(record.created),
        _ => record.created,
    };
    let lifetime = policy.lifetime(context.key_use).filter(|_| is_active);
    let due = lifetime.map(|lifetime| {
        let due = since.saturating_add(lifetime.as_secs());
        match record.not_after {
            0 => due,
            end => due.min(end),
        }
    });
    KeyAge {
        key_id: context.key_id,
        key_use: context.key_use,
        scope: context.scope.clone(),
        state: record.state,
        since,
        lifetime,
        due,
        urgency: match record.state {
            KeyState::Compromised => Urgency::Overdue,
            _ => Urgency::of(due, policy, now),
        },
    }
}

fn kek_age(
    (provider, kek): (&ProviderName, &KekReference),
    keys: usize,
    settings: &RingSettings,
    now: u64,
) -> KekAge {
    let mut providers = settings.providers.iter();
    let allowed = providers.find(|allowed| allowed.has(provider, kek));
    let told = allowed.and_then(|allowed| allowed.provider().kek_created(kek));
    let since = told.or_else(|| settings.policy.since(provider, kek));
    let lifetime = settings.policy.kek;
    let due = since.map(|since| since.saturating_add(lifetime.as_secs()));
    KekAge {
        provider: provider.clone(),
        kek: kek.clone(),
        keys,
        since,
        lifetime,
        due,
        urgency: Urgency::of(due, &settings.policy, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::KeyContext;
    use crate::name::{AppName, RingName};
    use crate::token::Suite;

    const DAY: u64 = 86_400;
    const MADE: u64 = 1_700_000_000;

    fn age(key_use: KeyUse, state: KeyState, not_after: u64, days: u64) -> KeyAge {
        let ring = RingName::from_static("dev");
        let settings = RingSettings::new(AppName::from_static("emr"), ring.clone(), Vec::new());
        let record = KeyRecord {
            context: KeyContext {
                ring,
                key_id: KeyId::new(1).unwrap(),
                suite: (key_use == KeyUse::Data).then_some(Suite::Aes256Gcm),
                key_use,
                scope: None,
                share: None,
            },
            state,
            created: MADE,
            not_after,
            check_value: [0; 32],
            wraps: Vec::new(),
        };
        key_age(&record, &settings, MADE + days * DAY)
    }

    /// A successor that was made long before it became active is as old as its activation.
    #[test]
    fn a_data_key_counts_from_its_activation() {
        let activated = MADE + 80 * DAY;
        let of = |days| age(KeyUse::Data, KeyState::Active, activated + 90 * DAY, days);
        assert_eq!(
            (of(80).since, of(80).due),
            (activated, Some(activated + 90 * DAY))
        );
        let urgency = |days| of(days).urgency;
        assert_eq!(urgency(155), Urgency::Fine);
        assert_eq!((urgency(156), urgency(169)), (Urgency::Soon, Urgency::Soon));
        assert_eq!(urgency(170), Urgency::Overdue);
        // It stops sealing sooner than that, so it is due sooner.
        let short = age(KeyUse::Data, KeyState::Active, MADE + 10 * DAY, 10);
        assert_eq!((short.since, short.urgency), (MADE, Urgency::Overdue));
    }

    #[test]
    fn other_keys_count_from_when_they_were_made() {
        let urgency = |key_use, state, days| age(key_use, state, 0, days).urgency;
        for key_use in [KeyUse::Index, KeyUse::Ring] {
            assert_eq!(urgency(key_use, KeyState::Active, 350), Urgency::Fine);
            assert_eq!(urgency(key_use, KeyState::Active, 351), Urgency::Soon);
            assert_eq!(urgency(key_use, KeyState::Active, 365), Urgency::Overdue);
            assert_eq!(urgency(key_use, KeyState::DecryptOnly, 10_000), Urgency::Fine);
            assert_eq!(urgency(key_use, KeyState::PreActive, 10_000), Urgency::Fine);
        }
        for key_use in [KeyUse::Uid, KeyUse::Subject] {
            assert_eq!(urgency(key_use, KeyState::Active, 10_000), Urgency::Fine);
        }
        assert_eq!(urgency(KeyUse::Data, KeyState::Compromised, 0), Urgency::Overdue);
    }
}
