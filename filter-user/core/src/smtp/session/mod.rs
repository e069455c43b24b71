//! One SMTP session between a client and a mail server, without either of their sockets.
//!
//! Bytes go in by `handle_*`, come out by [`Session::outgoing`], facts by [`Session::poll_event`]. The machine
//! forwards what it parsed and nothing else: a line goes on when it is a whole, faultless line; a reply comes back
//! when it answers the question that is due. What it cannot follow it ends, with a reply.
//!
//! It opens nothing, knows no time but its arguments, and holds at most one buffer per direction: beyond
//! [`BUFFER_LIMIT`] it asks for no more bytes ([`Session::wants`]).
//!
//! Behind a STARTTLS of the mail server's the bytes are opaque and only counted; behind ours, TLS is somebody else's work, and
//! what was inside comes here.
//!
//! Here is what happens to a session from outside; `input` is what the client's bytes do to it, `due` what the mail
//! server's replies do, `patience` what time does, `transaction` what a client could know, `message` how one passes and is refused,
//! `bound` what there may not be more of, `portrait` what can be told of it meanwhile, `tls` where TLS begins.

mod bound;
mod due;
mod input;
mod message;
mod patience;
mod portrait;
mod tls;
mod transaction;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::{Buf, BytesMut};

use crate::offence::{Kind, Offence};
use crate::smtp::bounds::Bounds;
use crate::smtp::event::{Event, Side};
use crate::smtp::login::{Login, LoginKey};
use crate::smtp::reply;
use crate::smtp::rules::Rules;
use crate::smtp::voice::Voice;
use crate::time::Instant;

pub use patience::Patience;
pub use portrait::State;
pub use tls::{Tls, TlsFault};

use bound::Used;
use due::Due;
use input::Input;
use message::Passing;
use portrait::Portrait;
use tls::Secrecy;
use transaction::Transaction;

use Side::{Client, Server};

/// Bytes held per direction before the other side is no longer read.
pub const BUFFER_LIMIT: usize = 65_536;

/// Bytes that may pass before an idle session gives its buffers back, which are as large by then.
const KEPT: u64 = 4096;

/// What is left of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// It may send more.
    Talking,
    /// It will send no more, and may still hear the answers.
    Listening,
    /// Its connection is broken; what it has asked is still answered, to nobody.
    Gone,
}

/// What the mail server's last reply to EHLO offers.
#[derive(Debug, Default)]
struct Offered {
    chunking: bool,
    pipelining: bool,
    /// The largest message, if there is a fixed one.
    largest: Option<u64>,
}

/// How the client behaves.
#[derive(Debug, Default)]
struct Manners {
    /// Whether it has been reported that it does not wait where it has to.
    out_of_step: bool,
    /// Whether it has begun anything that a session is for.
    purpose: bool,
    /// Whether it has sent its first byte of TLS.
    speaks_tls: bool,
}

/// The machine; see the head of this module.
#[derive(Debug)]
pub struct Session {
    voice: Arc<Voice>,
    rules: Arc<Rules>,
    patience: Patience,
    bounds: Bounds,
    used: Used,
    input: Input,
    due: VecDeque<Due>,
    events: VecDeque<Event>,
    from_client: BytesMut,
    from_server: BytesMut,
    to_client: BytesMut,
    to_server: BytesMut,
    /// Bytes that the client has sent so far.
    received: u64,
    /// Bytes that had passed in both directions when the buffers were last given back.
    released: u64,
    transaction: Transaction,
    portrait: Portrait,
    /// Bytes that the mail server has been sent so far.
    server_sent: u64,
    offered: Offered,
    manners: Manners,
    /// When the client connected.
    began: Instant,
    /// How long the greeting is kept back.
    greet_delay: Duration,
    /// When something was last completed, or the turn last passed.
    since: Instant,
    /// Whose turn it was then.
    awaited: Side,
    /// Whether the last AUTH failed: what comes then may be the password once more.
    login_refused: bool,
    /// The AUTH exchange that goes on, and what credentials are hashed with.
    login: Option<Login>,
    login_key: LoginKey,
    presence: Presence,
    tls: Tls,
    /// What TLS has made of the session.
    secrecy: Secrecy,
    /// The message that is passing, if somebody looks at it.
    passing: Option<Box<Passing>>,
    /// How the message was refused that the mail server will not hear the end of.
    refused: Option<String>,
    /// Whether the mail server has been given up.
    left_server: bool,
    over: bool,
}

