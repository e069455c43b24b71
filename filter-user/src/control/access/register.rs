//! Users, tokens and who is signed in. Only hashes of passwords and secrets are in here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use filter_core::access::{Attempts, Rates, Role, Token, User};
use filter_core::import::ImportEntry;
use filter_core::time::Timestamp;

use super::secret::Fingerprint;
use crate::ips::List;

/// Users at most.
pub(super) const USERS_LIMIT: usize = 100;
/// Tokens at most.
pub(super) const TOKENS_LIMIT: usize = 1000;
/// Sign-ins of one user at a time; beyond it his oldest one ends.
pub(super) const SIGN_INS_LIMIT: usize = 10;
/// How long a sign-in lasts.
pub const SIGN_IN_LASTS: Duration = Duration::from_hours(12);

/// Who is asking, and what he may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user, or the token.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// From where.
    pub address: IpAddr,
    /// What his forms must carry; none: a token, which no browser sends by itself.
    pub csrf: Option<String>,
    /// How his sign-in is known here; none: a token.
    pub(super) sign_in: Option<Fingerprint>,
}

/// What the next page says: what has just been done, or why not.
#[derive(Debug, Clone, Default)]
pub struct Notice {
    /// A sentence or two.
    pub text: String,
    /// It was not done.
    pub is_fault: bool,
    /// How it is undone, if it can be.
    pub undo: Option<Undo>,
}

/// Entries that were removed from a list, as they were.
#[derive(Debug, Clone)]
pub struct Undo {
    /// From which list.
    pub list: List,
    /// At most [`filter_core::import::ENTRIES_LIMIT`].
    pub entries: Vec<ImportEntry>,
}

