//! What other services tell of clients: a failed login at the IMAP server, a guess at the webmail.
//!
//! A report is an offence that we have not seen ourselves. It may come late, it may stand for several, and it may come
//! twice, by two ways. Nothing that a report says blocks anybody: it is counted as every offence is, and what cannot be
//! about a client is refused.

pub mod dovecot;
pub mod request;

use alloc::string::String;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::ClientAddr;
use crate::offence::Offence;
use crate::time::{Now, Timestamp};

pub use request::{Fault, Request};

/// Largest weight that a report may have.
pub const WEIGHT_LIMIT: u32 = 1_000_000;
/// Offences that one report may stand for.
pub const COUNT_LIMIT: u32 = 1000;

/// Who has told of an offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Source {
    /// Our own SMTP session.
    Session = 1,
    /// Dovecot, by its auth-policy protocol.
    Dovecot = 2,
    /// The log of another program.
    Log = 4,
    /// A program or a person, by the API, the datagram socket or the command line.
    Program = 8,
}

impl Source {
    /// The word for it in tables and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Dovecot => "dovecot",
            Self::Log => "log",
            Self::Program => "program",
        }
    }

    /// Its bit in a set of sources.
    pub(crate) const fn bit(self) -> u8 {
        self as u8
    }
}

/// How an offence came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// By whom.
    pub source: Source,
    /// What one of them costs, at most [`WEIGHT_LIMIT`]; none: the multiplier of its kind.
    pub weight: Option<u32>,
    /// How many it stands for: 1 to [`COUNT_LIMIT`].
    pub count: u32,
    /// When it happened; none: now.
    pub at: Option<Timestamp>,
}

impl Told {
    /// One offence, just now.
    pub const fn by(source: Source) -> Self {
        Self { source, weight: None, count: 1, at: None }
    }

    /// How long ago it happened; what is said to be still to come has just happened.
    pub(crate) fn age(&self, now: Now) -> Duration {
        self.at.map_or(Duration::ZERO, |at| now.wall.since(at))
    }
}

/// An offence that somebody else has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The client.
    pub who: ClientAddr,
    /// What it did.
    pub offence: Offence,
    /// How it came to be known.
    pub told: Told,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Reception {
    /// It is in the event log and counts, as far as its multiplier lets it.
    Counted,
    /// It is in the event log and blocks nobody: the client is local, never blocked, or blocked already.
    Logged,
    /// Somebody else had told of the same; nothing is told twice.
    Known,
    /// It is older than everything that counts.
    TooOld,
    /// Its address is one of our own: whoever reports does not see the client's.
    NotAClient {
        /// Whose address it is, such as `mail server`.
        whose: String,
    },
}

impl Reception {
    /// What became of it, in a sentence for whoever told.
    pub fn sentence(&self) -> String {
        match self {
            Self::Counted => "it has been counted".into(),
            Self::Logged => {
                "it has been logged and blocks nobody: the client is local, never blocked, or blocked already"
                    .into()
            }
            Self::Known => "somebody else had told of the same, which counts once".into(),
            Self::TooOld => "it is older than the monitor period, and is skipped".into(),
            Self::NotAClient { whose } => alloc::format!(
                "it is refused, since the address is no client's but our own ({whose}); let the service see the client's address, by the PROXY protocol or X-Forwarded-For"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn what_is_still_to_come_has_just_happened() {
        let wall = Timestamp::from_millis(10_000);
        let now = Now { instant: Instant::from_nanos(0), wall };
        let age = |at| Told { at, ..Told::by(Source::Log) }.age(now);
        assert_eq!(age(None), Duration::ZERO);
        assert_eq!(age(Some(wall.after(Duration::from_hours(9)))), Duration::ZERO);
        assert_eq!(age(Some(Timestamp::from_millis(4_000))), Duration::from_secs(6));
    }
}
