//! What can be told of a session while it goes on.

use super::*;

#[test]
fn a_session_says_at_each_moment_what_it_is_doing() {
    let mut talk = Talk::new();
    assert_eq!(talk.session.state(), State::Connecting);
    talk.server("220 mail.example\r\n");
    assert_eq!((talk.session.state(), talk.session.awaited()), (State::Ready, Client));
    talk.client("EHLO a.example\r\n").server("250-mail.example\r\n250 PIPELINING\r\n");
    talk.heard();
    talk.client("AUTH LOGIN\r\n");
    assert_eq!((talk.session.state(), talk.session.awaited()), (State::Login, Server));
    talk.server("334 VXNlcm5hbWU6\r\n");
    assert_eq!((talk.session.state(), talk.session.awaited()), (State::Login, Client));
    talk.client("YWxpY2U=\r\n").server("334 UGFzc3dvcmQ6\r\n");
    assert_eq!(talk.session.account(), None);
    talk.client("c2VjcmV0\r\n").server("235 2.7.0 Yes\r\n");
    assert_eq!((talk.session.state(), talk.session.account()), (State::Ready, Some("alice")));
    talk.client("MAIL FROM:<>\r\n").server("250 Ok\r\n");
    assert_eq!(talk.session.state(), State::Envelope);
    talk.client("rset\r\n").server("250 Ok\r\n");
    assert_eq!(talk.session.state(), State::Ready);
    talk.client("MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n").server("250 Ok\r\n250 Ok\r\n");
    talk.client("DATA\r\n");
    assert_eq!(talk.session.state(), State::Envelope);
    talk.server("354 Go\r\n");
    assert_eq!(talk.session.state(), State::Message);
    talk.heard();
    talk.client("Hello\r\n.\r\n");
    assert_eq!((talk.session.state(), talk.session.awaited()), (State::Message, Server));
    talk.server("250 Ok\r\n");
    assert_eq!(talk.session.state(), State::Ready);
    talk.client("QUIT\r\n");
    assert_eq!(talk.session.state(), State::Closing);
    talk.server("221 Bye\r\n");
    assert!(talk.session.is_over() && talk.session.state() == State::Closing);
}

#[test]
fn a_chunked_message_and_a_tunnel_have_their_states() {
    let mut talk = Talk::greeted();
    talk.client("MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n").server("250 Ok\r\n250 Ok\r\n");
    talk.client("BDAT 5\r\nab");
    assert_eq!(talk.session.state(), State::Message);
    talk.client("cde").server("250 Ok\r\n");
    assert_eq!(talk.session.state(), State::Envelope);
    talk.client("BDAT 0 LAST\r\n").server("250 Ok\r\n");
    assert_eq!(talk.session.state(), State::Ready);
    talk.client("STARTTLS\r\n").server("220 Go\r\n").client("\x16\x03\x01");
    assert_eq!(talk.session.state(), State::Opaque);
}

#[test]
fn who_the_client_is_is_told_once_for_each_change() {
    let mut talk = Talk::new();
    talk.server("220 mail.example\r\n").client("EHLO a\x1b[2J.example\r\n");
    talk.client("HELO a.example\r\n").server("250 mail.example\r\n");
    assert_eq!((talk.session.helo(), talk.session.introductions()), (Some("a.example"), 1));
    talk.client("EHLO a.example\r\n").server("250 mail.example\r\n");
    assert_eq!(talk.session.introductions(), 1, "nothing is new");
    talk.client("EHLO b.example\r\n").server("550 No\r\n");
    assert_eq!(talk.session.helo(), Some("a.example"), "what was refused is not in force");
    talk.client(&alloc::format!("EHLO {}\r\n", "x".repeat(1000))).server("250 mail.example\r\n");
    assert!(talk.session.helo().is_some_and(|name| name.len() <= crate::offence::DETAIL_LIMIT));
}

#[test]
fn bytes_are_counted_on_the_clients_side() {
    let mut talk = Talk::new();
    talk.server("220 mail.example\r\n");
    talk.heard();
    assert_eq!((talk.session.received(), talk.session.sent()), (0, 18));
    talk.client("NOOP\r\n");
    assert_eq!(talk.session.received(), 6);
}
