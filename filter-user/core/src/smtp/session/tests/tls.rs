//! TLS that ends at us, as far as the machine knows of it.

use super::*;

const OFFER: &str =
    "250-mail.example\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-AUTH PLAIN EXTERNAL\r\n250 CHUNKING\r\n";

impl Talk {
    fn with(tls: Tls) -> Self {
        let mut talk = Self::new();
        talk.session = talk.session.with_tls(tls);
        talk
    }

    /// A session in front of which TLS ends, before TLS.
    fn offered() -> Self {
        let mut talk = Self::with(Tls::Terminate { auth_in_clear: false });
        talk.server("220 mail.example\r\n").client("EHLO a.example\r\n").server(OFFER);
        talk
    }

    /// The same inside TLS.
    fn secured() -> Self {
        let mut talk = Self::offered();
        talk.client("STARTTLS\r\n");
        talk.heard();
        talk.session.handle_tls(START);
        talk.passed();
        talk
    }
}

#[test]
fn starttls_is_ours_and_the_mail_server_does_not_hear_of_it() {
    let mut talk = Talk::offered();
    assert_eq!(
        talk.heard(),
        "220 mail.example\r\n250-mail.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS\r\n"
    );
    talk.passed();
    talk.client("STARTTLS\r\n");
    assert!(!talk.session.poll_tls(), "the client must have been sent the go-ahead first");
    assert_eq!(talk.heard(), "220 2.0.0 Ready to start TLS\r\n");
    assert!(talk.session.poll_tls() && !talk.session.wants(Client));
    talk.session.handle_tls(START);
    assert!(!talk.session.poll_tls());
    talk.client("EHLO a.example\r\n").server(OFFER);
    assert_eq!(talk.passed(), "EHLO a.example\r\n");
    assert_eq!(talk.heard(), "250-mail.example\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 CHUNKING\r\n");
    assert!(talk.offences.is_empty());
}

#[test]
fn what_comes_behind_starttls_is_thrown_away_and_reported_once() {
    for pieces in [&["STARTTLS\r\nMAIL FROM:<evil@a.example>\r\nRSET\r\n"][..], &["STARTTLS\r\nMA", "IL\r\n"]]
    {
        let mut talk = Talk::offered();
        talk.passed();
        for piece in pieces {
            talk.client(piece);
        }
        talk.heard();
        talk.session.handle_tls(START);
        talk.client("EHLO a.example\r\n").server("250 mail.example\r\n");
        assert_eq!(talk.passed(), "EHLO a.example\r\n");
        assert_eq!(talk.offences, [Kind::PlaintextAfterStarttls]);
    }
}

#[test]
fn replies_that_are_due_come_before_the_go_ahead() {
    let mut talk = Talk::offered();
    talk.heard();
    talk.client("NOOP\r\nSTARTTLS\r\nQUIT\r\n");
    assert!(!talk.session.poll_tls());
    assert_eq!(talk.heard(), "");
    talk.server("250 2.0.0 Ok\r\n");
    assert_eq!(talk.heard(), "250 2.0.0 Ok\r\n220 2.0.0 Ready to start TLS\r\n");
    assert!(talk.session.poll_tls());
    assert_eq!(talk.offences, [Kind::PlaintextAfterStarttls]);
}

#[test]
fn nothing_said_before_tls_is_known_inside() {
    let mut talk = Talk::offered();
    talk.client("MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n").server("250 Ok\r\n250 Ok\r\n");
    talk.client("STARTTLS\r\n");
    talk.heard();
    talk.passed();
    talk.session.handle_tls(START);
    for command in
        ["DATA\r\n", "MAIL FROM:<a@a.example>\r\n", "RCPT TO:<c@b.example>\r\n", "AUTH PLAIN AGEAYg==\r\n"]
    {
        talk.client(command);
        assert_eq!(talk.heard(), "503 5.5.1 Error: send EHLO first\r\n", "{command}");
    }
    talk.client("EHLO a.example\r\n").server(OFFER).client("MAIL FROM:<a@a.example>\r\n");
    assert_eq!(talk.passed(), "EHLO a.example\r\nMAIL FROM:<a@a.example>\r\n");
    let mut talk = Talk::secured();
    talk.client("BDAT 5 LAST\r\nhello");
    assert_eq!(talk.heard(), "503 5.5.1 CHUNKING was not offered - closing connection\r\n");
}

