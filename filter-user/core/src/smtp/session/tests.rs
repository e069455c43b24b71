//! Dialogues: what either side says, what the other hears, what is reported.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::offence::Fingerprint;
use crate::smtp::command::Verb;
use crate::smtp::event::ServerFault;
use crate::smtp::voice::Templates;

mod attachments;
mod bound;
mod chunk;
mod login;
mod manners;
mod order;
mod pass;
mod patience;
mod portrait;
mod tls;

const START: Instant = Instant::from_nanos(0);

/// A session and everything that came out of it so far.
struct Talk {
    session: Session,
    /// What the mail server was sent before it last spoke.
    passed: String,
    offences: Vec<Kind>,
    details: Vec<String>,
    credentials: Vec<Fingerprint>,
    accepted: usize,
    logged_in: usize,
    fault: Option<ServerFault>,
    mended: usize,
}

impl Talk {
    fn new() -> Self {
        let voice = Arc::new(Voice::new("mx.example", &Templates::default()));
        let session = Session::new(voice, Patience::default(), START);
        Self {
            session,
            passed: String::new(),
            offences: Vec::new(),
            details: Vec::new(),
            credentials: Vec::new(),
            accepted: 0,
            logged_in: 0,
            fault: None,
            mended: 0,
        }
    }

    /// A session whose mail server has greeted and whose client has said EHLO.
    fn greeted() -> Self {
        let mut talk = Self::new();
        talk.server("220 mail.example\r\n")
            .client("EHLO a.example\r\n")
            .server("250-mail.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
        talk.heard();
        talk.passed();
        talk
    }

    fn client(&mut self, bytes: &str) -> &mut Self {
        self.session.handle_client(bytes.as_bytes(), START);
        self.collect()
    }

    /// Time passes until the session wants to be woken.
    fn wait(&mut self) -> &mut Self {
        let deadline = self.session.poll_timeout();
        self.session.handle_timeout(deadline);
        self.collect()
    }

    /// The mail server has got all that is ready for it, and says this.
    fn server(&mut self, bytes: &str) -> &mut Self {
        let passed = self.take(Server);
        self.passed.push_str(&passed);
        self.session.handle_server(bytes.as_bytes(), START);
        self.collect()
    }

    fn collect(&mut self) -> &mut Self {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Offence(offence) => {
                    self.offences.push(offence.kind);
                    let account =
                        offence.account.map_or_else(String::new, |name| alloc::format!(" as {name}"));
                    self.details.push(offence.detail + &account);
                    self.credentials.extend(offence.credentials);
                }
                Event::MessageAccepted => self.accepted += 1,
                Event::LoggedIn => self.logged_in += 1,
                Event::Mended(_) => self.mended += 1,
                Event::ServerFault(fault) => self.fault = Some(fault),
            }
        }
        self
    }

    /// What the client has heard since this was last asked.
    fn heard(&mut self) -> String {
        self.take(Client)
    }

    /// What the mail server was sent since this was last asked.
    fn passed(&mut self) -> String {
        let rest = self.take(Server);
        core::mem::take(&mut self.passed) + &rest
    }

    fn take(&mut self, side: Side) -> String {
        let mut all = String::new();
        while !self.session.outgoing(side).is_empty() {
            let part = String::from_utf8_lossy(self.session.outgoing(side)).to_string();
            self.session.handle_sent(side, self.session.outgoing(side).len(), START);
            all.push_str(&part);
        }
        all
    }
}

