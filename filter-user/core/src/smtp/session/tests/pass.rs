//! What goes on without being kept.

use super::*;

/// A session in the middle of a message, and what its mail server is sent at once when it takes so many bytes each time.
fn sent_at_once(pieces: &[&str], each: usize) -> (Session, String) {
    let mut session = in_message().session;
    let mut sent = String::new();
    for piece in pieces {
        session.pass_client(piece.as_bytes(), START, &mut |bytes| {
            let taken = bytes.get(..each).unwrap_or(bytes);
            sent.push_str(core::str::from_utf8(taken).unwrap());
            taken.len()
        });
    }
    (session, sent)
}

fn in_message() -> Talk {
    let mut talk = Talk::greeted();
    talk.client("MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n")
        .server("250 Ok\r\n250 Ok\r\n354 Go on\r\n");
    talk.heard();
    talk.passed();
    talk
}

#[test]
fn a_message_that_the_mail_server_takes_is_not_kept() {
    let (session, sent) = sent_at_once(&["Subject: a\r\n\r\nText", "\r\n.\r\nMAIL FROM:<>\r\n"], usize::MAX);
    assert_eq!(sent, "Subject: a\r\n\r\nText\r\n.\r\n");
    assert_eq!(session.outgoing(Server), b"MAIL FROM:<>\r\n", "commands are sent together");
    assert_eq!((session.from_client.capacity(), session.state()), (0, State::Message));
}

#[test]
fn what_the_mail_server_does_not_take_is_kept_and_nothing_overtakes_it() {
    let (mut session, sent) = sent_at_once(&["one\r\n", "two\r\n.\r\n"], 2);
    assert_eq!((sent.as_str(), session.outgoing(Server)), ("on", &b"e\r\ntwo\r\n.\r\n"[..]));
    session.handle_sent(Server, 11, START);
    assert_eq!(session.server_sent, in_message().session.server_sent + 13);
}

#[test]
fn nothing_of_what_refuses_a_message_is_sent_at_once() {
    let (session, sent) = sent_at_once(&["one\r\ntwo\nthree\r\n.\r\n"], usize::MAX);
    assert_eq!(sent, "one\r\ntwo");
    assert!(session.over && session.outgoing(Server).is_empty() && session.from_client.is_empty());
}

proptest! {
    #[test]
    fn how_much_is_taken_at_once_changes_nothing(
        text in proptest::collection::vec(prop::sample::select(b"\r\n.a\0".to_vec()), 0..60),
        cut in 1_usize..20,
        each in 0_usize..20,
    ) {
        let text = [&text[..], b"\r\n.\r\nNOOP\r\n"].concat();
        let mut whole = in_message();
        whole.client(core::str::from_utf8(&text).unwrap());
        let (mut talk, mut sent) = (in_message(), Vec::new());
        for piece in text.chunks(cut) {
            talk.session.pass_client(piece, START, &mut |bytes| {
                let taken = bytes.get(..each).unwrap_or(bytes);
                sent.extend_from_slice(taken);
                taken.len()
            });
            sent.extend_from_slice(talk.session.outgoing(Server));
            talk.session.handle_sent(Server, usize::MAX, START);
        }
        talk.collect();
        prop_assert_eq!(String::from_utf8_lossy(&sent).into_owned(), whole.passed());
        prop_assert_eq!(&talk.offences, &whole.offences);
        prop_assert_eq!(talk.heard(), whole.heard());
    }
}
