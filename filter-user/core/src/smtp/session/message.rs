//! The message that passes: what is attached to it, how large it is, and how it is refused.
//!
//! A refusal of ours is the reply to the end of the message, for before it the client does not listen (RFC 5321 section 3.3). The mail
//! server must not accept what we refuse. It takes responsibility when it answers CR LF `.` CR LF, or the last chunk; so from the
//! finding on nothing of the message is forwarded, its end least of all, and the connection to the mail server is given up in the
//! middle of it. A server whose connection ends there cancels the transaction (RFC 5321 section 4.1.1.10). To hold the message back
//! until it is judged would be to keep it in memory, and a second connection would know nothing of the login, TLS and EHLO of the first.
//!
//! So the session can only be ended after that: QUIT is answered 221 and anything else 421, upon which the client comes
//! back with what it still has. Chunks that were sent behind the refused one are taken and refused like it (RFC 3030 section 2). Replies that the mail
//! server owes to earlier commands are waited for first.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::offence::{Kind, Offence, printable};
use crate::smtp::attachments::Action;
use crate::smtp::command::Verb;
use crate::smtp::mime::{Finding, MimeReader};
use crate::time::Instant;

use super::Session;
use super::due::Due;
use super::input::{Input, Pass};
use super::patience::Stride;

/// A message that is passing.
#[derive(Debug)]
pub(super) struct Passing {
    reader: MimeReader,
    /// Whether something in it has been reported.
    accused: bool,
}

impl Session {
    /// Takes what the next bytes are of a message behind a 354; says how many that is.
    pub(super) fn take_body(&mut self, bytes: &[u8], now: Instant, pass: &mut Pass<'_>) -> usize {
        let Input::Body(body, stride) = &mut self.input else { return 0 };
        let taken = body.take(bytes, self.bounds.beyond_size());
        let text = taken.text.as_deref().unwrap_or_else(|| bytes.get(..taken.length).unwrap_or_default());
        let (size, moved) = (body.size(), stride.advance(text.len()));
        if taken.disguised {
            self.report(Offence::new(Kind::BareNewline, b"a disguised end of data, mended"));
        }
        if let Some(fault) = taken.mended {
            self.note_mended(fault);
        }
        self.inspect(text, true, taken.ended);
        self.check_size(size);
        self.forward_message(text, pass);
        if let Some(fault) = taken.fault {
            self.refuse(fault);
            return taken.length;
        }
        if taken.ended {
            self.input = Input::Commands;
            if self.refused.is_none() {
                self.due.push_back(Due::EndOfData);
            }
            self.say_refusal();
        } else {
            self.leave_server();
        }
        if moved || taken.ended {
            self.rewind(now);
        }
        taken.length
    }

    /// Takes what the next bytes are of a chunk; says how many that is.
    pub(super) fn take_chunk(&mut self, bytes: &[u8], now: Instant, pass: &mut Pass<'_>) -> usize {
        let Input::Chunk { left, last, stride } = &mut self.input else { return 0 };
        let size = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        *left -= size as u64;
        let (ended, last) = (*left == 0, *last);
        let moved = stride.advance(size);
        let refused_before = self.refused.is_some();
        let piece = bytes.get(..size).unwrap_or_default();
        self.inspect_chunk(piece, ended && last);
        if !refused_before {
            self.withdraw_chunk();
        }
        self.forward_message(piece, pass);
        if ended {
            self.input = Input::Commands;
            self.say_refusal();
        }
        if moved || ended {
            self.rewind(now);
        }
        size
    }

    /// Looks at the message's next bytes before they go on.
    pub(super) fn inspect(&mut self, bytes: &[u8], stuffed: bool, ended: bool) {
        let rules = Arc::clone(&self.rules);
        let Some(attachments) = rules.attachments.as_ref().filter(|_| self.refused.is_none()) else { return };
        let mut passing = self
            .passing
            .take()
            .unwrap_or_else(|| Box::new(Passing { reader: MimeReader::new(stuffed), accused: false }));
        let mut accusation = None;
        let mut judge = |finding| {
            let voice = &self.voice;
            let found = match finding {
                Finding::Name(name) if attachments.is_blocked(&name) => {
                    let name = printable(&name);
                    (Kind::BlockedAttachment, voice.attachment(&name), name)
                }
                Finding::Name(_) => return,
                Finding::Unreadable => {
                    (Kind::BlockedAttachment, voice.unreadable.clone(), "unreadable".into())
                }
                Finding::Partial => (Kind::PartialMessage, voice.partial.clone(), "message/partial".into()),
            };
            accusation.get_or_insert(found);
        };
        passing.reader.read(bytes, &mut judge);
        if ended {
            passing.reader.finish(&mut judge);
        }
        if let Some((kind, text, detail)) = accusation.filter(|_| !passing.accused) {
            passing.accused = true;
            self.report(Offence::known_by(kind, detail));
            if attachments.action == Action::Refuse {
                self.refused = Some(text);
            }
        }
        if !ended {
            self.passing = Some(passing);
        }
    }

    /// Hands bytes of a message on, or drops them if it has been refused.
    fn forward_message(&mut self, bytes: &[u8], pass: &mut Pass<'_>) {
        if self.refused.is_none() {
            self.forward(bytes, pass);
        }
    }

    /// A chunk has been refused: the mail server, which does not get the rest of it, will not answer it.
    fn withdraw_chunk(&mut self) {
        if self.refused.is_some() && matches!(self.due.back(), Some(Due::Reply(_))) {
            self.due.pop_back();
        }
        self.say_own();
    }

    /// The refused message, or its refused chunk, is at its end.
    pub(super) fn say_refusal(&mut self) {
        if let Some(text) = self.refused.clone() {
            self.due.push_back(Due::Own { text, ends_session: false });
            self.say_own();
        }
    }

    /// Answers a command behind a refused message.
    pub(super) fn answer_refused(&mut self, verb: Verb, now: Instant) {
        match verb {
            Verb::Bdat { size: 0, .. } => self.say_refusal(),
            Verb::Bdat { size, last } => {
                self.input = Input::Chunk { left: size, last, stride: Stride::default() };
            }
            Verb::Quit => self.end_with(self.voice.bye.clone()),
            _ => self.end_with(self.voice.come_back.clone()),
        }
        self.rewind(now);
    }

    /// Whether the connection to the mail server is to be closed, whatever it is in the middle of, while the client is still served.
    pub const fn has_left_server(&self) -> bool {
        self.left_server
    }

    /// Gives the mail server up once it owes the client nothing more.
    pub(super) fn leave_server(&mut self) {
        if self.refused.is_some() && self.due.is_empty() {
            self.left_server = true;
            self.to_server.clear();
            self.from_server.clear();
        }
    }
}
