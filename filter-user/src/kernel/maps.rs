//! The pinned maps, with their types; the judge can ask them as it asks the kernel's.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use filter_common::abi::{
    BlockEntry, Counter, HostV4, LAYOUT_VERSION, NeverEntry, PrefixV4, PrefixV6, ScopeV6, Settings, port_bit,
    prefix_v4, scope_v6,
};
use filter_common::judge::{Exempt, Found, Tables};
use filter_common::packet::Source;
use nix::sys::statfs::statfs;

use super::KernelError;
use crate::clock;

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPFFS: i64 = 0xcafe_4a11;

/// Whether a path, or the nearest directory above it that exists, is on a BPF file system.
pub(super) fn is_on_bpffs(path: &Path) -> bool {
    let existing = path.ancestors().find(|path| path.exists());
    existing.is_some_and(|path| statfs(path).is_ok_and(|info| info.filesystem_type().0 == BPFFS))
}

/// All maps of the filter; the fields bear the names of the pins.
pub(super) struct Maps {
    pub(super) block_hosts_v4: HashMap<MapData, HostV4, BlockEntry>,
    pub(super) block_scopes_v6: HashMap<MapData, ScopeV6, BlockEntry>,
    pub(super) block_prefixes_v4: LpmTrie<MapData, PrefixV4, BlockEntry>,
    pub(super) block_prefixes_v6: LpmTrie<MapData, PrefixV6, BlockEntry>,
    pub(super) never_v4: LpmTrie<MapData, PrefixV4, NeverEntry>,
    pub(super) never_v6: LpmTrie<MapData, PrefixV6, NeverEntry>,
    pub(super) protected_ports: Array<MapData, u64>,
    pub(super) settings: Array<MapData, Settings>,
    pub(super) counters: PerCpuArray<MapData, Counter>,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Arrays of aya have no `Debug`, and nobody wants a million entries in a log.
        f.debug_struct("Maps").finish_non_exhaustive()
    }
}

/// The names of the pins.
pub(super) const BLOCK_HOSTS_V4: &str = "BLOCK_HOSTS_V4";
pub(super) const BLOCK_SCOPES_V6: &str = "BLOCK_SCOPES_V6";
pub(super) const BLOCK_PREFIXES_V4: &str = "BLOCK_PREFIXES_V4";
pub(super) const BLOCK_PREFIXES_V6: &str = "BLOCK_PREFIXES_V6";
pub(super) const NEVER_V4: &str = "NEVER_V4";
pub(super) const NEVER_V6: &str = "NEVER_V6";
pub(super) const PROTECTED_PORTS: &str = "PROTECTED_PORTS";
pub(super) const SETTINGS: &str = "SETTINGS";
pub(super) const COUNTERS: &str = "COUNTERS_BY_REASON";

/// All of them, for whoever takes the filter away.
pub(super) const NAMES: [&str; 9] = [
    BLOCK_HOSTS_V4,
    BLOCK_SCOPES_V6,
    BLOCK_PREFIXES_V4,
    BLOCK_PREFIXES_V6,
    NEVER_V4,
    NEVER_V6,
    PROTECTED_PORTS,
    SETTINGS,
    COUNTERS,
];

impl Maps {
    /// Opens the pins, and makes sure that their layout is ours.
    pub(super) fn open(directory: &Path) -> Result<Self, KernelError> {
        if !directory.join(SETTINGS).exists() {
            return Err(KernelError::NotLoaded(directory.to_path_buf()));
        }
        let maps = Self {
            block_hosts_v4: pinned(directory, BLOCK_HOSTS_V4)?,
            block_scopes_v6: pinned(directory, BLOCK_SCOPES_V6)?,
            block_prefixes_v4: pinned(directory, BLOCK_PREFIXES_V4)?,
            block_prefixes_v6: pinned(directory, BLOCK_PREFIXES_V6)?,
            never_v4: pinned(directory, NEVER_V4)?,
            never_v6: pinned(directory, NEVER_V6)?,
            protected_ports: pinned(directory, PROTECTED_PORTS)?,
            settings: pinned(directory, SETTINGS)?,
            counters: pinned(directory, COUNTERS)?,
        };
        let version = maps.settings()?.layout_version;
        // 0: made a moment ago, or by somebody who died before writing the settings.
        if version == LAYOUT_VERSION || version == 0 {
            return Ok(maps);
        }
        let what = format!("version {version}, this program knows {LAYOUT_VERSION}");
        Err(KernelError::Layout { path: directory.to_path_buf(), what })
    }

