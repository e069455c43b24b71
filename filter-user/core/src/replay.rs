//! Replay: what other settings would have made of the past.
//!
//! The past is the event log: what clients did, and what administrators decided. Both go through the real [`Engine`]
//! under another policy, and what it decides stands beside what was decided at the time. There is no second way of
//! judging here, and nothing is kept of an event but what the engine itself keeps.
//!
//! What it cannot know: what a client would have done while it was blocked at the time, and what the log has lost. Scores
//! outlive a restart of the agent as far as the log has them, so a replay knows of no restart.

mod summary;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::client::ClientAddr;
use crate::decision::{Block, Never, Origin};
use crate::engine::{Effect, Engine, Held};
use crate::event::{Event, Reported, Success, What};
use crate::offence::Offence;
use crate::policy::{Evaluate, LoginPolicy, Policy};
use crate::report::{Report, Told};
use crate::time::{Instant, Now, Timestamp};

/// Networks that are told apart on either side; beyond it blocks are only counted.
pub const CLIENTS_LIMIT: usize = 1 << 20;

/// The lists as they stood before the first event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// Blocks that stood.
    pub blocks: Vec<Block>,
    /// Never-block entries that stood.
    pub nevers: Vec<Never>,
    /// Gatepost's own never-block entries.
    pub built_in: Vec<Never>,
}

/// A replay under way; see the head of this module.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    now: Now,
    since: Timestamp,
    in_force: Decisions,
    replayed: Decisions,
    /// How often clients did what honest clients do.
    succeeded: BTreeMap<IpNet, Successes>,
    offences: u64,
    span: Option<(Timestamp, Timestamp)>,
}

impl Replay {
    /// Begins; what is decided before `since` shapes the scores and is not compared.
    pub fn new(policy: Policy, before: Before, since: Timestamp) -> Self {
        // The log has neither connections nor credentials: scores are evaluated with each event, and what the login
        // component decided is taken as given.
        let login = LoginPolicy { threshold: 0, ..policy.login };
        let policy = Policy { evaluate: Evaluate::AtOnce, login, ..policy };
        let mut engine = Engine::new(policy);
        // Boot and wall clock begin together, so that wall-clock ends mean the same on both.
        let now = Now { instant: Instant::from_nanos(0), wall: Timestamp::from_millis(0) };
        engine.restore((before.blocks, before.nevers), &Held::default(), before.built_in, now);
        while engine.poll_effect().is_some() {}
        let (in_force, replayed) = (Decisions::default(), Decisions::default());
        let succeeded = BTreeMap::new();
        Self { engine, now, since, in_force, replayed, succeeded, offences: 0, span: None }
    }

    /// The next event of the log, in the order of their numbers.
    pub fn handle_event(&mut self, event: &Event) {
        self.pass_time(event.time);
        let (network, now) = (event.network, self.now);
        match &event.what {
            What::Offence { kind, service, account, reported, .. } => {
                if event.time >= self.since {
                    self.offences += reported.map_or(1, |reported| u64::from(reported.count));
                    let (first, _) = self.span.unwrap_or((event.time, event.time));
                    self.span = Some((first, event.time));
                }
                let (who, account) =
                    (ClientAddr::new(network.addr()), account.as_deref().unwrap_or_default());
                let offence = Offence::known_by(*kind, String::new()).at(*service).of(account.as_bytes());
                if let Some(Reported { source, happened, weight, count, is_local }) = *reported {
                    let told = Told { source, weight, count, at: happened };
                    self.engine.handle_report(Report { who, offence, told }, is_local, now);
                } else {
                    self.engine.handle_offence(who, offence, now);
                }
            }
            What::Succeeded { how } => {
                let client = ClientAddr::new(network.addr());
                self.engine.handle_success(client, *how, now);
                let scope = self.engine.policy().scope_width.scope_of(client).network();
                let known = self.succeeded.contains_key(&scope);
                if event.time >= self.since && (known || self.succeeded.len() < CLIENTS_LIMIT) {
                    let successes = self.succeeded.entry(scope).or_default();
                    let count = match how {
                        Success::LoggedIn => &mut successes.logins,
                        Success::Delivered => &mut successes.messages,
                    };
                    *count = count.saturating_add(1);
                }
            }
            // What others decided stays as it was; the wish is refused where the replay has nothing to refuse it to.
            What::Blocked { origin, until, .. } if *origin != Origin::Smtp => {
                let span = Some(until.since(event.time));
                let _ = self.engine.block(network, span, String::new(), String::new(), true, now);
            }
            What::Unblocked { by: Some(by), .. } => drop(self.engine.unblock(network, by.clone(), now)),
            What::Exempted { until, .. } => {
                let span = until.map(|until| until.since(event.time));
                let _ = self.engine.never(network, span, String::new(), String::new(), true, now);
            }
            What::Unexempted { by: Some(by) } => {
                drop(self.engine.forget_never(network, by.clone(), now));
            }
            // The engine's own decisions, which are what is compared, and what follows from them.
            What::Blocked { .. }
            | What::Unblocked { by: None, .. }
            | What::Unexempted { by: None }
            | What::Spared { .. }
            | What::NoRoom
            | What::Dropped { .. } => {}
        }
        self.in_force.note(event, self.since);
        self.drain();
    }

