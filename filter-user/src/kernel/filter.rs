//! The loaded filter: the one writer of its maps.

use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::maps::MapError;
use aya::maps::lpm_trie::Key;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use filter_common::abi::{self, BlockEntry, LAYOUT_VERSION, NeverEntry, mode, port_bit, prefix_v4, scope_v6};
use filter_common::limits;
use filter_core::decision::{Change, Origin};
use filter_core::engine::{Held, HeldBlock, HeldNever};
use filter_core::time::Instant;
use ipnet::IpNet;

use super::maps::{self, Maps};
use super::{KernelError, view};

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
}

/// The program and its maps.
#[derive(Debug)]
pub struct Filter {
    pub(super) program: Ebpf,
    pub(super) pin_directory: PathBuf,
    maps: Maps,
    grace: Duration,
}

impl Filter {
    /// Loads the program over the pinned maps, making those that are not there, and writes the settings.
    pub fn load(settings: &Settings) -> Result<Self, KernelError> {
        prepare(&settings.pin_directory)?;
        Self::load_into(settings).inspect_err(|_| {
            // Goes only if nothing was pinned; what is pinned may be another's filter at work.
            let _ = std::fs::remove_dir(&settings.pin_directory);
        })
    }

    fn load_into(settings: &Settings) -> Result<Self, KernelError> {
        let directory = settings.pin_directory.as_path();
        match Maps::open(directory) {
            Ok(_) | Err(KernelError::NotLoaded(_)) => {}
            Err(error) => return Err(error),
        }
        let mut program = EbpfLoader::new()
            .default_map_pin_directory(directory)
            .load(OBJECT)
            .map_err(|error| KernelError::loading(&error, directory))?;
        xdp(&mut program)?.load().map_err(|error| KernelError::program(&error, directory))?;
        #[cfg(debug_assertions)]
        super::diagnostics::follow(&mut program);
        let mut maps = Maps::open(directory)?;
        write_settings(&mut maps, settings)?;
        Ok(Self { program, pin_directory: directory.to_path_buf(), maps, grace: settings.grace })
    }

    /// Brings the kernel one step closer to what is wanted.
    pub fn apply(&mut self, change: &Change) -> Result<(), KernelError> {
        match change {
            Change::Block { network, since, until, origin } => self.block(network, *since, *until, *origin),
            Change::Unblock(network) => self.unblock(network),
            Change::Never { network, until, built_in } => {
                let entry = NeverEntry {
                    until: until.as_nanos(),
                    prefix_len: network.prefix_len().into(),
                    built_in: u32::from(*built_in),
                };
                let (v4, v6) = (&mut self.maps.never_v4, &mut self.maps.never_v6);
                match prefix_key(network) {
                    PrefixKey::V4(key) => {
                        v4.insert(&key, entry, 0).map_err(|error| KernelError::map(maps::NEVER_V4, error))
                    }
                    PrefixKey::V6(key) => {
                        v6.insert(&key, entry, 0).map_err(|error| KernelError::map(maps::NEVER_V6, error))
                    }
                }
            }
            Change::ForgetNever(network) => match prefix_key(network) {
                PrefixKey::V4(key) => removed(self.maps.never_v4.remove(&key), maps::NEVER_V4),
                PrefixKey::V6(key) => removed(self.maps.never_v6.remove(&key), maps::NEVER_V6),
            },
        }
    }

    /// What the kernel holds now, for an agent that starts over it.
    pub fn held(&self) -> Result<Held, KernelError> {
        let blocks = view::blocks(&self.maps)?.into_iter().map(|(network, entry)| HeldBlock {
            network,
            until: Instant::from_nanos(entry.until),
            origin: u8::try_from(entry.origin).ok().and_then(Origin::from_number),
        });
        let nevers = view::nevers(&self.maps)?.into_iter().map(|(network, entry)| HeldNever {
            network,
            until: Instant::from_nanos(entry.until),
            built_in: entry.built_in != 0,
        });
        Ok(Held { blocks: blocks.collect(), nevers: nevers.collect() })
    }

