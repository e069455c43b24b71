//! Whose turn it is, and for how long.

use super::*;

fn with_greet_delay() -> Talk {
    let mut talk = Talk::new();
    talk.session = talk.session.with_greet_delay(Duration::from_secs(2));
    talk
}

#[test]
fn a_greeting_is_kept_back_for_the_greet_delay_and_no_longer() {
    let mut talk = with_greet_delay();
    talk.server("220 mail.example\r\n");
    assert_eq!(
        (talk.heard().as_str(), talk.session.poll_timeout()),
        ("", START.after(Duration::from_secs(2)))
    );
    talk.client("EHLO a.example\r\n").wait();
    assert_eq!(
        (talk.heard().as_str(), talk.passed().as_str()),
        ("220 mail.example\r\n", "EHLO a.example\r\n")
    );
    assert_eq!(talk.offences, [Kind::EarlyTalker]);
    let mut patient = with_greet_delay();
    patient.server("220 mail.exa").wait();
    assert_eq!(patient.heard(), "", "it is not whole yet");
    patient.session.handle_server(b"mple\r\n", START.after(Duration::from_secs(3)));
    assert_eq!(patient.heard(), "220 mail.example\r\n");
    assert!(patient.offences.is_empty());
}

#[test]
fn a_refusal_instead_of_a_greeting_is_heard_though_the_mail_server_has_gone() {
    let mut talk = with_greet_delay();
    talk.server("554 5.7.1 no\r\n");
    talk.session.handle_server_closed();
    assert_eq!((talk.heard().as_str(), talk.session.is_over()), ("554 5.7.1 no\r\n", true));
    let mut gone = with_greet_delay();
    gone.server("220 mail.example\r\n");
    gone.session.handle_client_lost(START);
    gone.wait();
    assert!(gone.session.is_over() && gone.offences.is_empty());
}

#[test]
fn time_runs_out_for_whoever_is_awaited() {
    let mut talk = Talk::greeted();
    talk.client("NOO");
    let deadline = talk.session.poll_timeout();
    assert_eq!(deadline, START.after(Duration::from_mins(5)));
    talk.session.handle_timeout(deadline);
    talk.collect();
    assert!(talk.heard().starts_with("421 4.4.2 "));
    assert_eq!(talk.offences, [Kind::Timeout]);

    let mut talk = Talk::greeted();
    talk.client("NOOP\r\n");
    assert_eq!(talk.session.poll_timeout(), START.after(Duration::from_mins(10)));
    talk.session.handle_timeout(talk.session.poll_timeout());
    talk.collect();
    assert_eq!((talk.fault, talk.offences.len()), (Some(ServerFault::Silent), 0));
}

#[test]
fn a_client_that_has_said_its_last_byte_still_hears_the_answer() {
    let mut talk = Talk::greeted();
    talk.client("NOOP\r\n");
    talk.session.handle_client_closed(START);
    talk.passed();
    assert!(talk.session.has_said_all() && !talk.session.is_over());
    talk.server("250 Ok\r\n");
    assert_eq!(talk.heard(), "250 Ok\r\n");
    talk.session.handle_server_closed();
    assert!(talk.session.is_over());
    assert_eq!(talk.heard(), "");
}

#[test]
fn what_a_half_closed_client_has_sent_is_served_to_its_end() {
    let mut talk = Talk::greeted();
    talk.client("MAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n");
    talk.session.handle_client_closed(START);
    talk.passed();
    assert!(!talk.session.has_said_all(), "the message is still to come");
    talk.server("250 Ok\r\n250 Ok\r\n354 Go on\r\n");
    assert_eq!(talk.passed(), "Subject: x\r\n\r\n.\r\nQUIT\r\n");
    assert!(talk.session.has_said_all());
    talk.heard();
    assert_eq!(talk.session.poll_timeout(), START.after(Duration::from_mins(10)), "the server has its time");
    talk.server("250 queued\r\n221 Bye\r\n");
    assert_eq!((talk.heard().as_str(), talk.accepted), ("250 queued\r\n221 Bye\r\n", 1));
}

