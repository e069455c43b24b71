//! Scores: an exact sliding window per scope.
//!
//! A score is the sum of the multipliers of a scope's offences that are at most one monitor period old. Offences that
//! led to a block are spent and count no more. Nothing decays: an offence counts in full until the moment it does not
//! count at all, so that an administrator can check the sum with a pencil.
//!
//! Every step takes the same time, however many scopes there are. When there is no room for a new one, the lowest score
//! goes first: a flood of new addresses displaces its own kind, and not a client that is close to the threshold.
//!
//! With a million scopes all time goes into waiting for memory. So a record is one line of the cache, further
//! offences are one more, and a record that offends again in the same quarter of a minute and rank stays where it is in its queue. Who
//! knows which scopes come next says so ([`Scores::foresee`]), so that their waiting is one.

mod index;
mod rest;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::time::Duration;

use self::index::{Hash, Index};
use self::rest::{Counted, Rest};
use crate::client::Scope;
use crate::event::EventId;
use crate::time::Instant;

/// Offences kept per scope; when one more comes, the oldest is forgotten. A default client is blocked, and its
/// offences are spent, long before.
pub const OFFENCES_PER_SCOPE: u16 = 4096;

/// Lines of three offences that all scopes together may have beyond the first offence of each: 512 MiB. When one more is
/// wanted, the lowest scores go, until one is free.
pub const LINES_LIMIT: usize = 1 << 23;

/// Scopes that are foreseen at once: so many that their waiting overlaps, so few that all of it stays in the first cache.
pub const FORESEEN: usize = 32;

/// Records that fit the cache; foreseeing fewer would only cost.
const CACHED: usize = 1 << 12;

/// Ranks of scores: each is twice as high as the one below it, from 16 on.
const RANKS: usize = HIGHEST as usize + 1;
/// The rank of everything from 262,144 on.
const HIGHEST: u32 = 15;
/// No record, no line.
const NONE: u32 = u32::MAX;

/// How far before the start of the machine an offence can have happened: longer than any monitor period.
const BEFORE: Duration = Duration::from_hours(24 * 400);

/// The same moment on a clock that began so long before the machine that what somebody tells of has a place on it.
pub(crate) fn long_running(now: Instant) -> Instant {
    now.after(BEFORE)
}

/// The offences of one scope that may still count; there is always one.
#[derive(Debug)]
#[repr(C, align(64))]
struct Record {
    oldest: Counted,
    /// The last line of the later ones; most scopes have none.
    rest: u32,
    sum: u64,
    /// The record of the same rank that has been quiet for a little longer, and the one for a little less.
    older: u32,
    newer: u32,
    scope: Scope,
    rank: u8,
    /// How many offences there are.
    count: u16,
}

const _: () = assert!(size_of::<Record>() == 64, "a record is a line of the cache");

/// The records of one rank, in the order of their latest offences; within a quarter of a minute in any order. Those that were told of
/// later are an exception: they leave when it is their turn.
#[derive(Debug, Clone, Copy)]
struct Queue {
    oldest: u32,
    newest: u32,
}

/// The scores of all scopes that are being watched; see the head of this module.
#[derive(Debug)]
pub struct Scores {
    places: Index,
    records: Vec<Record>,
    rest: Rest,
    queues: [Queue; RANKS],
    capacity: usize,
    /// With this monitor period, nobody has been quiet for longer than it before this instant.
    quiet: (Duration, Instant),
}

impl Scores {
    /// Scores of at most `capacity` scopes.
    pub fn new(capacity: usize) -> Self {
        Self {
            places: Index::default(),
            records: Vec::new(),
            rest: Rest::new(LINES_LIMIT),
            queues: [Queue { oldest: NONE, newest: NONE }; RANKS],
            capacity,
            quiet: (Duration::ZERO, Instant::from_nanos(0)),
        }
    }

    /// Adds an offence that costs `multiplier`, and says what the score is now.
    pub fn add(&mut self, scope: Scope, multiplier: u32, id: EventId, period: Duration, now: Instant) -> u64 {
        self.add_earlier(scope, multiplier, id, Duration::ZERO, period, now)
    }

    /// Adds an offence that happened `age` ago and counts from then on, and says what the score is now.
    pub fn add_earlier(
        &mut self,
        scope: Scope,
        multiplier: u32,
        id: EventId,
        age: Duration,
        period: Duration,
        now: Instant,
    ) -> u64 {
        if multiplier == 0 || age > period {
            return self.score(scope, period, now);
        }
        let now = long_running(now);
        self.forget_quiet(period, now);
        let offence = Counted { at: now.before(age), multiplier, id };
        let Some(place) = self.place_with_room(scope) else {
            if self.records.len() >= self.capacity {
                self.evict();
            }
            self.insert(scope, offence);
            return multiplier.into();
        };
        let before = self.latest(place);
        let record = &mut self.records[place as usize];
        record.push(offence, &mut self.rest);
        record.expire(&mut self.rest, period, now);
        let (sum, stays) =
            (record.sum, record.rank == rank(record.sum) && quarter(before) == quarter(offence.at()));
        if !stays {
            self.unlink(place);
            self.link(place);
        }
        sum
    }

