//! One SMTP session between a client and a mail server, without either of their sockets.
//!
//! Bytes go in by `handle_*`, come out by [`Session::outgoing`], facts by [`Session::poll_event`]. The machine
//! forwards what it parsed and nothing else: a line goes on when it is a whole, faultless line; a reply comes back
//! when it answers the question that is due. What it cannot follow it ends, with a reply.
//!
//! It opens nothing, knows no time but its arguments, and holds at most one buffer per direction: beyond
//! [`BUFFER_LIMIT`] it asks for no more bytes ([`Session::wants`]).
//!
//! Behind STARTTLS the bytes are opaque and only counted.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::{Buf, BytesMut};

use crate::detect;
use crate::offence::{Kind, Offence, printable};
use crate::smtp::body::BodyScanner;
use crate::smtp::command::Verb;
use crate::smtp::ehlo;
use crate::smtp::event::{Event, ServerFault, Side};
use crate::smtp::line::{self, Fault};
use crate::smtp::reply::{self, Reply};
use crate::smtp::voice::Voice;
use crate::time::Instant;

use Side::{Client, Server};

/// Bytes held per direction before the other side is no longer read.
pub const BUFFER_LIMIT: usize = 65_536;
/// Longest command line; RFC 5321 section 4.5.3.1.4 says 512, extensions add to it.
const COMMAND_LIMIT: usize = 2048;
/// Longest answer to an AUTH challenge (RFC 4954 section 4).
const CREDENTIALS_LIMIT: usize = 12_288;
/// Commands that may wait for their replies at once (RFC 2920).
const PIPELINE_LIMIT: usize = 100;
/// How long a client that has said its last byte waits for the mail server's.
const FAREWELL: Duration = Duration::from_secs(10);

/// How long each side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a whole command, or for 64 KiB of a message (RFC 5321 section 4.5.3.2.7 asks for 5 minutes).
    pub client: Duration,
    /// For a reply of the mail server (RFC 5321 section 4.5.3.2.6 asks for 10 minutes after a message).
    pub server: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { client: Duration::from_mins(5), server: Duration::from_mins(10) }
    }
}

/// How the client's next bytes are read.
#[derive(Debug)]
enum Input {
    /// Not at all: a reply must come first.
    Waiting,
    Commands,
    /// An answer to an AUTH challenge.
    Credentials,
    /// A message, and how many of its bytes have come since the deadline was last moved.
    Body(BodyScanner, usize),
    /// This many bytes of a BDAT chunk are still to come.
    Chunk(u64),
    /// TLS, which is not ours to read.
    Opaque,
    /// No longer: the client said QUIT, or something unforgivable.
    Closed,
}

/// What the client is to hear next.
#[derive(Debug)]
enum Due {
    Greeting,
    /// The reply to a command, with what may be remembered of its line.
    Reply(Verb, String),
    EndOfData,
    /// A reply of our own, kept in its place among the mail server's.
    Own {
        text: String,
        ends_session: bool,
    },
}

/// The machine; see the head of this module.
#[derive(Debug)]
pub struct Session {
    voice: Arc<Voice>,
    patience: Patience,
    input: Input,
    due: VecDeque<Due>,
    events: VecDeque<Event>,
    from_client: BytesMut,
    from_server: BytesMut,
    to_client: BytesMut,
    to_server: BytesMut,
    deadline: Instant,
    spoke_early: bool,
    client_gone: bool,
    over: bool,
}

impl Session {
    /// A session whose client has connected and whose mail server has yet to greet.
    pub fn new(voice: Arc<Voice>, patience: Patience, now: Instant) -> Self {
        Self {
            voice,
            patience,
            input: Input::Waiting,
            due: VecDeque::from([Due::Greeting]),
            events: VecDeque::new(),
            from_client: BytesMut::new(),
            from_server: BytesMut::new(),
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            deadline: now.after(patience.server),
            spoke_early: false,
            client_gone: false,
            over: false,
        }
    }

