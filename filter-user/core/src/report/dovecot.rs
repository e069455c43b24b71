//! What Dovecot says of a login, in the auth-policy protocol (that of weakforced), and what it comes to.
//!
//! Which attributes it sends is configurable there: others are no mistake, and missing ones are empty.

use alloc::string::String;
use core::net::IpAddr;

use serde::Deserialize;

use crate::client::ClientAddr;
use crate::offence::{Kind, Offence};
use crate::service::ServiceName;
use crate::smtp::login::LoginKey;

/// A login, before it or after it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Login {
    #[serde(rename = "login")]
    account: String,
    remote: String,
    protocol: String,
    pwhash: String,
    success: Truth,
    policy_reject: Truth,
    fail_type: String,
}

/// A truth value, which some clients of the protocol write as a text.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
enum Truth {
    Plain(bool),
    Text(String),
    #[default]
    Missing,
}

impl Truth {
    fn holds(&self) -> bool {
        match self {
            Self::Plain(truth) => *truth,
            Self::Text(text) => text == "true",
            Self::Missing => false,
        }
    }
}

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The client is who it says.
    Success,
    /// It has guessed wrong.
    Failure(Offence),
}

impl Login {
    /// The client, if Dovecot knows its address.
    pub fn client(&self) -> Option<ClientAddr> {
        self.remote.parse::<IpAddr>().ok().map(ClientAddr::new)
    }

    /// What became of it; nothing if it was refused by our own word, or for something else than what the client sent. Of the hash of the
    /// password that Dovecot sends, a keyed hash remains.
    pub fn outcome(&self, key: LoginKey) -> Option<Outcome> {
        if self.success.holds() {
            return Some(Outcome::Success);
        }
        let is_guess = matches!(self.fail_type.as_str(), "" | "credentials" | "account");
        if self.policy_reject.holds() || !is_guess {
            return None;
        }
        // Here it says `sieve`, in its log `managesieve`; it is one service.
        let protocol = if self.protocol == "sieve" { "managesieve" } else { self.protocol.as_str() };
        let service = ServiceName::new(protocol).unwrap_or(ServiceName::UNKNOWN);
        let account = self.account.as_bytes();
        let mut offence = Offence::new(Kind::FailedLogin, self.fail_type.as_bytes()).at(service).of(account);
        offence.credentials =
            (!self.pwhash.is_empty()).then(|| key.fingerprint(account, self.pwhash.as_bytes()));
        Some(Outcome::Failure(offence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: LoginKey = LoginKey(1, 2);

    fn login() -> Login {
        Login {
            account: "alice".into(),
            remote: "203.0.113.7".into(),
            protocol: "sieve".into(),
            ..Login::default()
        }
    }

    #[test]
    fn only_a_wrong_guess_is_an_offence() {
        let success =
            Login { success: Truth::Text("true".into()), policy_reject: Truth::Plain(true), ..login() };
        assert_eq!(success.outcome(KEY), Some(Outcome::Success));
        for trouble in ["internal", "expired", "disabled", "policy"] {
            let login = Login { fail_type: trouble.into(), ..login() };
            assert_eq!(login.outcome(KEY), None, "{trouble}");
        }
        let refused = Login { policy_reject: Truth::Plain(true), ..login() };
        assert_eq!(refused.outcome(KEY), None);
        let guess = |pwhash: &str, why: &str| {
            let login = Login { pwhash: pwhash.into(), fail_type: why.into(), ..login() };
            match login.outcome(KEY) {
                Some(Outcome::Failure(offence)) => offence,
                other => panic!("{other:?}"),
            }
        };
        let credentials = |pwhash| guess(pwhash, "account").credentials;
        assert_ne!(credentials("00a1"), credentials("00a2"));
        assert_eq!(credentials(""), None);
        let offence = guess("00a1", "credentials");
        assert_eq!((offence.kind, offence.service.as_str()), (Kind::FailedLogin, "managesieve"));
    }

    #[test]
    fn who_is_not_named_is_nobody() {
        assert_eq!(login().client(), Some(ClientAddr::new([203, 0, 113, 7].into())));
        for remote in ["", "203.0.113.7:5", "localhost"] {
            assert_eq!(Login { remote: remote.into(), ..login() }.client(), None, "{remote}");
        }
    }
}
