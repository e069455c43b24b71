//! Commands that break the grammar or the order of SMTP.
//!
//! 500, 501, 503 and 555 say so; OpenSMTPD says 553 of an address that is none. 502 means "known but not here", which is nobody's fault: what is no command of the
//! standards at all, the mail server does not hear of.

use super::words::Words;
use crate::smtp::reply::Reply;

/// Whether a command was refused for its grammar or its place.
pub(super) fn broken(reply: &Reply<'_>, words: &Words) -> bool {
    matches!(reply.code, 500 | 501 | 503 | 555) || reply.code == 553 && words.say("address syntax error")
}
