//! What a client does wrong, as far as bytes and replies show it.
//!
//! One file per kind of offence. Of a reply the enhanced status code speaks first (RFC 2034 section 4, RFC 3463 section 3), then the administrator's
//! patterns, then the basic code together with the command that it answers and with its words. A 4xx is never an offence: the
//! server may be the one in trouble.

mod addressee;
mod authentication;
mod dnsbl;
mod foreign;
mod gist;
mod part;
mod pattern;
mod probe;
mod recipient;
mod relay;
mod rule;
mod size;
mod spam;
mod spf;
mod stage;
mod syntax;
mod virus;
mod words;

pub use addressee::{Addressee, Recipients};
pub use foreign::{is_binary, is_foreign, protocol};
pub use gist::{gist, size};
pub use pattern::{Pattern, PatternError, ReplyPattern};
pub use probe::Probes;
pub use stage::Stage;

use crate::offence::Kind;
use crate::smtp::command::Verb;
use crate::smtp::reply::Reply;
use words::Words;

/// The offence that a reply shows, if any.
pub fn offence(stage: Stage, reply: &Reply<'_>, patterns: &[ReplyPattern]) -> Option<Kind> {
    if !reply.is_refusal() {
        return None;
    }
    if let Some(kind) = told(stage, reply) {
        return Some(kind);
    }
    if let Some(found) = patterns.iter().find(|pattern| pattern.is_about(stage, reply)) {
        return found.kind;
    }
    meant(stage, reply, &Words::of(reply))
}

/// What the enhanced status code says by itself.
fn told(stage: Stage, reply: &Reply<'_>) -> Option<Kind> {
    match stage {
        Stage::Auth if authentication::told(reply) => Some(Kind::BadAuthentication),
        Stage::Rcpt if recipient::told(reply) => Some(Kind::BadLocalRcpt),
        Stage::Rcpt if relay::told(reply) => Some(Kind::RelayDenied),
        Stage::Mail | Stage::Message if size::told(reply) => Some(Kind::TooBig),
        Stage::Auth | Stage::Other => None,
        _ if spf::told(reply) => Some(Kind::Spf),
        _ if dnsbl::told(reply) => Some(Kind::Dnsbl),
        _ => None,
    }
}

/// What the basic code, the command and the words say together.
fn meant(stage: Stage, reply: &Reply<'_>, words: &Words) -> Option<Kind> {
    match stage {
        Stage::Auth if authentication::refused(reply) => Some(Kind::BadAuthentication),
        _ if syntax::broken(reply, words) => Some(Kind::SyntaxError),
        Stage::Auth | Stage::Other => None,
        _ if dnsbl::listed(reply, words) => Some(Kind::Dnsbl),
        _ if spf::failed(reply, words) => Some(Kind::Spf),
        Stage::Rcpt if relay::denied(reply, words) => Some(Kind::RelayDenied),
        Stage::Rcpt if recipient::unknown(reply, words) => Some(Kind::BadLocalRcpt),
        Stage::Mail | Stage::Message if size::exceeded(reply, words) => Some(Kind::TooBig),
        Stage::Message if is_about_content(reply) => content(reply, words),
        _ => None,
    }
}

/// Whether the enhanced code, if there is one, leaves room for what a message holds: media (5.6), policy (5.7) or nothing in
/// particular. Others speak of mailboxes, loops and the server itself.
const fn is_about_content(reply: &Reply<'_>) -> bool {
    match reply.enhanced {
        Some(code) => matches!(code.1, 0 | 6 | 7),
        None => true,
    }
}

/// What was wrong with a whole message.
fn content(reply: &Reply<'_>, words: &Words) -> Option<Kind> {
    match () {
        () if part::partial(words) => Some(Kind::PartialMessage),
        () if virus::found(words) => Some(Kind::Virus),
        () if part::banned(words) => Some(Kind::BlockedAttachment),
        () if spam::found(words) => Some(Kind::Spam),
        () if rule::matched(reply, words) => Some(Kind::RuleMatched),
        () => None,
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
mod tests;
