//! Scores: an exact sliding window per scope.
//!
//! A score is the sum of the multipliers of a scope's offences that are at most one monitor period old. Offences that
//! led to a block are spent and count no more. Nothing decays: an offence counts in full until the moment it does not
//! count at all, so that an administrator can check the sum with a pencil.
//!
//! Every step takes the same time, however many scopes there are. When there is no room for a new one, the lowest score
//! goes first: a flood of new addresses displaces its own kind, and not a client that is close to the threshold.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashMap;

use crate::client::Scope;
use crate::event::EventId;
use crate::time::Instant;

/// Offences kept per scope; when one more comes, the oldest is forgotten. A default client is blocked, and its
/// offences are spent, long before.
pub const OFFENCES_PER_SCOPE: usize = 4096;

/// Ranks of scores: each is twice as high as the one below it, from 16 on.
const RANKS: usize = HIGHEST as usize + 1;
/// The rank of everything from 262,144 on.
const HIGHEST: u32 = 15;
/// No record.
const NONE: u32 = u32::MAX;

/// An offence that counts.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Instant,
    multiplier: u32,
    id: EventId,
}

/// The offences of one scope that may still count; there is always one.
#[derive(Debug)]
struct Record {
    scope: Scope,
    rank: u8,
    /// The record of the same rank that has been quiet for a little longer, and the one for a little less.
    older: u32,
    newer: u32,
    sum: u64,
    latest: Instant,
    oldest: Counted,
    /// Later ones; most scopes have none.
    #[expect(
        clippy::box_collection,
        reason = "a million records without any should not carry 32 bytes each"
    )]
    rest: Option<Box<VecDeque<Counted>>>,
}

/// The records of one rank, in the order of their latest offences.
#[derive(Debug, Clone, Copy)]
struct Queue {
    oldest: u32,
    newest: u32,
}

/// The scores of all scopes that are being watched; see the head of this module.
#[derive(Debug)]
pub struct Scores {
    places: HashMap<Scope, u32>,
    records: Vec<Record>,
    queues: [Queue; RANKS],
    capacity: usize,
}

impl Scores {
    /// Scores of at most `capacity` scopes.
    pub fn new(capacity: usize) -> Self {
        let empty = Queue { oldest: NONE, newest: NONE };
        Self { places: HashMap::new(), records: Vec::new(), queues: [empty; RANKS], capacity }
    }

    /// Adds an offence that costs `multiplier`, and says what the score is now.
    pub fn add(&mut self, scope: Scope, multiplier: u32, id: EventId, period: Duration, now: Instant) -> u64 {
        if multiplier == 0 {
            return self.score(scope, period, now);
        }
        self.forget_quiet(period, now);
        let offence = Counted { at: now, multiplier, id };
        let Some(&place) = self.places.get(&scope) else {
            if self.records.len() >= self.capacity {
                self.evict();
            }
            self.insert(scope, offence);
            return multiplier.into();
        };
        self.unlink(place);
        let record = &mut self.records[place as usize];
        record.push(offence);
        record.expire(period, now);
        let sum = record.sum;
        self.link(place);
        sum
    }

    /// What the score of a scope is.
    pub fn score(&mut self, scope: Scope, period: Duration, now: Instant) -> u64 {
        self.present(scope, period, now).map_or(0, |record| record.sum)
    }

    /// The offences of a scope that count now, oldest first.
    pub fn counted(&mut self, scope: Scope, period: Duration, now: Instant) -> Vec<EventId> {
        self.present(scope, period, now).map_or_else(Vec::new, Record::ids)
    }

    /// The scope's offences have had their consequence: they count no more. Says which they were, oldest first.
    pub fn spend(&mut self, scope: Scope) -> Vec<EventId> {
        let Some(&place) = self.places.get(&scope) else { return Vec::new() };
        let ids = self.records[place as usize].ids();
        self.remove(place);
        ids
    }

