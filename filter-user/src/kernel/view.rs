//! The pinned maps as an administrator reads them, with or without an agent.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::Pod;
use aya::maps::{MapData, MapError};
use aya::programs::loaded_programs;
use filter_common::abi::{BlockEntry, NeverEntry, mode};
use filter_common::judge::judge;
use filter_common::packet::Payload;
use filter_common::reason::{Reason, Verdict};
use filter_core::decision::Origin;
use filter_core::time::{Instant, Now, Timestamp};
use ipnet::IpNet;
use serde::Serialize;

use super::KernelError;
use super::attach::LINK;
use super::interface::{Mode, interfaces};
use super::list::List;
use super::maps::{self, Maps, memory, source};
use super::table::Table;
use crate::clock;

/// One map.
#[derive(Debug, Clone, Serialize)]
pub struct MapView {
    /// Its name, which is also that of its pin.
    pub name: &'static str,
    /// How it looks things up.
    pub kind: &'static str,
    /// Entries at most; of a gate: its bits.
    pub capacity: u32,
    /// Entries now; of a gate: bits that are set, without the one that all words share.
    pub entries: u64,
    /// What the kernel accounts for it, in bytes; of tries it counts only keys and values.
    pub memory: Option<u64>,
}

/// One interface that the filter is pinned to.
#[derive(Debug, Clone, Serialize)]
pub struct LinkView {
    /// Its name.
    pub interface: String,
    /// How XDP is attached there; none: the interface has gone.
    pub mode: Option<Mode>,
    /// The number of the program there, as `bpftool prog` lists it.
    pub program: Option<u32>,
    /// Since when the filter has been attached there without a gap.
    pub attached: Option<Timestamp>,
    /// Instructions that the verifier went through to accept it; none before Linux 5.16, or without the permission to
    /// ask for a program by its number.
    pub verified_instructions: Option<u32>,
}

/// Packets of one reason, over all CPUs.
#[derive(Debug, Clone, Serialize)]
pub struct CounterView {
    /// The reason.
    pub reason: &'static str,
    /// Whether such packets are dropped.
    pub dropped: bool,
    /// Packets since the filter was loaded.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
}

/// Everything at one glance.
#[derive(Debug, Clone, Serialize)]
pub struct MapsView {
    /// Where the pins are.
    pub pin_directory: PathBuf,
    /// `enforce` or `observe`.
    pub mode: &'static str,
    /// Interfaces.
    pub links: Vec<LinkView>,
    /// Maps.
    pub maps: Vec<MapView>,
    /// Totals.
    pub counters: Vec<CounterView>,
}

/// One block as the kernel holds it.
#[derive(Debug, Clone, Serialize)]
pub struct BlockedView {
    /// Who.
    pub network: IpNet,
    /// Where it comes from; none: a number that this version does not know.
    pub origin: Option<Origin>,
    /// When it ends.
    pub until: Timestamp,
    /// Seconds until then; 0: it has ended.
    pub remaining_seconds: u64,
    /// Packets dropped.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
    /// When the last of them came.
    pub last_drop: Option<Timestamp>,
}

/// One exemption as the kernel holds it.
#[derive(Debug, Clone, Serialize)]
pub struct ExemptView {
    /// Who.
    pub network: IpNet,
    /// When it ends; none: never.
    pub until: Option<Timestamp>,
    /// Made by Gatepost itself.
    pub built_in: bool,
}

/// Both lists.
#[derive(Debug, Clone, Serialize)]
pub struct DumpView {
    /// Blocks.
    pub blocks: Vec<BlockedView>,
    /// Exemptions.
    pub never: Vec<ExemptView>,
}

/// What the kernel would do with a new connection from an address to a protected port.
#[derive(Debug, Clone, Serialize)]
pub struct VerdictView {
    /// Who.
    pub address: IpAddr,
    /// `pass` or `drop`.
    pub verdict: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Every block that covers the address, ended ones included, the longest prefix first.
    pub blocks: Vec<BlockedView>,
    /// Every exemption that covers the address.
    pub never: Vec<ExemptView>,
}

/// Pinned maps, open for reading.
#[derive(Debug)]
pub struct View {
    directory: PathBuf,
    maps: Maps,
}

impl View {
    /// Opens the pins in a directory.
    pub fn open(directory: &Path) -> Result<Self, KernelError> {
        Ok(Self { directory: directory.to_path_buf(), maps: Maps::open(directory)? })
    }

    /// Maps, interfaces and totals.
    pub async fn list(&self) -> Result<MapsView, KernelError> {
        let maps = &self.maps;
        Ok(MapsView {
            pin_directory: self.directory.clone(),
            mode: if maps.settings()?.mode == mode::ENFORCE { "enforce" } else { "observe" },
            links: self.links().await?,
            maps: self.maps()?,
            counters: self.counters()?,
        })
    }

    /// The lists' maps, with their entries counted one by one.
    pub fn maps(&self) -> Result<Vec<MapView>, KernelError> {
        Ok([self.describe_list(&self.maps.blocks)?, self.describe_list(&self.maps.nevers)?].concat())
    }

    /// What the kernel would do with an address, and why.
    pub fn get(&self, address: IpAddr) -> Result<VerdictView, KernelError> {
        let address = address.to_canonical();
        let payload = Payload::Tcp { port: self.any_protected_port(), opens: true };
        let judgement = judge(source(address), || Some(payload), &self.maps);
        let now = clock::now();
        let blocks =
            self.maps.blocks.covering(address).into_iter().map(|entry| blocked(entry, now)).collect();
        let never = self.maps.nevers.covering(address).into_iter().map(|entry| exempt(entry, now)).collect();
        let verdict = match judgement.reason.verdict() {
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
        };
        Ok(VerdictView { address, verdict, reason: judgement.reason.name(), blocks, never })
    }

