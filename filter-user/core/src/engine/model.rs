//! The engine beside a naive one that keeps every fact for ever and adds up from the beginning each time it is asked.
//!
//! Random streams of offences, administrators' wishes and time, in steps around the edges of the monitor period and of
//! the block time, while the wall clock jumps. Both must decide the same at every step; and who follows the engine's
//! effects, as the kernel and the store do, must come to the same lists.

use alloc::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use core::time::Duration;

use super::*;
use crate::decision::Origin;
use crate::offence::{Kind, Offence};
use crate::policy::LoginPolicy;
use crate::time::Timestamp;

const PERIOD: Duration = Duration::from_mins(10);
const BLOCK_TIME: Duration = Duration::from_mins(4);
const SECOND: Duration = Duration::from_secs(1);
/// From the end of a block to the end of the window that its last offence opened.
const REMAINDER: Duration = Duration::from_mins(6);

/// Two of one IPv4 network, the first once more as IPv6 writes it; one beside them; two of one /64 and one beside it;
/// and one that is exempt from the beginning.
const CLIENTS: [&str; 8] = [
    "192.0.2.1",
    "192.0.2.2",
    "::ffff:192.0.2.1",
    "192.0.3.1",
    "2001:db8:0:1::1",
    "2001:db8:0:1::2",
    "2001:db8:0:2::1",
    "198.51.100.9",
];
const BUILT_IN: &str = "198.51.100.9/32";
/// What administrators name: scopes, what lies around them, and less than a scope.
const NETWORKS: [&str; 8] = [
    "192.0.2.1/32",
    "192.0.2.0/24",
    "192.0.0.0/16",
    "2001:db8:0:1::/64",
    "2001:db8:0:1::1/128",
    "2001:db8::/48",
    "198.51.100.0/24",
    BUILT_IN,
];

fn client(who: usize) -> ClientAddr {
    ClientAddr::new(CLIENTS[who].parse().unwrap())
}

fn network(which: usize) -> IpNet {
    NETWORKS[which].parse().unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Offend(usize, Kind),
    Block(usize, Duration),
    Unblock(usize),
    Never(usize, Option<Duration>),
    Forget(usize),
    Multiplier(Kind, u32),
    /// The wall clock jumps by so many seconds.
    Jump(i64),
}

fn pause() -> impl Strategy<Value = Duration> {
    let edge = |span: Duration| {
        let nanos = span.as_secs() * 1_000_000_000;
        [nanos - 1, nanos, nanos + 1].map(Duration::from_nanos)
    };
    let edges = [PERIOD, BLOCK_TIME, REMAINDER].map(edge).concat();
    prop_oneof![
        6 => Just(Duration::ZERO),
        6 => (0_u64..40).prop_map(Duration::from_secs),
        2 => (0_u64..600_000).prop_map(Duration::from_millis),
        1 => proptest::sample::select(edges),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (who, which) = (0..CLIENTS.len(), 0..NETWORKS.len());
    let kind = proptest::sample::select(&Kind::ALL[..]);
    let span =
        proptest::sample::select([SECOND, BLOCK_TIME, PERIOD, Duration::from_mins(999_999_999)].to_vec());
    prop_oneof![
        40 => (who.clone(), kind.clone()).prop_map(|(who, kind)| Step::Offend(who, kind)),
        // Often enough not to be told of each time.
        15 => who.prop_map(|who| Step::Offend(who, Kind::SessionOverflow)),
        2 => (which.clone(), span.clone()).prop_map(|(which, span)| Step::Block(which, span)),
        3 => which.clone().prop_map(Step::Unblock),
        2 => (which.clone(), proptest::option::of(span)).prop_map(|(which, span)| Step::Never(which, span)),
        3 => which.prop_map(Step::Forget),
        1 => (kind, 0_u32..400).prop_map(|(kind, multiplier)| Step::Multiplier(kind, multiplier)),
        1 => (-100_000_i64..100_000).prop_map(Step::Jump),
    ]
}

/// What was decided, in words that both engines have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// The score with it, and the block that it came under.
    Scored(u64, Option<IpNet>),
    /// An offence that costs nothing, of which a later event tells.
    Counted,
    /// For which offences, by their numbers.
    Blocked(IpNet, Vec<usize>),
    Spared(IpNet, Vec<usize>),
    Unblocked(IpNet, Vec<usize>),
    Exempted(IpNet),
    Forgotten(IpNet),
    Refused,
}

