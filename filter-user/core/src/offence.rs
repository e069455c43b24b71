//! What a client can do wrong, and the number that the world knows it by.
//!
//! Numbers 0 to 13 are those of VPOP3's event log; ours start at 100. An offence is a fact: what it costs is in
//! [`crate::policy`], what follows from it in [`crate::engine`].

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::service::ServiceName;

/// The kinds of offence that are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[repr(u16)]
pub enum Kind {
    /// AUTH refused: wrong credentials.
    BadAuthentication = 0,
    /// RCPT refused because nobody relays for this client.
    RelayDenied = 1,
    /// RCPT to a foreign domain accepted.
    RelayAllowed = 2,
    /// RCPT to a local recipient that does not exist.
    BadLocalRcpt = 3,
    /// RCPT to a local recipient accepted.
    GoodLocalRcpt = 4,
    /// The mail server refused the message as spam.
    Spam = 5,
    /// The mail server refused the message as infected.
    Virus = 6,
    /// The mail server refused the message by one of its rules.
    RuleMatched = 7,
    /// A DNS block list lists the client.
    Dnsbl = 8,
    /// Unknown command, bad arguments or wrong order.
    SyntaxError = 9,
    /// A message over the size limit.
    TooBig = 10,
    /// An attachment whose name is blocked.
    BlockedAttachment = 11,
    /// One part of a message that was cut into several (message/partial).
    PartialMessage = 12,
    /// The sender's domain does not let this client send for it (SPF).
    Spf = 13,
    /// The client spoke before it was greeted.
    EarlyTalker = 100,
    /// A command sent before the reply that it had to wait for.
    UnauthorisedPipelining = 101,
    /// A line ended with a bare LF or CR, or a NUL inside one.
    BareNewline = 102,
    /// Bytes sent behind STARTTLS before TLS had begun.
    PlaintextAfterStarttls = 103,
    /// Another protocol than SMTP.
    NonSmtp = 104,
    /// Answered 421 by a session limit.
    SessionOverflow = 105,
    /// A command or the whole session ran out of time.
    Timeout = 106,
    /// RCPT to an address that nobody ever had.
    TrapRecipient = 107,
    /// A TLS handshake that cannot succeed.
    TlsFailure = 108,
    /// A failed login that another service reported.
    FailedLogin = 109,
    /// A session without a transaction, again.
    UnfinishedSession = 110,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 25] = [
        Self::BadAuthentication,
        Self::RelayDenied,
        Self::RelayAllowed,
        Self::BadLocalRcpt,
        Self::GoodLocalRcpt,
        Self::Spam,
        Self::Virus,
        Self::RuleMatched,
        Self::Dnsbl,
        Self::SyntaxError,
        Self::TooBig,
        Self::BlockedAttachment,
        Self::PartialMessage,
        Self::Spf,
        Self::EarlyTalker,
        Self::UnauthorisedPipelining,
        Self::BareNewline,
        Self::PlaintextAfterStarttls,
        Self::NonSmtp,
        Self::SessionOverflow,
        Self::Timeout,
        Self::TrapRecipient,
        Self::TlsFailure,
        Self::FailedLogin,
        Self::UnfinishedSession,
    ];

    /// The number in logs and tables.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The name in logs and tables; with `_` for `-` and `_multiplier` behind it, the setting that weighs it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadAuthentication => "bad-authentication",
            Self::RelayDenied => "relay-denied",
            Self::RelayAllowed => "relay-allowed",
            Self::BadLocalRcpt => "bad-local-rcpt",
            Self::GoodLocalRcpt => "good-local-rcpt",
            Self::Spam => "spam",
            Self::Virus => "virus",
            Self::RuleMatched => "rule-matched",
            Self::Dnsbl => "dnsbl",
            Self::SyntaxError => "syntax-error",
            Self::TooBig => "too-big",
            Self::BlockedAttachment => "blocked-attachment",
            Self::PartialMessage => "partial-message",
            Self::Spf => "spf",
            Self::EarlyTalker => "early-talker",
            Self::UnauthorisedPipelining => "unauthorised-pipelining",
            Self::BareNewline => "bare-newline",
            Self::PlaintextAfterStarttls => "plaintext-after-starttls",
            Self::NonSmtp => "non-smtp",
            Self::SessionOverflow => "session-overflow",
            Self::Timeout => "timeout",
            Self::TrapRecipient => "trap-recipient",
            Self::TlsFailure => "tls-failure",
            Self::FailedLogin => "failed-login",
            Self::UnfinishedSession => "unfinished-session",
        }
    }

    /// The multiplier that it has unless the configuration says otherwise.
    pub const fn default_multiplier(self) -> u32 {
        match self {
            Self::RelayAllowed | Self::GoodLocalRcpt | Self::SessionOverflow | Self::FailedLogin => 0,
            Self::UnfinishedSession => 5,
            Self::TooBig => 10,
            Self::SyntaxError | Self::Timeout | Self::TlsFailure => 20,
            Self::BadAuthentication | Self::BadLocalRcpt | Self::Spf | Self::UnauthorisedPipelining => 50,
            Self::RelayDenied
            | Self::Spam
            | Self::RuleMatched
            | Self::Dnsbl
            | Self::BlockedAttachment
            | Self::PartialMessage
            | Self::EarlyTalker
            | Self::BareNewline => 100,
            Self::NonSmtp => 200,
            Self::Virus | Self::PlaintextAfterStarttls | Self::TrapRecipient => 300,
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is a login that failed, which the login component counts.
    pub const fn is_failed_login(self) -> bool {
        matches!(self, Self::BadAuthentication | Self::FailedLogin)
    }

    /// This kind's place in a table of all kinds.
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|kind| *kind == self).unwrap_or(0)
    }
}