    /// These offences of a scope, in the order of their numbers, have had their consequence elsewhere.
    pub fn forget(&mut self, scope: Scope, ids: &[EventId]) {
        let Some(&place) = self.places.get(&scope) else { return };
        let record = &self.records[place as usize];
        let rest = record.rest.iter().flat_map(|rest| rest.iter());
        let all = core::iter::once(&record.oldest).chain(rest).copied();
        let mut kept = all.filter(|offence| ids.binary_search(&offence.id).is_err());
        let Some(oldest) = kept.next() else { return self.remove(place) };
        let rest: VecDeque<_> = kept.collect();
        let sum = core::iter::once(&oldest).chain(&rest).map(|offence| u64::from(offence.multiplier)).sum();
        let latest = rest.back().unwrap_or(&oldest).at;
        self.unlink(place);
        let record = &mut self.records[place as usize];
        (record.oldest, record.sum, record.latest) = (oldest, sum, latest);
        record.rest = (!rest.is_empty()).then(|| Box::new(rest));
        self.link(place);
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
        self.records.iter().map(|record| record.scope)
    }

    /// The record of a scope, if something in it still counts.
    fn present(&mut self, scope: Scope, period: Duration, now: Instant) -> Option<&Record> {
        let place = *self.places.get(&scope)?;
        if now.since(self.records[place as usize].latest) > period {
            self.remove(place);
            return None;
        }
        // Its rank may be too high now; that is noticed with its next offence.
        self.records[place as usize].expire(period, now);
        Some(&self.records[place as usize])
    }

    /// Forgets scopes whose last offence no longer counts. Each rank's longest quiet ones are looked at, so that every
    /// call does a little more than new scopes can come.
    fn forget_quiet(&mut self, period: Duration, now: Instant) {
        for rank in 0..RANKS {
            for _ in 0..2 {
                let place = self.queues[rank].oldest;
                if place == NONE || now.since(self.records[place as usize].latest) <= period {
                    break;
                }
                self.remove(place);
            }
        }
    }

    /// Makes room: of the lowest rank, the scope that has been quiet for longest.
    fn evict(&mut self) {
        if let Some(queue) = self.queues.iter().find(|queue| queue.oldest != NONE) {
            self.remove(queue.oldest);
        }
    }

    fn insert(&mut self, scope: Scope, offence: Counted) {
        // The capacity is a number of memory that fits; far below the end of `u32`.
        let Ok(place) = u32::try_from(self.records.len()) else { return };
        self.records.push(Record {
            scope,
            rank: 0,
            older: NONE,
            newer: NONE,
            sum: offence.multiplier.into(),
            latest: offence.at,
            oldest: offence,
            rest: None,
        });
        self.places.insert(scope, place);
        self.link(place);
    }

    fn remove(&mut self, place: u32) {
        self.unlink(place);
        let removed = self.records.swap_remove(place as usize);
        self.places.remove(&removed.scope);
        // The last record has moved here: whoever pointed to it points here now.
        let Some(moved) = self.records.get(place as usize) else { return };
        let (older, newer, rank) = (moved.older, moved.newer, usize::from(moved.rank));
        self.places.insert(moved.scope, place);
        match older {
            NONE => self.queues[rank].oldest = place,
            older => self.records[older as usize].newer = place,
        }
        match newer {
            NONE => self.queues[rank].newest = place,
            newer => self.records[newer as usize].older = place,
        }
    }

    /// Puts a record behind all others of its rank.
    fn link(&mut self, place: u32) {
        let rank = rank(self.records[place as usize].sum);
        let queue = &mut self.queues[usize::from(rank)];
        let before = core::mem::replace(&mut queue.newest, place);
        match before {
            NONE => queue.oldest = place,
            before => self.records[before as usize].newer = place,
        }
        let record = &mut self.records[place as usize];
        (record.rank, record.older, record.newer) = (rank, before, NONE);
    }

    fn unlink(&mut self, place: u32) {
        let Record { older, newer, rank, .. } = self.records[place as usize];
        let queue = &mut self.queues[usize::from(rank)];
        if older == NONE {
            queue.oldest = newer;
        }
        if newer == NONE {
            queue.newest = older;
        }
        if older != NONE {
            self.records[older as usize].newer = newer;
        }
        if newer != NONE {
            self.records[newer as usize].older = older;
        }
    }
}

