//! One list as the kernel keeps it: hosts and IPv4 prefixes in tables, IPv6 prefixes in a trie, and a gate in front of them.
//!
//! The block list and the never-block list have the same shape and differ in their values. A list only knows its
//! maps; in which order they and the gate are written is the business of [`super::Filter`].

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, IterableMap as _, MapData, MapError};
use filter_common::abi::{PrefixV6, host};
use filter_common::gate::{self, Near};
use filter_common::judge::{Around, walk};
use filter_common::packet::Source;
use filter_common::prefixes::{self, Search};
use ipnet::IpNet;

use super::KernelError;
use super::batch;
use super::column::Column;
use super::maps::{Names, pinned, source};
use super::table::Table;

/// The open maps of a list.
pub(super) struct List<V: Pod> {
    pub(super) names: &'static Names,
    pub(super) hosts_v4: Table<V>,
    pub(super) scopes_v6: Table<V>,
    pub(super) prefixes_v4: Table<V>,
    pub(super) lengths_v4: Array<MapData, u64>,
    pub(super) prefixes_v6: LpmTrie<MapData, PrefixV6, V>,
    pub(super) gate: Array<MapData, u64>,
}

impl<V: Pod> List<V> {
    /// Opens the pins; sizes that are not those of the types are another layout.
    pub(super) fn open(
        directory: &Path,
        names: &'static Names,
        seed: u64,
        [hosts_v4, scopes_v6, prefixes]: [u32; 3],
    ) -> Result<Self, KernelError> {
        Ok(Self {
            names,
            hosts_v4: Table::open(directory, &names.hosts_v4, seed, hosts_v4)?,
            scopes_v6: Table::open(directory, &names.scopes_v6, seed, scopes_v6)?,
            prefixes_v4: Table::open(directory, &names.prefixes_v4, seed, prefixes)?,
            lengths_v4: pinned(directory, names.lengths_v4)?,
            prefixes_v6: pinned(directory, names.prefixes_v6)?,
            gate: pinned(directory, names.gate)?,
        })
    }

    /// Makes the tables what their one writer expects.
    pub(super) fn settle(&mut self) {
        self.hosts_v4.settle();
        self.scopes_v6.settle();
        self.prefixes_v4.settle();
    }

    /// What the gate says about a source.
    pub(super) fn near(&self, source: Source, key: gate::Key, classes: u32) -> Near {
        let word = |index| self.gate.get(&index, 0).unwrap_or(0);
        gate::near(&gate::View { key, classes, word }, source)
    }

    /// The value for exactly this host or /64.
    pub(super) fn host(&self, source: Source) -> Option<V> {
        match source {
            Source::V4(_) => self.hosts_v4.get(host(source)),
            Source::V6(_) => self.scopes_v6.get(host(source)),
        }
    }

    /// The prefixes around a source.
    pub(super) fn around(&self, source: Source, now: u64) -> Around<V>
    where
        V: Entry,
    {
        match source {
            Source::V4(address) => {
                let address = u32::from_be_bytes(address);
                let mut search = Search::new(address, self.lengths(address));
                while search.step(|key| Some(self.prefixes_v4.get(key)?.until() <= now)) {}
                match search.end() {
                    Around::Live(key) => self.prefixes_v4.get(key).map_or(Around::Ended, Around::Live),
                    Around::Ended => Around::Ended,
                    Around::Nothing => Around::Nothing,
                }
            }
            Source::V6(address) => walk(128, now, |longest| {
                let value = self.longest_v6(address, longest)?;
                Some((value, value.until(), value.prefix_len()))
            }),
        }
    }

    /// The lengths of the IPv4 prefixes around an address, each as its bit.
    fn lengths(&self, address: u32) -> u32 {
        prefixes::lengths(address, |word| self.lengths_v4.get(&word, 0).unwrap_or(0))
    }

    /// The longest IPv6 prefix of at most this length around an address. A lookup that fails is the same as no entry: the
    /// kernel, too, passes what it cannot look up.
    fn longest_v6(&self, address: [u8; 16], longest: u32) -> Option<V> {
        self.prefixes_v6.get(&Key::new(longest, address), 0).ok()
    }

