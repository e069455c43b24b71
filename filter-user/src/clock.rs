//! The two clocks, read together.

use std::time::{SystemTime, UNIX_EPOCH};

use filter_core::time::{Instant, Now, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// The boot clock: the one that the kernel filter judges by.
pub fn instant() -> Instant {
    // The boot clock exists on every kernel that can load the filter; without it nothing would ever seem to end.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or_else(|_| std::time::Duration::ZERO, Into::into);
    Instant::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Both clocks at this moment.
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = Timestamp::from_millis(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX));
    Now { instant: instant(), wall }
}
