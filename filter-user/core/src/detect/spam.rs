//! Messages refused as spam.
//!
//! RFC 3463 has no code for it; all say 5.7.1 or 5.7.0 and add words.

use super::words::Words;

/// Whether a message was refused as spam.
pub(super) fn found(words: &Words) -> bool {
    words.say_any(&["spam", "unsolicited", "junk mail", "bulk mail", "gtube"])
}
