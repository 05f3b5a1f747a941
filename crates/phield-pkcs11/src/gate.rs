//! A gate that one thread at a time may pass, and nobody waits at for ever: whoever is inside calls the HSM, and may never
//! come out.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Pkcs11Error;

/// A thread that is in one call for so many times the time of a call counts as stuck.
pub(crate) const STUCK: u32 = 4;

/// The gate.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: Option<Inside>,
    passed: u64,
}

/// Whoever is inside.
#[derive(Debug)]
struct Inside {
    number: u64,
    since: Instant,
    /// Nobody else may go in, however long it takes.
    alone: bool,
}

/// Leave to be inside, until it is dropped.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Gate {
    /// Goes in, when nobody is inside any longer, or whoever is, is stuck. Waits no longer than the time of a call.
    pub(crate) fn enter(&self, timeout: Duration) -> Result<Pass<'_>, Pkcs11Error> {
        let (start, stuck) = (Instant::now(), timeout * STUCK);
        let mut state = self.lock();
        while let Some(inside) = &state.inside {
            let age = inside.since.elapsed();
            if age >= stuck && inside.alone {
                return Err(Pkcs11Error::Stuck);
            }
            if age >= stuck {
                break;
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Pkcs11Error::TimedOut);
            }
            let waited = self.free.wait_timeout(state, left.min(stuck - age));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.passed += 1;
        let number = state.passed;
        state.inside = Some(Inside {
            number,
            since: Instant::now(),
            alone: false,
        });
        Ok(Pass { gate: self, number })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Whether nobody else has gone in meanwhile.
    pub(crate) fn is_valid(&self) -> bool {
        let state = self.gate.lock();
        state
            .inside
            .as_ref()
            .is_some_and(|inside| inside.number == self.number)
    }

    /// Says whether nobody else may go in even if this thread is stuck. Fails when somebody has.
    pub(crate) fn alone(&self, alone: bool) -> Result<(), Pkcs11Error> {
        let mut state = self.gate.lock();
        match &mut state.inside {
            Some(inside) if inside.number == self.number => {
                inside.alone = alone;
                Ok(())
            }
            _ => Err(Pkcs11Error::TimedOut),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        if state
            .inside
            .as_ref()
            .is_some_and(|inside| inside.number == self.number)
        {
            state.inside = None;
            drop(state);
            self.gate.free.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(100);

    /// Others wait for the time of a call, and no longer; after some times that they go in, and the first has lost its leave.
    #[test]
    fn nobody_waits_for_ever() {
        let gate = Gate::default();
        let first = gate.enter(TIME).unwrap();
        let start = Instant::now();
        assert_eq!(gate.enter(TIME).err(), Some(Pkcs11Error::TimedOut));
        assert!(start.elapsed() >= TIME && first.is_valid());
        let second = loop {
            match gate.enter(TIME) {
                Ok(pass) => break pass,
                Err(error) => assert_eq!(error, Pkcs11Error::TimedOut),
            }
        };
        assert!(start.elapsed() >= TIME * (STUCK - 1), "{:?}", start.elapsed());
        assert!(second.is_valid() && !first.is_valid());
        assert_eq!(first.alone(true), Err(Pkcs11Error::TimedOut));
        // It does not open the gate for anybody else.
        drop(first);
        assert!(second.is_valid());
        assert_eq!(gate.enter(TIME).err(), Some(Pkcs11Error::TimedOut));
        drop(second);
        assert!(gate.enter(TIME).is_ok());
    }

    /// Whoever has to be alone stays alone; in the end others do not even wait.
    #[test]
    fn alone() {
        let gate = Gate::default();
        let first = gate.enter(TIME).unwrap();
        first.alone(true).unwrap();
        let start = Instant::now();
        while gate.enter(TIME).err() != Some(Pkcs11Error::Stuck) {
            assert!(start.elapsed() < TIME * 100);
        }
        let start = Instant::now();
        assert_eq!(gate.enter(TIME).err(), Some(Pkcs11Error::Stuck));
        assert!(start.elapsed() < TIME && first.is_valid());
        drop(first);
        assert!(gate.enter(TIME).is_ok());
    }

    /// Whoever waits goes in as soon as the gate is free.
    #[test]
    fn in_turn() {
        let (gate, long) = (Gate::default(), Duration::from_secs(60));
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _pass = gate.enter(long).unwrap();
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    std::thread::sleep(Duration::from_millis(2));
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                });
            }
        });
    }
}
