//! What the client says: bytes taken from its buffer as far as they can be understood, and handed on.

use alloc::string::String;

use crate::detect::{self, Addressee};
use crate::offence::{Kind, Offence, printable};
use crate::smtp::body::Body;
use crate::smtp::command::Verb;
use crate::smtp::line::{self, Fault};
use crate::smtp::login::Login;
use crate::time::Instant;

use super::due::{Asked, Due};
use super::patience::Stride;
use super::{BUFFER_LIMIT, Session};

/// Longest command line; RFC 5321 section 4.5.3.1.4 says 512, extensions add to it.
const COMMAND_LIMIT: usize = 2048;
/// Longest answer to an AUTH challenge, or AUTH with its first answer (RFC 4954 section 4).
const CREDENTIALS_LIMIT: usize = 12_288;
/// Commands that may wait for their replies at once; the rest of a group stays unread (RFC 2920 section 3.2).
const PIPELINE_LIMIT: usize = 100;

/// RFC 4954 section 4 lets an AUTH carry its first answer, and an XOAUTH2 token is longer than any other command.
fn command_limit(line: &[u8]) -> usize {
    let is_auth = line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
    if is_auth { CREDENTIALS_LIMIT } else { COMMAND_LIMIT }
}

/// How the client's next bytes are read.
#[derive(Debug)]
pub(super) enum Input {
    /// Not at all: a reply must come first.
    Waiting,
    /// Thrown away: STARTTLS has been asked for, and what comes before TLS must not be taken for what comes inside it
    /// (CVE-2011-0411). Whether that has been reported.
    Discarding(bool),
    Commands,
    /// An answer to an AUTH challenge.
    Credentials,
    /// A message, and how far it has come.
    Body(Body, Stride),
    /// A BDAT chunk.
    Chunk {
        /// This many bytes are still to come.
        left: u64,
        /// Whether it is the message's last.
        last: bool,
        /// How far it has come.
        stride: Stride,
    },
    /// Not at all: TLS begins, which somebody else reads. Whether it has been reported that the client did not wait for it.
    Handshake(bool),
    /// TLS, which is not ours to read.
    Opaque,
    /// No longer: the client said QUIT, or something unforgivable.
    Closed,
}

