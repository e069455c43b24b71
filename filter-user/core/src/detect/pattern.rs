//! Patterns of the administrator, for replies whose code does not tell what they mean.
//!
//! A pattern is searched for in the text of each line, upper and lower case alike. It takes time in proportion to the text,
//! whatever it is.

use alloc::string::{String, ToString};

use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::syntax;

use super::Stage;
use crate::offence::Kind;
use crate::smtp::reply::Reply;

/// Memory that one compiled pattern may take, in bytes.
const PATTERN_SIZE: usize = 1 << 20;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{pattern}` is no regular expression: {why}; put a `\\` before each of .*+?()[]{{}}|^$ that stands for itself"
)]
pub struct PatternError {
    /// What was written.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl PatternError {
    /// What is wrong with a text, in one line.
    pub(crate) fn of(text: &str, error: &BuildError) -> Self {
        let why = error.syntax_error().map_or_else(
            || error.to_string(),
            // The last line of the parser's report is the reason, the others draw it.
            |syntax| syntax.to_string().lines().last().unwrap_or_default().replace("error: ", ""),
        );
        Self { pattern: text.into(), why }
    }
}

/// A regular expression, upper and lower case alike.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles one.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let regex = Regex::builder()
            .configure(Config::new().nfa_size_limit(Some(PATTERN_SIZE)).utf8_empty(false))
            .syntax(syntax::Config::new().case_insensitive(true).unicode(false).utf8(false))
            .build(text)
            .map_err(|error| PatternError::of(text, &error))?;
        Ok(Self { text: text.into(), regex })
    }

    /// Whether it is found.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }
}

impl core::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.text.fmt(f)
    }
}

/// What a reply means in the administrator's eyes.
#[derive(Debug, Clone)]
pub struct ReplyPattern {
    /// The stage that it is about; none: all.
    pub stage: Option<Stage>,
    /// What is searched for.
    pub pattern: Pattern,
    /// What it means; none: nothing.
    pub kind: Option<Kind>,
}

impl ReplyPattern {
    /// Whether a reply of this stage is meant.
    pub(super) fn is_about(&self, stage: Stage, reply: &Reply<'_>) -> bool {
        let mut lines = reply.bytes.split(|byte| *byte == b'\n');
        self.stage.is_none_or(|meant| meant == stage)
            && lines.any(|line| self.pattern.is_in(line.get(4..).unwrap_or_default().trim_ascii_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_searched_for_whatever_the_case() {
        let pattern = Pattern::new("^no such (user|box)").unwrap();
        assert!(pattern.is_in(b"No such USER here \xff"));
        assert!(!pattern.is_in(b"there is no such user"));
    }

    #[test]
    fn a_mistake_is_explained() {
        let error = Pattern::new("(a").unwrap_err().to_string();
        assert!(error.contains("unclosed group") && error.contains("(a") && !error.contains('\n'), "{error}");
        assert!(Pattern::new("(((a{100}){100}){100}){100}").is_err(), "too large");
    }
}
