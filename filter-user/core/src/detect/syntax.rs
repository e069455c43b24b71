//! Commands that break the grammar or the order of SMTP.
//!
//! 500, 501, 503 and 555 say so. 502 means "known but not here" for a command of the standards, which is nobody's
//! fault; some servers also say it to what is no command at all.

use crate::smtp::command::Verb;
use crate::smtp::reply::Reply;

/// Whether a command was refused for its grammar or its place.
pub(super) fn broken(verb: Verb, reply: &Reply<'_>) -> bool {
    match reply.code {
        500 | 501 | 503 | 555 => true,
        502 => verb == Verb::Unknown,
        _ => false,
    }
}
