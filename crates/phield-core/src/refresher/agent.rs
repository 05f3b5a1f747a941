//! The thread of a keyring: events in, calls out. All of its state is its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::tracked::{Timer, Tracked};
use crate::clock;
use crate::error::RingError;
use crate::key::KeyId;
use crate::key_slot::{KeySlot, NEVER, Unwrapped};
use crate::keyring::{Shared, Snapshot};
use crate::manifest::Manifest;
use crate::provider::{ProviderError, ProviderErrorKind};
use crate::record::KeyRecord;
use crate::ring::{Ring, VerifiedRing};

/// Unknown keys cause at most one reading of the manifest in this time (I-8), in milliseconds.
const RENEW_PAUSE: u64 = 10_000;
/// Longest sleep, in milliseconds: the timer of the runtime stands while the machine sleeps, and keys expire meanwhile.
const LONGEST_SLEEP: u64 = 10_000;
/// Whoever needs a key that will be tried again as soon as this, in milliseconds, waits for it.
const SHORT_PAUSE: u64 = 250;

/// What the thread is told.
pub(super) enum Event {
    /// A manifest was read and verified, or was not.
    Read(Box<Result<VerifiedRing, RingError>>),
    /// A key was unwrapped, begun at this time, or was not.
    Unwrapped(Box<Tried>),
    /// Somebody needs a key.
    Load(KeyId, oneshot::Sender<()>),
    /// Somebody met a key that is not in the manifest.
    Renew(oneshot::Sender<()>),
    /// Somebody wants everything again.
    Refresh(oneshot::Sender<Result<(), Arc<RingError>>>),
    /// The keyring is gone.
    Stop,
}

/// A try to unwrap a key.
pub(super) struct Tried {
    /// The record that was tried.
    record: KeyRecord,
    /// When, by [`clock::now`].
    begun: u64,
    result: Result<Unwrapped, RingError>,
}

/// Who waits for a manifest.
enum Waiter {
    Refresh(oneshot::Sender<Result<(), Arc<RingError>>>),
    Renew(oneshot::Sender<()>),
}

pub(super) struct Agent {
    ring: Arc<Ring>,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
    permits: Arc<Semaphore>,
    keys: BTreeMap<KeyId, Tracked>,
    manifest: Timer,
    /// When the manifest was last asked for.
    asked: Option<u64>,
    waiters: Vec<Waiter>,
    /// Who waits for the one after that.
    later: Vec<Waiter>,
    /// Somebody wants every key unwrapped again with the next manifest.
    everything: bool,
    /// A manifest that waits for its new keys before it is in force.
    staged: Option<Staged>,
    /// Told once the first manifest is in force, or will never be.
    ready: Option<oneshot::Sender<Result<(), RingError>>>,
}

/// A verified manifest, and its keys that have not been tried yet.
struct Staged {
    manifest: Manifest,
    untried: BTreeSet<KeyId>,
    relied_until: u64,
}

impl Agent {
    pub(super) fn new(
        ring: Ring,
        shared: Arc<Shared>,
        events: mpsc::UnboundedSender<Event>,
        ready: oneshot::Sender<Result<(), RingError>>,
    ) -> Self {
        let permits = Semaphore::new(ring.settings.cache.concurrent_unwraps());
        Self {
            ring: Arc::new(ring),
            shared,
            events,
            permits: Arc::new(permits),
            keys: BTreeMap::new(),
            manifest: Timer::default(),
            asked: None,
            waiters: Vec::new(),
            later: Vec::new(),
            everything: false,
            staged: None,
            ready: Some(ready),
        }
    }

