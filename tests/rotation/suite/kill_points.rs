//! Which kill points are taken.

use crate::process::KillPoint;

/// How many of them CI takes of one database and mode.
const SPREAD: usize = 30;

/// All kill points of so many writes, before and after each, where `PHIELD_KILL_EVERY` is set (`cargo xtask rotation --every`);
/// otherwise a spread of them.
pub(crate) fn of(writes: u64) -> Vec<KillPoint> {
    let both = |write| [false, true].map(|after| KillPoint { write, after });
    let all: Vec<_> = (1..=writes).flat_map(both).collect();
    if std::env::var_os("PHIELD_KILL_EVERY").is_some() {
        return all;
    }
    // An odd step takes points before and after writes in turn.
    let step = (all.len() / SPREAD).max(1) | 1;
    all.into_iter().step_by(step).collect()
}
