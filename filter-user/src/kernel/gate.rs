//! The gate of one list, written through memory: one atomic operation for each bit that changes.

use std::sync::atomic::Ordering;

use aya::Pod;
use aya::maps::{Array, MapData};
use filter_common::gate::Key;
use filter_core::gate::{Bits, Book};
use ipnet::IpNet;

use super::KernelError;
use super::fill::{Held, place};
use super::list::List;
use super::words::Words;

impl Bits for Words {
    fn set(&mut self, word: u32, bits: u64) {
        if let Some(word) = self.word(word as usize) {
            word.fetch_or(bits, Ordering::Relaxed);
        }
    }

    fn clear(&mut self, word: u32, bits: u64) {
        if let Some(word) = self.word(word as usize) {
            word.fetch_and(!bits, Ordering::Relaxed);
        }
    }
}

/// What the gate should hold, built from nothing.
struct Wanted(Vec<u64>);

impl Bits for Wanted {
    fn set(&mut self, word: u32, bits: u64) {
        self.0[word as usize] |= bits;
    }

    fn clear(&mut self, _word: u32, _bits: u64) {
        unreachable!("a book that is only added to clears nothing");
    }
}

/// How many bits of a gate are set. Read a word at a time by system call it would take a second, so the gate is mapped.
pub(super) fn bits(gate: &Array<MapData, u64>) -> Result<u64, KernelError> {
    let words = Words::of("a gate", gate)?;
    let word = |index| words.word(index).map_or(0, |word| word.load(Ordering::Relaxed));
    Ok((0..gate.len() as usize).map(|index| u64::from(word(index).count_ones())).sum())
}

/// The gate of one list, with the book of what stands behind its bits.
#[derive(Debug)]
pub(super) struct Gate {
    memory: Words,
    book: Book,
    held: Held,
}

impl Gate {
    /// Takes over the gate of a list that holds these entries: missing bits are set, then stale ones cleared.
    pub(super) fn adopt<V: Pod>(
        list: &List<V>,
        key: Key,
        entries: impl Iterator<Item = IpNet>,
    ) -> Result<Self, KernelError> {
        let memory = Words::of(list.names.gate, &list.gate)?;
        let mut wanted = Wanted(vec![0; key.words as usize]);
        let (mut book, mut held) = (Book::new(key), Held::default());
        for network in entries {
            book.add(&network, &mut wanted);
            held[place(&network)] += 1;
        }
        for (index, bits) in (0..).zip(wanted.0) {
            let Some(word) = memory.word(index) else { continue };
            if word.load(Ordering::Relaxed) != bits {
                // One at a time, so that a bit which is right is right throughout.
                word.fetch_or(bits, Ordering::Relaxed);
                word.fetch_and(bits, Ordering::Relaxed);
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
