//! Replies as real servers word them, and what they mean.

use super::*;
use crate::smtp::reply::front;

fn classify(stage: Stage, reply: &str, patterns: &[ReplyPattern]) -> Option<Kind> {
    let bytes = alloc::format!("{reply}\r\n");
    offence(stage, &front(bytes.as_bytes()).unwrap().unwrap(), patterns)
}

#[track_caller]
fn check(stage: Stage, reply: &str, expected: Option<Kind>) {
    assert_eq!(classify(stage, reply, &[]), expected, "{reply}");
}

#[test]
fn refused_logins() {
    check(
        Stage::Auth,
        "535 5.7.8 Error: authentication failed: authentication failure",
        Some(Kind::BadAuthentication),
    );
    check(Stage::Auth, "535 Incorrect authentication data", Some(Kind::BadAuthentication));
    check(Stage::Auth, "535 5.7.3 Authentication unsuccessful", Some(Kind::BadAuthentication));
    check(Stage::Auth, "535 5.7.0 authentication rejected", Some(Kind::BadAuthentication));
    check(Stage::Auth, "525 5.7.13 account disabled", Some(Kind::BadAuthentication));
    check(Stage::Auth, "535 5.7.9 mechanism too weak", None);
    check(Stage::Auth, "535 5.7.11 encryption required", None);
    check(Stage::Auth, "535 5.5.4 no such mechanism", None);
    check(Stage::Auth, "554 5.7.8 Authentication mechanism not supported.", None);
    check(Stage::Auth, "550 5.7.1 Your account is not authorized to use this service.", None);
    check(Stage::Auth, "530 5.7.0 must issue STARTTLS first", None);
    check(Stage::Auth, "454 4.7.0 Temporary authentication failure", None);
    check(Stage::Auth, "504 5.5.4 Unrecognized authentication type", None);
    check(Stage::Auth, "538 5.7.11 Encryption required", None);
    assert_eq!(Stage::of(Verb::CancelAuth), None);
    check(Stage::Auth, "235 2.7.0 Authentication successful", None);
}

#[test]
fn denied_relaying() {
    check(Stage::Rcpt, "554 5.7.1 <a@b.example>: Relay access denied", Some(Kind::RelayDenied));
    check(Stage::Rcpt, "550 5.7.1 Relaying not allowed! Bad sender IP address", Some(Kind::RelayDenied));
    check(Stage::Rcpt, "550 relay not permitted", Some(Kind::RelayDenied));
    check(Stage::Rcpt, "550 5.7.54 SMTP; Unable to relay recipient", Some(Kind::RelayDenied));
    check(Stage::Rcpt, "553 5.7.0 We do not relay.", Some(Kind::RelayDenied));
    check(Stage::Rcpt, "551 5.7.64 TenantAttribution; Relay Access Denied", Some(Kind::RelayDenied));
    check(Stage::Rcpt, "550 5.7.25 <relay.example[192.0.2.1]>: no PTR, see relay.example", None);
    check(Stage::Rcpt, "550 5.7.23 <x@relay.example>: SPF", Some(Kind::Spf));
    check(Stage::Rcpt, "550 5.1.1 <x>: relay mailbox", Some(Kind::BadLocalRcpt));
    check(Stage::Rcpt, "530 5.7.1 log in before you relay", None);
    check(Stage::Other, "554 5.7.1 sender refused", None);
    check(Stage::Rcpt, "454 4.7.1 Relay access denied", None);
}

#[test]
fn unknown_recipients() {
    check(Stage::Rcpt, "550 5.1.1 <x@y.example>: Recipient address rejected", Some(Kind::BadLocalRcpt));
    check(Stage::Rcpt, "550 Unknown user", Some(Kind::BadLocalRcpt));
    check(Stage::Rcpt, "450 4.1.1 unverified", None);
    check(Stage::Rcpt, "550 5.2.2 mailbox full", None);
    check(Stage::Rcpt, "552 5.3.4 too big", None);
}

#[test]
fn broken_syntax() {
    check(Stage::Other, "500 5.5.2 Error: bad syntax", Some(Kind::SyntaxError));
    check(Stage::Rcpt, "503 5.5.1 Error: need MAIL command", Some(Kind::SyntaxError));
    check(Stage::Other, "501 5.5.4 Syntax: MAIL FROM:<address>", Some(Kind::SyntaxError));
    check(Stage::Other, "502 5.5.1 VRFY command is disabled", None);
    check(Stage::Message, "554 5.5.1 Error: no valid recipients", None);
}

