//! What clients do wrong, by our own word and by that of others, enters scores, failed logins and the event log.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Effect, Engine};
use crate::client::{ClientAddr, Scope, host};
use crate::event::{Event, EventId, Reported, What};
use crate::login::{Attempt, LoginStanding, Weighed};
use crate::offence::Offence;
use crate::policy::Evaluate;
use crate::report::{Reception, Report, Source, Told};
use crate::score::FORESEEN;
use crate::time::Now;

/// An offence that is told of so much later has a time of its own in the log.
const LATE: Duration = Duration::from_secs(2);

impl Engine {
    /// Offences of these clients come next, in whatever order: with many clients, judging them is mostly waiting for memory,
    /// and this waits for all of them at once. Changes nothing.
    pub fn foresee(&self, clients: impl IntoIterator<Item = ClientAddr>) {
        let mut clients = clients.into_iter().map(|client| self.policy.scope_width.scope_of(client));
        loop {
            let scopes: Vec<Scope> = clients.by_ref().take(FORESEEN).collect();
            if scopes.is_empty() {
                return;
            }
            self.scores.foresee(&scopes);
        }
    }

    /// A client did something wrong.
    pub fn handle_offence(&mut self, client: ClientAddr, offence: Offence, now: Now) {
        let _ = self.take(client, offence, Told::by(Source::Session), false, now);
    }

    /// Somebody else tells that a client did something wrong; of a local one that is logged and nothing more.
    pub fn handle_report(&mut self, report: Report, is_local: bool, now: Now) -> Reception {
        let Report { who, offence, told } = report;
        if let Some(own) = self.nevers.covering(who.ip(), now.instant).find(|never| never.built_in) {
            return Reception::NotAClient { whose: own.comment.clone() };
        }
        if told.age(now) > self.policy.monitor_period.max(self.policy.login.monitor_period) {
            return Reception::TooOld;
        }
        self.take(who, offence, told, is_local, now)
    }

    /// Somebody is about to log in at another service, which is a connection as well.
    pub fn handle_login(&mut self, client: ClientAddr, now: Now) -> LoginStanding {
        self.handle_connect(client, now);
        let scope = self.policy.scope_width.scope_of(client);
        let failed_logins = self.logins.count(scope, self.policy.login.monitor_period, now.instant);
        LoginStanding { is_refused: self.refusal(client, now.instant).is_some(), failed_logins }
    }

    fn take(
        &mut self,
        client: ClientAddr,
        offence: Offence,
        told: Told,
        is_local: bool,
        now: Now,
    ) -> Reception {
        let scope = self.policy.scope_width.scope_of(client);
        let price = told.weight.unwrap_or_else(|| self.policy.multipliers.get(offence.kind));
        let is_exempt = self.exemption(client, now.instant).is_some();
        let covering = self.blocks.covering(client.ip(), now.instant).next();
        let standing = covering.filter(|_| !is_exempt).map(|block| block.event);
        // What a blocked client still had under way. Counted, it would block it again when its block ends.
        let counts = standing.is_none() && !is_local;
        let (period, login) = (self.policy.monitor_period, self.policy.login);
        let (id, count, age) = (EventId(self.next_event), told.count, told.age(now));
        let weighed = if offence.kind.is_failed_login() {
            let attempt =
                Attempt { scope, offence: &offence, source: told.source, count, price, age, counts };
            self.logins.fail(&attempt, id, login.monitor_period, now.instant)
        } else {
            Weighed { counted: 0, cost: price.saturating_mul(count), is_news: true }
        };
        if !weighed.is_news && (weighed.cost == 0 || !counts) {
            return Reception::Known;
        }
        // Failed logins are told of all: each may name another account.
        let is_costless =
            weighed.cost == 0 && told.source == Source::Session && !offence.kind.is_failed_login();
        let stands_for = if is_costless {
            self.costless.note((scope, offence.kind), count, period, now.instant)
        } else {
            Some(count)
        };
        let multiplier = if is_local { 0 } else { weighed.cost };
        let cost = if counts { weighed.cost } else { 0 };
        let score = self.scores.add_earlier(scope, cost, id, age, period, now.instant);
        let Offence { kind, detail, service, account, credentials: _ } = offence;
        let (number, failed_logins) = (kind.number(), weighed.counted);
        if let Some(count) = stands_for {
            self.next_event += 1;
            let reported = (told.source != Source::Session || count > 1).then(|| Reported {
                source: told.source,
                happened: Some(now.wall.before(age)).filter(|_| age >= LATE),
                weight: told.weight,
                count,
                is_local,
            });
            let what = What::Offence {
                kind,
                number,
                multiplier,
                score,
                detail,
                failed_logins,
                service,
                account,
                reported,
            };
            let (time, network) = (now.wall, host(client.ip()));
            self.effects.push_back(Effect::Log(Event { id, time, network, what, answered_by: standing }));
        } else {
            self.effects.push_back(Effect::Count(kind));
        }
        if counts {
            // Failed logins do not wait for the next connection: their component knows no such setting.
            let score = Some(score).filter(|_| self.policy.evaluate == Evaluate::AtOnce);
            self.judge(client, scope, score, now);
        }
        if counts && !is_exempt { Reception::Counted } else { Reception::Logged }
    }
}
