//! Messages refused as infected.
//!
//! RFC 3463 has no code for it; virus scanners say 5.7.1 or 5.7.0 and add words (amavis, `ClamAV`, Exim's own condition).

use super::words::Words;

/// Whether a message was refused as infected.
pub(super) fn found(words: &Words) -> bool {
    words.say_any(&["virus", "viruses", "malware", "infected", "worm ", "trojan", "clamav", "eicar"])
        && !words.say_any(&["not infected", "no virus"])
}
