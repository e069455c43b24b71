//! A list of networks with an end to each: the shape of the block list and of the never-block list.
//!
//! Entries may lie inside each other. Each ends by itself at its own instant on the boot clock, the clock that the
//! kernel judges the same entry by, so that both forget it together.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;
use core::ops::Bound;

use hashbrown::HashSet;
use ipnet::IpNet;

use crate::time::Instant;

/// Entries by network; see the head of this module.
#[derive(Debug)]
pub struct NetMap<V> {
    entries: BTreeMap<IpNet, (Instant, V)>,
    /// The networks once more: most addresses are on no list, and a tree of a million says so slowly.
    networks: HashSet<IpNet>,
    ends: BTreeSet<(Instant, IpNet)>,
    /// How many entries there are of each prefix length, so that only lengths in use are looked up.
    v4_lengths: BTreeMap<u8, usize>,
    v6_lengths: BTreeMap<u8, usize>,
}

impl<V> NetMap<V> {
    /// A list with nothing in it.
    pub fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            networks: HashSet::new(),
            ends: BTreeSet::new(),
            v4_lengths: BTreeMap::new(),
            v6_lengths: BTreeMap::new(),
        }
    }

    /// Puts an entry in, in place of the one for exactly this network.
    pub fn insert(&mut self, network: IpNet, until: Instant, value: V) -> Option<V> {
        let old = self.remove(&network);
        *self.lengths(&network).entry(network.prefix_len()).or_default() += 1;
        self.ends.insert((until, network));
        self.networks.insert(network);
        self.entries.insert(network, (until, value));
        old
    }

    /// Takes the entry for exactly this network out.
    pub fn remove(&mut self, network: &IpNet) -> Option<V> {
        let (until, value) = self.entries.remove(network)?;
        self.ends.remove(&(until, *network));
        self.networks.remove(network);
        let lengths = self.lengths(network);
        if let Some(count) = lengths.get_mut(&network.prefix_len()) {
            *count -= 1;
            if *count == 0 {
                lengths.remove(&network.prefix_len());
            }
        }
        Some(value)
    }

    /// Takes out one entry that has ended.
    pub fn pop_ended(&mut self, now: Instant) -> Option<(IpNet, V)> {
        let (_, network) = *self.ends.first().filter(|(until, _)| *until <= now)?;
        self.remove(&network).map(|value| (network, value))
    }

    /// When the next entry ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// The entry for exactly this network, with its end.
    pub fn get(&self, network: &IpNet) -> Option<(Instant, &V)> {
        self.entries.get(network).map(|(until, value)| (*until, value))
    }

    /// The entries that cover an address and have not ended, the longest prefix first.
    pub fn covering(&self, address: IpAddr, now: Instant) -> impl Iterator<Item = &V> {
        let lengths = if address.is_ipv4() { &self.v4_lengths } else { &self.v6_lengths };
        lengths.keys().rev().filter_map(move |length| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            if !self.networks.contains(&network) {
                return None;
            }
            self.entries.get(&network).filter(|(until, _)| *until > now).map(|(_, value)| value)
        })
    }

    /// The entries that lie inside a network, that of exactly this network included, ended or not.
    pub fn within(&self, network: &IpNet) -> impl Iterator<Item = (&IpNet, &V)> {
        // Networks are ordered by address, then by length: those inside lie between the first and the last address.
        let first = IpNet::new(network.network(), 0).unwrap_or(*network);
        let last = IpNet::from(network.broadcast());
        let network = *network;
        let inside = self.entries.range(first..=last).filter(move |(other, _)| network.contains(*other));
        inside.map(|(other, (_, value))| (other, value))
    }

    /// All entries with their ends, in the order of their networks.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, Instant, &V)> {
        self.entries.iter().map(|(network, (until, value))| (network, *until, value))
    }

    /// The entries behind a network, or all, in the order of their networks.
    pub fn after(&self, network: Option<IpNet>) -> impl Iterator<Item = (&IpNet, &V)> {
        let from = network.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(network, (_, value))| (network, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    const fn lengths(&mut self, network: &IpNet) -> &mut BTreeMap<u8, usize> {
        match network {
            IpNet::V4(_) => &mut self.v4_lengths,
            IpNet::V6(_) => &mut self.v6_lengths,
        }
    }
}

impl<V> Default for NetMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn nested_entries_are_found_longest_first_and_end_one_by_one() {
        let mut map = NetMap::new();
        map.insert(net("10.0.0.0/8"), at(30), 8);
        map.insert(net("10.1.0.0/16"), at(10), 16);
        map.insert(net("10.1.2.3/32"), at(20), 32);
        let covering =
            |map: &NetMap<i32>, now| map.covering([10, 1, 2, 3].into(), at(now)).copied().collect::<Vec<_>>();
        assert_eq!(covering(&map, 0), [32, 16, 8]);
        assert_eq!(covering(&map, 10), [32, 8], "an entry ends at its instant");
        assert_eq!(map.pop_ended(at(9)), None);
        assert_eq!(map.pop_ended(at(15)), Some((net("10.1.0.0/16"), 16)));
        assert_eq!(map.next_end(), Some(at(20)));
        assert_eq!(map.remove(&net("10.0.0.0/8")), Some(8));
        assert_eq!(covering(&map, 15), [32]);
        assert_eq!((map.v4_lengths.len(), map.networks.len()), (1, 1));
    }

    #[test]
    fn what_lies_inside_a_network_is_found_whatever_lies_beside_it() {
        let mut map = NetMap::new();
        let inside = ["10.1.0.0/16", "10.1.0.0/32", "10.1.255.255/32", "10.1.128.0/17"];
        for network in inside.iter().chain(&[
            "10.0.0.0/8",
            "10.0.255.255/32",
            "10.2.0.0/32",
            "0.0.0.0/0",
            "2001:db8::/32",
        ]) {
            map.insert(net(network), at(1), ());
        }
        let mut found: Vec<_> = map.within(&net("10.1.0.0/16")).map(|(network, ())| *network).collect();
        let mut wanted = inside.map(net).to_vec();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        assert_eq!(map.within(&net("::/0")).count(), 1);
    }

    #[test]
    fn the_same_network_has_one_entry() {
        let mut map = NetMap::new();
        map.insert(net("10.0.0.0/8"), at(30), 1);
        assert_eq!(map.insert(net("10.0.0.0/8"), at(10), 2), Some(1));
        assert_eq!((map.len(), map.next_end()), (1, Some(at(10))));
        assert_eq!(map.v4_lengths[&8], 1);
    }
}