    /// The value for exactly this network.
    pub(super) fn exact(&self, network: &IpNet) -> Option<V>
    where
        V: Entry,
    {
        // A trie answers with the longest match; only an entry of the same length is the same entry.
        let same = |value: &V| value.prefix_len() == u32::from(network.prefix_len());
        match MapKey::of(network) {
            MapKey::HostV4(host) => self.hosts_v4.get(host),
            MapKey::ScopeV6(host) => self.scopes_v6.get(host),
            MapKey::PrefixV4(key) => self.prefixes_v4.get(key),
            MapKey::PrefixV6(key) => self.prefixes_v6.get(&key, 0).ok().filter(same),
        }
    }

    /// Puts an entry in, in place of the one for exactly this network.
    pub(super) fn insert(&mut self, network: &IpNet, value: V) -> Result<(), KernelError> {
        let fault = |error| KernelError::map(self.names.prefixes_v6, error);
        match MapKey::of(network) {
            MapKey::HostV4(host) => self.hosts_v4.insert(host, value),
            MapKey::ScopeV6(host) => self.scopes_v6.insert(host, value),
            MapKey::PrefixV4(key) => self.prefixes_v4.insert(key, value),
            MapKey::PrefixV6(key) => self.prefixes_v6.insert(&key, value, 0).map_err(fault),
        }
    }

    /// Takes the entry for exactly this network out; if there is none, that is as well.
    pub(super) fn remove(&mut self, network: &IpNet) -> Result<(), KernelError> {
        match MapKey::of(network) {
            MapKey::HostV4(host) => self.hosts_v4.remove(host),
            MapKey::ScopeV6(host) => self.scopes_v6.remove(host),
            MapKey::PrefixV4(key) => self.prefixes_v4.remove(key),
            MapKey::PrefixV6(key) => return removed(self.prefixes_v6.remove(&key), self.names.prefixes_v6),
        }
        Ok(())
    }

    /// Puts many entries in; those that the kernel does not take are named with the reason.
    pub(super) fn insert_all(&mut self, entries: &[(IpNet, V)]) -> Vec<(IpNet, KernelError)> {
        self.reserve(entries);
        let mut prefixes = Column::default();
        let mut failures = Vec::new();
        let mut singly = |list: &mut Self, network: IpNet, value| {
            failures.extend(list.insert(&network, value).err().map(|error| (network, error)));
        };
        for (network, value) in entries {
            match MapKey::of(network) {
                MapKey::PrefixV6(key) if entries.len() > 1 => prefixes.push(*network, key, *value),
                _ => singly(self, *network, *value),
            }
        }
        let map = self.prefixes_v6.map().fd().as_fd();
        for (network, value) in prefixes.rest(|keys, values| batch::update(map, keys, values)) {
            singly(self, network, value);
        }
        failures
    }

    /// Lets the tables grow once for many entries.
    fn reserve(&mut self, entries: &[(IpNet, V)]) {
        let (mut hosts_v4, mut scopes_v6, mut prefixes_v4) = (0, 0, 0);
        for (network, _) in entries {
            match MapKey::of(network) {
                MapKey::HostV4(_) => hosts_v4 += 1,
                MapKey::ScopeV6(_) => scopes_v6 += 1,
                MapKey::PrefixV4(_) => prefixes_v4 += 1,
                MapKey::PrefixV6(_) => {}
            }
        }
        self.hosts_v4.reserve(hosts_v4);
        self.scopes_v6.reserve(scopes_v6);
        self.prefixes_v4.reserve(prefixes_v4);
    }

    /// Takes many entries out; those that the kernel keeps are named with the reason.
    pub(super) fn remove_all(&mut self, networks: &[IpNet]) -> Vec<(IpNet, KernelError)> {
        let mut prefixes = Column::default();
        for network in networks {
            match MapKey::of(network) {
                MapKey::HostV4(host) => self.hosts_v4.remove(host),
                MapKey::ScopeV6(host) => self.scopes_v6.remove(host),
                MapKey::PrefixV4(key) => self.prefixes_v4.remove(key),
                MapKey::PrefixV6(key) => prefixes.push(*network, key, ()),
            }
        }
        let map = self.prefixes_v6.map().fd().as_fd();
        let rest = prefixes.rest(|keys, _| batch::delete(map, keys));
        let singly = rest.into_iter().map(|(network, ())| (network, self.remove(&network)));
        singly.filter_map(|(network, result)| Some((network, result.err()?))).collect()
    }

