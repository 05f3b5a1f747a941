//! One key as the refresher sees it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cache_policy::CachePolicy;
use crate::clock;
use crate::key_slot::KeySlot;
use crate::random;
use crate::record::KeyRecord;

/// Longest pause between two tries while something is out of reach, in milliseconds.
const MAX_PAUSE: u64 = 30_000;
/// Shortest one.
const MIN_PAUSE: u64 = 50;

/// A key of the manifest, and when it is to be asked for.
pub(super) struct Tracked {
    pub(super) record: KeyRecord,
    pub(super) slot: Arc<KeySlot>,
    pub(super) timer: Timer,
    /// Who waits for it.
    pub(super) waiters: Vec<oneshot::Sender<()>>,
}

impl Tracked {
    pub(super) fn new(record: KeyRecord) -> Self {
        Self {
            record,
            slot: KeySlot::empty(),
            timer: Timer::default(),
            waiters: Vec::new(),
        }
    }

    /// Whether a record of another manifest is of the same key: its wraps and its state may differ.
    pub(super) fn is_of(&self, record: &KeyRecord) -> bool {
        self.record.context == record.context && self.record.check_value == record.check_value
    }

    /// Tells those who wait that the try is over, however it ended.
    pub(super) fn answer(&mut self) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(());
        }
    }
}

/// When something is to be done again.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Timer {
    due: u64,
    failures: u32,
    /// It is being done.
    pub(super) is_running: bool,
}

impl Timer {
    /// It is due now, and nobody is doing it.
    pub(super) fn is_due(&self, now: u64) -> bool {
        !self.is_running && self.due <= now
    }

    /// When it is due next, unless it is being done.
    pub(super) fn next(&self) -> Option<u64> {
        (!self.is_running).then_some(self.due)
    }

    /// Whether it failed lately and is not tried again before `time`: asking at once would not help.
    pub(super) fn is_pausing(&self, time: u64) -> bool {
        !self.is_running && self.failures > 0 && self.due > time
    }

    /// It is due now.
    pub(super) fn hurry(&mut self) {
        self.due = 0;
    }

    /// It worked: again within the soft TTL, not for all keys of all processes at the same moment.
    pub(super) fn succeeded(&mut self, policy: &CachePolicy) {
        let soft = clock::millis(policy.soft_ttl());
        *self = Self {
            due: clock::now().saturating_add(soft - jitter(soft / 5)),
            failures: 0,
            is_running: false,
        };
    }

    /// It did not: again soon, then later and later, but well within the soft TTL.
    pub(super) fn failed(&mut self, policy: &CachePolicy) {
        let soft = clock::millis(policy.soft_ttl());
        let longest = (soft / 4).clamp(MIN_PAUSE, MAX_PAUSE);
        let pause = MIN_PAUSE.saturating_mul(1 << self.failures.min(12)).min(longest);
        *self = Self {
            due: clock::now().saturating_add(pause - jitter(pause / 4)),
            failures: self.failures.saturating_add(1),
            is_running: false,
        };
    }
}

/// A random number below `bound`; 0 when there is no randomness.
fn jitter(bound: u64) -> u64 {
    let random = random::array().map_or(0, u64::from_be_bytes);
    random.checked_rem(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn policy() -> CachePolicy {
        CachePolicy::new(Duration::from_secs(300), Duration::from_secs(3600)).unwrap()
    }

    #[test]
    fn a_success_is_due_within_the_soft_ttl_and_not_much_sooner() {
        for _ in 0..100 {
            let mut timer = Timer::default();
            timer.succeeded(&policy());
            let wait = timer.next().unwrap() - clock::now();
            assert!((239_000..=300_000).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn pauses_grow_and_stay_within_the_soft_ttl() {
        let mut timer = Timer::default();
        let mut waits = Vec::new();
        for _ in 0..20 {
            timer.failed(&policy());
            assert!(timer.is_pausing(clock::now()));
            waits.push(timer.next().unwrap() - clock::now());
        }
        assert!(
            waits.first() <= Some(&50) && waits.get(5) > Some(&800),
            "{waits:?}"
        );
        assert!(waits.iter().all(|wait| *wait <= MAX_PAUSE), "{waits:?}");
        timer.succeeded(&policy());
        assert!(!timer.is_pausing(clock::now()));
    }
}