    /// The client sent these bytes.
    pub fn handle_client(&mut self, bytes: &[u8], now: Instant) {
        match self.due.back() {
            Some(Due::Greeting) if !self.spoke_early => {
                self.spoke_early = true;
                self.report(Offence::new(Kind::EarlyTalker, bytes));
            }
            // CVE-2011-0411: what came before TLS must not be taken for what came inside it.
            Some(Due::Reply(Verb::StartTls, _)) => return self.report_injection(bytes),
            _ => {}
        }
        if !matches!(self.input, Input::Closed) {
            self.from_client.extend_from_slice(bytes);
            self.read_client(now);
        }
    }

    /// The client will send no more; what it already asked is still answered.
    pub fn handle_client_closed(&mut self, now: Instant) {
        self.client_gone = true;
        self.deadline = now.after(FAREWELL);
    }

    /// The mail server sent these bytes.
    pub fn handle_server(&mut self, bytes: &[u8], now: Instant) {
        if matches!(self.input, Input::Opaque) {
            self.to_client.extend_from_slice(bytes);
            return self.rewind(now);
        }
        self.from_server.extend_from_slice(bytes);
        while !self.over && !matches!(self.input, Input::Opaque) {
            let buffer = self.from_server.split();
            match reply::front(&buffer) {
                Ok(None) => {
                    self.from_server = buffer;
                    break;
                }
                Ok(Some(reply)) => {
                    self.from_server.extend_from_slice(buffer.get(reply.bytes.len()..).unwrap_or_default());
                    self.take_reply(&reply, now);
                }
                Err(malformed) => self.give_up(malformed.into()),
            }
        }
        self.read_client(now);
    }

    /// The mail server is not there, or has gone.
    pub fn handle_server_closed(&mut self) {
        let answered = self.over || self.client_gone || matches!(self.input, Input::Opaque);
        if !answered {
            self.to_client.extend_from_slice(self.voice.unavailable.as_bytes());
        }
        self.over = true;
    }

    /// Somebody decided that this session ends; `reply` is the line that the client hears, with its CR LF.
    pub fn handle_sanction(&mut self, reply: &str) {
        if !self.over && !matches!(self.input, Input::Opaque) {
            self.to_client.extend_from_slice(reply.as_bytes());
        }
        self.over = true;
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.deadline || self.over {
            return;
        }
        let opaque = matches!(self.input, Input::Opaque);
        if !self.client_gone && !opaque && !self.due.is_empty() {
            return self.give_up(ServerFault::Silent);
        }
        if !self.client_gone && !opaque {
            self.report(Offence::new(Kind::Timeout, b"no whole command in time"));
            self.to_client.extend_from_slice(self.voice.timeout.as_bytes());
        }
        self.over = true;
    }

    /// When [`Session::handle_timeout`] is due.
    pub const fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    /// The next fact, in the order in which they happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes that are ready to be sent to a side.
    pub fn outgoing(&self, side: Side) -> &[u8] {
        match side {
            Client => &self.to_client,
            Server => &self.to_server,
        }
    }

    /// The first `count` bytes of [`Session::outgoing`] have been sent.
    pub fn handle_sent(&mut self, side: Side, count: usize, now: Instant) {
        let buffer = match side {
            Client => &mut self.to_client,
            Server => &mut self.to_server,
        };
        buffer.advance(count.min(buffer.len()));
        self.read_client(now);
    }

    /// Whether more bytes of a side can be taken: a slow reader on one side stops the reading on the other.
    pub fn wants(&self, side: Side) -> bool {
        let room = match side {
            Client => self.to_server.len() < BUFFER_LIMIT && self.from_client.len() < BUFFER_LIMIT,
            Server => self.to_client.len() < BUFFER_LIMIT,
        };
        room && !self.over && !(side == Client && self.client_gone)
    }

