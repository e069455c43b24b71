//! The rules said once more, in the plainest way, for the tests that compare the judge and the kernel with them.
//!
//! [`Lists`] is walked from end to end for every question: no gate, no tables, no order. [`Sketch`] describes a packet
//! in the words of the rules and is turned into a frame; the frame is what the judge and the kernel see, the
//! description is what [`Lists::expected`] sees. So neither the parser nor the lists are trusted.

extern crate alloc;

use alloc::vec::Vec;
use core::cell::Cell;

use crate::abi::mode;
use crate::gate::Near;
use crate::judge::{Around, Found, Tables};
use crate::packet::Source;
use crate::reason::Reason;

mod sketch;

pub use sketch::{Cargo, Sketch};

/// An entry of either list.
#[derive(Debug, Clone)]
pub struct Entry {
    /// An address in it.
    pub network: Source,
    /// Its prefix length.
    pub length: u32,
    /// When it ends.
    pub until: u64,
    /// When the grace of a block ends.
    pub grace_until: Cell<u64>,
    /// Courtesies that a block has left.
    pub courtesy: Cell<u32>,
    /// Packets that were dropped by it, or would have been.
    pub packets: Cell<u64>,
}

impl Entry {
    pub(crate) fn covers(&self, source: Source) -> bool {
        let (own, other, width) = match (self.network, source) {
            (Source::V4(own), Source::V4(other)) => {
                (u32::from_be_bytes(own).into(), u32::from_be_bytes(other).into(), 32)
            }
            (Source::V6(own), Source::V6(other)) => {
                (u128::from_be_bytes(own), u128::from_be_bytes(other), 128)
            }
            _ => return false,
        };
        u128::checked_shr(own ^ other, width - self.length).unwrap_or(0) == 0
    }

    /// Whether it has a table of exact matches: one IPv4 address, or one IPv6 /64.
    pub const fn is_host(&self) -> bool {
        matches!((self.network, self.length), (Source::V4(_), 32) | (Source::V6(_), 64))
    }
}

/// Both lists and the settings.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// Blocks.
    pub blocks: Vec<Entry>,
    /// Exemptions.
    pub nevers: Vec<Entry>,
    /// The present.
    pub now: u64,
    /// Judge only.
    pub observe: bool,
    /// Drop everything of a blocked source.
    pub drop_all: bool,
    /// The one protected port.
    pub port: u16,
}

impl Lists {
    /// What the rules say about a packet; counts what they say is counted.
    pub fn expected(&self, sketch: &Sketch) -> Reason {
        let source = match sketch.sender() {
            Ok(source) => source,
            Err(reason) => return reason,
        };
        let covering: Vec<_> = self.blocks.iter().filter(|entry| entry.covers(source)).collect();
        if covering.is_empty() {
            return Reason::Innocent;
        }
        let is_live = |entry: &&Entry| entry.until > self.now;
        let mut live: Vec<_> = covering.into_iter().filter(is_live).collect();
        live.sort_by_key(|entry| (entry.is_host(), entry.length));
        let Some(deciding) = live.pop() else { return Reason::Expired };
        if self.nevers.iter().filter(is_live).any(|entry| entry.covers(source)) {
            return Reason::NeverBlock;
        }
        let Some(cargo) = sketch.seen() else { return Reason::Unparsed };
        let in_grace = self.now < deciding.grace_until.get();
        let opens = match cargo {
            Cargo::NeighbourDiscovery => return Reason::NeighbourDiscovery,
            Cargo::Tcp { port, .. } if port != self.port && !self.drop_all => return Reason::OtherPort,
            Cargo::Other if !self.drop_all => return Reason::OtherPort,
            Cargo::Tcp { opens: false, .. } | Cargo::LaterFragment if in_grace => return Reason::Grace,
            Cargo::Tcp { opens, .. } => opens,
            Cargo::Other | Cargo::LaterFragment => false,
        };
        if !self.observe
            && opens
            && self.spend_courtesy(deciding, self.now.saturating_add(crate::limits::COURTESY))
        {
            return Reason::Courtesy;
        }
        deciding.packets.set(deciding.packets.get() + 1);
        match (self.observe, deciding.is_host()) {
            (true, _) => Reason::Observed,
            (false, true) => Reason::DropHost,
            (false, false) => Reason::DropPrefix,
        }
    }
}

/// The judge's tables over the same lists, so that it can be asked without a kernel.
impl<'lists> Tables for &'lists Lists {
    type Entry = &'lists Entry;

    fn near_block(&self, _source: Source) -> Near {
        Near { hosts: true, prefixes: true }
    }

    fn near_never(&self, _source: Source) -> Near {
        Near { hosts: true, prefixes: true }
    }

    fn settings(&self) -> (u32, bool) {
        (if self.observe { mode::OBSERVE } else { mode::ENFORCE }, self.drop_all)
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn host(&self, source: Source) -> Option<Found<Self::Entry>> {
        self.blocks.iter().find(|entry| entry.is_host() && entry.covers(source)).map(found)
    }

    fn prefix(&self, source: Source, now: u64) -> Around<Found<Self::Entry>> {
        let around: Vec<_> =
            self.blocks.iter().filter(|entry| !entry.is_host() && entry.covers(source)).collect();
        let live = around.iter().filter(|entry| entry.until > now).max_by_key(|entry| entry.length);
        match live {
            Some(entry) => Around::Live(found(entry)),
            None if around.is_empty() => Around::Nothing,
            None => Around::Ended,
        }
    }

    fn never_host(&self, source: Source) -> Option<u64> {
        self.nevers.iter().find(|entry| entry.is_host() && entry.covers(source)).map(|entry| entry.until)
    }

    fn never(&self, source: Source, now: u64) -> bool {
        self.nevers.iter().any(|entry| !entry.is_host() && entry.covers(source) && entry.until > now)
    }

    fn is_protected(&self, port: u16) -> bool {
        port == self.port
    }

    fn spend_courtesy(&self, entry: Self::Entry, until: u64) -> bool {
        let left = entry.courtesy.get();
        if left > 0 {
            entry.courtesy.set(left - 1);
            entry.grace_until.set(until);
        }
        left > 0
    }
}

fn found(entry: &Entry) -> Found<&Entry> {
    Found { until: entry.until, grace_until: entry.grace_until.get(), entry }
}
