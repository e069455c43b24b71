//! Whom a RCPT names: somebody of ours, somebody elsewhere, or nobody ever.

use alloc::string::String;

use hashbrown::HashSet;

use crate::offence::Kind;
use crate::smtp::reply::Reply;

/// What the administrator knows of recipients; domains and addresses in lower case.
#[derive(Debug, Clone, Default)]
pub struct Recipients {
    /// Domains whose mail ends here; empty: foreign ones are not told apart.
    pub local_domains: HashSet<String>,
    /// Addresses that nobody ever had.
    pub traps: HashSet<String>,
}

/// Whom a RCPT names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressee {
    /// An address that nobody ever had.
    Trap,
    /// A recipient of a local domain.
    Local,
    /// A recipient elsewhere.
    Foreign,
    /// Nobody knows.
    Untold,
}

impl Recipients {
    /// Says whom the line of a RCPT names.
    pub fn addressee(&self, line: &[u8]) -> Addressee {
        if self.local_domains.is_empty() && self.traps.is_empty() {
            return Addressee::Untold;
        }
        let Some(address) = address(line) else { return Addressee::Untold };
        if self.traps.contains(&address) {
            return Addressee::Trap;
        }
        match address.rsplit_once('@') {
            _ if self.local_domains.is_empty() => Addressee::Untold,
            // An address literal may well be ours.
            Some((_, domain)) if domain.starts_with('[') => Addressee::Untold,
            Some((_, domain)) if !self.local_domains.contains(domain) => Addressee::Foreign,
            // RFC 5321 section 4.1.1.3: <postmaster> without a domain is ours.
            _ => Addressee::Local,
        }
    }
}

impl Addressee {
    /// What the mail server's answer to this RCPT shows, if that does not depend on why it refuses.
    pub const fn shows(self, reply: &Reply<'_>) -> Option<Kind> {
        match self {
            Self::Trap if reply.is_success() || reply.is_refusal() => Some(Kind::TrapRecipient),
            Self::Local if reply.is_success() => Some(Kind::GoodLocalRcpt),
            Self::Foreign if reply.is_success() => Some(Kind::RelayAllowed),
            _ => None,
        }
    }
}

impl Addressee {
    /// The offence of a refused RCPT, with what is known of whom it names: without an enhanced code a server may use the same words for
    /// recipients elsewhere as for those that do not exist, as OpenSMTPD does (`550 Invalid recipient`).
    pub const fn correct(self, kind: Kind, reply: &Reply<'_>) -> Kind {
        match (self, kind) {
            (Self::Foreign, Kind::BadLocalRcpt) if reply.enhanced.is_none() => Kind::RelayDenied,
            _ => kind,
        }
    }
}

/// The address of a RCPT in lower case, without a source route (RFC 5321 section 4.1.1.3) and the root's dot.
fn address(line: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(line).ok()?.trim_ascii();
    let path = text.split_once(':')?.1.trim_ascii_start();
    let inner = match path.strip_prefix('<') {
        Some(inner) => inner.get(..end_of_path(inner))?,
        None => path.split(' ').next()?,
    };
    let mailbox = match inner.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => inner,
    };
    Some(mailbox.trim_end_matches('.').to_lowercase())
}

/// Where a path ends that has begun with `<`: a quoted local part may hold a `>`.
fn end_of_path(inner: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    let ends = |(_, byte): &(usize, u8)| {
        let ends = *byte == b'>' && !quoted;
        quoted ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    };
    inner.bytes().enumerate().find(ends).map_or(inner.len(), |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_recipient_belongs_to_is_told_by_the_domain() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let known = Recipients { local_domains: set(&["b.example"]), traps: set(&["trap@b.example"]) };
        for (line, expected) in [
            ("RCPT TO:<a@b.example>\r\n", Addressee::Local),
            ("rcpt to: <A@B.Example.> NOTIFY=NEVER\r\n", Addressee::Local),
            ("RCPT TO:<@relay.example,@x.example:a@b.example>\r\n", Addressee::Local),
            ("RCPT TO:<\"a>@far.example\"@b.example>\r\n", Addressee::Local),
            ("RCPT TO:<Postmaster>\r\n", Addressee::Local),
            ("RCPT TO:a@far.example\r\n", Addressee::Foreign),
            ("RCPT TO:<a@sub.b.example>\r\n", Addressee::Foreign),
            ("RCPT TO:<a@[192.0.2.1]>\r\n", Addressee::Untold),
            ("RCPT TO:<Trap@b.example>\r\n", Addressee::Trap),
            ("RCPT nonsense\r\n", Addressee::Untold),
        ] {
            assert_eq!(known.addressee(line.as_bytes()), expected, "{line}");
        }
        let nothing = Recipients::default();
        assert_eq!(nothing.addressee(b"RCPT TO:<a@far.example>\r\n"), Addressee::Untold);
    }
}
