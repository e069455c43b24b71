//! What a client does wrong by itself, one dialogue for each kind.

use super::*;
use crate::detect::{Pattern, Recipients, ReplyPattern, Stage};

fn knowing(local: &str, trap: &str) -> Talk {
    let recipients = Recipients { local_domains: [local.into()].into(), traps: [trap.into()].into() };
    let mut talk = Talk::greeted();
    talk.session = talk.session.with_rules(Arc::new(Rules { recipients, ..Rules::default() }));
    talk
}

#[test]
fn accepted_recipients_are_told_apart_by_the_local_domains() {
    let mut talk = knowing("b.example", "trap@b.example");
    talk.client("MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<a@far.example>\r\n");
    talk.server("250 Ok\r\n250 Ok\r\n250 Ok\r\n");
    assert_eq!(talk.offences, [Kind::GoodLocalRcpt, Kind::RelayAllowed]);
    let mut talk = Talk::greeted();
    talk.client("MAIL FROM:<>\r\nRCPT TO:<a@far.example>\r\n").server("250 Ok\r\n250 Ok\r\n");
    assert!(talk.offences.is_empty(), "nobody has said which domains are local");
}

#[test]
fn a_trap_is_one_whatever_the_mail_server_says_of_it_for_good() {
    let rcpt = "RCPT TO:<Trap@B.example>\r\n";
    for (reply, expected) in [
        ("250 Ok\r\n", &[Kind::TrapRecipient][..]),
        ("550 5.1.1 unknown\r\n", &[Kind::TrapRecipient]),
        ("450 4.2.0 later\r\n", &[]),
    ] {
        let mut talk = knowing("b.example", "trap@b.example");
        talk.client(&["MAIL FROM:<>\r\n", rcpt].concat()).server(&["250 Ok\r\n", reply].concat());
        assert_eq!(talk.offences, expected, "{reply}");
    }
    let mut talk = knowing("b.example", "trap@b.example");
    talk.client(&["MAIL FROM:<>\r\n", rcpt].concat()).server("550 5.7.1 not you\r\n503 5.5.1 need MAIL\r\n");
    assert!(talk.offences.is_empty(), "it could not know that there was no transaction");
}

#[test]
fn a_refused_message_is_what_the_refusal_says() {
    for (end, reply, kind) in [
        ("x\r\n.\r\n", "554 5.7.1 Spam message rejected\r\n", Kind::Spam),
        ("x\r\n.\r\n", "554 5.7.0 Reject - INFECTED: Eicar\r\n", Kind::Virus),
        ("x\r\n.\r\n", "550 5.7.1 message content rejected\r\n", Kind::RuleMatched),
        ("x\r\n.\r\n", "552 5.3.4 too big\r\n", Kind::TooBig),
        ("x\r\n.\r\n", "550 5.7.23 SPF\r\n", Kind::Spf),
    ] {
        let mut talk = Talk::greeted();
        talk.client("DATA\r\n").server("354 Go on\r\n").client(end).server(reply);
        assert_eq!(talk.offences, [kind], "{reply}");
        assert!(!talk.session.is_over() && talk.accepted == 0);
        let mut talk = Talk::greeted();
        talk.client("BDAT 1 LAST\r\nx").server(reply);
        assert_eq!(talk.offences, [kind], "{reply}");
    }
}

#[test]
fn a_greeting_that_refuses_a_listed_client_is_an_offence() {
    let mut talk = Talk::new();
    let refusal = "554 5.7.1 Service unavailable; client [192.0.2.1] blocked using dnsbl.example\r\n";
    talk.server(refusal);
    assert_eq!(talk.offences, [Kind::Dnsbl]);
    assert_eq!(talk.heard(), refusal);
}

#[test]
fn the_administrators_patterns_are_asked() {
    let pattern = Pattern::new("kein anschluss").unwrap();
    let reply_patterns = [ReplyPattern { stage: Some(Stage::Rcpt), pattern, kind: Some(Kind::BadLocalRcpt) }];
    let mut talk = Talk::greeted();
    let rules = Rules { reply_patterns: reply_patterns.into(), ..Rules::default() };
    talk.session = talk.session.with_rules(Arc::new(rules));
    talk.client("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n").server("250 Ok\r\n553 Kein Anschluss\r\n");
    assert_eq!(talk.offences, [Kind::BadLocalRcpt]);
}

