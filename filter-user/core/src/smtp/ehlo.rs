//! Which extensions a client is offered.
//!
//! An extension that we do not know may change the framing, and then we and the mail server would read different
//! messages out of the same bytes. So keywords pass by a list. XCLIENT and XFORWARD are not on it: they are ours to
//! use, not the client's. BINARYMIME is not: it allows what the line rules refuse.

use alloc::vec::Vec;

/// Keywords that pass, each because its framing is understood or it has none.
const PASSED: [&str; 14] = [
    "8BITMIME",
    "AUTH",
    "CHUNKING",
    "DELIVERBY",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "ETRN",
    "HELP",
    "LIMITS",
    "PIPELINING",
    "SIZE",
    "SMTPUTF8",
    "STARTTLS",
    "VRFY",
];

/// A positive reply to EHLO without the lines whose keyword does not pass; the greeting line always stays.
pub fn narrow(reply: &[u8]) -> Vec<u8> {
    let mut narrowed = Vec::with_capacity(reply.len());
    let mut last_start = 0;
    for (place, line) in reply.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if place == 0 || passes(line) {
            last_start = narrowed.len();
            narrowed.extend_from_slice(line);
        }
    }
    if let Some(separator) = narrowed.get_mut(last_start + 3).filter(|byte| **byte == b'-') {
        *separator = b' ';
    }
    narrowed
}

/// Whether a reply to EHLO offers an extension; the greeting line offers none.
pub fn offers(reply: &[u8], name: &str) -> bool {
    let mut lines = reply.split_inclusive(|byte| *byte == b'\n').skip(1);
    lines.any(|line| keyword(line).eq_ignore_ascii_case(name.as_bytes()))
}

fn passes(line: &[u8]) -> bool {
    PASSED.iter().any(|name| keyword(line).eq_ignore_ascii_case(name.as_bytes()))
}

fn keyword(line: &[u8]) -> &[u8] {
    let text = line.get(4..).unwrap_or_default().trim_ascii();
    // `AUTH=LOGIN` is how servers before RFC 4954 spelt it, and clients of that age still look for it.
    text.split(|byte| *byte == b' ' || *byte == b'=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileged_and_unknown_keywords_are_withheld() {
        let reply =
            b"250-mx.example\r\n250-SIZE 1000\r\n250-XCLIENT NAME ADDR\r\n250-auth=LOGIN\r\n250 X-NEW\r\n";
        assert_eq!(narrow(reply), b"250-mx.example\r\n250-SIZE 1000\r\n250 auth=LOGIN\r\n");
    }

    #[test]
    fn a_reply_without_any_known_keyword_is_one_line() {
        assert_eq!(narrow(b"250-mx.example\r\n250 XFORWARD NAME\r\n"), b"250 mx.example\r\n");
        assert_eq!(narrow(b"250 mx.example\r\n"), b"250 mx.example\r\n");
    }

    #[test]
    fn what_is_offered_stands_behind_the_greeting() {
        let reply = b"250-chunking\r\n250-SIZE 1000\r\n250 chunking\r\n";
        assert!(offers(reply, "SIZE") && offers(reply, "CHUNKING"));
        assert!(!offers(b"250 chunking\r\n", "CHUNKING") && !offers(reply, "DSN"));
    }

    #[test]
    fn an_honest_reply_is_not_touched() {
        let reply = b"250-mx.example\r\n250-PIPELINING\r\n250 DSN\r\n";
        assert_eq!(narrow(reply), reply);
    }
}