#[test]
fn a_login_waits_for_tls_unless_an_administrator_says_otherwise() {
    let mut talk = Talk::offered();
    talk.heard();
    talk.passed();
    talk.client("AUTH PLAIN AGEAYg==\r\n");
    assert_eq!(talk.heard(), "538 5.7.11 Error: encryption required, issue STARTTLS first\r\n");
    assert_eq!((talk.passed().as_str(), talk.details.as_slice()), ("", &["AUTH PLAIN".to_string()][..]));

    let mut talk = Talk::with(Tls::Terminate { auth_in_clear: true });
    talk.server("220 mail.example\r\n").client("EHLO a.example\r\n").server(OFFER);
    assert!(talk.heard().contains("250-AUTH PLAIN\r\n"));
    talk.client("AUTH PLAIN AGEAYg==\r\n").server("235 2.7.0 Ok\r\n").client("STARTTLS\r\n");
    assert_eq!(talk.heard(), "235 2.7.0 Ok\r\n503 5.5.1 Error: STARTTLS comes before AUTH\r\n");
}

#[test]
fn starttls_where_there_is_none_is_refused() {
    let refused = |talk: &mut Talk, command: &str| {
        talk.heard();
        talk.passed();
        talk.client(command);
        assert!(!talk.session.poll_tls());
        assert_eq!((talk.passed().as_str(), talk.offences.as_slice()), ("", &[Kind::SyntaxError][..]));
        talk.heard()
    };
    let inside = refused(&mut Talk::secured(), "STARTTLS\r\n");
    assert_eq!(inside, "503 5.5.1 Error: TLS is active already\r\n");
    let parameters = refused(&mut Talk::offered(), "STARTTLS now\r\n");
    assert_eq!(parameters, "501 5.5.4 Error: STARTTLS takes no parameters\r\n");
    let mut off = Talk::with(Tls::Off);
    off.server("220 mail.example\r\n").client("EHLO a.example\r\n").server(OFFER);
    assert!(!off.session.outgoing(Client).windows(8).any(|window| window == b"STARTTLS"));
    assert_eq!(refused(&mut off, "STARTTLS\r\n"), "502 5.5.1 Command not implemented\r\n");
}

#[test]
fn implicit_tls_comes_before_the_greeting() {
    let mut talk = Talk::with(Tls::Implicit);
    assert!(talk.session.poll_tls());
    talk.session.handle_tls(START);
    talk.server("220 mail.example\r\n").client("EHLO a.example\r\n").server(OFFER);
    assert_eq!(
        talk.heard(),
        "220 mail.example\r\n250-mail.example\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 CHUNKING\r\n"
    );
    let mut early = Talk::with(Tls::Implicit);
    early.session.handle_tls(START);
    early.client("EHLO a.example\r\n");
    assert_eq!(early.offences, [Kind::EarlyTalker]);
}

#[test]
fn a_handshake_that_fails_is_an_offence_and_one_that_is_abandoned_a_probe() {
    for implicit in [true, false] {
        let begun = || {
            let mut talk = if implicit { Talk::with(Tls::Implicit) } else { Talk::offered() };
            if !implicit {
                talk.client("STARTTLS\r\n");
            }
            talk.heard();
            talk
        };
        let mut talk = begun();
        talk.session.handle_tls_failed(TlsFault::Impossible("no version in common".into()));
        talk.collect();
        assert!(talk.session.is_over());
        assert_eq!((talk.heard().as_str(), talk.offences.as_slice()), ("", &[Kind::TlsFailure][..]));
        let mut talk = begun();
        talk.session.handle_tls_failed(TlsFault::Abandoned);
        talk.collect();
        assert!(talk.session.is_over());
        assert_eq!((talk.heard().as_str(), talk.offences.as_slice()), ("", &[Kind::UnfinishedSession][..]));
        let mut talk = begun();
        talk.wait();
        assert!(talk.session.is_over());
        assert_eq!((talk.heard().as_str(), talk.offences.as_slice()), ("", &[Kind::Timeout][..]));
        let mut talk = begun();
        talk.session.handle_sanction("421 4.7.0 mx.example no\r\n");
        assert_eq!(
            (talk.session.is_over(), talk.heard().as_str()),
            (true, ""),
            "in the middle of a handshake"
        );
        let mut talk = begun();
        talk.session.handle_server_closed();
        assert_eq!((talk.session.is_over(), talk.heard().as_str()), (true, ""));
    }
}
