//! The arithmetic of the help page, the precedence of the lists, and starting over.

mod feeds;
mod judging;
mod nested;
mod reports;

use core::time::Duration;

use super::*;
use crate::admin::LONGEST_BLOCK_MINUTES;
use crate::decision::Origin;
use crate::offence::{Fingerprint, Kind, Offence};
use crate::policy::Evaluate;
use crate::time::Timestamp;

const NOON: i64 = 1_800_000_000_000;

fn at(seconds: u64) -> Now {
    let wall = Timestamp::from_millis(NOON).after(Duration::from_secs(seconds));
    Now { instant: Instant::from_nanos((seconds + 1000) * 1_000_000_000), wall }
}

fn client(text: &str) -> ClientAddr {
    ClientAddr::new(text.parse().unwrap())
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn engine() -> Engine {
    Engine::new(Policy::default())
}

/// The client offends `count` times at the same moment.
fn offend(engine: &mut Engine, kind: Kind, count: usize, who: &str, seconds: u64) {
    for _ in 0..count {
        engine.handle_offence(client(who), Offence::new(kind, b"x"), at(seconds));
    }
}

fn is_blocked(engine: &Engine, who: &str, seconds: u64) -> bool {
    engine.refusal(client(who), at(seconds).instant).is_some()
}

fn effects(engine: &mut Engine) -> Vec<Effect> {
    core::iter::from_fn(|| engine.poll_effect()).collect()
}

fn what(effect: &Effect) -> Option<&What> {
    if let Effect::Log(event) = effect { Some(&event.what) } else { None }
}

fn kernel_changes(engine: &mut Engine) -> Vec<Change> {
    let changes = effects(engine).into_iter().filter_map(|effect| match effect {
        Effect::Kernel(change) => Some(change),
        Effect::EndSessions(_) | Effect::Store(_) | Effect::Log(_) | Effect::Count(_) => None,
    });
    changes.collect()
}

#[test]
fn the_pages_own_example_blocks_for_thirty_minutes() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 2, "192.0.2.7", 0);
    offend(&mut engine, Kind::BadAuthentication, 5, "192.0.2.7", 600);
    offend(&mut engine, Kind::BadLocalRcpt, 10, "192.0.2.7", 1200);
    assert!(!is_blocked(&engine, "192.0.2.7", 1200), "950 does not block");
    offend(&mut engine, Kind::BadLocalRcpt, 2, "192.0.2.7", 3600);
    assert!(is_blocked(&engine, "192.0.2.7", 3600));
    assert!(is_blocked(&engine, "192.0.2.7", 3600 + 1799));
    assert!(!is_blocked(&engine, "192.0.2.7", 3600 + 1800));
    assert!(!is_blocked(&engine, "192.0.2.8", 3600));
}

#[test]
fn the_same_events_over_61_minutes_do_not_block() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 2, "192.0.2.7", 0);
    offend(&mut engine, Kind::BadAuthentication, 5, "192.0.2.7", 1800);
    offend(&mut engine, Kind::BadLocalRcpt, 12, "192.0.2.7", 61 * 60);
    assert!(!is_blocked(&engine, "192.0.2.7", 61 * 60));
}

#[test]
fn exactly_the_threshold_blocks_and_one_below_does_not() {
    let mut engine = engine();
    engine.policy.multipliers.set(Kind::SyntaxError, 1);
    offend(&mut engine, Kind::SyntaxError, 999, "192.0.2.7", 0);
    assert!(!is_blocked(&engine, "192.0.2.7", 0));
    offend(&mut engine, Kind::SyntaxError, 1, "192.0.2.7", 0);
    assert!(is_blocked(&engine, "192.0.2.7", 0));
}

#[test]
fn a_block_reaches_the_kernel_before_anything_else_happens() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 9, "2001:db8::1", 0);
    effects(&mut engine);
    offend(&mut engine, Kind::RelayDenied, 1, "2001:db8::2", 0);
    let effects = effects(&mut engine);
    assert!(matches!(what(&effects[0]), Some(What::Offence { score: 1000, .. })));
    let until = at(1800).instant;
    let block =
        Change::Block { network: net("2001:db8::/64"), since: at(0).instant, until, origin: Origin::Smtp };
    assert_eq!(effects[1], Effect::Kernel(block));
    assert_eq!(effects[2], Effect::EndSessions(net("2001:db8::/64")));
}

#[test]
fn events_that_led_to_a_block_are_spent() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 0);
    engine.handle_timeout(at(1800));
    assert!(engine.blocks.is_empty());
    offend(&mut engine, Kind::RelayDenied, 9, "192.0.2.7", 1801);
    assert!(!is_blocked(&engine, "192.0.2.7", 1801));
}

