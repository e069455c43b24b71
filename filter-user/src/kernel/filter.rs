//! The loaded filter: the one writer of its maps.
//!
//! The order of writes is what keeps a standing block standing: an entry first and then its gate bits, and the other
//! way round when it goes. What the kernel does not take is handed back with the reason.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod};
use filter_common::abi::{self, BlockEntry, LAYOUT_VERSION, NeverEntry, mode, port_bit};
use filter_common::reason::Verdict;
use filter_common::table;
use filter_common::{gate, limits};
use filter_core::decision::{Change, Origin};
use filter_core::engine::{Held, HeldBlock, HeldNever};
use filter_core::time::Instant;
use ipnet::IpNet;

use super::KernelError;
use super::fill::{self, Fill};
use super::gate::Gate;
use super::list::{Entry, List};
use super::maps::{self, Maps};
use super::probe::{self, Probe};

/// The object that `build.rs` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/filter-ebpf"));

/// What the filter does.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where maps and links are pinned.
    pub pin_directory: PathBuf,
    /// Judge and count, drop nothing.
    pub observe: bool,
    /// Drop everything of a blocked source.
    pub drop_all: bool,
    /// Ports that blocked sources cannot reach.
    pub protected_ports: Vec<u16>,
    /// How long after the beginning of a block only new connections are dropped.
    pub grace: Duration,
    /// Connections of a blocked source that come through to hear why.
    pub courtesy_replies: u32,
    /// Room for entries; of maps that are pinned already, the room that they were made with stays.
    pub capacity: Capacity,
}

/// Room for entries of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Blocked IPv4 addresses.
    pub hosts_v4: u32,
    /// Blocked IPv6 /64 networks.
    pub scopes_v6: u32,
    /// Blocked prefixes, of each family.
    pub prefixes: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            hosts_v4: limits::BLOCK_HOSTS_V4,
            scopes_v6: limits::BLOCK_SCOPES_V6,
            prefixes: limits::BLOCK_PREFIXES,
        }
    }
}

/// A change that the kernel did not take.
#[derive(Debug)]
pub struct Refused {
    /// The change.
    pub change: Change,
    /// Why.
    pub error: KernelError,
}

/// The program and its maps.
#[derive(Debug)]
pub struct Filter {
    pub(super) program: Ebpf,
    pub(super) pin_directory: PathBuf,
    maps: Maps,
    blocks: Gate,
    nevers: Gate,
    settings: abi::Settings,
    grace: Duration,
    courtesy: u32,
    room: [[Fill; 4]; 2],
    /// Held as long as this one writes.
    _lock: File,
}

impl Filter {
    /// Loads the program over the pinned maps, making those that are not there, and writes the settings.
    pub fn load(settings: &Settings) -> Result<Self, KernelError> {
        let directory = &settings.pin_directory;
        prepare(directory)?;
        let own = lock(directory)?;
        let kept = own
            .try_clone()
            .map_err(|source| KernelError::PinDirectory { path: directory.clone(), source })?;
        Self::load_into(settings, kept).inspect_err(|_| {
            // While the lock is held: another may be about to pin there. Goes only if nothing was pinned, as a filter at work is.
            let _ = std::fs::remove_dir(directory);
        })
    }

    fn load_into(wanted: &Settings, lock: File) -> Result<Self, KernelError> {
        let directory = wanted.pin_directory.as_path();
        let Capacity { hosts_v4, scopes_v6, prefixes } = wanted.capacity;
        let (words, buckets) = match Maps::open(directory) {
            // Of pinned maps, the size that they were made with stays.
            Ok(Maps { blocks: List { hosts_v4, scopes_v6, prefixes_v4, gate, .. }, .. }) => {
                (gate.len(), [hosts_v4, scopes_v6, prefixes_v4].map(|table| table.buckets))
            }
            Err(KernelError::NotLoaded(_)) => {
                let words = gate::words(hosts_v4.saturating_add(scopes_v6));
                (words, [hosts_v4, scopes_v6, prefixes].map(table::buckets))
            }
            Err(error) => return Err(error),
        };
        let seed = maps::seed(directory)?;
        let mut loader = EbpfLoader::new();
        let tables = [&maps::BLOCK.hosts_v4, &maps::BLOCK.scopes_v6, &maps::BLOCK.prefixes_v4];
        for ((names, global), buckets) in tables.into_iter().zip(maps::BUCKETS).zip(&buckets) {
            loader
                .map_max_entries(names.slots, buckets * table::BUCKET)
                .map_max_entries(names.tags, buckets + table::COUNTS)
                .override_global(global, buckets, true);
        }
        let mut program = loader
            .map_max_entries(maps::BLOCK.prefixes_v6, prefixes)
            .map_max_entries(maps::BLOCK.gate, words)
            .override_global("BLOCK_GATE_WORDS", &words, true)
            .override_global("SEED", &seed, true)
            .default_map_pin_directory(directory)
            .load(OBJECT)
            .map_err(|error| KernelError::loading(&error, directory))?;
        xdp(&mut program)?.load().map_err(|error| KernelError::program(&error, directory))?;
        Maps::found(directory, seed, wanted.capacity)?;
        let mut maps = Maps::open(directory)?;
        maps.blocks.settle();
        maps.nevers.settle();
        let mut settings = write_ports(&mut maps, wanted)?;
        let room = [fill::room(&maps.blocks)?, fill::room(&maps.nevers)?];
        let blocks = adopt(&maps.blocks, settings.block_gate())?;
        let nevers = adopt(&maps.nevers, settings.never_gate())?;
        settings.block_classes = blocks.classes();
        settings.never_classes = nevers.classes();
        put_settings(&mut maps, settings)?;
        Ok(Self {
            program,
            pin_directory: directory.to_path_buf(),
            maps,
            blocks,
            nevers,
            settings,
            grace: wanted.grace,
            courtesy: wanted.courtesy_replies,
            room,
            _lock: lock,
        })
    }

