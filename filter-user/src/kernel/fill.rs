//! How full the maps of a list are, counted as they are written: to count a million entries in the kernel takes a second.

use std::net::IpAddr;

use aya::Pod;
use aya::maps::IterableMap as _;
use ipnet::IpNet;

use super::KernelError;
use super::list::List;
use super::table::Table;

/// How full one map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Its name.
    pub map: &'static str,
    /// Entries in it.
    pub entries: u64,
    /// Entries at most.
    pub capacity: u32,
}

/// Entries of each of a list's maps: IPv4 addresses, IPv6 /64 networks, IPv4 prefixes, IPv6 prefixes.
pub(super) type Held = [u64; 4];

/// The place of a network in [`Held`].
pub(super) fn place(network: &IpNet) -> usize {
    match network.addr() {
        IpAddr::V4(_) if network.prefix_len() == 32 => 0,
        IpAddr::V6(_) if network.prefix_len() == 64 => 1,
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 3,
    }
}

/// The maps of a list, empty, with the room that they really have: those that were pinned before keep theirs.
pub(super) fn room<V: Pod>(list: &List<V>) -> Result<[Fill; 4], KernelError> {
    let table = |table: &Table<V>| Fill { map: table.names.slots, entries: 0, capacity: table.capacity() };
    let trie = list.names.prefixes_v6;
    let info = list.prefixes_v6.map().info().map_err(|error| KernelError::map(trie, error))?;
    Ok([
        table(&list.hosts_v4),
        table(&list.scopes_v6),
        table(&list.prefixes_v4),
        Fill { map: trie, entries: 0, capacity: info.max_entries() },
    ])
}

/// The same maps with what they hold.
pub(super) fn filled(room: &[Fill; 4], held: Held) -> impl Iterator<Item = Fill> {
    room.iter().zip(held).map(|(fill, entries)| Fill { entries, ..*fill })
}
