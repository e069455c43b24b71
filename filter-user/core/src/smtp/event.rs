//! What a session reports of itself: facts, never decisions.

use crate::offence::Offence;
use crate::smtp::line::Fault;
use crate::smtp::reply;

/// The two ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The remote sender.
    Client,
    /// The mail server behind us.
    Server,
}

/// What a session reports; never a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The client did something wrong.
    Offence(Offence),
    /// The mail server accepted the client's credentials.
    LoggedIn,
    /// The mail server took responsibility for a message.
    MessageAccepted,
    /// A line of the client was mended before it went on; told of once a session, for the log.
    Mended(Fault),
    /// The mail server could not be followed any further; for the log.
    ServerFault(ServerFault),
}

/// Why a mail server could not be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// It sent what is no reply.
    #[error(transparent)]
    Malformed(#[from] reply::Malformed),
    /// It answered a question that nobody had asked.
    #[error(
        "the mail server sent a reply to nothing; does it expect the PROXY protocol? (see `client_address` in [smtp])"
    )]
    Unsolicited,
    /// It answered with a code that its question cannot have, so nobody knows how the next bytes are to be read.
    #[error("the mail server answered with a code that does not belong to the command")]
    Misplaced,
    /// It did not answer in time.
    #[error("the mail server did not answer in time")]
    Silent,
}
