//! What may be remembered of bytes that are no command.
//!
//! They may be a password that was sent out of turn, an answer to a challenge that never came, or a line of somebody's
//! letter. So no more is kept than how many there were, and their first word where it looks like a verb.

use alloc::format;
use alloc::string::String;

/// Longest first word that is kept; no verb is longer.
const VERB_LIMIT: usize = 10;

/// The number of bytes, and the verb that they begin with, if any.
pub fn gist(bytes: &[u8]) -> String {
    match verb(bytes) {
        Some(verb) => format!("{verb}, {}", size(bytes)),
        None => size(bytes),
    }
}

/// The number of bytes.
pub fn size(bytes: &[u8]) -> String {
    format!("{} bytes", bytes.len())
}

/// The first word, if it is letters of one case or a private verb. Base64 mixes cases and digits.
fn verb(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len());
    let word = bytes.get(..end).filter(|word| (1..=VERB_LIMIT).contains(&word.len()))?;
    let private = word.starts_with(b"X-") || word.starts_with(b"XEXCH");
    let plain = word.iter().all(u8::is_ascii_uppercase) || word.iter().all(u8::is_ascii_lowercase);
    let clean = word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    (plain || private && clean).then(|| core::str::from_utf8(word).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_and_a_count_is_all_that_is_kept() {
        assert_eq!(gist(b"GET / HTTP/1.1\r\n"), "GET, 16 bytes");
        assert_eq!(gist(b"X-EXPS GSSAPI\r\n"), "X-EXPS, 15 bytes");
        assert_eq!(gist(b" AUTH PLAIN AGFsaWNl\r\n"), "22 bytes");
        assert_eq!(gist(b"\x16\x03\x01"), "3 bytes");
        assert_eq!(gist(b""), "0 bytes");
    }

    #[test]
    fn credentials_are_not_kept() {
        for bytes in [
            "YWxpY2U=\r\n",
            "c2VjcmV0\r\n",
            "AGFsaWNlAHNlY3JldA==\r\n",
            "alice@example.test\r\n",
            "hunter2\r\n",
        ] {
            assert_eq!(gist(bytes.as_bytes()), format!("{} bytes", bytes.len()), "{bytes}");
        }
    }
}
