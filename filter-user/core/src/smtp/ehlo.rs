//! Which extensions a client is offered.
//!
//! An extension that we do not know may change the framing, and then we and the mail server would read different
//! messages out of the same bytes. So keywords pass by a list. XCLIENT and XFORWARD are not on it: they are ours to
//! use, not the client's. BINARYMIME is not: it allows what the line rules refuse.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::smtp::bounds::Bounds;

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

/// A positive reply to EHLO without the lines whose keyword does not pass, and with our bounds where they are narrower than the mail
/// server's; the greeting line always stays.
pub fn narrow(reply: &[u8], bounds: &Bounds) -> Vec<u8> {
    let mut narrowed = Vec::with_capacity(reply.len());
    let mut last_start = 0;
    for (place, line) in reply.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if place == 0 || passes(line) {
            last_start = narrowed.len();
            match (place > 0).then(|| bounded(line, bounds)).flatten() {
                Some(ours) => narrowed.extend_from_slice(ours.as_bytes()),
                None => narrowed.extend_from_slice(line),
            }
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

/// A line whose number is larger than ours, with ours in it; none: it stays as it is.
fn bounded(line: &[u8], bounds: &Bounds) -> Option<String> {
    let text = core::str::from_utf8(line).ok()?.trim_ascii_end();
    let (code, offer) = text.split_at_checked(4)?;
    let mut words = offer.split_ascii_whitespace();
    let name = words.next()?;
    if name.eq_ignore_ascii_case("SIZE") {
        // RFC 1870 section 4: no number, or 0, is no fixed limit.
        let theirs = words.next().and_then(|number| number.parse().ok()).unwrap_or(0_u64);
        let narrower = theirs == 0 || bounds.is_too_big(theirs);
        return (bounds.message_size > 0 && narrower)
            .then(|| format!("{code}{name} {}\r\n", bounds.message_size));
    }
    if !name.eq_ignore_ascii_case("LIMITS") || bounds.recipients == 0 {
        return None;
    }
    // RFC 9422 section 3: `LIMITS SP NAME=value`; a name that is not there is no limit.
    let ours = format!("RCPTMAX={}", bounds.recipients);
    let mut line = format!("{code}{name}");
    let mut named = false;
    for word in words {
        let number = word.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("RCPTMAX"));
        named |= number.is_some();
        let theirs = number.map(|(_, number)| number.parse().unwrap_or(u32::MAX));
        let word = if theirs.is_some_and(|theirs| theirs > bounds.recipients) { &ours } else { word };
        line.extend([" ", word]);
    }
    if !named {
        line.extend([" ", &ours]);
    }
    line.push_str("\r\n");
    Some(line)
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
    use crate::smtp::bounds::LineEnds;

    const ANY: Bounds = Bounds { line_ends: LineEnds::Reject, text_line: 0, recipients: 0, message_size: 0 };

    #[test]
    fn numbers_are_narrowed_to_ours_and_never_widened() {
        let bounds = Bounds { recipients: 100, message_size: 5000, ..ANY };
        for (line, expected) in [
            ("SIZE 1000", "SIZE 1000"),
            ("SIZE 6000", "SIZE 5000"),
            ("size", "size 5000"),
            ("SIZE 0", "SIZE 5000"),
            ("LIMITS RCPTMAX=50 MAILMAX=9", "LIMITS RCPTMAX=50 MAILMAX=9"),
            ("LIMITS MAILMAX=9 RCPTMAX=500", "LIMITS MAILMAX=9 RCPTMAX=100"),
            ("LIMITS MAILMAX=9", "LIMITS MAILMAX=9 RCPTMAX=100"),
            ("DSN", "DSN"),
        ] {
            let whole = |line| alloc::format!("250-mx.example\r\n250-{line}\r\n250 HELP\r\n");
            assert_eq!(narrow(whole(line).as_bytes(), &bounds), whole(expected).as_bytes(), "{line}");
            assert_eq!(narrow(whole(line).as_bytes(), &ANY), whole(line).as_bytes(), "{line}");
        }
    }

    #[test]
    fn privileged_and_unknown_keywords_are_withheld() {
        let reply =
            b"250-mx.example\r\n250-SIZE 1000\r\n250-XCLIENT NAME ADDR\r\n250-auth=LOGIN\r\n250 X-NEW\r\n";
        assert_eq!(narrow(reply, &ANY), b"250-mx.example\r\n250-SIZE 1000\r\n250 auth=LOGIN\r\n");
    }

    #[test]
    fn a_reply_without_any_known_keyword_is_one_line() {
        assert_eq!(narrow(b"250-mx.example\r\n250 XFORWARD NAME\r\n", &ANY), b"250 mx.example\r\n");
        assert_eq!(narrow(b"250 mx.example\r\n", &ANY), b"250 mx.example\r\n");
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
        assert_eq!(narrow(reply, &ANY), reply);
    }
}
