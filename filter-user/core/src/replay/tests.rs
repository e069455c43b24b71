//! The same settings give what was decided, other settings what a naive sum gives.

use alloc::string::ToString;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::EventId;
use crate::offence::Kind;

const NOON: i64 = 1_800_000_000_000;
/// Who offends: two IPv4 clients, and two IPv6 ones of which the first has a neighbour in its /64.
const CLIENTS: [&str; 5] =
    ["192.0.2.1", "198.51.100.2", "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"];
const EVERYTHING: Timestamp = Timestamp::from_millis(0);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(NOON).after(Duration::from_secs(seconds))
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn client(who: usize) -> ClientAddr {
    ClientAddr::new(CLIENTS[who].parse().unwrap())
}

/// One step of a real day.
#[derive(Debug, Clone)]
enum Step {
    Offend(usize, Kind),
    Block(usize, u64),
    Unblock(usize),
    Exempt(usize, Option<u64>),
    Forget(usize),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let who = 0..CLIENTS.len();
    let kind = proptest::sample::select(&Kind::ALL[..]);
    let step = prop_oneof![
        40 => (who.clone(), kind).prop_map(|(who, kind)| Step::Offend(who, kind)),
        1 => (who.clone(), 1_u64..5000).prop_map(|(who, seconds)| Step::Block(who, seconds)),
        1 => who.clone().prop_map(Step::Unblock),
        1 => (who.clone(), proptest::option::of(1_u64..5000)).prop_map(|(who, span)| Step::Exempt(who, span)),
        1 => who.prop_map(Step::Forget),
    ];
    let pause = prop_oneof![8 => 0_u64..30, 1 => 0_u64..2400];
    proptest::collection::vec((pause, step), 1..400)
}

/// The log that a real engine writes, with what happens by itself at its own time.
fn live(policy: &Policy, steps: &[(u64, Step)]) -> Vec<Event> {
    let mut engine = Engine::new(policy.clone());
    let mut log = Vec::new();
    let mut seconds = 0;
    let now = |seconds: u64| Now {
        instant: Instant::from_nanos((seconds + 77) * 1_000_000_000),
        wall: at(seconds),
    };
    for (pause, step) in steps {
        for _ in 0..*pause {
            seconds += 1;
            if engine.poll_timeout().is_some_and(|due| due <= now(seconds).instant) {
                engine.handle_timeout(now(seconds));
            }
        }
        let (now, root) = (now(seconds), || "root".to_string());
        let span = |seconds: u64| Duration::from_secs(seconds);
        let scope = |who: usize| policy.scope_width.scope_of(client(who)).network();
        match *step {
            Step::Offend(who, kind) => engine.handle_offence(client(who), Offence::new(kind, b"x"), now),
            Step::Block(who, seconds) => {
                engine.block(scope(who), Some(span(seconds)), root(), root(), false, now).unwrap();
            }
            Step::Unblock(who) => drop(engine.unblock(scope(who), root(), now)),
            Step::Exempt(who, seconds) => {
                engine.never(scope(who), seconds.map(span), root(), root(), false, now).unwrap();
            }
            Step::Forget(who) => drop(engine.forget_never(scope(who), root(), now)),
        }
        while let Some(effect) = engine.poll_effect() {
            if let Effect::Log(event) = effect {
                log.push(event);
            }
        }
    }
    log
}

fn replay(policy: &Policy, log: &[Event], since: Timestamp) -> Outcome {
    let mut replay = Replay::new(policy.clone(), Before::default(), since);
    for event in log {
        replay.handle_event(event);
    }
    replay.outcome()
}

fn offence(id: u64, seconds: u64, who: usize, kind: Kind) -> Event {
    let what = What::Offence {
        kind,
        number: kind.number(),
        multiplier: 0,
        score: 0,
        detail: "x".into(),
        failed_logins: 0,
        service: crate::service::ServiceName::SMTP,
        account: None,
        reported: None,
    };
    Event { id: EventId(id), time: at(seconds), network: client(who).ip().into(), what, answered_by: None }
}