#[derive(Debug)]
enum Fact {
    Offence {
        scope: IpNet,
        cost: u64,
    },
    /// What the scopes in this network did before has had its consequence.
    Spent(IpNet),
    Block(IpNet, Instant),
    Unblock(IpNet),
    Never(IpNet, Instant),
    Forget(IpNet),
}

/// Every fact from the beginning.
struct Naive {
    facts: Vec<(Instant, Fact)>,
    threshold: u64,
}

impl Naive {
    /// The networks of a list that stand around an address, the longest prefix first.
    fn around(
        &self,
        address: core::net::IpAddr,
        now: Instant,
        on: impl Fn(&Fact) -> Option<(IpNet, Instant)>,
    ) -> Vec<IpNet> {
        let mut list = self.listed(now, on);
        list.retain(|network| network.contains(&address));
        list.sort_by_key(|network| core::cmp::Reverse(network.prefix_len()));
        list
    }

    /// The networks of a list: for each, the latest fact counts. Taking off is an end in the past.
    fn listed(&self, now: Instant, on: impl Fn(&Fact) -> Option<(IpNet, Instant)>) -> Vec<IpNet> {
        let ends: BTreeMap<IpNet, Instant> = self.facts.iter().filter_map(|(_, fact)| on(fact)).collect();
        ends.into_iter().filter(|(_, end)| *end > now).map(|(network, _)| network).collect()
    }

    fn block(&self, who: ClientAddr, now: Instant) -> Option<IpNet> {
        self.around(who.ip(), now, on_blocks).first().copied()
    }

    fn exemption(&self, who: ClientAddr, now: Instant) -> Option<IpNet> {
        self.around(who.ip(), now, on_nevers).first().copied()
    }

    /// The offences of scopes in a network that count, by their numbers, and their sum.
    fn counting(&self, network: IpNet, now: Instant) -> (Vec<usize>, u64) {
        let (mut numbers, mut sum) = (Vec::new(), 0);
        for (number, (at, fact)) in self.facts.iter().enumerate() {
            let Fact::Offence { scope, cost } = fact else { continue };
            let later = &self.facts[number..];
            let spent = |fact: &Fact| matches!(fact, Fact::Spent(network) if network.contains(scope));
            let counts = network.contains(scope) && now.since(*at) <= PERIOD && *cost > 0;
            if counts && !later.iter().any(|(_, fact)| spent(fact)) {
                numbers.push(number);
                sum += cost;
            }
        }
        (numbers, sum)
    }

    fn offend(&mut self, who: ClientAddr, cost: u32, now: Instant) -> Vec<Said> {
        let scope = ScopeWidth::default().scope_of(who).network();
        let (exemption, block) = (self.exemption(who, now), self.block(who, now));
        if exemption.is_none() && block.is_some() {
            // Its number is taken, as in the engine's log.
            self.facts.push((now, Fact::Offence { scope, cost: 0 }));
            return [Said::Scored(self.counting(scope, now).1, block)].to_vec();
        }
        self.facts.push((now, Fact::Offence { scope, cost: cost.into() }));
        let (numbers, score) = self.counting(scope, now);
        let mut said = [Said::Scored(score, None)].to_vec();
        if cost > 0 && score >= self.threshold {
            self.facts.push((now, Fact::Spent(scope)));
            said.push(if let Some(by) = exemption {
                Said::Spared(by, numbers)
            } else {
                self.facts.push((now, Fact::Block(scope, now.after(BLOCK_TIME))));
                Said::Blocked(scope, numbers)
            });
        }
        said
    }