/// One thing that a client did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// What it was.
    pub kind: Kind,
    /// The recipient, the command or the reply it was recognised by: printable ASCII, at most [`DETAIL_LIMIT`] bytes.
    pub detail: String,
    /// Where it happened.
    pub service: ServiceName,
    /// Of a login: whose account, if that is known; printable ASCII, at most [`ACCOUNT_LIMIT`] bytes.
    pub account: Option<String>,
    /// Of a failed login: which credentials, if they can be told apart.
    pub credentials: Option<Fingerprint>,
}

/// A keyed hash of credentials. It tells the same from others, and nobody without the key can try passwords against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// Longest detail that is kept of an offence, in bytes.
pub const DETAIL_LIMIT: usize = 200;
/// Longest account name that is kept, in bytes.
pub const ACCOUNT_LIMIT: usize = 64;

impl Offence {
    /// An offence with what the client sent as its detail.
    pub fn new(kind: Kind, detail: &[u8]) -> Self {
        Self::known_by(kind, printable(detail))
    }

    /// An offence with a detail that is printable already.
    pub const fn known_by(kind: Kind, detail: String) -> Self {
        Self { kind, detail, service: ServiceName::SMTP, account: None, credentials: None }
    }

    /// At another service than `smtp`.
    #[must_use]
    pub const fn at(mut self, service: ServiceName) -> Self {
        self.service = service;
        self
    }

    /// About an account, as somebody named it; nobody, if the name is empty.
    #[must_use]
    pub fn of(mut self, account: &[u8]) -> Self {
        self.account = Some(account_name(account)).filter(|name| !name.is_empty());
        self
    }
}

/// The name of an account as it is kept: printable and short.
pub fn account_name(bytes: &[u8]) -> String {
    printable(bytes.get(..ACCOUNT_LIMIT).unwrap_or(bytes))
}

/// What somebody sent, made safe for terminals and logs: it can neither forge a line nor fill one.
pub fn printable(bytes: &[u8]) -> String {
    let safe = |&byte: &u8| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    bytes.trim_ascii().iter().take(DETAIL_LIMIT).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_single_default_event_reaches_the_threshold() {
        assert!(Kind::ALL.iter().all(|kind| kind.default_multiplier() < 1000));
    }

    #[test]
    fn every_kind_has_its_own_place() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), place);
        }
    }

    #[test]
    fn details_cannot_forge_a_line() {
        assert_eq!(Offence::new(Kind::SyntaxError, b"a\r\nb\x1b[2J\xff").detail, "a??b?[2J?");
        assert_eq!(Offence::new(Kind::SyntaxError, &[b'x'; 1000]).detail.len(), DETAIL_LIMIT);
    }
}
