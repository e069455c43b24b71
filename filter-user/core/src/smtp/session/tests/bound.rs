//! What there may not be more of, and lines that are mended.

use super::*;
use crate::smtp::bounds::LineEnds;

const ENVELOPE: &str = "MAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n";

fn bounded(change: impl FnOnce(&mut Bounds)) -> Talk {
    let mut bounds = Bounds::default();
    change(&mut bounds);
    let mut talk = Talk::greeted();
    talk.session = talk.session.with_bounds(bounds);
    talk
}

fn in_data(change: impl FnOnce(&mut Bounds)) -> Talk {
    let mut talk = bounded(change);
    talk.client(ENVELOPE).server("250 Ok\r\n250 Ok\r\n354 Go on\r\n");
    talk.heard();
    talk.passed();
    talk
}

fn lenient(bounds: &mut Bounds) {
    bounds.line_ends = LineEnds::Normalize;
}

#[test]
fn lines_of_a_lenient_service_go_on_with_cr_lf() {
    let mut talk = bounded(lenient);
    talk.client("NOOP\nMAIL FROM:<>\r\nRCPT TO:<b@b.example>\nDATA\n");
    assert_eq!(talk.passed(), "NOOP\r\nMAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n");
    talk.server("250 Ok\r\n250 Ok\r\n250 Ok\r\n354 Go on\r\n");
    talk.client("Subject: x\n\na\rb\0c\n..d\n.\r\nmore\r\n.\r\nQUIT\n");
    assert_eq!(talk.passed(), "Subject: x\r\n\r\na b c\r\n..d\r\n..\r\nmore\r\n.\r\nQUIT\r\n");
    assert_eq!(
        (talk.offences.as_slice(), talk.mended),
        (&[Kind::BareNewline][..], 1),
        "the disguised end only"
    );
}

#[test]
fn commands_without_a_message_and_refusals_are_counted() {
    let accept = |talk: &mut Talk| {
        talk.client(ENVELOPE).server("250 Ok\r\n250 Ok\r\n354 Go on\r\n");
        talk.client(".\r\n").server("250 Ok\r\n");
    };
    let mut talk = bounded(|bounds| (bounds.errors, bounds.commands) = (2, 7));
    talk.client("FOO\r\n");
    accept(&mut talk);
    talk.client("FOO\r\n");
    for _ in 0..4 {
        talk.client("NOOP\r\n").server("450 4.3.0 later\r\n");
    }
    assert!(!talk.session.is_over(), "a message starts the count anew, and a 4xx is no error");
    accept(&mut talk);
    talk.client("FOO\r\nFOO\r\n").client("QUIT\r\n").server("221 Bye\r\n");
    assert!(talk.heard().ends_with("221 Bye\r\n"), "who leaves may");
    for (line, reply) in [("FOO\r\n", ""), ("NOOP\r\n", "550 5.7.1 no\r\n")] {
        let mut talk = bounded(|bounds| bounds.errors = 2);
        talk.client(line).server(reply).client(line).server(reply).client("NOOP\r\n");
        assert!(talk.heard().contains("421 4.7.0 mx.example Error: too many errors"), "{line}");
        assert!(talk.session.is_over());
    }
    let mut talk = bounded(|bounds| (bounds.errors, bounds.commands) = (0, 0));
    for _ in 0..2000 {
        talk.client("FOO\r\n").heard();
    }
    assert!(!talk.session.is_over(), "0 is no bound");
}

#[test]
fn a_stray_cr_in_a_command_is_never_mended() {
    for line in ["NO\rOP\n", "NO\0OP\n"] {
        let mut talk = bounded(lenient);
        talk.client(line);
        assert_eq!(
            (talk.passed().as_str(), talk.offences.as_slice()),
            ("", &[Kind::BareNewline][..]),
            "{line:?}"
        );
        assert!(talk.session.is_over());
    }
}

