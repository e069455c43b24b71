//! How often something is said in the log whose number of occurrences others decide.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use filter_core::time::Instant;

use crate::clock;

/// Shortest time between two log lines about one thing.
const PAUSE: Duration = Duration::from_mins(1);

/// When one thing was last said.
#[derive(Debug, Default)]
pub struct Pace(AtomicU64);

impl Pace {
    /// Nothing has been said yet.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether it may be said again; if so, it counts as said.
    pub fn is_due(&self) -> bool {
        let now = clock::instant();
        let last = Instant::from_nanos(self.0.load(Ordering::Relaxed));
        let due = last == Instant::from_nanos(0) || now.since(last) >= PAUSE;
        if due {
            self.0.store(now.as_nanos(), Ordering::Relaxed);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_said_is_not_said_again() {
        let pace = Pace::new();
        assert!(pace.is_due());
        assert!(!pace.is_due());
    }
}
