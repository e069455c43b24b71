//! What other services tell: what counts, what is only logged, and what is refused.

use alloc::vec;

use super::*;
use crate::client::host;
use crate::decision::Never;
use crate::engine::Held;
use crate::report::{Reception, Report, Source, Told};
use crate::service::ServiceName;

/// A failed login as a service tells of it.
fn report(who: &str, service: &str, account: &str, guess: u64) -> Report {
    let service = ServiceName::new(service).unwrap();
    let credentials = Some(Fingerprint(guess));
    let offence = Offence::new(Kind::FailedLogin, b"wrong password").at(service).of(account.as_bytes());
    Report { who: client(who), offence: Offence { credentials, ..offence }, told: Told::by(Source::Dovecot) }
}

fn tell(engine: &mut Engine, report: &Report, seconds: u64) -> Reception {
    engine.handle_report(report.clone(), false, at(seconds))
}

/// The offences in the log: service, account, cost and how often each counts as a failed login.
fn offences(engine: &mut Engine) -> Vec<(String, Option<String>, u32, u32)> {
    let offence = |effect: &Effect| match what(effect)? {
        What::Offence { service, account, multiplier, failed_logins, .. } => {
            Some((service.to_string(), account.clone(), *multiplier, *failed_logins))
        }
        _ => None,
    };
    effects(engine).iter().filter_map(offence).collect()
}

#[test]
fn ten_failed_logins_over_all_services_and_accounts_block() {
    let mut engine = engine();
    for (guess, service) in ["imap", "pop3", "submission"].into_iter().cycle().take(9).enumerate() {
        let account = ["alice", "bob"][guess % 2];
        let told = tell(&mut engine, &report("192.0.2.7", service, account, guess as u64), 0);
        assert_eq!(told, Reception::Counted);
    }
    assert!(!is_blocked(&engine, "192.0.2.7", 0));
    fail_logins(&mut engine, 1, "192.0.2.7", 60);
    assert!(is_blocked(&engine, "192.0.2.7", 60), "SMTP is one of the services");
    let view = engine.blocks(at(60).instant).next().unwrap();
    assert_eq!(view.block.origin, Origin::Login);
    let told = offences(&mut engine);
    assert_eq!(told[0], ("imap".into(), Some("alice".into()), 0, 1));
    assert_eq!(told[1], ("pop3".into(), Some("bob".into()), 0, 1));
    let late = tell(&mut engine, &report("192.0.2.7", "imap", "alice", 99), 61);
    assert_eq!(late, Reception::Logged, "what a blocked client had under way");
    assert_eq!(engine.standing(client("192.0.2.7"), at(61)).failed_logins, 0);
}

#[test]
fn what_two_sources_tell_of_is_one_failed_login_and_costs_what_the_dearer_one_does() {
    let mut engine = engine();
    for guess in 0..9 {
        tell(&mut engine, &report("192.0.2.7", "smtp", "alice", guess), guess);
        let seen = Offence::new(Kind::BadAuthentication, b"AUTH PLAIN").of(b"alice");
        let seen = Offence { credentials: Some(Fingerprint(1000 + guess)), ..seen };
        engine.handle_offence(client("192.0.2.7"), seen, at(guess + 2));
        let mut log = report("192.0.2.7", "submission", "alice", 0);
        (log.offence.credentials, log.told.source) = (None, Source::Log);
        assert_eq!(tell(&mut engine, &log, guess + 2), Reception::Known);
    }
    let standing = engine.standing(client("192.0.2.7"), at(12));
    assert_eq!((standing.failed_logins, standing.score), (9, 450));
    let told = offences(&mut engine);
    assert_eq!(told.len(), 18, "what is no news is not in the log");
    assert!(told.chunks(2).all(|pair| (pair[0].2, pair[0].3, pair[1].2, pair[1].3) == (0, 1, 50, 0)));
}

#[test]
fn a_report_counts_at_its_own_time() {
    let mut engine = engine();
    let mut late = report("192.0.2.7", "imap", "alice", 1);
    for (guess, happened) in [(1, 1000), (2, 1000), (3, 9000)] {
        late.offence.credentials = Some(Fingerprint(guess));
        late.told.at = Some(at(happened).wall);
        assert_eq!(tell(&mut engine, &late, 2000), Reception::Counted);
    }
    let count =
        |engine: &mut Engine, seconds| engine.standing(client("192.0.2.7"), at(seconds)).failed_logins;
    assert_eq!(count(&mut engine, 2800), 3);
    assert_eq!(count(&mut engine, 2801), 1, "the first two happened at 1000, the third when it was told");
    assert_eq!(count(&mut engine, 3801), 0);
    let happened = effects(&mut engine).into_iter().filter_map(|effect| match effect {
        Effect::Log(event) => Some((event.happened(), event.time)),
        _ => None,
    });
    let now = at(2000).wall;
    assert_eq!(happened.collect::<Vec<_>>(), [(at(1000).wall, now), (at(1000).wall, now), (now, now)]);
    late.told.at = Some(at(2000).wall);
    assert_eq!(tell(&mut engine, &late, 2000 + 3601), Reception::TooOld);
    assert!(offences(&mut engine).is_empty());
}

#[test]
fn a_report_about_ourselves_is_refused_and_one_about_the_exempt_blocks_nobody() {
    let mut engine = engine();
    let own = Never {
        network: host([198, 51, 100, 2].into()),
        comment: "mail server".into(),
        author: "built-in".into(),
        since: at(0).wall,
        until: None,
        built_in: true,
    };
    engine.restore((Vec::new(), Vec::new()), &Held::default(), vec![own], at(0));
    let whose = "mail server".into();
    let told = tell(&mut engine, &report("198.51.100.2", "webmail", "alice", 1), 0);
    assert_eq!(told, Reception::NotAClient { whose });
    assert!(told.sentence().contains("mail server") && told.sentence().contains("PROXY protocol"));
    assert!(offences(&mut engine).is_empty());

    engine.never(net("192.0.2.7/32"), None, String::new(), "root".into(), false, at(0)).unwrap();
    for guess in 0..30 {
        let told = tell(&mut engine, &report("192.0.2.7", "imap", "alice", guess), 0);
        assert_eq!(told, Reception::Logged);
        let local = report("10.0.0.9", "imap", "alice", guess);
        assert_eq!(engine.handle_report(local, true, at(0)), Reception::Logged);
    }
    assert!(engine.blocks(at(0).instant).next().is_none());
    assert_eq!(engine.standing(client("10.0.0.9"), at(0)).failed_logins, 0);
    assert_eq!(offences(&mut engine).len(), 60);
}

#[test]
fn a_report_may_have_a_weight_and_stand_for_several() {
    let mut engine = engine();
    let service = ServiceName::new("webmail").unwrap();
    let told = Told { weight: Some(90), count: 11, ..Told::by(Source::Program) };
    let offence = Offence::new(Kind::RuleMatched, b"probe").at(service);
    let mut report = Report { who: client("192.0.2.7"), offence, told };
    tell(&mut engine, &report, 0);
    assert_eq!(engine.standing(client("192.0.2.7"), at(0)).score, 990);
    report.told = Told { weight: Some(10), ..Told::by(Source::Program) };
    tell(&mut engine, &report, 1);
    assert!(is_blocked(&engine, "192.0.2.7", 1));
    let told = effects(&mut engine).iter().filter_map(what).map(What::circumstances).collect::<Vec<_>>();
    assert_eq!(told[..2], ["probe (11 times)", "probe"]);
}