impl Session {
    /// A session whose client has connected and whose mail server has yet to greet.
    pub fn new(voice: Arc<Voice>, patience: Patience, now: Instant) -> Self {
        Self {
            voice,
            rules: Arc::default(),
            patience,
            bounds: Bounds::default(),
            used: Used::default(),
            began: now,
            greet_delay: Duration::ZERO,
            input: Input::Waiting,
            due: VecDeque::from([Due::Greeting { spoke_early: false }]),
            events: VecDeque::new(),
            from_client: BytesMut::new(),
            from_server: BytesMut::new(),
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            since: now,
            awaited: Server,
            received: 0,
            released: 0,
            transaction: Transaction::default(),
            portrait: Portrait::default(),
            server_sent: 0,
            offered: Offered::default(),
            manners: Manners::default(),
            login_refused: false,
            login: None,
            login_key: LoginKey::default(),
            presence: Presence::Talking,
            tls: Tls::default(),
            secrecy: Secrecy::default(),
            passing: None,
            refused: None,
            left_server: false,
            over: false,
        }
    }

    /// With a secret that tells the same wrong credentials from others.
    #[must_use]
    pub fn with_login_key(mut self, key: LoginKey) -> Self {
        self.login_key = key;
        self
    }

    /// With what an administrator has decided.
    #[must_use]
    pub fn with_rules(mut self, rules: Arc<Rules>) -> Self {
        self.rules = rules;
        self
    }

    /// With a greeting that is kept back for so long from the beginning: who speaks before it does not wait as RFC 5321 section 4.3.1
    /// has it. The mail server is connected to meanwhile.
    #[must_use]
    pub const fn with_greet_delay(mut self, delay: Duration) -> Self {
        self.greet_delay = delay;
        self
    }

    /// With other bounds than the default ones.
    #[must_use]
    pub const fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The client sent these bytes.
    pub fn handle_client(&mut self, bytes: &[u8], now: Instant) {
        self.pass_client(bytes, now, &mut |_| 0);
    }

    /// As [`Session::handle_client`], for a driver that can send to the mail server at once: `pass` is given what of a message may go on
    /// as it came, and says how much of it has been sent. Only the rest is kept.
    pub fn pass_client(&mut self, bytes: &[u8], now: Instant, pass: &mut dyn FnMut(&[u8]) -> usize) {
        let before = self.received;
        self.received += bytes.len() as u64;
        if matches!(self.input, Input::Handshake(_)) {
            self.discard(bytes);
            return;
        }
        if !self.to_client.is_empty() {
            self.transaction.extend(before, self.received);
        }
        if let Some(Due::Greeting { spoke_early: said @ false }) = self.due.front_mut() {
            *said = true;
            self.report(Offence::known_by(Kind::EarlyTalker, self.gist(bytes)));
        }
        if self.from_client.is_empty() {
            let taken = self.take(bytes, now, pass);
            self.from_client.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            self.from_client.extend_from_slice(bytes);
            self.read_client(now);
        }
        self.pass_turn(now);
    }

    /// The client will send no more; what it already asked, read or not, is still answered.
    pub fn handle_client_closed(&mut self, now: Instant) {
        self.note_end();
        self.presence = Presence::Listening;
        self.rewind(now);
    }

    /// The client's connection is broken. What the mail server says to what was already forwarded is still heard, for a
    /// short time: it may be an accepted message, or an offence.
    pub fn handle_client_lost(&mut self, now: Instant) {
        self.note_end();
        self.rewind(now);
        self.presence = Presence::Gone;
        self.from_client.clear();
        self.pass_turn(now);
    }

    /// The mail server sent these bytes.
    pub fn handle_server(&mut self, bytes: &[u8], now: Instant) {
        if self.left_server {
            return;
        }
        if matches!(self.input, Input::Opaque) {
            // In TLS the client speaks first (RFC 8446 section 2). What comes before that was said before TLS, however late it arrives.
            if !self.manners.speaks_tls {
                return;
            }
            self.to_client.extend_from_slice(bytes);
            return self.rewind(now);
        }
        if self.from_server.is_empty() {
            let taken = self.take_replies(bytes, now);
            self.from_server.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            let mut held = core::mem::take(&mut self.from_server);
            held.extend_from_slice(bytes);
            held.advance(self.take_replies(&held, now));
            self.from_server = held;
        }
        self.read_client(now);
        self.pass_turn(now);
    }

