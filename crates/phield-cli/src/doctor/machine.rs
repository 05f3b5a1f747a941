//! The clock, and what this machine writes of a process's memory to disk.

use phield_core::config::Config;
use rustix::process::{Resource, getrlimit};

use super::finding::{Area, Findings};
use crate::text::now;

/// What locking the memory of a service may take, at least.
const MEMORY: u64 = 64 << 20;
/// 2025-01-01: this program is younger.
const BUILT_AFTER: u64 = 1_735_689_600;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    if now() < BUILT_AFTER {
        findings.error(
            Area::Clock,
            "the clock of this machine stands before 2025",
            "Keys that are too old seal on, and new ones get times that are long past.",
            "Set the clock, and keep it by NTP.",
        );
    }
    let core = getrlimit(Resource::Core);
    if core.current != Some(0) && !config.lock_memory {
        findings.warning(
            Area::Machine,
            "a process that crashes may write its memory to a core dump (limit of this shell)",
            "Keys and opened values stand in that file.",
            "ulimit -c 0, or LimitCORE=0 in the systemd unit; or lock_memory = true.",
        );
    }
    let locked = getrlimit(Resource::Memlock).current;
    if config.lock_memory && locked.is_some_and(|limit| limit < MEMORY) {
        findings.warning(
            Area::Machine,
            format!(
                "lock_memory is on, and at most {} KiB can be locked (limit of this shell)",
                locked.unwrap_or(0) / 1024
            ),
            "Where the limit is too small nothing is locked, and memory with keys can reach the swap.",
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit.",
        );
    }
}
