//! How many requests one network, or one user or token, may make: some at once, then so many in a second.
//!
//! What is kept for each is the instant at which its requests so far would have been due at the steady rate (the generic cell
//! rate algorithm, as in ITU-T I.371); whoever is not ahead of it has no entry.

use core::time::Duration;

use alloc::string::String;
use hashbrown::HashMap;

use crate::client::Scope;
use crate::time::Instant;

/// How many seconds' worth of requests may come at once.
pub(super) const AT_ONCE: u32 = 10;
/// Networks, users and tokens that are remembered; beyond it nobody new may ask until one has been quiet.
pub(super) const ASKERS_LIMIT: usize = 65_536;
/// How often those that have been quiet are looked for, when there is no room.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asker {
    /// All that come from one network.
    Network(Scope),
    /// All of one user or token, wherever they come from.
    Account(String),
}

/// Requests by who makes them.
#[derive(Debug, Default)]
pub struct Rates {
    /// None: there is no limit.
    interval: Option<Duration>,
    due: HashMap<Asker, Instant>,
    swept: Option<Instant>,
}

impl Rates {
    /// For so many requests in a second; 0: no limit.
    pub fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second);
        Self { interval, ..Self::default() }
    }

    /// Takes a request, or says how long to wait. One that is refused does not count.
    pub fn admit(&mut self, asker: Asker, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let tolerance = Duration::from_secs(AT_ONCE.into()).saturating_sub(interval);
        let known = self.due.get(&asker).copied();
        let due = known.unwrap_or(now).max(now);
        let wait = due.since(now).saturating_sub(tolerance);
        if !wait.is_zero() {
            return Err(wait);
        }
        if known.is_none() && !self.has_room(now) {
            return Err(SWEEP_PAUSE);
        }
        self.due.insert(asker, due.after(interval));
        Ok(())
    }

    /// Whether one more can be remembered.
    fn has_room(&mut self, now: Instant) -> bool {
        let is_full = |rates: &Self| rates.due.len() >= ASKERS_LIMIT;
        if is_full(self) && self.swept.is_none_or(|swept| now.since(swept) >= SWEEP_PAUSE) {
            self.swept = Some(now);
            self.due.retain(|_, due| *due > now);
        }
        !is_full(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientAddr, ScopeWidth};
    use core::net::{IpAddr, Ipv4Addr};

    fn network(number: u32) -> Asker {
        let address = IpAddr::from(Ipv4Addr::from(number));
        Asker::Network(ScopeWidth::default().scope_of(ClientAddr::new(address)))
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn so_many_may_come_at_once_and_then_each_at_its_time() {
        let mut rates = Rates::new(5);
        for _ in 0..5 * AT_ONCE {
            assert_eq!(rates.admit(network(1), at(0)), Ok(()));
        }
        assert_eq!(rates.admit(network(1), at(0)), Err(Duration::from_millis(200)));
        assert_eq!(rates.admit(network(2), at(0)), Ok(()), "somebody else");
        assert_eq!(rates.admit(Asker::Account("anna".into()), at(0)), Ok(()), "an account");
        assert_eq!(rates.admit(network(1), at(150)), Err(Duration::from_millis(50)));
        assert_eq!(rates.admit(network(1), at(200)), Ok(()), "what was refused does not count");
        assert_eq!(rates.admit(network(1), at(201)), Err(Duration::from_millis(199)));
        // After a while of nothing it is as at first.
        for _ in 0..5 * AT_ONCE {
            assert_eq!(rates.admit(network(1), at(20_000)), Ok(()));
        }
        assert!(rates.admit(network(1), at(20_000)).is_err());
    }

    #[test]
    fn without_a_limit_nobody_waits_and_nobody_is_remembered() {
        let mut rates = Rates::new(0);
        assert!((0..1000).all(|_| rates.admit(network(1), at(0)).is_ok()));
        assert!(rates.due.is_empty());
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut rates = Rates::new(1);
        for number in 0..u32::try_from(ASKERS_LIMIT).unwrap() {
            assert_eq!(rates.admit(network(number), at(0)), Ok(()));
        }
        assert_eq!(rates.admit(network(u32::MAX), at(10)), Err(SWEEP_PAUSE));
        assert_eq!(rates.admit(network(0), at(10)), Ok(()), "whoever is known may go on");
        assert_eq!(rates.due.len(), ASKERS_LIMIT);
        assert_eq!(rates.admit(network(u32::MAX), at(2000)), Ok(()));
        assert_eq!(rates.due.len(), 1);
    }
}