    fn wish(&mut self, step: &Step, now: Instant) -> Vec<Said> {
        let built_in: IpNet = BUILT_IN.parse().unwrap();
        let said = match *step {
            Step::Block(which, span) => {
                self.facts.push((now, Fact::Block(network(which), now.after(span))));
                Said::Blocked(network(which), Vec::new())
            }
            Step::Unblock(which) if self.listed(now, on_blocks).contains(&network(which)) => {
                let (numbers, _) = self.counting(network(which), now);
                self.facts.push((now, Fact::Unblock(network(which))));
                self.facts.push((now, Fact::Spent(network(which))));
                Said::Unblocked(network(which), numbers)
            }
            Step::Never(which, span) if network(which) != built_in => {
                let until = span.map_or(Instant::FAR_FUTURE, |span| now.after(span));
                self.facts.push((now, Fact::Never(network(which), until)));
                Said::Exempted(network(which))
            }
            Step::Forget(which) if network(which) != built_in => {
                if self.listed(now, on_nevers).contains(&network(which)) {
                    self.facts.push((now, Fact::Forget(network(which))));
                    Said::Forgotten(network(which))
                } else {
                    Said::Refused
                }
            }
            _ => Said::Refused,
        };
        [said].to_vec()
    }
}

fn on_blocks(fact: &Fact) -> Option<(IpNet, Instant)> {
    match *fact {
        Fact::Block(network, until) => Some((network, until)),
        Fact::Unblock(network) => Some((network, Instant::from_nanos(0))),
        _ => None,
    }
}

fn on_nevers(fact: &Fact) -> Option<(IpNet, Instant)> {
    match *fact {
        Fact::Never(network, until) => Some((network, until)),
        Fact::Forget(network) => Some((network, Instant::from_nanos(0))),
        _ => None,
    }
}

/// Who follows the engine's effects and has no opinion: the kernel, the store and the log.
#[derive(Debug, Default)]
struct Follower {
    blocks: BTreeMap<IpNet, Instant>,
    nevers: BTreeMap<IpNet, Instant>,
    stored_blocks: BTreeMap<IpNet, Block>,
    stored_nevers: BTreeMap<IpNet, Never>,
    /// The naive engine's number of each event that is an offence, and the network of each that is a block.
    offences: BTreeMap<EventId, usize>,
    decisions: BTreeMap<EventId, IpNet>,
}

