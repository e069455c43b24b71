//! Scores: an exact sliding window per scope.
//!
//! A score is the sum of the multipliers of a scope's offences that are at most one monitor period old. Offences that
//! led to a block are spent and count no more. Nothing decays: an offence counts in full until the moment it does not
//! count at all, so that an administrator can check the sum with a pencil.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::client::Scope;
use crate::event::EventId;
use crate::time::Instant;

/// Offences kept per scope; when one more comes, the oldest is forgotten. A default client is blocked, and its
/// offences are spent, long before.
pub const OFFENCES_PER_SCOPE: usize = 4096;

/// An offence that counts.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Instant,
    multiplier: u32,
    id: EventId,
}

/// The offences of one scope that may still count.
#[derive(Debug, Default)]
struct Record {
    offences: VecDeque<Counted>,
    sum: u64,
    /// The time of the latest offence, by which the record stands in the order of forgetting.
    latest: Option<Instant>,
}

/// The scores of all scopes that are being watched; see the head of this module.
#[derive(Debug)]
pub struct Scores {
    records: BTreeMap<Scope, Record>,
    by_latest: BTreeSet<(Instant, Scope)>,
    capacity: usize,
}

impl Scores {
    /// Scores of at most `capacity` scopes; beyond it the scope that has been quiet for longest is forgotten.
    pub const fn new(capacity: usize) -> Self {
        Self { records: BTreeMap::new(), by_latest: BTreeSet::new(), capacity }
    }

    /// Adds an offence that costs `multiplier`, and says what the score is now.
    pub fn add(&mut self, scope: Scope, multiplier: u32, id: EventId, period: Duration, now: Instant) -> u64 {
        if multiplier == 0 {
            return self.score(scope, period, now);
        }
        self.make_room(scope, period, now);
        let record = self.records.entry(scope).or_default();
        record.expire(period, now);
        if record.offences.len() >= OFFENCES_PER_SCOPE {
            record.drop_oldest();
        }
        record.offences.push_back(Counted { at: now, multiplier, id });
        record.sum += u64::from(multiplier);
        if let Some(latest) = record.latest.replace(now) {
            self.by_latest.remove(&(latest, scope));
        }
        self.by_latest.insert((now, scope));
        record.sum
    }

    /// What the score of a scope is.
    pub fn score(&mut self, scope: Scope, period: Duration, now: Instant) -> u64 {
        self.records.get_mut(&scope).map_or(0, |record| {
            record.expire(period, now);
            record.sum
        })
    }

    /// The scope's offences have had their consequence: they count no more. Says which they were.
    pub fn spend(&mut self, scope: Scope) -> Vec<EventId> {
        let Some(record) = self.records.remove(&scope) else { return Vec::new() };
        if let Some(latest) = record.latest {
            self.by_latest.remove(&(latest, scope));
        }
        record.offences.iter().map(|offence| offence.id).collect()
    }

    /// The offences of a scope that count now.
    pub fn counted(&mut self, scope: Scope, period: Duration, now: Instant) -> Vec<EventId> {
        self.records.get_mut(&scope).map_or_else(Vec::new, |record| {
            record.expire(period, now);
            record.offences.iter().map(|offence| offence.id).collect()
        })
    }

    /// How many scopes are being watched.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nobody is being watched.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The scopes that are being watched.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.records.keys().copied()
    }

    /// Forgets scopes whose offences no longer count, and the quietest one if `scope` is new and needs its room.
    fn make_room(&mut self, scope: Scope, period: Duration, now: Instant) {
        while let Some(&(latest, quietest)) = self.by_latest.first() {
            let is_full = self.records.len() >= self.capacity && !self.records.contains_key(&scope);
            if now.since(latest) <= period && !is_full {
                break;
            }
            self.spend(quietest);
        }
    }
}

impl Record {
    /// An offence counts for exactly the monitor period: at its end still, a moment later no more.
    fn expire(&mut self, period: Duration, now: Instant) {
        while self.offences.front().is_some_and(|offence| now.since(offence.at) > period) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(Counted { multiplier, .. }) = self.offences.pop_front() {
            self.sum = self.sum.saturating_sub(u64::from(multiplier));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::{ClientAddr, ScopeWidth};

    const HOUR: Duration = Duration::from_hours(1);
    const ID: EventId = EventId(7);

    fn scope(host: u8) -> Scope {
        ScopeWidth::default().scope_of(ClientAddr::new(core::net::IpAddr::from([192, 0, 2, host])))
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_window_slides_to_the_second() {
        let mut scores = Scores::new(10);
        assert_eq!(scores.add(scope(1), 50, ID, HOUR, at(0)), 50);
        assert_eq!(scores.add(scope(1), 50, ID, HOUR, at(3600)), 100);
        assert_eq!(scores.score(scope(1), HOUR, at(3601)), 50);
        assert_eq!(scores.score(scope(1), HOUR, at(7200)), 50);
        assert_eq!(scores.score(scope(1), HOUR, at(7201)), 0);
    }

    #[test]
    fn spent_offences_count_no_more() {
        let mut scores = Scores::new(10);
        scores.add(scope(1), 900, ID, HOUR, at(0));
        assert_eq!(scores.spend(scope(1)), [ID]);
        assert_eq!(scores.add(scope(1), 100, ID, HOUR, at(1)), 100);
        scores.spend(scope(1));
        assert!(scores.is_empty() && scores.by_latest.is_empty());
    }

    #[test]
    fn the_quietest_scope_makes_room() {
        let mut scores = Scores::new(2);
        scores.add(scope(1), 1, ID, HOUR, at(0));
        scores.add(scope(2), 1, ID, HOUR, at(1));
        scores.add(scope(1), 1, ID, HOUR, at(2));
        scores.add(scope(3), 1, ID, HOUR, at(3));
        assert_eq!(scores.score(scope(1), HOUR, at(3)), 2);
        assert_eq!(scores.score(scope(2), HOUR, at(3)), 0);
        assert_eq!(scores.len(), 2);
    }

    #[test]
    fn what_costs_nothing_is_not_kept() {
        let mut scores = Scores::new(2);
        assert_eq!(scores.add(scope(1), 0, ID, HOUR, at(0)), 0);
        assert!(scores.is_empty());
    }

    proptest! {
        /// The same as adding up every offence that ever was and is young enough.
        #[test]
        fn the_sum_is_exact(steps in proptest::collection::vec((0_u8..3, 0_u32..200, 0_u64..1800), 1..100)) {
            let mut scores = Scores::new(1000);
            let mut all = Vec::new();
            let mut time = 0;
            for (who, multiplier, pause) in steps {
                time += pause;
                all.push((who, multiplier, time));
                let expected: u64 = all
                    .iter()
                    .filter(|(other, _, when)| *other == who && time - when <= 3600)
                    .map(|(_, multiplier, _)| u64::from(*multiplier))
                    .sum();
                prop_assert_eq!(scores.add(scope(who), multiplier, ID, HOUR, at(time)), expected);
            }
        }
    }
}