#[test]
fn answers_to_challenges_are_lines_too() {
    let mut talk = bounded(lenient);
    talk.client("AUTH LOGIN\n")
        .server("334 VXNlcm5hbWU6\r\n")
        .client("*\n")
        .server("501 5.7.0 cancelled\r\n");
    assert_eq!(talk.passed(), "AUTH LOGIN\r\n*\r\n");
    assert!(talk.offences.is_empty());
}

#[test]
fn a_line_that_is_too_long_ends_the_session_or_is_folded() {
    let line = ["x".repeat(2000), "\r\n.\r\n".into()].concat();
    let mut talk = in_data(|bounds| bounds.text_line = 1000);
    talk.client(&line);
    assert_eq!(talk.heard(), "550 5.5.2 mx.example Error: line too long - closing connection\r\n");
    assert_eq!((talk.offences.as_slice(), talk.session.is_over()), (&[Kind::SyntaxError][..], true));
    let mut talk = in_data(|bounds| (bounds.text_line, bounds.line_ends) = (1000, LineEnds::Normalize));
    talk.client(&line);
    assert_eq!(talk.passed().split("\r\n").map(str::len).max(), Some(998));
    assert_eq!((talk.offences.len(), talk.mended), (0, 1));
}

#[test]
fn a_size_that_is_announced_is_refused_before_the_message() {
    let mut talk = bounded(|bounds| bounds.message_size = 1000);
    talk.client("MAIL FROM:<a@a.example> SIZE=1001\r\nRCPT TO:<b@b.example>\r\n")
        .server("503 5.5.1 need MAIL\r\n");
    assert_eq!(talk.passed(), "RCPT TO:<b@b.example>\r\n");
    assert_eq!(
        talk.heard(),
        "552 5.3.4 mx.example The message is larger than 1000 bytes\r\n503 5.5.1 need MAIL\r\n"
    );
    assert_eq!(talk.offences, [Kind::TooBig], "it could not know that there was no transaction");
    assert_eq!(talk.details, ["1001 bytes, the limit is 1000"]);
    talk.client("MAIL FROM:<a@a.example> SIZE=1000\r\n").server("250 Ok\r\n");
    assert_eq!(talk.heard(), "250 Ok\r\n");
}

#[test]
fn a_mail_server_that_takes_less_than_we_do_says_so_itself() {
    let mut talk = bounded(|bounds| bounds.message_size = 1000);
    talk.client("EHLO a\r\n").server("250-mail.example\r\n250 SIZE 900\r\n");
    talk.passed();
    talk.client("MAIL FROM:<> SIZE=1001\r\n");
    assert_eq!(talk.passed(), "MAIL FROM:<> SIZE=1001\r\n");
    talk.server("552 5.3.4 Message size exceeds fixed limit\r\n");
    assert!(talk.heard().ends_with("552 5.3.4 Message size exceeds fixed limit\r\n"));
    assert_eq!(talk.offences, [Kind::TooBig]);
}

#[test]
fn a_size_that_is_not_announced_is_refused_at_the_end_of_the_message() {
    for (extra, refused) in [("", false), ("x", true)] {
        let mut talk = in_data(|bounds| bounds.message_size = 1000);
        talk.client(&["x".repeat(494), "\r\n..".into(), "y".repeat(501)].concat())
            .client(extra)
            .client("\r\n.\r\n");
        assert_eq!(talk.session.has_left_server(), refused, "{extra}");
        assert_eq!(talk.heard().starts_with("552 5.3.4 "), refused);
        assert_eq!(talk.offences.len(), usize::from(refused));
    }
}

