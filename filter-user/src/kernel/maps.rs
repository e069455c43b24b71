//! The pinned maps, with their types; the judge can ask them as it asks the kernel's.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use filter_common::abi::{BlockEntry, Counter, LAYOUT_VERSION, NeverEntry, Settings, mode, port_bit};
use filter_common::gate::Near;
use filter_common::judge::{Around, Found, Tables};
use filter_common::limits;
use filter_common::packet::Source;
use nix::sys::statfs::statfs;

use super::KernelError;
use super::error::deepest_io_error;
use super::filter::Capacity;
use super::list::{Entry, List};
use super::table::TableNames;
use crate::{clock, secret};

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPFFS: i64 = 0xcafe_4a11;

/// Whether a path, or the nearest directory above it that exists, is on a BPF file system.
pub(super) fn is_on_bpffs(path: &Path) -> bool {
    let existing = path.ancestors().find(|path| path.exists());
    existing.is_some_and(|path| statfs(path).is_ok_and(|info| info.filesystem_type().0 == BPFFS))
}

/// The names of a list's maps, which are also those of their pins.
pub(super) struct Names {
    pub(super) hosts_v4: TableNames,
    pub(super) scopes_v6: TableNames,
    pub(super) prefixes_v4: TableNames,
    pub(super) lengths_v4: &'static str,
    pub(super) prefixes_v6: &'static str,
    pub(super) gate: &'static str,
}

impl Names {
    /// Whether a name is one of them.
    fn has(&self, name: &str) -> bool {
        let Self { hosts_v4, scopes_v6, prefixes_v4, lengths_v4, prefixes_v6, gate } = self;
        [hosts_v4, scopes_v6, prefixes_v4].iter().any(|table| table.slots == name || table.tags == name)
            || [*lengths_v4, *prefixes_v6, *gate].contains(&name)
    }
}

/// The block list.
pub(super) static BLOCK: Names = Names {
    hosts_v4: TableNames { slots: "BLOCK_HOSTS_V4", tags: "BLOCK_HOSTS_V4_TAGS" },
    scopes_v6: TableNames { slots: "BLOCK_SCOPES_V6", tags: "BLOCK_SCOPES_V6_TAGS" },
    prefixes_v4: TableNames { slots: "BLOCK_PREFIXES_V4", tags: "BLOCK_PREFIXES_V4_TAGS" },
    lengths_v4: "BLOCK_PREFIXES_V4_LENGTHS",
    prefixes_v6: "BLOCK_PREFIXES_V6",
    gate: "BLOCK_GATE",
};
/// What the program calls the sizes of the block list's tables, in the order of [`Names`].
pub(super) const BUCKETS: [&str; 3] =
    ["BLOCK_HOSTS_V4_BUCKETS", "BLOCK_SCOPES_V6_BUCKETS", "BLOCK_PREFIXES_V4_BUCKETS"];
/// The never-block list.
pub(super) static NEVER: Names = Names {
    hosts_v4: TableNames { slots: "NEVER_HOSTS_V4", tags: "NEVER_HOSTS_V4_TAGS" },
    scopes_v6: TableNames { slots: "NEVER_SCOPES_V6", tags: "NEVER_SCOPES_V6_TAGS" },
    prefixes_v4: TableNames { slots: "NEVER_PREFIXES_V4", tags: "NEVER_PREFIXES_V4_TAGS" },
    lengths_v4: "NEVER_PREFIXES_V4_LENGTHS",
    prefixes_v6: "NEVER_PREFIXES_V6",
    gate: "NEVER_GATE",
};
pub(super) const PROTECTED_PORTS: &str = "PROTECTED_PORTS";
pub(super) const SETTINGS: &str = "SETTINGS";
pub(super) const COUNTERS: &str = "COUNTERS_BY_REASON";
pub(super) const REPORTS: &str = "REPORTS";
const TICK: &str = "TICK";

/// Whether a pin is one of ours.
pub(super) fn is_map(name: &str) -> bool {
    let single = [PROTECTED_PORTS, SETTINGS, COUNTERS, REPORTS, TICK];
    BLOCK.has(name) || NEVER.has(name) || single.contains(&name)
}

/// All maps that user space reads or writes.
pub(super) struct Maps {
    pub(super) blocks: List<BlockEntry>,
    pub(super) nevers: List<NeverEntry>,
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

impl Maps {
    /// Opens the pins, and makes sure that their layout is ours.
    pub(super) fn open(directory: &Path) -> Result<Self, KernelError> {
        let settings = open_settings(directory)?;
        let Settings { seed, hosts_v4, scopes_v6, prefixes, .. } = read(&settings)?;
        Ok(Self {
            blocks: List::open(directory, &BLOCK, seed, [hosts_v4, scopes_v6, prefixes])?,
            nevers: List::open(directory, &NEVER, seed, [limits::NEVER; 3])?,
            protected_ports: pinned(directory, PROTECTED_PORTS)?,
            settings,
            counters: pinned(directory, COUNTERS)?,
        })
    }