#[test]
fn unblocking_by_hand_spends_the_events_since() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 0);
    offend(&mut engine, Kind::RelayDenied, 9, "192.0.2.7", 1);
    engine.unblock(net("192.0.2.7/32"), "root".into(), at(2)).unwrap();
    offend(&mut engine, Kind::RelayDenied, 1, "192.0.2.7", 3);
    assert!(!is_blocked(&engine, "192.0.2.7", 3));
}

#[test]
fn never_block_wins_at_once_and_lets_the_block_stand_again() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 0);
    engine.never(net("192.0.2.0/24"), None, String::new(), "root".into(), false, at(1)).unwrap();
    assert!(!is_blocked(&engine, "192.0.2.7", 1));
    assert_eq!(engine.blocks(at(0).instant).next().unwrap().overridden_by, Some(net("192.0.2.0/24")));
    engine.forget_never(net("192.0.2.0/24"), "root".into(), at(2)).unwrap();
    assert!(is_blocked(&engine, "192.0.2.7", 2));
}

#[test]
fn a_never_blocked_client_is_scored_and_spared() {
    let mut engine = engine();
    engine.never(net("192.0.2.7/32"), None, String::new(), "root".into(), false, at(0)).unwrap();
    effects(&mut engine);
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 0);
    let last = effects(&mut engine).pop().unwrap();
    let Some(What::Spared { score: 1000, by, led_by }) = what(&last) else { panic!("{last:?}") };
    assert_eq!((*by, led_by.len()), (net("192.0.2.7/32"), 10));
    assert!(engine.blocks.is_empty());
}

#[test]
fn observe_mode_lists_blocks_and_enforces_none() {
    let mut engine = Engine::new(Policy { observe: true, ..Policy::default() });
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 0);
    assert!(!is_blocked(&engine, "192.0.2.7", 0));
    assert_eq!(engine.sizes().0, 1);
    let effects = effects(&mut engine);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::EndSessions(_))));
    assert!(effects.iter().any(|effect| matches!(what(effect), Some(What::Blocked { enforced: false, .. }))));
}

#[test]
fn the_longest_block_is_taken_and_never_ends_on_the_boot_clock() {
    let mut engine = engine();
    let span = Some(Duration::from_secs(LONGEST_BLOCK_MINUTES * 60));
    let view = engine.block(net("10.0.0.0/8"), span, String::new(), "root".into(), false, at(0)).unwrap();
    assert_eq!(view.block.until.since(view.block.since), Duration::from_secs(LONGEST_BLOCK_MINUTES * 60));
    assert_eq!(engine.poll_timeout(), Some(Instant::FAR_FUTURE));
}

#[test]
fn a_manual_block_outlasts_a_shorter_automatic_one() {
    let mut engine = engine();
    let day = Some(Duration::from_hours(24));
    engine.block(net("192.0.2.7/32"), day, "pest".into(), "root".into(), false, at(0)).unwrap();
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 1);
    assert_eq!(engine.blocks(at(0).instant).next().unwrap().block.reason, "pest");
}

#[test]
fn refusals_name_the_remedy() {
    let mut engine = engine();
    let wide = engine.block(net("0.0.0.0/0"), None, String::new(), "root".into(), false, at(0));
    assert!(wide.unwrap_err().to_string().contains("--force"));
    engine.block(net("10.0.0.0/8"), None, String::new(), "root".into(), false, at(0)).unwrap();
    let missing = engine.unblock(net("10.1.0.0/16"), "root".into(), at(0)).unwrap_err().to_string();
    assert!(missing.contains("covered by 10.0.0.0/8"), "{missing}");
    let removed = engine
        .block(net("10.1.0.0/16"), None, String::new(), "root".into(), false, at(0))
        .and_then(|_| engine.unblock(net("10.1.0.0/16"), "root".into(), at(0)));
    assert_eq!(removed.unwrap().still_covered_by, [net("10.0.0.0/8")]);
}

fn stored(network: &str, until: u64) -> Block {
    Block {
        observed: false,
        event: EventId(0),
        network: net(network),
        origin: Origin::Manual,
        reason: "r".into(),
        author: "a".into(),
        since: at(0).wall,
        until: at(until).wall,
    }
}

fn built_in(network: &str) -> Never {
    Never {
        network: net(network),
        comment: String::new(),
        author: "built-in".into(),
        since: at(0).wall,
        until: None,
        built_in: true,
    }
}

