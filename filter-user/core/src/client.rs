//! Who is speaking: one canonical address per client, one scope per set of addresses that share a fate.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// The address of a client, canonical: an IPv4-mapped IPv6 address has become IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAddr(IpAddr);

impl ClientAddr {
    /// Makes an address canonical, whichever socket it was read from.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The canonical address.
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The addresses that are scored, limited and blocked as one: by default one IPv4 address or one IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Scope(IpNet);

impl Scope {
    /// The network of this scope, its host bits zero.
    pub const fn network(self) -> IpNet {
        self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_network(&self.0, f)
    }
}

/// How wide a scope is in each family, as prefix lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeWidth {
    v4: u8,
    v6: u8,
}

impl ScopeWidth {
    /// Widths from prefix lengths, or nothing if IPv4 is not in 8–32 or IPv6 not in 32–128: wider scopes
    /// would block whole providers for one client's deeds.
    pub fn new(v4: u8, v6: u8) -> Option<Self> {
        ((8..=32).contains(&v4) && (32..=128).contains(&v6)).then_some(Self { v4, v6 })
    }

    /// The narrower of two in each family.
    #[must_use]
    pub fn narrower(self, other: Self) -> Self {
        Self { v4: self.v4.max(other.v4), v6: self.v6.max(other.v6) }
    }

    /// The scope that a client belongs to.
    pub fn scope_of(self, client: ClientAddr) -> Scope {
        // The lengths were checked in `new`, so neither constructor can refuse them.
        let network = match client.ip() {
            IpAddr::V4(v4) => Ipv4Net::new(v4, self.v4).map_or_else(|_| host(client.ip()), IpNet::V4),
            IpAddr::V6(v6) => Ipv6Net::new(v6, self.v6).map_or_else(|_| host(client.ip()), IpNet::V6),
        };
        Scope(network.trunc())
    }
}

impl Default for ScopeWidth {
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

/// The network of exactly one address.
pub fn host(address: IpAddr) -> IpNet {
    IpNet::from(address.to_canonical())
}

/// Writes a network the way administrators do: a single address without its `/32` or `/128`.
pub fn fmt_network(network: &IpNet, f: &mut impl fmt::Write) -> fmt::Result {
    if network.prefix_len() == network.max_prefix_len() {
        write!(f, "{}", network.addr())
    } else {
        write!(f, "{network}")
    }
}

/// Whether a network is an IPv4 one written as IPv6 (`::ffff:0:0/96` and longer).
pub fn is_mapped(network: &Ipv6Net) -> bool {
    network.prefix_len() >= 96 && Ipv6Addr::to_ipv4_mapped(&network.addr()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(address: &str) -> alloc::string::String {
        let client = ClientAddr::new(address.parse().unwrap());
        alloc::format!("{}", ScopeWidth::default().scope_of(client))
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(scope("::ffff:192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn ipv6_clients_share_their_64() {
        assert_eq!(scope("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn widths_that_block_providers_are_refused() {
        assert!(ScopeWidth::new(7, 64).is_none());
        assert!(ScopeWidth::new(32, 31).is_none());
        assert!(ScopeWidth::new(24, 48).is_some());
    }
}
