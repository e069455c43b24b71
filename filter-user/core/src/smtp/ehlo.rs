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

/// Who offers STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// The mail server, if it does.
    Theirs,
    /// We, in its place.
    Ours,
    /// Nobody.
    Nobodys,
}

/// Which ways to log in are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Those of the mail server.
    Any,
    /// Those of them that are not bound to the client's own TLS, which the mail server does not see: neither EXTERNAL (RFC 4422
    /// appendix A) nor any with channel binding (`-PLUS`, RFC 5802 section 6).
    Unbound,
    /// None.
    Withheld,
}

/// What is offered of what TLS changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Who offers STARTTLS.
    pub starttls: StartTls,
    /// Which ways to log in there are.
    pub auth: Auth,
}

/// A positive reply to EHLO without the lines whose keyword does not pass, and with our bounds where they are narrower than the mail
/// server's; the greeting line always stays.
pub fn narrow(reply: &[u8], offer: Offer, bounds: &Bounds) -> Vec<u8> {
    let mut narrowed = Vec::with_capacity(reply.len() + OURS.len() + 6);
    let mut last_start = 0;
    for (place, line) in reply.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let start = narrowed.len();
        match keyword(line) {
            _ if place == 0 => narrowed.extend_from_slice(line),
            _ if !passes(line) => {}
            word if word.eq_ignore_ascii_case(b"CHUNKING") && bounds.withholds_chunking() => {}
            word if word.eq_ignore_ascii_case(b"STARTTLS") && offer.starttls != StartTls::Theirs => {}
            word if word.eq_ignore_ascii_case(b"AUTH") && offer.auth != Auth::Any => {
                if offer.auth == Auth::Unbound {
                    unbound(line, word.len(), &mut narrowed);
                }
            }
            _ => match bounded(line, bounds) {
                Some(ours) => narrowed.extend_from_slice(ours.as_bytes()),
                None => narrowed.extend_from_slice(line),
            },
        }
        if narrowed.len() > start {
            last_start = start;
        }
    }
    if offer.starttls == StartTls::Ours {
        if let Some(separator) = narrowed.get_mut(last_start + 3) {
            *separator = b'-';
        }
        last_start = narrowed.len();
        narrowed.extend_from_slice(reply.get(..3).unwrap_or_default());
        narrowed.extend_from_slice(OURS);
    }
    if let Some(separator) = narrowed.get_mut(last_start + 3).filter(|byte| **byte == b'-') {
        *separator = b' ';
    }
    narrowed
}

/// Our own line, behind its code.
const OURS: &[u8] = b" STARTTLS\r\n";

/// An AUTH line without the ways that are bound to a TLS which is not the mail server's; nothing if none is left.
fn unbound(line: &[u8], keyword: usize, narrowed: &mut Vec<u8>) {
    let bound = |name: &[u8]| {
        let end = name.get(name.len().saturating_sub(5)..).unwrap_or_default();
        name.eq_ignore_ascii_case(b"EXTERNAL") || end.eq_ignore_ascii_case(b"-PLUS")
    };
    let (head, names) = line.trim_ascii_end().split_at((4 + keyword + 1).min(line.trim_ascii_end().len()));
    let mut left =
        names.split(|byte| *byte == b' ').filter(|name| !name.is_empty() && !bound(name)).peekable();
    if left.peek().is_none() {
        return;
    }
    narrowed.extend_from_slice(head.trim_ascii_end());
    for (place, name) in left.enumerate() {
        if place > 0 || !head.ends_with(b"=") {
            narrowed.push(b' ');
        }
        narrowed.extend_from_slice(name);
    }
    narrowed.extend_from_slice(b"\r\n");
}

