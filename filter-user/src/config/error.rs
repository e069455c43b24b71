//! What is wrong with a configuration, and where.

use std::ops::Range;
use std::path::Path;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not TOML, or holds a setting that does not exist.
    #[error("{place}: {message}")]
    Syntax {
        /// File and line.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A setting has a value that it cannot have.
    #[error("{place}: {setting}: {message}")]
    Value {
        /// File and line.
        place: String,
        /// The setting.
        setting: &'static str,
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// Finds the line of a mistake.
pub(super) struct Place<'a> {
    file: String,
    text: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn new(file: Option<&Path>, text: &'a str) -> Self {
        Self { file: file.map_or_else(|| "defaults".into(), |file| file.display().to_string()), text }
    }

    /// The parser's own complaint, as one sentence.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        ConfigError::Syntax { place: self.of(error.span()), message }
    }

    pub(super) fn value(
        &self,
        span: Option<Range<usize>>,
        setting: &'static str,
        message: String,
    ) -> ConfigError {
        ConfigError::Value { place: self.of(span), setting, message }
    }

    /// File and line of a place.
    pub(super) fn of(&self, span: Option<Range<usize>>) -> String {
        let before = span.and_then(|span| self.text.get(..span.start)).unwrap_or_default();
        format!("{}:{}", self.file, before.matches('\n').count() + 1)
    }
}
