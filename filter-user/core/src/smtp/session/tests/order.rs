//! Pipelined commands and whom their refusals accuse.

use super::*;

#[test]
fn what_was_pipelined_behind_a_refusal_is_no_offence() {
    let group = "MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n";
    let no_mail = "503 5.5.1 Error: need MAIL command\r\n";
    for refusal in ["451 4.3.0 later\r\n", "550 5.7.1 not you\r\n"] {
        let mut talk = Talk::greeted();
        talk.client(group).server(&[refusal, no_mail, no_mail, no_mail].concat());
        assert!(talk.offences.is_empty(), "{refusal}");
        talk.heard();
        // Now it knows.
        talk.client("RCPT TO:<d@b.example>\r\n").server(no_mail);
        assert_eq!(talk.offences, [Kind::SyntaxError]);
    }
    let mut talk = Talk::greeted();
    let nobody = "450 4.1.1 later\r\n";
    talk.client(group).server(&["250 Ok\r\n", nobody, nobody].concat());
    talk.server("503 5.5.1 valid RCPT command must precede DATA\r\n");
    assert!(talk.offences.is_empty());
    talk.heard();
    talk.client("DATA\r\n").server("503 5.5.1 valid RCPT command must precede DATA\r\n");
    assert_eq!(talk.offences, [Kind::SyntaxError]);
}

#[test]
fn chunks_behind_a_refused_one_are_no_offence() {
    let mut talk = Talk::greeted();
    talk.client("BDAT 2\r\nabBDAT 2 LAST\r\ncdMAIL FROM:<a@a.example>\r\n");
    talk.server("554 5.3.0 no room\r\n503 5.5.1 no\r\n503 5.5.1 nested\r\n");
    assert!(talk.offences.is_empty() && !talk.session.is_over());
}

#[test]
fn out_of_order_without_an_excuse_is_an_offence_for_each_command() {
    let mut talk = Talk::greeted();
    talk.client("RCPT TO:<a@b>\r\nRCPT TO:<a@b>\r\n").server(&"503 5.5.1 need MAIL\r\n".repeat(2));
    assert_eq!(talk.offences, [Kind::SyntaxError, Kind::SyntaxError]);
}

#[test]
fn a_refusal_that_the_client_has_not_been_sent_excuses_what_comes_before_it_was() {
    let mut talk = Talk::greeted();
    talk.client("MAIL FROM:<a@a.example>\r\n").server("550 5.7.1 not you\r\n");
    talk.client("RCPT TO:<b@b.example>\r\n").server("503 5.5.1 need MAIL\r\n");
    assert!(talk.offences.is_empty());
}

#[test]
fn offences_are_seen_in_pipelined_replies() {
    let mut talk = Talk::greeted();
    talk.client(
        "MAIL FROM:<>\r\nRCPT TO:<no@b.example>\r\nRCPT TO:<x@far.example>\r\nRCPT TO:<b@b.example>\r\n",
    );
    talk.server("250 Ok\r\n550 5.1.1 unknown\r\n554 5.7.1 Relay access denied\r\n250 Ok\r\n");
    assert_eq!(talk.offences, [Kind::BadLocalRcpt, Kind::RelayDenied]);
}