impl Record {
    fn push(&mut self, offence: Counted) {
        let rest = self.rest.get_or_insert_default();
        rest.push_back(offence);
        self.sum += u64::from(offence.multiplier);
        self.latest = offence.at;
        if rest.len() >= OFFENCES_PER_SCOPE {
            self.drop_oldest();
        }
    }

    /// An offence counts for exactly the monitor period: at its end still, a moment later no more.
    fn expire(&mut self, period: Duration, now: Instant) {
        while now.since(self.oldest.at) > period && self.drop_oldest() {}
    }

    /// Forgets the oldest, unless it is the only one.
    fn drop_oldest(&mut self) -> bool {
        let Some(next) = self.rest.as_mut().and_then(|rest| rest.pop_front()) else { return false };
        self.sum = self.sum.saturating_sub(u64::from(self.oldest.multiplier));
        self.oldest = next;
        true
    }

    fn ids(&self) -> Vec<EventId> {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        core::iter::once(&self.oldest).chain(rest).map(|offence| offence.id).collect()
    }
}

/// The rank of a score.
fn rank(sum: u64) -> u8 {
    let doublings = (sum >> 4).checked_ilog2().map_or(0, |log| log + 1);
    u8::try_from(doublings.min(HIGHEST)).unwrap_or(0)
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
        assert!(scores.is_empty() && scores.places.is_empty());
    }

    #[test]
    fn some_offences_can_be_forgotten() {
        let mut scores = Scores::new(10);
        for id in 1..=5 {
            scores.add(scope(1), 100, EventId(id), HOUR, at(id));
        }
        scores.forget(scope(1), &[EventId(1), EventId(4)]);
        assert_eq!(scores.score(scope(1), HOUR, at(5)), 300);
        assert_eq!(scores.counted(scope(1), HOUR, at(5)), [2, 3, 5].map(EventId));
        assert_eq!(scores.score(scope(1), HOUR, at(3603)), 200, "the second has had its time");
        scores.forget(scope(1), &[EventId(3), EventId(5)]);
        assert!(scores.is_empty() && scores.places.is_empty());
        scores.forget(scope(2), &[EventId(3)]);
    }

    #[test]
    fn the_lowest_score_makes_room_and_of_those_the_quietest() {
        let mut scores = Scores::new(3);
        scores.add(scope(1), 900, ID, HOUR, at(0));
        scores.add(scope(2), 1, ID, HOUR, at(1));
        scores.add(scope(3), 1, ID, HOUR, at(2));
        for newcomer in 4..200 {
            scores.add(scope(newcomer), 1, ID, HOUR, at(newcomer.into()));
            assert_eq!(scores.len(), 3);
        }
        assert_eq!(scores.score(scope(1), HOUR, at(200)), 900, "a flood has displaced it");
        assert_eq!(scores.score(scope(2), HOUR, at(200)), 0);
        assert_eq!(scores.score(scope(199), HOUR, at(200)), 1);
    }

    #[test]
    fn who_has_been_quiet_for_a_period_is_forgotten() {
        let mut scores = Scores::new(100);
        for host in 0..50 {
            scores.add(scope(host), 10 + u32::from(host) * 20, ID, HOUR, at(host.into()));
        }
        for step in 0..50 {
            scores.add(scope(200), 1, ID, HOUR, at(4000 + step));
        }
        assert_eq!(scores.len(), 1);
    }

    #[test]
    fn what_costs_nothing_is_not_kept() {
        let mut scores = Scores::new(2);
        assert_eq!(scores.add(scope(1), 0, ID, HOUR, at(0)), 0);
        assert!(scores.is_empty());
    }

    /// How many records follow each other from here on.
    fn walk(scores: &Scores, from: u32) -> usize {
        let record = |place: u32| scores.records.get(place as usize);
        core::iter::successors(record(from), |before| record(before.newer)).count()
    }

    proptest! {
        /// The same as adding up every offence that ever was and is young enough.
        #[test]
        fn the_sum_is_exact(steps in proptest::collection::vec((0_u8..9, 0_u32..200, 0_u64..1800), 1..100)) {
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
                let linked: usize = scores.queues.iter().map(|queue| walk(&scores, queue.oldest)).sum();
                prop_assert_eq!(linked, scores.len());
                prop_assert_eq!(scores.places.len(), scores.len());
            }
        }
    }
}