    /// Every entry, in the order of networks.
    pub(super) fn entries(&self) -> Result<Vec<(IpNet, V)>, KernelError>
    where
        V: Entry,
    {
        let v4 = |(key, value): (u64, V)| {
            let [.., a, b, c, d] = key.to_be_bytes();
            (network(IpAddr::from([a, b, c, d]), value.prefix_len()), value)
        };
        let v6 = |(key, value)| (network(IpAddr::from((u128::from(key) << 64).to_be_bytes()), 64), value);
        let hosts = self.hosts_v4.entries().chain(self.prefixes_v4.entries()).map(v4);
        let mut all: Vec<_> = hosts.chain(self.scopes_v6.entries().map(v6)).collect();
        for (key, value) in present(self.prefixes_v6.iter(), self.names.prefixes_v6)? {
            all.push((network(IpAddr::from(key.data()), key.prefix_len()), value));
        }
        all.sort_by_key(|(network, _)| *network);
        // Whoever only reads may come while a table grows and some entries are in two places.
        all.dedup_by_key(|(network, _)| *network);
        Ok(all)
    }

    /// Every entry that covers an address, the longest prefix first.
    pub(super) fn covering(&self, address: IpAddr) -> Vec<(IpNet, V)>
    where
        V: Entry,
    {
        let source = source(address);
        let mut found: Vec<V> = self.host(source).into_iter().collect();
        match source {
            Source::V4(address) => {
                let address = u32::from_be_bytes(address);
                let lengths = self.lengths(address);
                let bits = (0..u32::BITS).map(|place| lengths & 1 << place).filter(|bit| *bit != 0);
                found.extend(bits.filter_map(|bit| self.prefixes_v4.get(prefixes::key(address, bit))));
            }
            Source::V6(address) => {
                let mut longest = Some(128);
                while let Some(value) = longest.and_then(|longest| self.longest_v6(address, longest)) {
                    longest = value.prefix_len().checked_sub(1);
                    found.push(value);
                }
            }
        }
        found.sort_by_key(|value| std::cmp::Reverse(value.prefix_len()));
        found.into_iter().map(|value| (network(address, value.prefix_len()).trunc(), value)).collect()
    }
}

/// What both kinds of entries have.
pub(super) trait Entry: Copy {
    /// When it ends, in nanoseconds of the boot clock.
    fn until(&self) -> u64;
    /// Its prefix length.
    fn prefix_len(&self) -> u32;
}

/// Where the entry of a network is kept.
pub(super) enum MapKey {
    HostV4(u64),
    ScopeV6(u64),
    PrefixV4(u64),
    PrefixV6(Key<PrefixV6>),
}

impl MapKey {
    pub(super) fn of(network: &IpNet) -> Self {
        let length = network.prefix_len().into();
        match network.addr() {
            IpAddr::V4(_) if length == 32 => Self::HostV4(host(source(network.addr()))),
            IpAddr::V6(_) if length == 64 => Self::ScopeV6(host(source(network.addr()))),
            IpAddr::V4(address) => Self::PrefixV4(prefixes::key(address.into(), prefixes::bit(length))),
            IpAddr::V6(address) => Self::PrefixV6(Key::new(length, address.octets())),
        }
    }
}

/// Entries of an iterator; those that vanish meanwhile are skipped.
fn present<K: Pod, V>(
    entries: impl Iterator<Item = Result<(K, V), MapError>>,
    map: &'static str,
) -> Result<Vec<(K, V)>, KernelError> {
    let entries = entries.filter(|entry| !matches!(entry, Err(MapError::KeyNotFound)));
    entries.collect::<Result<_, _>>().map_err(|error| KernelError::map(map, error))
}

/// A length from the kernel is never longer than its family's; if it were, the address alone is meant.
fn network(address: IpAddr, length: u32) -> IpNet {
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    IpNet::new(address, length).unwrap_or_else(|_| IpNet::from(address))
}

/// Removing what is not there is no error: both ways end in the same state.
fn removed(result: Result<(), MapError>, map: &'static str) -> Result<(), KernelError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(error) => match super::error::deepest_io_error(&error).and_then(std::io::Error::raw_os_error) {
            Some(code) if code == nix::libc::ENOENT => Ok(()),
            _ => Err(KernelError::map(map, error)),
        },
    }
}
