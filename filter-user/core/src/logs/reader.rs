//! Reads lines by the rules of a book, one after the other, with memory that makes the next line cheap and a session whole.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use regex_automata::meta::Cache;
use regex_automata::{PatternID, PatternSet};
use serde::Serialize;

use super::book::Candidate;
use super::memory::Memory;
use super::rule::{Found, Reading};
use super::{Book, Line};
use crate::offence::printable;

/// Programs whose rules are remembered; those of others are looked up each time.
const PROGRAMS_LIMIT: usize = 1024;

/// Why a line that a rule matches is not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quiet {
    /// The rule says that it is no client's fault.
    Ignored,
    /// It only says who a client is.
    Introduction,
    /// Nothing has failed.
    NothingFailed,
    /// Earlier lines of the session have told of all of it.
    CountedBefore,
    /// Where the address should be is none.
    NoAddress,
    /// It names a session whose client has not been named.
    UnknownSession,
}

/// What becomes of a line that a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is reported.
    Found(Found),
    /// It is not.
    Quiet {
        /// The rule.
        rule: usize,
        /// Why.
        why: Quiet,
    },
}

/// The reader of one source.
#[derive(Debug)]
pub struct Reader {
    book: Arc<Book>,
    programs: HashMap<Box<[u8]>, Arc<[Candidate]>>,
    matching: PatternSet,
    cache: Cache,
    memory: Memory,
}

impl Reader {
    /// A reader that has seen nothing.
    pub fn new(book: Arc<Book>) -> Self {
        let (matching, cache) = book.scratch();
        Self { book, programs: HashMap::new(), matching, cache, memory: Memory::default() }
    }

    /// The rules that it reads by.
    pub const fn shared_book(&self) -> &Arc<Book> {
        &self.book
    }

    /// What a line says, if it is to be reported.
    pub fn read(&mut self, line: &Line<'_>) -> Option<Found> {
        match self.judge(line)? {
            Outcome::Found(found) => Some(found),
            Outcome::Quiet { .. } => None,
        }
    }

    /// What becomes of a line; nothing if no rule matches.
    pub fn judge(&mut self, line: &Line<'_>) -> Option<Outcome> {
        let candidates = self.candidates(line.program);
        if candidates.is_empty() {
            return None;
        }
        self.book.scan(line.message, &mut self.cache, &mut self.matching);
        if self.matching.is_empty() {
            return None;
        }
        let is_matching =
            |index: usize| PatternID::new(index).is_ok_and(|pattern| self.matching.contains(pattern));
        let candidate = candidates.iter().find(|candidate| is_matching(candidate.rule))?;
        let reading = self.book.rules().get(candidate.rule)?.read(line.message)?;
        Some(self.weigh(candidate, &reading, line))
    }

    /// The rules that are about a program, remembered.
    fn candidates(&mut self, program: &[u8]) -> Arc<[Candidate]> {
        if let Some(known) = self.programs.get(program) {
            return Arc::clone(known);
        }
        let candidates = self.book.candidates(program);
        if self.programs.len() < PROGRAMS_LIMIT {
            self.programs.insert(program.into(), Arc::clone(&candidates));
        }
        candidates
    }

    fn weigh(&mut self, candidate: &Candidate, reading: &Reading<'_>, line: &Line<'_>) -> Outcome {
        let rule = candidate.rule;
        let quiet = |why| Outcome::Quiet { rule, why };
        let Some(text) = self.book.rules().get(rule).map(super::Rule::text) else {
            return quiet(Quiet::Ignored);
        };
        let named = reading.session.map(|session| [line.program, b" ", session].concat());
        let session: &[u8] = named.as_deref().unwrap_or(line.process);
        let known = || named.as_ref().and_then(|session| self.memory.client(session));
        let Some(address) = reading.address.or_else(known) else {
            // Without an address nobody can be wronged, so it does not matter what was ignored.
            let unknown = if named.is_some() { Quiet::UnknownSession } else { Quiet::NoAddress };
            return quiet(if text.ignore { Quiet::Ignored } else { unknown });
        };
        if text.introduction {
            self.memory.introduce(session, address);
            return quiet(Quiet::Introduction);
        }
        if reading.count == 0 {
            return quiet(Quiet::NothingFailed);
        }
        let mut count = reading.count;
        if text.summary {
            count = count.saturating_sub(self.memory.settle(session, address));
        } else if candidate.is_summed_up {
            self.memory.count(session, address, count);
        }
        if text.ignore {
            return quiet(Quiet::Ignored);
        }
        if count == 0 {
            return quiet(Quiet::CountedBefore);
        }
        Outcome::Found(Found {
            rule: text.name.clone(),
            event: text.event,
            service: reading.service.clone().unwrap_or_else(|| candidate.service.as_ref().into()),
            address,
            account: reading.account.clone(),
            count,
            detail: printable(line.message),
            stamp: reading.stamp,
        })
    }

    /// Forgets what earlier lines have said.
    pub(super) fn forget(&mut self) {
        self.memory = Memory::default();
    }

