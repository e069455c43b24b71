//! Senders whose domain does not let this client send for it.
//!
//! RFC 7372 section 3.2 gives 550 5.7.23 to a failed SPF check; 5.7.24, a check that could not be made, is nobody's offence.

use super::words::Words;
use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether the enhanced code says it.
pub(super) const fn told(reply: &Reply<'_>) -> bool {
    matches!(reply.enhanced, Some(EnhancedCode(5, 7, 23)))
}

/// Whether a generic code's words say it; Exchange speaks of the Sender ID.
pub(super) fn failed(reply: &Reply<'_>, words: &Words) -> bool {
    let generic = matches!(reply.enhanced, None | Some(EnhancedCode(5, 7, 0 | 1)));
    generic
        && (words.say("spf")
            && words.say_any(&["fail", "not permitted", "not authorized", "not allowed", "reject"])
            || words.say("sender id pra not permitted"))
}
