//! Which replies of the mail server accuse the client.
//!
//! One file per kind of offence. The enhanced status code speaks first (RFC 3463), then the basic code together with
//! the command that it answers. A 4xx is never an offence: the server may be the one in trouble.

mod authentication;
mod gist;
mod recipient;
mod relay;
mod syntax;

pub use gist::{gist, size};

use crate::offence::Kind;
use crate::smtp::command::Verb;
use crate::smtp::reply::Reply;

/// The offence that a reply to a command shows, if any.
pub fn offence(verb: Verb, reply: &Reply<'_>) -> Option<Kind> {
    if !reply.is_refusal() {
        return None;
    }
    match verb {
        // RFC 4954 section 4 has a cancelled AUTH answered with 501.
        Verb::CancelAuth => None,
        Verb::Auth if authentication::refused(reply) => Some(Kind::BadAuthentication),
        Verb::Rcpt if relay::denied(reply) => Some(Kind::RelayDenied),
        Verb::Rcpt if recipient::unknown(reply) => Some(Kind::BadLocalRcpt),
        _ if syntax::broken(reply) => Some(Kind::SyntaxError),
        _ => None,
    }
}

/// Beginnings of the mechanisms that have names (RFC 4422 section 3.1); what else stands in their place may be a password.
const MECHANISMS: [&[u8]; 10] = [
    b"PLAIN",
    b"LOGIN",
    b"CRAM-MD5",
    b"DIGEST-MD5",
    b"SCRAM-SHA-",
    b"NTLM",
    b"GSSAPI",
    b"EXTERNAL",
    b"XOAUTH2",
    b"OAUTHBEARER",
];

/// What may be remembered of a command line: never more than the mechanism of an AUTH, whose argument is a password.
pub fn memorable(verb: Verb, line: &[u8]) -> &[u8] {
    if verb != Verb::Auth {
        return line;
    }
    let end_of_verb = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let rest = line.get(end_of_verb + 1..).unwrap_or_default();
    let size = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let known = MECHANISMS.iter().any(|name| match rest.get(..size) {
        Some(word) if name.ends_with(b"-") => {
            word.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        }
        Some(word) => word.eq_ignore_ascii_case(name),
        None => false,
    });
    let end = if known { end_of_verb + 1 + size } else { end_of_verb };
    line.get(..end).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::reply::front;

    fn check(verb: Verb, reply: &str, expected: Option<Kind>) {
        let bytes = alloc::format!("{reply}\r\n");
        assert_eq!(offence(verb, &front(bytes.as_bytes()).unwrap().unwrap()), expected, "{reply}");
    }

    #[test]
    fn refused_logins() {
        check(
            Verb::Auth,
            "535 5.7.8 Error: authentication failed: authentication failure",
            Some(Kind::BadAuthentication),
        );
        check(Verb::Auth, "535 Incorrect authentication data", Some(Kind::BadAuthentication));
        check(Verb::Auth, "535 5.7.3 Authentication unsuccessful", Some(Kind::BadAuthentication));
        check(Verb::Auth, "535 5.7.0 authentication rejected", Some(Kind::BadAuthentication));
        check(Verb::Auth, "525 5.7.13 account disabled", Some(Kind::BadAuthentication));
        check(Verb::Auth, "535 5.7.9 mechanism too weak", None);
        check(Verb::Auth, "535 5.7.11 encryption required", None);
        check(Verb::Auth, "535 5.5.4 no such mechanism", None);
        check(Verb::Auth, "530 5.7.0 must issue STARTTLS first", None);
        check(Verb::Auth, "454 4.7.0 Temporary authentication failure", None);
        check(Verb::Auth, "504 5.5.4 Unrecognized authentication type", None);
        check(Verb::Auth, "538 5.7.11 Encryption required", None);
        check(Verb::CancelAuth, "501 5.7.0 Authentication cancelled", None);
        check(Verb::Auth, "235 2.7.0 Authentication successful", None);
    }

    #[test]
    fn denied_relaying() {
        check(Verb::Rcpt, "554 5.7.1 <a@b.example>: Relay access denied", Some(Kind::RelayDenied));
        check(Verb::Rcpt, "550 5.7.1 Relaying not allowed! Bad sender IP address", Some(Kind::RelayDenied));
        check(Verb::Rcpt, "550 relay not permitted", Some(Kind::RelayDenied));
        check(Verb::Rcpt, "550 5.7.54 SMTP; Unable to relay recipient", Some(Kind::RelayDenied));
        check(Verb::Rcpt, "553 5.7.0 We do not relay.", Some(Kind::RelayDenied));
        check(Verb::Rcpt, "551 5.7.64 TenantAttribution; Relay Access Denied", Some(Kind::RelayDenied));
        check(Verb::Rcpt, "550 5.7.25 <relay.example[192.0.2.1]>: no PTR, see relay.example", None);
        check(Verb::Rcpt, "550 5.7.23 <x@relay.example>: SPF", None);
        check(Verb::Rcpt, "550 5.1.1 <x>: relay mailbox", Some(Kind::BadLocalRcpt));
        check(Verb::Rcpt, "530 5.7.1 log in before you relay", None);
        check(Verb::Plain, "554 5.7.1 sender refused", None);
        check(Verb::Rcpt, "454 4.7.1 Relay access denied", None);
    }

    #[test]
    fn unknown_recipients() {
        check(Verb::Rcpt, "550 5.1.1 <x@y.example>: Recipient address rejected", Some(Kind::BadLocalRcpt));
        check(Verb::Rcpt, "550 Unknown user", Some(Kind::BadLocalRcpt));
        check(Verb::Rcpt, "450 4.1.1 unverified", None);
        check(Verb::Rcpt, "550 5.2.2 mailbox full", None);
        check(Verb::Rcpt, "552 5.3.4 too big", None);
    }

    #[test]
    fn broken_syntax() {
        check(Verb::Plain, "500 5.5.2 Error: bad syntax", Some(Kind::SyntaxError));
        check(Verb::Rcpt, "503 5.5.1 Error: need MAIL command", Some(Kind::SyntaxError));
        check(Verb::Plain, "501 5.5.4 Syntax: MAIL FROM:<address>", Some(Kind::SyntaxError));
        check(Verb::Plain, "502 5.5.1 VRFY command is disabled", None);
        check(Verb::Data, "554 5.5.1 Error: no valid recipients", None);
    }

    #[test]
    fn no_password_is_remembered() {
        assert_eq!(memorable(Verb::Auth, b"AUTH PLAIN AGEAYg==\r\n"), b"AUTH PLAIN");
        assert_eq!(memorable(Verb::Auth, b"auth LOGIN\r\n"), b"auth LOGIN");
        assert_eq!(memorable(Verb::Auth, b"AUTH scram-sha-256-plus biws\r\n"), b"AUTH scram-sha-256-plus");
        assert_eq!(memorable(Verb::Auth, b"AUTH AGEAYg==\r\n"), b"AUTH");
        assert_eq!(memorable(Verb::Auth, b"AUTH  PLAIN AGEAYg==\r\n"), b"AUTH");
        assert_eq!(memorable(Verb::Auth, b"AUTH\r\n"), b"AUTH");
        assert_eq!(memorable(Verb::Rcpt, b"RCPT TO:<a@b.example>\r\n"), b"RCPT TO:<a@b.example>\r\n");
    }
}
