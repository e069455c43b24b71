//! Attachments that are not wanted: section `[attachments]`.

use filter_core::smtp::attachments::{Action, Attachments, PROGRAMS};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    action: ActionWord,
    blocked_names: Option<Spanned<Vec<String>>>,
    double_extensions: Option<bool>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ActionWord {
    #[default]
    Refuse,
    Score,
    Off,
}

impl Written {
    pub(super) fn validate(
        self,
        observe: bool,
        place: &Place<'_>,
    ) -> Result<Option<Attachments>, ConfigError> {
        let action = match self.action {
            ActionWord::Off => None,
            ActionWord::Score => Some(Action::Score),
            // Whoever only observes refuses nothing.
            ActionWord::Refuse => Some(if observe { Action::Score } else { Action::Refuse }),
        };
        let span = self.blocked_names.as_ref().map(Spanned::span);
        let names = self
            .blocked_names
            .map_or_else(|| PROGRAMS.iter().map(|kind| format!("*.{kind}")).collect(), Spanned::into_inner);
        let double = self.double_extensions.unwrap_or(true);
        let read =
            Attachments::new(action.unwrap_or(Action::Score), names.iter().map(String::as_str), double);
        let read = read.map_err(|_| {
            let message = "the names are too many or too long; write types as \"*.exe\"".to_owned();
            place.value(span, "blocked_names", message)
        })?;
        Ok(action.map(|_| read))
    }
}
