//! Recipients that do not exist.
//!
//! 5.1.1 is the code for it, 5.1.0 and 5.1.10 are its kin (RFC 3463 section 3.2, RFC 7505). A mailbox that is full or
//! disabled exists, so it is no offence to write to it.

use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether a RCPT was refused because there is no such recipient.
pub(super) fn unknown(reply: &Reply<'_>) -> bool {
    match reply.enhanced {
        Some(EnhancedCode(5, 1, detail)) => matches!(detail, 0 | 1 | 10),
        Some(_) => false,
        None => matches!(reply.code, 550 | 551),
    }
}