    /// Looks at the memory that an offence of each of these scopes, at most [`FORESEEN`], will need. Changes nothing: the
    /// looks depend on each other only within a scope, so the processor waits for all of them together.
    pub fn foresee(&self, scopes: &[Scope]) {
        if self.records.len() < CACHED {
            return;
        }
        // Each step looks at what the one before it has found, for all scopes together.
        let (mut hashes, mut places) = ([Hash::default(); FORESEEN], [NONE; FORESEEN]);
        let hashes = &mut hashes[..scopes.len().min(FORESEEN)];
        for (hash, scope) in hashes.iter_mut().zip(scopes) {
            *hash = self.places.hash(*scope);
        }
        let mut seen = hashes.iter().fold(0, |seen, hash| seen ^ self.places.glance(*hash));
        for (place, hash) in places.iter_mut().zip(hashes) {
            *place = self.places.guess(*hash);
        }
        let rank = |place: u32| self.records.get(place as usize).map_or(0, |record| u32::from(record.rank));
        seen ^= places.iter().fold(0, |seen, place| seen ^ rank(*place));
        for record in places.iter().filter_map(|place| self.records.get(*place as usize)) {
            seen ^= rank(record.older) ^ rank(record.newer) ^ self.rest.next(record.rest);
        }
        // Otherwise nobody would want to know, and the compiler would not look.
        core::hint::black_box(seen);
    }

    /// What the score of a scope is.
    pub fn score(&mut self, scope: Scope, period: Duration, now: Instant) -> u64 {
        self.present(scope, period, long_running(now)).map_or(0, |place| self.records[place as usize].sum)
    }

    /// The offences of a scope that count now, in the order of their numbers.
    pub fn counted(&mut self, scope: Scope, period: Duration, now: Instant) -> Vec<EventId> {
        let place = self.present(scope, period, long_running(now));
        place.map_or_else(Vec::new, |place| self.ids(place))
    }

    /// The scope's offences have had their consequence: they count no more. Says which they were, in the order of their
    /// numbers.
    pub fn spend(&mut self, scope: Scope) -> Vec<EventId> {
        let Some(place) = self.place(scope) else { return Vec::new() };
        let ids = self.ids(place);
        self.remove(place);
        ids
    }

