//! Clients that a DNS block list lists.
//!
//! No code of RFC 3463 says it. Postfix and postscreen say `Client host [..] blocked using LIST`, Exim `is in a black list at`,
//! Exchange `IP Block List`, Exchange Online has 5.7.606 to 5.7.649 for its own lists. Lists of domains accuse a sender's
//! domain, not the client.

use super::words::Words;
use crate::smtp::reply::{EnhancedCode, Reply};

/// Whether the enhanced code says it.
pub(super) const fn told(reply: &Reply<'_>) -> bool {
    matches!(reply.enhanced, Some(EnhancedCode(5, 7, 606..=649)))
}

/// Whether a generic code's words say it.
pub(super) fn listed(reply: &Reply<'_>, words: &Words) -> bool {
    let generic = matches!(reply.enhanced, None | Some(EnhancedCode(5, 7, 0 | 1)));
    let of_client = words.say("blocked using")
        && !words.say_any(&["sender address", "recipient address", "helo command"]);
    generic
        && (of_client
            || words.say_any(&[
                "is in a black list",
                "is blacklisted at",
                "found on a block list",
                "on the ip block list",
                "ip block list provider",
                "dnsbl",
                "rbl ",
                "listed by",
            ]))
}
