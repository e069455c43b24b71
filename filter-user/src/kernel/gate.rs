//! The gate of one list and the lengths of its IPv4 prefixes, written through memory: one atomic operation for each bit that
//! changes.

use std::sync::atomic::Ordering;

use aya::Pod;
use aya::maps::{Array, MapData};
use filter_common::gate::{Key, SHORTER};
use filter_common::prefixes;
use filter_core::gate::Book;
use filter_core::lengths::Lengths;
use ipnet::{IpNet, Ipv4Net};

use super::KernelError;
use super::fill::{Held, place};
use super::list::List;
use super::words::{Wanted, Words};

/// How many bits of a gate are set, without [`SHORTER`], which all words have or none. Read a word at a time by system call it
/// would take a second, so the gate is mapped.
pub(super) fn bits(gate: &Array<MapData, u64>) -> Result<u64, KernelError> {
    let words = Words::of("a gate", gate)?;
    let word = |index| words.word(index).map_or(0, |word| word.load(Ordering::Relaxed));
    Ok((0..gate.len() as usize).map(|index| u64::from((word(index) & !SHORTER).count_ones())).sum())
}

/// What lies in front of one list, with the books of what stands behind its bits.
#[derive(Debug)]
pub(super) struct Gate {
    memory: Words,
    book: Book,
    lengths_memory: Words,
    lengths: Lengths,
    held: Held,
}

impl Gate {
    /// Takes over the gate of a list that holds these entries: missing bits are set, then stale ones cleared.
    pub(super) fn adopt<V: Pod>(
        list: &List<V>,
        key: Key,
        entries: impl Iterator<Item = IpNet>,
    ) -> Result<Self, KernelError> {
        let mut gate = Self {
            memory: Words::of(list.names.gate, &list.gate)?,
            book: Book::new(key),
            lengths_memory: Words::of(list.names.lengths_v4, &list.lengths_v4)?,
            lengths: Lengths::default(),
            held: Held::default(),
        };
        let (mut wanted, mut lengths) = (Wanted::new(key.words), Wanted::new(prefixes::WORDS));
        for network in entries {
            gate.book.add(&network, &mut wanted);
            if let Some(prefix) = prefix_v4(&network) {
                gate.lengths.add(prefix, &mut lengths);
            }
            gate.held[place(&network)] += 1;
        }
        gate.lengths_memory.settle(lengths);
        gate.memory.settle(wanted);
        Ok(gate)
    }

    /// Whether the list has an entry for exactly this network.
    pub(super) fn knows(&self, network: &IpNet) -> bool {
        self.book.contains(network)
    }

    /// An entry is in its map now.
    pub(super) fn open_for(&mut self, network: &IpNet) {
        if self.knows(network) {
            return;
        }
        self.held[place(network)] += 1;
        if let Some(prefix) = prefix_v4(network) {
            self.lengths.add(prefix, &mut self.lengths_memory);
        }
        self.book.add(network, &mut self.memory);
    }

    /// An entry is about to leave its map.
    pub(super) fn close_for(&mut self, network: &IpNet) {
        if !self.knows(network) {
            return;
        }
        let held = &mut self.held[place(network)];
        *held = held.saturating_sub(1);
        self.book.remove(network, &mut self.memory);
        if let Some(prefix) = prefix_v4(network) {
            self.lengths.remove(prefix, &mut self.lengths_memory);
        }
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

/// An IPv4 network other than a single address.
const fn prefix_v4(network: &IpNet) -> Option<Ipv4Net> {
    match network {
        IpNet::V4(prefix) if prefix.prefix_len() < 32 => Some(*prefix),
        _ => None,
    }
}
