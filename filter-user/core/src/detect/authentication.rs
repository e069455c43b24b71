//! Wrong credentials.
//!
//! RFC 4954 section 6 gives them 535 5.7.8, but Exchange says 535 5.7.3 and others 535 5.7.0 or no enhanced code at all.
//! So a 535 is a wrong guess unless its enhanced code speaks of something else: the mechanism, encryption, or the order
//! and grammar of commands. A client that runs into those has guessed no password; nor has one that hears Stalwart's 554 5.7.8, which
//! is about the mechanism, too.

use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether the enhanced code says it: wrong credentials, or a disabled account (RFC 5248 registry).
pub(super) const fn told(reply: &Reply<'_>) -> bool {
    matches!(reply.enhanced, Some(EnhancedCode(5, 7, 8 | 13))) && reply.code != 554
}

/// Whether an AUTH failed for its credentials.
pub(super) fn refused(reply: &Reply<'_>) -> bool {
    match reply.enhanced {
        // The mechanism is too weak; encryption is required.
        Some(EnhancedCode(5, 7, 9 | 11) | EnhancedCode(5, 5, _)) => false,
        Some(_) | None => reply.code == 535,
    }
}
