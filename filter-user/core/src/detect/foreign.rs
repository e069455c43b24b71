//! Other protocols than SMTP.
//!
//! Browsers, proxies and scanners speak HTTP, TLS or bytes of their own to every port. What follows the first line of such a
//! client is no command either, so the session ends there.

use alloc::format;
use alloc::string::String;

use crate::offence::printable;

/// Methods that no mail client ever sends as a verb (RFC 9110 section 9, RFC 9113 section 3.4; Postfix forbids the first three).
const METHODS: [&[u8]; 10] =
    [b"GET", b"POST", b"CONNECT", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"PRI"];

/// Whether bytes at a place where a command begins are no text: a TLS record begins with 0x16, SOCKS with 4 or 5, RDP with 3.
pub fn is_binary(bytes: &[u8]) -> bool {
    let text = |byte: &u8| !byte.is_ascii_control() || b"\r\n\t\x0b\x0c\x7f".contains(byte);
    !bytes.first().is_none_or(text)
}

/// Whether a line at a place where a command begins belongs to another protocol.
pub fn is_foreign(line: &[u8]) -> bool {
    let (word, rest) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
    METHODS.contains(&word) && !rest.is_empty() || line.starts_with(b"SSH-2.0-") || is_binary(line)
}

/// What is remembered of such bytes, however many of them are there yet.
pub fn protocol(bytes: &[u8]) -> String {
    match bytes.first() {
        Some(first) if is_binary(bytes) => format!("first byte {first:#04x}"),
        _ => printable(bytes.split(u8::is_ascii_whitespace).next().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"CONNECT mail.example:25 HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n",
            b"\x16\x03\x01",
            b"\x05\x01\x00",
            b"\0",
            b"SSH-2.0-x",
        ] {
            assert!(is_foreign(bytes) && !protocol(bytes).is_empty(), "{bytes:?}");
        }
        for bytes in
            [&b"EHLO a\r\n"[..], b"GET\r\n", b"get me\r\n", b"\r\n", b"\tDATA\r\n", b"HELP GET\r\n", b""]
        {
            assert!(!is_foreign(bytes), "{bytes:?}");
        }
    }
}