#[test]
fn a_client_that_does_not_wait_is_told_of_once() {
    let hello = "250-mail.example\r\n250 SIZE\r\n";
    let mut talk = Talk::new();
    talk.server("220 mail.example\r\n").client("EHLO a.example\r\n").server(hello);
    talk.client("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@b>\r\n");
    assert_eq!(
        (talk.offences.as_slice(), &talk.details[0][..]),
        (&[Kind::UnauthorisedPipelining][..], "RCPT TO:<a@b>")
    );

    let mut patient = Talk::new();
    patient.server("220 mail.example\r\n").client("EHLO a.example\r\n").server(hello);
    patient.client("MAIL FROM:<>\r\n").server("250 Ok\r\n").client("RCPT TO:<a@b>\r\n").server("250 Ok\r\n");
    assert!(patient.offences.is_empty());
}

#[test]
fn pipelining_behind_ehlo_auth_and_data_is_never_allowed() {
    for (first, reply) in [
        ("EHLO a.example\r\n", "250-mail.example\r\n250 PIPELINING\r\n"),
        ("AUTH PLAIN AGEAYg==\r\n", "235 2.7.0 welcome\r\n"),
        ("DATA\r\n", "354 Go on\r\n"),
    ] {
        let mut talk = Talk::greeted();
        talk.client(&[first, "MAIL FROM:<>\r\n"].concat()).server(reply);
        assert_eq!(talk.offences, [Kind::UnauthorisedPipelining], "{first}");
    }
}

#[test]
fn another_protocol_ends_the_session() {
    for bytes in
        ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01\x02\0\x01", "\x05\x01\0", "GET / HTTP/1.0\n\n"]
    {
        let mut talk = Talk::new();
        talk.server("220 mail.example\r\n");
        talk.heard();
        talk.client(bytes);
        assert_eq!(talk.offences, [Kind::NonSmtp], "{bytes:?}");
        assert_eq!(talk.passed(), "");
        assert!(talk.heard().starts_with("500 5.5.1 mx.example ") && talk.session.is_over());
    }
}

#[test]
fn a_privilege_that_is_not_the_clients_is_an_offence() {
    for line in ["XCLIENT ADDR=192.0.2.1\r\n", "XFORWARD NAME=a\r\n"] {
        let mut talk = Talk::greeted();
        talk.client(line);
        assert_eq!(talk.heard(), "502 5.5.1 Command not implemented\r\n");
        assert_eq!(talk.offences, [Kind::SyntaxError]);
    }
}

#[test]
fn a_session_for_nothing_is_told_of_once() {
    let mut talk = Talk::greeted();
    talk.client("QUIT\r\n").server("221 Bye\r\n");
    talk.session.handle_client_closed(START);
    talk.collect();
    assert_eq!(talk.offences, [Kind::UnfinishedSession]);
    for (what, reply) in [
        ("MAIL FROM:<>\r\n", "250 Ok\r\n"),
        ("AUTH PLAIN AGEAYg==\r\n", "235 2.7.0 welcome\r\n"),
        ("STARTTLS\r\n", "220 Ready\r\n"),
        ("ETRN b.example\r\n", "250 Ok\r\n"),
    ] {
        let mut talk = Talk::greeted();
        talk.client(what).server(reply);
        talk.session.handle_client_lost(START);
        talk.collect();
        assert!(talk.offences.is_empty(), "{what}");
    }
    let mut ungreeted = Talk::new();
    ungreeted.session.handle_client_closed(START);
    ungreeted.collect();
    assert!(ungreeted.offences.is_empty(), "the mail server was too slow");
}

#[test]
fn a_servers_421_is_its_last_word() {
    for command in ["NOOP\r\n", "RCPT TO:<a@b>\r\n", "DATA\r\n", "QUIT\r\n"] {
        let mut talk = Talk::greeted();
        talk.client(command).server("421 4.3.2 mail.example shutting down\r\n");
        talk.session.handle_server_closed();
        assert_eq!(talk.heard(), "421 4.3.2 mail.example shutting down\r\n", "{command}");
        assert!(talk.session.is_over() && talk.fault.is_none());
    }
    let mut talk = Talk::greeted();
    talk.client("DATA\r\n").server("354 Go on\r\n").client("x\r\n.\r\n").server("421 4.3.0 no disk\r\n");
    talk.session.handle_server_closed();
    assert_eq!(talk.heard(), "354 Go on\r\n421 4.3.0 no disk\r\n");
}
