//! Messages with attachments that are not wanted.

use super::*;
use crate::smtp::attachments::{Action, Attachments};

const HEAD: &str = "Subject: x\r\nContent-Type: application/zip; name=\"";

fn watching(action: Action) -> Talk {
    let attachments = Attachments::new(action, ["*.exe"], true).ok();
    let mut talk = Talk::greeted();
    talk.session = talk.session.with_rules(Arc::new(Rules { attachments, ..Rules::default() }));
    talk
}

fn in_data(action: Action) -> Talk {
    let mut talk = watching(action);
    talk.client("MAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n")
        .server("250 Ok\r\n250 Ok\r\n354 Go on\r\n");
    talk.heard();
    talk.passed();
    talk
}

#[test]
fn a_blocked_name_is_refused_at_the_end_of_data_and_the_mail_server_never_sees_that() {
    let mut talk = in_data(Action::Refuse);
    talk.client(&[HEAD, "evil.exe\"\r\n"].concat());
    assert!(talk.offences.is_empty(), "the field may go on");
    talk.client("\r\nTVqQ\r\n");
    assert_eq!(
        (talk.offences.as_slice(), &talk.details[0][..]),
        (&[Kind::BlockedAttachment][..], "evil.exe")
    );
    assert!(talk.session.has_left_server() && talk.session.has_said_all() && !talk.session.is_over());
    assert_eq!(talk.heard(), "", "before its message has ended a client does not listen");
    talk.session.handle_server_closed();
    talk.client("more\r\n.\r\n");
    assert_eq!(talk.heard(), "550 5.7.1 mx.example The attachment \"evil.exe\" is not accepted here\r\n");
    assert!(!talk.passed().contains("\r\n.\r\n") && !talk.session.is_over() && talk.accepted == 0);
    talk.client("QUIT\r\n");
    assert_eq!(talk.heard(), "221 2.0.0 mx.example Bye\r\n");
    assert!(talk.session.is_over());
}

#[test]
fn a_refused_client_can_only_leave() {
    let mut talk = in_data(Action::Refuse);
    talk.client(&[HEAD, "evil.exe\"\r\n\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\n"].concat());
    let heard = talk.heard();
    assert!(heard.starts_with("550 5.7.1 ") && heard.lines().count() == 2, "{heard}");
    assert!(heard.contains("\r\n421 4.3.0 mx.example ") && talk.session.is_over());
    assert_eq!(talk.passed(), "");
}

#[test]
fn a_name_in_the_last_line_is_found_before_the_end_is_forwarded() {
    for end in ["\r\n.\r\n", "\r\n\r\n.\r\n"] {
        let message = [HEAD, "evil.exe\"", end].concat();
        for cut in 1..message.len() {
            let mut talk = in_data(Action::Refuse);
            talk.client(&message[..cut]).client(&message[cut..]);
            assert!(talk.heard().starts_with("550 5.7.1 "), "{cut}");
            assert!(!talk.passed().ends_with("\r\n.\r\n") && talk.session.has_left_server(), "{cut}");
        }
    }
}

#[test]
fn a_pipelined_chunk_is_refused_behind_the_replies_before_it() {
    let mut talk = watching(Action::Refuse);
    let message = [HEAD, "evil.exe\"\r\n\r\nTVqQ\r\n"].concat();
    let chunk = alloc::format!("BDAT {}\r\n{message}", message.len());
    talk.client(
        &["MAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\n", &chunk, "BDAT 3 LAST\r\nxyzQUIT\r\n"].concat(),
    );
    assert!(!talk.session.has_left_server() && talk.heard().is_empty());
    talk.server("250 one\r\n250 two\r\n");
    let refusal = "550 5.7.1 mx.example The attachment \"evil.exe\" is not accepted here\r\n";
    assert_eq!(
        talk.heard(),
        ["250 one\r\n250 two\r\n", refusal, refusal, "221 2.0.0 mx.example Bye\r\n"].concat()
    );
    assert!(talk.session.has_left_server() && !talk.passed().contains("LAST"));
    assert_eq!(talk.offences, [Kind::BlockedAttachment]);
}