    /// Hands the program's own log lines on, in debug builds; needs a runtime.
    #[cfg(debug_assertions)]
    pub fn follow_diagnostics(&mut self) {
        super::diagnostics::follow(&mut self.program);
    }

    /// Brings the kernel closer to what is wanted, change by change in their order, many in one call where they are
    /// alike.
    pub fn apply(&mut self, changes: &[Change]) -> Vec<Refused> {
        let alike = |a: &Change, b: &Change| std::mem::discriminant(a) == std::mem::discriminant(b);
        let mut refused = Vec::new();
        for run in changes.chunk_by(alike) {
            let failures = match run.first() {
                Some(Change::Block { .. }) => {
                    let entries: Vec<_> = run.iter().filter_map(|change| self.block_entry(change)).collect();
                    put(&mut self.maps.blocks, &mut self.blocks, &entries)
                }
                Some(Change::Never { .. }) => {
                    let entries: Vec<_> = run.iter().filter_map(never_entry).collect();
                    put(&mut self.maps.nevers, &mut self.nevers, &entries)
                }
                Some(Change::Unblock(_)) => take(&mut self.maps.blocks, &mut self.blocks, run),
                Some(Change::ForgetNever(_)) => take(&mut self.maps.nevers, &mut self.nevers, run),
                None => Vec::new(),
            };
            for (network, error) in failures {
                let change = run.iter().find(|change| *change.network() == network);
                refused.extend(change.map(|change| Refused { change: change.clone(), error }));
            }
            if let Err(error) = self.put_classes() {
                refused.extend(run.first().map(|change| Refused { change: change.clone(), error }));
            }
        }
        refused
    }

    /// What the kernel holds now, for an agent that starts over it.
    pub fn held(&self) -> Result<Held, KernelError> {
        let blocks = self.maps.blocks.entries()?.into_iter().map(|(network, entry)| HeldBlock {
            network,
            until: Instant::from_nanos(entry.until),
            origin: u8::try_from(entry.origin).ok().and_then(Origin::from_number),
        });
        let nevers = self.maps.nevers.entries()?.into_iter().map(|(network, entry)| HeldNever {
            network,
            until: Instant::from_nanos(entry.until),
            built_in: entry.built_in != 0,
        });
        Ok(Held { blocks: blocks.collect(), nevers: nevers.collect() })
    }

    /// How full the maps of both lists are.
    pub fn fill(&self) -> Vec<Fill> {
        let [blocks, nevers] = &self.room;
        fill::filled(blocks, self.blocks.held()).chain(fill::filled(nevers, self.nevers.held())).collect()
    }

    /// Runs the program on a frame that no interface has seen; see [`Probe::try_on`].
    pub fn try_on(&mut self, frame: &[u8], repeat: u32) -> Result<(Verdict, Duration), KernelError> {
        probe::run(xdp(&mut self.program)?, frame, repeat)
    }

    /// A handle of the loaded program that goes on while this filter's maps are written.
    pub fn probe(&mut self) -> Result<Probe, KernelError> {
        Probe::of(xdp(&mut self.program)?)
    }

    fn block_entry(&self, change: &Change) -> Option<(IpNet, BlockEntry)> {
        let Change::Block { network, since, until, origin } = change else { return None };
        let fresh = BlockEntry {
            until: until.as_nanos(),
            grace_until: since.after(self.grace).as_nanos(),
            courtesy: self.courtesy,
            prefix_len: network.prefix_len().into(),
            origin: (*origin as u8).into(),
            ..BlockEntry::default()
        };
        // What has been dropped so far is the entry's history, and a longer block does not erase it.
        let old = if self.blocks.knows(network) { self.maps.blocks.exact(network) } else { None };
        let entry = match old {
            Some(BlockEntry { packets, bytes, last_drop, .. }) => {
                BlockEntry { packets, bytes, last_drop, ..fresh }
            }
            None => fresh,
        };
        Some((*network, entry))
    }