/// The blocks that a log of offences leads to, by adding up everything each time: network, time and score.
fn naive(policy: &Policy, log: &[Event]) -> Vec<(IpNet, Timestamp, u64)> {
    let scope = |event: &Event| policy.scope_width.scope_of(ClientAddr::new(event.network.addr())).network();
    let mut blocks: Vec<(IpNet, Timestamp, u64)> = Vec::new();
    for (place, event) in log.iter().enumerate() {
        let last = blocks.iter().rev().find(|(network, _, _)| *network == scope(event));
        let ended = last.map(|(_, begun, _)| begun.after(policy.block_time));
        if ended.is_some_and(|ended| event.time < ended) {
            continue;
        }
        let counts = |other: &&Event| {
            scope(other) == scope(event)
                && event.time.since(other.time) <= policy.monitor_period
                && ended.is_none_or(|ended| other.time >= ended)
        };
        let cost = |event: &Event| match event.what {
            What::Offence { kind, .. } => u64::from(policy.multipliers.get(kind)),
            _ => 0,
        };
        let score: u64 = log[..=place].iter().filter(counts).map(cost).sum();
        if cost(event) > 0 && score >= u64::from(policy.block_threshold) {
            blocks.push((scope(event), event.time, score));
        }
    }
    blocks
}

proptest! {
    /// Offences, wishes and ends of a real log under the settings that wrote it: the same blocks, with their scores.
    #[test]
    fn the_same_settings_give_what_was_decided(steps in steps(), threshold in 100_u32..1200) {
        let policy = Policy { block_threshold: threshold, ..Policy::default() };
        let log = live(&policy, &steps);
        let outcome = replay(&policy, &log, EVERYTHING);
        prop_assert_eq!((outcome.only_in_force, outcome.only_replayed), (0, 0));
        for client in outcome.clients {
            prop_assert_eq!(&client.in_force, &client.replayed, "{}", client.network);
        }
    }

    /// Other settings on a log of nothing but offences.
    #[test]
    fn other_settings_give_what_a_naive_sum_gives(
        offences in proptest::collection::vec((0_u64..60, 0..CLIENTS.len(), 0..Kind::ALL.len()), 1..300),
        threshold in 50_u32..1500,
        minutes in (1_u64..60, 1_u64..60),
        multiplier in 0_u32..400,
    ) {
        let mut policy = Policy {
            block_threshold: threshold,
            monitor_period: Duration::from_mins(minutes.0),
            block_time: Duration::from_mins(minutes.1),
            ..Policy::default()
        };
        policy.multipliers.set(Kind::BadLocalRcpt, multiplier);
        let mut seconds = 0;
        let log: Vec<_> = offences.iter().zip(1..).map(|((pause, who, kind), id)| {
            seconds += pause;
            offence(id, seconds, *who, Kind::ALL[*kind])
        }).collect();
        let mut expected: BTreeMap<IpNet, Blocked> = BTreeMap::new();
        for (network, first, score) in naive(&policy, &log) {
            let blocked = Blocked { first, times: 0, score: Some(score) };
            expected.entry(network).or_insert(blocked).times += 1;
        }
        let outcome = replay(&policy, &log, EVERYTHING);
        prop_assert_eq!(outcome.only_replayed, expected.len() as u64);
        let replayed = outcome.clients.into_iter().map(|client| (client.network, client.replayed.unwrap()));
        prop_assert_eq!(replayed.collect::<BTreeMap<_, _>>(), expected);
    }
}

fn relays(policy: &Policy) -> Vec<Event> {
    let relay = |who| (60, Step::Offend(who, Kind::RelayDenied));
    let steps: Vec<_> = [0; 10].into_iter().chain([1; 7]).map(relay).collect();
    live(policy, &steps)
}

#[test]
fn clients_are_told_apart_by_the_side_that_blocks_them() {
    let policy = Policy::default();
    let log = relays(&policy);
    let lower = Policy { block_threshold: 700, ..policy.clone() };
    let outcome = replay(&lower, &log, EVERYTHING);
    assert_eq!((outcome.only_replayed, outcome.both, outcome.only_in_force, outcome.offences), (1, 1, 0, 17));
    assert_eq!((outcome.first, outcome.last), (Some(at(60)), Some(at(17 * 60))));
    let named: Vec<_> = outcome.clients.iter().map(|client| client.network).collect();
    assert_eq!(named, [net("198.51.100.2/32"), net("192.0.2.1/32")], "what is new comes first");
    let earlier = &outcome.clients[1];
    let times = (earlier.in_force.as_ref().unwrap().first, earlier.replayed.as_ref().unwrap().first);
    assert_eq!(times, (at(600), at(420)));
    assert_eq!(earlier.replayed.as_ref().unwrap().score, Some(700));
    let higher = Policy { block_threshold: 1001, ..policy };
    let outcome = replay(&higher, &log, EVERYTHING);
    assert_eq!((outcome.only_replayed, outcome.both, outcome.only_in_force), (0, 0, 1));
}

