//! One AUTH exchange (RFC 4954 section 4), as far as it must be understood: whose account, and whether the same credentials again.
//!
//! Passwords go through a keyed hash and are kept nowhere. Of mechanisms that hide them (SCRAM, CRAM-MD5) each attempt looks
//! different, and counts as such.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::hash::Hasher;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use siphasher::sip::SipHasher13;

use crate::offence::{Fingerprint, account_name};

/// The secret that credentials are hashed with; drawn at each start of the agent, known to nobody else.
#[derive(Clone, Copy, Default)]
pub struct LoginKey(pub u64, pub u64);

impl fmt::Debug for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginKey")
    }
}

impl LoginKey {
    /// Tells credentials from others by what another service has made of them, such as Dovecot's own hash.
    pub fn fingerprint(self, account: &[u8], token: &[u8]) -> Fingerprint {
        let mut hash = SipHasher13::new_with_keys(self.0, self.1);
        // An AUTH exchange is hashed part by part as well; none of them begins with a length like this.
        hash.write_u64(u64::MAX);
        for part in [account, token] {
            hash.write(part);
            hash.write_usize(part.len());
        }
        Fingerprint(hash.finish())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Login,
    Other,
}

/// What is known of an exchange that goes on.
#[derive(Clone)]
pub(super) struct Login {
    mechanism: Mechanism,
    hash: SipHasher13,
    account: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the hash: its state is what credentials have made of it.
        f.debug_struct("Login").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Login {
    /// Begins with the AUTH command, which may carry a first answer.
    pub(super) fn begin(key: LoginKey, command: &[u8]) -> Self {
        let mut words = command.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(1);
        let name = words.next().unwrap_or_default();
        let mechanism = match () {
            () if name.eq_ignore_ascii_case(b"PLAIN") => Mechanism::Plain,
            () if name.eq_ignore_ascii_case(b"LOGIN") => Mechanism::Login,
            () => Mechanism::Other,
        };
        let mut login = Self { mechanism, hash: SipHasher13::new_with_keys(key.0, key.1), account: None };
        if let Some(answer) = words.next() {
            login.answer(answer);
        }
        login
    }

    /// An answer of the client, with or without its line end.
    pub(super) fn answer(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        let Ok(decoded) = BASE64_STANDARD.decode(line) else { return self.take(line) };
        match self.mechanism {
            // RFC 4616: authorisation, account and password, NULs between them. Who may act as whom changes nothing.
            Mechanism::Plain => {
                let parts: Vec<_> = decoded.splitn(3, |byte| *byte == 0).collect();
                if let [_, account, password] = parts.as_slice() {
                    self.name(account);
                    self.take(account);
                    self.take(password);
                } else {
                    self.take(&decoded);
                }
            }
            Mechanism::Login => {
                if self.account.is_none() {
                    self.name(&decoded);
                }
                self.take(&decoded);
            }
            Mechanism::Other => self.take(&decoded),
        }
    }

    /// The same for the same credentials, whichever way they were sent.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.hash.finish())
    }

    /// Whose account it was, if that was said in clear.
    pub(super) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    fn name(&mut self, account: &[u8]) {
        self.account = Some(account_name(account));
    }

    fn take(&mut self, part: &[u8]) {
        self.hash.write(part);
        // So that no other division of the same bytes is the same.
        self.hash.write_usize(part.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offence::ACCOUNT_LIMIT;

    const KEY: LoginKey = LoginKey(1, 2);

    fn encode(text: &str) -> Vec<u8> {
        BASE64_STANDARD.encode(text).into_bytes()
    }

    fn plain(account: &str, password: &str) -> Login {
        let mut login = Login::begin(KEY, b"AUTH PLAIN\r\n");
        login.answer(&encode(&alloc::format!("\0{account}\0{password}")));
        login
    }

    #[test]
    fn the_same_credentials_are_the_same_whichever_way_they_come() {
        let whole = [&b"AUTH PLAIN "[..], &encode("\0alice\0wrong")[..], b"\r\n"].concat();
        let mut steps = Login::begin(KEY, b"auth login\r\n");
        steps.answer(&[&encode("alice")[..], b"\r\n"].concat());
        steps.answer(&encode("wrong"));
        let logins = [plain("alice", "wrong"), Login::begin(KEY, &whole), steps];
        for login in &logins {
            assert_eq!(login.fingerprint(), logins[0].fingerprint());
            assert_eq!(login.account(), Some("alice"));
        }
    }

    #[test]
    fn other_credentials_and_other_keys_are_others() {
        let one = plain("alice", "wrong").fingerprint();
        assert_ne!(one, plain("alice", "wrong2").fingerprint());
        assert_ne!(one, plain("alicew", "rong").fingerprint());
        let mut other = Login::begin(LoginKey(1, 3), b"AUTH PLAIN");
        other.answer(&encode("\0alice\0wrong"));
        assert_ne!(one, other.fingerprint());
    }

    #[test]
    fn what_is_not_understood_is_hashed_and_named_nobody() {
        for line in [&b"*"[..], b"!!!", b"", b"AGFsaWNl", b"\xff\xfe"] {
            let mut login = Login::begin(KEY, b"AUTH PLAIN");
            login.answer(line);
            assert_eq!(login.account(), None, "{line:?}");
        }
        let mut hidden = Login::begin(KEY, b"AUTH SCRAM-SHA-256 biwsbj1hbGljZQ==");
        hidden.answer(b"Yz1iaXdz");
        assert_eq!(hidden.account(), None);
        assert!(!alloc::format!("{hidden:?}").contains("hash"));
    }

    #[test]
    fn a_name_is_printable_and_short() {
        let login = plain(&alloc::format!("a\r\nb{}", "x".repeat(500)), "wrong");
        assert_eq!(login.account().map(str::len), Some(ACCOUNT_LIMIT));
        assert!(login.account().unwrap().starts_with("a??b"));
    }
}