    pub(super) fn settings(&self) -> Result<Settings, KernelError> {
        self.settings.get(&0, 0).map_err(|error| KernelError::map(SETTINGS, error))
    }
}

/// Opens one pin as a map of its type; sizes that differ are another layout.
fn pinned<T>(directory: &Path, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let open = MapData::from_pin(directory.join(name)).and_then(Map::from_map_data).and_then(T::try_from);
    open.map_err(|error| match error {
        MapError::InvalidKeySize { .. }
        | MapError::InvalidValueSize { .. }
        | MapError::InvalidMapType { .. } => {
            KernelError::Layout { path: directory.to_path_buf(), what: format!("{name}: {error}") }
        }
        error => KernelError::map(name, error),
    })
}

/// A lookup whose failure is the same as no entry: the kernel, too, passes what it cannot look up.
fn present<V>(result: Result<V, MapError>) -> Option<V> {
    result.ok()
}

impl Tables for Maps {
    type Entry = BlockEntry;

    fn settings(&self) -> (u32, bool) {
        self.settings.get(&0, 0).map_or((0, false), |settings| (settings.mode, settings.drop_all != 0))
    }

    fn now(&self) -> u64 {
        clock::instant().as_nanos()
    }

    fn host(&self, source: Source) -> Option<Found<BlockEntry>> {
        found(present(match source {
            Source::V4(address) => self.block_hosts_v4.get(&address, 0),
            Source::V6(address) => self.block_scopes_v6.get(&scope_v6(address), 0),
        }))
    }

    fn prefix(&self, source: Source, longest: u32) -> Option<Found<BlockEntry>> {
        found(present(match source {
            Source::V4(address) => self.block_prefixes_v4.get(&Key::new(longest, prefix_v4(address)), 0),
            Source::V6(address) => self.block_prefixes_v6.get(&Key::new(longest, address), 0),
        }))
    }

    fn never(&self, source: Source, longest: u32) -> Option<Exempt> {
        let entry = present(match source {
            Source::V4(address) => self.never_v4.get(&Key::new(longest, prefix_v4(address)), 0),
            Source::V6(address) => self.never_v6.get(&Key::new(longest, address), 0),
        })?;
        Some(Exempt { until: entry.until, prefix_len: entry.prefix_len })
    }

    fn is_protected(&self, port: u16) -> bool {
        let (word, bit) = port_bit(port);
        self.protected_ports.get(&word, 0).is_ok_and(|ports| ports & bit != 0)
    }
}

fn found(entry: Option<BlockEntry>) -> Option<Found<BlockEntry>> {
    let entry = entry?;
    let BlockEntry { until, grace_until, prefix_len, .. } = entry;
    Some(Found { until, grace_until, prefix_len, entry })
}

/// An address as the judge sees it.
pub(super) fn source(address: IpAddr) -> Source {
    match address {
        IpAddr::V4(address) => Source::V4(address.octets()),
        IpAddr::V6(address) => Source::V6(address.octets()),
    }
}

/// What the kernel accounts for a map, in bytes, as `/proc` tells.
pub(super) fn memory(fd: impl AsFd) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}

/// A key that both hash and trie iterators yield, with its value; entries that vanish meanwhile are skipped.
pub(super) fn entries<K: Pod, V>(
    entries: impl Iterator<Item = Result<(K, V), MapError>>,
    map: &'static str,
) -> Result<Vec<(K, V)>, KernelError> {
    let entries = entries.filter(|entry| !matches!(entry, Err(MapError::KeyNotFound)));
    entries.collect::<Result<_, _>>().map_err(|error| KernelError::map(map, error))
}
