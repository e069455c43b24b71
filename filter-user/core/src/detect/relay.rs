//! Relaying refused.
//!
//! RFC 3463 has no code of its own for it; servers say 5.7.1 on RCPT, Exchange says 5.7.54. Some choose another 5.7.x, and
//! servers without enhanced codes say 550, as they do for unknown recipients: there only their words tell.

use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether a RCPT was refused because we do not relay for this client.
pub(super) fn denied(reply: &Reply<'_>) -> bool {
    matches!(reply.code, 550 | 551 | 553 | 554)
        && match reply.enhanced {
            Some(EnhancedCode(5, 7, 1 | 54)) => true,
            Some(EnhancedCode(5, 7, _)) | None => speaks_of_relaying(reply.text()),
            Some(_) => false,
        }
}

/// Whether one of the words is about relaying. Addresses and host names may hold it as well, and they have dots.
fn speaks_of_relaying(text: &[u8]) -> bool {
    let mut words = text.split(|byte| byte.is_ascii_whitespace() || b":;,!()".contains(byte));
    words.any(|word| {
        let word = word.strip_suffix(b".").unwrap_or(word);
        let plain = word.iter().all(|byte| byte.is_ascii_alphabetic() || b"-_".contains(byte));
        plain && word.windows(5).any(|part| part.eq_ignore_ascii_case(b"relay"))
    })
}
