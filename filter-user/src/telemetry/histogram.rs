//! How long things take, counted in buckets: one for each part of the agent whose time somebody waits for.
//!
//! There is one set of them for the whole process, as there is one log, so that nobody has to be handed the way to it.
//! What is observed costs two atomic additions and no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// From a client's offence to everything that follows from it: the score, and the block in the kernel if there is one.
pub static DECISION: Histogram<12> = Histogram::new(
    "gatepost_decision_duration_seconds",
    "Time from taking up an offence until all that follows from it is carried out.",
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000],
);
/// One batch of changes on its way into the kernel's maps.
pub static KERNEL_WRITE: Histogram<12> = Histogram::new(
    "gatepost_kernel_write_duration_seconds",
    "Time that one batch of changes takes into the maps of the kernel filter.",
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000],
);
/// One transaction of the store.
pub static STORE_COMMIT: Histogram<12> = Histogram::new(
    "gatepost_store_commit_duration_seconds",
    "Time of one transaction of the store, failed ones included.",
    [100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 100_000, 500_000, 2_000_000, 10_000_000],
);
/// From the wish for a mail server to one at which a session can begin.
pub static CONNECT: Histogram<12> = Histogram::new(
    "gatepost_mail_server_connect_duration_seconds",
    "Time until a mail server had taken a connection and said what it had to before the session; failures are not in it.",
    [100, 250, 500, 1000, 2500, 5000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000, 30_000_000],
);
/// One session, from accept to close.
pub static SESSION: Histogram<12> = Histogram::new(
    "gatepost_session_duration_seconds",
    "Time of one session, from accept to close.",
    [
        10_000,
        50_000,
        250_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        300_000_000,
        600_000_000,
        3_600_000_000,
    ],
);

/// Counts of durations up to each of `N` bounds, and beyond.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    /// Its name in the metrics.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
    /// In microseconds, rising.
    bounds: [u64; N],
    counts: [AtomicU64; N],
    beyond: AtomicU64,
    /// In nanoseconds.
    sum: AtomicU64,
}

/// What a histogram has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Bounds in seconds, each with the durations up to it.
    pub buckets: Vec<(f64, u64)>,
    /// All durations.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

impl<const N: usize> Histogram<N> {
    const fn new(name: &'static str, help: &'static str, bounds: [u64; N]) -> Self {
        Self {
            name,
            help,
            bounds,
            counts: [const { AtomicU64::new(0) }; N],
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        self.observe_each(1, duration);
    }

    /// Counts a duration that so many had to wait for together.
    pub fn observe_each(&self, count: u64, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let place = self.bounds.partition_point(|bound| bound.saturating_mul(1000) < nanos);
        self.counts.get(place).unwrap_or(&self.beyond).fetch_add(count, Ordering::Relaxed);
        self.sum.fetch_add(nanos.saturating_mul(count), Ordering::Relaxed);
    }

    /// What has been counted. While somebody counts, the last durations may be in one number and not yet in the other.
    pub fn counted(&self) -> Counted {
        let mut count = 0;
        let buckets = self.bounds.iter().zip(&self.counts).map(|(bound, counted)| {
            count += counted.load(Ordering::Relaxed);
            (Duration::from_micros(*bound).as_secs_f64(), count)
        });
        let buckets = buckets.collect();
        count += self.beyond.load(Ordering::Relaxed);
        let sum = Duration::from_nanos(self.sum.load(Ordering::Relaxed)).as_secs_f64();
        Counted { buckets, count, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new("a", "b", [10, 100]);
        for micros in [1, 10, 11, 100, 101] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counted = histogram.counted();
        assert_eq!(counted.buckets, [(0.000_01, 2), (0.000_1, 4)]);
        assert_eq!(counted.count, 5);
        assert!((counted.sum - 0.000_223).abs() < 1e-12, "{}", counted.sum);
    }
}
