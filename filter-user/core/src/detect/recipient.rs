//! Recipients that do not exist.
//!
//! 5.1.1 is the code for it, 5.1.0 and 5.1.10 are its kin (RFC 3463 section 3.2, RFC 7505). Stalwart says 5.1.2 and Exchange
//! Online 5.4.1, both with words; OpenSMTPD says 524 5.2.4, as of a mailing list. A mailbox that is full or disabled exists, so it is no offence to write to it.

use super::words::Words;
use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether the enhanced code says it.
pub(super) const fn told(reply: &Reply<'_>) -> bool {
    matches!(reply.enhanced, Some(EnhancedCode(5, 1, 0 | 1 | 10)))
}

/// Whether a generic code's words say it. Without an enhanced code 550 means it (RFC 5321 section 4.2.2), unless the words are
/// about somebody else.
pub(super) fn unknown(reply: &Reply<'_>, words: &Words) -> bool {
    match reply.enhanced {
        Some(EnhancedCode(5, 1, 2)) => words.say_any(&["mailbox", "no such", "unknown", "user"]),
        Some(EnhancedCode(5, 2, 4)) => reply.code == 524,
        Some(EnhancedCode(5, 4, 1)) => words.say("recipient address rejected"),
        Some(_) => false,
        None => {
            let others =
                ["sender", "helo", "administrative prohibition", "policy", "reverse", "block", "spf"];
            matches!(reply.code, 550 | 551) && !words.say_any(&others)
        }
    }
}
