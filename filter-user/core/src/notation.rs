//! The three notations in which an administrator types addresses.
//!
//! An address (`192.0.2.7`), a CIDR (`192.0.2.0/24`), and a wildcard (`192.0.2.*`). Whatever is typed becomes one
//! network with its host bits zero, IPv4-mapped IPv6 becoming IPv4. A host part beyond the prefix is refused, not
//! cut off: `10.0.0.5/8` is more often a typing mistake than a wish to name sixteen million addresses.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::client::{host, is_mapped};

/// Why a text names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// Not one of the three notations.
    #[error(
        "`{0}` is not an address; write an address (192.0.2.7), a CIDR (192.0.2.0/24, 2001:db8::/48) or a wildcard (192.0.2.*)"
    )]
    NotAnAddress(String),
    /// A prefix length that the family does not have.
    #[error("`{text}` has an impossible prefix length; {family} prefixes go from 0 to {longest}")]
    PrefixLength {
        /// What was typed.
        text: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// 32 or 128.
        longest: u8,
    },
    /// Bits set beyond the prefix.
    #[error(
        "`{text}` has a host part beyond its prefix; did you mean {network} or the single address {address}?"
    )]
    HostPart {
        /// What was typed.
        text: String,
        /// The network it lies in.
        network: IpNet,
        /// The address it names.
        address: IpAddr,
    },
}

/// Reads one address, CIDR or wildcard.
pub fn parse_network(text: &str) -> Result<IpNet, NotationError> {
    let text = text.trim();
    let no_address = || NotationError::NotAnAddress(text.chars().take(80).collect());
    if text.contains('*') {
        return parse_wildcard(text).ok_or_else(no_address);
    }
    let Some((address, length)) = text.split_once('/') else {
        return text.parse().map(host).map_err(|_| no_address());
    };
    let address: IpAddr = address.parse().map_err(|_| no_address())?;
    // `u8::from_str` takes a sign; a prefix length has none.
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(no_address());
    }
    let (family, longest) = if address.is_ipv4() { ("IPv4", 32) } else { ("IPv6", 128) };
    let network = length
        .parse()
        .ok()
        .and_then(|length| IpNet::new(address, length).ok())
        .ok_or_else(|| NotationError::PrefixLength { text: text.to_string(), family, longest })?;
    if network.trunc().addr() != network.addr() {
        return Err(NotationError::HostPart { text: text.to_string(), network: network.trunc(), address });
    }
    Ok(canonical(network))
}

/// Reads a list separated by commas; empty places are skipped.
pub fn parse_networks(text: &str) -> Result<Vec<IpNet>, NotationError> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parse_network).collect()
}

/// `192.168.*` and `192.168.*.*` both name 192.168.0.0/16; a number behind a star names nothing.
fn parse_wildcard(text: &str) -> Option<IpNet> {
    let mut octets = [0_u8; 4];
    let mut fixed = 0_u8;
    let mut starred = false;
    for (place, part) in text.split('.').enumerate() {
        let octet = octets.get_mut(place)?;
        match part {
            "*" => starred = true,
            number if !starred && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                *octet = number.parse().ok()?;
                fixed += 1;
            }
            _ => return None,
        }
    }
    // A lone `*` would name the whole internet; nobody means that.
    let network = Ipv4Net::new(Ipv4Addr::from(octets), fixed * 8).ok()?;
    (starred && fixed > 0).then_some(IpNet::V4(network))
}

fn canonical(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if is_mapped(&v6) => mapped_to_v4(&v6).map_or(network, IpNet::V4),
        IpNet::V4(_) | IpNet::V6(_) => network,
    }
}

fn mapped_to_v4(network: &Ipv6Net) -> Option<Ipv4Net> {
    let address = network.addr().to_ipv4_mapped()?;
    Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, network: &str) {
        assert_eq!(parse_network(text).unwrap(), network.parse::<IpNet>().unwrap(), "{text}");
    }

    #[test]
    fn all_three_notations_are_taken() {
        check("192.0.2.7", "192.0.2.7/32");
        check(" 192.0.2.0/24 ", "192.0.2.0/24");
        check("192.168.1.*", "192.168.1.0/24");
        check("10.*.*.*", "10.0.0.0/8");
        check("10.1.*", "10.1.0.0/16");
        check("2001:db8::1", "2001:db8::1/128");
        check("2001:db8::/48", "2001:db8::/48");
        check("::ffff:192.0.2.7", "192.0.2.7/32");
        check("::ffff:192.0.2.0/120", "192.0.2.0/24");
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in [
            "",
            "*",
            "*.1.2.3",
            "1.*.3.*",
            "1.2.3",
            "1.2.3.4.*",
            "300.1.2.*",
            "a",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "/8",
        ] {
            assert!(matches!(parse_network(text), Err(NotationError::NotAnAddress(_))), "{text}");
        }
        assert!(matches!(parse_network("1.2.3.4/33"), Err(NotationError::PrefixLength { .. })));
        assert!(matches!(parse_network("::/129"), Err(NotationError::PrefixLength { .. })));
    }

    #[test]
    fn a_host_part_is_answered_with_the_network_it_lies_in() {
        let error = parse_network("10.0.0.5/8").unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/8") && error.contains("10.0.0.5?"), "{error}");
    }

    #[test]
    fn lists_are_separated_by_commas() {
        assert_eq!(parse_networks("192.168.1.*, 10.0.0.1,").unwrap().len(), 2);
        assert!(parse_networks("10.0.0.1,nonsense").is_err());
    }
}
