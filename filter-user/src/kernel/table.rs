//! One table of hosts from user space: the only writer of its slots and tags.
//!
//! The kernel may read at any moment, so a slot is written before its tag and emptied after it. A slot that is free has
//! ended, so that who found it a moment ago passes. How a table comes to use more of its buckets is in [`super::growth`].

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::Ordering;

use aya::Pod;
use aya::maps::{Array, IterableMap as _, MapData};
use filter_common::table::{BUCKET, COUNTS, Place, Shape, Slot, TAKEN, USED, first, tag_of, taken};

use super::KernelError;
use super::maps::{memory, pinned};
use super::words::Words;

/// The names of a table's maps, which are also those of their pins.
#[derive(Debug)]
pub(super) struct TableNames {
    pub(super) slots: &'static str,
    pub(super) tags: &'static str,
}

/// Entries of one kind.
#[derive(Debug)]
pub(super) struct Table<V> {
    pub(super) names: &'static TableNames,
    seed: u64,
    /// All that there are, in use or not.
    pub(super) buckets: u32,
    capacity: u32,
    pub(super) held: u32,
    /// Of both maps, in bytes, as the kernel accounts for them.
    pub(super) memory: Option<u64>,
    tags: Words,
    slots: Words,
    values: PhantomData<V>,
}

impl<V: Pod> Table<V> {
    const WORDS: usize = size_of::<Slot<V>>() / size_of::<u64>();

    /// Opens the pins.
    pub(super) fn open(
        directory: &Path,
        names: &'static TableNames,
        seed: u64,
        capacity: u32,
    ) -> Result<Self, KernelError> {
        let slots: Array<MapData, Slot<V>> = pinned(directory, names.slots)?;
        let tags: Array<MapData, u64> = pinned(directory, names.tags)?;
        let buckets = slots.len() / BUCKET;
        if buckets + COUNTS != tags.len() {
            let what =
                format!("{} has {} slots, {} has {} words", names.slots, slots.len(), names.tags, tags.len());
            return Err(KernelError::Layout { path: directory.to_path_buf(), what });
        }
        let memory = memory(slots.map().fd()).zip(memory(tags.map().fd())).map(|(slots, tags)| slots + tags);
        let (slots, tags) = (Words::of(names.slots, &slots)?, Words::of(names.tags, &tags)?);
        let mut table =
            Self { names, seed, buckets, capacity, held: 0, memory, tags, slots, values: PhantomData };
        table.held = table.count();
        Ok(table)
    }

    /// One in memory of its own.
    #[cfg(test)]
    pub(super) fn blank(capacity: u32) -> Self {
        let buckets = filter_common::table::buckets(capacity);
        Self {
            names: &super::maps::BLOCK.hosts_v4,
            seed: 0x0123_4567_89ab_cdef,
            buckets,
            capacity,
            held: 0,
            memory: None,
            tags: Words::blank((buckets + COUNTS) as usize),
            slots: Words::blank((buckets * BUCKET) as usize * Self::WORDS),
            values: PhantomData,
        }
    }

    /// What it is read by now.
    pub(super) fn shape(&self) -> Shape {
        let used = match u32::try_from(self.tags_of(self.buckets + USED)) {
            Ok(used @ 1..) => used.min(self.buckets),
            // Nobody has written to it yet.
            _ => first(self.buckets),
        };
        Shape { seed: self.seed, buckets: used }
    }

    /// Entries at most.
    pub(super) const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Entries that are there now, counted anew: they may be another's.
    pub(super) fn count(&self) -> u32 {
        (0..self.shape().buckets).map(|bucket| taken(self.tags_of(bucket))).sum()
    }

    /// The entry of a host.
    pub(super) fn get(&self, host: u64) -> Option<V> {
        self.find(host).map(|index| self.slot(index).value)
    }

