//! Messages refused by a rule of the mail server that is neither about spam nor about viruses.
//!
//! An enhanced code about security or content says so by itself. Without one only words tell: 554 is also what a server says of
//! a loop or of its own trouble.

use super::words::Words;
use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether a whole message was refused by a rule.
pub(super) fn matched(reply: &Reply<'_>, words: &Words) -> bool {
    match reply.enhanced {
        Some(EnhancedCode(5, 7, detail)) => detail <= 1,
        Some(_) => false,
        None => {
            matches!(reply.code, 550 | 554 | 571)
                && words.say_any(&["policy", "content", "rule", "filter", "prohibit", "banned", "not accept"])
        }
    }
}
