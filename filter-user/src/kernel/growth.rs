//! How a table comes to use more of its buckets while the kernel reads it.
//!
//! Entries that will be looked for somewhere else are copied there; then the number of buckets in use changes; and when no program
//! can still go by the old number, what is left at the old places goes. What the kernel counts at an old place in these
//! milliseconds is not counted. A writer that ends halfway leaves some entries twice, which the next one settles.

use std::time::Duration;

use aya::Pod;
use filter_common::table::{self, GROWING, Place, Shape, USED, next};
use nix::libc;

use super::table::Table;

/// Waited where the kernel does not offer to say when all programs have ended: a program runs for microseconds.
const SURELY_OVER: Duration = Duration::from_millis(20);

impl<V: Pod> Table<V> {
    /// Says how many buckets are in use if nobody has yet, and ends what another writer has begun.
    pub(super) fn settle(&mut self) {
        let used = self.shape().buckets;
        self.put_count(USED, used);
        if self.tags_of(self.buckets + GROWING) == 0 {
            return;
        }
        let stale = |index: &u32| self.find(self.slot(*index).key) != Some(*index);
        self.occupied(self.buckets).filter(stale).for_each(|index| self.vacate(index));
        self.put_count(GROWING, 0);
        self.held = self.count();
    }

    /// Uses as many buckets as so many more entries need.
    pub(super) fn reserve(&mut self, more: u32) {
        let wanted = table::buckets(self.held.saturating_add(more)).min(self.buckets);
        let mut to = self.shape().buckets;
        if to < wanted {
            while to < wanted {
                to = next(to, self.buckets);
            }
            if let Some(left) = self.copy(to) {
                self.switch(to, &left);
            }
        }
    }

    /// Copies entries to where they are looked for when so many buckets are in use; says which places they leave. None: one would
    /// find no place, and all is as it was.
    fn copy(&self, to: u32) -> Option<Vec<u32>> {
        self.put_count(GROWING, to);
        let shape = self.shape();
        let (mut left, mut copies) = (Vec::new(), Vec::new());
        for index in self.occupied(shape.buckets) {
            let slot = self.slot(index);
            let place = Place::of(slot.key, Shape { buckets: to, ..shape });
            if place.buckets.contains(&(index / table::BUCKET)) {
                continue;
            }
            let Some(copy) = self.free(place) else {
                for copy in copies {
                    self.vacate(copy);
                }
                self.put_count(GROWING, 0);
                return None;
            };
            self.occupy(copy, place.tag, slot);
            left.push(index);
            copies.push(copy);
        }
        Some(left)
    }

    /// Has the entries looked for at their new places, and gives the old ones up.
    fn switch(&self, to: u32, left: &[u32]) {
        self.put_count(USED, to);
        if !left.is_empty() {
            wait_for_readers();
        }
        for index in left {
            self.vacate(*index);
        }
        self.put_count(GROWING, 0);
    }
}

/// Waits until every program has ended that may have read the old number.
fn wait_for_readers() {
    // Waits for a grace period of RCU, inside of which programs run (`kernel/sched/membarrier.c`); Linux 4.3.
    // SAFETY: numbers only.
    let outcome = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if outcome != 0 {
        std::thread::sleep(SURELY_OVER);
    }
}

#[cfg(test)]
mod tests {
    use filter_common::abi::NeverEntry;

    use super::*;

    const ENTRIES: u32 = 10_000;

    fn value(number: u32) -> NeverEntry {
        NeverEntry { until: number.into(), prefix_len: 32, built_in: 0 }
    }

    fn filled(capacity: u32) -> Table<NeverEntry> {
        let mut table = Table::blank(capacity);
        table.settle();
        for number in 0..ENTRIES {
            table.insert(number.into(), value(number)).unwrap();
        }
        table
    }

    fn assert_all_there(table: &Table<NeverEntry>, entries: u32) {
        assert!((0..entries).all(|number| table.get(number.into()) == Some(value(number))));
    }

    fn assert_each_once(table: &Table<NeverEntry>, entries: u32) {
        assert_all_there(table, entries);
        assert_eq!(table.entries().count(), entries as usize);
        assert_eq!(table.occupied(table.buckets).count(), entries as usize);
        assert_eq!((table.held, table.count()), (entries, entries));
    }

    #[test]
    fn a_table_uses_more_buckets_as_entries_come_and_misses_none() {
        let mut table = Table::blank(100_000);
        table.settle();
        let begun = table.shape().buckets;
        let mut used = vec![begun];
        for number in 0..100_000 {
            table.insert(number.into(), value(number)).unwrap();
            if used.last() != Some(&table.shape().buckets) {
                used.push(table.shape().buckets);
                assert_each_once(&table, number + 1);
            }
        }
        assert_eq!(used, [begun, table.buckets]);
        assert_each_once(&table, 100_000);
        assert!(table.insert(100_000, value(0)).is_err(), "it is full");
        (0..100_000).for_each(|number| table.remove(number));
        assert_each_once(&table, 0);
    }

    #[test]
    fn many_entries_at_once_have_it_grow_once() {
        let mut table = filled(1_000_000);
        table.reserve(900_000);
        assert_eq!(table.shape().buckets, table.buckets);
        assert_each_once(&table, ENTRIES);
    }

    #[test]
    fn a_growth_that_ends_halfway_loses_nothing_and_leaves_nothing() {
        for has_switched in [false, true] {
            let mut table = filled(1_000_000);
            let (before, to) = (table.shape().buckets, table.buckets);
            let left = table.copy(to).unwrap();
            assert!(left.len() > ENTRIES as usize / 2);
            assert_all_there(&table, ENTRIES);
            if has_switched {
                table.put_count(USED, to);
                assert_all_there(&table, ENTRIES);
            }
            table.settle();
            assert_eq!(table.shape().buckets, if has_switched { to } else { before });
            assert_each_once(&table, ENTRIES);
            table.remove(7);
            table.reserve(900_000);
            assert_eq!(table.get(7), None, "what has gone does not come back");
        }
    }
}
