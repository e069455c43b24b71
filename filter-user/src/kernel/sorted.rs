//! Many entries, sorted by the maps that they are kept in, as batch calls want them.
//!
//! The kernel takes most of the time of a large batch, and takes it for each caller on its own: so a feed goes in by
//! several lanes at once. Entries of one network always go by the same lane, in their order.

use std::net::IpAddr;
use std::thread;

use aya::maps::lpm_trie::Key;
use filter_common::abi::{HostV4, PrefixV4, PrefixV6, ScopeV6};
use ipnet::IpNet;

use super::list::MapKey;

/// Entries from which on a second lane is worth its thread.
const WORTH_LANES: usize = 1 << 16;
/// Lanes at most: beyond it they only wait for each other's memory.
const LANES: usize = 4;

/// Entries of one lane.
pub(super) struct Sorted<V> {
    pub(super) hosts_v4: Column<HostV4, V>,
    pub(super) scopes_v6: Column<ScopeV6, V>,
    pub(super) prefixes_v4: Column<Key<PrefixV4>, V>,
    pub(super) prefixes_v6: Column<Key<PrefixV6>, V>,
}

/// Entries of one map.
pub(super) struct Column<K, V> {
    networks: Vec<IpNet>,
    keys: Vec<K>,
    values: Vec<V>,
}

/// Sorts entries into lanes and does the same with each; what a lane leaves undone is returned.
pub(super) fn run<V: Copy + Send + Sync>(
    entries: &[(IpNet, V)],
    lane: impl Fn(Sorted<V>) -> Vec<(IpNet, V)> + Sync,
) -> Vec<(IpNet, V)> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let count = if entries.len() < WORTH_LANES { 1 } else { cores.min(LANES) };
    let mut lanes: Vec<_> = (0..count).map(|_| Sorted::default()).collect();
    for (network, value) in entries {
        let last = match network.addr() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[7],
        };
        lanes[usize::from(last) % count].push(*network, *value);
    }
    if count == 1 {
        return lanes.pop().map_or_else(Vec::new, lane);
    }
    let lane = &lane;
    thread::scope(|scope| {
        let threads: Vec<_> = lanes.into_iter().map(|sorted| scope.spawn(move || lane(sorted))).collect();
        // A lane only makes system calls; should it panic all the same, so do we.
        let done = threads.into_iter().map(thread::ScopedJoinHandle::join);
        done.flat_map(|rest| rest.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

impl<V> Default for Sorted<V> {
    fn default() -> Self {
        Self {
            hosts_v4: Column::default(),
            scopes_v6: Column::default(),
            prefixes_v4: Column::default(),
            prefixes_v6: Column::default(),
        }
    }
}

impl<V: Copy> Sorted<V> {
    fn push(&mut self, network: IpNet, value: V) {
        match MapKey::of(&network) {
            MapKey::HostV4(key) => self.hosts_v4.push(network, key, value),
            MapKey::ScopeV6(key) => self.scopes_v6.push(network, key, value),
            MapKey::PrefixV4(key) => self.prefixes_v4.push(network, key, value),
            MapKey::PrefixV6(key) => self.prefixes_v6.push(network, key, value),
        }
    }
}

impl<K, V> Default for Column<K, V> {
    fn default() -> Self {
        Self { networks: Vec::new(), keys: Vec::new(), values: Vec::new() }
    }
}

impl<K, V: Copy> Column<K, V> {
    fn push(&mut self, network: IpNet, key: K, value: V) {
        self.networks.push(network);
        self.keys.push(key);
        self.values.push(value);
    }

    /// Runs a batch call, and returns what it left undone.
    pub(super) fn rest(&self, call: impl FnOnce(&[K], &[V]) -> usize) -> Vec<(IpNet, V)> {
        let done = if self.keys.is_empty() { 0 } else { call(&self.keys, &self.values) };
        self.networks.iter().copied().zip(self.values.iter().copied()).skip(done).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_goes_by_one_lane_and_those_of_one_network_in_their_order() {
        let network = |number: u32| IpNet::from(IpAddr::from((number % 50_000).to_be_bytes()));
        let entries: Vec<_> = (0..100_000).map(|number| (network(number), number)).collect();
        let mut undone = run(&entries, |sorted| {
            let order: Vec<_> = sorted.hosts_v4.networks.iter().zip(&sorted.hosts_v4.values).collect();
            assert!(order.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1));
            sorted.hosts_v4.rest(|keys, _| keys.len() / 2)
        });
        assert!(undone.len() >= 50_000 && undone.len() <= 50_000 + LANES, "{}", undone.len());
        undone.sort_by_key(|(_, number)| *number);
        undone.dedup();
        assert!(undone.len() >= 50_000, "an entry was given to two lanes");
        assert!(run(&entries, |_| Vec::new()).is_empty());
    }
}
