//! Who drops the packets of blocked sources: the filter, and whatever else an administrator could take for it.
//!
//! Each gets what suits it best: sets of plain addresses, at the earliest place, one rule that also counts, because the
//! filter counts too and because a dropper that drops nothing would win.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use aya::maps::{Map, MapData, PerCpuHashMap, PerCpuValues};
use aya::programs::XdpMode;
use aya::util::nr_cpus;
use filter_user::config::Attach;
use filter_user::kernel::{Filter, View};
use ipnet::IpNet;

use super::crowd::blocks;
use super::feed::addresses;
use super::packet::settings;
use super::rig::Rig;
use crate::world::{WAN, World};

/// Entries that xdp-filter's maps have room for.
const XDP_FILTER_ROOM: usize = 10_000;
/// Bytes of memory for each entry behind [`Rival::OneLoad`]: a line of the cache.
const LINE: usize = 64;
/// Longest list in one trie, which the kernel needs seconds to free beyond that.
const TRIE_ROOM: usize = 1_000_000;

/// All of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// An XDP program that counts and drops every frame: the floor.
    Everything,
    /// An XDP program that does the same after one load from as many lines of memory as there are entries: the floor of
    /// whatever remembers them all.
    OneLoad,
    /// The filter.
    Gatepost,
    /// An XDP program with one trie of all entries.
    Trie,
    /// xdp-filter of xdp-tools.
    XdpFilter,
    /// A set of nftables at the netdev hook `ingress`.
    NftIngress,
    /// A set of nftables at the hook `prerouting`, before connection tracking.
    NftPrerouting,
    /// A set of ipset in the table `raw` of iptables.
    IpSet,
}

impl Rival {
    /// All of them, the floor first.
    pub const ALL: [Self; 8] = [
        Self::Everything,
        Self::OneLoad,
        Self::Gatepost,
        Self::Trie,
        Self::XdpFilter,
        Self::NftIngress,
        Self::NftPrerouting,
        Self::IpSet,
    ];

    /// Its name in a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::OneLoad => "one load",
            Self::Gatepost => "gatepost",
            Self::Trie => "LPM-only XDP",
            Self::XdpFilter => "xdp-filter",
            Self::NftIngress => "nft set, netdev ingress",
            Self::NftPrerouting => "nft set, prerouting raw",
            Self::IpSet => "ipset, iptables raw",
        }
    }

    /// How many entries it can hold.
    pub const fn most(self) -> usize {
        match self {
            Self::XdpFilter => XDP_FILTER_ROOM,
            Self::Trie => TRIE_ROOM,
            _ => usize::MAX,
        }
    }

    /// Puts it in front of the gateway with these entries.
    pub fn prepare(self, world: &World, listed: &[IpNet]) -> Result<Box<dyn Dropper>> {
        Ok(match self {
            Self::Everything => attached(world, WAN, Rig::load(1, 0)?, "everything")?,
            Self::OneLoad => attached(world, WAN, Rig::load_with_panes(1, listed.len() * LINE)?, "plunge")?,
            Self::Trie => {
                let mut rig = Rig::load(1, listed.len())?;
                rig.plant(listed)?;
                attached(world, WAN, rig, "trie")?
            }
            Self::Gatepost => gatepost(world, listed)?,
            Self::XdpFilter => xdp_filter(world, listed)?,
            Self::NftIngress => {
                let hook = format!("ingress device {WAN} priority 0");
                nftables(world, listed, "netdev", &hook)?
            }
            Self::NftPrerouting => nftables(world, listed, "ip", "prerouting priority raw")?,
            Self::IpSet => ip_set(world, listed)?,
        })
    }
}

/// Somebody in front of the gateway, until dropped.
pub trait Dropper: Send {
    /// Packets that it has dropped, by its own counter.
    fn dropped(&mut self, world: &World) -> Result<u64>;
}

impl Dropper for Rig {
    fn dropped(&mut self, _world: &World) -> Result<u64> {
        Self::dropped(self)
    }
}

/// One of the rig's programs on an interface of the gateway.
pub(super) fn attached(
    world: &World,
    interface: &str,
    mut rig: Rig,
    program: &str,
) -> Result<Box<dyn Dropper>> {
    world.gateway.enter(|| {
        rig.program(program)?.attach(interface, XdpMode::Driver)?;
        Ok(())
    })?;
    Ok(Box::new(rig))
}

/// The filter of a world, and whoever keeps it if that is not an agent.
pub(super) struct Gatepost {
    _filter: Option<Filter>,
}

impl Gatepost {
    /// The one that an agent has attached.
    pub(super) const OF_AGENT: Self = Self { _filter: None };
}

impl Dropper for Gatepost {
    fn dropped(&mut self, world: &World) -> Result<u64> {
        let counters = View::open(world.pins())?.counters()?;
        Ok(counters.iter().filter(|counter| counter.dropped).map(|counter| counter.packets).sum())
    }
}

