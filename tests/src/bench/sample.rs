//! Several rounds of one measurement.

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};

/// Rounds of each measurement; between them the machine may do something else.
pub const ROUNDS: usize = 9;

/// What the rounds came to, in their order.
#[derive(Debug, Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds a round.
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The smallest figure: what it costs if nobody disturbs.
    pub fn best(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// How many times another's figure it is, round by round: what disturbed a round disturbed both.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut figures = self.0.clone();
        figures.sort_by(f64::total_cmp);
        figures
    }
}

/// Seconds of processor time that this thread takes for a job. Unlike the time of day it does not count what others do on
/// the same processor.
pub fn processor_time(job: impl FnOnce() -> Result<()>) -> Result<f64> {
    let now = || -> Result<f64> {
        let time = std::time::Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
        Ok(time.as_secs_f64())
    };
    let start = now()?;
    job()?;
    Ok(now()? - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_and_median_do_not_depend_on_the_order() {
        let mut sample = Sample::default();
        for figure in [5.0, 1.0, 3.0, 2.0, 100.0] {
            sample.add(figure);
        }
        assert!((sample.best() - 1.0).abs() < 1e-9 && (sample.median() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_round_that_was_disturbed_for_both_does_not_count_against_one() {
        let (mut own, mut other) = (Sample::default(), Sample::default());
        for (figure, peer) in [(2.0, 4.0), (20.0, 40.0), (2.0, 2.0)] {
            own.add(figure);
            other.add(peer);
        }
        assert!((other.over(&own).median() - 2.0).abs() < 1e-9);
    }
}
