//! The login component: failed logins per scope, over all services and all accounts.
//!
//! The same wrong credentials count once within the monitor period: a telephone with an old password must not ban an
//! office. Of credentials only a keyed hash is known here, and it is forgotten with the period.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashSet;

use crate::client::Scope;
use crate::event::EventId;
use crate::offence::Fingerprint;
use crate::score::Scores;
use crate::time::Instant;

/// Wrong credentials that are remembered at once; beyond it the oldest are forgotten and would count again.
pub const CREDENTIALS_LIMIT: usize = 1 << 18;

/// The failed logins of all scopes.
#[derive(Debug)]
pub struct Logins {
    counts: Scores,
    seen: HashSet<(Scope, Fingerprint)>,
    order: VecDeque<(Instant, Scope, Fingerprint)>,
}

impl Logins {
    /// Counts of at most `capacity` scopes.
    pub fn new(capacity: usize) -> Self {
        Self { counts: Scores::new(capacity), seen: HashSet::new(), order: VecDeque::new() }
    }

    /// A login failed; says how many count now.
    pub fn fail(
        &mut self,
        scope: Scope,
        credentials: Option<Fingerprint>,
        id: EventId,
        period: Duration,
        now: Instant,
    ) -> u64 {
        self.forget_credentials(period, now);
        let is_new = credentials.is_none_or(|fingerprint| {
            let is_new = self.seen.insert((scope, fingerprint));
            if is_new {
                self.order.push_back((now, scope, fingerprint));
            }
            is_new
        });
        self.counts.add(scope, u32::from(is_new), id, period, now)
    }

    /// Failed logins of an earlier run of the agent, which counted so often; with which credentials has been forgotten.
    pub fn recall(
        &mut self,
        scope: Scope,
        count: u32,
        id: EventId,
        age: Duration,
        period: Duration,
        now: Instant,
    ) {
        self.counts.add_earlier(scope, count, id, age, period, now);
    }

    /// How many failed logins of a scope count now.
    pub fn count(&mut self, scope: Scope, period: Duration, now: Instant) -> u64 {
        self.counts.score(scope, period, now)
    }

    /// Those that count now, oldest first.
    pub fn counted(&mut self, scope: Scope, period: Duration, now: Instant) -> Vec<EventId> {
        self.counts.counted(scope, period, now)
    }

    /// They have had their consequence; says which they were.
    pub fn spend(&mut self, scope: Scope) -> Vec<EventId> {
        self.counts.spend(scope)
    }

    /// These have had their consequence elsewhere.
    pub fn forget(&mut self, scope: Scope, ids: &[EventId]) {
        self.counts.forget(scope, ids);
    }

    /// The scopes with failed logins.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.counts.scopes()
    }

    fn forget_credentials(&mut self, period: Duration, now: Instant) {
        while let Some((at, scope, fingerprint)) = self.order.front().copied() {
            if now.since(at) <= period && self.order.len() < CREDENTIALS_LIMIT {
                break;
            }
            self.order.pop_front();
            self.seen.remove(&(scope, fingerprint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientAddr, ScopeWidth};

    const PERIOD: Duration = Duration::from_mins(30);

    fn scope(host: u8) -> Scope {
        ScopeWidth::default().scope_of(ClientAddr::new(core::net::IpAddr::from([192, 0, 2, host])))
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn fail(logins: &mut Logins, host: u8, credentials: Option<u64>, seconds: u64) -> u64 {
        logins.fail(scope(host), credentials.map(Fingerprint), EventId(seconds), PERIOD, at(seconds))
    }

    #[test]
    fn the_same_wrong_credentials_count_once_for_each_scope() {
        let mut logins = Logins::new(10);
        for attempt in 0..20 {
            assert_eq!(fail(&mut logins, 1, Some(7), attempt), 1);
        }
        assert_eq!(fail(&mut logins, 1, Some(8), 20), 2);
        assert_eq!(fail(&mut logins, 2, Some(7), 20), 1, "somebody else's attempt");
        assert_eq!(fail(&mut logins, 1, None, 21), 3);
        assert_eq!(fail(&mut logins, 1, None, 22), 4, "what cannot be told apart counts each time");
        assert_eq!(logins.counted(scope(1), PERIOD, at(22)), [0, 20, 21, 22].map(EventId));
    }

    #[test]
    fn they_count_again_after_the_period_and_nothing_is_kept_of_them() {
        let mut logins = Logins::new(10);
        fail(&mut logins, 1, Some(7), 0);
        assert_eq!(fail(&mut logins, 1, Some(7), 1800), 1);
        assert_eq!(fail(&mut logins, 1, Some(7), 1801), 1);
        fail(&mut logins, 2, Some(9), 9000);
        assert_eq!((logins.seen.len(), logins.order.len()), (1, 1));
    }
}