    /// Tells the kernel which classes of IPv6 prefixes there are, if that has changed.
    fn put_classes(&mut self) -> Result<(), KernelError> {
        let (block_classes, never_classes) = (self.blocks.classes(), self.nevers.classes());
        if (block_classes, never_classes) == (self.settings.block_classes, self.settings.never_classes) {
            return Ok(());
        }
        put_settings(&mut self.maps, abi::Settings { block_classes, never_classes, ..self.settings })?;
        self.settings.block_classes = block_classes;
        self.settings.never_classes = never_classes;
        Ok(())
    }
}

/// The XDP program of the object.
pub(super) fn xdp(object: &mut Ebpf) -> Result<&mut Xdp, KernelError> {
    let program = object.program_mut("gatepost").and_then(|program| program.try_into().ok());
    program.ok_or_else(|| KernelError::Other("the object holds no XDP program called gatepost".to_owned()))
}

/// Makes this process the one writer of the maps in a directory.
pub(super) fn lock(directory: &Path) -> Result<File, KernelError> {
    let failed = |source| KernelError::PinDirectory { path: directory.to_path_buf(), source };
    let file = File::open(directory).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => KernelError::Permission,
        _ => failed(error),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(KernelError::Taken(directory.to_path_buf())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn never_entry(change: &Change) -> Option<(IpNet, NeverEntry)> {
    let Change::Never { network, until, built_in } = change else { return None };
    let entry = NeverEntry {
        until: until.as_nanos(),
        prefix_len: network.prefix_len().into(),
        built_in: u32::from(*built_in),
    };
    Some((*network, entry))
}

/// Entries first, then their gate bits.
fn put<V: Pod>(list: &mut List<V>, gate: &mut Gate, entries: &[(IpNet, V)]) -> Vec<(IpNet, KernelError)> {
    let failures = list.insert_all(entries);
    let refused: HashSet<IpNet> = failures.iter().map(|(network, _)| *network).collect();
    for (network, _) in entries.iter().filter(|(network, _)| !refused.contains(network)) {
        gate.open_for(network);
    }
    failures
}

/// Gate bits first, then their entries.
fn take<V: Pod>(list: &mut List<V>, gate: &mut Gate, changes: &[Change]) -> Vec<(IpNet, KernelError)> {
    let networks: Vec<_> = changes.iter().map(|change| *change.network()).collect();
    for network in &networks {
        gate.close_for(network);
    }
    let failures = list.remove_all(&networks);
    for (network, _) in &failures {
        gate.open_for(network);
    }
    failures
}

fn adopt<V: Pod + Entry>(list: &List<V>, key: gate::Key) -> Result<Gate, KernelError> {
    let networks = list.entries()?.into_iter().map(|(network, _)| network);
    Gate::adopt(list, key, networks)
}

fn prepare(directory: &Path) -> Result<(), KernelError> {
    if !maps::is_on_bpffs(directory) {
        return Err(KernelError::NoBpffs(directory.to_path_buf()));
    }
    // Not for others: a BPF file system is writable by all, and whoever may open a map may change it.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| match source.kind() {
        std::io::ErrorKind::PermissionDenied => KernelError::Permission,
        _ => KernelError::PinDirectory { path: directory.to_path_buf(), source },
    })
}

/// Writes the ports, and says what the settings are to be. The mode comes last: a filter that enforces before it knows
/// its ports would drop too little, never too much.
fn write_ports(maps: &mut Maps, wanted: &Settings) -> Result<abi::Settings, KernelError> {
    let mut words = vec![0_u64; limits::PORT_WORDS as usize];
    for port in &wanted.protected_ports {
        let (word, shift) = port_bit(*port);
        if let Some(ports) = words.get_mut(word as usize) {
            *ports |= 1 << shift;
        }
    }
    for (word, ports) in (0..).zip(words) {
        let written = maps.protected_ports.set(word, ports, 0);
        written.map_err(|error| KernelError::map(maps::PROTECTED_PORTS, error))?;
    }
    let present = maps.settings()?;
    Ok(abi::Settings {
        layout_version: LAYOUT_VERSION,
        mode: if wanted.observe { mode::OBSERVE } else { mode::ENFORCE },
        drop_all: u32::from(wanted.drop_all),
        words: maps.blocks.gate.len(),
        ..present
    })
}

fn put_settings(maps: &mut Maps, settings: abi::Settings) -> Result<(), KernelError> {
    maps.settings.set(0, settings, 0).map_err(|error| KernelError::map(maps::SETTINGS, error))
}