/// Why the register stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is taken.
    #[error("there is a {0} `{1}` already; choose another name, or remove it first")]
    Taken(&'static str, String),
    /// There is none of that name.
    #[error("there is no {0} `{1}`; see `gatepost {0} list`")]
    Unknown(&'static str, String),
    /// Too many.
    #[error("there are {1} {0}s, which is the most; remove one that nobody needs")]
    Full(&'static str, usize),
}

/// Somebody is signed in.
#[derive(Debug)]
struct SignIn {
    user: String,
    csrf: String,
    until: Timestamp,
    notice: Option<Notice>,
    undo: Option<Undo>,
}

/// The register; see the head of this module.
#[derive(Debug, Default)]
pub(super) struct Register {
    users: BTreeMap<String, (User, String)>,
    tokens: BTreeMap<String, (Token, Fingerprint)>,
    sign_ins: BTreeMap<Fingerprint, SignIn>,
    pub(super) attempts: Attempts,
    pub(super) rates: Rates,
}

impl Register {
    /// What the store kept, for those who may ask this often.
    pub(super) fn restore(
        users: Vec<(User, String)>,
        tokens: Vec<(Token, Fingerprint)>,
        rates: Rates,
    ) -> Self {
        let users = users.into_iter().map(|user| (user.0.name.clone(), user)).collect();
        let tokens = tokens.into_iter().map(|token| (token.0.name.clone(), token)).collect();
        Self { users, tokens, rates, ..Self::default() }
    }

    /// Whether anybody could come in.
    pub(super) fn has_anybody(&self, now: Timestamp) -> bool {
        !self.users.is_empty() || self.tokens.values().any(|(token, _)| is_valid(token, now))
    }

    pub(super) fn users(&self) -> Vec<User> {
        self.users.values().map(|(user, _)| user.clone()).collect()
    }

    pub(super) fn tokens(&self) -> Vec<Token> {
        self.tokens.values().map(|(token, _)| token.clone()).collect()
    }

    /// The hash of a user's password.
    pub(super) fn password_of(&self, name: &str) -> Option<String> {
        self.users.get(name).map(|(_, hash)| hash.clone())
    }

    pub(super) fn add_user(&mut self, user: User, hash: String) -> Result<(), Refusal> {
        if self.users.contains_key(&user.name) {
            return Err(Refusal::Taken("user", user.name));
        }
        if self.users.len() >= USERS_LIMIT {
            return Err(Refusal::Full("user", USERS_LIMIT));
        }
        self.users.insert(user.name.clone(), (user, hash));
        Ok(())
    }

    /// Whoever is signed in with the old password no longer is.
    pub(super) fn set_password(&mut self, name: &str, hash: String) -> Result<User, Refusal> {
        let (user, kept) =
            self.users.get_mut(name).ok_or_else(|| Refusal::Unknown("user", name.to_owned()))?;
        *kept = hash;
        self.sign_ins.retain(|_, sign_in| sign_in.user != name);
        Ok(user.clone())
    }

    pub(super) fn remove_user(&mut self, name: &str) -> Result<User, Refusal> {
        self.sign_ins.retain(|_, sign_in| sign_in.user != name);
        let removed = self.users.remove(name);
        removed.map(|(user, _)| user).ok_or_else(|| Refusal::Unknown("user", name.to_owned()))
    }

    pub(super) fn add_token(&mut self, token: Token, fingerprint: Fingerprint) -> Result<(), Refusal> {
        if self.tokens.contains_key(&token.name) {
            return Err(Refusal::Taken("token", token.name));
        }
        if self.tokens.len() >= TOKENS_LIMIT {
            return Err(Refusal::Full("token", TOKENS_LIMIT));
        }
        self.tokens.insert(token.name.clone(), (token, fingerprint));
        Ok(())
    }

    pub(super) fn remove_token(&mut self, name: &str) -> Result<Token, Refusal> {
        let removed = self.tokens.remove(name);
        removed.map(|(token, _)| token).ok_or_else(|| Refusal::Unknown("token", name.to_owned()))
    }

    /// Whose token this is.
    pub(super) fn of_token(
        &self,
        fingerprint: Fingerprint,
        from: IpAddr,
        now: Timestamp,
    ) -> Option<Identity> {
        let mut valid = self.tokens.values().filter(|(token, _)| is_valid(token, now));
        let (token, _) = valid.find(|(_, kept)| *kept == fingerprint)?;
        Some(Identity {
            name: token.name.clone(),
            role: token.role,
            address: from,
            csrf: None,
            sign_in: None,
        })
    }

    /// A user has shown his password; this is what his browser will show from now on. None: he is gone meanwhile.
    pub(super) fn sign_in(
        &mut self,
        user: &str,
        fingerprint: Fingerprint,
        csrf: String,
        now: Timestamp,
    ) -> Option<()> {
        self.users.get(user)?;
        self.sign_ins.retain(|_, sign_in| sign_in.until > now);
        let own = self.sign_ins.iter().filter(|(_, sign_in)| sign_in.user == user);
        let mut own: Vec<_> = own.map(|(fingerprint, sign_in)| (sign_in.until, *fingerprint)).collect();
        own.sort_unstable();
        let too_many = (own.len() + 1).saturating_sub(SIGN_INS_LIMIT);
        for (_, oldest) in own.iter().take(too_many) {
            self.sign_ins.remove(oldest);
        }
        let until = now.after(SIGN_IN_LASTS);
        self.sign_ins
            .insert(fingerprint, SignIn { user: user.to_owned(), csrf, until, notice: None, undo: None });
        Some(())
    }

    /// Who is signed in with this.
    pub(super) fn of_sign_in(
        &self,
        fingerprint: Fingerprint,
        from: IpAddr,
        now: Timestamp,
    ) -> Option<Identity> {
        let sign_in = self.sign_ins.get(&fingerprint).filter(|sign_in| sign_in.until > now)?;
        let (user, _) = self.users.get(&sign_in.user)?;
        let csrf = Some(sign_in.csrf.clone());
        let sign_in = Some(fingerprint);
        Some(Identity { name: user.name.clone(), role: user.role, address: from, csrf, sign_in })
    }

    /// Leaves word for the next page of a sign-in. What can be undone is the last thing only.
    pub(super) fn leave(&mut self, fingerprint: Fingerprint, notice: Notice) {
        if let Some(sign_in) = self.sign_ins.get_mut(&fingerprint) {
            sign_in.undo.clone_from(&notice.undo);
            sign_in.notice = Some(notice);
        }
    }

    /// What was left for this page.
    pub(super) fn take(&mut self, fingerprint: Fingerprint) -> Option<Notice> {
        self.sign_ins.get_mut(&fingerprint)?.notice.take()
    }

    /// What can be undone, once.
    pub(super) fn take_undo(&mut self, fingerprint: Fingerprint) -> Option<Undo> {
        self.sign_ins.get_mut(&fingerprint)?.undo.take()
    }

    pub(super) fn sign_out(&mut self, fingerprint: Fingerprint) {
        self.sign_ins.remove(&fingerprint);
    }
}

fn is_valid(token: &Token, now: Timestamp) -> bool {
    token.until.is_none_or(|until| until > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(0).after(Duration::from_mins(minutes))
    }

    fn user(name: &str) -> User {
        User { name: name.to_owned(), role: Role::Operator, author: "root".to_owned(), since: at(0) }
    }

    fn with_anna() -> Register {
        let mut register = Register::default();
        register.add_user(user("anna"), "hash".to_owned()).unwrap();
        register
    }

    #[test]
    fn a_sign_in_ends_by_itself_and_with_its_user_and_with_the_password() {
        let signed_in = |register: &Register, now| register.of_sign_in([1; 32], HERE, now).is_some();
        let mut register = with_anna();
        register.sign_in("anna", [1; 32], "csrf".to_owned(), at(0)).unwrap();
        assert!(signed_in(&register, at(719)) && !signed_in(&register, at(720)));
        register.set_password("anna", "other".to_owned()).unwrap();
        assert!(!signed_in(&register, at(1)));
        register.sign_in("anna", [1; 32], "csrf".to_owned(), at(1)).unwrap();
        register.remove_user("anna").unwrap();
        assert!(!signed_in(&register, at(2)));
        assert_eq!(register.sign_in("anna", [1; 32], String::new(), at(2)), None, "she is gone");
        assert!(!register.has_anybody(at(2)));
    }

    #[test]
    fn the_oldest_sign_in_of_a_user_gives_way() {
        let mut register = with_anna();
        for number in 0..=u8::try_from(SIGN_INS_LIMIT).unwrap() {
            register.sign_in("anna", [number; 32], String::new(), at(number.into())).unwrap();
        }
        assert!(register.of_sign_in([0; 32], HERE, at(20)).is_none());
        assert!(register.of_sign_in([1; 32], HERE, at(20)).is_some());
        assert_eq!(register.sign_ins.len(), SIGN_INS_LIMIT);
    }

    #[test]
    fn a_token_that_has_ended_opens_nothing() {
        let mut register = Register::default();
        let until = Some(at(5));
        let token = Token {
            name: "grafana".to_owned(),
            role: Role::Viewer,
            author: String::new(),
            since: at(0),
            until,
        };
        register.add_token(token.clone(), [7; 32]).unwrap();
        assert_eq!(register.of_token([7; 32], HERE, at(4)).unwrap().role, Role::Viewer);
        assert!(register.of_token([7; 32], HERE, at(5)).is_none() && !register.has_anybody(at(5)));
        assert!(register.of_token([8; 32], HERE, at(4)).is_none());
        let taken = register.add_token(token, [9; 32]);
        assert_eq!(taken, Err(Refusal::Taken("token", "grafana".to_owned())));
    }
}