#[test]
fn the_store_and_the_kernel_become_one_state() {
    let mut engine = engine();
    let held = |network, until: u64| HeldBlock {
        network: net(network),
        until: at(until).instant,
        origin: Some(Origin::Smtp),
    };
    let kernel = Held {
        blocks: alloc::vec![
            held("192.0.2.1/32", 100),
            held("192.0.2.2/32", 500),
            held("192.0.2.3/32", 5),
            held("192.0.2.6/32", 90)
        ],
        nevers: alloc::vec![
            HeldNever { network: net("127.0.0.0/8"), until: Instant::FAR_FUTURE, built_in: true },
            HeldNever { network: net("10.9.9.9/32"), until: Instant::FAR_FUTURE, built_in: true },
        ],
    };
    let store = alloc::vec![
        stored("192.0.2.1/32", 100),
        stored("192.0.2.4/32", 200),
        stored("192.0.2.5/32", 5),
        stored("192.0.2.6/32", 9000)
    ];
    engine.restore((store, Vec::new()), &kernel, [built_in("127.0.0.0/8")], at(10));
    let listed: Vec<_> = engine
        .blocks(at(10).instant)
        .map(|view| (view.block.network.addr().to_string(), view.block.until.since(at(0).wall).as_secs()))
        .collect();
    let expected = [("192.0.2.1", 100), ("192.0.2.2", 500), ("192.0.2.4", 200), ("192.0.2.6", 90)];
    assert_eq!(listed, expected.map(|(address, until)| (address.to_string(), until)));
    let changes = kernel_changes(&mut engine);
    assert!(changes.contains(&Change::ForgetNever(net("10.9.9.9/32"))), "a stale built-in entry goes");
    assert!(changes.contains(&Change::Unblock(net("192.0.2.3/32"))), "an ended entry goes");
    assert!(changes.contains(&Change::Unblock(net("192.0.2.5/32"))));
    let blocks = changes.iter().filter(|change| matches!(change, Change::Block { .. })).count();
    assert_eq!(blocks, 1, "only what the kernel lacks is written: {changes:?}");
    assert!(matches!(
        engine.forget_never(net("127.0.0.0/8"), "root".into(), at(10)),
        Err(Refusal::BuiltIn(_))
    ));
}

#[test]
fn what_a_blocked_client_still_had_under_way_does_not_block_it_again() {
    let mut engine = engine();
    offend(&mut engine, Kind::BadLocalRcpt, 39, "192.0.2.7", 0);
    assert!(is_blocked(&engine, "192.0.2.7", 0));
    let spent = effects(&mut engine).into_iter().filter(|effect| {
        matches!(effect, Effect::Log(Event { what: What::Offence { .. }, answered_by: Some(_), .. }))
    });
    assert_eq!(spent.count(), 19);
    engine.handle_timeout(at(1800));
    offend(&mut engine, Kind::BadLocalRcpt, 19, "192.0.2.7", 1801);
    assert!(!is_blocked(&engine, "192.0.2.7", 1801));
    offend(&mut engine, Kind::BadLocalRcpt, 1, "192.0.2.7", 1802);
    assert!(is_blocked(&engine, "192.0.2.7", 1802));
}

#[test]
fn a_block_that_stands_again_begins_with_a_grace_and_ends_open_sessions() {
    let mut engine = engine();
    for network in ["192.0.2.7/32", "192.0.2.0/28", "192.0.0.0/16", "198.51.100.0/24"] {
        engine.block(net(network), None, String::new(), "root".into(), false, at(0)).unwrap();
    }
    engine.never(net("192.0.2.0/24"), None, String::new(), "root".into(), false, at(1)).unwrap();
    effects(&mut engine);
    engine.forget_never(net("192.0.2.0/24"), "root".into(), at(100)).unwrap();
    let effects = effects(&mut engine);
    let mut again: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Kernel(Change::Block { network, since, until, .. }) => {
                assert_eq!((*since, *until), (at(100).instant, at(1800).instant));
                Some(network.to_string())
            }
            _ => None,
        })
        .collect();
    again.sort_unstable();
    assert_eq!(again, ["192.0.0.0/16", "192.0.2.0/28", "192.0.2.7/32"]);
    let place = |wanted: &Effect| effects.iter().position(|effect| effect == wanted).unwrap();
    let forgotten = place(&Effect::Kernel(Change::ForgetNever(net("192.0.2.0/24"))));
    assert_eq!(forgotten, again.len(), "the grace comes first");
    assert!(place(&Effect::EndSessions(net("192.0.2.0/24"))) > forgotten);
}

#[test]
fn what_was_only_observed_is_not_enforced_later() {
    let mut observing = engine();
    observing.policy.observe = true;
    offend(&mut observing, Kind::RelayDenied, 10, "192.0.2.7", 0);
    observing.block(net("192.0.2.8/32"), None, String::new(), "root".into(), false, at(0)).unwrap();
    let stored: Vec<_> = observing.blocks(at(0).instant).map(|view| view.block).collect();
    assert_eq!(stored.len(), 2);
    let mut enforcing = engine();
    enforcing.restore((stored, Vec::new()), &Held::default(), [], at(10));
    assert!(!is_blocked(&enforcing, "192.0.2.7", 10), "the engine only meant it");
    assert!(is_blocked(&enforcing, "192.0.2.8", 10), "the administrator meant it");
    assert!(kernel_changes(&mut enforcing).contains(&Change::Unblock(net("192.0.2.7/32"))));
}

