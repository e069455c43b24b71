//! The engine: the only door to the block list and to the never-block list.
//!
//! Facts and wishes go in, effects come out. It owns the scores and both lists; it writes to no map, no disk and no
//! socket. Precedence is never-block, then block, then score: a never-blocked client is scored and reported, and
//! nothing else happens to it.

mod clock;
mod costless;
mod feed;
mod import;
mod judging;
mod lists;
#[cfg(test)]
mod model;
mod neighbourhood;
mod offences;
mod past;
mod recall;
mod restore;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ipnet::IpNet;

pub use costless::{COSTLESS_LIMIT, COSTLESS_TOLD};
pub use feed::{FEED_LIMIT, is_feed};
pub use import::Manner;
pub use judging::SUCCESSES_TOLD;
pub use past::PAST_LIMIT;
pub use restore::{Held, HeldBlock, HeldNever};

use self::clock::Clock;
use self::costless::Costless;
use self::past::Past;
use crate::admin::{BlockView, Standing};
use crate::client::{ClientAddr, ScopeWidth, host};
use crate::decision::{Block, Change, Never};
use crate::event::{Drop, Event, EventId, What};
use crate::listed::{Listed, Search};
use crate::login::Logins;
use crate::netmap::NetMap;
use crate::offence::Kind;
use crate::policy::Policy;
use crate::score::Scores;
use crate::time::{Instant, Now};

/// Scopes that are scored at once.
pub const WATCHED_LIMIT: usize = 1 << 20;
/// Entries of the block list.
pub const BLOCKS_LIMIT: usize = 2_000_000;
/// Entries of the never-block list.
pub const NEVER_LIMIT: usize = 65_536;

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the kernel.
    Kernel(Change),
    /// End the open sessions of this network, except those of never-blocked clients.
    EndSessions(IpNet),
    /// Make it durable.
    Store(Record),
    /// Enter it in the event log.
    Log(Event),
    /// Count an offence that costs nothing; a later event of the log stands for it.
    Count(Kind),
}

/// One change of what must survive the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A block is new or has changed.
    PutBlock(Block),
    /// A block has gone.
    DropBlock(IpNet),
    /// A never-block entry is new or has changed.
    PutNever(Never),
    /// A never-block entry has gone.
    DropNever(IpNet),
}

/// Why the engine does not do what an administrator asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No entry for exactly this network.
    #[error("{network} is not on the list{}", cover_hint(covering))]
    NotListed {
        /// What was asked for.
        network: IpNet,
        /// Entries that cover it.
        covering: Vec<IpNet>,
    },
    /// Gatepost's own entry.
    #[error("{0} is built in, so that the gateway stays reachable; it cannot be removed or changed")]
    BuiltIn(IpNet),
    /// Wider than anybody means.
    #[error("{0} is a large part of the internet; name smaller networks, or use --force if you mean it")]
    TooWide(IpNet),
    /// The list is full.
    #[error("the list is full ({0} entries); remove entries or wait until some end")]
    Full(usize),
}

fn cover_hint(covering: &[IpNet]) -> String {
    let names: Vec<_> = covering.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; it is covered by {}, remove that", names.join(", ")),
    }
}

