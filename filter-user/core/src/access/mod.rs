//! Who may do what: roles, the names of users and tokens, how often a wrong password may be tried, and how much anybody may ask.
//!
//! Here is what is decided; hashing, random numbers and sockets are elsewhere. A door that is not named here is for
//! operators to change and for viewers to look at, so that a new route is never open by mistake to those below.

mod attempts;
mod rates;

use alloc::string::String;

use serde::{Deserialize, Serialize};

pub use attempts::Attempts;
pub use rates::{Asker, Rates};

use crate::time::Timestamp;

/// Longest name of a user or token, in bytes.
pub const NAME_LIMIT: usize = 64;
/// Shortest password, in characters (NIST SP 800-63B-4 section 3.1.1.2 wants 15 where there is no second factor).
pub const SHORTEST_PASSWORD: usize = 15;
/// Longest password, in bytes; more would only make the hash slower.
pub const PASSWORD_LIMIT: usize = 256;

/// What somebody may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look at everything but users, tokens and the audit trail.
    Viewer,
    /// Change both lists and end sessions.
    Operator,
    /// Reload the configuration, and manage users and tokens.
    Administrator,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Administrator];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What a request of the API takes, by its method and its path.
    pub fn needed(method: &str, path: &str) -> Self {
        let route = path.strip_prefix("/api/v1/").unwrap_or(path);
        let first = route.split('/').next().unwrap_or(route);
        match (method, first) {
            (_, "users" | "tokens" | "audit" | "reload") => Self::Administrator,
            // It reads the log and changes nothing.
            ("GET" | "HEAD", _) | ("POST", "replay") => Self::Viewer,
            _ => Self::Operator,
        }
    }
}

/// Somebody who signs in with a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct User {
    /// What the audit trail calls him.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// Who made him.
    pub author: String,
    /// Since when.
    pub since: Timestamp,
}

/// A program that shows a secret with each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Token {
    /// What the audit trail calls it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Who made it.
    pub author: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; none: it stays.
    pub until: Option<Timestamp>,
}

/// Asks for a user.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    /// 1 to [`NAME_LIMIT`] letters, digits, dots, hyphens and underscores.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// At least [`SHORTEST_PASSWORD`] characters.
    pub password: String,
}

/// Asks for another password.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// Whose.
    pub name: String,
    /// At least [`SHORTEST_PASSWORD`] characters.
    pub password: String,
}

/// Asks for a token.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// 1 to [`NAME_LIMIT`] letters, digits, dots, hyphens and underscores.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// For how long; none: until it is revoked.
    #[serde(default)]
    pub minutes: Option<u64>,
}

/// A new token, with the secret that is shown once.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewToken {
    /// What is kept of it.
    #[serde(flatten)]
    pub token: Token,
    /// What goes behind `Authorization: Bearer`.
    pub secret: String,
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Audit {
    /// When.
    pub time: Timestamp,
    /// Who.
    pub author: String,
    /// From where: an address, or `control socket`.
    pub origin: String,
    /// What was done.
    pub what: String,
}

/// Why nobody of that name, or with that password, can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The name.
    #[error("a name has 1 to {NAME_LIMIT} letters, digits, dots, hyphens and underscores")]
    Name,
    /// Too short.
    #[error(
        "a password has at least {SHORTEST_PASSWORD} characters; a few words in a row are easier to keep than signs"
    )]
    Short,
    /// Too long.
    #[error("a password has at most {PASSWORD_LIMIT} bytes")]
    Long,
    /// One that everybody tries.
    #[error(
        "this password is one that everybody tries: it is a name, or one sign again and again; take a few words in a row"
    )]
    Guessable,
}

/// Whether a user or a token can be called so.
pub fn check_name(name: &str) -> Result<(), Unfit> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if (1..=NAME_LIMIT).contains(&name.len()) && name.bytes().all(plain) { Ok(()) } else { Err(Unfit::Name) }
}

/// Whether a password of a user of this name is one.
pub fn check_password(name: &str, password: &str) -> Result<(), Unfit> {
    if password.len() > PASSWORD_LIMIT {
        return Err(Unfit::Long);
    }
    if password.chars().count() < SHORTEST_PASSWORD {
        return Err(Unfit::Short);
    }
    let lower = password.to_lowercase();
    let rest = lower.replace(&name.to_lowercase(), "").replace("gatepost", "").replace("password", "");
    let mut signs: alloc::vec::Vec<char> = rest.chars().collect();
    signs.sort_unstable();
    signs.dedup();
    if signs.len() < 4 { Err(Unfit::Guessable) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_those_before_it_may_and_no_more() {
        let needed = |method, route| Role::needed(method, route);
        assert_eq!(needed("GET", "/api/v1/status"), Role::Viewer);
        assert_eq!(needed("POST", "/api/v1/replay"), Role::Viewer);
        assert_eq!(needed("DELETE", "/api/v1/blocks"), Role::Operator);
        assert_eq!(needed("DELETE", "/api/v1/sessions/7"), Role::Operator);
        assert_eq!(needed("POST", "/api/v1/something-new"), Role::Operator);
        assert_eq!(needed("GET", "/api/v1/users"), Role::Administrator);
        assert_eq!(needed("POST", "/api/v1/users/password"), Role::Administrator);
        assert_eq!(needed("POST", "/api/v1/reload"), Role::Administrator);
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Administrator);
    }

    #[test]
    fn names_cannot_forge_a_line_of_the_audit_trail() {
        for name in ["", "a b", "a\nb", "é", &"x".repeat(NAME_LIMIT + 1)] {
            assert_eq!(check_name(name), Err(Unfit::Name), "{name:?}");
        }
        assert_eq!(check_name("anna.b-2_x"), Ok(()));
    }

    #[test]
    fn passwords_that_everybody_tries_are_refused() {
        assert_eq!(check_password("anna", "short"), Err(Unfit::Short));
        assert_eq!(check_password("anna", "aaaaaaaaaaaaaaaaaaaa"), Err(Unfit::Guessable));
        assert_eq!(check_password("anna", "AnnaAnnaAnnaAnna11"), Err(Unfit::Guessable));
        assert_eq!(check_password("anna", "gatepostpassword1"), Err(Unfit::Guessable));
        assert_eq!(check_password("anna", &"ab1-".repeat(100)), Err(Unfit::Long));
        assert_eq!(check_password("anna", "four words in a row"), Ok(()));
    }
}
