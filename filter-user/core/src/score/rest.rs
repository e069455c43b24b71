//! The offences of a scope beyond its first, three to a cache line.
//!
//! Most scopes have one offence and nothing in here. The lines of the others are chained in a ring, which one number in
//! the scope's record names by its last line: new offences go in there, old ones come out of the line behind it.

use alloc::vec::Vec;

use super::NONE;
use crate::event::EventId;
use crate::time::Instant;

/// An offence that counts.
///
/// Packed, so that three of them and the number of the next line fill a line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed(4))]
pub(super) struct Counted {
    pub(super) at: Instant,
    pub(super) id: EventId,
    /// Never 0: that is what a free place in a line has.
    pub(super) multiplier: u32,
}

impl Counted {
    /// When it was; a copy, for a packed field cannot be borrowed.
    pub(super) const fn at(self) -> Instant {
        self.at
    }

    /// Its event; a copy, too.
    pub(super) const fn id(self) -> EventId {
        self.id
    }
}

const FREE: Counted = Counted { at: Instant::from_nanos(0), id: EventId(0), multiplier: 0 };

/// Offences of one scope in the order in which they came; some places at its beginning or end may be free, not all.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    offences: [Counted; 3],
    next: u32,
}

/// All lines of all scopes.
#[derive(Debug)]
pub(super) struct Rest {
    lines: Vec<Line>,
    /// Lines that belong to nobody, chained.
    free: u32,
    taken: usize,
    limit: usize,
}

impl Rest {
    /// Room for so many lines.
    pub(super) const fn new(limit: usize) -> Self {
        Self { lines: Vec::new(), free: NONE, taken: 0, limit }
    }

    /// Whether another line can be taken.
    pub(super) const fn has_room(&self) -> bool {
        self.taken < self.limit
    }

    /// Whether the next offence of this ring needs a line more.
    pub(super) fn is_full(&self, last: u32) -> bool {
        self.line(last).is_none_or(|line| line.offences[2].multiplier != 0)
    }

    /// Adds an offence behind the others of a ring; says which line is the last one now.
    pub(super) fn push(&mut self, last: u32, offence: Counted) -> u32 {
        if let Some(line) = self.lines.get_mut(last as usize) {
            let used = line.offences.iter().rposition(|other| other.multiplier != 0);
            if let Some(place) = line.offences.get_mut(used.map_or(0, |used| used + 1)) {
                *place = offence;
                return last;
            }
        }
        let first = self.line(last).map(|line| line.next);
        let line = Line { offences: [offence, FREE, FREE], next: NONE };
        let Some(new) = self.take(line) else { return last };
        self.set_next(new, first.unwrap_or(new));
        if first.is_some() {
            self.set_next(last, new);
        }
        new
    }

    /// Takes the oldest offence out of a ring, with the line that is the last one now.
    pub(super) fn pop(&mut self, last: u32) -> Option<(Counted, u32)> {
        let first = self.line(last)?.next;
        let line = self.lines.get_mut(first as usize)?;
        let mut used = line.offences.iter_mut().filter(|offence| offence.multiplier != 0);
        let offence = core::mem::replace(used.next()?, FREE);
        if used.next().is_some() {
            return Some((offence, last));
        }
        let second = line.next;
        self.give_back(first);
        if first == last {
            return Some((offence, NONE));
        }
        self.set_next(last, second);
        Some((offence, last))
    }

    /// The line behind the last one of a ring, which is its first.
    pub(super) fn next(&self, last: u32) -> u32 {
        self.line(last).map_or(NONE, |line| line.next)
    }

    /// The latest offence of a ring.
    pub(super) fn latest(&self, last: u32) -> Option<Counted> {
        self.line(last)?.offences.iter().rev().copied().find(|offence| offence.multiplier != 0)
    }

