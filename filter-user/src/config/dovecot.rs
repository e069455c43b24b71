//! Dovecot's auth-policy requests: section `[dovecot]`.

use std::fmt;
use std::net::SocketAddr;

use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::value::socket;

/// Shortest key that is taken, in bytes: whoever guesses it can have anybody blocked.
const SHORTEST_KEY: usize = 16;
/// Longest key.
const LONGEST_KEY: usize = 256;
/// Longest wait that Dovecot is told, in seconds.
const LONGEST_TARPIT: u32 = 60;

/// How Dovecot asks.
#[derive(Clone, PartialEq, Eq)]
pub struct DovecotConfig {
    /// Where it is listened for.
    pub listen: SocketAddr,
    /// What its requests show.
    pub api_key: String,
    /// Seconds that a client with failed logins has to wait before the next; 0: none.
    pub tarpit: u32,
    /// From how many failed logins on.
    pub tarpit_after: u32,
}

impl fmt::Debug for DovecotConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key: the configuration is shown.
        let Self { listen, api_key: _, tarpit, tarpit_after } = self;
        f.debug_struct("DovecotConfig")
            .field("listen", listen)
            .field("tarpit", tarpit)
            .field("tarpit_after", tarpit_after)
            .finish_non_exhaustive()
    }
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dovecot {
    listen: Option<Spanned<String>>,
    api_key: Option<Spanned<String>>,
    tarpit: Option<Spanned<u32>>,
    tarpit_after: Option<u32>,
}

impl Dovecot {
    /// None: nobody listens for Dovecot.
    pub(super) fn validate(self, place: &Place<'_>) -> Result<Option<DovecotConfig>, ConfigError> {
        let Some(text) = self.listen else { return Ok(None) };
        let listen = socket("listen", &text, "127.0.0.1:8026", place)?;
        let Some(written) = self.api_key else {
            let message = "name the key that Dovecot shows, in api_key; `openssl rand -hex 16` makes one";
            return Err(place.value(Some(text.span()), "listen", message.to_owned()));
        };
        let (span, mut key) = (written.span(), written.into_inner());
        if key.starts_with('/') {
            let read = std::fs::read_to_string(&key).map_err(|error| {
                let message = format!("cannot read {key}: {error}; write the key into it, or here");
                place.value(Some(span.clone()), "api_key", message)
            })?;
            read.trim().clone_into(&mut key);
        }
        let is_plain = key.bytes().all(|byte| byte.is_ascii_graphic());
        if !(SHORTEST_KEY..=LONGEST_KEY).contains(&key.len()) || !is_plain {
            let message = format!(
                "a key has {SHORTEST_KEY} to {LONGEST_KEY} letters, digits and signs without spaces; `openssl rand -hex 16` makes one"
            );
            return Err(place.value(Some(span), "api_key", message));
        }
        let tarpit = match self.tarpit {
            Some(seconds) if *seconds.get_ref() > LONGEST_TARPIT => {
                let message = format!("it goes from 0 to {LONGEST_TARPIT} seconds");
                return Err(place.value(Some(seconds.span()), "tarpit", message));
            }
            seconds => seconds.map_or(0, Spanned::into_inner),
        };
        Ok(Some(DovecotConfig { listen, api_key: key, tarpit, tarpit_after: self.tarpit_after.unwrap_or(3) }))
    }
}
