//! All rules together: one look at the program, one scan of the message.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use regex_automata::meta::{Cache, Config, Regex};
use regex_automata::{Anchored, Input, MatchKind, PatternSet};

use super::RuleText;
use super::rule::{self, Rule, RuleError};
use crate::detect::PatternError;

/// Rules at most.
pub const RULES_LIMIT: usize = 256;
/// Memory that all rules together may take, in bytes.
const BOOK_SIZE: usize = 32 << 20;

/// All rules.
#[derive(Debug)]
pub struct Book {
    rules: Vec<Rule>,
    all: Regex,
}

/// A rule that is about a program.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its place in the book.
    pub(super) rule: usize,
    /// The service that it is then of.
    pub(super) service: Box<str>,
    /// Whether another rule counts the same at the end of a session.
    pub(super) is_summed_up: bool,
}

impl Book {
    /// Compiles them; of two that match, the first one speaks.
    pub fn new(texts: Vec<RuleText>) -> Result<Self, RuleError> {
        if texts.len() > RULES_LIMIT {
            return Err(RuleError::TooMany);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = texts.iter().find(|text| !names.insert(text.name.as_str())) {
            return Err(RuleError::Twice(twice.name.clone()));
        }
        let rules = texts.into_iter().map(Rule::new).collect::<Result<Vec<_>, _>>()?;
        let patterns: Vec<_> = rules.iter().map(|rule| format!(r"\A(?:{})", rule.text().pattern)).collect();
        let all = Regex::builder()
            .configure(
                Config::new().match_kind(MatchKind::All).nfa_size_limit(Some(BOOK_SIZE)).utf8_empty(false),
            )
            .syntax(rule::bytes())
            .build_many(&patterns)
            .map_err(|error| RuleError::Pattern {
                rule: "all rules together".into(),
                error: PatternError::of("", &error),
            })?;
        Ok(Self { rules, all })
    }

    /// Its rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules that are about a program, in their order.
    pub(super) fn candidates(&self, program: &[u8]) -> Arc<[Candidate]> {
        let about = |(rule, text): (usize, &Rule)| Some((rule, text.service_of(program)?));
        let about: Vec<_> = self.rules.iter().enumerate().filter_map(about).collect();
        let event = |rule: usize| self.rules.get(rule).map(|rule| rule.text().event);
        let is_summary = |rule: usize| self.rules.get(rule).is_some_and(|rule| rule.text().summary);
        let summed: Vec<_> =
            about.iter().filter(|(rule, _)| is_summary(*rule)).map(|(rule, _)| event(*rule)).collect();
        let candidate = |(rule, service): (usize, alloc::string::String)| Candidate {
            rule,
            service: service.into_boxed_str(),
            is_summed_up: summed.contains(&event(rule)),
        };
        about.into_iter().map(candidate).collect()
    }

    /// Memory for [`Book::scan`].
    pub(super) fn scratch(&self) -> (PatternSet, Cache) {
        (PatternSet::new(self.rules.len()), self.all.create_cache())
    }

    /// Which rules match a message, whichever program it is of.
    pub(super) fn scan(&self, message: &[u8], cache: &mut Cache, matching: &mut PatternSet) {
        matching.clear();
        let input = Input::new(message).anchored(Anchored::Yes);
        self.all.which_overlapping_matches_with(cache, &input, matching);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::rule::tests::written;

    #[test]
    fn names_are_unique_and_rules_are_bounded() {
        let same = written("p", "{{address}}");
        assert!(matches!(Book::new(alloc::vec![same.clone(), same.clone()]), Err(RuleError::Twice(_))));
        assert!(matches!(Book::new(alloc::vec![same; RULES_LIMIT + 1]), Err(RuleError::TooMany)));
    }
}
