//! The gates of one list, written through memory: one atomic operation for each bit that changes.

use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;
use aya::maps::{Array, IterableMap as _, MapData};
use filter_common::gate::Key;
use filter_core::gate::{Bits, Book, Family};
use ipnet::IpNet;
use memmap2::{MmapOptions, MmapRaw};

use super::KernelError;
use super::fill::{Held, place};
use super::list::List;

/// The words of one gate, shared with the kernel.
#[derive(Debug)]
struct Words(MmapRaw);

impl Words {
    fn map(name: &'static str, fd: BorrowedFd<'_>, words: u32) -> Result<Self, KernelError> {
        let mapped = MmapOptions::new().len(words as usize * 8).map_raw(fd.as_raw_fd());
        mapped
            .map(Self)
            .map_err(|error| KernelError::Other(format!("cannot map {name} into memory: {error}")))
    }

    fn word(&self, index: u32) -> Option<&AtomicU64> {
        let offset = index as usize * 8;
        // SAFETY: the word lies inside the mapping, which is page-aligned and lives as long as `self`; nobody here
        // touches it other than by atomic operations, and the kernel only reads it.
        (offset + 8 <= self.0.len())
            .then(|| unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().add(offset).cast()) })
    }
}

#[derive(Debug)]
struct Memory {
    v4: Words,
    v6: Words,
    wicket: Option<Words>,
}

impl Memory {
    fn word(&self, family: Family, index: u32) -> Option<&AtomicU64> {
        match family {
            Family::V4 => self.v4.word(index),
            Family::V6 => self.v6.word(index),
            Family::Wicket => self.wicket.as_ref()?.word(index),
        }
    }
}

impl Bits for Memory {
    fn set(&mut self, family: Family, word: u32, bits: u64) {
        if let Some(word) = self.word(family, word) {
            word.fetch_or(bits, Ordering::Relaxed);
        }
    }

    fn clear(&mut self, family: Family, word: u32, bits: u64) {
        if let Some(word) = self.word(family, word) {
            word.fetch_and(!bits, Ordering::Relaxed);
        }
    }
}

/// What the gates should hold, built from nothing.
struct Wanted {
    v4: Vec<u64>,
    v6: Vec<u64>,
    wicket: Vec<u64>,
}

impl Bits for Wanted {
    fn set(&mut self, family: Family, word: u32, bits: u64) {
        let words = match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
            Family::Wicket => &mut self.wicket,
        };
        words[word as usize] |= bits;
    }

    fn clear(&mut self, _family: Family, _word: u32, _bits: u64) {
        unreachable!("a book that is only added to clears nothing");
    }
}

/// How many networks something is near, by a gate.
pub(super) fn networks(gate: &Array<MapData, u64>) -> Result<u64, KernelError> {
    count(gate, gate.len() / 2)
}

/// How many bits of a wicket are set.
pub(super) fn marks(wicket: &Array<MapData, u64>) -> Result<u64, KernelError> {
    count(wicket, 0)
}

/// Bits that are set, those that lie `half` words apart as one.
fn count(gate: &Array<MapData, u64>, half: u32) -> Result<u64, KernelError> {
    let words = Words::map("a gate", gate.map().fd().as_fd(), gate.len())?;
    let word = |index| words.word(index).map_or(0, |word| word.load(Ordering::Relaxed));
    let both = (0..gate.len() - half).map(|index| word(index) | word(index + half));
    Ok(both.map(|word| u64::from(word.count_ones())).sum())
}

/// The gates of one list, with the book of what stands behind their bits.
#[derive(Debug)]
pub(super) struct Gate {
    memory: Memory,
    book: Book,
    held: Held,
}

impl Gate {
    /// Takes over the gates of a list that holds these entries: missing bits are set, then stale ones cleared.
    pub(super) fn adopt<V: Pod>(
        list: &List<V>,
        key: Key,
        entries: impl Iterator<Item = IpNet>,
    ) -> Result<Self, KernelError> {
        let (names, words_v4) = (list.names, key.words_v4());
        let wicket = names.wicket.zip(list.wicket.as_ref());
        let memory = Memory {
            v4: Words::map(names.gate_v4, list.gate_v4.map().fd().as_fd(), words_v4)?,
            v6: Words::map(names.gate_v6, list.gate_v6.map().fd().as_fd(), key.words)?,
            wicket: wicket
                .map(|(name, map)| Words::map(name, map.map().fd().as_fd(), key.wicket))
                .transpose()?,
        };
        let mut wanted = Wanted {
            v4: vec![0; words_v4 as usize],
            v6: vec![0; key.words as usize],
            wicket: vec![0; key.wicket as usize],
        };
        let (mut book, mut held) = (Book::new(key), Held::default());
        for network in entries {
            book.add(&network, &mut wanted);
            held[place(&network)] += 1;
        }
        for (family, words) in
            [(Family::V4, wanted.v4), (Family::V6, wanted.v6), (Family::Wicket, wanted.wicket)]
        {
            for (index, bits) in (0..).zip(words) {
                let Some(word) = memory.word(family, index) else { continue };
                if word.load(Ordering::Relaxed) != bits {
                    // One at a time, so that a bit which is right is right throughout.
                    word.fetch_or(bits, Ordering::Relaxed);
                    word.fetch_and(bits, Ordering::Relaxed);
                }
            }
        }
        Ok(Self { memory, book, held })
    }

    /// Whether the list has an entry for exactly this network.
    pub(super) fn knows(&self, network: &IpNet) -> bool {
        self.book.contains(network)
    }

    /// An entry is in its map now.
    pub(super) fn open_for(&mut self, network: &IpNet) {
        if !self.knows(network) {
            self.held[place(network)] += 1;
        }
        self.book.add(network, &mut self.memory);
    }

    /// An entry is about to leave its map.
    pub(super) fn close_for(&mut self, network: &IpNet) {
        if self.knows(network) {
            let held = &mut self.held[place(network)];
            *held = held.saturating_sub(1);
        }
        self.book.remove(network, &mut self.memory);
    }

    /// How many entries there are in each map of the list.
    pub(super) const fn held(&self) -> Held {
        self.held
    }

    /// The classes of IPv6 prefixes that the kernel must ask for.
    pub(super) fn classes(&self) -> u32 {
        self.book.classes()
    }
}
