//! Blocked and innocent sources, made up at random from a seed that every run shares.
//!
//! Uniform over the whole unicast space: the worst list for the gate, because it touches the most networks. Lists that
//! are published cluster, and leave more of the gate empty.

use std::collections::HashSet;
use std::net::IpAddr;

use fastrand::Rng;
use filter_common::model::{Cargo, Sketch};
use filter_common::packet::Source;
use filter_core::decision::{Change, Origin};
use filter_core::time::Instant;
use ipnet::IpNet;

/// The protected port that all packets go to.
pub const PORT: u16 = 25;

/// Which kind of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4; a host is one address.
    V4,
    /// IPv6; a host is one /64.
    V6,
}

impl Family {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The prefix length of a host.
    const fn host_length(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 64,
        }
    }

    fn any(self, rng: &mut Rng) -> u64 {
        match self {
            // 11.0.0.0 to 223.255.255.255 without 127.0.0.0/8.
            Self::V4 => loop {
                let address = rng.u32(0x0b00_0000..0xe000_0000);
                if address >> 24 != 127 {
                    return address.into();
                }
            },
            // 2000::/3.
            Self::V6 => rng.u64(..) >> 3 | 0x2000_0000_0000_0000,
        }
    }

    fn source(self, host: u64) -> Source {
        match self {
            Self::V4 => Source::V4(u32::try_from(host).unwrap_or(u32::MAX).to_be_bytes()),
            Self::V6 => Source::V6((u128::from(host) << 64 | 1).to_be_bytes()),
        }
    }
}

/// A list of blocked hosts that grows, and whoever is not on it.
#[derive(Debug)]
pub struct Crowd {
    family: Family,
    rng: Rng,
    hosts: Vec<u64>,
    known: HashSet<u64>,
}

impl Crowd {
    /// Nobody is blocked yet.
    pub fn new(family: Family) -> Self {
        Self { family, rng: Rng::with_seed(0x6761_7465), hosts: Vec::new(), known: HashSet::new() }
    }

    /// Blocks more hosts until there are so many; returns the new ones.
    pub fn grow(&mut self, size: usize) -> Vec<IpNet> {
        let start = self.hosts.len();
        while self.hosts.len() < size {
            let host = self.family.any(&mut self.rng);
            if self.known.insert(host) {
                self.hosts.push(host);
            }
        }
        self.hosts[start..]
            .iter()
            .map(|host| network(self.family.source(*host), self.family.host_length()))
            .collect()
    }

    /// So many sources that are blocked, each as likely.
    pub fn blocked(&mut self, size: usize) -> Vec<Source> {
        let mut hosts = self.hosts.clone();
        self.rng.shuffle(&mut hosts);
        hosts.into_iter().cycle().take(size).map(|host| self.family.source(host)).collect()
    }

    /// So many sources from anywhere that are not blocked.
    pub fn innocents(&mut self, size: usize) -> Vec<Source> {
        let (family, known, rng) = (self.family, &self.known, &mut self.rng);
        let hosts = std::iter::repeat_with(|| family.any(rng)).filter(|host| !known.contains(host));
        hosts.take(size).map(|host| family.source(host)).collect()
    }

    /// So many sources that are not blocked, but have a blocked one in their /24 (IPv4) or /48 (IPv6).
    pub fn neighbours(&mut self, size: usize) -> Vec<Source> {
        let (family, known) = (self.family, &self.known);
        let beside = |host: u64, rng: &mut Rng| match family {
            Family::V4 => host ^ rng.u64(1..256),
            Family::V6 => host ^ rng.u64(1..65536),
        };
        let mut rng = self.rng.fork();
        let hosts = self.hosts.iter().cycle().map(|host| beside(*host, &mut rng));
        hosts.filter(|host| !known.contains(host)).take(size).map(|host| family.source(host)).collect()
    }
}

/// A source and the prefix around it.
pub fn network(source: Source, length: u8) -> IpNet {
    let address = match source {
        Source::V4(address) => IpAddr::from(address),
        Source::V6(address) => IpAddr::from(address),
    };
    IpNet::new(address, length).map_or_else(|_| address.into(), |network| network.trunc())
}

/// Blocks these networks for as long as any bench takes.
pub fn blocks(networks: &[IpNet]) -> Vec<Change> {
    let block = |network: &IpNet| Change::Block {
        network: *network,
        since: Instant::from_nanos(0),
        until: Instant::FAR_FUTURE,
        origin: Origin::Manual,
    };
    networks.iter().map(block).collect()
}

/// A frame that opens a connection to the protected port; as long as its header says, because netfilter looks at that.
pub fn frame(from: Source) -> Vec<u8> {
    let cargo = Cargo::Tcp { port: PORT, opens: true };
    let sketch = Sketch {
        from: Some(from),
        tags: 0,
        extras: 0,
        cargo,
        first_fragment: false,
        padding: 20,
        keep: None,
    };
    sketch.frame()
}