    /// What a line comes to, in words for a person.
    pub fn explain(&mut self, line: &Line<'_>) -> Explanation {
        let book = Arc::clone(&self.book);
        let name = |rule: usize| book.rules().get(rule).map(|rule| rule.name().into()).unwrap_or_default();
        match self.judge(line) {
            Some(Outcome::Found(found)) => Explanation::Found(found),
            Some(Outcome::Quiet { rule, why }) => Explanation::Quiet { rule: name(rule), why },
            None => {
                let candidates = book.candidates(line.program);
                let follow = |candidate: &Candidate| {
                    let length = book.rules().get(candidate.rule)?.follows(line.message);
                    Some(Near { rule: name(candidate.rule), length })
                };
                let near: Vec<_> = candidates.iter().filter_map(follow).collect();
                let nearest = near.into_iter().filter(|near| near.length > 0).max_by_key(|near| near.length);
                Explanation::NoRule { rules: candidates.len(), nearest }
            }
        }
    }
}

/// What becomes of a line, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Explanation {
    /// It is reported.
    Found(Found),
    /// A rule matches, and it is not reported.
    Quiet {
        /// The rule.
        rule: alloc::string::String,
        /// Why.
        why: Quiet,
    },
    /// No rule matches.
    NoRule {
        /// Rules that are about this program.
        rules: usize,
        /// The one that goes along furthest.
        nearest: Option<Near>,
    },
}

/// A rule that nearly matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Near {
    /// The rule.
    pub rule: alloc::string::String,
    /// Bytes of the message that it goes along with.
    pub length: usize,
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::logs::RuleText;
    use crate::logs::rule::tests::written;

    fn reader() -> Reader {
        let rule = |name: &str, program: &str, pattern: &str| RuleText {
            name: name.into(),
            ..written(program, pattern)
        };
        let rules = alloc::vec![
            RuleText { ignore: true, ..rule("trouble", "p", "failed from {{address}} by us") },
            rule("a", "p", "failed from {{address}} x"),
            rule("b", "p|q", "failed from {{address}}"),
            RuleText {
                summary: true,
                ..rule("sum", "p", r"end of {{address}} (?<passed>\d+)/(?<total>\d+)$")
            },
            RuleText { introduction: true, ..rule("hello", "s", "(?<session>[0-9]+) is {{address}}") },
            rule("late", "s", "(?<session>[0-9]+) failed"),
        ];
        Reader::new(Arc::new(Book::new(rules).unwrap()))
    }

    fn line<'a>(program: &'a str, message: &'a str) -> Line<'a> {
        let program = program.as_bytes();
        Line { stamp: None, program, process: program, message: message.as_bytes() }
    }

    fn found(program: &str, message: &str) -> Option<String> {
        let mut reader = reader();
        let found = reader.read(&line(program, message)).map(|found| found.rule);
        let again = reader.read(&line(program, message)).map(|found| found.rule);
        assert_eq!(again, found, "the second time as the first");
        found
    }

    #[test]
    fn the_first_rule_of_the_program_that_matches_speaks() {
        assert_eq!(found("p", "failed from 192.0.2.7 x").as_deref(), Some("a"));
        assert_eq!(found("p", "failed from 192.0.2.7 y").as_deref(), Some("b"));
        assert_eq!(found("q", "failed from 192.0.2.7 x").as_deref(), Some("b"));
        assert_eq!(found("p", "failed from 192.0.2.7 by us"), None);
        assert_eq!(found("r", "failed from 192.0.2.7 x"), None);
        assert_eq!(found("pq", "failed from 192.0.2.7 x"), None, "the whole name of the program");
        assert_eq!(found("p", "has failed from 192.0.2.7 x"), None, "from the beginning on");
    }

    #[test]
    fn a_summary_counts_what_no_line_has_told_of() {
        let mut reader = reader();
        let mut read = |message| reader.read(&line("p", message)).map_or(0, |found| found.count);
        assert_eq!(read("end of 192.0.2.7 1/4"), 3);
        assert_eq!((read("failed from 192.0.2.7 x"), read("failed from 192.0.2.7")), (1, 1));
        assert_eq!(read("failed from 192.0.2.7 by us"), 0);
        assert_eq!(read("end of 192.0.2.7 1/5"), 1);
        assert_eq!((read("failed from 192.0.2.7 x"), read("end of 192.0.2.7 0/1")), (1, 0));
        assert_eq!(
            (read("failed from 192.0.2.7 x"), read("end of 192.0.2.8 0/1")),
            (1, 1),
            "of somebody else"
        );
    }

    #[test]
    fn a_session_is_its_clients() {
        let mut reader = reader();
        let mut read = |message| reader.read(&line("s", message)).map(|found| format!("{}", found.address));
        assert_eq!(read("17 failed"), None);
        assert_eq!(read("17 is 192.0.2.7"), None);
        assert_eq!(read("18 is 2001:db8::8"), None);
        assert_eq!(read("17 failed").as_deref(), Some("192.0.2.7"));
        assert_eq!(read("18 failed").as_deref(), Some("2001:db8::8"));
    }

    #[test]
    fn what_says_nothing_is_explained() {
        let explain =
            |program: &str, message: &str| format!("{:?}", reader().explain(&line(program, message)));
        assert!(explain("p", "end of 192.0.2.7 3/3").contains("rule: \"sum\", why: NothingFailed"));
        assert!(explain("p", "end of 192.0.2 0/3").contains("why: NoAddress"));
        assert!(explain("s", "17 failed").contains("why: UnknownSession"));
        assert!(explain("p", "end of 192.0.2.7, 0/3").contains("rule: \"sum\", length: 16"));
        assert!(explain("q", "hello").contains("NoRule { rules: 1, nearest: None }"));
        assert!(explain("r", "failed from").contains("NoRule { rules: 0"));
    }
}
