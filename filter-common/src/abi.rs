//! The layout of the maps: what user space writes and the kernel reads, byte for byte.
//!
//! Addresses are in network order, times are nanoseconds of the boot clock. No type has padding: padding is memory
//! that nobody wrote, and the kernel compares keys byte by byte.

use crate::gate;
use crate::packet::Source;
use crate::reason::Reason;
use crate::table::Slot;

/// Changes with every change of this file that old entries cannot be read with.
pub const LAYOUT_VERSION: u32 = 8;

/// A blocked host or prefix.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockEntry {
    /// When the block ends.
    pub until: u64,
    /// Until then only packets that open a connection are dropped.
    pub grace_until: u64,
    /// Packets dropped. Written by the kernel without a lock: under load from several CPUs some are not counted here.
    pub packets: u64,
    /// Bytes of those packets; of a jumbo frame in several buffers, the bytes of the first.
    pub bytes: u64,
    /// When the last of them came; 0: none did.
    pub last_drop: u64,
    /// Connections that may still come through to hear why. Written by the kernel, like the counters.
    pub courtesy: u32,
    /// Prefix length of this entry.
    pub prefix_len: u16,
    /// Where the block comes from, as user space numbers it.
    pub origin: u16,
}

/// A never-blocked network.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NeverEntry {
    /// When the exemption ends.
    pub until: u64,
    /// Prefix length of this entry.
    pub prefix_len: u32,
    /// 1 if Gatepost made the entry itself.
    pub built_in: u32,
}

/// An IPv6 address as the data of a prefix key.
pub type PrefixV6 = [u8; 16];

/// What the filter does with packets; [`Settings::mode`].
pub mod mode {
    /// Everything is judged and counted, and passes. Zero, so that maps that nobody has written to drop nothing.
    pub const OBSERVE: u32 = 0;
    /// Packets are dropped.
    pub const ENFORCE: u32 = 1;
}

/// The one entry of the settings map.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`LAYOUT_VERSION`] of whoever made the maps.
    pub layout_version: u32,
    /// One of [`mode`].
    pub mode: u32,
    /// 1: drop everything of a blocked source, not only TCP to the protected ports.
    pub drop_all: u32,
    /// Classes of the block list's gate that are in use, as bits; see [`gate::Gate`].
    pub block_classes: u32,
    /// The same for the never-block list.
    pub never_classes: u32,
    /// Words of the block list's gate.
    pub words: u32,
    /// The secret of gates and tables, odd; drawn when the maps are made, and theirs as long as they live.
    pub seed: u64,
    /// Blocked IPv4 addresses at most.
    pub hosts_v4: u32,
    /// Blocked IPv6 /64 networks at most.
    pub scopes_v6: u32,
    /// Blocked prefixes of each family at most.
    pub prefixes: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

impl Settings {
    /// What the block list's gate is written by.
    pub const fn block_gate(&self) -> gate::Key {
        gate::Key { seed: self.seed, words: self.words }
    }

    /// What the never-block list's gate is written by.
    pub const fn never_gate(&self) -> gate::Key {
        gate::Key { seed: self.seed, words: gate::NEVER_WORDS }
    }
}

/// What one CPU knows of the present tick, so that neither the clock nor the ring buffer is asked for each packet.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tick {
    /// The kernel's count of ticks, when this was written.
    pub jiffies: u64,
    /// The boot clock at that moment, in nanoseconds.
    pub boot: u64,
    /// Drops that may still be reported during this tick.
    pub reports_left: u64,
}

/// A drop as the ring buffer tells it: the first of an entry, and then ever fewer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DropReport {
    /// When, in nanoseconds of the boot clock.
    pub at: u64,
    /// Packets that the entry has dropped so far, with this one.
    pub packets: u64,
    /// Who sent it; an IPv4 address stands in the first four bytes.
    pub source: [u8; 16],
    /// 4 or 6.
    pub family: u16,
    /// Prefix length of the entry that dropped it.
    pub prefix_len: u16,
    /// The port that it went to; 0 if that is not known.
    pub port: u16,
    /// Keeps the size a multiple of eight.
    pub reserved: u16,
}

/// One counter of one CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
}

/// Counters per CPU.
#[expect(clippy::cast_possible_truncation, reason = "there are twelve")]
pub const COUNTERS: u32 = Reason::ALL.len() as u32;

const _: () = assert!(size_of::<BlockEntry>() == 48 && size_of::<NeverEntry>() == 16);
const _: () = assert!(size_of::<Settings>() == 48 && size_of::<Counter>() == 16);
const _: () = assert!(size_of::<Slot<BlockEntry>>() == 64 && size_of::<Slot<NeverEntry>>() == 32);
const _: () = assert!(size_of::<Tick>() == 24 && size_of::<DropReport>() == 40);

/// What a source is called in its family's table of hosts: an IPv4 address, or the /64 that an IPv6 address lies in.
#[inline(always)]
pub const fn host(source: Source) -> u64 {
    match source {
        Source::V4(address) => u32::from_be_bytes(address) as u64,
        Source::V6(address) => gate::upper(address),
    }
}

/// The word of the port bitmap that holds a port, and how far its bit is shifted there.
#[inline(always)]
pub const fn port_bit(port: u16) -> (u32, u32) {
    ((port >> 6) as u32, (port & 63) as u32)
}

#[cfg(feature = "user")]
mod user {
    use super::{BlockEntry, Counter, NeverEntry, Settings, Slot};

    // SAFETY: all are `repr(C)`, made of integers only, and the size assertions above show that they have no
    // padding, so every bit pattern is a value and every byte of a value is written.
    unsafe impl aya::Pod for BlockEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for NeverEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Settings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Counter {}
    // SAFETY: as above, for the two values that there are; their slots' sizes are asserted, too.
    unsafe impl<V: aya::Pod> aya::Pod for Slot<V> {}
}