    /// The offences of a ring, oldest first.
    pub(super) fn iter(&self, last: u32) -> impl Iterator<Item = Counted> {
        let first = self.line(last).and_then(|line| self.line(line.next));
        let mut number = self.line(last).map_or(NONE, |line| line.next);
        let lines = core::iter::successors(first, move |line| {
            let next = (number != last).then_some(line.next)?;
            number = next;
            self.line(next)
        });
        lines.flat_map(|line| line.offences).filter(|offence| offence.multiplier != 0)
    }

    /// Gives all lines of a ring back.
    pub(super) fn clear(&mut self, last: u32) {
        let Some(first) = self.line(last).map(|line| line.next) else { return };
        let mut number = first;
        loop {
            let next = self.line(number).map_or(NONE, |line| line.next);
            self.give_back(number);
            if number == last || next == NONE {
                return;
            }
            number = next;
        }
    }

    /// Lines that belong to somebody.
    #[cfg(test)]
    pub(super) const fn taken(&self) -> usize {
        self.taken
    }

    fn line(&self, number: u32) -> Option<&Line> {
        self.lines.get(number as usize)
    }

    fn set_next(&mut self, number: u32, next: u32) {
        if let Some(line) = self.lines.get_mut(number as usize) {
            line.next = next;
        }
    }

    fn take(&mut self, line: Line) -> Option<u32> {
        if !self.has_room() {
            return None;
        }
        let number = self.free;
        if let Some(place) = self.lines.get_mut(number as usize) {
            self.free = core::mem::replace(place, line).next;
            self.taken += 1;
            return Some(number);
        }
        let number = u32::try_from(self.lines.len()).ok().filter(|number| *number != NONE)?;
        self.lines.push(line);
        self.taken += 1;
        Some(number)
    }

    fn give_back(&mut self, number: u32) {
        self.set_next(number, self.free);
        (self.free, self.taken) = (number, self.taken.saturating_sub(1));
    }
}

const _: () = assert!(size_of::<Line>() == 64, "a line of offences is a line of the cache");

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn counted(id: u64) -> Counted {
        Counted { at: Instant::from_nanos(id), id: EventId(id), multiplier: 1 }
    }

    proptest! {
        /// Three rings beside three queues.
        #[test]
        fn rings_are_queues(steps in proptest::collection::vec((0_usize..3, 0_u8..8), 0..300)) {
            let (mut rest, mut rings) = (Rest::new(1000), [NONE; 3]);
            let mut queues: [VecDeque<u64>; 3] = Default::default();
            for (id, (who, what)) in (0_u64..).zip(steps) {
                match what {
                    0..4 => {
                        rings[who] = rest.push(rings[who], counted(id));
                        queues[who].push_back(id);
                    }
                    4..7 => {
                        let popped = rest.pop(rings[who]);
                        prop_assert_eq!(popped.map(|(offence, _)| offence.id.0), queues[who].pop_front());
                        rings[who] = popped.map_or(NONE, |(_, last)| last);
                    }
                    _ => {
                        rest.clear(rings[who]);
                        rings[who] = NONE;
                        queues[who].clear();
                    }
                }
                for (ring, queue) in rings.iter().zip(&queues) {
                    let ids: Vec<_> = rest.iter(*ring).map(|offence| offence.id.0).collect();
                    prop_assert!(ids.iter().eq(queue), "{ids:?} {queue:?}");
                    prop_assert_eq!(rest.latest(*ring).map(|offence| offence.id.0), queue.back().copied());
                }
                prop_assert!(rest.lines.len() <= 300);
            }
            for ring in rings {
                rest.clear(ring);
            }
            prop_assert_eq!(rest.taken(), 0);
        }
    }

    #[test]
    fn lines_are_used_again_and_never_more_than_allowed() {
        let mut rest = Rest::new(2);
        let mut last = NONE;
        for id in 0..9 {
            last = rest.push(last, counted(id));
        }
        assert_eq!(rest.iter(last).count(), 6, "two lines");
        assert!(rest.is_full(last) && !rest.has_room());
        rest.clear(last);
        let last = rest.push(NONE, counted(1));
        assert!(rest.has_room() && rest.lines.len() == 2);
        assert_eq!(rest.pop(last).map(|(_, last)| last), Some(NONE));
    }
}
