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

use crate::admin::{BlockView, Removed};
use crate::client::{ClientAddr, Scope};
use crate::decision::{Block, Change, Never, Origin};
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
    /// Tell whoever reads the log.
    Report(Report),
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

/// What happened, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A client did something wrong.
    Offended {
        /// Who.
        client: ClientAddr,
        /// What.
        offence: Offence,
        /// What it cost.
        multiplier: u32,
        /// The score of its scope with it.
        score: u64,
        /// Whether it counts in no score, because a block already answers for it.
        spent: bool,
    },
    /// A network is blocked from now on; in observe mode it would be.
    Blocked {
        /// The decision.
        block: Block,
        /// Whether it is enforced.
        enforced: bool,
    },
    /// A client reached the threshold and was spared.
    Spared {
        /// Who.
        client: ClientAddr,
        /// The score that it had reached.
        score: u64,
        /// The never-block entry that spared it.
        by: IpNet,
    },
    /// An entry of the block list ended or was removed.
    Unblocked {
        /// Whose.
        network: IpNet,
        /// Who removed it; none: its time had come.
        by: Option<String>,
    },
    /// A network is never blocked from now on.
    Exempted(Never),
    /// An entry of the never-block list ended or was removed.
    Unexempted {
        /// Whose.
        network: IpNet,
        /// Who removed it; none: its time had come.
        by: Option<String>,
    },
    /// The block list is full; this network is not on it.
    NoRoom(IpNet),
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
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            scores: Scores::new(WATCHED_LIMIT),
            blocks: NetMap::new(),
            nevers: NetMap::new(),
            effects: VecDeque::new(),
        }
    }

    /// A client did something wrong.
    pub fn handle_offence(&mut self, client: ClientAddr, offence: Offence, now: Now) {
        let scope = self.policy.scope_width.scope_of(client);
        let multiplier = self.policy.multipliers.get(offence.kind);
        let exemption = self.nevers.covering(client.ip(), now.instant).next().map(|never| never.network);
        if exemption.is_none() && self.blocks.covering(client.ip(), now.instant).next().is_some() {
            // What a blocked client still had under way. Counted, it would block it again when its block ends.
            let score = self.scores.score(scope, self.policy.monitor_period, now.instant);
            return self.report(Report::Offended { client, offence, multiplier, score, spent: true });
        }
        let score = self.scores.add(scope, multiplier, self.policy.monitor_period, now.instant);
        self.report(Report::Offended { client, offence, multiplier, score, spent: false });
        if multiplier == 0 || score < u64::from(self.policy.block_threshold) {
            return;
        }
        // Spent whether a block follows or not: a spared client is reported once per threshold, not per offence.
        self.scores.spend(scope);
        match exemption {
            Some(by) => self.report(Report::Spared { client, score, by }),
            None => self.block_scope(scope, score, now),
        }
    }

    /// Time has passed: entries that have ended leave their lists.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((network, _)) = self.blocks.pop_ended(now.instant) {
            self.drop_block(network, None);
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
        let (origin, since, observed) = (Origin::Manual, now.wall, false);
        let block = Block { network, origin, reason, author, since, until, observed };
        if !self.put_block(block.clone(), now) {
            return Err(Refusal::Full(BLOCKS_LIMIT));
        }
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
        for scope in forgiven {
            self.scores.spend(scope);
        }
        self.drop_block(network, Some(author));
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
        self.report(Report::Exempted(never.clone()));
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

    fn block_scope(&mut self, scope: Scope, score: u64, now: Now) {
        let block = Block {
            network: scope.network(),
            origin: Origin::Smtp,
            reason: format!("score {score} reached the threshold {}", self.policy.block_threshold),
            author: "engine".to_string(),
            since: now.wall,
            until: now.wall.after(self.policy.block_time),
            observed: self.policy.observe,
        };
        let network = block.network;
        if !self.put_block(block, now) {
            self.report(Report::NoRoom(network));
        }
    }

    /// Enters a block everywhere; false if the list is full.
    fn put_block(&mut self, block: Block, now: Now) -> bool {
        let network = block.network;
        if self.blocks.len() >= BLOCKS_LIMIT && self.blocks.get(&network).is_none() {
            return false;
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
        self.effects.push_back(Effect::Store(Record::PutBlock(block.clone())));
        self.report(Report::Blocked { block: block.clone(), enforced: !self.policy.observe });
        self.blocks.insert(network, until, block);
        true
    }

    fn put_never(&mut self, never: Never, now: Now) {
        let until = never.until.map_or(Instant::FAR_FUTURE, |until| now.instant_of(until));
        let change = Change::Never { network: never.network, until, built_in: never.built_in };
        self.effects.push_back(Effect::Kernel(change));
        self.nevers.insert(never.network, until, never);
    }

    fn drop_block(&mut self, network: IpNet, by: Option<String>) {
        self.effects.push_back(Effect::Kernel(Change::Unblock(network)));
        self.effects.push_back(Effect::Store(Record::DropBlock(network)));
        self.report(Report::Unblocked { network, by });
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
        self.report(Report::Unexempted { network, by });
    }

    fn view(&self, block: &Block, now: Instant) -> BlockView {
        let mut overriding = self.nevers.covering(block.network.addr(), now).map(|never| never.network);
        BlockView {
            block: block.clone(),
            overridden_by: overriding.find(|network| network.contains(&block.network)),
        }
    }

    fn report(&mut self, report: Report) {
        self.effects.push_back(Effect::Report(report));
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
