//! A frame as far as a block list needs to know it: who sent it, and whether it goes to a protected port.
//!
//! Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with extension headers, the first bytes of TCP. It is read in
//! two steps, because the sender is all that matters about an innocent packet. What is too short or too strange
//! passes: the network stack behind us is the better judge
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

/// An IP packet of which only the sender has been read. Nearly all packets need no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Who sent it: an IPv6 address, or an IPv4 address in front of zeros. Not a [`Source`], whose unused bytes would be
    /// undefined: what the compiler may put there on the way is nothing that the verifier lets it compute with.
    address: u128,
    is_v6: bool,
    /// Where its IP header begins.
    start: usize,
}

/// What a frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// An IP packet.
    Packet(Packet),
    /// Something below IP, such as ARP.
    NotIp,
    /// Too short or too strange.
    Unparsed,
}

// As they lie in the frame.
const ETHER_IPV4: u16 = 0x0800_u16.to_be();
const ETHER_IPV6: u16 = 0x86dd_u16.to_be();
const ETHER_VLAN: u16 = 0x8100_u16.to_be();
const ETHER_QINQ: u16 = 0x88a8_u16.to_be();

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

/// Reads a frame as far as its sender.
#[inline(always)]
pub fn parse<C: Cursor + ?Sized>(frame: &C) -> Parsed {
    let Some(mut kind) = frame.read::<2>(12) else { return Parsed::Unparsed };
    let mut start = 14;
    for _ in 0..VLAN_TAGS {
        if !matches!(u16::from_ne_bytes(kind), ETHER_VLAN | ETHER_QINQ) {
            break;
        }
        match frame.read::<2>(start + 2) {
            Some(inner) => kind = inner,
            None => return Parsed::Unparsed,
        }
        start += 4;
    }
    match u16::from_ne_bytes(kind) {
        // RFC 791 section 3.1.
        ETHER_IPV4 => match frame.read::<4>(start + 12) {
            Some(address) => {
                let address = u128::from(u32::from_le_bytes(address));
                Parsed::Packet(Packet { address, is_v6: false, start })
            }
            None => Parsed::Unparsed,
        },
        // RFC 8200 section 3.
        ETHER_IPV6 => match frame.read::<16>(start + 8) {
            Some(address) => {
                Parsed::Packet(Packet { address: u128::from_le_bytes(address), is_v6: true, start })
            }
            None => Parsed::Unparsed,
        },
        // A third tag is no network that a mail gateway is connected to.
        ETHER_VLAN | ETHER_QINQ => Parsed::Unparsed,
        _ => Parsed::NotIp,
    }
}

impl Packet {
    /// As numbers, for whoever hands it on where nothing else can go.
    #[inline(always)]
    pub const fn to_numbers(self) -> [u64; 3] {
        let [low, high] = [(self.address << 64 >> 64) as u64, (self.address >> 64) as u64];
        [low, high, (self.start as u64) << 1 | self.is_v6 as u64]
    }

    /// The packet that these numbers were made of.
    #[inline(always)]
    pub const fn from_numbers([low, high, rest]: [u64; 3]) -> Self {
        let address = low as u128 | (high as u128) << 64;
        Self { address, is_v6: rest & 1 != 0, start: (rest >> 1) as usize }
    }

    /// Who sent it.
    #[inline(always)]
    pub const fn source(&self) -> Source {
        if self.is_v6 {
            return Source::V6(self.address.to_le_bytes());
        }
        let [a, b, c, d, ..] = self.address.to_le_bytes();
        Source::V4([a, b, c, d])
    }

    /// What it carries; nothing if that is too short or too strange.
    #[inline(always)]
    pub fn payload<C: Cursor + ?Sized>(&self, frame: &C) -> Option<Payload> {
        if self.is_v6 { ipv6(frame, self.start) } else { ipv4(frame, self.start) }
    }
}

/// RFC 791 section 3.1.
#[inline(always)]
fn ipv4<C: Cursor + ?Sized>(frame: &C, offset: usize) -> Option<Payload> {
    let [version_and_length] = frame.read::<1>(offset)?;
    let header = usize::from(version_and_length & 0x0f) * 4;
    if version_and_length >> 4 != 4 || header < 20 {
        return None;
    }
    let fragment = u16::from_be_bytes(frame.read(offset + 6)?) & 0x1fff;
    let [protocol] = frame.read::<1>(offset + 9)?;
    match protocol {
        _ if fragment != 0 => Some(Payload::LaterFragment),
        TCP => tcp(frame, offset + header),
        _ => Some(Payload::Other),
    }
}

/// RFC 8200 sections 3 and 4.
#[inline(always)]
fn ipv6<C: Cursor + ?Sized>(frame: &C, start: usize) -> Option<Payload> {
    let [version] = frame.read::<1>(start)?;
    if version >> 4 != 6 {
        return None;
    }
    let [mut next] = frame.read::<1>(start + 6)?;
    let mut offset = start + 40;
    for _ in 0..EXTENSION_HEADERS {
        match next {
            TCP => return tcp(frame, offset),
            ICMP_V6 => return icmp_v6(frame, offset),
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY => {}
            _ => return Some(Payload::Other),
        }
        let [following, length, high, low] = frame.read::<4>(offset)?;
        offset += match next {
            FRAGMENT if u16::from_be_bytes([high, low]) & 0xfff8 != 0 => return Some(Payload::LaterFragment),
            FRAGMENT => 8,
            // RFC 4302 section 2.2 counts in words of four, less two.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        next = following;
    }
    // More headers than anybody honest sends: nothing is known of the payload.
    Some(Payload::LaterFragment)
}

/// RFC 9293 section 3.1. A first fragment may end behind the ports; it then opens no connection that we could see.
#[inline(always)]
fn tcp<C: Cursor + ?Sized>(frame: &C, offset: usize) -> Option<Payload> {
    let port = u16::from_be_bytes(frame.read(offset + 2)?);
    let opens = match frame.read::<1>(offset + 13) {
        // By arithmetic: a comparison becomes a branch, and the verifier goes through all that follows once more.
        Some([flags]) => flags >> SYN.trailing_zeros() & !(flags >> ACK.trailing_zeros()) & 1 != 0,
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