#[test]
fn a_half_closed_client_hears_that_the_server_has_gone() {
    let mut talk = Talk::greeted();
    talk.client("NOOP\r\nNOO");
    talk.session.handle_client_closed(START);
    talk.passed();
    assert!(talk.session.has_said_all(), "a line without its end will never be one");
    talk.session.handle_server_closed();
    assert!(talk.heard().starts_with("421 4.3.0 "));
}

#[test]
fn a_chunk_in_drops_gains_no_time() {
    let mut talk = Talk::greeted();
    talk.client("BDAT 1000000\r\n");
    talk.passed();
    let deadline = talk.session.poll_timeout();
    assert_eq!(deadline, START.after(Duration::from_mins(5)), "its bytes are awaited, not the reply");
    for minute in 1..5 {
        let now = START.after(Duration::from_mins(minute));
        talk.session.handle_client(b"x", now);
        talk.session.handle_sent(Server, 1, now);
    }
    assert_eq!(talk.session.poll_timeout(), deadline);
    talk.wait();
    assert_eq!((talk.offences.as_slice(), talk.fault), (&[Kind::Timeout][..], None));

    let mut brisk = Talk::greeted();
    brisk.client("BDAT 1000000\r\n");
    brisk.session.handle_client(&"x".repeat(BUFFER_LIMIT).into_bytes(), START.after(Duration::from_mins(4)));
    brisk.session.handle_sent(Server, BUFFER_LIMIT, START.after(Duration::from_mins(4)));
    assert_eq!(brisk.session.poll_timeout(), START.after(Duration::from_mins(9)));
}

#[test]
fn a_client_that_does_not_read_is_at_fault() {
    let mut talk = Talk::greeted();
    talk.client("NOOP\r\nNOOP\r\n").server("250 Ok\r\n");
    assert_eq!(talk.session.poll_timeout(), START.after(Duration::from_mins(5)));
    talk.wait();
    assert_eq!((talk.offences.as_slice(), talk.fault), (&[Kind::Timeout][..], None));
    assert_eq!(talk.details, ["replies not read in time"]);
}

#[test]
fn a_server_that_takes_no_more_of_a_message_is_at_fault() {
    let mut talk = Talk::greeted();
    talk.client("DATA\r\n").server("354 Go on\r\n");
    talk.heard();
    talk.client(&"x\r\n".repeat(BUFFER_LIMIT / 2));
    assert_eq!(talk.session.poll_timeout(), START.after(Duration::from_mins(10)));
    talk.wait();
    assert_eq!((talk.offences.len(), talk.fault), (0, Some(ServerFault::Silent)));
}

#[test]
fn the_other_sides_time_begins_with_its_turn() {
    let mut talk = Talk::greeted();
    talk.client("NOOP\r\n").server("250 Ok\r\n");
    let late = START.after(Duration::from_mins(4));
    talk.session.handle_sent(Client, 8, late);
    assert_eq!(talk.session.poll_timeout(), START.after(Duration::from_mins(5)), "still the client's turn");
    talk.client("NOOP\r\n").server("250 Ok\r\n").client("NOOP\r\n");
    talk.session.handle_sent(Client, 8, late);
    assert_eq!(talk.session.poll_timeout(), late.after(Duration::from_mins(10)));
}

#[test]
fn a_broken_connection_takes_no_offence_with_it() {
    let mut talk = Talk::greeted();
    talk.client("MAIL FROM:<>\r\nRCPT TO:<x@b.example>\r\nRCPT TO:<y@b.example>\r\nDATA\r\nunread\r\n");
    talk.session.handle_client_lost(START);
    talk.server("250 Ok\r\n550 5.1.1 no\r\n");
    assert!(talk.session.has_said_all() && !talk.session.is_over());
    assert_eq!(talk.session.poll_timeout(), START.after(Duration::from_secs(10)));
    let late = START.after(Duration::from_secs(9));
    talk.session.handle_server(b"550 5.1.1 no\r\n", late);
    talk.collect();
    assert_eq!(
        talk.session.poll_timeout(),
        START.after(Duration::from_secs(10)),
        "replies give no more time"
    );
    talk.server("554 5.5.1 no valid recipients\r\n");
    assert_eq!(talk.offences, [Kind::BadLocalRcpt, Kind::BadLocalRcpt]);
    assert!(talk.session.is_over() && talk.heard().is_empty() && !talk.passed().contains("unread"));
}
