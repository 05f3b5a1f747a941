//! How a rotation works.

use std::time::Duration;

/// How a rotation works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RotationOptions {
    /// Rows of a page, which is read, sealed and written at once: 1 to 10,000.
    pub batch: u32,
    /// Most rows a second, over the workers of this process; none: as many as the database takes.
    pub rate: Option<u32>,
    /// The tables, by their logical names; none: every table of the schema.
    pub tables: Vec<String>,
    /// How many workers this process runs. Others can run elsewhere.
    pub workers: u32,
    /// Who rotates, for the report.
    pub who: String,
    /// Every instance was seen to have the active key: the passes begin at once, not a hard TTL after it was seen active.
    pub acknowledged_by_every_instance: bool,
    /// No other worker runs: shares of workers that died are taken over at once, and not when their lease ends.
    pub alone: bool,
    /// How long a share stays with a worker that does not write, which may be dead: one second to a day, 30 seconds by default.
    /// Workers that are alive renew it all the time.
    pub lease: Duration,
    /// The hard TTL of the processes that use the ring.
    pub hard_ttl: Duration,
    /// Of tests: how many seconds this machine's clock is ahead of what it says.
    #[doc(hidden)]
    pub clock_ahead: i64,
}

impl Default for RotationOptions {
    fn default() -> Self {
        Self {
            batch: 1000,
            rate: None,
            tables: Vec::new(),
            workers: 1,
            who: String::new(),
            acknowledged_by_every_instance: false,
            alone: false,
            lease: Duration::from_secs(30),
            hard_ttl: phield_core::CachePolicy::default().hard_ttl(),
            clock_ahead: 0,
        }
    }
}
