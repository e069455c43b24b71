//! How long each side may take, and from when on.

use core::time::Duration;

use crate::offence::{Kind, Offence};
use crate::smtp::event::{ServerFault, Side};
use crate::time::Instant;

use super::due::Due;
use super::input::Input;
use super::tls::HANDSHAKE;
use super::{BUFFER_LIMIT, Presence, Session};

/// How long a session whose client has heard all, or can hear no more, waits for the mail server.
const FAREWELL: Duration = Duration::from_secs(10);

/// How long each side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a whole command, for 64 KiB of a message, or to read its replies (RFC 5321 section 4.5.3.2.7 asks for 5 minutes).
    pub client: Duration,
    /// For a reply of the mail server (RFC 5321 section 4.5.3.2.6 asks for 10 minutes after a message).
    pub server: Duration,
    /// For a client's whole session, while it is the client's turn: a mail server that is asked still answers.
    pub session: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            client: Duration::from_mins(5),
            server: Duration::from_mins(10),
            session: Duration::from_hours(2),
        }
    }
}

/// Bytes of a message since time was last given for them. A step is 64 KiB: one byte now and then gains nothing.
#[derive(Debug, Default)]
pub(super) struct Stride(usize);

impl Stride {
    /// Counts some more; whether that completes a step.
    pub(super) const fn advance(&mut self, count: usize) -> bool {
        self.0 += count;
        let whole = self.0 >= BUFFER_LIMIT;
        if whole {
            self.0 = 0;
        }
        whole
    }
}

impl Session {
    /// Whose move it is. Replies that nobody reads are the client's to take, whatever else is outstanding; bytes of a
    /// message are its to send, as long as the mail server takes them.
    pub(super) fn turn(&self) -> Side {
        match self.input {
            _ if !self.to_client.is_empty() => Side::Client,
            Input::Waiting | Input::Discarding(_) => Side::Server,
            Input::Body(..) | Input::Chunk { .. } if self.to_server.len() >= BUFFER_LIMIT => Side::Server,
            Input::Commands | Input::Closed if !self.due.is_empty() => Side::Server,
            _ => Side::Client,
        }
    }

    /// Something was completed: whoever is awaited has all its time again.
    pub(super) fn rewind(&mut self, now: Instant) {
        // Replies that nobody hears give no more time.
        if self.presence != Presence::Gone {
            self.since = now;
        }
    }

    /// Notices when the turn has passed to the other side, whose time begins now, or when nothing is left to hear for
    /// a client that has gone.
    pub(super) fn pass_turn(&mut self, now: Instant) {
        if self.presence == Presence::Gone {
            self.to_client.clear();
            self.over |= self.due.is_empty();
        }
        let turn = self.turn();
        if turn != self.awaited {
            self.awaited = turn;
            self.rewind(now);
        }
    }

    /// Whether nothing remains that a client would hear.
    pub(super) fn is_parting(&self) -> bool {
        let silent = self.presence != Presence::Talking && self.has_said_all();
        self.presence == Presence::Gone || self.due.is_empty() && silent
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        match self.turn() {
            _ if self.keeps_greeting() => self.began.after(self.greet_delay),
            _ if self.is_parting() => self.since.after(FAREWELL),
            _ if self.is_in_handshake() => self.since.after(HANDSHAKE.min(self.patience.client)),
            Side::Client => self.since.after(self.patience.client).min(self.end()),
            Side::Server => self.since.after(self.patience.server),
        }
    }

    /// Whether there is something to be handed on when the greet delay is over.
    fn keeps_greeting(&self) -> bool {
        !self.from_server.is_empty() && self.is_greeting_kept_back(self.began)
    }

    /// Whether the mail server's greeting is there and not yet to be heard.
    pub(super) fn is_greeting_kept_back(&self, now: Instant) -> bool {
        matches!(self.due.front(), Some(Due::Greeting { .. })) && now < self.began.after(self.greet_delay)
    }

    /// When the whole session has to be over.
    fn end(&self) -> Instant {
        self.began.after(self.patience.session)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.poll_timeout() || self.over {
            return;
        }
        if self.keeps_greeting() {
            self.greet_delay = Duration::ZERO;
            return self.handle_server(&[], now);
        }
        if self.is_parting() || matches!(self.input, Input::Opaque) {
            self.over = true;
        } else if self.turn() == Side::Server {
            self.give_up(ServerFault::Silent);
        } else {
            let mute = self.is_in_handshake();
            let detail: &[u8] = match self.to_client.is_empty() {
                _ if now >= self.end() => b"the session took too long",
                true if mute => b"no TLS handshake in time",
                true => b"nothing whole in time",
                false => b"replies not read in time",
            };
            self.report(Offence::new(Kind::Timeout, detail));
            if mute {
                self.over = true;
                return;
            }
            self.to_client.extend_from_slice(self.voice.timeout.as_bytes());
            self.over = true;
        }
    }
}