    /// Takes the whole replies at the front of what the mail server has said; says how many bytes need not be kept.
    fn take_replies(&mut self, bytes: &[u8], now: Instant) -> usize {
        let mut at = 0;
        while !self.over && !self.is_greeting_kept_back(now) {
            match self.input {
                _ if self.left_server => return bytes.len(),
                Input::Opaque => return bytes.len(),
                Input::Handshake(_) => break,
                _ => {}
            }
            match reply::front(bytes.get(at..).unwrap_or_default()) {
                Ok(None) => break,
                Ok(Some(reply)) => {
                    at += reply.bytes.len();
                    self.take_reply(&reply, now);
                }
                Err(malformed) => {
                    self.give_up(malformed.into());
                    return bytes.len();
                }
            }
        }
        at
    }

    /// The mail server is not there, or has gone.
    pub fn handle_server_closed(&mut self) {
        if self.left_server {
            return;
        }
        // What it has said instead of a greeting is not waited with for nobody.
        if !self.from_server.is_empty() && self.greet_delay > Duration::ZERO {
            self.greet_delay = Duration::ZERO;
            self.handle_server(&[], self.began);
        }
        let answered = self.over || self.is_parting() || matches!(self.input, Input::Opaque);
        if !answered && !self.is_in_handshake() {
            self.to_client.extend_from_slice(self.voice.unavailable.as_bytes());
        }
        self.over = true;
    }

    /// Somebody decided that this session ends; `reply` is the line that the client hears, with its CR LF.
    pub fn handle_sanction(&mut self, reply: &str) {
        if !self.over && !matches!(self.input, Input::Opaque) && !self.is_in_handshake() {
            self.to_client.extend_from_slice(reply.as_bytes());
        }
        self.over = true;
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
        match side {
            Client => {
                let count = count.min(self.to_client.len());
                self.to_client.advance(count);
                self.portrait.sent += count as u64;
                self.release();
            }
            Server => {
                let count = count.min(self.to_server.len());
                self.to_server.advance(count);
                self.server_sent += count as u64;
            }
        }
        self.read_client(now);
        self.pass_turn(now);
    }

    /// Gives the buffers back when everything has been answered: ten thousand idle sessions must not hold what a message needed once.
    fn release(&mut self) {
        let passed = self.received + self.portrait.sent;
        let buffers =
            [&mut self.from_client, &mut self.from_server, &mut self.to_client, &mut self.to_server];
        if passed - self.released >= KEPT
            && self.due.is_empty()
            && buffers.iter().all(|buffer| buffer.is_empty())
        {
            for buffer in buffers {
                *buffer = BytesMut::new();
            }
            self.released = passed;
        }
    }

    /// Whether more bytes of a side can be taken: a slow reader on one side stops the reading on the other.
    pub fn wants(&self, side: Side) -> bool {
        if matches!(self.input, Input::Handshake(_)) {
            return false;
        }
        let room = match side {
            Client => [&self.to_server, &self.to_client, &self.from_client]
                .iter()
                .all(|buffer| buffer.len() < BUFFER_LIMIT),
            Server => self.to_client.len() < BUFFER_LIMIT && !self.left_server,
        };
        room && !self.over && (side == Server || self.presence == Presence::Talking)
    }

    /// Whether the mail server should be told that no more will come. What cannot be read yet is still to come; what
    /// could be read and was not is a line without its end.
    pub fn has_said_all(&self) -> bool {
        let unread = !self.from_client.is_empty() && self.is_held_back();
        self.left_server || self.presence != Presence::Talking && self.to_server.is_empty() && !unread
    }

    /// Whether nothing is left to do but to send [`Session::outgoing`] to the client and close both sides.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// The client ends its session. One that was for nothing is told of once; what makes it an offence is that it happens
    /// again, which is not for one session to know.
    fn note_end(&mut self) {
        let greeted = !matches!(self.due.front(), Some(Due::Greeting { .. }));
        if greeted && !self.manners.purpose && !self.over && !matches!(self.input, Input::Opaque) {
            self.report(Offence::new(Kind::UnfinishedSession, b"no transaction"));
        }
        self.manners.purpose = true;
    }

    /// The client has sent a command, or what it took for one, before the reply that it had to wait for.
    fn note_pipelining(&mut self, detail: String) {
        if !self.manners.out_of_step {
            self.manners.out_of_step = true;
            self.report(Offence::known_by(Kind::UnauthorisedPipelining, detail));
        }
    }

    fn report(&mut self, offence: Offence) {
        self.events.push_back(Event::Offence(offence));
    }
}

#[cfg(test)]
mod tests;
