//! The name of a service: where on the gateway, or behind it, something happened.
//!
//! A name is short, plain and copied freely: it stands in every offence. Nothing is decided by it, except that a failed
//! login told of by two sources is the same only at the same service.

use alloc::string::String;
use core::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name, in bytes.
pub const SERVICE_LIMIT: usize = 32;

/// A service, such as `smtp`, `imap` or `webmail`: 1 to [`SERVICE_LIMIT`] small letters, digits and hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    bytes: [u8; SERVICE_LIMIT],
    length: u8,
}

/// Why a text is no name of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a service is named with 1 to {SERVICE_LIMIT} letters, digits and hyphens, such as imap or webmail")]
pub struct NotAService;

impl ServiceName {
    /// Mail from other servers, which is what everything without a name of its own is about.
    pub const SMTP: Self = Self::literal("smtp");
    /// Our own API and pages.
    pub const WEB: Self = Self::literal("web");
    /// One whose name nobody knows.
    pub const UNKNOWN: Self = Self::literal("unknown");

    /// Takes a name; capital letters become small ones.
    pub fn new(text: &str) -> Result<Self, NotAService> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=SERVICE_LIMIT).contains(&text.len()) || !text.bytes().all(plain) {
            return Err(NotAService);
        }
        let mut name = Self::literal(text);
        name.bytes.make_ascii_lowercase();
        Ok(name)
    }

    const fn literal(text: &str) -> Self {
        let (from, mut bytes, mut length) = (text.as_bytes(), [0; SERVICE_LIMIT], 0_u8);
        while (length as usize) < from.len() && (length as usize) < SERVICE_LIMIT {
            bytes[length as usize] = from[length as usize];
            length += 1;
        }
        Self { bytes, length }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        // All of them are ASCII, which `new` has seen to.
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Whether clients hand mail in here: what one source calls `submission` another calls `smtp`.
    pub fn takes_mail(&self) -> bool {
        matches!(self.as_str(), "smtp" | "smtps" | "submission" | "submissions")
    }
}

impl Default for ServiceName {
    fn default() -> Self {
        Self::SMTP
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for ServiceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ServiceName {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "ServiceName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A service, such as smtp, imap or webmail",
            "minLength": 1,
            "maxLength": SERVICE_LIMIT,
            "pattern": "^[A-Za-z0-9-]+$",
        })
    }
}

impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        assert_eq!(ServiceName::new("IMAP").map(|name| alloc::format!("{name}")), Ok("imap".into()));
        assert_eq!(ServiceName::new("smtp"), Ok(ServiceName::SMTP));
        assert!(ServiceName::new(&"x".repeat(SERVICE_LIMIT)).is_ok());
        for text in ["", "a b", "a\nb", "postfix/smtpd", "ä", &"x".repeat(SERVICE_LIMIT + 1)] {
            assert_eq!(ServiceName::new(text), Err(NotAService), "{text:?}");
        }
    }
}
