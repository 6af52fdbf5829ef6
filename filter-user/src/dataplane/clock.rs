//! The kernel's clocks: bans end in the one that goes on through sleep, packets
//! are timed in the other.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since boot, sleep included (`CLOCK_BOOTTIME`).
pub type BootTime = Duration;

/// Now.
#[must_use]
pub fn boot_time() -> BootTime {
    // The clock exists since Linux 2.6.39; there is no way for this to fail.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Nanoseconds since boot, sleep left out (`CLOCK_MONOTONIC`): the packets' clock.
#[must_use]
pub fn monotonic() -> u64 {
    // As above.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
