//! Evaluation at the next connection, those who come back, good behaviour, and widening.

use super::*;
use crate::event::Success;
use crate::policy::Credit;

#[test]
fn scores_can_be_evaluated_at_the_next_connection() {
    let mut engine = engine();
    engine.policy.evaluate = Evaluate::OnConnect;
    offend(&mut engine, Kind::RelayDenied, 12, "192.0.2.7", 0);
    assert!(!is_blocked(&engine, "192.0.2.7", 0));
    engine.handle_connect(client("192.0.2.8"), at(1));
    engine.handle_connect(client("192.0.2.7"), at(1));
    assert!(is_blocked(&engine, "192.0.2.7", 1));
    assert!(engine.blocks(at(1).instant).next().unwrap().block.reason.starts_with("score 1200 "));
    let mut late = super::engine();
    late.policy.evaluate = Evaluate::OnConnect;
    offend(&mut late, Kind::RelayDenied, 12, "192.0.2.7", 0);
    late.handle_connect(client("192.0.2.7"), at(3601));
    assert!(!is_blocked(&late, "192.0.2.7", 3601), "its events count no more");
}

#[test]
fn those_who_come_back_are_blocked_for_longer() {
    let mut engine = engine();
    engine.policy.repeat.factor = 2;
    let mut spans = Vec::new();
    for round in 0..3 {
        let now = 10_000 * round;
        offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", now);
        let block = engine.blocks(at(now).instant).next().unwrap().block;
        spans.push(block.until.since(block.since).as_secs() / 60);
        engine.handle_timeout(at(now + 9000));
    }
    assert_eq!(spans, [30, 60, 120]);
    engine.remember([(net("192.0.2.9/32"), at(0).wall)]);
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.9", 100);
    let block = engine.blocks(at(100).instant).next().unwrap().block;
    assert_eq!(block.until, at(3700).wall);
    assert_eq!(block.reason, "score 1000 reached the threshold 1000, for the second time");
}

#[test]
fn earlier_blocks_count_from_the_first_on_whatever_the_factor_was() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 0);
    engine.handle_timeout(at(1800));
    engine.policy.repeat.factor = 3;
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 4000);
    let block = engine.blocks(at(4000).instant).next().unwrap().block;
    assert_eq!(block.until, at(4000 + 90 * 60).wall);
}

#[test]
fn good_behaviour_is_taken_off_the_score_up_to_a_maximum() {
    let mut engine = engine();
    engine.policy.credit = Credit { per_success: 100, maximum: 250 };
    for _ in 0..9 {
        engine.handle_success(client("192.0.2.7"), Success::Delivered, at(0));
    }
    offend(&mut engine, Kind::RelayDenied, 12, "192.0.2.7", 1);
    let standing = engine.standing(client("192.0.2.7"), at(1));
    assert_eq!((standing.score, standing.credit, standing.blocks.len()), (1200, 250, 0));
    offend(&mut engine, Kind::BadLocalRcpt, 1, "192.0.2.7", 2);
    assert!(is_blocked(&engine, "192.0.2.7", 2), "1250 less 250 is 1000");
    let mut strict = super::engine();
    strict.handle_success(client("192.0.2.7"), Success::LoggedIn, at(0));
    offend(&mut strict, Kind::RelayDenied, 10, "192.0.2.7", 1);
    assert!(is_blocked(&strict, "192.0.2.7", 1), "credit is off unless it is wanted");
}

