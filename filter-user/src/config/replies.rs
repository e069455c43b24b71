//! Texts of refusals: section `[replies]`.

use filter_core::smtp::voice::{Templates, check_template};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Replies {
    too_many_from_address: Option<Spanned<String>>,
    too_many: Option<Spanned<String>>,
    blocked: Option<Spanned<String>>,
    blocked_login: Option<Spanned<String>>,
    session_ended: Option<Spanned<String>>,
}

impl Replies {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<Templates, ConfigError> {
        let standard = Templates::default();
        let check = |setting, text: Option<Spanned<String>>, standard: String| match text {
            None => Ok(standard),
            Some(text) => match check_template(text.get_ref()) {
                Ok(()) => Ok(text.into_inner()),
                Err(error) => Err(place.value(Some(text.span()), setting, error.to_string())),
            },
        };
        Ok(Templates {
            too_many_from_address: check(
                "too_many_from_address",
                self.too_many_from_address,
                standard.too_many_from_address,
            )?,
            too_many: check("too_many", self.too_many, standard.too_many)?,
            blocked: check("blocked", self.blocked, standard.blocked)?,
            blocked_login: check("blocked_login", self.blocked_login, standard.blocked_login)?,
            session_ended: check("session_ended", self.session_ended, standard.session_ended)?,
        })
    }
}