fn gatepost(world: &World, listed: &[IpNet]) -> Result<Box<dyn Dropper>> {
    let mut filter = Filter::load(&settings(world, listed.len())?)?;
    let refused = filter.apply(&blocks(listed));
    ensure!(refused.is_empty(), "{} entries were refused", refused.len());
    world.gateway.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(filter.attach(WAN, Attach::Native))?;
        Ok(())
    })?;
    Ok(Box::new(Gatepost { _filter: Some(filter) }))
}

/// A program that is asked for its counter: the number in front of, or behind, a word of what it prints.
struct Told {
    program: &'static str,
    arguments: Vec<String>,
    read: fn(&str) -> Option<u64>,
    /// Called in the gateway at the end.
    farewell: &'static [&'static str],
    gateway: String,
}

impl Dropper for Told {
    fn dropped(&mut self, world: &World) -> Result<u64> {
        let Self { program, arguments, read, .. } = self;
        world.gateway.enter(|| {
            let output = Command::new(*program).args(&*arguments).stdin(Stdio::null()).output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            read(&text).with_context(|| format!("{program} {arguments:?} tells no counter: {text}"))
        })
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let [program, arguments @ ..] = self.farewell {
            let net = format!("--net=/run/netns/{}", self.gateway);
            // What stays is told by the next one that does not start.
            let _ = Command::new("nsenter").arg(net).arg(program).args(arguments).output();
        }
    }
}

fn told(world: &World, program: &'static str, arguments: &[&str], read: fn(&str) -> Option<u64>) -> Told {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Told { program, arguments, read, farewell: &[], gateway: world.gateway.name().to_owned() }
}

fn nftables(world: &World, listed: &[IpNet], family: &str, hook: &str) -> Result<Box<dyn Dropper>> {
    let path = world.scratch().join("rules.nft");
    let mut rules = format!("add table {family} lab\n");
    let room = listed.len().next_power_of_two();
    writeln!(rules, "add set {family} lab blocked {{ type ipv4_addr; size {room}; }}")?;
    writeln!(rules, "add counter {family} lab dropped")?;
    writeln!(rules, "add chain {family} lab guard {{ type filter hook {hook}; policy accept; }}")?;
    writeln!(rules, "add element {family} lab blocked {{ {} }}", addresses(listed, ", "))?;
    writeln!(rules, "add rule {family} lab guard ip saddr @blocked counter name dropped drop")?;
    fs::write(&path, rules)?;
    world.gateway.run("nft", &["-f", &path.to_string_lossy()])?;
    let arguments = ["list", "counter", family, "lab", "dropped"];
    Ok(Box::new(told(world, "nft", &arguments, |text| number_behind(text, "packets"))))
}

fn ip_set(world: &World, listed: &[IpNet]) -> Result<Box<dyn Dropper>> {
    let path = world.scratch().join("blocked.ipset");
    let room = listed.len().next_power_of_two().max(64);
    let mut lines = format!("create blocked hash:ip hashsize {room} maxelem {room}\n");
    for network in listed {
        writeln!(lines, "add blocked {}", network.addr())?;
    }
    fs::write(&path, lines)?;
    world.gateway.run("ipset", &["restore", "-file", &path.to_string_lossy()])?;
    let rule = ["-m", "set", "--match-set", "blocked", "src", "-j", "DROP"];
    world.gateway.run("iptables", &[&["-t", "raw", "-A", "PREROUTING"][..], &rule].concat())?;
    let read =
        |text: &str| text.lines().find(|line| line.contains("DROP"))?.split_whitespace().next()?.parse().ok();
    Ok(Box::new(told(world, "iptables", &["-t", "raw", "-nvxL", "PREROUTING"], read)))
}

fn xdp_filter(world: &World, listed: &[IpNet]) -> Result<Box<dyn Dropper>> {
    let mut loaded = told(world, "xdp-filter", &["status"], |text| number_behind(text, "XDP_DROP"));
    loaded.farewell = &["xdp-filter", "unload", WAN];
    world
        .gateway
        .run("xdp-filter", &["load", "--mode", "native", "--policy", "allow", "--features", "ipv4", WAN])?;
    // It adds one address in each call of the program; through its map it takes no time. 1: as a source.
    let map = MapData::from_pin("/sys/fs/bpf/xdp-filter/filter_ipv4")?;
    let mut map = PerCpuHashMap::<_, [u8; 4], u64>::try_from(Map::PerCpuHashMap(map))?;
    let processors = nr_cpus().map_err(|(path, error)| anyhow::anyhow!("{path}: {error}"))?;
    for network in listed {
        let IpNet::V4(network) = network else { bail!("{network} is no IPv4 network") };
        map.insert(network.addr().octets(), PerCpuValues::try_from(vec![1; processors])?, 0)?;
    }
    Ok(Box::new(loaded))
}

fn number_behind(text: &str, word: &str) -> Option<u64> {
    text.split_once(word)?.1.split_whitespace().next()?.parse().ok()
}
