//! A frame as far as a block list needs to know it: who sent it, and whether it goes to a protected port.
//!
//! Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with extension headers, the first bytes of TCP. What is
//! shorter or stranger than that is [`Parsed::Unparsed`], and passes: the network stack behind us is the better judge
//! of odd packets. Nothing here reads a byte outside the frame; the cursor sees to that.

use crate::limits::{EXTENSION_HEADERS, VLAN_TAGS};

/// Reads bytes of a frame; the only way to them.
pub trait Cursor {
    /// The `N` bytes at `offset`, or nothing if the frame does not have them all.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl Cursor for [u8] {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}

/// Who sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An IPv4 address, in network order.
    V4([u8; 4]),
    /// An IPv6 address, in network order.
    V6([u8; 16]),
}

/// What a packet carries, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// TCP: the port it goes to, and whether it opens a connection (SYN without ACK).
    Tcp {
        /// Destination port.
        port: u16,
        /// SYN is set and ACK is not.
        opens: bool,
    },
    /// A later fragment: its ports were in another packet.
    LaterFragment,
    /// IPv6 neighbour discovery (RFC 4861: `ICMPv6` types 133 to 137).
    NeighbourDiscovery,
    /// Anything else.
    Other,
}

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Who sent it.
    pub source: Source,
    /// What it carries.
    pub payload: Payload,
}

/// What a frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// An IP packet.
    Flow(Flow),
    /// Something below IP, such as ARP.
    NotIp,
    /// Too short or too strange.
    Unparsed,
}

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
const ETHER_VLAN: u16 = 0x8100;
const ETHER_QINQ: u16 = 0x88a8;

const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMP_V6: u8 = 58;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Reads a frame.
#[inline(always)]
pub fn parse<C: Cursor + ?Sized>(frame: &C) -> Parsed {
    let Some(mut kind) = frame.read::<2>(12) else { return Parsed::Unparsed };
    let mut offset = 14;
    for _ in 0..VLAN_TAGS {
        if !matches!(u16::from_be_bytes(kind), ETHER_VLAN | ETHER_QINQ) {
            break;
        }
        match frame.read::<2>(offset + 2) {
            Some(inner) => kind = inner,
            None => return Parsed::Unparsed,
        }
        offset += 4;
    }
    let flow = match u16::from_be_bytes(kind) {
        ETHER_IPV4 => ipv4(frame, offset),
        ETHER_IPV6 => ipv6(frame, offset),
        // A third tag is no network that a mail gateway is connected to.
        ETHER_VLAN | ETHER_QINQ => None,
        _ => return Parsed::NotIp,
    };
    flow.map_or(Parsed::Unparsed, Parsed::Flow)
}

/// RFC 791 section 3.1.
#[inline(always)]
fn ipv4<C: Cursor + ?Sized>(frame: &C, offset: usize) -> Option<Flow> {
    let [version_and_length] = frame.read::<1>(offset)?;
    let header = usize::from(version_and_length & 0x0f) * 4;
    if version_and_length >> 4 != 4 || header < 20 {
        return None;
    }
    let fragment = u16::from_be_bytes(frame.read(offset + 6)?) & 0x1fff;
    let [protocol] = frame.read::<1>(offset + 9)?;
    let source = Source::V4(frame.read(offset + 12)?);
    let payload = match protocol {
        _ if fragment != 0 => Payload::LaterFragment,
        TCP => tcp(frame, offset + header)?,
        _ => Payload::Other,
    };
    Some(Flow { source, payload })
}

/// RFC 8200 sections 3 and 4.
#[inline(always)]
fn ipv6<C: Cursor + ?Sized>(frame: &C, start: usize) -> Option<Flow> {
    let [version] = frame.read::<1>(start)?;
    if version >> 4 != 6 {
        return None;
    }
    let [mut next] = frame.read::<1>(start + 6)?;
    let source = Source::V6(frame.read(start + 8)?);
    let mut offset = start + 40;
    for _ in 0..EXTENSION_HEADERS {
        match next {
            TCP => return Some(Flow { source, payload: tcp(frame, offset)? }),
            ICMP_V6 => return Some(Flow { source, payload: icmp_v6(frame, offset)? }),
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY => {}
            _ => return Some(Flow { source, payload: Payload::Other }),
        }
        let [following, length, high, low] = frame.read::<4>(offset)?;
        offset += match next {
            FRAGMENT if u16::from_be_bytes([high, low]) & 0xfff8 != 0 => {
                return Some(Flow { source, payload: Payload::LaterFragment });
            }
            FRAGMENT => 8,
            // RFC 4302 section 2.2 counts in words of four, less two.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        next = following;
    }
    // More headers than anybody honest sends: nothing is known of the payload.
    Some(Flow { source, payload: Payload::LaterFragment })
}

/// RFC 9293 section 3.1. A first fragment may end behind the ports; it then opens no connection that we could see.
#[inline(always)]
fn tcp<C: Cursor + ?Sized>(frame: &C, offset: usize) -> Option<Payload> {
    let port = u16::from_be_bytes(frame.read(offset + 2)?);
    let opens = match frame.read::<1>(offset + 13) {
        Some([flags]) => flags & (SYN | ACK) == SYN,
        None => false,
    };
    Some(Payload::Tcp { port, opens })
}

#[inline(always)]
fn icmp_v6<C: Cursor + ?Sized>(frame: &C, offset: usize) -> Option<Payload> {
    // Two bytes, of which one is not needed: for a single byte at an unknown offset the verifier infers no bound.
    let [kind, _] = frame.read::<2>(offset)?;
    Some(if (133..=137).contains(&kind) { Payload::NeighbourDiscovery } else { Payload::Other })
}

#[cfg(test)]
mod tests;
