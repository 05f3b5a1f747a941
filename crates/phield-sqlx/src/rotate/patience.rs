//! What fails for a while is tried again.

use std::time::{Duration, Instant};

/// How long it is tried when the database does not answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// An error that may be none when the same is done again.
pub(crate) trait Passing {
    /// Whether the same can succeed when it is done again at once, from the last checkpoint.
    fn passes(&self) -> bool;
}

/// Does something that is as good when it is done twice, again and again while the database does not answer.
pub(crate) async fn patiently<T, E, F>(attempt: impl Fn() -> F + Send + Sync) -> Result<T, E>
where
    E: Passing + Send,
    F: Future<Output = Result<T, E>> + Send,
{
    let mut patience = Patience::new();
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => patience.wait(error).await?,
        }
    }
}

/// Waits between tries, and gives up in the end.
pub(crate) struct Patience {
    since: Option<Instant>,
    tries: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            since: None,
            tries: 0,
        }
    }

    /// Waits, or gives the error back: when it stays, or when it was waited for long enough.
    pub(crate) async fn wait<E: Passing>(&mut self, error: E) -> Result<(), E> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !error.passes() || since.elapsed() > PATIENCE {
            return Err(error);
        }
        self.tries += 1;
        tokio::time::sleep(backoff(self.tries, Duration::from_millis(20))).await;
        Ok(())
    }
}

/// Twice as long every time, up to five seconds, and never in step with others.
pub(crate) fn backoff(tries: u32, first: Duration) -> Duration {
    let longest = first
        .saturating_mul(1 << tries.min(10))
        .min(Duration::from_secs(5));
    let mut random = [0; 2];
    // Without randomness they go in step, which is slower and not wrong.
    let _ = getrandom::fill(&mut random);
    longest.mul_f64(0.5 + f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX) / 2.0)
}
