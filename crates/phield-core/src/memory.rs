//! Keeping a process with keys out of swap and core dumps, where the system allows it.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};

/// `CAP_IPC_LOCK` in the list of capabilities (capabilities(7)): locks memory whatever the limit is.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// What could be done for the memory of this process; see [`protect_memory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryProtection {
    /// Whether its memory stays out of swap, now and later.
    pub is_locked: bool,
    /// Whether it leaves no core dump and cannot be traced by other processes of its user.
    pub is_undumpable: bool,
}

/// Keeps the memory of this process out of swap (`mlockall`), and out of core dumps and other processes' sight
/// (`PR_SET_DUMPABLE`), from now on. `lock_memory = true` in `phield.toml` does it when a keyring is loaded.
///
/// It never fails, and never makes anything fail later: with a limit on locked memory, a process that locks all of it
/// would run into the limit at some allocation, at the worst of times. So memory is locked only without a limit
/// (`LimitMEMLOCK=infinity` in systemd, `ulimit -l unlimited`) or with `CAP_IPC_LOCK`; the answer tells.
///
/// # Security
/// Best effort: hypervisors and hibernation write memory to disk all the same, and whoever is root reads it.
#[must_use]
pub fn protect_memory() -> MemoryProtection {
    let may_lock = getrlimit(Resource::Memlock).current.is_none() || has_lock_capability();
    // Pages are locked as they are used: what is reserved and never touched takes no memory.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let protection = MemoryProtection {
        is_locked: may_lock && mlockall(flags).is_ok(),
        is_undumpable: set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok(),
    };
    if !protection.is_locked {
        tracing::warn!(
            "memory is not locked: there is a limit on locked memory (ulimit -l), or the system refuses"
        );
    }
    if !protection.is_undumpable {
        tracing::warn!("core dumps could not be switched off");
    }
    protection
}

fn has_lock_capability() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|capabilities| capabilities & CAP_IPC_LOCK != 0)
}
