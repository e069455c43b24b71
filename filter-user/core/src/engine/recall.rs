//! Scores after a restart: what clients did before still counts, as far as the event log has it.
//!
//! An event that no other answers for has had no consequence yet: it counts for what it cost at the time, for what is left
//! of its period by the wall clock. Failed logins count as often as they did; the credentials behind them were never
//! written, so the same ones once more count once more.

use core::time::Duration;

use super::Engine;
use crate::client::ClientAddr;
use crate::decision::Origin;
use crate::event::{Event, What};
use crate::time::{Now, Timestamp};

impl Engine {
    /// From when on events of the log can still count.
    pub fn recalls_since(&self, now: Now) -> Timestamp {
        now.wall.before(self.policy.monitor_period.max(self.policy.login.monitor_period))
    }

    /// Takes scores, failed logins and good behaviour from the log, in the order of their numbers; the lists have been
    /// restored before. Says how many events count.
    pub fn recall(&mut self, events: impl IntoIterator<Item = Event>, now: Now) -> u64 {
        let (period, login) = (self.policy.monitor_period, self.policy.login.monitor_period);
        let mut recalled = 0;
        for event in events {
            let client = ClientAddr::new(event.network.addr());
            let age = now.wall.since(event.happened());
            if event.answered_by.is_some() || self.was_adopted(client, event.time, now) {
                continue;
            }
            let scope = self.policy.scope_width.scope_of(client);
            let counts = match event.what {
                What::Offence { multiplier, failed_logins, .. } => {
                    self.scores.add_earlier(scope, multiplier, event.id, age, period, now.instant);
                    self.logins.recall(scope, failed_logins, event.id, age, login, now.instant);
                    counts(multiplier, age, period) || counts(failed_logins, age, login)
                }
                What::Succeeded { .. } => {
                    let points = self.policy.credit.per_success;
                    self.credits.add_earlier(scope, points, event.id, age, period, now.instant);
                    counts(points, age, period)
                }
                _ => false,
            };
            recalled += u64::from(counts);
        }
        recalled
    }

    /// Whether the kernel blocks a client for what it did: the agent died before it could write which events that were.
    fn was_adopted(&self, client: ClientAddr, at: Timestamp, now: Now) -> bool {
        let adopted = |origin| matches!(origin, Origin::Smtp | Origin::Login);
        let mut blocks = self.blocks.covering(client.ip(), now.instant);
        blocks.any(|block| {
            block.author == super::restore::ADOPTER && adopted(block.origin) && block.since >= at
        })
    }
}

fn counts(points: u32, age: Duration, period: Duration) -> bool {
    points > 0 && age <= period
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::engine::{Effect, Held, HeldBlock};
    use crate::event::Success;
    use crate::offence::{Fingerprint, Kind, Offence};
    use crate::policy::{Credit, Policy};
    use crate::time::Instant;

    /// The machine has been up for `up` seconds; the wall clock is the same for all of them.
    fn at(up: u64, wall: u64) -> Now {
        let wall = Timestamp::from_millis(1_800_000_000_000).after(Duration::from_secs(wall));
        Now { instant: Instant::from_nanos(up * 1_000_000_000), wall }
    }

    fn client(host: u8) -> ClientAddr {
        ClientAddr::new([192, 0, 2, host].into())
    }

    /// What the log holds: each event, and who answers for it.
    fn log(engine: &mut Engine) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        while let Some(effect) = engine.poll_effect() {
            let Effect::Log(event) = effect else { continue };
            for other in &mut events {
                if event.what.answers().contains(&other.id) {
                    other.answered_by = Some(event.id);
                }
            }
            events.push(event);
        }
        events
    }

    fn offend(engine: &mut Engine, host: u8, kind: Kind, times: u64, second: u64) {
        for time in 0..times {
            let mut offence = Offence::new(kind, b"x");
            offence.credentials = Some(Fingerprint(time / 2));
            engine.handle_offence(client(host), offence, at(1000 + second, second));
        }
    }

    #[test]
    fn what_counted_counts_to_the_second_and_what_had_its_consequence_does_not() {
        let mut engine = Engine::new(Policy::default());
        offend(&mut engine, 1, Kind::RelayDenied, 4, 0);
        offend(&mut engine, 1, Kind::RelayDenied, 5, 600);
        offend(&mut engine, 2, Kind::RelayDenied, 12, 600);
        let events = log(&mut engine);
        // The machine has been started again, so that the offences are older than its boot clock.
        let restarted = |second| {
            let mut engine = Engine::new(Policy::default());
            assert_eq!(engine.recalls_since(at(5, 3600)), at(0, 0).wall);
            engine.recall(events.clone(), at(5, second));
            engine
        };
        let score =
            |engine: &mut Engine, host, up, second| engine.standing(client(host), at(up, second)).score;
        assert_eq!(score(&mut restarted(700), 1, 5, 700), 900);
        assert_eq!(score(&mut restarted(700), 2, 5, 700), 0, "ten are spent, two came to a blocked client");
        assert_eq!(score(&mut restarted(3600), 1, 5, 3600), 900);
        assert_eq!(score(&mut restarted(3600), 1, 6, 3601), 500, "the first four have had their hour");
        assert_eq!(score(&mut restarted(4200), 1, 5, 4200), 500);
        assert_eq!(score(&mut restarted(4201), 1, 5, 4201), 0);
        let mut engine = restarted(3600);
        engine.handle_offence(client(1), Offence::new(Kind::RelayDenied, b"x"), at(5, 3600));
        assert!(engine.refusal(client(1), at(5, 3600).instant).is_some(), "900 and 100");
    }

    #[test]
    fn failed_logins_count_as_often_as_they_did_and_good_behaviour_too() {
        let policy = Policy { credit: Credit { per_success: 30, maximum: 500 }, ..Policy::default() };
        let mut engine = Engine::new(policy.clone());
        offend(&mut engine, 1, Kind::BadAuthentication, 6, 0);
        engine.handle_success(client(1), Success::LoggedIn, at(1001, 1));
        let events = log(&mut engine);
        let mut engine = Engine::new(policy);
        assert_eq!(engine.recall(events, at(5, 60)), 7);
        let standing = engine.standing(client(1), at(5, 60));
        assert_eq!((standing.score, standing.failed_logins, standing.credit), (300, 3, 30));
        assert_eq!((standing.counted.len(), standing.counted_logins.len()), (6, 3));
        assert_eq!(engine.standing(client(1), at(5 + 1741, 1801)).failed_logins, 0);
    }

    #[test]
    fn who_is_blocked_for_it_is_not_blocked_for_it_again() {
        let mut engine = Engine::new(Policy::default());
        offend(&mut engine, 1, Kind::RelayDenied, 9, 0);
        let events = log(&mut engine);
        // The tenth has blocked it, and the agent died before it wrote that.
        let mut engine = Engine::new(Policy::default());
        let network = "192.0.2.1/32".parse().unwrap();
        let until = at(1000 + 1800, 0).instant;
        let held = HeldBlock { network, until, origin: Some(Origin::Smtp) };
        let held = Held { blocks: [held].to_vec(), nevers: Vec::new() };
        engine.restore((Vec::new(), Vec::new()), &held, [], at(1002, 2));
        assert_eq!(engine.recall(events, at(1002, 2)), 0);
        assert_eq!(engine.standing(client(1), at(1002, 2)).score, 0);
    }
}
