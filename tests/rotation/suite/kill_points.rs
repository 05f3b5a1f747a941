//! Which kill points are taken.

use crate::process::KillPoint;

/// All kill points of so many writes, before and after each, where `PHIELD_KILL_EVERY` is set (`cargo xtask rotation --every`);
/// otherwise about `spread` of them.
pub(crate) fn of(writes: u64, spread: usize) -> Vec<KillPoint> {
    let both = |write| [false, true].map(|after| KillPoint { write, after });
    let all: Vec<_> = (1..=writes).flat_map(both).collect();
    if std::env::var_os("PHIELD_KILL_EVERY").is_some() {
        return all;
    }
    // An odd step takes points before and after writes in turn.
    let step = (all.len() / spread).max(1) | 1;
    all.into_iter().step_by(step).collect()
}
