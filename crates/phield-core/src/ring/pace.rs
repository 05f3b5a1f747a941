//! How many calls of providers are made in a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Counts calls, and lets them through one after the other at a rate, where there is one. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    calls: AtomicU64,
    /// The time between two calls, and when the next one may start.
    rate: Option<(Duration, Mutex<Option<Instant>>)>,
}

impl Pace {
    /// At most so many calls in a second; 0 is taken for 1.
    pub(super) fn new(per_second: Option<u32>) -> Self {
        let between = per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
        Self(Arc::new(Shared {
            calls: AtomicU64::new(0),
            rate: between.map(|between| (between, Mutex::new(None))),
        }))
    }

    pub(super) fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Waits until one more call may be made, and counts it. No bursts: what was not used is lost.
    pub(super) async fn wait(&self) {
        if let Some((between, next)) = &self.0.rate {
            let slot = {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let slot = next.map_or_else(Instant::now, |next| next.max(Instant::now()));
                *next = slot.checked_add(*between);
                slot
            };
            sleep_until(slot).await;
        }
        self.0.calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spread() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let begun = Instant::now();
            let pace = Pace::new(Some(100));
            for _ in 0..20 {
                pace.wait().await;
            }
            assert_eq!(pace.calls(), 20);
            // The first one waits for nothing.
            assert!(
                begun.elapsed() >= Duration::from_millis(190),
                "{:?}",
                begun.elapsed()
            );
        });
    }
}
