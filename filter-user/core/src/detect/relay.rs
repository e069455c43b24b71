//! Relaying refused.
//!
//! RFC 3463 has no code of its own for it; servers say 5.7.1 on RCPT. Servers without enhanced codes say 550, as they do
//! for unknown recipients, and only their words tell the two apart.

use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether a RCPT was refused because we do not relay for this client.
pub(super) fn denied(reply: &Reply<'_>) -> bool {
    match reply.enhanced {
        Some(code) => code == EnhancedCode(5, 7, 1),
        None => matches!(reply.code, 550 | 551 | 553 | 554) && speaks_of_relaying(reply.text()),
    }
}

fn speaks_of_relaying(text: &[u8]) -> bool {
    text.windows(5).any(|word| word.eq_ignore_ascii_case(b"relay"))
}
