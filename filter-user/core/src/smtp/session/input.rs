//! What the client says: bytes taken from its buffer as far as they can be understood, and handed on.

use alloc::string::String;

use bytes::Buf;

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

/// Sends bytes to the mail server at once; says how many it took.
pub(super) type Pass<'a> = dyn FnMut(&[u8]) -> usize + 'a;

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
        if self.from_client.is_empty() {
            return;
        }
        let mut held = core::mem::take(&mut self.from_client);
        let taken = self.take(&held, now, &mut |_| 0);
        held.advance(taken.min(held.len()));
        self.from_client = held;
    }

    /// Takes as much of the client's next bytes as can be understood now, and says how many that is. Nothing waits before them.
    pub(super) fn take(&mut self, bytes: &[u8], now: Instant, pass: &mut Pass<'_>) -> usize {
        let mut at = 0;
        while !self.over && at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            at += match self.input {
                Input::Closed => rest.len(),
                Input::Handshake(_) => self.discard(rest),
                _ if self.is_held_back() => break,
                Input::Discarding(_) => self.discard(rest),
                Input::Waiting => break,
                Input::Commands if detect::is_binary(rest) => self.refuse_foreign(rest),
                Input::Commands => {
                    match line::front_ended(rest, command_limit(rest), self.bounds.line_ends) {
                        line::Front::Partial => break,
                        _ if detect::is_foreign(rest) => self.refuse_foreign(rest),
                        line::Front::Line(size) => self.take_command(rest, size, now),
                        line::Front::Fault(fault) => self.refuse(fault),
                    }
                }
                Input::Credentials => {
                    match line::front_ended(rest, CREDENTIALS_LIMIT, self.bounds.line_ends) {
                        line::Front::Line(size) => self.take_credentials(rest, size, now),
                        line::Front::Partial => break,
                        line::Front::Fault(fault) => self.refuse(fault),
                    }
                }
                Input::Body(..) => self.take_body(rest, now, pass),
                Input::Chunk { .. } => self.take_chunk(rest, now, pass),
                Input::Opaque => {
                    self.manners.speaks_tls = true;
                    self.forward(rest, pass);
                    self.rewind(now);
                    rest.len()
                }
            };
        }
        // Whoever has said QUIT, or something unforgivable, is not read any more.
        if matches!(self.input, Input::Closed) { bytes.len() } else { at.min(bytes.len()) }
    }

    /// Takes the answer to an AUTH challenge, the line of `size` bytes at the front.
    fn take_credentials(&mut self, bytes: &[u8], size: usize, now: Instant) -> usize {
        let line = self.mend_line(bytes.get(..size).unwrap_or_default());
        let cancelled = line[..] == b"*\r\n"[..];
        if let Some(login) = &mut self.login {
            login.answer(&line);
        }
        self.to_server.extend_from_slice(&line);
        let verb = if cancelled { Verb::CancelAuth } else { Verb::Auth };
        let asked = Asked { verb, detail: "AUTH".into(), from: 0, whole_at: 0, addressee: Addressee::Untold };
        self.await_reply(Due::Reply(asked), now);
        size
    }

    /// Whether the client's bytes must wait: for a reply, or for room. They are kept whatever the reply is (RFC 2920 section 3.2). What we answer ourselves fills only `to_client`.
    pub(super) fn is_held_back(&self) -> bool {
        matches!(self.input, Input::Waiting | Input::Handshake(_))
            || self.to_server.len() >= BUFFER_LIMIT
            || self.to_client.len() >= BUFFER_LIMIT
            || self.due.len() >= PIPELINE_LIMIT
    }

    /// Takes the command line of `size` bytes at the front.
    fn take_command(&mut self, bytes: &[u8], size: usize, now: Instant) -> usize {
        let from = self.received - bytes.len() as u64;
        let line = self.mend_line(bytes.get(..size).unwrap_or_default());
        self.obey(&line, from, now);
        size
    }

    /// Does what a command line asks for that began at `from`.
    fn obey(&mut self, line: &[u8], from: u64, now: Instant) {
        let verb = Verb::of(line);
        if self.refused.is_some() {
            return self.answer_refused(verb, now);
        }
        if self.refuse_endless(verb) {
            return;
        }
        match verb {
            // Nobody who is not a trusted front has a reason to try.
            Verb::Privileged => {
                self.report(Offence::known_by(Kind::SyntaxError, self.gist(line)));
                return self.answer(self.voice.not_implemented.clone(), now);
            }
            // A private verb may change the framing (XEXCH50), or log in past every detector (X-EXPS).
            Verb::Unknown | Verb::Malformed => {
                self.report(Offence::known_by(Kind::SyntaxError, self.gist(line)));
                let text = if verb == Verb::Unknown { &self.voice.unknown } else { &self.voice.malformed };
                return self.answer(text.clone(), now);
            }
            // The chunk follows blindly, so what cannot be counted or will not be taken is the end.
            Verb::MalformedBdat => {
                self.report(Offence::new(Kind::SyntaxError, line));
                return self.end_with(self.voice.bad_chunk.clone());
            }
            Verb::Bdat { .. } if !self.offered.chunking => {
                self.report(Offence::new(Kind::SyntaxError, line));
                return self.end_with(self.voice.no_chunks.clone());
            }
            _ => {}
        }
        if self.refuse_for_tls(verb, line, now) || self.refuse_excess(verb, line, now) {
            return;
        }
        match verb {
            // A message that its last chunk ends without a byte ends here.
            Verb::Bdat { size: 0, last: true } => {
                self.inspect_chunk(&[], true);
                if self.refused.is_some() {
                    return self.say_refusal();
                }
            }
            Verb::Plain | Verb::Bdat { .. } | Verb::Rcpt => {}
            // Whatever else comes, the message before it was not finished and never will be.
            _ => self.passing = None,
        }
        self.to_server.extend_from_slice(line);
        let chunk = if let Verb::Bdat { size, .. } = verb { size } else { 0 };
        let whole_at = self.server_sent + self.to_server.len() as u64 + chunk;
        let detail = printable(detect::memorable(verb, line));
        // RFC 2920 section 3.1: only if the server offers it, and never behind EHLO, which withdraws the offer.
        if !self.offered.pipelining && self.due.iter().any(Due::is_servers) {
            self.note_pipelining(detail.clone());
        }
        let rcpt = verb == Verb::Rcpt;
        let addressee = if rcpt { self.rules.recipients.addressee(line) } else { Addressee::Untold };
        self.manners.purpose |=
            verb == Verb::Mail || line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"ETRN"));
        let due = Due::Reply(Asked { verb, detail, from, whole_at, addressee });
        if verb == Verb::Auth {
            self.login = Some(Login::begin(self.login_key, line));
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

    /// Hands bytes on: at once what can be, if nothing is before them.
    pub(super) fn forward(&mut self, bytes: &[u8], pass: &mut Pass<'_>) {
        let sent = if self.to_server.is_empty() { pass(bytes).min(bytes.len()) } else { 0 };
        self.server_sent += sent as u64;
        self.to_server.extend_from_slice(bytes.get(sent..).unwrap_or_default());
    }

    /// Throws away what came behind a STARTTLS, and reports it once; says how much that is.
    pub(super) fn discard(&mut self, injected: &[u8]) -> usize {
        if let Input::Discarding(reported @ false) | Input::Handshake(reported @ false) = &mut self.input
            && !injected.is_empty()
        {
            *reported = true;
            self.report(Offence::known_by(Kind::PlaintextAfterStarttls, self.gist(injected)));
        }
        injected.len()
    }

    /// The same, with what waits in the client's buffer.
    pub(super) fn discard_held(&mut self) {
        let injected = self.from_client.split();
        self.discard(&injected);
    }

    /// What may be remembered of bytes that are no command: after a failed login, not even their first word.
    pub(super) fn gist(&self, bytes: &[u8]) -> String {
        if self.login_refused { detect::size(bytes) } else { detect::gist(bytes) }
    }

    /// Ends the session of a client that speaks another protocol.
    fn refuse_foreign(&mut self, bytes: &[u8]) -> usize {
        self.report(Offence::known_by(Kind::NonSmtp, detect::protocol(bytes)));
        self.manners.purpose = true;
        self.end_with(self.voice.foreign.clone());
        bytes.len()
    }

    /// Ends the session for what is no line, of which nothing is taken.
    pub(super) fn refuse(&mut self, fault: Fault) -> usize {
        let kind = match fault {
            Fault::BareLf | Fault::BareCr | Fault::Nul => Kind::BareNewline,
            Fault::TooLong => Kind::SyntaxError,
        };
        let text = self.voice.fault(fault);
        self.report(Offence::new(kind, text.as_bytes()));
        self.end_with(text);
        0
    }
}
