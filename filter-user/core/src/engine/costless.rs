//! Offences that cost nothing, and which of them are told of.
//!
//! Whoever is beyond a session limit may come again thousands of times a second, and an honest relay has thousands of
//! recipients. With an event for each, they would push out of the log what explains the blocks, and the database would cost as much as
//! the refusal. So the first ones are told of one by one, and then each time that their number has doubled: an event that
//! stands for all since the last.

use core::time::Duration;

use crate::client::Scope;
use crate::fading::Fading;
use crate::offence::Kind;
use crate::time::Instant;

/// Costless offences of one kind, of one scope within a monitor period, that are logged one by one.
pub const COSTLESS_TOLD: u64 = 10;
/// Scopes whose costless offences are counted, each kind by itself; beyond it those of the older half begin anew.
pub const COSTLESS_LIMIT: usize = 1 << 17;

/// How many there were of each scope and kind.
#[derive(Debug)]
pub(super) struct Costless(Fading<(Scope, Kind), Run>);

/// Those of a monitor period, which begins with the first of them.
#[derive(Debug, Clone, Copy)]
struct Run {
    since: Instant,
    seen: u64,
    told: u64,
}

impl Default for Costless {
    fn default() -> Self {
        Self(Fading::new(COSTLESS_LIMIT))
    }
}

impl Costless {
    /// There were so many more; how many the log is to be told of now. None: that has time.
    pub(super) fn note(
        &mut self,
        whose: (Scope, Kind),
        count: u32,
        period: Duration,
        now: Instant,
    ) -> Option<u32> {
        let known = self.0.get(&whose).copied().filter(|run| now.since(run.since) <= period);
        let mut run = known.unwrap_or(Run { since: now, seen: 0, told: 0 });
        run.seen += u64::from(count);
        let is_due = run.seen <= COSTLESS_TOLD || run.seen / 2 >= run.told;
        let untold = run.seen - run.told;
        if is_due {
            run.told = run.seen;
        }
        self.0.put(whose, run);
        is_due.then(|| u32::try_from(untold).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::client::{ClientAddr, ScopeWidth};

    const HOUR: Duration = Duration::from_hours(1);

    fn whose(last: u32, kind: Kind) -> (Scope, Kind) {
        (ScopeWidth::default().scope_of(ClientAddr::new(core::net::IpAddr::V4(last.into()))), kind)
    }

    fn at(minutes: u64) -> Instant {
        Instant::from_nanos(0).after(Duration::from_mins(minutes))
    }

    #[test]
    fn the_first_are_told_one_by_one_and_then_ever_fewer_that_stand_for_all() {
        let mut costless = Costless::default();
        let mut note = |minutes| costless.note(whose(1, Kind::SessionOverflow), 1, HOUR, at(minutes));
        let told: Vec<_> = (0..100).filter_map(|number| Some((number, note(0)?))).collect();
        assert_eq!(told[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|number| (number, 1)));
        assert_eq!(told[10..], [(19, 10), (39, 20), (79, 40)]);
        assert_eq!(note(60), None, "within the hour");
        assert_eq!(note(61), Some(1), "another one begins");
    }

    #[test]
    fn what_stands_for_several_counts_as_several() {
        let mut costless = Costless::default();
        let mut note = |count| costless.note(whose(1, Kind::SessionOverflow), count, HOUR, at(0));
        assert_eq!([9, 9, 1, 1, 16].map(&mut note), [Some(9), Some(9), None, None, Some(18)]);
    }

    #[test]
    fn scopes_and_kinds_do_not_count_for_each_other() {
        let mut costless = Costless::default();
        for _ in 0..1000 {
            costless.note(whose(1, Kind::GoodLocalRcpt), 1, HOUR, at(0));
        }
        for other in [whose(1, Kind::SessionOverflow), whose(2, Kind::GoodLocalRcpt)] {
            assert_eq!(costless.note(other, 1, HOUR, at(0)), Some(1));
        }
    }
}