#[test]
fn the_messages_of_a_busy_client_with_one_offence_are_not_all_logged() {
    let told = |engine: &mut Engine| {
        let succeeded =
            |effect: &Effect| matches!(effect, Effect::Log(Event { what: What::Succeeded { .. }, .. }));
        effects(engine).iter().filter(|effect| succeeded(effect)).count()
    };
    let deliver = |engine: &mut Engine, times: i64, second| {
        for _ in 0..times {
            engine.handle_success(client("192.0.2.7"), Success::Delivered, at(second));
        }
    };
    let mut engine = engine();
    deliver(&mut engine, 5, 0);
    assert_eq!(told(&mut engine), 0, "there is nothing to weigh");
    offend(&mut engine, Kind::BadLocalRcpt, 1, "192.0.2.7", 1);
    deliver(&mut engine, 1000, 2);
    assert_eq!(told(&mut engine), 10);
    offend(&mut engine, Kind::BadLocalRcpt, 1, "192.0.2.7", 3000);
    deliver(&mut engine, 1000, 3601);
    assert_eq!(told(&mut engine), 0, "within an hour");
    deliver(&mut engine, 1000, 3603);
    assert_eq!(told(&mut engine), 10);
    // Where each takes something off the score, each is logged until no more is taken off.
    engine.policy.credit = Credit { per_success: 10, maximum: 250 };
    deliver(&mut engine, 1000, 3604);
    assert_eq!(told(&mut engine), 25);
    assert_eq!(engine.standing(client("192.0.2.7"), at(3604)).credit, 250);
}

#[test]
fn a_flood_that_costs_nothing_does_not_fill_the_log_and_is_counted_to_the_last_one() {
    let mut engine = engine();
    offend(&mut engine, Kind::SessionOverflow, 1000, "192.0.2.7", 0);
    offend(&mut engine, Kind::SessionOverflow, 1, "192.0.2.8", 0);
    let effects = effects(&mut engine);
    let told: Vec<_> = effects.iter().filter_map(what).map(What::circumstances).collect();
    assert_eq!(told[..10], ["x"; 10]);
    let later =
        ["x (10 times)", "x (20 times)", "x (40 times)", "x (80 times)", "x (160 times)", "x (320 times)"];
    assert_eq!(told[10..], [&later[..], &["x"]].concat());
    let counted = effects.iter().filter(|effect| **effect == Effect::Count(Kind::SessionOverflow)).count();
    assert_eq!(told.len() + counted, 1001);
    // Nobody is left out who costs something, and each failed login may name another account.
    engine.policy.multipliers.set(Kind::SessionOverflow, 1);
    engine.policy.multipliers.set(Kind::BadAuthentication, 0);
    offend(&mut engine, Kind::SessionOverflow, 50, "192.0.2.7", 1);
    offend(&mut engine, Kind::BadAuthentication, 50, "192.0.2.7", 1);
    assert_eq!(super::effects(&mut engine).iter().filter(|effect| what(effect).is_some()).count(), 101);
}

#[test]
fn a_network_with_enough_blocked_scopes_is_blocked_as_a_whole() {
    let mut engine = engine();
    engine.policy.widen_after = 3;
    for host in ["192.0.2.7", "192.0.2.8"] {
        offend(&mut engine, Kind::RelayDenied, 10, host, 0);
    }
    engine.block(net("192.0.2.200/32"), None, String::new(), "root".into(), false, at(0)).unwrap();
    assert!(!is_blocked(&engine, "192.0.2.99", 0), "what an administrator has blocked does not count");
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.9", 60);
    assert!(is_blocked(&engine, "192.0.2.99", 60));
    let wide = engine.blocks(at(60).instant).find(|view| view.block.network == net("192.0.2.0/24")).unwrap();
    assert_eq!(
        wide.block.reason,
        "3 blocked at the same time in this network: 192.0.2.7, 192.0.2.8, 192.0.2.9"
    );
    let mut inside: Vec<_> = engine.blocks(at(60).instant).map(|view| view.block).collect();
    inside.retain(|block| block.origin == Origin::Smtp && block.network != net("192.0.2.0/24"));
    let members: Vec<_> = inside.iter().map(|block| block.event).collect();
    let led = effects(&mut engine).into_iter().find_map(|effect| match effect {
        Effect::Log(Event { id, what: What::Blocked { led_by, .. }, .. }) if id == wide.block.event => {
            Some(led_by)
        }
        _ => None,
    });
    assert_eq!((led, members.len()), (Some(members), 3), "its event names those that led to it");
    engine.handle_timeout(at(1800));
    for scope in 1..=3 {
        offend(&mut engine, Kind::RelayDenied, 10, &alloc::format!("2001:db8:1:{scope}::1"), 2000);
    }
    assert!(is_blocked(&engine, "2001:db8:1:ffff::1", 2000));
    assert!(!is_blocked(&engine, "2001:db8:2::1", 2000));
}
