//! Wrong credentials.
//!
//! RFC 4954 section 6 gives them 535 5.7.8. The other refusals of an AUTH speak of the mechanism, of encryption or of
//! the order of commands, and a client that runs into them has guessed no password.

use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether an AUTH failed for its credentials; 5.7.13 is a disabled account (RFC 5248 registry).
pub(super) fn refused(reply: &Reply<'_>) -> bool {
    match reply.enhanced {
        Some(code) => code == EnhancedCode(5, 7, 8) || code == EnhancedCode(5, 7, 13),
        None => reply.code == 535,
    }
}