#[test]
fn a_name_is_found_across_chunks() {
    for last in ["BDAT 0 LAST\r\n", "BDAT 2 LAST\r\n\r\n"] {
        let mut talk = watching(Action::Refuse);
        talk.client("MAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\n").server("250 Ok\r\n250 Ok\r\n");
        let (first, second) = ([HEAD, "evil"].concat(), ".exe\"\r\n");
        talk.client(&alloc::format!("BDAT {}\r\n{first}", first.len())).server("250 Ok\r\n");
        talk.client(&alloc::format!("BDAT {}\r\n{second}", second.len())).server("250 Ok\r\n");
        talk.heard();
        talk.client(last);
        assert!(talk.heard().starts_with("550 5.7.1 "), "{last}");
        assert!(talk.session.has_left_server() && !talk.passed().ends_with(last));
    }
}

#[test]
fn a_part_of_a_cut_message_is_refused() {
    let mut talk = in_data(Action::Refuse);
    talk.client("Content-Type: message/partial; number=1; total=2; id=x\r\n\r\nx\r\n.\r\n");
    assert_eq!(talk.offences, [Kind::PartialMessage]);
    assert!(talk.heard().starts_with("550 5.7.1 "));
}

#[test]
fn score_alone_changes_nothing_of_the_message() {
    let mut talk = in_data(Action::Score);
    let message = [HEAD, "a.exe\"\r\nContent-Disposition: x; filename=b.exe\r\n\r\nx\r\n.\r\n"].concat();
    talk.client(&message);
    assert_eq!(talk.passed(), message);
    talk.server("250 queued\r\n");
    assert_eq!((talk.offences.as_slice(), talk.accepted), (&[Kind::BlockedAttachment][..], 1));
    // The next message is another one.
    talk.client("DATA\r\n")
        .server("354 Go on\r\n")
        .client("Subject: y\r\n\r\n.\r\n")
        .server("250 queued\r\n");
    assert_eq!((talk.offences.len(), talk.accepted), (1, 2));
}

#[test]
fn an_abandoned_message_leaves_nothing_to_the_next() {
    let mut talk = watching(Action::Refuse);
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    talk.client(&alloc::format!("BDAT {}\r\n{head}", head.len())).server("250 Ok\r\n");
    talk.client("RSET\r\n").server("250 Ok\r\n");
    let next = "Subject: x\r\n\r\n--b\r\nContent-Type: a/b; name=evil.exe\r\n\r\n";
    talk.client(&alloc::format!("BDAT {} LAST\r\n{next}", next.len())).server("250 Ok\r\n");
    assert_eq!((talk.offences.len(), talk.accepted), (0, 1));
}

proptest! {
    /// However a message is cut, the client hears the same, the same is reported, and the mail server is never shown the
    /// end of a refused one.
    #[test]
    fn cuts_do_not_matter_to_a_verdict(parts in proptest::collection::vec(prop::sample::select(alloc::vec![
        "Content-Type: multipart/mixed; boundary=b\r\n", "\r\n", "--b\r\n", "Content-Type: a/b; name=evil.exe\r\n", "x\r\n", "..\r\n", " y\r\n",
    ]), 0..12), step in 1_usize..9) {
        let bytes = [parts.concat().as_str(), ".\r\nQUIT\r\n"].concat();
        let mut whole = in_data(Action::Refuse);
        whole.client(&bytes);
        let mut cut = in_data(Action::Refuse);
        for part in bytes.as_bytes().chunks(step) {
            cut.session.handle_client(part, START);
            cut.collect();
            let passed = cut.take(Server);
            cut.passed.push_str(&passed);
        }
        let refused = !whole.offences.is_empty();
        prop_assert_eq!(whole.heard(), cut.heard());
        prop_assert_eq!(&whole.offences, &cut.offences);
        prop_assert_eq!(cut.passed().contains("\r\n.\r\n") && refused, false);
    }
}
