//! What a reply answers, as far as its meaning depends on that.

use serde::{Deserialize, Serialize};

use crate::smtp::command::Verb;

/// The part of a session that a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The greeting.
    Connect,
    /// EHLO or HELO.
    Helo,
    /// AUTH and its answers.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, a chunk, or the end of a message.
    Message,
    /// Any other command.
    Other,
}

impl Stage {
    /// The stage of a command; none: its refusal accuses nobody.
    pub const fn of(verb: Verb) -> Option<Self> {
        match verb {
            // RFC 4954 section 4 has a cancelled AUTH answered with 501.
            Verb::CancelAuth => None,
            Verb::Ehlo | Verb::Helo => Some(Self::Helo),
            Verb::Auth => Some(Self::Auth),
            Verb::Mail => Some(Self::Mail),
            Verb::Rcpt => Some(Self::Rcpt),
            Verb::Data | Verb::Bdat { .. } => Some(Self::Message),
            _ => Some(Self::Other),
        }
    }
}
