//! One list as the kernel keeps it: exact hosts in tables, everything else in tries, and a gate in front of them.
//!
//! The block list and the never-block list have the same shape and differ in their values. A list only knows its
//! maps; in which order they and the gate are written is the business of [`super::Filter`].

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, IterableMap as _, MapData, MapError};
use filter_common::abi::{PrefixV4, PrefixV6, host, prefix_v4};
use filter_common::gate::{self, Near};
use filter_common::packet::Source;
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
    pub(super) prefixes_v4: LpmTrie<MapData, PrefixV4, V>,
    pub(super) prefixes_v6: LpmTrie<MapData, PrefixV6, V>,
    pub(super) gate: Array<MapData, u64>,
}

impl<V: Pod> List<V> {
    /// Opens the pins; sizes that are not those of the types are another layout.
    pub(super) fn open(
        directory: &Path,
        names: &'static Names,
        seed: u64,
        [hosts_v4, scopes_v6]: [u32; 2],
    ) -> Result<Self, KernelError> {
        Ok(Self {
            names,
            hosts_v4: Table::open(directory, &names.hosts_v4, seed, hosts_v4)?,
            scopes_v6: Table::open(directory, &names.scopes_v6, seed, scopes_v6)?,
            prefixes_v4: pinned(directory, names.prefixes_v4)?,
            prefixes_v6: pinned(directory, names.prefixes_v6)?,
            gate: pinned(directory, names.gate)?,
        })
    }

    /// What the gate says about a source.
    pub(super) fn near(&self, source: Source, key: gate::Key) -> Near {
        gate::near(source, key.words, || key, |index| self.gate.get(&index, 0).unwrap_or(0))
    }

    /// The value for exactly this host or /64.
    pub(super) fn host(&self, source: Source) -> Option<V> {
        match source {
            Source::V4(_) => self.hosts_v4.get(host(source)),
            Source::V6(_) => self.scopes_v6.get(host(source)),
        }
    }

    /// The value of the longest prefix of at most this length around a source.
    pub(super) fn prefix(&self, source: Source, longest: u32) -> Option<V> {
        // A lookup that fails is the same as no entry: the kernel, too, passes what it cannot look up.
        match source {
            Source::V4(address) => self.prefixes_v4.get(&Key::new(longest, prefix_v4(address)), 0).ok(),
            Source::V6(address) => self.prefixes_v6.get(&Key::new(longest, address), 0).ok(),
        }
    }

    /// The value for exactly this network.
    pub(super) fn exact(&self, network: &IpNet) -> Option<V>
    where
        V: HasLength,
    {
        // A trie answers with the longest match; only an entry of the same length is the same entry.
        let same = |value: &V| value.prefix_len() == u32::from(network.prefix_len());
        match MapKey::of(network) {
            MapKey::HostV4(host) => self.hosts_v4.get(host),
            MapKey::ScopeV6(host) => self.scopes_v6.get(host),
            MapKey::PrefixV4(key) => self.prefixes_v4.get(&key, 0).ok().filter(same),
            MapKey::PrefixV6(key) => self.prefixes_v6.get(&key, 0).ok().filter(same),
        }
    }

    /// Puts an entry in, in place of the one for exactly this network.
    pub(super) fn insert(&mut self, network: &IpNet, value: V) -> Result<(), KernelError> {
        let fault = |name| move |error| KernelError::map(name, error);
        match MapKey::of(network) {
            MapKey::HostV4(host) => self.hosts_v4.insert(host, value),
            MapKey::ScopeV6(host) => self.scopes_v6.insert(host, value),
            MapKey::PrefixV4(key) => {
                self.prefixes_v4.insert(&key, value, 0).map_err(fault(self.names.prefixes_v4))
            }
            MapKey::PrefixV6(key) => {
                self.prefixes_v6.insert(&key, value, 0).map_err(fault(self.names.prefixes_v6))
            }
        }
    }

    /// Takes the entry for exactly this network out; if there is none, that is as well.
    pub(super) fn remove(&mut self, network: &IpNet) -> Result<(), KernelError> {
        match MapKey::of(network) {
            MapKey::HostV4(host) => self.hosts_v4.remove(host),
            MapKey::ScopeV6(host) => self.scopes_v6.remove(host),
            MapKey::PrefixV4(key) => return removed(self.prefixes_v4.remove(&key), self.names.prefixes_v4),
            MapKey::PrefixV6(key) => return removed(self.prefixes_v6.remove(&key), self.names.prefixes_v6),
        }
        Ok(())
    }