#[test]
fn an_event_that_stands_for_several_counts_as_several() {
    let policy = Policy::default();
    let steps = [const { (0, Step::Offend(0, Kind::SessionOverflow)) }; 20];
    let log = live(&policy, &steps);
    assert_eq!(log.len(), 11, "ten by themselves, and one for the next ten");
    let mut dearer = policy;
    dearer.multipliers.set(Kind::SessionOverflow, 50);
    let outcome = replay(&dearer, &log, EVERYTHING);
    assert_eq!((outcome.offences, outcome.only_replayed), (20, 1));
    assert_eq!(outcome.clients[0].replayed.as_ref().unwrap().score, Some(1000));
}

#[test]
fn what_came_before_shapes_the_scores_and_is_not_compared() {
    let policy = Policy::default();
    let log = relays(&policy);
    let outcome = replay(&policy, &log, at(599));
    assert_eq!((outcome.both, outcome.offences), (1, 8), "nine offences before it made the tenth block");
    assert_eq!(outcome.clients[0].replayed.as_ref().unwrap().score, Some(1000));
    let outcome = replay(&policy, &log, at(601));
    assert_eq!((outcome.clients.len(), outcome.offences), (0, 7));
}

#[test]
fn entries_that_stood_before_the_log_hold_in_it() {
    let never = |network: &str, built_in: bool| Never {
        network: net(network),
        comment: String::new(),
        author: "root".into(),
        since: at(0),
        until: (!built_in).then(|| at(550)),
        built_in,
    };
    let policy = Policy::default();
    let log = relays(&Policy { block_threshold: u32::MAX, ..policy.clone() });
    let sides = |nevers: Vec<Never>, built_in: Vec<Never>| {
        let before = Before { nevers, built_in, ..Before::default() };
        let mut replay = Replay::new(Policy { block_threshold: 500, ..policy.clone() }, before, EVERYTHING);
        for event in &log {
            replay.handle_event(event);
        }
        let clients = replay.outcome().clients.into_iter();
        clients.map(|client| (client.network.to_string(), client.replayed.unwrap().first)).collect::<Vec<_>>()
    };
    let (first, second) = ("192.0.2.1/32".to_string(), "198.51.100.2/32".to_string());
    assert_eq!(sides(Vec::new(), Vec::new()), [(first.clone(), at(300)), (second.clone(), at(900))]);
    assert_eq!(sides(Vec::new(), [never("192.0.2.0/24", true)].to_vec()), [(second.clone(), at(900))]);
    // Spared at 300 s, which spends five; the exemption ends before the tenth.
    let until_later = sides([never("192.0.2.0/24", false)].to_vec(), Vec::new());
    assert_eq!(until_later, [(first, at(600)), (second, at(900))]);
}

#[test]
fn a_clock_that_steps_back_lets_no_time_pass_and_none_return() {
    let policy = Policy { block_threshold: 300, ..Policy::default() };
    let kind = Kind::RelayDenied;
    // An hour back between the second and the third; then another hour and a second, all in one window or not.
    let log = [offence(1, 7200, 0, kind), offence(2, 7200, 0, kind), offence(3, 3600, 0, kind)];
    assert_eq!(replay(&policy, &log, EVERYTHING).only_replayed, 1);
    let log = [offence(1, 7200, 0, kind), offence(2, 3600, 0, kind), offence(3, 7201, 0, kind)];
    assert_eq!(
        replay(&policy, &log, EVERYTHING).only_replayed,
        0,
        "3601 s after the step the first is too old"
    );
}

#[test]
fn an_empty_log_comes_to_nothing() {
    let outcome = replay(&Policy::default(), &[], EVERYTHING);
    assert_eq!((outcome.offences, outcome.first, outcome.clients.len()), (0, None, 0));
}

#[test]
fn whom_it_would_harm_comes_first() {
    let policy = Policy::default();
    let mut log: Vec<_> = (1..=7).map(|id| offence(id, 10 * id, 0, Kind::RelayDenied)).collect();
    log.extend((8..=14).map(|id| offence(id, 10 * id, 1, Kind::RelayDenied)));
    for (id, how) in [(15, Success::Delivered), (16, Success::Delivered), (17, Success::LoggedIn)] {
        let network = client(1).ip().into();
        log.push(Event {
            id: EventId(id),
            time: at(200),
            network,
            what: What::Succeeded { how },
            answered_by: None,
        });
    }
    let outcome = replay(&Policy { block_threshold: 700, ..policy }, &log, EVERYTHING);
    let named: Vec<_> = outcome.clients.iter().map(|client| (client.network, client.succeeded)).collect();
    let harmed = Successes { logins: 1, messages: 2 };
    assert_eq!(named, [(net("198.51.100.2/32"), harmed), (net("192.0.2.1/32"), Successes::default())]);
    assert!(outcome.summary().contains("198.51.100.2 (1 login, 2 messages)"), "{}", outcome.summary());
}
