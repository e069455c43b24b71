//! What becomes of ends when the wall clock is set.
//!
//! A decision lasts for a span, so its end is an instant on the boot clock, and the wall time of that end follows the wall
//! clock. Only of blocks that a restart of the machine has brought back is the wall time all that is known: their
//! instants follow it, for a machine may start with a clock that is days off until the network corrects it. If it is ahead,
//! stored entries seem to have ended: they are kept aside for the machine's first hour, and stand again when the clock is set
//! back to before their end.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;

use super::{Effect, Engine, Record};
use crate::decision::{Block, Change, Never};
use crate::time::{Instant, Now, Timestamp};

/// Steps that are smaller are how clocks are kept right, not how they are set.
const SMALLEST_STEP: Duration = Duration::from_secs(2);

/// How long after the start of the machine its wall clock may still be wrong.
const DOUBT: Duration = Duration::from_hours(1);

/// The wall clock at the beginning of the boot clock, and whose ends are known by the wall clock only.
#[derive(Debug, Default)]
pub(super) struct Clock {
    origin: Option<Timestamp>,
    pub(super) restored: BTreeSet<IpNet>,
    /// Stored entries that had ended when the machine had just started, by a clock that may have been ahead.
    ended: Vec<Ended>,
}

/// What had ended.
#[derive(Debug)]
pub(super) enum Ended {
    Block(Block),
    Never(Never),
}

impl Ended {
    /// When, by the wall clock.
    const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Block(block) => Some(block.until),
            Self::Never(never) => never.until,
        }
    }
}

impl Clock {
    /// A stored entry has ended; whether that is in doubt, and it is kept aside.
    pub(super) fn doubts(&mut self, entry: Ended, now: Now) -> bool {
        let is_early = now.instant < Instant::from_nanos(0).after(DOUBT);
        if is_early {
            self.ended.push(entry);
        }
        is_early
    }
}

impl Engine {
    /// Looks whether the wall clock has been set since the last look.
    pub fn handle_clock(&mut self, now: Now) {
        if !self.clock.ended.is_empty() && now.instant >= Instant::from_nanos(0).after(DOUBT) {
            self.forget_ended();
        }
        let origin = now.wall.before(Duration::from_nanos(now.instant.as_nanos()));
        let Some(before) = self.clock.origin.replace(origin) else { return };
        let step = origin.since(before).max(before.since(origin));
        if step < SMALLEST_STEP {
            // A slow drift adds up: what counts is how far it has come since the last step.
            self.clock.origin = Some(before);
            return;
        }
        self.bring_back(now);
        let entries: Vec<_> =
            self.blocks.iter().map(|(network, until, block)| (*network, until, block.clone())).collect();
        for (network, until, mut block) in entries {
            if self.clock.restored.contains(&network) {
                let until = now.instant_of(block.until);
                let change = Change::Block { network, since: now.instant, until, origin: block.origin };
                self.effects.push_back(Effect::Kernel(change));
                self.blocks.insert(network, until, block);
            } else {
                block.until = now.wall_of(until);
                self.effects.push_back(Effect::Store(Record::PutBlock(block.clone())));
                self.blocks.insert(network, until, block);
            }
        }
        let nevers: Vec<_> =
            self.nevers.iter().map(|(network, until, never)| (*network, until, never.clone())).collect();
        for (network, until, mut never) in nevers {
            if never.until.is_some() {
                never.until = Some(now.wall_of(until));
                self.effects.push_back(Effect::Store(Record::PutNever(never.clone())));
                self.nevers.insert(network, until, never);
            }
        }
    }

