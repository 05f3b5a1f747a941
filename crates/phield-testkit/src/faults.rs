//! Writers that stop at a chosen step of a durable write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phield_core::{Faults, Step};

/// Fails at a step of a write. Steps are counted from 1 over every file that shares these faults.
#[derive(Debug)]
pub struct StopAt {
    first: usize,
    last: usize,
    steps: AtomicUsize,
}

impl StopAt {
    /// Fails at this step and at every one after it: the writer is dead, it cleans nothing up.
    #[must_use]
    pub fn step(step: usize) -> Arc<Self> {
        Self::range(step, usize::MAX)
    }

    /// Fails at this step alone: a disk that was full for a moment; the writer cleans up.
    #[must_use]
    pub fn once(step: usize) -> Arc<Self> {
        Self::range(step, step)
    }

    /// Never fails: counts the steps of a write.
    #[must_use]
    pub fn never() -> Arc<Self> {
        Self::range(usize::MAX, usize::MAX)
    }

    fn range(first: usize, last: usize) -> Arc<Self> {
        Arc::new(Self {
            first,
            last,
            steps: AtomicUsize::new(0),
        })
    }

    /// How many steps were reached so far.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.load(Ordering::SeqCst)
    }
}

impl Faults for StopAt {
    fn before(&self, step: Step) -> io::Result<()> {
        let reached = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        if (self.first..=self.last).contains(&reached) {
            return Err(io::Error::other(format!(
                "stopped by the test before step {reached}, {step:?}"
            )));
        }
        Ok(())
    }
}

/// Ends the process at a step of a write, without unwinding: for child processes.
#[derive(Debug)]
pub struct AbortAt {
    step: usize,
    steps: AtomicUsize,
}

impl AbortAt {
    /// Aborts the process when this step is reached, counted from 1.
    #[must_use]
    pub fn step(step: usize) -> Arc<Self> {
        Arc::new(Self {
            step,
            steps: AtomicUsize::new(0),
        })
    }
}

impl Faults for AbortAt {
    fn before(&self, _: Step) -> io::Result<()> {
        if self.steps.fetch_add(1, Ordering::SeqCst) + 1 == self.step {
            std::process::abort();
        }
        Ok(())
    }
}
