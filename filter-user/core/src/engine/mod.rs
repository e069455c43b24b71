//! The engine: the only door to the block list and to the never-block list.
//!
//! Facts and wishes go in, effects come out. It owns the scores and both lists; it writes to no map, no disk and no
//! socket. Precedence is never-block, then block, then score: a never-blocked client is scored and reported, and
//! nothing else happens to it.

mod restore;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;

pub use restore::{Held, HeldBlock, HeldNever};

use crate::admin::{BlockView, Removed, Standing};
use crate::client::{ClientAddr, Scope, host};
use crate::decision::{Block, Change, Never, Origin};
use crate::event::{Drop, Event, EventId, What};
use crate::netmap::NetMap;
use crate::offence::Offence;
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
    scores: Scores,
    blocks: NetMap<Block>,
    nevers: NetMap<Never>,
    effects: VecDeque<Effect>,
    next_event: u64,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            scores: Scores::new(WATCHED_LIMIT),
            blocks: NetMap::new(),
            nevers: NetMap::new(),
            effects: VecDeque::new(),
            next_event: 1,
        }
    }

    /// Goes on numbering events behind the last one in the log.
    pub const fn continue_after(&mut self, last: EventId) {
        self.next_event = last.0 + 1;
    }

    /// A client did something wrong.
    pub fn handle_offence(&mut self, client: ClientAddr, offence: Offence, now: Now) {
        let scope = self.policy.scope_width.scope_of(client);
        let multiplier = self.policy.multipliers.get(offence.kind);
        let exemption = self.nevers.covering(client.ip(), now.instant).next().map(|never| never.network);
        let standing = match exemption {
            None => self.blocks.covering(client.ip(), now.instant).next().map(|block| block.event),
            Some(_) => None,
        };
        let id = self.next_id();
        let Offence { kind, detail } = offence;
        let score = match standing {
            // What a blocked client still had under way. Counted, it would block it again when its block ends.
            Some(_) => self.scores.score(scope, self.policy.monitor_period, now.instant),
            None => self.scores.add(scope, multiplier, id, self.policy.monitor_period, now.instant),
        };
        let what = What::Offence { kind, number: kind.number(), multiplier, score, detail };
        let (time, network) = (now.wall, host(client.ip()));
        self.effects.push_back(Effect::Log(Event { id, time, network, what, answered_by: standing }));
        if standing.is_some() || multiplier == 0 || score < u64::from(self.policy.block_threshold) {
            return;
        }
        // Spent whether a block follows or not: a spared client is reported once per threshold, not per offence.
        let led_by = self.scores.spend(scope);
        match exemption {
            Some(by) => drop(self.log(network, What::Spared { score, by, led_by }, now)),
            None => self.block_scope(scope, score, led_by, now),
        }
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

    /// An administrator blocks a network for a time (none: the policy's block time).
    pub fn block(
        &mut self,
        network: IpNet,
        span: Option<Duration>,
        comment: String,
        author: String,
        force: bool,
        now: Now,
    ) -> Result<BlockView, Refusal> {
        refuse_wide(network, force)?;
        let until = now.wall.after(span.unwrap_or(self.policy.block_time));
        let reason = if comment.is_empty() { "blocked by an administrator".to_string() } else { comment };
        let (origin, since, observed, event) = (Origin::Manual, now.wall, false, EventId(0));
        let block = Block { network, origin, reason, author, since, until, observed, event };
        let block = self.put_block(block, Vec::new(), now).ok_or(Refusal::Full(BLOCKS_LIMIT))?;
        Ok(self.view(&block, now.instant))
    }

    /// An administrator removes the block of exactly this network; its scopes' offences are spent.
    pub fn unblock(&mut self, network: IpNet, author: String, now: Now) -> Result<Removed, Refusal> {
        let still_covered_by = covering(&self.blocks, network, now, |block| block.network);
        if self.blocks.remove(&network).is_none() {
            return Err(Refusal::NotListed { network, covering: still_covered_by });
        }
        let forgiven: Vec<Scope> =
            self.scores.scopes().filter(|scope| network.contains(&scope.network())).collect();
        let forgiven = forgiven.into_iter().flat_map(|scope| self.scores.spend(scope)).collect();
        self.drop_block(network, Some(author), forgiven, now);
        Ok(Removed { network, still_covered_by })
    }

    /// An administrator exempts a network, for a time or for good; blocks that stand lose their effect at once.
    pub fn never(
        &mut self,
        network: IpNet,
        span: Option<Duration>,
        comment: String,
        author: String,
        force: bool,
        now: Now,
    ) -> Result<Never, Refusal> {
        refuse_wide(network, force)?;
        match self.nevers.get(&network) {
            Some((_, never)) if never.built_in => return Err(Refusal::BuiltIn(network)),
            None if self.nevers.len() >= NEVER_LIMIT => return Err(Refusal::Full(NEVER_LIMIT)),
            Some(_) | None => {}
        }
        let until = span.map(|span| now.wall.after(span));
        let never = Never { network, comment, author, since: now.wall, until, built_in: false };
        self.effects.push_back(Effect::Store(Record::PutNever(never.clone())));
        self.put_never(never.clone(), now);
        self.log(network, What::from(&never), now);
        Ok(never)
    }

    /// An administrator removes the exemption of exactly this network; blocks that it covered stand again.
    pub fn forget_never(&mut self, network: IpNet, author: String, now: Now) -> Result<Removed, Refusal> {
        let still_covered_by = covering(&self.nevers, network, now, |never| never.network);
        match self.nevers.get(&network) {
            None => return Err(Refusal::NotListed { network, covering: still_covered_by }),
            Some((_, never)) if never.built_in => return Err(Refusal::BuiltIn(network)),
            Some(_) => {}
        }
        if let Some(never) = self.nevers.remove(&network) {
            self.drop_never(network, &never, Some(author), now);
        }
        Ok(Removed { network, still_covered_by })
    }

    /// The block that a client is to be refused for; none in observe mode and for a never-blocked client.
    pub fn refusal(&self, client: ClientAddr, now: Instant) -> Option<&Block> {
        if self.policy.observe || self.nevers.covering(client.ip(), now).next().is_some() {
            return None;
        }
        self.blocks.covering(client.ip(), now).next()
    }

    /// Everything that decides whether an address is blocked.
    pub fn standing(&mut self, client: ClientAddr, now: Now) -> Standing {
        let scope = self.policy.scope_width.scope_of(client);
        let period = self.policy.monitor_period;
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
            counted: self.scores.counted(scope, period, now.instant),
            threshold: self.policy.block_threshold,
            monitor_period: period.as_secs(),
            enforced: !self.policy.observe,
        }
    }

    /// The block list, in the order of networks.
    pub fn blocks(&self, now: Instant) -> impl Iterator<Item = BlockView> {
        self.blocks.iter().map(move |(_, _, block)| self.view(block, now))
    }

    /// The never-block list, in the order of networks.
    pub fn nevers(&self) -> impl Iterator<Item = &Never> {
        self.nevers.iter().map(|(_, _, never)| never)
    }

    /// How many blocks, never-block entries and watched scopes there are.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.blocks.len(), self.nevers.len(), self.scores.len())
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    fn block_scope(&mut self, scope: Scope, score: u64, led_by: Vec<EventId>, now: Now) {
        let network = scope.network();
        let block = Block {
            network,
            origin: Origin::Smtp,
            reason: format!("score {score} reached the threshold {}", self.policy.block_threshold),
            author: "engine".to_string(),
            since: now.wall,
            until: now.wall.after(self.policy.block_time),
            observed: self.policy.observe,
            event: EventId(0),
        };
        if self.put_block(block, led_by, now).is_none() {
            self.log(network, What::NoRoom, now);
        }
    }

    /// Enters a block everywhere, with the number of its event; none if the list is full.
    fn put_block(&mut self, mut block: Block, led_by: Vec<EventId>, now: Now) -> Option<Block> {
        let network = block.network;
        if self.blocks.len() >= BLOCKS_LIMIT && self.blocks.get(&network).is_none() {
            return None;
        }
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
        let what = What::Blocked {
            origin: block.origin,
            reason: block.reason.clone(),
            author: block.author.clone(),
            until: block.until,
            enforced: !self.policy.observe,
            led_by,
        };
        block.event = self.log(network, what, now);
        self.effects.push_back(Effect::Store(Record::PutBlock(block.clone())));
        self.blocks.insert(network, until, block.clone());
        Some(block)
    }

    fn put_never(&mut self, never: Never, now: Now) {
        let until = never.until.map_or(Instant::FAR_FUTURE, |until| now.instant_of(until));
        let change = Change::Never { network: never.network, until, built_in: never.built_in };
        self.effects.push_back(Effect::Kernel(change));
        self.nevers.insert(never.network, until, never);
    }

    fn drop_block(&mut self, network: IpNet, by: Option<String>, forgave: Vec<EventId>, now: Now) {
        self.effects.push_back(Effect::Kernel(Change::Unblock(network)));
        self.effects.push_back(Effect::Store(Record::DropBlock(network)));
        self.log(network, What::Unblocked { by, forgave }, now);
    }

    fn drop_never(&mut self, network: IpNet, never: &Never, by: Option<String>, now: Now) {
        // Blocks that stand again begin again for whoever has a session open: with a grace, so that it hears why.
        let around = self.blocks.covering(network.addr(), now.instant);
        let around = around.filter(|block| block.network.contains(&network)).map(|block| block.network);
        let again: BTreeSet<IpNet> =
            around.chain(self.blocks.within(&network).map(|(network, _)| *network)).collect();
        for block in &again {
            if let Some((until, Block { origin, .. })) = self.blocks.get(block) {
                let change = Change::Block { network: *block, since: now.instant, until, origin: *origin };
                self.effects.push_back(Effect::Kernel(change));
            }
        }
        self.effects.push_back(Effect::Kernel(Change::ForgetNever(network)));
        if !self.policy.observe && !again.is_empty() {
            self.effects.push_back(Effect::EndSessions(network));
        }
        if !never.built_in {
            self.effects.push_back(Effect::Store(Record::DropNever(network)));
        }
        self.log(network, What::Unexempted { by }, now);
    }

    fn view(&self, block: &Block, now: Instant) -> BlockView {
        let mut overriding = self.nevers.covering(block.network.addr(), now).map(|never| never.network);
        BlockView {
            block: block.clone(),
            overridden_by: overriding.find(|network| network.contains(&block.network)),
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

/// Wider than anybody means, on either list: a /8, or the /19 of the largest IPv6 allocations.
fn refuse_wide(network: IpNet, force: bool) -> Result<(), Refusal> {
    let widest = if matches!(network, IpNet::V4(_)) { 8 } else { 19 };
    if network.prefix_len() < widest && !force { Err(Refusal::TooWide(network)) } else { Ok(()) }
}

/// The entries, other than its own, that cover a whole network.
fn covering<V>(list: &NetMap<V>, network: IpNet, now: Now, name: impl Fn(&V) -> IpNet) -> Vec<IpNet> {
    let names = list.covering(network.addr(), now.instant).map(name);
    names.filter(|other| *other != network && other.contains(&network)).collect()
}
