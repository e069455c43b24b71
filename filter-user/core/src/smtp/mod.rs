//! SMTP as the edge understands it, without a socket.
//!
//! [`mod@line`] frames, [`command`] and [`reply`] read one unit each, [`ehlo`] narrows what is offered, [`body`] finds
//! the end of a message, of which [`plain`] lines are seen at a glance, [`mender`] mends its lines, [`bounds`] is how much of
//! anything there may be, [`mime`] the names of what is attached to it, which [`attachments`] judges, [`login`] follows an AUTH
//! exchange, [`rules`] is what an administrator has decided, [`voice`] is what we say ourselves, [`event`] is what is reported,
//! and [`session`] is the machine between the two sides.

pub mod attachments;
pub mod body;
pub mod bounds;
pub mod command;
pub mod ehlo;
pub mod event;
pub mod line;
pub mod login;
pub mod mender;
pub mod mime;
mod plain;
pub mod reply;
pub mod rules;
pub mod session;
pub mod voice;
