//! What earlier lines have said that later ones rely on.
//!
//! Two things: who the client of a session is, for programs that say so only once; and how much of a session has been counted
//! already, for a summary at its end. Both are bounded, and the oldest are forgotten together.

use alloc::boxed::Box;
use core::mem;
use core::net::IpAddr;

use hashbrown::HashMap;

/// Sessions that are surely remembered; up to twice as many may be.
const SESSIONS_LIMIT: usize = 16_384;

/// One session, as far as it has been read.
#[derive(Debug, Clone, Copy, Default)]
struct Session {
    address: Option<IpAddr>,
    /// Who has been counted, and how often.
    counted: Option<(IpAddr, u32)>,
}

/// The sessions of the last lines.
#[derive(Debug, Default)]
pub(super) struct Memory {
    young: HashMap<Box<[u8]>, Session>,
    old: HashMap<Box<[u8]>, Session>,
}

impl Memory {
    /// A session has this client.
    pub(super) fn introduce(&mut self, session: &[u8], address: IpAddr) {
        *self.of(session) = Session { address: Some(address), counted: None };
    }

    /// Whose session it is.
    pub(super) fn client(&self, session: &[u8]) -> Option<IpAddr> {
        self.young.get(session).or_else(|| self.old.get(session))?.address
    }

    /// A client has been counted so often, in a session.
    pub(super) fn count(&mut self, session: &[u8], address: IpAddr, count: u32) {
        let session = self.of(session);
        let before = session.counted.filter(|(who, _)| *who == address).map_or(0, |(_, count)| count);
        session.counted = Some((address, before.saturating_add(count)));
    }

    /// How often a client has been counted in a session, which has ended.
    pub(super) fn settle(&mut self, session: &[u8], address: IpAddr) -> u32 {
        let young = self.young.remove(session);
        let old = self.old.remove(session);
        let counted = young.or(old).and_then(|session| session.counted);
        counted.filter(|(who, _)| *who == address).map_or(0, |(_, count)| count)
    }

    fn of(&mut self, session: &[u8]) -> &mut Session {
        if self.young.len() >= SESSIONS_LIMIT {
            self.old = mem::take(&mut self.young);
        }
        let before = self.old.remove(session).unwrap_or_default();
        self.young.entry(session.into()).or_insert(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7));
    const B: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 8));

    #[test]
    fn what_has_been_counted_is_settled_once_and_for_its_client() {
        let mut memory = Memory::default();
        memory.count(b"s", A, 1);
        memory.count(b"s", A, 2);
        assert_eq!((memory.settle(b"s", A), memory.settle(b"s", A)), (3, 0));
        memory.count(b"s", A, 1);
        memory.count(b"s", B, 1);
        assert_eq!(memory.settle(b"s", B), 1, "another client has the session now");
    }

    #[test]
    fn sessions_are_bounded_and_the_latest_are_known() {
        let mut memory = Memory::default();
        for number in 0..SESSIONS_LIMIT * 3 {
            memory.introduce(&number.to_le_bytes(), A);
            assert_eq!(memory.client(&number.saturating_sub(SESSIONS_LIMIT - 1).to_le_bytes()), Some(A));
        }
        assert_eq!(memory.client(&0_usize.to_le_bytes()), None);
        assert!(memory.young.len() + memory.old.len() <= 2 * SESSIONS_LIMIT);
    }
}