/// The size that a reply to EHLO announces as the largest (RFC 1870 section 4); none: there is no fixed one.
pub fn largest(reply: &[u8]) -> Option<u64> {
    let line = reply
        .split_inclusive(|byte| *byte == b'\n')
        .skip(1)
        .find(|line| keyword(line).eq_ignore_ascii_case(b"SIZE"))?;
    let number = core::str::from_utf8(line.get(4..)?).ok()?.split_ascii_whitespace().nth(1)?;
    number.parse().ok().filter(|size| *size > 0)
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

    const ANY: Bounds = Bounds {
        line_ends: LineEnds::Reject,
        text_line: 0,
        recipients: 0,
        message_size: 0,
        errors: 0,
        commands: 0,
    };

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
            assert_eq!(narrow(whole(line).as_bytes(), THEIRS, &bounds), whole(expected).as_bytes(), "{line}");
            assert_eq!(narrow(whole(line).as_bytes(), THEIRS, &ANY), whole(line).as_bytes(), "{line}");
        }
    }

    const THEIRS: Offer = Offer { starttls: StartTls::Theirs, auth: Auth::Any };

    #[test]
    fn privileged_and_unknown_keywords_are_withheld() {
        let reply =
            b"250-mx.example\r\n250-SIZE 1000\r\n250-XCLIENT NAME ADDR\r\n250-auth=LOGIN\r\n250 X-NEW\r\n";
        assert_eq!(narrow(reply, THEIRS, &ANY), b"250-mx.example\r\n250-SIZE 1000\r\n250 auth=LOGIN\r\n");
    }

    #[test]
    fn a_reply_without_any_known_keyword_is_one_line() {
        assert_eq!(narrow(b"250-mx.example\r\n250 XFORWARD NAME\r\n", THEIRS, &ANY), b"250 mx.example\r\n");
        assert_eq!(narrow(b"250 mx.example\r\n", THEIRS, &ANY), b"250 mx.example\r\n");
    }

    #[test]
    fn what_is_offered_stands_behind_the_greeting() {
        let reply = b"250-chunking\r\n250-SIZE 1000\r\n250 chunking\r\n";
        assert_eq!((largest(reply), largest(b"250-SIZE 9\r\n250-SIZE 0\r\n250 DSN\r\n")), (Some(1000), None));
        assert!(offers(reply, "SIZE") && offers(reply, "CHUNKING"));
        assert!(!offers(b"250 chunking\r\n", "CHUNKING") && !offers(reply, "DSN"));
    }

    #[test]
    fn chunks_are_not_offered_where_lines_are_mended() {
        let bounds = Bounds { line_ends: LineEnds::Normalize, ..ANY };
        let reply = b"250-mx.example\r\n250-PIPELINING\r\n250 Chunking\r\n";
        assert_eq!(narrow(reply, THEIRS, &bounds), b"250-mx.example\r\n250 PIPELINING\r\n");
    }

    #[test]
    fn an_honest_reply_is_not_touched() {
        let reply = b"250-mx.example\r\n250-PIPELINING\r\n250 DSN\r\n";
        assert_eq!(narrow(reply, THEIRS, &ANY), reply);
    }

    #[test]
    fn where_tls_ends_at_us_starttls_is_ours() {
        let ours = Offer { starttls: StartTls::Ours, auth: Auth::Withheld };
        let inside = Offer { starttls: StartTls::Nobodys, auth: Auth::Unbound };
        let reply = b"250-mx.example\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250 DSN\r\n";
        assert_eq!(narrow(reply, ours, &ANY), b"250-mx.example\r\n250-DSN\r\n250 STARTTLS\r\n");
        assert_eq!(narrow(reply, inside, &ANY), b"250-mx.example\r\n250-AUTH PLAIN LOGIN\r\n250 DSN\r\n");
        assert_eq!(narrow(b"250 mx.example\r\n", ours, &ANY), b"250-mx.example\r\n250 STARTTLS\r\n");
        assert_eq!(narrow(b"250-mx.example\r\n250 STARTTLS\r\n", inside, &ANY), b"250 mx.example\r\n");
    }

    #[test]
    fn logins_that_are_bound_to_another_tls_are_withheld() {
        let inside = Offer { starttls: StartTls::Nobodys, auth: Auth::Unbound };
        let narrowed =
            |line: &[u8]| narrow(&[b"250-a\r\n250-DSN\r\n250 ", line, b"\r\n"].concat(), inside, &ANY);
        assert_eq!(
            narrowed(b"AUTH PLAIN SCRAM-SHA-256-PLUS external SCRAM-SHA-256"),
            b"250-a\r\n250-DSN\r\n250 AUTH PLAIN SCRAM-SHA-256\r\n"
        );
        assert_eq!(narrowed(b"AUTH=EXTERNAL LOGIN"), b"250-a\r\n250-DSN\r\n250 AUTH=LOGIN\r\n");
        for nothing in [&b"AUTH EXTERNAL"[..], b"auth scram-sha-1-plus", b"AUTH", b"AUTH="] {
            assert_eq!(narrowed(nothing), b"250-a\r\n250 DSN\r\n", "{nothing:?}");
        }
    }
}