/// The engine; see the head of this module.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    /// No scope has ever been narrower.
    narrowest: ScopeWidth,
    scores: Scores,
    blocks: NetMap<Block>,
    nevers: NetMap<Never>,
    logins: Logins,
    /// Points for good behaviour, counted as offences are.
    credits: Scores,
    /// Good behaviour that has been logged, each for one point.
    told: Scores,
    costless: Costless,
    past: Past,
    clock: Clock,
    effects: VecDeque<Effect>,
    next_event: u64,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            narrowest: policy.scope_width,
            policy,
            scores: Scores::new(WATCHED_LIMIT),
            blocks: NetMap::new(),
            nevers: NetMap::new(),
            logins: Logins::new(WATCHED_LIMIT),
            credits: Scores::new(WATCHED_LIMIT),
            told: Scores::new(WATCHED_LIMIT),
            costless: Costless::default(),
            past: Past::default(),
            clock: Clock::default(),
            effects: VecDeque::new(),
            next_event: 1,
        }
    }

    /// Goes on numbering events behind the last one in the log.
    pub const fn continue_after(&mut self, last: EventId) {
        self.next_event = last.0 + 1;
    }

    /// The kernel dropped a packet and says so.
    pub fn handle_drop(&mut self, drop: Drop, now: Now) {
        let Drop { source, by, packets, port, time } = drop;
        let now = Now { wall: time, ..now };
        self.log(host(source), What::Dropped { packets, port, by }, now);
    }

    /// Time has passed: entries that have ended leave their lists.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((network, _)) = self.blocks.pop_ended(now.instant) {
            self.drop_block(network, None, Vec::new(), now);
        }
        while let Some((network, never)) = self.nevers.pop_ended(now.instant) {
            self.drop_never(network, &never, None, now);
        }
    }

    /// When [`Engine::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.blocks.next_end(), self.nevers.next_end()].into_iter().flatten().min()
    }

    /// The next effect, in the order in which they must happen.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The block that a client is to be refused for; none in observe mode and for a never-blocked client.
    pub fn refusal(&self, client: ClientAddr, now: Instant) -> Option<&Block> {
        if self.policy.observe || self.nevers.covering(client.ip(), now).next().is_some() {
            return None;
        }
        self.blocks.covering(client.ip(), now).next()
    }

    /// The sum of what counts against a client now, good behaviour not taken off.
    pub fn score(&mut self, client: ClientAddr, now: Instant) -> u64 {
        self.scores.score(self.policy.scope_width.scope_of(client), self.policy.monitor_period, now)
    }

    /// Everything that decides whether an address is blocked.
    pub fn standing(&mut self, client: ClientAddr, now: Now) -> Standing {
        let scope = self.policy.scope_width.scope_of(client);
        let (period, login) = (self.policy.monitor_period, self.policy.login);
        let covering = self.blocks.covering(client.ip(), now.instant);
        let blocks: Vec<_> = covering.map(|block| self.view(block, now.instant)).collect();
        let never: Vec<_> = self.nevers.covering(client.ip(), now.instant).cloned().collect();
        Standing {
            address: client.ip(),
            scope: scope.network(),
            refused_by: blocks.first().filter(|_| never.is_empty()).map(|view| view.block.network),
            blocks,
            never,
            score: self.scores.score(scope, period, now.instant),
            credit: self.credit(scope, now.instant),
            counted: self.scores.counted(scope, period, now.instant),
            failed_logins: self.logins.count(scope, login.monitor_period, now.instant),
            counted_logins: self.logins.counted(scope, login.monitor_period, now.instant),
            failed_login_threshold: login.threshold,
            login_monitor_period: login.monitor_period.as_secs(),
            threshold: self.policy.block_threshold,
            monitor_period: period.as_secs(),
            enforced: !self.policy.observe,
        }
    }

    /// The block list, in the order of networks.
    pub fn blocks(&self, now: Instant) -> impl Iterator<Item = BlockView> {
        self.blocks_after(None, now)
    }

    /// The block list behind a network, or from its beginning.
    pub fn blocks_after(&self, network: Option<IpNet>, now: Instant) -> impl Iterator<Item = BlockView> {
        self.blocks.after(network).map(move |(_, block)| self.view(block, now))
    }

    /// The entries of the block list that are meant, and how many there are and are meant.
    pub fn search(&self, search: &Search, now: Instant) -> Listed {
        let (blocks, matching) = search.choose(self.blocks.iter().map(|(_, _, block)| block));
        let blocks = blocks.into_iter().map(|block| self.view(block, now).into()).collect();
        Listed { total: self.blocks.len() as u64, matching: matching as u64, blocks }
    }

    /// The never-block list, in the order of networks.
    pub fn nevers(&self) -> impl Iterator<Item = &Never> {
        self.nevers.iter().map(|(_, _, never)| never)
    }

    /// How many blocks, never-block entries and watched scopes there are.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.blocks.len(), self.nevers.len(), self.scores.len())
    }

    /// Puts another policy in force; scores and lists stay.
    pub fn set_policy(&mut self, policy: Policy) {
        self.narrowest = self.narrowest.narrower(policy.scope_width);
        self.policy = policy;
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Enters a block everywhere, with the number of its event; none if the list is full.
    fn put_block(&mut self, mut block: Block, led_by: Vec<EventId>, now: Now) -> Option<Block> {
        let network = block.network;
        if self.blocks.len() >= BLOCKS_LIMIT && self.blocks.get(&network).is_none() {
            return None;
        }
        self.clock.restored.remove(&network);
        let until = now.instant_of(block.until);
        // The kernel first: a client is refused before anybody is told why.
        self.effects.push_back(Effect::Kernel(Change::Block {
            network,
            since: now.instant,
            until,
            origin: block.origin,
        }));
        if !self.policy.observe {
            self.effects.push_back(Effect::EndSessions(network));
        }
        let what = What::blocked(&block, !self.policy.observe, led_by);
        block.event = self.log(network, what, now);
        self.effects.push_back(Effect::Store(Record::PutBlock(block.clone())));
        self.blocks.insert(network, until, block.clone());
        Some(block)
    }

    fn view(&self, block: &Block, now: Instant) -> BlockView {
        let mut overriding = self.nevers.covering(block.network.addr(), now).map(|never| never.network);
        BlockView {
            block: block.clone(),
            overridden_by: overriding.find(|network| network.contains(&block.network)),
            kernel_problem: None,
        }
    }

    fn next_id(&mut self) -> EventId {
        let id = EventId(self.next_event);
        self.next_event += 1;
        id
    }

    fn log(&mut self, network: IpNet, what: What, now: Now) -> EventId {
        let id = self.next_id();
        self.effects.push_back(Effect::Log(Event { id, time: now.wall, network, what, answered_by: None }));
        id
    }
}