#[test]
fn a_large_part_of_the_internet_needs_to_be_meant_on_either_list() {
    let mut engine = engine();
    let wide = net("0.0.0.0/1");
    assert!(engine.block(wide, None, String::new(), "root".into(), false, at(0)).is_err());
    assert!(engine.never(wide, None, String::new(), "root".into(), false, at(0)).is_err());
    assert!(engine.never(wide, None, String::new(), "root".into(), true, at(0)).is_ok());
}

#[test]
fn a_block_names_the_events_that_led_to_it() {
    let mut engine = engine();
    engine.continue_after(EventId(40));
    offend(&mut engine, Kind::RelayDenied, 9, "192.0.2.7", 0);
    offend(&mut engine, Kind::SyntaxError, 1, "192.0.2.8", 0);
    // Half an hour later than the window is long: these nine do not count any more.
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 5400);
    let blocked = effects(&mut engine).into_iter().find_map(|effect| match effect {
        Effect::Log(Event { id, what: What::Blocked { led_by, .. }, .. }) => Some((id, led_by)),
        _ => None,
    });
    let (id, led_by) = blocked.unwrap();
    assert_eq!(led_by, (51..=60).map(EventId).collect::<Vec<_>>());
    assert_eq!(id, EventId(61));
    assert_eq!(engine.blocks(at(5400).instant).next().unwrap().block.event, id);
}

fn fail_logins(engine: &mut Engine, count: u64, who: &str, seconds: u64) {
    for guess in 0..count {
        let credentials = Some(Fingerprint(seconds * 1000 + guess));
        let offence = Offence { credentials, ..Offence::new(Kind::BadAuthentication, b"AUTH PLAIN") };
        engine.handle_offence(client(who), offence, at(seconds));
    }
}

#[test]
fn the_tenth_failed_login_within_half_an_hour_blocks_for_half_an_hour() {
    let mut engine = engine();
    fail_logins(&mut engine, 5, "192.0.2.7", 0);
    fail_logins(&mut engine, 4, "192.0.2.7", 1799);
    assert!(!is_blocked(&engine, "192.0.2.7", 1799));
    fail_logins(&mut engine, 1, "192.0.2.7", 1800);
    assert!(is_blocked(&engine, "192.0.2.7", 1800));
    let view = engine.blocks(at(1800).instant).next().unwrap();
    assert_eq!((view.block.origin, view.block.until), (Origin::Login, at(3600).wall));
    assert_eq!(view.block.reason, "10 failed logins reached the threshold 10");
    let standing = engine.standing(client("192.0.2.7"), at(1800));
    assert_eq!(
        (standing.score, standing.failed_logins),
        (0, 0),
        "what has led to a block is spent everywhere"
    );
    let mut slow = self::engine();
    fail_logins(&mut slow, 5, "192.0.2.7", 0);
    fail_logins(&mut slow, 5, "192.0.2.7", 1801);
    assert!(!is_blocked(&slow, "192.0.2.7", 1801));
}

#[test]
fn the_same_wrong_credentials_count_as_one_failed_login_and_in_full_for_the_score() {
    let mut engine = engine();
    let offence =
        Offence { credentials: Some(Fingerprint(7)), ..Offence::new(Kind::BadAuthentication, b"x") };
    for _ in 0..19 {
        engine.handle_offence(client("192.0.2.7"), offence.clone(), at(0));
    }
    let standing = engine.standing(client("192.0.2.7"), at(0));
    assert_eq!((standing.failed_logins, standing.score, standing.blocks.len()), (1, 950, 0));
}

#[test]
fn failed_logins_do_not_wait_for_the_next_connection() {
    let mut engine = engine();
    engine.policy.evaluate = Evaluate::OnConnect;
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.8", 0);
    offend(&mut engine, Kind::BadAuthentication, 10, "192.0.2.7", 0);
    assert!(is_blocked(&engine, "192.0.2.7", 0) && !is_blocked(&engine, "192.0.2.8", 0));
}

#[test]
fn a_new_policy_keeps_the_scores() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 6, "192.0.2.7", 0);
    engine.set_policy(Policy { block_threshold: 700, ..Policy::default() });
    assert!(!is_blocked(&engine, "192.0.2.7", 0), "a new threshold judges the next event");
    offend(&mut engine, Kind::RelayDenied, 1, "192.0.2.7", 1);
    assert!(is_blocked(&engine, "192.0.2.7", 1));
}