    /// Puts many entries in; those that the kernel does not take are named with the reason.
    pub(super) fn insert_all(&mut self, entries: &[(IpNet, V)]) -> Vec<(IpNet, KernelError)> {
        let (mut prefixes_v4, mut prefixes_v6) = (Column::default(), Column::default());
        let mut failures = Vec::new();
        let mut singly = |list: &mut Self, network: IpNet, value| {
            failures.extend(list.insert(&network, value).err().map(|error| (network, error)));
        };
        for (network, value) in entries {
            match MapKey::of(network) {
                MapKey::PrefixV4(key) if entries.len() > 1 => prefixes_v4.push(*network, key, *value),
                MapKey::PrefixV6(key) if entries.len() > 1 => prefixes_v6.push(*network, key, *value),
                _ => singly(self, *network, *value),
            }
        }
        let (v4, v6) = (self.prefixes_v4.map().fd().as_fd(), self.prefixes_v6.map().fd().as_fd());
        let rest = [
            prefixes_v4.rest(|keys, values| batch::update(v4, keys, values)),
            prefixes_v6.rest(|keys, values| batch::update(v6, keys, values)),
        ];
        for (network, value) in rest.concat() {
            singly(self, network, value);
        }
        failures
    }

    /// Takes many entries out; those that the kernel keeps are named with the reason.
    pub(super) fn remove_all(&mut self, networks: &[IpNet]) -> Vec<(IpNet, KernelError)> {
        let (mut prefixes_v4, mut prefixes_v6) = (Column::default(), Column::default());
        for network in networks {
            match MapKey::of(network) {
                MapKey::HostV4(host) => self.hosts_v4.remove(host),
                MapKey::ScopeV6(host) => self.scopes_v6.remove(host),
                MapKey::PrefixV4(key) => prefixes_v4.push(*network, key, ()),
                MapKey::PrefixV6(key) => prefixes_v6.push(*network, key, ()),
            }
        }
        let (v4, v6) = (self.prefixes_v4.map().fd().as_fd(), self.prefixes_v6.map().fd().as_fd());
        let rest = [
            prefixes_v4.rest(|keys, _| batch::delete(v4, keys)),
            prefixes_v6.rest(|keys, _| batch::delete(v6, keys)),
        ];
        let singly = rest.concat().into_iter().map(|(network, ())| (network, self.remove(&network)));
        singly.filter_map(|(network, result)| Some((network, result.err()?))).collect()
    }

    /// Every entry, in the order of networks.
    pub(super) fn entries(&self) -> Result<Vec<(IpNet, V)>, KernelError> {
        let hosts_v4 = self.hosts_v4.entries().map(|(host, value)| {
            let [.., a, b, c, d] = host.to_be_bytes();
            (network(IpAddr::from([a, b, c, d]), 32), value)
        });
        let scopes_v6 = self
            .scopes_v6
            .entries()
            .map(|(host, value)| (network(IpAddr::from((u128::from(host) << 64).to_be_bytes()), 64), value));
        let mut all: Vec<_> = hosts_v4.chain(scopes_v6).collect();
        for (key, value) in present(self.prefixes_v4.iter(), self.names.prefixes_v4)? {
            let [a, b, c, d, ..] = key.data();
            all.push((network(IpAddr::from([a, b, c, d]), key.prefix_len()), value));
        }
        for (key, value) in present(self.prefixes_v6.iter(), self.names.prefixes_v6)? {
            all.push((network(IpAddr::from(key.data()), key.prefix_len()), value));
        }
        all.sort_by_key(|(network, _)| *network);
        Ok(all)
    }
}

/// An entry's own prefix length, for a walk from one prefix to the next shorter one.
pub(super) trait HasLength {
    /// The length.
    fn prefix_len(&self) -> u32;
}

impl<V: Pod + HasLength> List<V> {
    /// Every entry that covers an address, the longest prefix first.
    pub(super) fn covering(&self, address: IpAddr) -> Vec<(IpNet, V)> {
        let (source, width) = (source(address), if address.is_ipv4() { 32 } else { 128 });
        let mut found: Vec<_> =
            self.host(source).map(|value| (if width == 32 { 32 } else { 64 }, value)).into_iter().collect();
        let mut longest = Some(width);
        while let Some(value) = longest.and_then(|longest| self.prefix(source, longest)) {
            longest = value.prefix_len().checked_sub(1);
            found.push((value.prefix_len(), value));
        }
        found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        found.into_iter().map(|(length, value)| (network(address, length).trunc(), value)).collect()
    }
}

/// Where the entry of a network is kept.
pub(super) enum MapKey {
    HostV4(u64),
    ScopeV6(u64),
    PrefixV4(Key<PrefixV4>),
    PrefixV6(Key<PrefixV6>),
}

impl MapKey {
    pub(super) fn of(network: &IpNet) -> Self {
        let length = network.prefix_len().into();
        match network.addr() {
            IpAddr::V4(_) if length == 32 => Self::HostV4(host(source(network.addr()))),
            IpAddr::V6(_) if length == 64 => Self::ScopeV6(host(source(network.addr()))),
            IpAddr::V4(address) => Self::PrefixV4(Key::new(length, prefix_v4(address.octets()))),
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