    /// Whether the mail server should be told that no more will come.
    pub fn has_said_all(&self) -> bool {
        self.client_gone && self.to_server.is_empty()
    }

    /// Whether nothing is left to do but to send [`Session::outgoing`] to the client and close both sides.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Reads as much of the client's buffer as can be understood now.
    fn read_client(&mut self, now: Instant) {
        while !self.over
            && self.to_server.len() < BUFFER_LIMIT
            && self.due.len() < PIPELINE_LIMIT
            && !self.from_client.is_empty()
        {
            match &mut self.input {
                Input::Waiting => return,
                Input::Closed => return self.from_client.clear(),
                Input::Commands => match line::front(&self.from_client, COMMAND_LIMIT) {
                    line::Front::Line(size) => self.take_command(size, now),
                    line::Front::Partial => return,
                    line::Front::Fault(fault) => return self.refuse(fault),
                },
                Input::Credentials => match line::front(&self.from_client, CREDENTIALS_LIMIT) {
                    line::Front::Line(size) => {
                        self.forward(size);
                        self.await_reply(Due::Reply(Verb::Auth, "AUTH".into()), now);
                    }
                    line::Front::Partial => return,
                    line::Front::Fault(fault) => return self.refuse(fault),
                },
                Input::Body(scanner, since_deadline) => match scanner.scan(&self.from_client) {
                    Err(fault) => return self.refuse(fault),
                    Ok(scanned) => {
                        *since_deadline += scanned.length;
                        let moved = *since_deadline >= BUFFER_LIMIT;
                        if moved {
                            *since_deadline = 0;
                        }
                        self.forward(scanned.length);
                        if scanned.ended {
                            self.input = Input::Commands;
                            self.due.push_back(Due::EndOfData);
                        }
                        if moved || scanned.ended {
                            self.rewind(now);
                        }
                    }
                },
                Input::Chunk(left) => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(self.from_client.len());
                    *left -= size as u64;
                    if *left == 0 {
                        self.input = Input::Commands;
                    }
                    self.forward(size);
                    self.rewind(now);
                }
                Input::Opaque => {
                    self.forward(self.from_client.len());
                    self.rewind(now);
                }
            }
        }
    }

    /// Takes the command line of `size` bytes at the front of the client's buffer.
    fn take_command(&mut self, size: usize, now: Instant) {
        let line = self.from_client.split_to(size);
        let verb = Verb::of(&line);
        match verb {
            Verb::Privileged => {
                self.due
                    .push_back(Due::Own { text: self.voice.not_implemented.clone(), ends_session: false });
                return self.say_own();
            }
            Verb::MalformedBdat => {
                self.report(Offence::new(Kind::SyntaxError, &line));
                return self.end_with(self.voice.bad_chunk.clone());
            }
            _ => {}
        }
        self.to_server.extend_from_slice(&line);
        let due = Due::Reply(verb, printable(detect::memorable(verb, &line)));
        match verb {
            Verb::Auth | Verb::Data => return self.await_reply(due, now),
            Verb::StartTls => {
                self.await_reply(due, now);
                let injected = self.from_client.split();
                return self.report_injection(&injected);
            }
            Verb::Bdat(0) => {}
            Verb::Bdat(size) => self.input = Input::Chunk(size),
            Verb::Quit => self.input = Input::Closed,
            _ => {}
        }
        self.due.push_back(due);
        self.rewind(now);
    }

    /// Takes a whole reply of the mail server.
    fn take_reply(&mut self, reply: &Reply<'_>, now: Instant) {
        let Some(due) = self.due.pop_front() else {
            // RFC 5321 section 3.8: a server may close at any time, after a 421.
            return if reply.code == 421 {
                self.close_with(reply);
            } else {
                self.give_up(ServerFault::Unsolicited);
            };
        };
        self.rewind(now);
        match due {
            Due::Greeting if reply.is_success() => self.input = Input::Commands,
            Due::Greeting => return self.close_with(reply),
            Due::EndOfData if reply.is_success() => self.events.push_back(Event::MessageAccepted),
            Due::EndOfData | Due::Own { .. } => {}
            Due::Reply(verb, detail) => {
                if let Some(kind) = detect::offence(verb, reply) {
                    self.report(Offence { kind, detail });
                }
                match verb {
                    Verb::Hello if reply.is_success() => {
                        self.to_client.extend_from_slice(&ehlo::narrow(reply.bytes));
                        return self.say_own();
                    }
                    Verb::Quit => return self.close_with(reply),
                    Verb::StartTls if reply.code == 220 => {
                        // Whatever the server said behind its 220 was said before TLS as well.
                        self.from_server.clear();
                        self.input = Input::Opaque;
                    }
                    Verb::Auth if reply.is_intermediate() => self.input = Input::Credentials,
                    Verb::Data if reply.code == 354 => self.input = Input::Body(BodyScanner::new(), 0),
                    Verb::Auth | Verb::Data if reply.is_refusal() && !self.from_client.is_empty() => {
                        // A message or a password would be read as commands from here on.
                        self.to_client.extend_from_slice(reply.bytes);
                        return self.end_with(self.voice.out_of_step.clone());
                    }
                    Verb::Auth | Verb::Data | Verb::StartTls => self.input = Input::Commands,
                    _ => {}
                }
            }
        }
        self.to_client.extend_from_slice(reply.bytes);
        self.say_own();
    }

    /// Says what is ours to say before the mail server's next reply.
    fn say_own(&mut self) {
        while let Some(Due::Own { text, ends_session }) = self.due.front() {
            self.to_client.extend_from_slice(text.as_bytes());
            self.over |= *ends_session;
            self.due.pop_front();
        }
    }

    /// Stops reading the client until the mail server has answered.
    fn await_reply(&mut self, due: Due, now: Instant) {
        self.input = Input::Waiting;
        self.due.push_back(due);
        self.rewind(now);
    }

    /// Hands the first bytes of the client's buffer on.
    fn forward(&mut self, size: usize) {
        let bytes = self.from_client.split_to(size.min(self.from_client.len()));
        self.to_server.extend_from_slice(&bytes);
    }

    /// Moves the deadline: something was completed.
    fn rewind(&mut self, now: Instant) {
        if !self.client_gone {
            let patience = if self.due.is_empty() { self.patience.client } else { self.patience.server };
            self.deadline = now.after(patience);
        }
    }

    fn report(&mut self, offence: Offence) {
        self.events.push_back(Event::Offence(offence));
    }

    fn report_injection(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.report(Offence::new(Kind::PlaintextAfterStarttls, bytes));
        }
    }

    /// Ends the session for what is no line.
    fn refuse(&mut self, fault: Fault) {
        let kind = match fault {
            Fault::BareLf | Fault::BareCr | Fault::Nul => Kind::BareNewline,
            Fault::TooLong => Kind::SyntaxError,
        };
        let text = self.voice.fault(fault);
        self.report(Offence::new(kind, text.as_bytes()));
        self.end_with(text);
    }

    /// Ends the session with a reply of our own, after the replies that are due before it.
    fn end_with(&mut self, text: String) {
        self.input = Input::Closed;
        self.from_client.clear();
        self.due.push_back(Due::Own { text, ends_session: true });
        self.say_own();
    }

    /// Ends the session with the mail server's own last word.
    fn close_with(&mut self, reply: &Reply<'_>) {
        self.to_client.extend_from_slice(reply.bytes);
        self.over = true;
    }

    /// Ends the session because the mail server cannot be followed.
    fn give_up(&mut self, fault: ServerFault) {
        self.events.push_back(Event::ServerFault(fault));
        self.to_client.extend_from_slice(self.voice.unavailable.as_bytes());
        self.over = true;
    }
}

#[cfg(test)]
mod tests;
