//! How many rows a second are worked on.

use std::time::{Duration, Instant};

/// Keeps to a number of rows a second, over all workers of a process.
#[derive(Debug)]
pub(crate) struct Limiter {
    rows_per_second: Option<f64>,
    next: tokio::sync::Mutex<Instant>,
}

impl Limiter {
    pub(crate) fn new(rows_per_second: Option<u32>) -> Self {
        Self {
            rows_per_second: rows_per_second.map(f64::from),
            next: tokio::sync::Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many rows may be worked on.
    pub(crate) async fn wait(&self, rows: usize) {
        let Some(rate) = self.rows_per_second.filter(|rate| *rate > 0.0) else {
            return;
        };
        let rows = u32::try_from(rows).map_or(f64::MAX, f64::from);
        let until = {
            let mut next = self.next.lock().await;
            let start = (*next).max(Instant::now());
            *next = start + Duration::from_secs_f64((rows / rate).min(3600.0));
            start
        };
        tokio::time::sleep_until(until.into()).await;
    }
}
