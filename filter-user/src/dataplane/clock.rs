//! The kernel's clock that goes on through sleep, in which bans end.

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