    /// Gives maps that have just been made their secret and their room; others keep theirs. Before that, nothing can be
    /// written to them that could be found again.
    pub(super) fn found(directory: &Path, seed: u64, capacity: Capacity) -> Result<(), KernelError> {
        let mut settings = open_settings(directory)?;
        let present = read(&settings)?;
        if present.seed != 0 {
            return Ok(());
        }
        let Capacity { hosts_v4, scopes_v6, prefixes } = capacity;
        let founded =
            Settings { layout_version: LAYOUT_VERSION, seed, hosts_v4, scopes_v6, prefixes, ..present };
        settings.set(0, founded, 0).map_err(|error| KernelError::map(SETTINGS, error))
    }

    pub(super) fn settings(&self) -> Result<Settings, KernelError> {
        read(&self.settings)
    }
}

/// The secret that maps in a directory have, or if there are none yet, one for them. Odd, and never 0.
pub(super) fn seed(directory: &Path) -> Result<u64, KernelError> {
    match open_settings(directory).and_then(|settings| read(&settings)) {
        Ok(Settings { seed: 0, .. }) | Err(KernelError::NotLoaded(_)) => Ok(secret::number()),
        Ok(Settings { seed, .. }) => Ok(seed),
        Err(error) => Err(error),
    }
}

/// The settings of maps whose layout is ours.
fn open_settings(directory: &Path) -> Result<Array<MapData, Settings>, KernelError> {
    let settings = pinned::<Array<MapData, Settings>>(directory, SETTINGS)?;
    let version = read(&settings)?.layout_version;
    // 0: made a moment ago, or by somebody who died before writing the settings.
    if version != LAYOUT_VERSION && version != 0 {
        let what = format!("version {version}, this program knows {LAYOUT_VERSION}");
        return Err(KernelError::Layout { path: directory.to_path_buf(), what });
    }
    Ok(settings)
}

fn read(settings: &Array<MapData, Settings>) -> Result<Settings, KernelError> {
    settings.get(&0, 0).map_err(|error| KernelError::map(SETTINGS, error))
}

/// Opens one pin as a map of its type; sizes that differ are another layout.
pub(super) fn pinned<T>(directory: &Path, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let open = MapData::from_pin(directory.join(name)).and_then(Map::from_map_data).and_then(T::try_from);
    let other_layout = |what| KernelError::Layout { path: directory.to_path_buf(), what };
    open.map_err(|error| match error {
        error if is_missing(&error) && name == SETTINGS => KernelError::NotLoaded(directory.to_path_buf()),
        error if is_missing(&error) => other_layout(format!("{name} is missing")),
        MapError::InvalidKeySize { .. }
        | MapError::InvalidValueSize { .. }
        | MapError::InvalidMapType { .. } => other_layout(format!("{name}: {error}")),
        error => KernelError::map(name, error),
    })
}

fn is_missing(error: &MapError) -> bool {
    deepest_io_error(error).is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

impl Entry for BlockEntry {
    fn until(&self) -> u64 {
        self.until
    }

    fn prefix_len(&self) -> u32 {
        self.prefix_len.into()
    }
}

impl Entry for NeverEntry {
    fn until(&self) -> u64 {
        self.until
    }

    fn prefix_len(&self) -> u32 {
        self.prefix_len
    }
}

impl Tables for Maps {
    type Entry = BlockEntry;

    fn near_block(&self, source: Source) -> Near {
        Self::settings(self).map_or(Near::NOTHING, |settings| {
            self.blocks.near(source, settings.block_gate(), settings.block_classes)
        })
    }

    fn near_never(&self, source: Source) -> Near {
        Self::settings(self).map_or(Near::NOTHING, |settings| {
            self.nevers.near(source, settings.never_gate(), settings.never_classes)
        })
    }

    fn settings(&self) -> (u32, bool) {
        Self::settings(self)
            .map_or((mode::OBSERVE, false), |settings| (settings.mode, settings.drop_all != 0))
    }

    fn now(&self) -> u64 {
        clock::instant().as_nanos()
    }

    fn host(&self, source: Source) -> Option<Found<BlockEntry>> {
        self.blocks.host(source).map(found)
    }

    fn prefix(&self, source: Source, now: u64) -> Around<Found<BlockEntry>> {
        match self.blocks.around(source, now) {
            Around::Live(entry) => Around::Live(found(entry)),
            Around::Ended => Around::Ended,
            Around::Nothing => Around::Nothing,
        }
    }

    fn never_host(&self, source: Source) -> Option<u64> {
        self.nevers.host(source).map(|entry| entry.until)
    }

    fn never(&self, source: Source, now: u64) -> bool {
        matches!(self.nevers.around(source, now), Around::Live(_))
    }

    fn is_protected(&self, port: u16) -> bool {
        let (word, shift) = port_bit(port);
        self.protected_ports.get(&word, 0).is_ok_and(|ports| ports >> shift & 1 != 0)
    }

    /// Says what the kernel would do, and leaves the courtesy to the client.
    fn spend_courtesy(&self, entry: BlockEntry, _until: u64) -> bool {
        entry.courtesy > 0
    }
}

fn found(entry: BlockEntry) -> Found<BlockEntry> {
    let BlockEntry { until, grace_until, .. } = entry;
    Found { until, grace_until, entry }
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