    /// The clock was ahead: what had ended by it and has not stands again.
    fn bring_back(&mut self, now: Now) {
        let (standing, ended): (Vec<_>, Vec<_>) = core::mem::take(&mut self.clock.ended)
            .into_iter()
            .partition(|entry| entry.until().is_none_or(|until| until > now.wall));
        self.clock.ended = ended;
        for entry in standing {
            match entry {
                Ended::Block(block) if self.blocks.get(&block.network).is_none() => {
                    let (network, since, until) = (block.network, now.instant, now.instant_of(block.until));
                    let change = Change::Block { network, since, until, origin: block.origin };
                    self.effects.push_back(Effect::Kernel(change));
                    self.clock.restored.insert(network);
                    self.blocks.insert(network, until, block);
                }
                Ended::Never(never) if self.nevers.get(&never.network).is_none() => {
                    self.put_never(never, now);
                }
                Ended::Block(_) | Ended::Never(_) => {}
            }
        }
    }

    /// The clock has had its time: what has ended has ended, unless somebody has decided again.
    fn forget_ended(&mut self) {
        for entry in core::mem::take(&mut self.clock.ended) {
            let gone = match entry {
                Ended::Block(Block { network, .. }) => {
                    self.blocks.get(&network).is_none().then_some(Record::DropBlock(network))
                }
                Ended::Never(Never { network, .. }) => {
                    self.nevers.get(&network).is_none().then_some(Record::DropNever(network))
                }
            };
            self.effects.extend(gone.map(Effect::Store));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::client::ClientAddr;
    use crate::engine::{Held, HeldNever};
    use crate::offence::{Kind, Offence};
    use crate::policy::Policy;

    const DAY: Duration = Duration::from_hours(24);

    fn at(seconds: u64, wall: i64) -> Now {
        Now {
            instant: Instant::from_nanos(seconds * 1_000_000_000),
            wall: Timestamp::from_millis(wall * 1000),
        }
    }

    fn engine() -> Engine {
        let mut engine = Engine::new(Policy::default());
        engine.handle_clock(at(1000, 100_000));
        let network = "192.0.2.7/32".parse().unwrap();
        engine.block(network, None, String::new(), "root".into(), false, at(1000, 100_000)).unwrap();
        engine
    }

    fn is_blocked(engine: &Engine, now: Now) -> bool {
        engine.refusal(ClientAddr::new([192, 0, 2, 7].into()), now.instant).is_some()
    }

    #[test]
    fn a_block_lasts_as_long_as_it_was_meant_to_whatever_the_wall_clock_does() {
        for step in [-86_400, 86_400] {
            let mut engine = engine();
            let now = at(1060, 100_060 + step);
            engine.handle_clock(now);
            assert!(is_blocked(&engine, at(2799, 0)) && !is_blocked(&engine, at(2800, 0)));
            let block = engine.blocks(now.instant).next().unwrap().block;
            assert_eq!(
                block.until.as_millis() / 1000,
                101_800 + step,
                "the stored end follows the wall clock"
            );
        }
    }

    #[test]
    fn a_clock_that_is_kept_right_changes_nothing() {
        let mut engine = engine();
        while engine.poll_effect().is_some() {}
        for second in 0..100_u64 {
            engine.handle_clock(at(1000 + second, 100_000 + i64::try_from(second).unwrap() + 1));
        }
        assert_eq!(engine.poll_effect(), None);
    }

    #[test]
    fn what_a_restart_has_brought_back_follows_the_wall_clock_once_it_is_right() {
        let stored: Vec<_> = engine().blocks(at(1000, 0).instant).map(|view| view.block).collect();
        // The machine starts with a clock that is a day behind.
        let mut restarted = Engine::new(Policy::default());
        let early = at(10, 100_060 - 86_400);
        restarted.handle_clock(early);
        restarted.restore((stored, Vec::new()), &Held::default(), [], early);
        assert!(is_blocked(&restarted, at(10 + DAY.as_secs(), 0)), "by that clock it has a day to go");
        restarted.handle_clock(at(20, 100_070));
        assert!(is_blocked(&restarted, at(20 + 1729, 0)) && !is_blocked(&restarted, at(20 + 1730, 0)));
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_ends_no_exemption_either() {
        let network = "192.0.2.7/32".parse().unwrap();
        let mut before = engine();
        let (span, now) = (Some(Duration::from_mins(30)), at(1000, 100_000));
        before.never(network, span, "the branch office".into(), "root".into(), false, now).unwrap();
        let stored: Vec<_> = before.nevers().cloned().collect();
        let names = |engine: &Engine| engine.nevers().map(|never| never.comment.clone()).collect::<Vec<_>>();
        let mut engine = Engine::new(Policy::default());
        let ahead = at(10, 100_060 + 86_400);
        engine.handle_clock(ahead);
        engine.restore((Vec::new(), stored.clone()), &Held::default(), [], ahead);
        assert_eq!(names(&engine).len(), 0, "by that clock it has ended");
        engine.handle_clock(at(20, 100_070));
        assert_eq!(names(&engine), ["the branch office"]);
        assert_eq!(engine.poll_timeout(), Some(at(20 + 1730, 0).instant));
        // Without a restart of the machine, the kernel knows better than the clock.
        let held = HeldNever { network, until: at(2800, 0).instant, built_in: false };
        let mut engine = Engine::new(Policy::default());
        let ahead = at(1060, 100_060 + 86_400);
        engine.restore((Vec::new(), stored), &Held { nevers: [held].into(), ..Held::default() }, [], ahead);
        assert_eq!(names(&engine), ["the branch office"]);
        assert_eq!(engine.poll_timeout(), Some(at(2800, 0).instant));
    }

    /// The boot clock goes on while the machine sleeps, and nobody is awake to sweep.
    #[test]
    fn a_machine_that_slept_finds_everything_as_old_as_it_is() {
        let mut engine = engine();
        let who = ClientAddr::new([192, 0, 2, 8].into());
        let offend = |engine: &mut Engine, now| {
            engine.handle_offence(who, Offence::new(Kind::RelayDenied, b"x"), now);
            engine.score(who, now.instant)
        };
        assert_eq!(offend(&mut engine, at(1000, 100_000)), 100);
        assert!(is_blocked(&engine, at(1001, 100_001)));
        let woken = at(1000 + 8 * 3600, 100_000 + 8 * 3600);
        engine.handle_clock(woken);
        assert!(
            !is_blocked(&engine, woken),
            "it ended while the machine slept, before anything is swept away"
        );
        assert_eq!(offend(&mut engine, woken), 100, "what was done eight hours ago counts no more");
        while engine.poll_effect().is_some() {}
        engine.handle_timeout(woken);
        let network = "192.0.2.7/32".parse().unwrap();
        assert_eq!(engine.poll_effect(), Some(Effect::Kernel(Change::Unblock(network))));
        assert_eq!(engine.poll_timeout(), None);
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_ends_no_stored_block() {
        let stored: Vec<_> = engine().blocks(at(1000, 0).instant).map(|view| view.block).collect();
        let restarted = || {
            let mut engine = Engine::new(Policy::default());
            let ahead = at(10, 100_060 + 86_400);
            engine.handle_clock(ahead);
            engine.restore((stored.clone(), Vec::new()), &Held::default(), [], ahead);
            engine
        };
        let mut engine = restarted();
        assert!(!is_blocked(&engine, at(11, 0)), "by that clock it has ended");
        let dropped = |engine: &mut Engine| {
            core::iter::from_fn(|| engine.poll_effect())
                .any(|effect| matches!(effect, Effect::Store(Record::DropBlock(_))))
        };
        assert!(!dropped(&mut engine), "the store keeps it");
        engine.handle_clock(at(20, 100_070));
        assert!(is_blocked(&engine, at(20 + 1729, 0)) && !is_blocked(&engine, at(20 + 1730, 0)));
        // Nobody sets the clock: it was right.
        let mut engine = restarted();
        engine.handle_clock(at(3599, 100_060 + 86_400 + 3589));
        assert!(!dropped(&mut engine));
        engine.handle_clock(at(3600, 100_060 + 86_400 + 3590));
        assert!(dropped(&mut engine) && engine.clock.ended.is_empty());
    }
}