impl Follower {
    /// Carries out what the engine wants; says what it decided. The next offence has this number.
    fn follow(&mut self, engine: &mut Engine, mut number: usize, now: Now) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some(effect) = engine.poll_effect() {
            match effect {
                Effect::Kernel(change) => self.enforce(&change),
                Effect::EndSessions(_) => {}
                Effect::Count(_) => said.push(Said::Counted),
                Effect::Store(record) => self.keep(record),
                Effect::Log(event) => {
                    assert_eq!(event.time, now.wall);
                    if matches!(event.what, What::Offence { .. }) {
                        self.offences.insert(event.id, number);
                        number += 1;
                    }
                    said.extend(self.read(&event, now));
                }
            }
        }
        said
    }

    fn enforce(&mut self, change: &Change) {
        match *change {
            Change::Block { network, until, .. } => drop(self.blocks.insert(network, until)),
            Change::Unblock(network) => drop(self.blocks.remove(&network)),
            Change::Never { network, until, .. } => drop(self.nevers.insert(network, until)),
            Change::ForgetNever(network) => drop(self.nevers.remove(&network)),
        }
    }

    fn keep(&mut self, record: Record) {
        match record {
            Record::PutBlock(block) => drop(self.stored_blocks.insert(block.network, block)),
            Record::DropBlock(network) => drop(self.stored_blocks.remove(&network)),
            Record::PutNever(never) => drop(self.stored_nevers.insert(never.network, never)),
            Record::DropNever(network) => drop(self.stored_nevers.remove(&network)),
        }
    }

    fn read(&mut self, event: &Event, now: Now) -> Option<Said> {
        let numbers = |ids: &[EventId]| ids.iter().map(|id| self.offences[id]).collect::<Vec<_>>();
        Some(match &event.what {
            What::Offence { score, .. } => {
                Said::Scored(*score, event.answered_by.map(|id| self.decisions[&id]))
            }
            What::Blocked { led_by, until, origin, .. } => {
                assert!(*origin == Origin::Manual || *until == now.wall.after(BLOCK_TIME));
                let said = Said::Blocked(event.network, numbers(led_by));
                self.decisions.insert(event.id, event.network);
                said
            }
            What::Spared { by, led_by, .. } => Said::Spared(*by, numbers(led_by)),
            What::Unblocked { by: Some(_), forgave } => Said::Unblocked(event.network, numbers(forgave)),
            What::Exempted { .. } => Said::Exempted(event.network),
            What::Unexempted { by: Some(_) } => Said::Forgotten(event.network),
            What::Unblocked { by: None, .. } | What::Unexempted { by: None } => return None,
            What::NoRoom | What::Dropped { .. } | What::Succeeded { .. } => {
                panic!("not in this model: {event:?}")
            }
        })
    }

    /// As the kernel judges a packet.
    fn drops(&self, who: ClientAddr, now: Instant) -> bool {
        let stands = |list: &BTreeMap<IpNet, Instant>| {
            list.iter().any(|(network, until)| network.contains(&who.ip()) && *until > now)
        };
        stands(&self.blocks) && !stands(&self.nevers)
    }
}

/// Does what a step wants of the engine; a refusal is said.
fn act(engine: &mut Engine, step: &Step, now: Now) -> Vec<Said> {
    let refused = match *step {
        Step::Offend(who, kind) => {
            engine.handle_offence(client(who), Offence::new(kind, b"x"), now);
            false
        }
        Step::Block(which, span) => {
            engine.block(network(which), Some(span), String::new(), "root".into(), false, now).is_err()
        }
        Step::Unblock(which) => engine.unblock(network(which), "root".into(), now).is_err(),
        Step::Never(which, span) => {
            engine.never(network(which), span, String::new(), "root".into(), false, now).is_err()
        }
        Step::Forget(which) => engine.forget_never(network(which), "root".into(), now).is_err(),
        Step::Multiplier(kind, multiplier) => {
            engine.policy.multipliers.set(kind, multiplier);
            false
        }
        Step::Jump(_) => false,
    };
    if refused { [Said::Refused].to_vec() } else { Vec::new() }
}

/// What was forgiven may include what no longer counted, and failed logins that cost nothing; only what did is compared.
fn without_the_old(said: Vec<Said>, naive: &Naive, now: Instant) -> Vec<Said> {
    let young = |number: &usize| {
        let (at, fact) = &naive.facts[*number];
        now.since(*at) <= PERIOD && !matches!(fact, Fact::Offence { cost: 0, .. })
    };
    let prune = |said| match said {
        Said::Unblocked(network, mut numbers) => {
            numbers.retain(young);
            numbers.sort_unstable();
            Said::Unblocked(network, numbers)
        }
        other => other,
    };
    said.into_iter().map(prune).collect()
}

