//! The session books: who may come in, and who gave a place back.
//!
//! A [`Permit`] is one place. It is handed out by [`Book::admit`] and must come back through [`Book::release`],
//! however its session went; the books are right as long as each permit comes back once. Lowered limits end no
//! session, they only admit no new one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ipnet::IpNet;

use crate::client::{ClientAddr, Scope, ScopeWidth};

/// The numbers of the load-limiting page, and the lists that go with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// All sessions, local ones too.
    pub maximum_sessions: u32,
    /// Incoming sessions, reserved ones included; local ones are not counted.
    pub maximum_incoming_sessions: u32,
    /// Part of the incoming maximum that only `reserve_sessions_for` may use; never more than that maximum.
    pub sessions_to_reserve: u32,
    /// Incoming sessions of one scope; 0 means no limit.
    pub maximum_sessions_per_address: u32,
    /// Who may use the reserve; the limit per address does not apply to them.
    pub reserve_sessions_for: Vec<IpNet>,
    /// Whose sessions are local.
    pub no_auth_networks: Vec<IpNet>,
    /// What counts as one address.
    pub scope_width: ScopeWidth,
}

impl Limits {
    /// Whether a client's sessions are local; every other one is incoming.
    pub fn is_local(&self, client: ClientAddr) -> bool {
        contains(&self.no_auth_networks, client)
    }

    /// Whether a client is one of ours, or one for whom sessions are reserved.
    pub fn is_familiar(&self, client: ClientAddr) -> bool {
        self.is_local(client) || contains(&self.reserve_sessions_for, client)
    }
}

/// Which limit a client ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// `maximum_sessions`.
    Total,
    /// `maximum_sessions_per_address`.
    PerAddress,
    /// `maximum_incoming_sessions`, less the reserve for those it is not for.
    Incoming,
}

impl Overflow {
    /// The words for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "maximum sessions",
            Self::PerAddress => "maximum sessions per address",
            Self::Incoming => "maximum incoming sessions",
        }
    }
}

/// Which pool a place was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Sessions of the No-Auth networks, which only the maximum of all sessions limits.
    Local,
    /// Incoming sessions.
    Public,
    /// Incoming sessions of hosts that places are reserved for.
    Reserved,
}

impl Pool {
    /// Every pool.
    pub const ALL: [Self; 3] = [Self::Local, Self::Public, Self::Reserved];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Public => "public",
            Self::Reserved => "reserved",
        }
    }
}

/// One place of one client. Not `Clone`: a place that exists twice would be given back twice.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place that is not released is lost for good"]
pub struct Permit {
    scope: Scope,
    pool: Pool,
}

impl Permit {
    /// Which pool it was taken from.
    pub const fn pool(&self) -> Pool {
        self.pool
    }
}

/// How many places are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Sessions of clients in the No-Auth networks.
    pub local: u32,
    /// Incoming sessions in public places.
    pub public: u32,
    /// Incoming sessions in reserved places.
    pub reserved: u32,
}

impl Taken {
    /// All sessions.
    pub const fn total(self) -> u32 {
        self.local + self.public + self.reserved
    }
}

/// The books; see the head of this module.
#[derive(Debug, Default)]
pub struct Book {
    taken: Taken,
    /// Incoming sessions per scope; a scope without sessions is not in here.
    scopes: BTreeMap<Scope, u32>,
}

impl Book {
    /// Takes a place for a client, or says which limit it ran into: total, then per address, then the incoming pool.
    pub fn admit(&mut self, client: ClientAddr, limits: &Limits) -> Result<Permit, Overflow> {
        let scope = limits.scope_width.scope_of(client);
        if self.taken.total() >= limits.maximum_sessions {
            return Err(Overflow::Total);
        }
        if limits.is_local(client) {
            return Ok(self.take(scope, Pool::Local));
        }
        let reserve = limits.sessions_to_reserve.min(limits.maximum_incoming_sessions);
        let public = limits.maximum_incoming_sessions - reserve;
        if contains(&limits.reserve_sessions_for, client) && self.taken.reserved < reserve {
            return Ok(self.take(scope, Pool::Reserved));
        }
        let own = self.scopes.get(&scope).copied().unwrap_or(0);
        let is_full = limits.maximum_sessions_per_address != 0 && own >= limits.maximum_sessions_per_address;
        if is_full && !contains(&limits.reserve_sessions_for, client) {
            return Err(Overflow::PerAddress);
        }
        if self.taken.public >= public {
            return Err(Overflow::Incoming);
        }
        Ok(self.take(scope, Pool::Public))
    }

    /// Takes a place whatever the limits say: in observe mode nothing is enforced, but the books stay right.
    pub fn admit_beyond(&mut self, client: ClientAddr, limits: &Limits) -> Permit {
        let pool = if limits.is_local(client) { Pool::Local } else { Pool::Public };
        self.take(limits.scope_width.scope_of(client), pool)
    }

