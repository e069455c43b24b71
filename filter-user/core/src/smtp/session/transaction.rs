//! What a client could know of its transaction when it sent a command.
//!
//! RFC 2920 lets a client send RCPT and DATA behind a MAIL whose reply it has not seen. If that MAIL is refused, the rest
//! is out of order, through no fault of the client's. So a 503 accuses only a command that was sent after the client had been sent
//! the refusal that put it out of order.
//!
//! Places are counted in bytes from the beginning of all that the client has sent.

use crate::smtp::command::Verb;
use crate::smtp::reply::Reply;

/// Up to where the client had not been sent the last refusal of each kind that matters.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    mail: u64,
    recipient: u64,
    chunk: u64,
}

impl Transaction {
    /// The mail server has answered a command; until now the client has sent `received` bytes.
    pub(super) fn note(&mut self, verb: Verb, reply: &Reply<'_>, received: u64) {
        if reply.code < 400 {
            return;
        }
        match verb {
            Verb::Mail => self.mail = received,
            Verb::Rcpt => self.recipient = received,
            Verb::Bdat { .. } => self.chunk = received,
            _ => {}
        }
    }

    /// A MAIL was refused in the mail server's place; until now the client has sent `received` bytes.
    pub(super) const fn refuse_mail(&mut self, received: u64) {
        self.mail = received;
    }

    /// The client has sent more before all that was said to it could be handed over.
    pub(super) fn extend(&mut self, before: u64, received: u64) {
        for place in [&mut self.mail, &mut self.recipient, &mut self.chunk] {
            if *place == before && before > 0 {
                *place = received;
            }
        }
    }

    /// Whether this reply says no more than that a command was out of order which began at `from`, when the client
    /// could not know it.
    pub(super) fn excuses(&self, verb: Verb, reply: &Reply<'_>, from: u64) -> bool {
        let unknown = match verb {
            Verb::Data | Verb::Bdat { .. } => self.mail.max(self.recipient).max(self.chunk),
            Verb::Rcpt => self.mail.max(self.chunk),
            // After a refused chunk only RSET is in order (RFC 3030 section 2).
            Verb::Mail => self.chunk,
            _ => 0,
        };
        reply.code == 503 && from < unknown
    }
}
