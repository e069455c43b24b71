//! What is written about the agent's work, and how: section `[log]`.

use std::path::PathBuf;

use filter_core::ids::{DEFAULT_FORMAT, LineFormat};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// How the agent's own log is written.
    pub format: LogFormat,
    /// A file for other tools; none: there is no IDS log.
    pub ids_file: Option<PathBuf>,
    /// The form of its lines.
    pub ids_format: LineFormat,
}

/// How the agent's own log is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for people, to standard error.
    #[default]
    Text,
    /// One JSON object a line, to standard error.
    Json,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    format: LogFormat,
    ids_file: Option<Spanned<PathBuf>>,
    ids_format: Option<Spanned<String>>,
}

impl Log {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<LogConfig, ConfigError> {
        if let Some(empty) = self.ids_file.as_ref().filter(|file| file.get_ref().as_os_str().is_empty()) {
            let message = "name a file such as \"/var/log/gatepost/ids.log\", or leave it out".to_owned();
            return Err(place.value(Some(empty.span()), "ids_file", message));
        }
        let span = self.ids_format.as_ref().map(Spanned::span);
        let text = self.ids_format.map_or_else(|| DEFAULT_FORMAT.to_owned(), Spanned::into_inner);
        let parsed = LineFormat::parse(&text);
        Ok(LogConfig {
            format: self.format,
            ids_file: self.ids_file.map(Spanned::into_inner),
            ids_format: parsed.map_err(|error| place.value(span, "ids_format", error.to_string()))?,
        })
    }
}