#[test]
fn servers_without_enhanced_codes_are_understood_by_their_words() {
    for (stage, reply, kind) in [
        // Postfix, postscreen, amavis, rspamd, ClamAV's milter.
        (
            Stage::Rcpt,
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            Kind::Dnsbl,
        ),
        (
            Stage::Rcpt,
            "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org",
            Kind::Dnsbl,
        ),
        (
            Stage::Connect,
            "521 5.7.1 Service unavailable; client [192.0.2.1] blocked using dnsbl.example",
            Kind::Dnsbl,
        ),
        (
            Stage::Rcpt,
            "550 5.7.23 <b@b.example>: Recipient address rejected: Message rejected due to: SPF fail",
            Kind::Spf,
        ),
        (Stage::Mail, "552 5.3.4 Message size exceeds fixed limit", Kind::TooBig),
        (Stage::Message, "552 5.3.4 Error: message file too big", Kind::TooBig),
        (Stage::Message, "554 5.7.0 Reject, id=12345-01 - INFECTED: Eicar-Signature", Kind::Virus),
        (Stage::Message, "554 5.7.0 Reject, id=12345-01 - spam", Kind::Spam),
        (Stage::Message, "554 5.7.0 Reject, id=12345-01 - BANNED: .exe,evil.exe", Kind::BlockedAttachment),
        (Stage::Message, "554 5.7.1 Spam message rejected", Kind::Spam),
        (Stage::Message, "550 5.7.1 Gtube pattern", Kind::Spam),
        (
            Stage::Message,
            "550 5.7.1 virus Eicar-Test-Signature detected by ClamAV - http://www.clamav.net",
            Kind::Virus,
        ),
        (Stage::Message, "550 5.7.1 Blocked by SpamAssassin", Kind::Spam),
        (Stage::Message, "550 5.7.1 message content rejected", Kind::RuleMatched),
        (Stage::Message, "550 5.7.1 Command rejected", Kind::RuleMatched),
        // Exim.
        (Stage::Rcpt, "550 relay not permitted", Kind::RelayDenied),
        (Stage::Rcpt, "550 Unrouteable address", Kind::BadLocalRcpt),
        (
            Stage::Rcpt,
            "550-rejected because 192.0.2.1\r\n550 is in a black list at zen.spamhaus.org",
            Kind::Dnsbl,
        ),
        (Stage::Rcpt, "550 SPF check failed", Kind::Spf),
        (Stage::Mail, "552 Message size exceeds maximum permitted", Kind::TooBig),
        (Stage::Message, "550 This message contains a virus (Eicar).", Kind::Virus),
        (Stage::Message, "550 This message contains malware", Kind::Virus),
        (Stage::Message, "550 This message was classified as SPAM", Kind::Spam),
        (
            Stage::Message,
            "550 This message contains an attachment of a type which we do not accept (.exe)",
            Kind::BlockedAttachment,
        ),
        (Stage::Message, "550 Administrative prohibition: content policy", Kind::RuleMatched),
        // Exchange.
        (Stage::Rcpt, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", Kind::RelayDenied),
        (
            Stage::Rcpt,
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
            Kind::BadLocalRcpt,
        ),
        (Stage::Rcpt, "550 5.4.1 Recipient address rejected: Access denied", Kind::BadLocalRcpt),
        (
            Stage::Rcpt,
            "550 5.7.1 Recipient not authorized, your IP has been found on a block list",
            Kind::Dnsbl,
        ),
        (Stage::Mail, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", Kind::Dnsbl),
        (Stage::Mail, "550 5.7.1 Sender ID (PRA) Not Permitted", Kind::Spf),
        (Stage::Message, "550 5.7.1 Message rejected as spam by Content Filtering.", Kind::Spam),
        (
            Stage::Message,
            "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy",
            Kind::RuleMatched,
        ),
        // OpenSMTPD, Stalwart.
        (Stage::Rcpt, "550 Invalid recipient: <x@b.example>", Kind::BadLocalRcpt),
        (Stage::Rcpt, "524 5.2.4 Mailing list expansion problem: <x@b.example>", Kind::BadLocalRcpt),
        (Stage::Mail, "553 5.1.0 Sender address syntax error", Kind::SyntaxError),
        (Stage::Rcpt, "550 5.1.2 Relay not allowed.", Kind::RelayDenied),
        (Stage::Rcpt, "550 5.1.2 Mailbox does not exist.", Kind::BadLocalRcpt),
        (Stage::Auth, "535 5.7.8 Authentication credentials invalid.", Kind::BadAuthentication),
        (Stage::Message, "552 5.3.4 Message too big for system.", Kind::TooBig),
        (Stage::Auth, "535 Authentication failed", Kind::BadAuthentication),
        (Stage::Mail, "552 5.3.4 Message too big for system.", Kind::TooBig),
        (Stage::Mail, "550 5.7.23 SPF validation failed.", Kind::Spf),
        (Stage::Message, "550 5.7.1 Message rejected due to excessive spam score.", Kind::Spam),
        (Stage::Message, "550 5.7.1 Email rejected per DMARC policy.", Kind::RuleMatched),
        (Stage::Other, "501 5.5.2 Syntax error, expected: EHLO Domain", Kind::SyntaxError),
        (Stage::Auth, "500 5.5.6 Invalid challenge.", Kind::SyntaxError),
        (Stage::Other, "500 5.5.1 Invalid command: Command unrecognized", Kind::SyntaxError),
        (Stage::Rcpt, "503 5.5.1 MAIL is required first.", Kind::SyntaxError),
        // VPOP3.
        (Stage::Rcpt, "550 5.7.1 Relaying not allowed! Bad sender IP address", Kind::RelayDenied),
        (Stage::Message, "552 5.2.3 Message too large - contact your administrator", Kind::TooBig),
    ] {
        check(stage, reply, Some(kind));
    }
}

#[test]
fn what_is_nobodys_fault_accuses_nobody() {
    for (stage, reply) in [
        (Stage::Message, "554 5.4.6 Too many hops"),
        (Stage::Message, "554 Too many hops, this message is looping"),
        (Stage::Message, "552 5.2.2 Mailbox full, no room for this message"),
        (Stage::Message, "554 5.3.0 Error: queue file write error"),
        (Stage::Message, "451 4.7.1 Spam, try later"),
        (Stage::Rcpt, "552 Mailbox size exceeded"),
        (Stage::Rcpt, "550 5.2.4 Mailing list expansion problem"),
        (Stage::Mail, "553 5.1.8 Sender address rejected: no such domain"),
        (Stage::Rcpt, "550 Sender verify failed"),
        (Stage::Rcpt, "550 Administrative prohibition"),
        (Stage::Rcpt, "550 5.7.24 <b@b.example>: SPF could not be checked"),
        (Stage::Mail, "554 5.7.1 Sender address <x@spam.example> rejected: dbl lists spam.example"),
        (Stage::Other, "554 5.7.1 spam virus"),
    ] {
        check(stage, reply, None);
    }
}

#[test]
fn a_pattern_speaks_where_the_enhanced_code_does_not() {
    let pattern = |stage, text, kind| ReplyPattern { stage, pattern: Pattern::new(text).unwrap(), kind };
    let patterns = [
        pattern(Some(Stage::Rcpt), "^kein postfach", Some(Kind::BadLocalRcpt)),
        pattern(None, "wartung", None),
        pattern(None, "unerw.nscht", Some(Kind::Spam)),
    ];
    let kind = |stage, reply| classify(stage, reply, &patterns);
    assert_eq!(kind(Stage::Rcpt, "553 Kein Postfach fuer x"), Some(Kind::BadLocalRcpt));
    assert_eq!(kind(Stage::Message, "553 Kein Postfach fuer x"), None);
    assert_eq!(kind(Stage::Rcpt, "550 Wartung"), None, "otherwise an unknown recipient");
    assert_eq!(kind(Stage::Mail, "554-Guten Tag\r\n554 unerwuenscht"), None);
    assert_eq!(
        kind(Stage::Mail, "554-Guten Tag\r\n554 unerw\u{fc}nscht"),
        None,
        "two bytes are no single one"
    );
    assert_eq!(kind(Stage::Mail, "554 unerwonscht"), Some(Kind::Spam));
    assert_eq!(kind(Stage::Rcpt, "550 5.1.1 Wartung"), Some(Kind::BadLocalRcpt), "the code has said it");
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
