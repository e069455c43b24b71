//! Relaying refused.
//!
//! RFC 3463 has no code of its own for it; servers say 5.7.1 on RCPT, Exchange says 5.7.54, Stalwart 5.1.2. Some choose another
//! 5.7.x, and servers without enhanced codes say 550, as they do for unknown recipients: there only their words tell.

use super::words::Words;
use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether the enhanced code says it.
pub(super) const fn told(reply: &Reply<'_>) -> bool {
    matches!(reply.enhanced, Some(EnhancedCode(5, 7, 54)))
}

/// Whether a RCPT was refused because we do not relay for this client.
pub(super) fn denied(reply: &Reply<'_>, words: &Words) -> bool {
    matches!(reply.code, 550 | 551 | 553 | 554)
        && match reply.enhanced {
            Some(EnhancedCode(5, 7, 1)) => true,
            Some(EnhancedCode(5, 7, _) | EnhancedCode(5, 1, 2)) | None => {
                words.say_any(&["relay", "open relay"])
            }
            Some(_) => false,
        }
}
