//! Never-block over and under nested blocks, and blocks over and under each other.

use super::*;

fn block(engine: &mut Engine, network: &str, minutes: u64, seconds: u64) {
    let span = Some(Duration::from_mins(minutes));
    engine.block(net(network), span, String::new(), "root".into(), false, at(seconds)).unwrap();
}

fn never(engine: &mut Engine, network: &str, minutes: Option<u64>, seconds: u64) {
    let span = minutes.map(Duration::from_mins);
    engine.never(net(network), span, String::new(), "root".into(), false, at(seconds)).unwrap();
}

/// Which of the addresses of this test are refused.
fn refused(engine: &Engine, seconds: u64) -> Vec<&'static str> {
    let hosts = ["198.51.100.7", "198.51.100.8", "198.51.100.77", "198.51.7.7", "2001:db8:1:2::1"];
    hosts.into_iter().filter(|who| is_blocked(engine, who, seconds)).collect()
}

#[test]
fn a_longer_never_block_makes_a_hole_and_a_shorter_one_covers_all() {
    let mut engine = engine();
    block(&mut engine, "198.51.0.0/16", 60, 0);
    block(&mut engine, "198.51.100.7/32", 60, 0);
    assert_eq!(refused(&engine, 0), ["198.51.100.7", "198.51.100.8", "198.51.100.77", "198.51.7.7"]);
    never(&mut engine, "198.51.100.0/26", None, 0);
    assert_eq!(refused(&engine, 0), ["198.51.100.77", "198.51.7.7"], "the block inside the hole loses, too");
    never(&mut engine, "198.0.0.0/8", Some(30), 0);
    assert!(refused(&engine, 0).is_empty());
    engine.handle_timeout(at(1800));
    assert_eq!(refused(&engine, 1800), ["198.51.100.77", "198.51.7.7"], "the hole is still there");
    engine.forget_never(net("198.51.100.0/26"), "root".into(), at(1800)).unwrap();
    assert_eq!(refused(&engine, 1800).len(), 4);
}

#[test]
fn a_longer_block_that_has_ended_hides_no_shorter_one_that_stands() {
    let mut engine = engine();
    block(&mut engine, "198.51.100.0/24", 90, 0);
    block(&mut engine, "198.51.100.7/32", 30, 0);
    never(&mut engine, "198.51.100.8/32", Some(60), 0);
    // Nobody has swept anything away yet: the instants decide.
    assert_eq!(refused(&engine, 1799), ["198.51.100.7", "198.51.100.77"]);
    assert_eq!(refused(&engine, 1800), ["198.51.100.7", "198.51.100.77"]);
    assert_eq!(refused(&engine, 3600), ["198.51.100.7", "198.51.100.8", "198.51.100.77"]);
    assert_eq!(refused(&engine, 5400).len(), 0);
}

#[test]
fn who_is_scored_inside_a_hole_is_spared_and_outside_of_it_is_not() {
    let mut engine = engine();
    never(&mut engine, "2001:db8:1::/48", None, 0);
    offend(&mut engine, Kind::RelayDenied, 10, "2001:db8:1:2::1", 0);
    offend(&mut engine, Kind::RelayDenied, 10, "2001:db8:2:2::1", 0);
    let spared = effects(&mut engine).iter().filter_map(what).any(|what| matches!(what, What::Spared { .. }));
    assert!(spared && is_blocked(&engine, "2001:db8:2:2::1", 0) && refused(&engine, 0).is_empty());
    engine.forget_never(net("2001:db8:1::/48"), "root".into(), at(1)).unwrap();
    assert!(refused(&engine, 1).is_empty(), "what it was spared for is spent");
}