    /// Runs until the keyring is gone, or the first manifest is refused.
    pub(super) fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.work(&mut inbox)),
            Err(error) => self.give_up(RingError::Thread(error)),
        }
    }

    async fn work(&mut self, inbox: &mut mpsc::UnboundedReceiver<Event>) {
        loop {
            self.start_what_is_due();
            let wait = self.next_due().saturating_sub(clock::now());
            let event = match timeout(Duration::from_millis(wait), inbox.recv()).await {
                Err(_) => continue,
                Ok(None | Some(Event::Stop)) => return,
                Ok(Some(event)) => event,
            };
            match event {
                Event::Read(read) => match *read {
                    Ok(verified) => self.stage(&verified),
                    Err(error) => self.manifest_failed(error),
                },
                Event::Unwrapped(tried) => self.unwrapped(*tried),
                Event::Load(id, waiter) => self.load(id, waiter),
                Event::Renew(waiter) => self.renew(waiter),
                Event::Refresh(waiter) => self.refresh(waiter),
                Event::Stop => return,
            }
            if self.publish_if_ready().is_break() {
                return;
            }
        }
    }

    /// The next moment in which something is to be done.
    fn next_due(&self) -> u64 {
        let keys = self.keys.values().flat_map(|key| {
            let expires = Some(key.slot.expires()).filter(|expires| *expires != 0);
            [key.timer.next(), expires]
        });
        let next = keys.chain([self.manifest.next()]).flatten().min();
        next.unwrap_or(NEVER)
            .min(clock::now().saturating_add(LONGEST_SLEEP))
    }

    fn start_what_is_due(&mut self) {
        let now = clock::now();
        if self.manifest.is_due(now) {
            self.read_manifest(now);
        }
        for (id, key) in &mut self.keys {
            let expires = key.slot.expires();
            if expires != 0 && expires <= now && key.slot.evict(false) {
                self.shared.counters().evicted();
                tracing::error!(key = %id, "the key is gone: it could not be unwrapped again within the hard TTL");
            }
            if key.timer.is_due(now) {
                unwrap(&self.ring, &self.permits, &self.events, key, now);
            }
        }
    }

    fn read_manifest(&mut self, now: u64) {
        self.manifest.is_running = true;
        self.asked = Some(now);
        let (ring, events) = (Arc::clone(&self.ring), self.events.clone());
        tokio::spawn(async move {
            let report = Report::new(events, Event::Read(Box::new(Err(ring.no_answer()))));
            report.send(Event::Read(Box::new(ring.load().await)));
        });
    }

    /// Keeps the keys that stay, begins to unwrap those that are new.
    fn stage(&mut self, verified: &VerifiedRing) {
        self.manifest.succeeded(&self.ring.settings.cache);
        self.shared.counters().read();
        let manifest = verified.manifest().clone();
        let mut before = std::mem::take(&mut self.keys);
        let mut untried = BTreeSet::new();
        for record in manifest.records.iter().filter(|record| record.state.opens()) {
            let id = record.context.key_id;
            let known = before.remove(&id).filter(|key| key.is_of(record));
            let mut key = known.unwrap_or_else(|| {
                untried.insert(id);
                Tracked::new(record.clone())
            });
            key.record = record.clone();
            if self.everything {
                key.timer.hurry();
                untried.insert(id);
            }
            self.keys.insert(id, key);
        }
        for mut gone in before.into_values() {
            gone.slot.evict(false);
            gone.answer();
        }
        // What was still untried in a manifest that was staged before stays so.
        if let Some(staged) = self.staged.take() {
            untried.extend(staged.untried.into_iter().filter(|id| self.keys.contains_key(id)));
        }
        self.everything = false;
        self.staged = Some(Staged {
            manifest,
            untried,
            relied_until: verified.relied_until(),
        });
    }

    fn manifest_failed(&mut self, error: RingError) {
        self.manifest.failed(&self.ring.settings.cache);
        self.shared.counters().failed();
        if matches!(error, RingError::KeyRefused(..)) {
            // revoked, not out of reach.
            self.shared.rely_on_manifest_until(0);
        }
        if self.ready.is_some() {
            return self.give_up(error);
        }
        tracing::warn!(%error, "the key ring could not be read and verified again");
        let error = Arc::new(error);
        self.answer(|| Err(Arc::clone(&error)));
    }

    fn unwrapped(
        &mut self,
        Tried {
            record,
            begun,
            result,
        }: Tried,
    ) {
        let id = record.context.key_id;
        let (policy, counters) = (&self.ring.settings.cache, self.shared.counters());
        let in_force = self.staged.is_some() || self.shared.is_manifest_live();
        let key = self.keys.get_mut(&id).filter(|key| key.is_of(&record));
        let Some(key) = key else { return };
        if let Some(staged) = &mut self.staged {
            staged.untried.remove(&id);
        }
        match result {
            Ok(unwrapped) => {
                // Under a manifest that nobody knows to be in force keys are used up: they are asked for, to learn of a
                // refusal, and not kept for longer.
                if in_force {
                    let expires = begun.saturating_add(clock::millis(policy.hard_ttl()));
                    key.slot.fill(unwrapped.role(&key.record), expires);
                }
                key.timer.succeeded(policy);
                counters.refreshed();
            }
            // A key-encryption key that is gone is no outage either.
            Err(error @ (RingError::KeyRefused(..) | RingError::Config(_))) => {
                key.timer.failed(policy);
                counters.failed();
                if key.slot.evict(true) {
                    counters.evicted();
                }
                tracing::error!(key = %id, %error, "the key is gone: its provider refuses it");
                if self.ready.is_some() && matches!(error, RingError::Config(_)) {
                    return self.give_up(error);
                }
            }
            Err(error) => {
                key.timer.failed(policy);
                counters.failed();
                tracing::warn!(key = %id, %error, "the key could not be unwrapped again");
                if self.ready.is_some() && !matches!(error, RingError::KeyUnavailable(..)) {
                    return self.give_up(error);
                }
            }
        }
        key.answer();
    }

    /// Answers at once where asking would not help.
    fn load(&mut self, id: KeyId, waiter: oneshot::Sender<()>) {
        let now = clock::now();
        let Some(key) = self.keys.get_mut(&id) else { return };
        if key.slot.is_there()
            || !self.shared.is_manifest_live()
            || key.timer.is_pausing(now.saturating_add(SHORT_PAUSE))
        {
            let _ = waiter.send(());
            return;
        }
        key.waiters.push(waiter);
        if !key.timer.is_pausing(now) {
            key.timer.hurry();
        }
    }

    fn renew(&mut self, waiter: oneshot::Sender<()>) {
        let pause = RENEW_PAUSE.min(clock::millis(self.ring.settings.cache.soft_ttl()));
        let lately = |asked: u64| clock::now() < asked.saturating_add(pause);
        if self.asked.is_some_and(lately) && !self.manifest.is_running && self.staged.is_none() {
            let _ = waiter.send(());
            return;
        }
        self.waiters.push(Waiter::Renew(waiter));
        if self.staged.is_none() {
            self.manifest.hurry();
        }
    }

    /// What is being read now may have been there before what the operator wants to be seen.
    fn refresh(&mut self, waiter: oneshot::Sender<Result<(), Arc<RingError>>>) {
        if self.manifest.is_running || self.staged.is_some() {
            self.later.push(Waiter::Refresh(waiter));
        } else {
            self.waiters.push(Waiter::Refresh(waiter));
            self.read_everything();
        }
    }

    fn read_everything(&mut self) {
        self.manifest.hurry();
        self.everything = true;
    }

    /// Puts the staged manifest in force once every new key was tried: a new active key is there when it is needed.
    fn publish_if_ready(&mut self) -> ControlFlow<()> {
        if self.ready.as_ref().is_some_and(oneshot::Sender::is_closed) {
            return ControlFlow::Break(());
        }
        let Some(staged) = self.staged.take_if(|staged| staged.untried.is_empty()) else {
            return ControlFlow::Continue(());
        };
        let records = staged.manifest.records.into_iter();
        let keys = records.map(|record| {
            let key = self.keys.get(&record.context.key_id);
            let slot = key.map(|key| Arc::clone(&key.slot));
            (record, slot.unwrap_or_else(KeySlot::empty))
        });
        if self.shared.snapshot().epoch() != staged.manifest.epoch {
            tracing::info!(
                epoch = staged.manifest.epoch,
                "a manifest of the key ring is in force"
            );
        }
        self.shared.publish(Snapshot::new(staged.manifest.epoch, keys));
        self.shared.rely_on_manifest_until(staged.relied_until);
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(()));
        }
        self.answer(|| Ok(()));
        ControlFlow::Continue(())
    }

    /// Tells those who wait for a manifest how it ended. Whoever has stopped waiting is no concern.
    fn answer(&mut self, result: impl Fn() -> Result<(), Arc<RingError>>) {
        for waiter in self.waiters.drain(..) {
            let _ = match waiter {
                Waiter::Refresh(waiter) => waiter.send(result()).is_ok(),
                Waiter::Renew(waiter) => waiter.send(()).is_ok(),
            };
        }
        if !self.later.is_empty() {
            self.waiters.append(&mut self.later);
            self.read_everything();
        }
    }

    /// The first manifest will never be in force.
    fn give_up(&mut self, error: RingError) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(error));
        }
        let _ = self.events.send(Event::Stop);
    }
}

