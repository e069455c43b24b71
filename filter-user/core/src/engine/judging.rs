//! From scores to decisions: thresholds, good behaviour, and those who come back.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;

use super::past::Past;
use super::{Effect, Engine};
use crate::client::{ClientAddr, Scope, fmt_network, host};
use crate::decision::{Block, Origin};
use crate::event::{Event, EventId, Success, What};
use crate::policy::Evaluate;
use crate::time::{Instant, Now, Timestamp};

/// Names of blocked scopes that the reason of a widened block gives; more would be no reason but a list. Its event names
/// the events of all of them.
const NAMED: usize = 5;

/// Good behaviour of one scope within a monitor period that is logged though it changes nothing.
pub const SUCCESSES_TOLD: u64 = 10;

impl Engine {
    /// A client did something that honest clients do. Logged only of those who have also done something wrong: of the
    /// others there is nothing to weigh. And only while it changes what counts, or [`SUCCESSES_TOLD`] times: one old offence would
    /// otherwise put each message of a busy client on the disk.
    pub fn handle_success(&mut self, client: ClientAddr, how: Success, now: Now) {
        let scope = self.policy.scope_width.scope_of(client);
        let (period, credit) = (self.policy.monitor_period, self.policy.credit);
        let is_watched = self.scores.score(scope, period, now.instant) > 0;
        let matters = credit.per_success > 0 && self.credit(scope, now.instant) < credit.maximum.into();
        let is_told = is_watched && (matters || self.told.score(scope, period, now.instant) < SUCCESSES_TOLD);
        if !is_told && credit.per_success == 0 {
            return;
        }
        let id = self.next_id();
        self.credits.add(scope, credit.per_success, id, period, now.instant);
        if is_told {
            self.told.add(scope, 1, id, period, now.instant);
            let (time, network) = (now.wall, host(client.ip()));
            let what = What::Succeeded { how };
            self.effects.push_back(Effect::Log(Event { id, time, network, what, answered_by: None }));
        }
    }

    /// A client connects; scores that are not evaluated with every offence are now.
    pub fn handle_connect(&mut self, client: ClientAddr, now: Now) {
        if self.policy.evaluate == Evaluate::OnConnect
            && self.blocks.covering(client.ip(), now.instant).next().is_none()
        {
            let scope = self.policy.scope_width.scope_of(client);
            let score = self.scores.score(scope, self.policy.monitor_period, now.instant);
            self.judge(client, scope, Some(score), now);
        }
    }

    /// Points that a scope's good behaviour takes off its score.
    pub(super) fn credit(&mut self, scope: Scope, now: Instant) -> u64 {
        let points = self.credits.score(scope, self.policy.monitor_period, now);
        points.min(self.policy.credit.maximum.into())
    }

    /// Compares a client's score, if it is time for it, and its failed logins with their thresholds.
    pub(super) fn judge(&mut self, client: ClientAddr, scope: Scope, score: Option<u64>, now: Now) {
        let login = self.policy.login;
        let counted = score.map_or(0, |score| score.saturating_sub(self.credit(scope, now.instant)));
        let threshold = self.policy.block_threshold;
        let failed = self.logins.count(scope, login.monitor_period, now.instant);
        // Spent whether a block follows or not: a spared client is reported once per threshold, not per offence.
        let (origin, reason, span, led_by) = if counted >= threshold.into() {
            let reason = format!("score {counted} reached the threshold {threshold}");
            let led_by = self.scores.spend(scope);
            self.logins.forget(scope, &led_by);
            (Origin::Smtp, reason, self.policy.block_time, led_by)
        } else if login.threshold > 0 && failed >= login.threshold.into() {
            let reason = format!("{failed} failed logins reached the threshold {}", login.threshold);
            let led_by = self.logins.spend(scope);
            self.scores.forget(scope, &led_by);
            (Origin::Login, reason, login.block_time, led_by)
        } else {
            return;
        };
        match self.exemption(client, now.instant) {
            Some(by) => drop(self.log(host(client.ip()), What::Spared { score: counted, by, led_by }, now)),
            None => self.block_scope(scope, origin, reason, span, led_by, now),
        }
    }

    pub(super) fn exemption(&self, client: ClientAddr, now: Instant) -> Option<IpNet> {
        self.nevers.covering(client.ip(), now).next().map(|never| never.network)
    }

    fn block_scope(
        &mut self,
        scope: Scope,
        origin: Origin,
        reason: String,
        span: Duration,
        led_by: Vec<EventId>,
        now: Now,
    ) {
        let network = scope.network();
        let (earlier, memory) =
            (self.past.count(&network, self.policy.repeat.memory, now.wall), self.policy.repeat);
        let span = memory.block_time(span, earlier);
        // Also while it does not matter: it may after a reload.
        if !self.policy.observe {
            self.past.remember(network, now.wall);
        }
        let reason = match earlier {
            0 => reason,
            _ if memory.factor <= 1 => reason,
            1 => format!("{reason}, for the second time"),
            _ => format!("{reason}, after {earlier} earlier blocks"),
        };
        self.block_automatically(network, origin, reason, span, led_by, now);
        self.widen(network, origin, span, now);
    }

    fn block_automatically(
        &mut self,
        network: IpNet,
        origin: Origin,
        reason: String,
        span: Duration,
        led_by: Vec<EventId>,
        now: Now,
    ) {
        let block = Block {
            network,
            origin,
            reason,
            author: "engine".to_string(),
            since: now.wall,
            until: now.wall.after(span),
            observed: self.policy.observe,
            event: EventId(0),
        };
        if self.put_block(block, led_by, now).is_none() {
            self.log(network, What::NoRoom, now);
        }
    }

    /// Blocks the network around a blocked scope, if enough of it is blocked.
    fn widen(&mut self, scope: IpNet, origin: Origin, span: Duration, now: Now) {
        let length = if matches!(scope, IpNet::V4(_)) { 24 } else { 48 };
        let wide = IpNet::new(scope.addr(), length).map(|network| network.trunc());
        let Some(wide) = wide.ok().filter(|_| self.policy.widen_after > 0 && scope.prefix_len() > length)
        else {
            return;
        };
        let standing =
            self.blocks.covering(wide.addr(), now.instant).any(|block| block.network.contains(&wide));
        let automatic = |block: &Block| matches!(block.origin, Origin::Smtp | Origin::Login);
        let inside: Vec<_> = self
            .blocks
            .within(&wide)
            .filter(|(_, block)| automatic(block))
            .map(|(network, block)| (*network, block.event))
            .collect();
        if standing || inside.len() < self.policy.widen_after as usize {
            return;
        }
        let mut names = String::new();
        for (network, _) in inside.iter().take(NAMED) {
            if !names.is_empty() {
                names.push_str(", ");
            }
            // Writing into a string does not fail.
            let _ = fmt_network(network, &mut names);
        }
        let more = if inside.len() > NAMED { ", …" } else { "" };
        let reason = format!("{} blocked at the same time in this network: {names}{more}", inside.len());
        let led_by = inside.into_iter().map(|(_, event)| event).collect();
        self.block_automatically(wide, origin, reason, span, led_by, now);
    }

    /// Earlier blocks, as the event log knows them.
    pub fn remember(&mut self, blocks: impl IntoIterator<Item = (IpNet, Timestamp)>) {
        self.past = Past::default();
        for (network, at) in blocks {
            self.past.remember(network, at);
        }
    }
}
