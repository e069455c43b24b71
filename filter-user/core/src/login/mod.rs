//! The login component: failed logins per scope, over all services and all accounts.
//!
//! The same wrong credentials count once within the monitor period: a telephone with an old password must not ban an
//! office. Of credentials only a keyed hash is known here, and it is forgotten with the period. And an attempt that
//! several sources tell of counts once ([`sightings`]).

mod sightings;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashSet;

use self::sightings::{Sighting, Sightings};
use crate::client::Scope;
use crate::event::EventId;
use crate::offence::{Fingerprint, Offence};
use crate::report::Source;
use crate::score::{Scores, long_running};
use crate::time::Instant;

pub use sightings::{APART, SIGHTINGS_LIMIT};

/// Wrong credentials that are remembered at once; beyond it the oldest are forgotten and would count again.
pub const CREDENTIALS_LIMIT: usize = 1 << 18;

/// A failed login, or several at once.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Whose.
    pub scope: Scope,
    /// Where, on which account, and with which credentials.
    pub offence: &'a Offence,
    /// Who tells of it.
    pub source: Source,
    /// How many.
    pub count: u32,
    /// What one of them costs.
    pub price: u32,
    /// How long ago.
    pub age: Duration,
    /// Whether it counts as a failed login; what a blocked client had under way does not.
    pub counts: bool,
}

/// What a failed login comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighed {
    /// How often it counts as a failed login; the same wrong credentials again do not.
    pub counted: u32,
    /// What it costs, less what was paid for it when somebody else told of it.
    pub cost: u32,
    /// Whether any of it is new: what only repeats another source's word is not.
    pub is_news: bool,
}

/// Whether somebody may try to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginStanding {
    /// It is blocked.
    pub is_refused: bool,
    /// Its failed logins that count now.
    pub failed_logins: u64,
}

/// The failed logins of all scopes.
#[derive(Debug)]
pub struct Logins {
    counts: Scores,
    seen: HashSet<(Scope, Fingerprint)>,
    order: VecDeque<(Instant, Scope, Fingerprint)>,
    sightings: Sightings,
}

impl Logins {
    /// Counts of at most `capacity` scopes.
    pub fn new(capacity: usize) -> Self {
        let (seen, order) = (HashSet::new(), VecDeque::new());
        Self { counts: Scores::new(capacity), seen, order, sightings: Sightings::default() }
    }