/// Tells the thread how a call ended; by its drop, if it panicked.
struct Report {
    events: mpsc::UnboundedSender<Event>,
    event: Option<Event>,
}

impl Report {
    fn new(events: mpsc::UnboundedSender<Event>, panicked: Event) -> Self {
        Self {
            events,
            event: Some(panicked),
        }
    }

    fn send(mut self, event: Event) {
        self.event = Some(event);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // Without a keyring nobody wants to know.
        let _ = self.event.take().map(|event| self.events.send(event));
    }
}

/// Begins to unwrap a key.
fn unwrap(
    ring: &Arc<Ring>,
    permits: &Arc<Semaphore>,
    events: &mpsc::UnboundedSender<Event>,
    key: &mut Tracked,
    now: u64,
) {
    key.timer.is_running = true;
    let (ring, permits, events) = (Arc::clone(ring), Arc::clone(permits), events.clone());
    let record: KeyRecord = key.record.clone();
    tokio::spawn(async move {
        let tried = |record, begun, result| {
            Event::Unwrapped(Box::new(Tried {
                record,
                begun,
                result,
            }))
        };
        let panicked = ProviderError::new(ProviderErrorKind::Unavailable, "the provider panicked");
        let panicked = RingError::KeyUnavailable(record.context.key_id, panicked);
        let report = Report::new(events, tried(record.clone(), now, Err(panicked)));
        // The semaphore is never closed; without a permit there would be one call more.
        let _permit = permits.acquire().await;
        let begun = clock::now();
        let result = ring.settings.unwrap_record(&record).await;
        report.send(tried(record, begun, result));
    });
}
