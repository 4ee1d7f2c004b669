//! The clock that cool-downs are measured by.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since the node was booted, suspended or not (`CLOCK_BOOTTIME`): nobody sets it.
pub(crate) fn since_boot() -> Duration {
    // The kernel has had this clock since 2.6.39; without it every rest is over at once.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
}