    fn block(
        &mut self,
        network: &IpNet,
        since: Instant,
        until: Instant,
        origin: Origin,
    ) -> Result<(), KernelError> {
        let fresh = BlockEntry {
            until: until.as_nanos(),
            grace_until: since.after(self.grace).as_nanos(),
            prefix_len: network.prefix_len().into(),
            origin: (origin as u8).into(),
            ..BlockEntry::default()
        };
        let maps = &mut self.maps;
        // What has been dropped so far is the entry's history, and a longer block does not erase it.
        let renewed = |old: Result<BlockEntry, MapError>| match old {
            Ok(BlockEntry { packets, bytes, last_drop, .. }) => {
                BlockEntry { packets, bytes, last_drop, ..fresh }
            }
            Err(_) => fresh,
        };
        match block_key(network) {
            BlockKey::HostV4(key) => {
                let entry = renewed(maps.block_hosts_v4.get(&key, 0));
                maps.block_hosts_v4
                    .insert(key, entry, 0)
                    .map_err(|error| KernelError::map(maps::BLOCK_HOSTS_V4, error))
            }
            BlockKey::ScopeV6(key) => {
                let entry = renewed(maps.block_scopes_v6.get(&key, 0));
                maps.block_scopes_v6
                    .insert(key, entry, 0)
                    .map_err(|error| KernelError::map(maps::BLOCK_SCOPES_V6, error))
            }
            BlockKey::Prefix(PrefixKey::V4(key)) => {
                let entry = renewed(exact(maps.block_prefixes_v4.get(&key, 0), network));
                maps.block_prefixes_v4
                    .insert(&key, entry, 0)
                    .map_err(|error| KernelError::map(maps::BLOCK_PREFIXES_V4, error))
            }
            BlockKey::Prefix(PrefixKey::V6(key)) => {
                let entry = renewed(exact(maps.block_prefixes_v6.get(&key, 0), network));
                maps.block_prefixes_v6
                    .insert(&key, entry, 0)
                    .map_err(|error| KernelError::map(maps::BLOCK_PREFIXES_V6, error))
            }
        }
    }

    fn unblock(&mut self, network: &IpNet) -> Result<(), KernelError> {
        let maps = &mut self.maps;
        match block_key(network) {
            BlockKey::HostV4(key) => removed(maps.block_hosts_v4.remove(&key), maps::BLOCK_HOSTS_V4),
            BlockKey::ScopeV6(key) => removed(maps.block_scopes_v6.remove(&key), maps::BLOCK_SCOPES_V6),
            BlockKey::Prefix(PrefixKey::V4(key)) => {
                removed(maps.block_prefixes_v4.remove(&key), maps::BLOCK_PREFIXES_V4)
            }
            BlockKey::Prefix(PrefixKey::V6(key)) => {
                removed(maps.block_prefixes_v6.remove(&key), maps::BLOCK_PREFIXES_V6)
            }
        }
    }
}

/// The XDP program of the object.
pub(super) fn xdp(object: &mut Ebpf) -> Result<&mut Xdp, KernelError> {
    let program = object.program_mut("gatepost").and_then(|program| program.try_into().ok());
    program.ok_or_else(|| KernelError::Other("the object holds no XDP program called gatepost".to_owned()))
}

/// Where the block of a network is kept.
enum BlockKey {
    HostV4(abi::HostV4),
    ScopeV6(abi::ScopeV6),
    Prefix(PrefixKey),
}

enum PrefixKey {
    V4(Key<abi::PrefixV4>),
    V6(Key<abi::PrefixV6>),
}

fn block_key(network: &IpNet) -> BlockKey {
    match (network.addr(), network.prefix_len()) {
        (IpAddr::V4(address), 32) => BlockKey::HostV4(address.octets()),
        (IpAddr::V6(address), 64) => BlockKey::ScopeV6(scope_v6(address.octets())),
        _ => BlockKey::Prefix(prefix_key(network)),
    }
}

fn prefix_key(network: &IpNet) -> PrefixKey {
    let length = network.prefix_len().into();
    match network.addr() {
        IpAddr::V4(address) => PrefixKey::V4(Key::new(length, prefix_v4(address.octets()))),
        IpAddr::V6(address) => PrefixKey::V6(Key::new(length, address.octets())),
    }
}

/// A trie answers with the longest match; only an entry of the same length is the same entry.
fn exact(result: Result<BlockEntry, MapError>, network: &IpNet) -> Result<BlockEntry, MapError> {
    match result {
        Ok(entry) if entry.prefix_len != u32::from(network.prefix_len()) => Err(MapError::KeyNotFound),
        result => result,
    }
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

/// Ports first, then the mode: a filter that enforces before it knows its ports would drop too little, never too much.
fn write_settings(maps: &mut Maps, settings: &Settings) -> Result<(), KernelError> {
    let mut words = vec![0_u64; limits::PORT_WORDS as usize];
    for port in &settings.protected_ports {
        let (word, bit) = port_bit(*port);
        if let Some(ports) = words.get_mut(word as usize) {
            *ports |= bit;
        }
    }
    for (word, ports) in (0..).zip(words) {
        set(maps.protected_ports.set(word, ports, 0), maps::PROTECTED_PORTS)?;
    }
    let written = abi::Settings {
        layout_version: LAYOUT_VERSION,
        mode: if settings.observe { mode::OBSERVE } else { mode::ENFORCE },
        drop_all: u32::from(settings.drop_all),
        reserved: 0,
    };
    set(maps.settings.set(0, written, 0), maps::SETTINGS)
}

fn set(result: Result<(), MapError>, map: &'static str) -> Result<(), KernelError> {
    result.map_err(|error| KernelError::map(map, error))
}
