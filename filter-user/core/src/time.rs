//! Time as the core sees it: two clocks, both read by someone else.
//!
//! [`Instant`] is the kernel's boot clock, the one that the XDP program judges by; it never jumps and it runs
//! through suspend. [`Timestamp`] is the wall clock, for people and for what must survive a reboot. Sums saturate:
//! the longest block of 999,999,999 minutes is 6.0e19 ns, more than a `u64` holds.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the boot clock (`CLOCK_BOOTTIME`), in nanoseconds since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// Later than any event; an entry that ends here never ends by itself.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The instant this many nanoseconds after the machine started.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the machine started.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant moved into the future; stops at [`Instant::FAR_FUTURE`].
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// This instant moved into the past; stops at the start of the machine.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A point on the wall clock, in milliseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Past the end of every calendar that we print.
    pub const FAR_FUTURE: Self = Self(i64::MAX);

    /// The time this many milliseconds after 1970 began.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970 began.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time moved into the future; stops at [`Timestamp::FAR_FUTURE`].
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time moved into the past.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Both clocks, read at the same moment; converts what the store keeps into what the kernel judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The boot clock.
    pub instant: Instant,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Now {
    /// The boot-clock instant of a wall-clock time that lies ahead; a time in the past becomes this instant.
    pub fn instant_of(self, wall: Timestamp) -> Instant {
        if wall == Timestamp::FAR_FUTURE {
            return Instant::FAR_FUTURE;
        }
        self.instant.after(wall.since(self.wall))
    }

    /// The wall-clock time of a boot-clock instant that lies ahead; an instant in the past becomes this time.
    pub fn wall_of(self, instant: Instant) -> Timestamp {
        if instant == Instant::FAR_FUTURE {
            return Timestamp::FAR_FUTURE;
        }
        self.wall.after(instant.since(self.instant))
    }

    /// The wall-clock time of a boot-clock instant that has passed.
    pub fn wall_before(self, instant: Instant) -> Timestamp {
        self.wall.before(self.instant.since(instant))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST_BLOCK: Duration = Duration::from_mins(999_999_999);

    #[test]
    fn the_longest_block_saturates_on_the_boot_clock() {
        assert_eq!(Instant::from_nanos(1).after(LONGEST_BLOCK), Instant::FAR_FUTURE);
    }

    #[test]
    fn the_longest_block_is_kept_exactly_on_the_wall_clock() {
        let start = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(start.after(LONGEST_BLOCK).since(start), LONGEST_BLOCK);
    }

    #[test]
    fn both_clocks_convert_into_each_other() {
        let now =
            Now { instant: Instant::from_nanos(5_000_000_000), wall: Timestamp::from_millis(1_000_000) };
        let later = now.wall.after(Duration::from_secs(30));
        assert_eq!(now.instant_of(later), now.instant.after(Duration::from_secs(30)));
        assert_eq!(now.wall_of(now.instant_of(later)), later);
        assert_eq!(now.instant_of(Timestamp::from_millis(0)), now.instant);
        assert_eq!(now.wall_of(Instant::FAR_FUTURE), Timestamp::FAR_FUTURE);
    }
}
