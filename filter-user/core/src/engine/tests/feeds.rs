//! What other programs file is theirs, and nothing else is.

use super::*;

const JAIL: &str = "fail2ban/dovecot";

fn file(engine: &mut Engine, minutes: u64, feed: &str, seconds: u64) -> BlockView {
    let span = Some(Duration::from_mins(minutes));
    engine.file_block(net("192.0.2.7/32"), span, String::new(), feed.into(), at(seconds)).unwrap()
}

#[test]
fn a_feed_renews_and_takes_away_its_own() {
    let mut engine = engine();
    let view = file(&mut engine, 10, JAIL, 0);
    assert_eq!((view.block.origin, view.block.author.as_str()), (Origin::Feed, JAIL));
    assert_eq!(view.block.reason, "blocked by fail2ban/dovecot");
    assert_eq!(file(&mut engine, 5, JAIL, 60).block.until, at(360).wall, "its own word, also for less");
    assert!(is_blocked(&engine, "192.0.2.7", 359) && !is_blocked(&engine, "192.0.2.7", 360));
    assert!(!engine.unfile_block(net("192.0.2.7/32"), "fail2ban/sshd".into(), at(61)).was_there);
    assert!(is_blocked(&engine, "192.0.2.7", 61), "another jail's");
    assert!(engine.unfile_block(net("192.0.2.7/32"), JAIL.into(), at(62)).was_there);
    assert!(!is_blocked(&engine, "192.0.2.7", 62));
    assert!(!engine.unfile_block(net("192.0.2.7/32"), JAIL.into(), at(63)).was_there, "twice is no mistake");
}

#[test]
fn what_others_have_decided_stays() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 10, "192.0.2.7", 0);
    assert_eq!(file(&mut engine, 10, JAIL, 1).block.origin, Origin::Smtp, "it stands for longer");
    assert!(!engine.unfile_block(net("192.0.2.7/32"), JAIL.into(), at(2)).was_there);
    assert!(is_blocked(&engine, "192.0.2.7", 2));
    assert_eq!(file(&mut engine, 60, JAIL, 3).block.origin, Origin::Feed);
    engine.block(net("192.0.2.7/32"), None, String::new(), "root".into(), false, at(4)).unwrap();
    assert_eq!(file(&mut engine, 60, JAIL, 5).block.origin, Origin::Manual, "an administrator's word");
    assert!(engine.file_block(net("10.0.0.0/4"), None, String::new(), JAIL.into(), at(6)).is_err());
}

#[test]
fn a_feed_forgives_nothing() {
    let mut engine = engine();
    offend(&mut engine, Kind::RelayDenied, 5, "192.0.2.7", 0);
    file(&mut engine, 10, JAIL, 1);
    engine.unfile_block(net("192.0.2.7/32"), JAIL.into(), at(2));
    assert_eq!(engine.standing(client("192.0.2.7"), at(2)).score, 500);
}
