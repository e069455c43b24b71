//! What can be told of a session while it goes on: what it is doing, in the words of the field, and who its client says it is.
//!
//! Nothing here changes what the session does.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::offence::printable;
use crate::smtp::command::Verb;
use crate::smtp::event::Side;
use crate::smtp::reply::Reply;
use crate::time::Instant;

use super::Session;
use super::due::Due;
use super::input::Input;

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The mail server has yet to greet.
    Connecting,
    /// The client may begin something.
    Ready,
    /// An AUTH exchange goes on.
    Login,
    /// A transaction has begun: a sender, perhaps recipients.
    Envelope,
    /// A message passes, or is being judged by the mail server.
    Message,
    /// The bytes are TLS between the client and the mail server, which is not ours to read.
    Opaque,
    /// The last words are being said.
    Closing,
}

impl State {
    /// Every state, in the order in which a session goes through them.
    pub const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Ready,
        Self::Login,
        Self::Envelope,
        Self::Message,
        Self::Opaque,
        Self::Closing,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Login => "login",
            Self::Envelope => "envelope",
            Self::Message => "message",
            Self::Opaque => "opaque",
            Self::Closing => "closing",
        }
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a session remembers only to be told.
#[derive(Debug, Default)]
pub(super) struct Portrait {
    helo: Option<String>,
    account: Option<String>,
    /// Whether a transaction has begun and not ended.
    envelope: bool,
    /// How often `helo` or `account` has changed.
    changes: u32,
    /// Bytes that the client has been sent.
    pub(super) sent: u64,
}

impl Portrait {
    /// The mail server has answered a command, of which `detail` may be remembered.
    pub(super) fn note(&mut self, verb: Verb, detail: &str, reply: &Reply<'_>, account: Option<&str>) {
        if !reply.is_success() {
            return;
        }
        match verb {
            Verb::Ehlo | Verb::Helo => {
                self.envelope = false;
                let name = detail.split_once(' ').map_or("", |(_, name)| name);
                if self.helo.as_deref() != Some(name) {
                    self.helo = Some(printable(name.as_bytes()));
                    self.changes = self.changes.wrapping_add(1);
                }
            }
            Verb::Auth | Verb::CancelAuth if self.account.as_deref() != account => {
                self.account = account.map(Into::into);
                self.changes = self.changes.wrapping_add(1);
            }
            Verb::Mail => self.envelope = true,
            Verb::Bdat { last: true, .. } | Verb::Rset => self.envelope = false,
            _ => {}
        }
    }

    /// The message has been answered, and its transaction with it.
    pub(super) const fn end_transaction(&mut self) {
        self.envelope = false;
    }
}

impl Session {
    /// What it is doing now.
    pub fn state(&self) -> State {
        let ends_message = |due: &Due| matches!(due, Due::EndOfData);
        match &self.input {
            _ if self.over => State::Closing,
            Input::Closed => State::Closing,
            Input::Opaque => State::Opaque,
            _ if matches!(self.due.front(), Some(Due::Greeting { .. })) => State::Connecting,
            Input::Body(..) | Input::Chunk { .. } => State::Message,
            Input::Credentials => State::Login,
            _ if self.login.is_some() => State::Login,
            _ if self.due.iter().any(ends_message) => State::Message,
            _ if self.portrait.envelope => State::Envelope,
            _ => State::Ready,
        }
    }

    /// Whose move it is.
    pub fn awaited(&self) -> Side {
        self.turn()
    }

    /// When something was last completed, or the move last passed to the other side.
    pub const fn quiet_since(&self) -> Instant {
        self.since
    }

    /// Bytes that the client has sent.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that the client has been sent.
    pub const fn sent(&self) -> u64 {
        self.portrait.sent
    }

    /// What the client called itself in its last EHLO or HELO that was accepted: printable, at most
    /// [`crate::offence::DETAIL_LIMIT`] bytes.
    pub fn helo(&self) -> Option<&str> {
        self.portrait.helo.as_deref()
    }

    /// The account that the client has logged in to, if it was said in clear.
    pub fn account(&self) -> Option<&str> {
        self.portrait.account.as_deref()
    }

    /// A number that changes whenever [`Session::helo`] or [`Session::account`] does.
    pub const fn introductions(&self) -> u32 {
        self.portrait.changes
    }
}