    /// What it came to.
    pub fn outcome(self) -> Outcome {
        let clients: BTreeSet<IpNet> =
            self.in_force.clients.keys().chain(self.replayed.clients.keys()).copied().collect();
        let compare = |network: IpNet| Compared {
            network,
            in_force: self.in_force.clients.get(&network).cloned(),
            replayed: self.replayed.clients.get(&network).cloned(),
            succeeded: self.succeeded.get(&network).copied().unwrap_or_default(),
        };
        let mut clients: Vec<_> = clients.into_iter().map(compare).collect();
        // Whom it would harm first: that is what a number is changed or kept for.
        clients.sort_by_key(|client| {
            (Reverse(client.side()), Reverse(client.succeeded.count()), client.first())
        });
        let count = |side| clients.iter().filter(|client| client.side() == side).count() as u64;
        Outcome {
            offences: self.offences,
            first: self.span.map(|(first, _)| first),
            last: self.span.map(|(_, last)| last),
            both: count(Side::Both),
            only_in_force: count(Side::InForce),
            only_replayed: count(Side::Replayed),
            not_told_apart: self.in_force.beyond + self.replayed.beyond,
            clients,
        }
    }

    /// The log has the wall clock only. A step back lets no time pass; what follows it does.
    fn pass_time(&mut self, wall: Timestamp) {
        let instant = self.now.instant.after(wall.since(self.now.wall));
        self.now = Now { instant, wall };
        if self.engine.poll_timeout().is_some_and(|due| due <= instant) {
            self.engine.handle_timeout(self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Log(event) = effect {
                self.replayed.note(&event, self.since);
            }
        }
    }
}

/// Whom one side has blocked.
#[derive(Debug, Default)]
struct Decisions {
    clients: BTreeMap<IpNet, Blocked>,
    beyond: u64,
    /// The latest offence, whose score is the one that a block right behind it was made for.
    latest: Option<(IpAddr, u64)>,
}

impl Decisions {
    fn note(&mut self, event: &Event, since: Timestamp) {
        match event.what {
            What::Offence { score, .. } => self.latest = Some((event.network.addr(), score)),
            What::Blocked { origin: Origin::Smtp, .. } if event.time >= since => self.block(event),
            _ => {}
        }
    }

    fn block(&mut self, event: &Event) {
        if let Some(blocked) = self.clients.get_mut(&event.network) {
            blocked.times += 1;
        } else if self.clients.len() >= CLIENTS_LIMIT {
            self.beyond += 1;
        } else {
            let latest = self.latest.filter(|(address, _)| event.network.contains(address));
            let blocked = Blocked { first: event.time, times: 1, score: latest.map(|(_, score)| score) };
            self.clients.insert(event.network, blocked);
        }
    }
}

/// How one client was blocked, on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Blocked {
    /// When for the first time.
    pub first: Timestamp,
    /// How often.
    pub times: u32,
    /// The score that it was blocked for the first time; none: the log does not say.
    pub score: Option<u64>,
}

/// One client that was blocked on either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Compared {
    /// Who.
    pub network: IpNet,
    /// As it was; none: it was not blocked.
    pub in_force: Option<Blocked>,
    /// As replayed; none: it would not have been blocked.
    pub replayed: Option<Blocked>,
    /// What it did meanwhile, from its first offence on, that honest clients do: it is perhaps no attacker.
    #[serde(flatten)]
    pub succeeded: Successes,
}

/// How often a client did what honest clients do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Successes {
    /// Logins that were accepted.
    pub logins: u32,
    /// Messages that were accepted.
    pub messages: u32,
}

impl Successes {
    /// Both together.
    pub const fn count(self) -> u32 {
        self.logins.saturating_add(self.messages)
    }
}

/// On which side a client was blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// On both.
    Both,
    /// Only as it was.
    InForce,
    /// Only as replayed.
    Replayed,
}

impl Compared {
    /// On which side it was blocked.
    pub const fn side(&self) -> Side {
        match (&self.in_force, &self.replayed) {
            (Some(_), None) => Side::InForce,
            (None, Some(_)) => Side::Replayed,
            _ => Side::Both,
        }
    }

    fn first(&self) -> Option<Timestamp> {
        let sides = self.replayed.iter().chain(&self.in_force);
        sides.map(|blocked| blocked.first).next()
    }
}

/// What was decided beside what would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// Offences in the time that is compared.
    pub offences: u64,
    /// When the first of them was; none: there are none.
    pub first: Option<Timestamp>,
    /// When the last of them was.
    pub last: Option<Timestamp>,
    /// Clients that were blocked on both sides.
    pub both: u64,
    /// Clients that were blocked, and would not have been.
    pub only_in_force: u64,
    /// Clients that would have been blocked, and were not.
    pub only_replayed: u64,
    /// Blocks of clients beyond [`CLIENTS_LIMIT`], on both sides together.
    pub not_told_apart: u64,
    /// The clients: those that would have been blocked and were not, those that were and would not have been, and those
    /// on both sides; of each those first that did most of what honest clients do, then in the order of time.
    pub clients: Vec<Compared>,
}