#[test]
fn a_message_passes_byte_for_byte() {
    let mut talk = Talk::greeted();
    talk.client("MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n");
    assert_eq!(talk.passed(), "MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n");
    talk.server("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go on\r\n");
    talk.client("Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
    assert_eq!(talk.passed(), "Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
    talk.server("250 2.0.0 queued\r\n221 2.0.0 Bye\r\n");
    assert_eq!(
        talk.heard(),
        "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go on\r\n250 2.0.0 queued\r\n221 2.0.0 Bye\r\n"
    );
    assert!(talk.session.is_over());
    assert_eq!((talk.accepted, talk.offences.len()), (1, 0));
}

#[test]
fn nothing_is_forwarded_before_the_greeting() {
    let mut talk = Talk::new();
    talk.client("EHLO a.example\r\n");
    assert_eq!(talk.passed(), "");
    assert_eq!(talk.offences, [Kind::EarlyTalker]);
    talk.server("220 mail.example\r\n");
    assert_eq!(talk.passed(), "EHLO a.example\r\n");
}

#[test]
fn a_refused_data_does_not_turn_the_message_into_commands() {
    for (command, reply) in [
        ("DATA\r\n", "503 5.5.1 Error: need RCPT command\r\n"),
        ("DATA\r\n", "451 4.3.0 later\r\n"),
        ("AUTH LOGIN\r\n", "454 4.7.0 later\r\n"),
    ] {
        let mut talk = Talk::greeted();
        talk.client(&[command, "MAIL FROM:<evil@a.example>\r\n"].concat()).server(reply);
        assert_eq!(talk.passed(), command);
        assert!(talk.heard().ends_with(
            "421 4.5.0 mx.example Commands sent before the reply to DATA or AUTH - closing connection\r\n"
        ));
        assert!(talk.session.is_over());
    }
}

#[test]
fn a_disguised_end_of_data_ends_the_session() {
    let mut talk = Talk::greeted();
    talk.client("DATA\r\n").server("354 Go on\r\n");
    talk.passed();
    talk.heard();
    talk.client("a\r\n\n.\r\nMAIL FROM:<evil@a.example>\r\n");
    assert_eq!(talk.passed(), "a\r\n", "as if it had come alone");
    assert_eq!(talk.heard(), "550 5.5.2 mx.example Error: bare <LF> received - closing connection\r\n");
    assert_eq!(talk.offences, [Kind::BareNewline]);
    assert!(talk.session.is_over());
}

#[test]
fn a_clients_xclient_is_answered_in_its_place_and_goes_nowhere() {
    let mut talk = Talk::greeted();
    talk.client("NOOP\r\nXCLIENT ADDR=192.0.2.1\r\nRSET\r\n");
    assert_eq!(talk.passed(), "NOOP\r\nRSET\r\n");
    assert_eq!(talk.heard(), "");
    talk.server("250 noop\r\n250 rset\r\n");
    assert_eq!(talk.heard(), "250 noop\r\n502 5.5.1 Command not implemented\r\n250 rset\r\n");
}

#[test]
fn a_line_that_begins_with_no_verb_is_answered_in_its_place_and_goes_nowhere() {
    for line in
        [" XCLIENT ADDR=192.0.2.1", " DATA", "\tRCPT TO:<x@far.example>", "RCPT\x0bTO:<x@far.example>", ""]
    {
        let mut talk = Talk::greeted();
        talk.client("NOOP\r\n").client(line).client("\r\nRSET\r\n");
        assert_eq!(talk.passed(), "NOOP\r\nRSET\r\n", "{line:?}");
        talk.server("250 noop\r\n250 rset\r\n");
        assert_eq!(talk.heard(), "250 noop\r\n500 5.5.2 Error: bad syntax\r\n250 rset\r\n");
        assert_eq!(talk.offences, [Kind::SyntaxError]);
    }
}

#[test]
fn a_verb_of_no_standard_is_ours_to_refuse() {
    let mut talk = Talk::greeted();
    talk.client("X-EXPS GSSAPI\r\nXEXCH50 8 2\r\nNOOP\r\n");
    assert_eq!(talk.passed(), "NOOP\r\n");
    let refusal = "500 5.5.1 Error: command not recognized\r\n";
    assert_eq!(talk.heard(), [refusal, refusal].concat());
    assert_eq!(talk.offences, [Kind::SyntaxError, Kind::SyntaxError]);
}

#[test]
fn only_auth_and_data_can_be_asked_for_more() {
    for (command, reply) in [
        ("NOOP", "354 Go on"),
        ("NOOP", "334 "),
        ("AUTH PLAIN", "354 Go on"),
        ("DATA", "334 "),
        ("DATA", "250 Ok"),
        ("EHLO a.example", "354 Go on"),
        ("QUIT", "300 "),
    ] {
        let mut talk = Talk::greeted();
        talk.client(&[command, "\r\n"].concat()).server(&[reply, "\r\n"].concat());
        assert!(talk.heard().starts_with("421 4.3.0 "), "{reply} to {command}");
        assert!(talk.session.is_over() && talk.offences.is_empty());
        assert_eq!(talk.fault, Some(ServerFault::Misplaced));
    }
}

#[test]
fn our_own_answers_are_bounded_like_everybody_elses() {
    let mut talk = Talk::greeted();
    talk.session = talk.session.with_bounds(Bounds { errors: 0, commands: 0, ..Bounds::default() });
    talk.client(&"\r\n".repeat(BUFFER_LIMIT));
    assert!(talk.session.to_client.len() < BUFFER_LIMIT + 100 && !talk.session.wants(Client));
    let heard = talk.heard();
    assert_eq!(heard.lines().count(), BUFFER_LIMIT);
}

#[test]
fn a_session_that_waits_holds_nothing_of_the_message_before() {
    let mut talk = Talk::greeted();
    talk.client("MAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n")
        .server("250 Ok\r\n250 Ok\r\n354 Go on\r\n");
    talk.heard();
    talk.client(&["x".repeat(70), "\r\n".into()].concat().repeat(800)).client(".\r\n").server("250 Ok\r\n");
    assert_eq!(talk.heard(), "250 Ok\r\n");
    let session = &talk.session;
    let held = [&session.from_client, &session.from_server, &session.to_client, &session.to_server];
    assert_eq!(held.map(BytesMut::capacity), [0; 4]);
}

#[test]
fn a_server_that_answers_nothing_is_a_fault_of_ours() {
    let mut talk = Talk::greeted();
    talk.server("502 5.5.2 Error: command not recognized\r\n");
    assert_eq!(talk.heard(), "421 4.3.0 mx.example Mail server not available - try again later\r\n");
    assert_eq!((talk.fault, talk.offences.len()), (Some(ServerFault::Unsolicited), 0));
    let mut talk = Talk::greeted();
    talk.server("421 4.3.2 mail.example shutting down\r\n");
    assert_eq!((talk.heard().as_str(), talk.fault), ("421 4.3.2 mail.example shutting down\r\n", None));
    let mut talk = Talk::greeted();
    talk.session.handle_server_closed();
    assert!(talk.heard().starts_with("421 4.3.0 "));
}

#[test]
fn a_sanction_is_the_last_word() {
    let mut talk = Talk::greeted();
    talk.session.handle_sanction("421 4.7.0 mx.example blocked\r\n");
    talk.client("NOOP\r\n");
    assert_eq!((talk.heard().as_str(), talk.passed().as_str()), ("421 4.7.0 mx.example blocked\r\n", ""));
}

#[test]
fn a_full_buffer_stops_the_reading() {
    let mut talk = Talk::greeted();
    talk.client("BDAT 1000000\r\n");
    talk.client(&"x".repeat(BUFFER_LIMIT));
    assert!(!talk.session.wants(Client) && talk.session.wants(Server));
    talk.passed();
    assert!(talk.session.wants(Client));
}

proptest! {
    /// However the same bytes are cut, both sides hear the same and the same is reported.
    #[test]
    fn cuts_do_not_matter(lines in proptest::collection::vec(prop::sample::select(alloc::vec![
        "NOOP\r\n", "RCPT TO:<a@b>\r\n", "BDAT 3\r\nabc", "XCLIENT A=b\r\n", "junk\r\n", "BDAT x\r\n", "QUIT\r\n", "bare\n",
        "MAIL FROM:<>\r\n", " DATA\r\n", "\r\n", "HELO a\r\n", "STARTTLS\r\n", "BDAT 1 LAST\r\nx",
    ]), 0..8), step in 1_usize..9) {
        let bytes: String = lines.concat();
        let replies = "250 ok\r\n".repeat(8);
        let mut whole = Talk::greeted();
        whole.client(&bytes).server(&replies);
        let mut cut = Talk::greeted();
        for part in bytes.as_bytes().chunks(step) {
            cut.client(core::str::from_utf8(part).unwrap());
        }
        for part in replies.as_bytes().chunks(step) {
            cut.server(core::str::from_utf8(part).unwrap());
        }
        prop_assert_eq!(whole.passed(), cut.passed());
        prop_assert_eq!(whole.heard(), cut.heard());
        prop_assert_eq!(&whole.offences, &cut.offences);
        prop_assert_eq!(whole.fault, cut.fault);
    }

    /// Whatever a client sends, each line that the mail server is shown begins with a verb that we follow.
    #[test]
    fn only_known_verbs_pass(parts in proptest::collection::vec(prop::sample::select(alloc::vec![
        "RCPT", "rcpt", "DATA", "XCLIENT", "X-EXPS", "AUTH", "BDAT", " ", "\t", "\x0b", "\x0c", "\x7f", "\r\n", "TO:<a@b>", "7", "\u{a0}",
    ]), 0..40)) {
        let mut talk = Talk::greeted();
        talk.client(&parts.concat());
        for line in talk.passed().split_inclusive("\r\n").take_while(|line| !line.starts_with("BDAT")) {
            let verb = Verb::of(line.as_bytes());
            prop_assert!(!matches!(verb, Verb::Unknown | Verb::Malformed | Verb::Privileged), "{:?}", line);
            prop_assert!(line.as_bytes()[0].is_ascii_alphabetic());
        }
    }

    /// No bytes of either side bring the machine down or make it hold more than its buffers.
    #[test]
    fn noise_is_survived(script in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..64)), 0..40)) {
        let mut talk = Talk::greeted();
        for (from_client, bytes) in &script {
            if *from_client {
                talk.session.handle_client(bytes, START);
            } else {
                talk.session.handle_server(bytes, START);
            }
            talk.collect();
        }
        prop_assert!(talk.session.from_client.len() <= 64 * 40);
    }
}
