//! The same failed login, seen by several: the SMTP session, Dovecot's report and the line in a log are one attempt.
//!
//! Each source tells of an attempt once. So the second source that tells of one at the same service, for the same account,
//! within [`APART`] of it means the same, and its next one the next. Whoever does not know the account may mean any.

use alloc::collections::VecDeque;
use core::hash::BuildHasher as _;
use core::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap};

use crate::client::Scope;
use crate::event::EventId;
use crate::report::Source;
use crate::service::ServiceName;
use crate::time::Instant;

/// How far apart two sources may see the same attempt: Dovecot reports before it lets the client wait, logs after it.
pub const APART: Duration = Duration::from_secs(20);
/// How long an attempt is remembered for others to tell of it: a log may be read late.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Attempts of all scopes that are remembered; beyond it the oldest are forgotten, and would count again.
pub const SIGHTINGS_LIMIT: usize = 1 << 16;
/// Attempts of one scope that are remembered.
const PER_SCOPE: usize = 64;

/// Where and whose, as far as it tells attempts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    service: Option<ServiceName>,
    account: Option<Account>,
}

/// An account, whole and without its domain, which some write and others do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    whole: u64,
    local: u64,
    has_domain: bool,
}

impl Account {
    fn is_same(self, other: Self) -> bool {
        self.whole == other.whole || (!(self.has_domain && other.has_domain) && self.local == other.local)
    }
}

impl Place {
    /// A line of Dovecot's auth process does not say for which service it was.
    fn is_vague(self) -> bool {
        self.service == Some(ServiceName::UNKNOWN)
    }

    fn is_same(self, other: Self) -> bool {
        let accounts = self.account.zip(other.account);
        (self.is_vague() || other.is_vague() || self.service == other.service)
            && accounts.is_none_or(|(one, other)| one.is_same(other))
    }
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    place: Place,
    /// When it happened, on the clock that runs longer than the machine.
    at: Instant,
    /// When it was told of first.
    told: Instant,
    seen_by: u8,
    /// Of those, who did not say for which service it was, and may have meant another one.
    vague: u8,
    /// What it has cost so far.
    pub(super) cost: u32,
    /// The event that counted it as a failed login without knowing the credentials; none: it did not count, or rightly.
    pub(super) guess: Option<EventId>,
}

impl Sighting {
    /// One that this source tells of now, which has cost something.
    pub(super) fn new(source: Source, place: Place, at: Instant, cost: u32, now: Instant) -> Self {
        let vague = if place.is_vague() { source.bit() } else { 0 };
        Self { place, at, told: now, seen_by: source.bit(), vague, cost, guess: None }
    }

    /// Counted without knowing the credentials.
    pub(super) const fn guessed(mut self, guess: Option<EventId>) -> Self {
        self.guess = guess;
        self
    }
}

/// The attempts of the last moments.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    of: HashMap<Scope, VecDeque<Sighting>>,
    order: VecDeque<(Instant, Scope)>,
    hasher: DefaultHashBuilder,
}

impl Sightings {
    /// Where an attempt was, and whose account it was about.
    pub(super) fn place(&self, source: Source, service: ServiceName, account: Option<&str>) -> Place {
        let account = account.map(|name| {
            let name = name.to_ascii_lowercase();
            let local = name.split('@').next().unwrap_or_default();
            let hash = |text: &str| self.hasher.hash_one(text);
            Account { whole: hash(&name), local: hash(local), has_domain: local.len() < name.len() }
        });
        // Where mail is handed in, each source has names of its own.
        let takes_mail = service.takes_mail() || (source == Source::Session && service != ServiceName::WEB);
        let service = (!takes_mail).then_some(service);
        Place { service, account }
    }

    /// The attempt that this source has not told of yet and means now; it has told of it afterwards.
    pub(super) fn find(
        &mut self,
        scope: Scope,
        source: Source,
        place: Place,
        at: Instant,
    ) -> Option<&mut Sighting> {
        let (own, bit) = (self.of.get_mut(&scope)?, source.bit());
        let is_near = |other: &Sighting| at.since(other.at).max(other.at.since(at)) <= APART;
        let fits = |other: &Sighting| is_near(other) && other.place.is_same(place);
        let is_open = |other: &Sighting| other.seen_by & bit == 0 && fits(other);
        let is_there = |other: &Sighting| other.place.service == place.service && is_open(other);
        if let Some(found) = own.iter().position(is_there).or_else(|| own.iter().position(is_open)) {
            let found = own.get_mut(found)?;
            found.seen_by |= bit;
            if place.is_vague() {
                found.vague |= bit;
            }
            // The one who knows the account or the service says it for all who come later.
            found.place.account = found.place.account.or(place.account);
            if found.place.is_vague() {
                found.place.service = place.service;
            }
            return Some(found);
        }
        // What was said of no certain service was taken for this one, and may be about another one.
        let taken = own.iter().position(|other| other.vague & bit != 0 && fits(other))?;
        let account = own.get(taken)?.place.account;
        let meant = Place { service: Some(ServiceName::UNKNOWN), account };
        let is_meant =
            |other: &&mut Sighting| other.seen_by & bit == 0 && is_near(other) && other.place.is_same(meant);
        let other = own.iter_mut().find(is_meant)?;
        other.seen_by |= bit;
        other.vague |= bit;
        let taken = own.get_mut(taken)?;
        taken.vague &= !bit;
        Some(taken)
    }

    /// An attempt that nobody else has told of.
    pub(super) fn note(&mut self, scope: Scope, sighting: Sighting) {
        let now = sighting.told;
        self.forget(now);
        let own = self.of.entry(scope).or_default();
        if own.len() >= PER_SCOPE {
            own.pop_front();
        }
        own.push_back(sighting);
        self.order.push_back((now, scope));
    }

    fn forget(&mut self, now: Instant) {
        while let Some((told, scope)) = self.order.front().copied() {
            if now.since(told) <= REMEMBERED && self.order.len() < SIGHTINGS_LIMIT {
                break;
            }
            self.order.pop_front();
            let Some(own) = self.of.get_mut(&scope) else { continue };
            while own.front().is_some_and(|first| first.told <= told) {
                own.pop_front();
            }
            if own.is_empty() {
                self.of.remove(&scope);
            }
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.of.values().map(VecDeque::len).sum()
    }
}
