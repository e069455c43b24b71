//! Session limits: section `[sessions]`, and `sessions` of a service that has books of its own.

use filter_core::client::ScopeWidth;
use filter_core::limits::Limits;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::value::{Networks, networks};

/// The section as it is written; also what a service with limits of its own has of it.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "these are the help page's own names")]
pub(super) struct Sessions {
    maximum_sessions: Option<u32>,
    maximum_incoming_sessions: Option<Spanned<u32>>,
    sessions_to_reserve: Option<Spanned<u32>>,
    maximum_sessions_per_address: Option<u32>,
    reserve_sessions_for: Option<Spanned<Networks>>,
    no_auth_networks: Option<Spanned<Networks>>,
}

impl Sessions {
    /// With the numbers of another where it has none of its own.
    pub(super) fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            maximum_sessions: self.maximum_sessions.or(other.maximum_sessions),
            maximum_incoming_sessions: self.maximum_incoming_sessions.or(other.maximum_incoming_sessions),
            sessions_to_reserve: self.sessions_to_reserve.or(other.sessions_to_reserve),
            maximum_sessions_per_address: self
                .maximum_sessions_per_address
                .or(other.maximum_sessions_per_address),
            reserve_sessions_for: self.reserve_sessions_for.or(other.reserve_sessions_for),
            no_auth_networks: self.no_auth_networks.or(other.no_auth_networks),
        }
    }

    pub(super) fn validate(self, scope_width: ScopeWidth, place: &Place<'_>) -> Result<Limits, ConfigError> {
        if let (Some(incoming), Some(all)) = (&self.maximum_incoming_sessions, self.maximum_sessions)
            && *incoming.get_ref() > all
        {
            let message =
                format!("maximum_sessions counts them, too, and allows {all}; make it at most that");
            return Err(place.value(Some(incoming.span()), "maximum_incoming_sessions", message));
        }
        let maximum_incoming_sessions = self.maximum_incoming_sessions.map_or(100, Spanned::into_inner);
        if let Some(reserve) = &self.sessions_to_reserve
            && *reserve.get_ref() > maximum_incoming_sessions
        {
            let message = format!(
                "the reserve is carved out of maximum_incoming_sessions, so it can be at most {maximum_incoming_sessions}"
            );
            return Err(place.value(Some(reserve.span()), "sessions_to_reserve", message));
        }
        let names_nobody = match self.reserve_sessions_for.as_ref().map(Spanned::get_ref) {
            None => true,
            Some(Networks::Commas(text)) => text.trim().is_empty(),
            Some(Networks::Array(texts)) => texts.is_empty(),
        };
        if let Some(reserve) = self.sessions_to_reserve.as_ref().filter(|reserve| *reserve.get_ref() > 0)
            && names_nobody
        {
            let message = "nobody may use the reserve; name its hosts in reserve_sessions_for".to_owned();
            return Err(place.value(Some(reserve.span()), "sessions_to_reserve", message));
        }
        let private = "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7, fe80::/10";
        let no_auth =
            self.no_auth_networks.unwrap_or_else(|| Spanned::new(0..0, Networks::Commas(private.into())));
        let reserve_for = self.reserve_sessions_for.map(|list| networks("reserve_sessions_for", list, place));
        Ok(Limits {
            maximum_sessions: self.maximum_sessions.unwrap_or(1000),
            maximum_incoming_sessions,
            sessions_to_reserve: self.sessions_to_reserve.map_or(0, Spanned::into_inner),
            maximum_sessions_per_address: self.maximum_sessions_per_address.unwrap_or(20),
            reserve_sessions_for: reserve_for.transpose()?.unwrap_or_default(),
            no_auth_networks: networks("no_auth_networks", no_auth, place)?,
            scope_width,
        })
    }
}