#[test]
fn chunks_are_counted_together() {
    let mut talk = bounded(|bounds| bounds.message_size = 10);
    talk.client("BDAT 6\r\n123456").server("250 Ok\r\n").client("BDAT 5 LAST\r\nabcdeRSET\r\n");
    assert_eq!(talk.passed(), "BDAT 6\r\n123456");
    let heard = talk.heard();
    assert!(heard.starts_with("250 Ok\r\n552 5.3.4 ") && heard.contains("\r\n421 4.3.0 "), "{heard}");
    assert_eq!(talk.offences, [Kind::TooBig]);
    let mut talk = bounded(|bounds| bounds.message_size = 10);
    talk.client("BDAT 6 LAST\r\n123456BDAT 6\r\n123456RSET\r\nBDAT 6\r\n123456")
        .server(&"250 Ok\r\n".repeat(4));
    assert!(talk.offences.is_empty(), "a message each");
}

#[test]
fn recipients_beyond_the_bound_wait_for_the_next_transaction() {
    let mut talk = bounded(|bounds| bounds.recipients = 2);
    let too_many = "452 4.5.3 mx.example Too many recipients - at most 2 in one transaction\r\n";
    talk.client(&["MAIL FROM:<>\r\n", &"RCPT TO:<a@b>\r\n".repeat(3), "DATA\r\n"].concat());
    assert_eq!(talk.passed().matches("RCPT").count(), 2);
    talk.server("250 Ok\r\n250 Ok\r\n250 Ok\r\n354 Go on\r\n");
    assert_eq!(talk.heard(), ["250 Ok\r\n250 Ok\r\n250 Ok\r\n", too_many, "354 Go on\r\n"].concat());
    // The next message is pipelined behind this one's end.
    talk.client(&["x\r\n.\r\nMAIL FROM:<>\r\n", &"RCPT TO:<a@b>\r\n".repeat(3)].concat());
    assert_eq!(talk.passed().matches("RCPT").count(), 2);
    assert!(talk.offences.is_empty());
}

#[test]
fn only_the_end_of_a_transaction_gives_room_for_recipients() {
    let rcpt = "RCPT TO:<a@b>\r\n";
    for (between, reply, more) in [
        ("RSET\r\n", "250 Ok\r\n", true),
        ("EHLO a\r\n", "250-mail\r\n250 PIPELINING\r\n", true),
        ("MAIL FROM:<>\r\n", "503 5.5.1 nested\r\n", false),
        ("NOOP\r\n", "250 Ok\r\n", false),
    ] {
        let mut talk = bounded(|bounds| bounds.recipients = 1);
        talk.client(&["MAIL FROM:<>\r\n", rcpt].concat()).server("250 Ok\r\n250 Ok\r\n");
        talk.client(between).server(reply);
        talk.passed();
        talk.client(rcpt);
        assert_eq!(talk.passed() == rcpt, more, "{between}");
    }
    let mut talk = bounded(|bounds| bounds.recipients = 1);
    talk.client(&["MAIL FROM:<>\r\n", rcpt].concat()).server("250 Ok\r\n550 5.1.1 no\r\n").client(rcpt);
    assert!(talk.passed().ends_with(rcpt), "a refused one is none");
}

#[test]
fn a_session_that_takes_too_long_ends_when_it_is_the_clients_turn() {
    let patience = Patience { session: Duration::from_mins(3), ..Patience::default() };
    let voice = Arc::new(Voice::new("mx.example", &Templates::default()));
    let mut talk = Talk { session: Session::new(voice, patience, START), ..Talk::new() };
    talk.server("220 mail.example\r\n").client("EHLO a\r\n").server("250 mail.example\r\n");
    talk.heard();
    assert_eq!(talk.session.poll_timeout(), START.after(Duration::from_mins(3)));
    talk.client("NOOP\r\n");
    assert_eq!(talk.session.poll_timeout(), START.after(Duration::from_mins(10)), "the mail server's turn");
    talk.server("250 Ok\r\n");
    talk.heard();
    talk.wait();
    assert_eq!(
        (talk.offences.as_slice(), &talk.details[0][..]),
        (&[Kind::Timeout][..], "the session took too long")
    );
    assert!(talk.heard().starts_with("421 4.4.2 "));
}