    /// Puts an entry in, in place of the host's present one.
    pub(super) fn insert(&mut self, host: u64, value: V) -> Result<(), KernelError> {
        if let Some(index) = self.find(host) {
            self.put(index, Slot { value, key: host, spare: 0 });
            return Ok(());
        }
        self.reserve(1);
        let place = Place::of(host, self.shape());
        let free = if self.held < self.capacity { self.free(place) } else { None };
        let index = free.ok_or(KernelError::Full(self.names.slots))?;
        self.occupy(index, place.tag, Slot { value, key: host, spare: 0 });
        self.held += 1;
        Ok(())
    }

    /// Takes the entry of a host out; if there is none, that is as well.
    pub(super) fn remove(&mut self, host: u64) {
        let Some(index) = self.find(host) else { return };
        self.vacate(index);
        self.held -= 1;
    }

    /// Every entry, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, V)> {
        self.occupied(self.shape().buckets).map(|index| {
            let Slot { value, key, .. } = self.slot(index);
            (key, value)
        })
    }

    /// The slots that are taken in the first of its buckets.
    pub(super) fn occupied(&self, buckets: u32) -> impl Iterator<Item = u32> {
        let is_taken = |index: &u32| {
            let (word, shift) = tag_of(*index);
            self.tags_of(word) >> shift & u64::from(TAKEN) != 0
        };
        (0..buckets * BUCKET).filter(is_taken)
    }

    /// A free slot for a key that is not there.
    pub(super) fn free(&self, place: Place) -> Option<u32> {
        place.free(|bucket| self.tags_of(bucket))
    }

    /// Puts an entry into a free slot.
    pub(super) fn occupy(&self, index: u32, tag: u8, slot: Slot<V>) {
        self.put(index, slot);
        let (word, shift) = tag_of(index);
        if let Some(word) = self.tags.word(word as usize) {
            word.fetch_or(u64::from(tag) << shift, Ordering::Release);
        }
    }

    /// Makes a slot free.
    pub(super) fn vacate(&self, index: u32) {
        let (word, shift) = tag_of(index);
        if let Some(word) = self.tags.word(word as usize) {
            word.fetch_and(!(0xff << shift), Ordering::Release);
        }
        // SAFETY: zeros are a value of every `Pod`; this one has ended.
        self.put(index, unsafe { std::mem::zeroed() });
    }

    pub(super) fn find(&self, host: u64) -> Option<u32> {
        let is_it = |index| (self.slot(index).key == host).then_some(index);
        Place::of(host, self.shape()).find(|bucket| Some(self.tags_of(bucket)), is_it)
    }

    /// Word by word in their order: the key comes last, so whoever finds it finds its value.
    fn put(&self, index: u32, slot: Slot<V>) {
        let words = (&raw const slot).cast::<u64>();
        for place in 0..Self::WORDS {
            // SAFETY: a slot is a `Pod` of whole words, and aligned like one.
            let word = unsafe { words.add(place).read() };
            if let Some(shared) = self.slots.word(index as usize * Self::WORDS + place) {
                shared.store(word, Ordering::Release);
            }
        }
    }

    pub(super) fn slot(&self, index: u32) -> Slot<V> {
        let mut slot = MaybeUninit::<Slot<V>>::zeroed();
        let words = slot.as_mut_ptr().cast::<u64>();
        for place in 0..Self::WORDS {
            if let Some(shared) = self.slots.word(index as usize * Self::WORDS + place) {
                // SAFETY: as in `put`.
                unsafe { words.add(place).write(shared.load(Ordering::Acquire)) };
            }
        }
        // SAFETY: every bit pattern is a value of a `Pod`, and all bits have been written.
        unsafe { slot.assume_init() }
    }

    /// The tags of a bucket, or one of the counts behind them.
    pub(super) fn tags_of(&self, bucket: u32) -> u64 {
        self.tags.word(bucket as usize).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Writes one of the counts behind the tags.
    pub(super) fn put_count(&self, index: u32, count: u32) {
        if let Some(word) = self.tags.word((self.buckets + index) as usize) {
            word.store(count.into(), Ordering::Release);
        }
    }
}
