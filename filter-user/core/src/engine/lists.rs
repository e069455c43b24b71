//! What administrators wish of the two lists, and what follows from it.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;

use super::{BLOCKS_LIMIT, Effect, Engine, NEVER_LIMIT, Record, Refusal};
use crate::admin::{BlockView, Removed};
use crate::client::{ClientAddr, Scope};
use crate::decision::{Block, Change, Never, Origin};
use crate::event::{EventId, What};
use crate::netmap::NetMap;
use crate::time::{Instant, Now};

impl Engine {
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
        let mut forgiven = BTreeSet::new();
        for scope in self.scopes_inside(network) {
            forgiven.extend(self.scores.spend(scope));
            forgiven.extend(self.logins.spend(scope));
        }
        let forgiven = forgiven.into_iter().collect();
        self.drop_block(network, Some(author), forgiven, now);
        Ok(Removed { network, still_covered_by, kernel_problem: None, was_there: true })
    }

    /// The scopes with a score or failed logins in a network. A wide one is looked for among all; of a single client that
    /// would be a look at a million others.
    fn scopes_inside(&self, network: IpNet) -> BTreeSet<Scope> {
        let narrowest = self.narrowest.scope_of(ClientAddr::new(network.addr()));
        if network.prefix_len() >= narrowest.network().prefix_len() {
            return [narrowest].into_iter().filter(|scope| scope.network() == network).collect();
        }
        let scopes = self.scores.scopes().chain(self.logins.scopes());
        scopes.filter(|scope| network.contains(&scope.network())).collect()
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
        Ok(Removed { network, still_covered_by, kernel_problem: None, was_there: true })
    }

    pub(super) fn put_never(&mut self, never: Never, now: Now) {
        let until = never.until.map_or(Instant::FAR_FUTURE, |until| now.instant_of(until));
        let change = Change::Never { network: never.network, until, built_in: never.built_in };
        self.effects.push_back(Effect::Kernel(change));
        self.nevers.insert(never.network, until, never);
    }

    pub(super) fn drop_block(&mut self, network: IpNet, by: Option<String>, forgave: Vec<EventId>, now: Now) {
        self.clock.restored.remove(&network);
        self.effects.push_back(Effect::Kernel(Change::Unblock(network)));
        self.effects.push_back(Effect::Store(Record::DropBlock(network)));
        self.log(network, What::Unblocked { by, forgave }, now);
    }

    pub(super) fn drop_never(&mut self, network: IpNet, never: &Never, by: Option<String>, now: Now) {
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
}

/// Wider than anybody means, on either list: a /8, or the /19 of the largest IPv6 allocations.
pub(super) fn refuse_wide(network: IpNet, force: bool) -> Result<(), Refusal> {
    let widest = if matches!(network, IpNet::V4(_)) { 8 } else { 19 };
    if network.prefix_len() < widest && !force { Err(Refusal::TooWide(network)) } else { Ok(()) }
}

/// The entries, other than its own, that cover a whole network.
fn covering<V>(list: &NetMap<V>, network: IpNet, now: Now, name: impl Fn(&V) -> IpNet) -> Vec<IpNet> {
    let names = list.covering(network.addr(), now.instant).map(name);
    names.filter(|other| *other != network && other.contains(&network)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ScopeWidth;
    use crate::offence::{Kind, Offence};
    use crate::policy::Policy;
    use crate::time::Timestamp;

    #[test]
    fn unblocking_spends_what_was_counted_under_other_widths_too() {
        let now = Now { instant: Instant::from_nanos(0), wall: Timestamp::from_millis(0) };
        let mut engine = Engine::new(Policy::default());
        let net = |text: &str| -> IpNet { text.parse().unwrap() };
        let score = |engine: &mut Engine, network: &str| {
            let scopes = engine.scopes_inside(net(network));
            (
                scopes.len(),
                scopes.iter().map(|scope| engine.scores.score(*scope, Duration::MAX, now.instant)).sum(),
            )
        };
        let offend = |engine: &mut Engine, who: &str| {
            let client = ClientAddr::new(who.parse().unwrap());
            engine.handle_offence(client, Offence::new(Kind::RelayDenied, b"x"), now);
        };
        for who in ["192.0.2.7", "192.0.2.8", "2001:db8::1"] {
            offend(&mut engine, who);
        }
        let scope_width = ScopeWidth::new(24, 48).unwrap();
        engine.set_policy(Policy { scope_width, ..Policy::default() });
        offend(&mut engine, "192.0.2.7");
        assert_eq!(score(&mut engine, "192.0.2.7/32"), (1, 100_u64));
        assert_eq!(score(&mut engine, "192.0.2.9/32"), (1, 0), "it may have one");
        assert_eq!(score(&mut engine, "192.0.2.0/24"), (3, 300));
        assert_eq!(score(&mut engine, "2001:db8::/64"), (1, 100));
        assert_eq!(score(&mut engine, "2001:db8::/128").0, 0);
        for network in ["192.0.2.7/32", "192.0.2.0/24"] {
            engine.block(net(network), None, String::new(), "root".into(), false, now).unwrap();
            engine.unblock(net(network), "root".into(), now).unwrap();
        }
        assert_eq!(score(&mut engine, "192.0.0.0/16"), (0, 0));
    }
}
