//! AUTH and STARTTLS, and what must not be remembered of them.

use super::*;

#[test]
fn a_login_of_several_steps_is_followed() {
    let mut talk = Talk::greeted();
    talk.client("AUTH LOGIN\r\n").server("334 VXNlcm5hbWU6\r\n");
    talk.client("YQ==\r\n").server("334 UGFzc3dvcmQ6\r\n");
    talk.client("QUIT\r\n");
    assert_eq!(
        talk.passed(),
        "AUTH LOGIN\r\nYQ==\r\nQUIT\r\n",
        "an answer that looks like a command is an answer"
    );
    talk.server("535 5.7.8 Error: authentication failed\r\n");
    assert_eq!(talk.offences, [Kind::BadAuthentication]);
    talk.client("NOOP\r\n");
    assert_eq!(talk.passed(), "NOOP\r\n");
}

#[test]
fn bytes_behind_starttls_are_thrown_away_and_reported() {
    for cut in ["STARTTLS\r\nMAIL FROM:<x@a.example>\r\n", "STARTTLS\r\n"] {
        let mut talk = Talk::greeted();
        talk.client(cut);
        if cut.len() == 10 {
            talk.client("MAIL FROM:<x@a.example>\r\n");
        }
        talk.server("220 Ready\r\n250 injected\r\n");
        assert_eq!(talk.passed(), "STARTTLS\r\n");
        assert_eq!(talk.heard(), "220 Ready\r\n");
        assert_eq!(talk.offences, [Kind::PlaintextAfterStarttls]);
        talk.client("\x16\x03\x01").server("\x16\x03\x03");
        assert_eq!((talk.passed().as_str(), talk.heard().as_str()), ("\x16\x03\x01", "\x16\x03\x03"));
    }
}

#[test]
fn an_injection_is_one_offence_however_it_is_cut() {
    let mut talk = Talk::greeted();
    talk.client("STARTTLS\r\n").client("EHLO a.example\r\n").client("AUTH PLAIN AGEAYg==\r\n");
    assert_eq!(talk.offences, [Kind::PlaintextAfterStarttls]);
    talk.server("454 4.7.0 not now\r\n").client("STARTTLS\r\nNOOP\r\n");
    assert_eq!(talk.offences, [Kind::PlaintextAfterStarttls, Kind::PlaintextAfterStarttls]);
}

#[test]
fn an_injection_behind_a_full_pipeline_does_not_pass_for_tls() {
    let mut talk = Talk::greeted();
    talk.client(&["NOOP\r\n".repeat(99).as_str(), "STARTTLS\r\nMAIL FROM:<evil@a.example>\r\n"].concat());
    talk.server(&["250 Ok\r\n".repeat(99).as_str(), "220 Ready\r\n"].concat());
    assert!(!talk.passed().contains("evil"));
    assert_eq!(talk.offences, [Kind::PlaintextAfterStarttls]);
}

#[test]
fn no_offence_remembers_a_password() {
    let mut early = Talk::new();
    early.client("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n");
    assert_eq!(early.details, ["AUTH, 33 bytes"]);
    let mut injected = Talk::greeted();
    injected.client("STARTTLS\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n");
    assert_eq!(injected.details, ["AUTH, 33 bytes"]);
    let mut lost = Talk::greeted();
    lost.client("AUTH LOGIN\r\n").server("504 5.5.4 no such mechanism\r\n");
    lost.client("alice\r\n").client("secret\r\n").client(" secret\r\n");
    assert_eq!(lost.details, ["7 bytes", "8 bytes", "9 bytes"]);
    let mut junk = Talk::greeted();
    junk.client("AUTH c2VjcmV0\r\n")
        .server("501 5.5.4 what?\r\n")
        .client("GET /?password=secret HTTP/1.1\r\n");
    assert_eq!(junk.details, ["AUTH", "GET"]);
}

#[test]
fn a_cancelled_login_is_no_offence() {
    let mut talk = Talk::greeted();
    talk.client("AUTH LOGIN\r\n").server("334 VXNlcm5hbWU6\r\n").client("*\r\n");
    assert_eq!(talk.passed(), "AUTH LOGIN\r\n*\r\n");
    talk.server("501 5.7.0 Authentication cancelled\r\n").client("NOOP\r\n");
    assert_eq!(talk.passed(), "NOOP\r\n");
    assert!(talk.offences.is_empty());
}

#[test]
fn a_login_may_be_as_long_as_an_answer_and_nothing_else_may() {
    for (verb, whole) in [("auth XOAUTH2 ", true), ("VRFY ", false)] {
        let line = [verb, &"x".repeat(10_000), "\r\n"].concat();
        let mut talk = Talk::greeted();
        talk.client(&line);
        assert_eq!(talk.passed() == line, whole);
        assert_eq!(talk.session.is_over(), !whole);
    }
    let mut talk = Talk::greeted();
    talk.client(&["AUTH XOAUTH2 ", &"x".repeat(12_288), "\r\n"].concat());
    assert!(talk.session.is_over() && talk.passed().is_empty());
}

#[test]
fn a_failed_login_names_the_account_and_tells_the_same_credentials_from_others() {
    let mut talk = Talk::greeted();
    // "\0alice\0wrong" in one piece, "alice" and "wrong" in two, and another guess.
    talk.client("AUTH PLAIN AGFsaWNlAHdyb25n\r\n").server("535 5.7.8 no\r\n");
    talk.client("AUTH LOGIN\r\n").server("334 VXNlcm5hbWU6\r\n");
    talk.client("YWxpY2U=\r\n")
        .server("334 UGFzc3dvcmQ6\r\n")
        .client("d3Jvbmc=\r\n")
        .server("535 5.7.8 no\r\n");
    talk.client("AUTH PLAIN AGFsaWNlAGd1ZXNz\r\n").server("535 5.7.8 no\r\n");
    assert_eq!(talk.details, ["AUTH PLAIN as alice", "AUTH as alice", "AUTH PLAIN as alice"]);
    let [first, second, third] = talk.credentials[..] else { panic!("{:?}", talk.credentials) };
    assert!(first == second && second != third);
    assert_eq!(talk.logged_in, 0);
    talk.client("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n").server("235 2.7.0 welcome\r\n");
    assert_eq!((talk.logged_in, talk.offences.len()), (1, 3));
}