    /// What the kernel holds of exactly this block.
    pub fn block(&self, network: &IpNet) -> Option<BlockedView> {
        let found = self.maps.blocks.exact(network)?;
        Some(blocked((*network, found), clock::now()))
    }

    /// Both lists; of a network, the entries in it and around it.
    pub fn dump(&self, of: Option<IpNet>) -> Result<DumpView, KernelError> {
        let now = clock::now();
        let is_wanted = |network: &IpNet| of.is_none_or(|of| of.contains(network) || network.contains(&of));
        let blocks = self.maps.blocks.entries()?.into_iter().filter(|(network, _)| is_wanted(network));
        let blocks = blocks.map(|entry| blocked(entry, now));
        let never = self.maps.nevers.entries()?.into_iter().filter(|(network, _)| is_wanted(network));
        let never = never.map(|entry| exempt(entry, now));
        Ok(DumpView { blocks: blocks.collect(), never: never.collect() })
    }

    fn describe_list<V: Pod>(&self, list: &List<V>) -> Result<Vec<MapView>, KernelError> {
        let names = list.names;
        let table = |table: &Table<V>| MapView {
            name: table.names.slots,
            kind: "table",
            capacity: table.capacity(),
            entries: table.count().into(),
            memory: table.memory,
        };
        let describe = |name, kind, entries| describe(&self.directory, name, kind, entries);
        let mut gate = describe(names.gate, "gate", super::gate::bits(&list.gate).unwrap_or(0))?;
        gate.capacity *= u64::BITS;
        Ok(vec![
            table(&list.hosts_v4),
            table(&list.scopes_v6),
            table(&list.prefixes_v4),
            describe(names.prefixes_v6, "trie", count(list.prefixes_v6.keys()))?,
            gate,
        ])
    }

    /// Packets and bytes by reason, over all CPUs.
    pub fn counters(&self) -> Result<Vec<CounterView>, KernelError> {
        let read = |reason: Reason| {
            let values = self.maps.counters.get(&reason.index(), 0);
            let values = values.map_err(|error| KernelError::map(maps::COUNTERS, error))?;
            let (packets, bytes) = values
                .iter()
                .fold((0, 0), |(packets, bytes), counter| (packets + counter.packets, bytes + counter.bytes));
            Ok(CounterView {
                reason: reason.name(),
                dropped: reason.verdict() == Verdict::Drop,
                packets,
                bytes,
            })
        };
        Reason::ALL.into_iter().map(read).collect()
    }

    /// The interfaces that the filter is pinned to.
    pub async fn links(&self) -> Result<Vec<LinkView>, KernelError> {
        let known = interfaces().await?;
        let pins = std::fs::read_dir(&self.directory)
            .map_err(|source| KernelError::PinDirectory { path: self.directory.clone(), source })?;
        let names =
            pins.flatten().filter_map(|pin| Some(pin.file_name().to_str()?.strip_prefix(LINK)?.to_owned()));
        let mut links: Vec<_> = names
            .map(|interface| {
                let xdp = known.iter().find(|link| link.name == interface).and_then(|link| link.xdp);
                let program = xdp.and_then(|(_, id)| id);
                LinkView {
                    attached: made(&self.directory.join(format!("{LINK}{interface}"))),
                    interface,
                    mode: xdp.map(|(mode, _)| mode),
                    program,
                    verified_instructions: program.and_then(verified_instructions),
                }
            })
            .collect();
        links.sort_by(|a, b| a.interface.cmp(&b.interface));
        Ok(links)
    }

    fn any_protected_port(&self) -> u16 {
        let words = (0_u16..).zip(self.maps.protected_ports.iter().flatten());
        let mut set = words.filter(|(_, ports)| *ports != 0);
        set.next().map_or(25, |(word, ports)| word * 64 + u16::try_from(ports.trailing_zeros()).unwrap_or(0))
    }
}

fn blocked((network, entry): (IpNet, BlockEntry), now: Now) -> BlockedView {
    let until = Instant::from_nanos(entry.until);
    BlockedView {
        network,
        origin: u8::try_from(entry.origin).ok().and_then(Origin::from_number),
        until: now.wall_of(until),
        remaining_seconds: until.since(now.instant).as_secs(),
        packets: entry.packets,
        bytes: entry.bytes,
        last_drop: (entry.last_drop != 0).then(|| now.wall_before(Instant::from_nanos(entry.last_drop))),
    }
}

fn exempt((network, entry): (IpNet, NeverEntry), now: Now) -> ExemptView {
    let until = Instant::from_nanos(entry.until);
    let until = (until != Instant::FAR_FUTURE).then(|| now.wall_of(until));
    ExemptView { network, until, built_in: entry.built_in != 0 }
}

fn verified_instructions(program: u32) -> Option<u32> {
    loaded_programs().flatten().find(|info| info.id() == program)?.verified_instruction_count()
}

fn count<K>(keys: impl Iterator<Item = Result<K, MapError>>) -> u64 {
    keys.flatten().count() as u64
}

/// When a pin was made. An upgrade replaces the program behind a link, and the link stays.
fn made(pin: &Path) -> Option<Timestamp> {
    let age = std::fs::metadata(pin).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(age.as_millis()).ok().map(Timestamp::from_millis)
}

fn describe(
    directory: &Path,
    name: &'static str,
    kind: &'static str,
    entries: u64,
) -> Result<MapView, KernelError> {
    let fault = |error| KernelError::map(name, error);
    let data = MapData::from_pin(directory.join(name)).map_err(fault)?;
    let capacity = data.info().map_err(fault)?.max_entries();
    Ok(MapView { name, kind, capacity, entries, memory: memory(data.fd()) })
}
