//! The layout of the maps: what user space writes and the kernel reads, byte for byte.
//!
//! Addresses are in network order, times are nanoseconds of the boot clock. No type has padding: padding is memory
//! that nobody wrote, and the kernel compares keys byte by byte.

use crate::reason::Reason;

/// Changes with every change of this file that old entries cannot be read with.
pub const LAYOUT_VERSION: u32 = 1;

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
    /// Bytes of those packets.
    pub bytes: u64,
    /// When the last of them came; 0: none did.
    pub last_drop: u64,
    /// Prefix length of this entry, for a lookup behind it.
    pub prefix_len: u32,
    /// Where the block comes from, as user space numbers it.
    pub origin: u32,
}

/// A never-blocked network.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NeverEntry {
    /// When the exemption ends.
    pub until: u64,
    /// Prefix length of this entry, for a lookup behind it.
    pub prefix_len: u32,
    /// 1 if Gatepost made the entry itself.
    pub built_in: u32,
}

/// An IPv4 address as the data of a prefix key. The four bytes behind it are zero and no prefix reaches them: they
/// put the value behind the key on an eight-byte boundary, where its counters can be written whole.
pub type PrefixV4 = [u8; 8];
/// An IPv6 address as the data of a prefix key.
pub type PrefixV6 = [u8; 16];
/// An IPv4 address as a key.
pub type HostV4 = [u8; 4];
/// The first eight bytes of an IPv6 address as a key: its /64.
pub type ScopeV6 = [u8; 8];

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
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
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
#[expect(clippy::cast_possible_truncation, reason = "there are eleven")]
pub const COUNTERS: u32 = Reason::ALL.len() as u32;

const _: () = assert!(size_of::<BlockEntry>() == 48 && size_of::<NeverEntry>() == 16);
const _: () = assert!(size_of::<Settings>() == 16 && size_of::<Counter>() == 16);

/// The data of an IPv4 prefix key.
#[inline(always)]
pub const fn prefix_v4(address: HostV4) -> PrefixV4 {
    let [a, b, c, d] = address;
    [a, b, c, d, 0, 0, 0, 0]
}

/// The /64 that an IPv6 address lies in.
#[inline(always)]
pub const fn scope_v6(address: [u8; 16]) -> ScopeV6 {
    // The upper half of the number is the network half of the address.
    ((u128::from_be_bytes(address) >> 64) as u64).to_be_bytes()
}

/// The word of the port bitmap that holds a port, and its bit there.
#[inline(always)]
pub const fn port_bit(port: u16) -> (u32, u64) {
    ((port >> 6) as u32, 1 << (port & 63))
}

#[cfg(feature = "user")]
mod user {
    use super::{BlockEntry, Counter, NeverEntry, Settings};

    // SAFETY: all four are `repr(C)`, made of integers only, and the size assertions above show that they have no
    // padding, so every bit pattern is a value and every byte of a value is written.
    unsafe impl aya::Pod for BlockEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for NeverEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Settings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Counter {}
}
