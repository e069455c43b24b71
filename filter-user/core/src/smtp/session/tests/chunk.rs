//! BDAT: what is counted, and what is refused because it cannot be.

use super::*;

#[test]
fn a_chunk_is_counted_and_never_read() {
    let mut talk = Talk::greeted();
    talk.client("BDAT 9\r\nQUIT\r\n.\r\nBDAT 0 LAST\r\n");
    assert_eq!(talk.passed(), "BDAT 9\r\nQUIT\r\n.\r\nBDAT 0 LAST\r\n");
    assert!(!talk.session.is_over() && talk.offences.is_empty());
}

#[test]
fn a_chunk_that_nobody_offered_ends_the_session() {
    for (greeting, hello, reply) in [
        ("220 mail.example\r\n", "", ""),
        ("220 mail.example\r\n", "HELO a.example\r\n", "250-mail.example\r\n250 CHUNKING\r\n"),
        ("220 mail.example\r\n", "EHLO a.example\r\n", "250-mail.example\r\n250 SIZE\r\n"),
        ("220 mail.example\r\n", "EHLO a.example\r\n", ""),
    ] {
        let mut talk = Talk::new();
        talk.server(greeting).client(hello).server(reply);
        talk.passed();
        talk.client("BDAT 20\r\nMAIL FROM:<evil@a>\r\n");
        assert_eq!(talk.passed(), "", "{hello} {reply}");
        if hello.is_empty() || !reply.is_empty() {
            assert!(talk.heard().ends_with("503 5.5.1 CHUNKING was not offered - closing connection\r\n"));
            assert!(talk.session.is_over());
        }
        assert_eq!(talk.offences, [Kind::SyntaxError]);
    }
}

#[test]
fn an_offer_that_is_being_renewed_is_none() {
    let mut talk = Talk::greeted();
    talk.client("HELO a.example\r\nBDAT 6\r\nRSET\r\n");
    assert_eq!(talk.passed(), "HELO a.example\r\n");
    talk.server("250 mail.example\r\n");
    assert!(talk.heard().ends_with("503 5.5.1 CHUNKING was not offered - closing connection\r\n"));
}

#[test]
fn a_refused_chunk_is_followed_only_if_it_was_sent_whole() {
    let mut talk = Talk::greeted();
    talk.client("BDAT 6\r\nRSET\r\nNOOP\r\n").server("503 5.5.1 no valid recipients\r\n250 Ok\r\n");
    assert_eq!(talk.heard(), "503 5.5.1 no valid recipients\r\n250 Ok\r\n");
    assert!(!talk.session.is_over());
    for (chunk, reply, last) in [
        ("RS", "552 5.3.4 too big\r\n", "552 5.3.4 too big\r\n"),
        ("RSET\r\n", "502 5.5.1 what?\r\n", "502 5.5.1 what?\r\n"),
        ("RS", "250 Ok\r\n", "421 4.3.0 mx.example Mail server not available - try again later\r\n"),
    ] {
        let mut talk = Talk::greeted();
        talk.client("BDAT 6\r\n").client(chunk).server(reply);
        assert_eq!(talk.heard(), last);
        assert!(talk.session.is_over());
    }
}

#[test]
fn stray_ends_in_a_chunk_are_refused_at_its_end() {
    for message in ["a\n.\r\n", "a\r.\r\n", "a\0.\r\n", "abcd\r"] {
        let mut talk = Talk::greeted();
        talk.client(&["BDAT 5 LAST\r\n", message].concat());
        assert_eq!(talk.offences, [Kind::BareNewline], "{message:?}");
        assert!(talk.heard().starts_with("550 5.6.0 mx.example "), "{message:?}");
        assert!(talk.session.has_left_server() && !talk.session.is_over(), "{message:?}");
    }
    let mut talk = Talk::greeted();
    talk.client("BDAT 2\r\na\rBDAT 4 LAST\r\n\nb\r\n");
    assert!(talk.offences.is_empty(), "a line end may lie in two chunks");
    let mut talk = Talk::greeted();
    talk.client("BDAT 2\r\na\rBDAT 0 LAST\r\n");
    assert_eq!(talk.offences, [Kind::BareNewline]);
    talk.server("250 Ok\r\n");
    assert!(talk.heard().starts_with("250 Ok\r\n550 5.6.0 ") && !talk.passed().contains("LAST"));
}

#[test]
fn the_last_chunk_of_a_message_is_a_message() {
    let mut talk = Talk::greeted();
    talk.client("BDAT 2\r\n\r\nBDAT 0 LAST\r\n").server("250 Ok\r\n");
    assert_eq!(talk.accepted, 0);
    talk.server("250 2.0.0 queued\r\n");
    assert_eq!(talk.accepted, 1);
    talk.client("BDAT 0 LAST\r\n").server("451 4.3.0 later\r\n");
    assert_eq!(talk.accepted, 1);
}