    /// Gives a place back.
    #[expect(clippy::needless_pass_by_value, reason = "a permit that comes back must not be usable again")]
    pub fn release(&mut self, permit: Permit) {
        if permit.pool != Pool::Local
            && let Some(own) = self.scopes.get_mut(&permit.scope)
        {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.scopes.remove(&permit.scope);
            }
        }
        let pool = self.pool(permit.pool);
        *pool = pool.saturating_sub(1);
    }

    /// How many places are taken now.
    pub const fn taken(&self) -> Taken {
        self.taken
    }

    fn take(&mut self, scope: Scope, pool: Pool) -> Permit {
        if pool != Pool::Local {
            *self.scopes.entry(scope).or_default() += 1;
        }
        *self.pool(pool) += 1;
        Permit { scope, pool }
    }

    const fn pool(&mut self, pool: Pool) -> &mut u32 {
        match pool {
            Pool::Local => &mut self.taken.local,
            Pool::Public => &mut self.taken.public,
            Pool::Reserved => &mut self.taken.reserved,
        }
    }
}

fn contains(networks: &[IpNet], client: ClientAddr) -> bool {
    networks.iter().any(|network| network.contains(&client.ip()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::notation::parse_networks;

    fn limits(total: u32, incoming: u32, reserve: u32, per_address: u32) -> Limits {
        Limits {
            maximum_sessions: total,
            maximum_incoming_sessions: incoming,
            sessions_to_reserve: reserve,
            maximum_sessions_per_address: per_address,
            reserve_sessions_for: parse_networks("192.0.2.*").unwrap(),
            no_auth_networks: parse_networks("10.0.0.0/8").unwrap(),
            scope_width: ScopeWidth::default(),
        }
    }

    fn client(text: &str) -> ClientAddr {
        ClientAddr::new(text.parse().unwrap())
    }

    #[test]
    fn fifty_with_thirty_reserved_leave_twenty_for_others() {
        let limits = limits(1000, 50, 30, 0);
        let mut book = Book::default();
        let strangers: Vec<_> =
            (0..20).map(|_| book.admit(client("198.51.100.1"), &limits).unwrap()).collect();
        assert_eq!(book.admit(client("198.51.100.2"), &limits), Err(Overflow::Incoming));
        let reserved: Vec<_> = (0..30).map(|_| book.admit(client("192.0.2.7"), &limits).unwrap()).collect();
        assert_eq!(book.admit(client("192.0.2.8"), &limits), Err(Overflow::Incoming));
        for permit in strangers.into_iter().chain(reserved) {
            book.release(permit);
        }
        assert_eq!(book.taken(), Taken::default());
        assert!(book.scopes.is_empty());
    }

    #[test]
    fn a_reserved_host_takes_public_places_when_the_reserve_is_full() {
        let limits = limits(1000, 3, 1, 1);
        let mut book = Book::default();
        for _ in 0..3 {
            let _held = book.admit(client("192.0.2.7"), &limits).unwrap();
        }
        assert_eq!((book.taken().reserved, book.taken().public), (1, 2));
    }

    #[test]
    fn the_first_limit_that_fails_answers() {
        let limits = limits(2, 1, 0, 1);
        let mut book = Book::default();
        let first = book.admit(client("198.51.100.1"), &limits).unwrap();
        assert_eq!(book.admit(client("198.51.100.1"), &limits), Err(Overflow::PerAddress));
        assert_eq!(book.admit(client("198.51.100.2"), &limits), Err(Overflow::Incoming));
        let local = book.admit(client("10.0.0.1"), &limits).unwrap();
        assert_eq!(book.admit(client("10.0.0.1"), &limits), Err(Overflow::Total));
        book.release(first);
        book.release(local);
        let _freed = book.admit(client("198.51.100.1"), &limits).unwrap();
    }

    #[test]
    fn addresses_of_one_64_share_their_limit() {
        let limits = limits(10, 10, 0, 1);
        let mut book = Book::default();
        let _held = book.admit(client("2001:db8::1"), &limits).unwrap();
        assert_eq!(book.admit(client("2001:db8::2"), &limits), Err(Overflow::PerAddress));
    }

    proptest! {
        /// No order of arrivals, departures and reloads makes the books drift or gives a stranger a reserved place.
        #[test]
        fn the_books_never_drift(steps in proptest::collection::vec((0_u8..4, 0_u8..6, 0_u32..6, 0_u32..6), 0..200)) {
            let mut limits = limits(8, 5, 2, 2);
            let mut book = Book::default();
            let mut held: Vec<(ClientAddr, Permit)> = Vec::new();
            for (step, who, a, b) in steps {
                let client = client(["192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.2", "10.0.0.1", "10.0.0.2"][usize::from(who)]);
                match step {
                    0 | 1 => {
                        if let Ok(permit) = book.admit(client, &limits) {
                            prop_assert!(permit.pool != Pool::Reserved || contains(&limits.reserve_sessions_for, client));
                            held.push((client, permit));
                        }
                    }
                    2 if !held.is_empty() => {
                        let (_, permit) = held.swap_remove(a as usize % held.len());
                        book.release(permit);
                    }
                    _ => {
                        limits.sessions_to_reserve = a;
                        limits.maximum_incoming_sessions = b;
                    }
                }
                prop_assert_eq!(book.taken().total() as usize, held.len());
                let incoming = held.iter().filter(|(client, _)| !limits.is_local(*client)).count();
                prop_assert_eq!(book.scopes.values().sum::<u32>() as usize, incoming);
            }
        }
    }
}
