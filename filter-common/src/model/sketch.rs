//! A packet in the words of the rules, and the frame that it becomes.

use alloc::vec;
use alloc::vec::Vec;

use super::alloc;
use crate::limits::{EXTENSION_HEADERS, VLAN_TAGS};
use crate::packet::Source;
use crate::reason::Reason;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cargo {
    /// TCP.
    Tcp {
        /// Where it goes.
        port: u16,
        /// SYN without ACK.
        opens: bool,
    },
    /// A fragment that is not the first.
    LaterFragment,
    /// A neighbour solicitation.
    NeighbourDiscovery,
    /// UDP, or an echo request.
    Other,
}

/// A frame, how many bytes of it must be there to be understood, and where TCP's flags are.
struct Built {
    frame: Vec<u8>,
    needed: usize,
    flags: usize,
}

/// A packet.
#[derive(Debug, Clone, Copy)]
pub struct Sketch {
    /// Who sent it; none: it is ARP.
    pub from: Option<Source>,
    /// How many VLAN tags are around it.
    pub tags: usize,
    /// Words of IPv4 options, or IPv6 extension headers before the payload.
    pub extras: usize,
    /// What it carries.
    pub cargo: Cargo,
    /// Whether it is the first of several fragments (IPv6: with a fragment header).
    pub first_fragment: bool,
    /// Bytes behind the headers.
    pub padding: usize,
    /// Bytes that are kept behind the first 14; none: all.
    pub keep: Option<usize>,
}

impl Sketch {
    /// Who sent it, if that can be read.
    pub(super) fn sender(&self) -> Result<Source, Reason> {
        let header = 14 + 4 * self.tags;
        let needed = match self.from {
            None => header,
            Some(Source::V4(_)) => header + 16,
            Some(Source::V6(_)) => header + 24,
        };
        if self.tags > VLAN_TAGS || self.build().frame.len() < needed {
            return Err(Reason::Unparsed);
        }
        self.from.ok_or(Reason::NotIp)
    }

    /// What the rules see in it, if that can be read.
    pub(super) fn seen(&self) -> Option<Cargo> {
        let Built { frame, needed, flags } = self.build();
        if frame.len() < needed {
            return None;
        }
        Some(match (self.cargo, self.from) {
            (_, Some(Source::V6(_))) if self.extension_headers() >= EXTENSION_HEADERS => Cargo::LaterFragment,
            (Cargo::NeighbourDiscovery, Some(Source::V4(_))) => Cargo::Other,
            (Cargo::Tcp { port, opens }, _) => Cargo::Tcp { port, opens: opens && frame.len() > flags },
            (cargo, _) => cargo,
        })
    }

    /// The frame.
    pub fn frame(&self) -> Vec<u8> {
        self.build().frame
    }

    fn build(&self) -> Built {
        let mut frame = vec![0x02; 12];
        for tag in 0..self.tags {
            frame.extend(if tag == 0 && self.tags > 1 { [0x88, 0xa8] } else { [0x81, 0x00] });
            frame.extend([0x00, 0x2a]);
        }
        let needed = match self.from {
            None => {
                frame.extend([0x08, 0x06]);
                frame.len()
            }
            Some(Source::V4(from)) => self.ipv4(from, &mut frame),
            Some(Source::V6(from)) => self.ipv6(from, &mut frame),
        };
        // Of a TCP header that is the last header: twenty bytes, of which the fourteenth holds the flags.
        let flags = frame.len().saturating_sub(7);
        frame.resize(frame.len() + self.padding, 0xa5);
        if let Some(keep) = self.keep {
            frame.truncate(14 + keep);
        }
        Built { frame, needed, flags }
    }

    const fn extension_headers(&self) -> usize {
        let has_fragment_header = self.first_fragment || matches!(self.cargo, Cargo::LaterFragment);
        self.extras + has_fragment_header as usize
    }

    fn ipv4(&self, from: [u8; 4], frame: &mut Vec<u8>) -> usize {
        frame.extend([0x08, 0x00]);
        let start = frame.len();
        let words = 5 + u8::try_from(self.extras.min(10)).unwrap_or(0);
        let fragment: u16 = match self.cargo {
            Cargo::LaterFragment => 0x20b9,
            _ if self.first_fragment => 0x2000,
            _ => 0x4000,
        };
        let protocol = match self.cargo {
            Cargo::Tcp { .. } | Cargo::LaterFragment => 6,
            Cargo::NeighbourDiscovery | Cargo::Other => 17,
        };
        frame.extend([0x40 | words, 0, 0, 60, 0, 1]);
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, protocol, 0, 0]);
        frame.extend(from);
        frame.extend([203, 0, 113, 1]);
        frame.resize(start + usize::from(words) * 4, 1);
        match self.cargo {
            Cargo::Tcp { port, opens } => tcp(port, opens, frame),
            _ => start + 16,
        }
    }

    fn ipv6(&self, from: [u8; 16], frame: &mut Vec<u8>) -> usize {
        const KINDS: [u8; 5] = [0, 60, 43, 135, 51];
        frame.extend([0x86, 0xdd]);
        let start = frame.len();
        let last = match self.cargo {
            Cargo::Tcp { .. } | Cargo::LaterFragment => 6,
            Cargo::NeighbourDiscovery => 58,
            Cargo::Other => 17,
        };
        let fragment: Option<u16> = match self.cargo {
            Cargo::LaterFragment => Some(0x05a9),
            _ if self.first_fragment => Some(0x0001),
            _ => None,
        };
        let mut headers: Vec<u8> = (0..self.extras).map(|place| KINDS[place % KINDS.len()]).collect();
        headers.extend(fragment.map(|_| 44));
        headers.push(last);
        frame.extend([0x60, 0, 0, 0, 0, 40, headers[0], 64]);
        frame.extend(from);
        frame.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let mut needed = start + 24;
        for (place, pair) in headers.windows(2).enumerate() {
            // Nobody looks at the headers behind the bound, nor at what they carry.
            if place < EXTENSION_HEADERS {
                needed = frame.len() + 4;
            }
            match pair[0] {
                44 => {
                    frame.extend([pair[1], 0]);
                    frame.extend(fragment.unwrap_or(0).to_be_bytes());
                    frame.extend([0; 4]);
                }
                // Sixteen bytes either way: two units of eight, or four words of which two are not counted.
                51 => frame.extend([pair[1], 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                _ => frame.extend([pair[1], 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            }
        }
        let payload = match self.cargo {
            Cargo::Tcp { port, opens } => tcp(port, opens, frame),
            Cargo::NeighbourDiscovery => {
                frame.extend([135, 0, 0, 0]);
                frame.len() - 2
            }
            Cargo::LaterFragment | Cargo::Other => needed,
        };
        if self.extension_headers() >= EXTENSION_HEADERS { needed } else { payload }
    }
}

/// A header with its options; returns how much of the frame must be there for the port to be known.
fn tcp(port: u16, opens: bool, frame: &mut Vec<u8>) -> usize {
    frame.extend([0xc0, 0x01]);
    frame.extend(port.to_be_bytes());
    let needed = frame.len();
    frame.extend([0; 8]);
    frame.extend([0x50, if opens { 0x02 } else { 0x10 }, 0x20, 0, 0, 0, 0, 0]);
    needed
}
