//! The gates of one list, written through memory: one atomic operation for each bit that changes.

use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Array, IterableMap as _, MapData};
use filter_common::gate::{Key, WORDS_V4};
use filter_core::gate::{Bits, Book, Family};
use ipnet::IpNet;
use memmap2::{MmapOptions, MmapRaw};

use super::KernelError;
use super::fill::{Held, place};

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
}

impl Memory {
    fn word(&self, family: Family, index: u32) -> Option<&AtomicU64> {
        match family {
            Family::V4 => self.v4.word(index),
            Family::V6 => self.v6.word(index),
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
}

impl Bits for Wanted {
    fn set(&mut self, family: Family, word: u32, bits: u64) {
        let words = if family == Family::V4 { &mut self.v4 } else { &mut self.v6 };
        words[word as usize] |= bits;
    }

    fn clear(&mut self, _family: Family, _word: u32, _bits: u64) {
        unreachable!("a book that is only added to clears nothing");
    }
}

/// How many pairs of a gate are not empty.
pub(super) fn pairs(gate: &Array<MapData, u64>) -> Result<u64, KernelError> {
    let words = Words::map("a gate", gate.map().fd().as_fd(), gate.len())?;
    let pairs = |word: u64| u64::from(((word | word >> 1) & 0x5555_5555_5555_5555).count_ones());
    Ok((0..gate.len())
        .filter_map(|index| words.word(index))
        .map(|word| pairs(word.load(Ordering::Relaxed)))
        .sum())
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
    pub(super) fn adopt(
        names: [&'static str; 2],
        fds: [BorrowedFd<'_>; 2],
        key: Key,
        entries: impl Iterator<Item = IpNet>,
    ) -> Result<Self, KernelError> {
        let memory = Memory {
            v4: Words::map(names[0], fds[0], WORDS_V4)?,
            v6: Words::map(names[1], fds[1], key.words)?,
        };
        let mut wanted = Wanted { v4: vec![0; WORDS_V4 as usize], v6: vec![0; key.words as usize] };
        let (mut book, mut held) = (Book::new(key), Held::default());
        for network in entries {
            book.add(&network, &mut wanted);
            held[place(&network)] += 1;
        }
        for (family, words) in [(Family::V4, wanted.v4), (Family::V6, wanted.v6)] {
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