fn built_in(now: Now) -> Never {
    let (comment, author) = (String::new(), "built-in".into());
    Never {
        network: BUILT_IN.parse().unwrap(),
        comment,
        author,
        since: now.wall,
        until: None,
        built_in: true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, rng_seed: RngSeed::Fixed(20), ..ProptestConfig::default() })]

    #[test]
    fn it_decides_as_one_that_keeps_everything_and_adds_up_each_time(
        steps in proptest::collection::vec((pause(), step(), proptest::bool::weighted(0.7)), 1..250),
        threshold in 100_u32..700,
    ) {
        let policy = Policy {
            monitor_period: PERIOD, block_time: BLOCK_TIME, block_threshold: threshold,
            // Scores only: failed logins have tests of their own.
            login: LoginPolicy { threshold: 0, ..LoginPolicy::default() },
            ..Policy::default()
        };
        let mut engine = Engine::new(policy);
        let mut naive = Naive { facts: Vec::new(), threshold: threshold.into() };
        let mut follower = Follower::default();
        let wall = Timestamp::from_millis(1_800_000_000_000);
        let mut now = Now { instant: Instant::from_nanos(1_000_000_007), wall };
        naive.facts.push((now.instant, Fact::Never(BUILT_IN.parse().unwrap(), Instant::FAR_FUTURE)));
        engine.restore((Vec::new(), Vec::new()), &Held::default(), [built_in(now)], now);
        follower.follow(&mut engine, 0, now);

        for (pause, step, swept) in steps {
            now = Now { instant: now.instant.after(pause), wall: now.wall.after(pause) };
            if let Step::Jump(seconds) = step {
                now.wall = Timestamp::from_millis(now.wall.as_millis() + seconds * 1000);
            }
            // An agent that is late changes nothing for clients; administrators are answered from lists that are swept.
            if swept || !matches!(step, Step::Offend(..)) {
                engine.handle_timeout(now);
                prop_assert_eq!(follower.follow(&mut engine, 0, now), []);
            }
            let number = naive.facts.len();
            let mut expected = match step {
                Step::Offend(who, kind) => {
                    naive.offend(client(who), engine.policy.multipliers.get(kind), now.instant)
                }
                Step::Multiplier(..) | Step::Jump(_) => Vec::new(),
                _ => naive.wish(&step, now.instant),
            };
            let mut said = act(&mut engine, &step, now);
            said.extend(follower.follow(&mut engine, number, now));
            if let (Some(Said::Counted), Step::Offend(_, kind)) = (said.first(), &step) {
                prop_assert_eq!(engine.policy.multipliers.get(*kind), 0);
                expected[0] = Said::Counted;
            }
            prop_assert_eq!(without_the_old(said, &naive, now.instant), expected, "{:?}", step);

            for who in (0..CLIENTS.len()).map(client) {
                let exempt = naive.exemption(who, now.instant);
                let block = naive.block(who, now.instant).filter(|_| exempt.is_none());
                prop_assert_eq!(engine.refusal(who, now.instant).map(|block| block.network), block, "{}", who);
                prop_assert_eq!(follower.drops(who, now.instant), block.is_some(), "the kernel, {}", who);
                let standing = engine.standing(who, now);
                let (numbers, score) = naive.counting(standing.scope, now.instant);
                let counted: Vec<_> = standing.counted.iter().map(|id| follower.offences[id]).collect();
                prop_assert_eq!((standing.score, counted), (score, numbers), "{}", who);
            }
        }
        engine.handle_timeout(now);
        follower.follow(&mut engine, 0, now);
        let listed: Vec<_> = engine.blocks(now.instant).map(|view| view.block).collect();
        prop_assert_eq!(listed.iter().map(|block| block.network).collect::<Vec<_>>(), naive.listed(now.instant, on_blocks));
        prop_assert_eq!(follower.blocks.into_keys().collect::<Vec<_>>(), naive.listed(now.instant, on_blocks));
        prop_assert_eq!(follower.stored_blocks.into_values().collect::<Vec<_>>(), listed, "the store");
        prop_assert_eq!(follower.nevers.into_keys().collect::<Vec<_>>(), naive.listed(now.instant, on_nevers));
        let own = |never: &&Never| !never.built_in;
        let nevers: Vec<_> = engine.nevers().filter(own).cloned().collect();
        prop_assert_eq!(follower.stored_nevers.into_values().collect::<Vec<_>>(), nevers, "the store");
    }
}