impl Session {
    /// Reads as much of the client's buffer as can be understood now.
    pub(super) fn read_client(&mut self, now: Instant) {
        while !self.over && !self.is_held_back() && !self.from_client.is_empty() {
            match &mut self.input {
                Input::Waiting | Input::Handshake(_) => return,
                Input::Discarding(_) => self.discard(),
                Input::Closed => return self.from_client.clear(),
                Input::Commands if detect::is_binary(&self.from_client) => return self.refuse_foreign(),
                Input::Commands => match line::front_ended(
                    &self.from_client,
                    command_limit(&self.from_client),
                    self.bounds.line_ends,
                ) {
                    line::Front::Partial => return,
                    _ if detect::is_foreign(&self.from_client) => return self.refuse_foreign(),
                    line::Front::Line(size) => self.take_command(size, now),
                    line::Front::Fault(fault) => return self.refuse(fault),
                },
                Input::Credentials => {
                    match line::front_ended(&self.from_client, CREDENTIALS_LIMIT, self.bounds.line_ends) {
                        line::Front::Line(size) => {
                            let line = self.take_line(size);
                            let cancelled = &line[..] == b"*\r\n";
                            if let Some(login) = &mut self.login {
                                login.answer(&line);
                            }
                            self.to_server.extend_from_slice(&line);
                            let verb = if cancelled { Verb::CancelAuth } else { Verb::Auth };
                            let asked = Asked {
                                verb,
                                detail: "AUTH".into(),
                                from: 0,
                                whole_at: 0,
                                addressee: Addressee::Untold,
                            };
                            self.await_reply(Due::Reply(asked), now);
                        }
                        line::Front::Partial => return,
                        line::Front::Fault(fault) => return self.refuse(fault),
                    }
                }
                Input::Body(..) => self.take_body(now),
                Input::Chunk { left, last, stride } => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(self.from_client.len());
                    *left -= size as u64;
                    let (ended, last) = (*left == 0, *last);
                    let moved = stride.advance(size);
                    let refused_before = self.refused.is_some();
                    self.inspect_chunk(size, ended && last);
                    if !refused_before {
                        self.withdraw_chunk();
                    }
                    self.forward_message(size);
                    if ended {
                        self.input = Input::Commands;
                        self.say_refusal();
                    }
                    if moved || ended {
                        self.rewind(now);
                    }
                }
                Input::Opaque => {
                    self.manners.speaks_tls = true;
                    self.forward(self.from_client.len());
                    self.rewind(now);
                }
            }
        }
    }

    /// Whether the client's bytes must wait: for a reply, or for room. They are kept whatever the reply is (RFC 2920 section 3.2). What we answer ourselves fills only `to_client`.
    pub(super) fn is_held_back(&self) -> bool {
        matches!(self.input, Input::Waiting | Input::Handshake(_))
            || self.to_server.len() >= BUFFER_LIMIT
            || self.to_client.len() >= BUFFER_LIMIT
            || self.due.len() >= PIPELINE_LIMIT
    }

    /// Takes the command line of `size` bytes at the front of the client's buffer.
    fn take_command(&mut self, size: usize, now: Instant) {
        let from = self.received - self.from_client.len() as u64;
        let line = self.take_line(size);
        let verb = Verb::of(&line);
        if self.refused.is_some() {
            return self.answer_refused(verb, now);
        }
        if self.refuse_endless(verb) {
            return;
        }
        match verb {
            // Nobody who is not a trusted front has a reason to try.
            Verb::Privileged => {
                self.report(Offence::known_by(Kind::SyntaxError, self.gist(&line)));
                return self.answer(self.voice.not_implemented.clone(), now);
            }
            // A private verb may change the framing (XEXCH50), or log in past every detector (X-EXPS).
            Verb::Unknown | Verb::Malformed => {
                self.report(Offence::known_by(Kind::SyntaxError, self.gist(&line)));
                let text = if verb == Verb::Unknown { &self.voice.unknown } else { &self.voice.malformed };
                return self.answer(text.clone(), now);
            }
            // The chunk follows blindly, so what cannot be counted or will not be taken is the end.
            Verb::MalformedBdat => {
                self.report(Offence::new(Kind::SyntaxError, &line));
                return self.end_with(self.voice.bad_chunk.clone());
            }
            Verb::Bdat { .. } if !self.offered.chunking => {
                self.report(Offence::new(Kind::SyntaxError, &line));
                return self.end_with(self.voice.no_chunks.clone());
            }
            _ => {}
        }
        if self.refuse_for_tls(verb, &line, now) || self.refuse_excess(verb, &line, now) {
            return;
        }
        match verb {
            // A message that its last chunk ends without a byte ends here.
            Verb::Bdat { size: 0, last: true } => {
                self.inspect_chunk(0, true);
                if self.refused.is_some() {
                    return self.say_refusal();
                }
            }
            Verb::Plain | Verb::Bdat { .. } | Verb::Rcpt => {}
            // Whatever else comes, the message before it was not finished and never will be.
            _ => self.passing = None,
        }
        self.to_server.extend_from_slice(&line);
        let chunk = if let Verb::Bdat { size, .. } = verb { size } else { 0 };
        let whole_at = self.server_sent + self.to_server.len() as u64 + chunk;
        let detail = printable(detect::memorable(verb, &line));
        // RFC 2920 section 3.1: only if the server offers it, and never behind EHLO, which withdraws the offer.
        if !self.offered.pipelining && self.due.iter().any(Due::is_servers) {
            self.note_pipelining(detail.clone());
        }
        let rcpt = verb == Verb::Rcpt;
        let addressee = if rcpt { self.rules.recipients.addressee(&line) } else { Addressee::Untold };
        self.manners.purpose |=
            verb == Verb::Mail || line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"ETRN"));
        let due = Due::Reply(Asked { verb, detail, from, whole_at, addressee });
        if verb == Verb::Auth {
            self.login = Some(Login::begin(self.login_key, &line));
        }
        match verb {
            Verb::Auth | Verb::Data => return self.await_reply(due, now),
            Verb::StartTls => {
                self.await_reply(due, now);
                self.input = Input::Discarding(false);
                return;
            }
            Verb::Bdat { last, .. } if chunk > 0 => {
                self.input = Input::Chunk { left: chunk, last, stride: Stride::default() };
            }
            // A reply that is still due may withdraw what an earlier one offered.
            Verb::Ehlo | Verb::Helo => (self.offered.chunking, self.offered.pipelining) = (false, false),
            Verb::Quit => self.input = Input::Closed,
            _ => {}
        }
        self.due.push_back(due);
        self.rewind(now);
    }

    /// Answers a command in the mail server's place, which does not hear of it.
    pub(super) fn answer(&mut self, text: String, now: Instant) {
        if text.starts_with('5') {
            self.count_error();
        }
        self.due.push_back(Due::Own { text, ends_session: false });
        self.say_own();
        self.rewind(now);
    }

    /// Stops reading the client until the mail server has answered.
    fn await_reply(&mut self, due: Due, now: Instant) {
        self.input = Input::Waiting;
        self.due.push_back(due);
        self.rewind(now);
    }

    /// Hands the first bytes of the client's buffer on; all of them without copying them, if nothing is before them.
    pub(super) fn forward(&mut self, size: usize) {
        if size >= self.from_client.len() && self.to_server.is_empty() {
            return core::mem::swap(&mut self.from_client, &mut self.to_server);
        }
        let bytes = self.from_client.split_to(size.min(self.from_client.len()));
        self.to_server.extend_from_slice(&bytes);
    }

    /// Throws away what came behind a STARTTLS, and reports it once.
    pub(super) fn discard(&mut self) {
        let injected = self.from_client.split();
        if let Input::Discarding(reported @ false) | Input::Handshake(reported @ false) = &mut self.input
            && !injected.is_empty()
        {
            *reported = true;
            self.report(Offence::known_by(Kind::PlaintextAfterStarttls, self.gist(&injected)));
        }
    }

    /// What may be remembered of bytes that are no command: after a failed login, not even their first word.
    pub(super) fn gist(&self, bytes: &[u8]) -> String {
        if self.login_refused { detect::size(bytes) } else { detect::gist(bytes) }
    }

    /// Ends the session of a client that speaks another protocol.
    fn refuse_foreign(&mut self) {
        let detail = detect::protocol(&self.from_client);
        self.report(Offence::known_by(Kind::NonSmtp, detail));
        self.manners.purpose = true;
        self.end_with(self.voice.foreign.clone());
    }

    /// Ends the session for what is no line.
    pub(super) fn refuse(&mut self, fault: Fault) {
        let kind = match fault {
            Fault::BareLf | Fault::BareCr | Fault::Nul => Kind::BareNewline,
            Fault::TooLong => Kind::SyntaxError,
        };
        let text = self.voice.fault(fault);
        self.report(Offence::new(kind, text.as_bytes()));
        self.end_with(text);
    }
}