    /// A login failed, which is the event `id` if it is news.
    pub fn fail(&mut self, attempt: &Attempt<'_>, id: EventId, period: Duration, now: Instant) -> Weighed {
        let Attempt { scope, offence, source, count, price, age, counts } = *attempt;
        self.forget_credentials(period, now);
        let is_repeated = offence.credentials.is_some_and(|fingerprint| {
            let is_new = counts && self.seen.insert((scope, fingerprint));
            if is_new {
                self.order.push_back((now, scope, fingerprint));
            }
            !is_new
        });
        let place = self.sightings.place(source, offence.service, offence.account.as_deref());
        let at = long_running(now).before(age);
        let (mut fresh, mut cost) = (count, 0_u32);
        while fresh > 0 {
            let Some(known) = self.sightings.find(scope, source, place, at) else { break };
            fresh -= 1;
            cost = cost.saturating_add(price.saturating_sub(known.cost));
            known.cost = known.cost.max(price);
            // It has counted for one whose credentials were not known; now they are, and have counted before.
            if is_repeated && let Some(guess) = known.guess.take() {
                self.counts.forget(scope, &[guess]);
            }
        }
        let counted = match offence.credentials {
            _ if !counts => 0,
            Some(_) if is_repeated => 0,
            Some(_) => fresh.min(1),
            None => fresh,
        };
        cost = cost.saturating_add(price.saturating_mul(fresh));
        for _ in 0..fresh {
            let guess = (counted == 1 && offence.credentials.is_none()).then_some(id);
            let sighting = Sighting::new(source, place, at, price, now).guessed(guess);
            self.sightings.note(scope, sighting);
        }
        self.counts.add_earlier(scope, counted, id, age, period, now);
        Weighed { counted, cost, is_news: fresh > 0 }
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
    use crate::offence::Kind;
    use crate::service::ServiceName;

    const PERIOD: Duration = Duration::from_mins(30);

    fn scope(host: u8) -> Scope {
        ScopeWidth::default().scope_of(ClientAddr::new(core::net::IpAddr::from([192, 0, 2, host])))
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    /// Who sees a login fail at which service, with which credentials; says how many count then.
    fn see(
        logins: &mut Logins,
        source: Source,
        (service, account): (&str, &str),
        credentials: Option<u64>,
        seconds: u64,
    ) -> u64 {
        let service = ServiceName::new(service).unwrap();
        let mut offence = Offence::new(Kind::FailedLogin, b"x").at(service).of(account.as_bytes());
        offence.credentials = credentials.map(Fingerprint);
        tell(logins, 1, source, &offence, 1, seconds)
    }

    fn tell(
        logins: &mut Logins,
        host: u8,
        source: Source,
        offence: &Offence,
        count: u32,
        seconds: u64,
    ) -> u64 {
        let (scope, age) = (scope(host), Duration::ZERO);
        let attempt = Attempt { scope, offence, source, count, price: 50, age, counts: true };
        logins.fail(&attempt, EventId(seconds), PERIOD, at(seconds));
        logins.count(scope, PERIOD, at(seconds))
    }

    fn fail(logins: &mut Logins, host: u8, credentials: Option<u64>, seconds: u64) -> u64 {
        let mut offence = Offence::new(Kind::BadAuthentication, b"x");
        offence.credentials = credentials.map(Fingerprint);
        tell(logins, host, Source::Session, &offence, 1, seconds)
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

    #[test]
    fn an_attempt_that_several_tell_of_counts_once() {
        let mut logins = Logins::new(10);
        let alice = ("smtp", "alice@example.test");
        for round in 0..5 {
            let start = round * 3;
            assert_eq!(see(&mut logins, Source::Dovecot, alice, Some(round), start), round + 1);
            let session = ("submission", "Alice@example.test");
            assert_eq!(see(&mut logins, Source::Session, session, Some(100 + round), start + 2), round + 1);
            assert_eq!(see(&mut logins, Source::Log, ("smtps", "alice"), None, start + 2), round + 1);
        }
        assert_eq!(
            see(&mut logins, Source::Log, ("smtp", "alice"), None, 20),
            6,
            "a sixth, of the log alone"
        );
        assert_eq!(see(&mut logins, Source::Dovecot, ("imap", "alice"), Some(50), 21), 7, "elsewhere");
        assert_eq!(see(&mut logins, Source::Log, ("imap", "bob"), None, 21), 8, "somebody else");
        assert_eq!(see(&mut logins, Source::Log, ("imap", ""), None, 22), 8, "any, and that is the first");
        assert_eq!(see(&mut logins, Source::Log, ("imap", "alice"), None, 42), 9, "too late to be the same");
    }

    #[test]
    fn a_source_that_does_not_know_the_service_takes_no_attempt_from_one_that_does() {
        for order in [[0, 1, 2, 3], [0, 2, 1, 3], [2, 0, 1, 3], [2, 1, 0, 3], [0, 1, 3, 2], [2, 3, 0, 1]] {
            let mut logins = Logins::new(10);
            let tells = [
                (Source::Dovecot, "smtp", Some(1)),
                (Source::Dovecot, "imap", Some(2)),
                // Of the second, by Dovecot's log, and of the first, by Postfix's.
                (Source::Log, "unknown", None),
                (Source::Log, "smtp", None),
            ];
            let mut count = 0;
            for place in order {
                let (source, service, credentials) = tells[place];
                count = see(&mut logins, source, (service, "alice"), credentials, 1);
            }
            assert_eq!(count, 2, "{order:?}");
        }
    }

    #[test]
    fn an_old_password_counts_once_whoever_tells_of_it_first() {
        let mut logins = Logins::new(10);
        let imap = ("imap", "alice");
        for round in 0..20 {
            see(&mut logins, Source::Log, imap, None, round * 30);
            assert_eq!(see(&mut logins, Source::Dovecot, imap, Some(7), round * 30 + 1), 1, "round {round}");
        }
        for round in 20..40 {
            assert_eq!(see(&mut logins, Source::Dovecot, imap, Some(7), round * 30), 1, "round {round}");
            assert_eq!(see(&mut logins, Source::Log, imap, None, round * 30 + 1), 1, "round {round}");
        }
    }

    #[test]
    fn a_report_of_many_is_less_by_what_is_known() {
        let mut logins = Logins::new(10);
        let offence = Offence::new(Kind::FailedLogin, b"x").of(b"alice");
        assert_eq!(tell(&mut logins, 1, Source::Session, &offence, 1, 0), 1);
        assert_eq!(tell(&mut logins, 1, Source::Session, &offence, 1, 1), 2);
        let summary = Offence::new(Kind::FailedLogin, b"auth=0/5");
        assert_eq!(tell(&mut logins, 1, Source::Log, &summary, 5, 2), 5);
    }

    #[test]
    fn nothing_is_remembered_for_long_or_without_a_bound() {
        let mut logins = Logins::new(10);
        let offence = Offence::new(Kind::FailedLogin, b"x");
        for second in 0..1000 {
            tell(&mut logins, 1, Source::Log, &offence, 2, second);
        }
        let kept = |logins: &Logins| logins.sightings.kept();
        assert!(kept(&logins) <= 64 + 1, "{}", kept(&logins));
        fail(&mut logins, 2, None, 2000);
        assert_eq!(kept(&logins), 1);
    }
}