    /// These offences of a scope, in the order of their numbers, have had their consequence elsewhere.
    pub fn forget(&mut self, scope: Scope, ids: &[EventId]) {
        let Some(place) = self.place(scope) else { return };
        let is_kept = |offence: &Counted| ids.binary_search(&offence.id()).is_err();
        let kept: Vec<_> = self.offences(place).filter(is_kept).collect();
        let Some((oldest, later)) = kept.split_first() else { return self.remove(place) };
        self.unlink(place);
        let record = &mut self.records[place as usize];
        self.rest.clear(record.rest);
        record.begin(*oldest);
        for offence in later {
            record.push_latest(*offence, &mut self.rest);
        }
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

    /// Every scope with what its score is; nothing is forgotten on the way.
    pub fn sums(&self, period: Duration, now: Instant) -> impl Iterator<Item = (Scope, u64)> {
        let now = long_running(now);
        (0_u32..).zip(&self.records).map(move |(place, record)| {
            let is_exact = now.since(record.oldest.at()) <= period;
            let counts = |offence: &Counted| now.since(offence.at()) <= period;
            let add_up = || {
                let counting = self.offences(place).filter(counts);
                counting.map(|offence| u64::from(offence.multiplier)).sum()
            };
            (record.scope, if is_exact { record.sum } else { add_up() })
        })
    }

    /// Where the record of a scope is, if something in it still counts.
    fn present(&mut self, scope: Scope, period: Duration, now: Instant) -> Option<u32> {
        let place = self.place(scope)?;
        // Its rank may be too high afterwards; that is noticed with its next offence.
        let record = &mut self.records[place as usize];
        record.expire(&mut self.rest, period, now);
        if now.since(record.oldest.at()) > period {
            self.remove(place);
            return None;
        }
        Some(place)
    }

    /// Where the record of a scope is, which can take one more offence.
    fn place_with_room(&mut self, scope: Scope) -> Option<u32> {
        let place = self.place(scope)?;
        if self.rest.has_room() || !self.rest.is_full(self.records[place as usize].rest) {
            return Some(place);
        }
        // Each that goes has come once, so that this costs no more in the end than their coming.
        while !self.rest.has_room() && !self.records.is_empty() {
            self.evict();
        }
        // It may be elsewhere now, or have gone itself.
        self.place(scope)
    }

    /// Where the record of a scope is.
    fn place(&self, scope: Scope) -> Option<u32> {
        if self.records.is_empty() {
            return None;
        }
        self.places.find(self.places.hash(scope), |place| self.records[place as usize].scope == scope)
    }

    /// The offences of a record, oldest first.
    fn offences(&self, place: u32) -> impl Iterator<Item = Counted> {
        let record = &self.records[place as usize];
        core::iter::once(record.oldest).chain(self.rest.iter(record.rest))
    }

    fn ids(&self, place: u32) -> Vec<EventId> {
        let mut ids: Vec<_> = self.offences(place).map(Counted::id).collect();
        ids.sort_unstable();
        ids
    }

    /// When the last offence of a record was.
    fn latest(&self, place: u32) -> Instant {
        let record = &self.records[place as usize];
        self.rest.latest(record.rest).unwrap_or(record.oldest).at()
    }

    /// Forgets scopes whose last offence no longer counts. Each rank's longest quiet ones are looked at, so that every
    /// call does a little more than new scopes can come.
    fn forget_quiet(&mut self, period: Duration, now: Instant) {
        if self.quiet.0 == period && now <= self.quiet.1 {
            return;
        }
        let mut until = Instant::FAR_FUTURE;
        for rank in 0..RANKS {
            for _ in 0..2 {
                let place = self.queues[rank].oldest;
                if place == NONE {
                    break;
                }
                // The first of a queue may be some seconds younger than another one behind it.
                let latest = self.latest(place);
                if now.since(latest) <= period {
                    until = until.min(latest.after(period));
                    break;
                }
                self.remove(place);
                until = Instant::from_nanos(0);
            }
        }
        // Who comes now is quiet for a period then, too.
        self.quiet = (period, until.min(now.after(period)));
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
        let mut record = Record {
            oldest: offence,
            rest: NONE,
            sum: 0,
            older: NONE,
            newer: NONE,
            scope,
            rank: 0,
            count: 0,
        };
        record.begin(offence);
        self.records.push(record);
        self.places.insert(self.places.hash(scope), place);
        self.link(place);
    }

    fn remove(&mut self, place: u32) {
        self.unlink(place);
        let removed = self.records.swap_remove(place as usize);
        self.rest.clear(removed.rest);
        self.places.remove(self.places.hash(removed.scope), place);
        // The last record has moved here: whoever pointed to it points here now.
        let Some(moved) = self.records.get(place as usize) else { return };
        let (older, newer, rank) = (moved.older, moved.newer, usize::from(moved.rank));
        // The number of records fitted when it came.
        let before = u32::try_from(self.records.len()).unwrap_or(NONE);
        self.places.rename(self.places.hash(moved.scope), before, place);
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
    /// With this offence and no other.
    fn begin(&mut self, offence: Counted) {
        (self.oldest, self.rest, self.count) = (offence, NONE, 1);
        self.sum = u64::from(offence.multiplier);
    }

    /// Adds an offence at its place in time, which is the end unless somebody tells of it later.
    fn push(&mut self, offence: Counted, rest: &mut Rest) {
        let latest = rest.latest(self.rest).unwrap_or(self.oldest).at();
        if offence.at() >= latest {
            return self.push_latest(offence, rest);
        }
        let mut all: Vec<_> = core::iter::once(self.oldest).chain(rest.iter(self.rest)).collect();
        all.insert(all.partition_point(|other| other.at() <= offence.at()), offence);
        rest.clear(self.rest);
        if let Some((oldest, later)) = all.split_first() {
            self.begin(*oldest);
            for offence in later {
                self.push_latest(*offence, rest);
            }
        }
    }

    fn push_latest(&mut self, offence: Counted, rest: &mut Rest) {
        if self.count >= OFFENCES_PER_SCOPE {
            self.drop_oldest(rest);
        }
        self.rest = rest.push(self.rest, offence);
        self.sum += u64::from(offence.multiplier);
        self.count += 1;
    }

    /// An offence counts for exactly the monitor period: at its end still, a moment later no more.
    fn expire(&mut self, rest: &mut Rest, period: Duration, now: Instant) {
        while now.since(self.oldest.at()) > period && self.drop_oldest(rest) {}
    }

    /// Forgets the oldest, unless it is the only one.
    fn drop_oldest(&mut self, rest: &mut Rest) -> bool {
        let Some((next, last)) = rest.pop(self.rest) else { return false };
        self.sum = self.sum.saturating_sub(u64::from(self.oldest.multiplier));
        self.count -= 1;
        (self.oldest, self.rest) = (next, last);
        true
    }
}

/// The quarter of a minute of an instant: what the order of a queue goes by. Finer would cost every offence of a busy client a
/// look at its neighbours in the queue, for an order that nobody can tell apart.
const fn quarter(at: Instant) -> u64 {
    at.as_nanos() / 15_000_000_000
}

/// The rank of a score.
fn rank(sum: u64) -> u8 {
    let doublings = (sum >> 4).checked_ilog2().map_or(0, |log| log + 1);
    u8::try_from(doublings.min(HIGHEST)).unwrap_or(0)
}
