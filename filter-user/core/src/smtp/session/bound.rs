//! What a client may not have because there would be too much of it, and what of its lines is mended.
//!
//! A transaction ends with RSET, EHLO, the end of a message or its last chunk (RFC 5321 section 4.1.4), and with nothing else: a
//! second MAIL is refused by the mail server and gives no room.

use alloc::borrow::Cow;
use alloc::format;

use crate::offence::{Kind, Offence};
use crate::smtp::body::StrayEnds;
use crate::smtp::bounds::END_SIZE;
use crate::smtp::command::{self, Verb};
use crate::smtp::event::Event;
use crate::smtp::line::Fault;
use crate::smtp::reply::Reply;
use crate::time::Instant;

use super::Session;
use super::due::Due;

/// What has been used up.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// Recipients of the transaction that the mail server has accepted.
    recipients: u32,
    /// Bytes of the message in chunks that have been announced.
    chunks: u64,
    /// The ends of its lines.
    ends: StrayEnds,
    /// Whether it has been told that something was mended.
    mended: bool,
    /// Commands refused for good since the last accepted message.
    errors: u32,
    /// Commands since then that are bounded by nothing else.
    commands: u32,
}

/// Whether a command ends the transaction.
const fn ends_transaction(verb: Verb) -> bool {
    matches!(verb, Verb::Rset | Verb::Ehlo | Verb::Helo | Verb::Bdat { last: true, .. })
}

impl Session {
    /// Ends the session at a command that is one too many; whether it did. QUIT ends it anyway.
    pub(super) fn refuse_endless(&mut self, verb: Verb) -> bool {
        let bounded = matches!(verb, Verb::Rcpt | Verb::Bdat { size: 1.., .. });
        self.used.commands = self.used.commands.saturating_add(u32::from(!bounded));
        let beyond = |used: u32, limit: u32| limit > 0 && used > limit;
        let text = match verb {
            Verb::Quit => return false,
            _ if self.bounds.errors > 0 && self.used.errors >= self.bounds.errors => {
                &self.voice.too_many_errors
            }
            _ if beyond(self.used.commands, self.bounds.commands) => &self.voice.too_many_commands,
            _ => return false,
        };
        let text = text.clone();
        self.note_end();
        self.end_with(text);
        true
    }

    /// A command was refused for good.
    pub(super) const fn count_error(&mut self) {
        self.used.errors = self.used.errors.saturating_add(1);
    }

    /// The mail server has taken responsibility for a message (RFC 5321 section 4.2.5).
    pub(super) fn note_accepted(&mut self) {
        (self.used.errors, self.used.commands) = (0, 0);
        self.events.push_back(Event::MessageAccepted);
    }

    /// Refuses a command in the mail server's place if there would be too much; whether it did.
    pub(super) fn refuse_excess(&mut self, verb: Verb, line: &[u8], now: Instant) -> bool {
        match verb {
            // RFC 1870 section 6.1.
            Verb::Mail => {
                // A mail server that takes no more than we do says so itself, in its own words.
                let says_it = self.offered.largest.is_some_and(|largest| !self.bounds.is_too_big(largest));
                let announced = command::announced_size(line).filter(|size| self.bounds.is_too_big(*size));
                let Some(size) = announced.filter(|_| !says_it) else { return false };
                self.note_too_big(size);
                self.transaction.refuse_mail(self.received);
                self.answer(self.voice.too_big(self.bounds.message_size), now);
            }
            Verb::Rcpt if self.bounds.recipients > 0 && self.recipients() >= self.bounds.recipients => {
                self.answer(self.voice.too_many_recipients(self.bounds.recipients), now);
            }
            Verb::Bdat { size, last } => {
                self.used.chunks = self.used.chunks.saturating_add(size);
                let all = self.used.chunks;
                if last {
                    self.used.chunks = 0;
                }
                if !self.bounds.is_too_big(all) {
                    return false;
                }
                self.note_too_big(all);
                self.refused = Some(self.voice.too_big(self.bounds.message_size));
                self.answer_refused(verb, now);
            }
            Verb::Rset | Verb::Ehlo | Verb::Helo => {
                (self.used.chunks, self.used.ends) = (0, StrayEnds::default());
                return false;
            }
            _ => return false,
        }
        true
    }

    /// Recipients of the transaction that the next command belongs to, those included that are not answered yet.
    fn recipients(&self) -> u32 {
        self.due.iter().fold(self.used.recipients, |count, due| match due {
            Due::Reply(asked) if asked.verb == Verb::Rcpt => count.saturating_add(1),
            Due::Reply(asked) if ends_transaction(asked.verb) => 0,
            Due::EndOfData => 0,
            _ => count,
        })
    }

    /// The mail server has answered a command.
    pub(super) fn count_recipient(&mut self, verb: Verb, reply: &Reply<'_>) {
        if verb == Verb::Rcpt && reply.is_success() {
            self.used.recipients = self.used.recipients.saturating_add(1);
        }
        if ends_transaction(verb) {
            self.used.recipients = 0;
        }
    }

    /// The mail server has answered a message.
    pub(super) const fn end_transaction(&mut self) {
        self.used.recipients = 0;
    }

    /// Refuses the message that passes if its size is beyond the bound; `size` may be its end larger than what counts.
    pub(super) fn check_size(&mut self, size: u64) {
        if self.refused.is_none() && self.bounds.is_too_big(size.saturating_sub(END_SIZE)) {
            self.note_too_big(size);
            self.refused = Some(self.voice.too_big(self.bounds.message_size));
        }
    }

    /// Looks at the next bytes of a chunk: at names, and at the ends of lines. What comes behind the first thing that refuses the
    /// message is not looked at.
    pub(super) fn inspect_chunk(&mut self, bytes: &[u8], ended: bool) {
        if self.refused.is_some() {
            return;
        }
        let (sound, mut found) = self.used.ends.walk(bytes);
        if ended {
            found = found.and_then(|()| core::mem::take(&mut self.used.ends).finish());
        }
        self.inspect(bytes.get(..sound).unwrap_or_default(), false, ended && found.is_ok());
        if let Err(fault) = found
            && self.refused.is_none()
        {
            let text = self.voice.stray_end(fault);
            self.report(Offence::new(Kind::BareNewline, text.as_bytes()));
            self.refused = Some(text);
        }
    }

    /// A line with CR LF at its end, whatever it came with.
    pub(super) fn mend_line<'a>(&mut self, line: &'a [u8]) -> Cow<'a, [u8]> {
        if line.ends_with(b"\r\n") {
            return Cow::Borrowed(line);
        }
        self.note_mended(Fault::BareLf);
        Cow::Owned([line.strip_suffix(b"\n").unwrap_or(line), b"\r\n"].concat())
    }

    /// A line was mended.
    pub(super) fn note_mended(&mut self, fault: Fault) {
        if !self.used.mended {
            self.used.mended = true;
            self.events.push_back(Event::Mended(fault));
        }
    }

    fn note_too_big(&mut self, size: u64) {
        let limit = self.bounds.message_size;
        self.report(Offence::known_by(Kind::TooBig, format!("{size} bytes, the limit is {limit}")));
    }
}
