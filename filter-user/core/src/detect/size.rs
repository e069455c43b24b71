//! Messages over the size limit.
//!
//! RFC 1870 section 6 says 552 and RFC 3463 5.3.4; VPOP3 says 5.2.3. To a RCPT, 552 is a mailbox that is full, which is
//! nobody's fault who writes to it.

use super::words::Words;
use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether the enhanced code says it.
pub(super) const fn told(reply: &Reply<'_>) -> bool {
    matches!(reply.enhanced, Some(EnhancedCode(5, 3, 4) | EnhancedCode(5, 2, 3)))
}

/// Whether a server without enhanced codes says it.
pub(super) fn exceeded(reply: &Reply<'_>, words: &Words) -> bool {
    reply.enhanced.is_none()
        && matches!(reply.code, 552 | 554)
        && words.say("message")
        && words.say_any(&["size", "too large", "too big", "too long"])
}
