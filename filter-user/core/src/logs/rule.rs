//! One rule: which messages of which program mean what, and who is meant.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use regex_automata::hybrid::dfa::DFA;
use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson;
use regex_automata::util::captures::Captures;
use regex_automata::util::primitives::PatternID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, Span};
use serde::{Deserialize, Serialize};

use super::Stamp;
use crate::client::ClientAddr;
use crate::detect::PatternError;
use crate::offence::{Kind, account_name, printable};
use crate::report::COUNT_LIMIT;

/// Memory that one compiled rule may take, in bytes.
const RULE_SIZE: usize = 1 << 20;
/// Longest pattern of a rule, in bytes.
const PATTERN_LIMIT: usize = 4096;

/// What `{{address}}` stands for.
const ADDRESS: &str = "(?<address>[0-9A-Fa-f:.]+)";
/// Groups that a program fills.
const FACTS: [&str; 7] = ["address", "count", "total", "passed", "service", "session", "time"];
/// Groups that a client fills; trials fill them with what a hostile one would choose.
const WORDS: [&str; 5] = ["account", "recipient", "sender", "helo", "text"];

/// A rule as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// Its name, such as `postfix-relay-denied`.
    pub name: String,
    /// The program whose messages it is about: a regular expression for the whole name. A group `service` in it names the service.
    pub program: String,
    /// The service that the offence is said to be of.
    pub service: String,
    /// What it means.
    pub event: Kind,
    /// The regular expression for the message, from its beginning on. `{{address}}` in it is a group for an address.
    pub pattern: String,
    /// It is no client's fault, and later rules are not asked.
    #[serde(default)]
    pub ignore: bool,
    /// It says who a client is whose later lines name only the group `session`.
    #[serde(default)]
    pub introduction: bool,
    /// It counts everything of a session at its end; what other lines of that session, or of its process, have told of is taken
    /// off.
    #[serde(default)]
    pub summary: bool,
    /// Lines with what they must come to.
    #[serde(default)]
    pub samples: Vec<Sample>,
}

/// A line, and what a rule must make of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The line, with its prefix.
    pub line: String,
    /// The line after it, if that is the one which counts.
    #[serde(default)]
    pub then: Option<String>,
    /// Of a line from a program's own file: which program.
    #[serde(default)]
    pub program: Option<String>,
    /// The address that it is about; none: this rule must say nothing.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The account.
    #[serde(default)]
    pub account: Option<String>,
    /// How often it counts.
    #[serde(default)]
    pub count: Option<u32>,
    /// The service, where it is not that of the rule.
    #[serde(default)]
    pub service: Option<String>,
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A regular expression cannot be read.
    #[error("rule `{rule}`: {error}")]
    Pattern {
        /// The rule.
        rule: String,
        /// What is wrong.
        error: PatternError,
    },
    /// It does not say who is meant.
    #[error(
        "rule `{0}` has no group `address`; put {{{{address}}}} where the program writes the client's address"
    )]
    NoAddress(String),
    /// A group that means nothing.
    #[error(
        "rule `{rule}` has a group `{group}`; groups are address, account, recipient, sender, helo, text, count, total, passed, service, session and time"
    )]
    Group {
        /// The rule.
        rule: String,
        /// The group.
        group: String,
    },
    /// A name that cannot be one.
    #[error(
        "`{0}` is no name for a rule or a service; use 1 to 64 letters, digits, dots, hyphens and underscores"
    )]
    Name(String),
    /// Two rules of one name.
    #[error("there are two rules `{0}`; give one of them another name")]
    Twice(String),
    /// Too many of them.
    #[error("there are more than {} rules; remove some", super::RULES_LIMIT)]
    TooMany,
}

/// A rule that can be asked.
#[derive(Debug, Clone)]
pub struct Rule {
    text: RuleText,
    program: Regex,
    message: Regex,
}

/// What a message says by itself.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// None: it is not said here, or is none.
    pub(super) address: Option<IpAddr>,
    /// 0: nothing failed.
    pub(super) count: u32,
    pub(super) service: Option<String>,
    pub(super) account: Option<String>,
    pub(super) session: Option<&'a [u8]>,
    pub(super) stamp: Option<Stamp>,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The rule that matched.
    pub rule: String,
    /// What it means.
    pub event: Kind,
    /// The service that it is of.
    pub service: String,
    /// Who did it.
    pub address: IpAddr,
    /// Whose account was tried, as printable ASCII.
    pub account: Option<String>,
    /// How often, 1 to 1000.
    pub count: u32,
    /// The message, as printable ASCII of at most 200 bytes.
    pub detail: String,
    /// When, where the message itself says so.
    #[serde(skip)]
    pub stamp: Option<Stamp>,
}

/// A regular expression for bytes; where it must match the whole of a text, or from its beginning on.
pub(super) fn compile(text: &str, is_whole: bool) -> Result<Regex, PatternError> {
    if text.len() > PATTERN_LIMIT {
        let why = format!("it is longer than {PATTERN_LIMIT} bytes");
        return Err(PatternError { pattern: text.chars().take(40).collect(), why });
    }
    let end = if is_whole { r"\z" } else { "" };
    Regex::builder()
        .configure(Config::new().nfa_size_limit(Some(RULE_SIZE)).utf8_empty(false))
        .syntax(bytes())
        .build(&format!(r"\A(?:{text}){end}"))
        .map_err(|error| PatternError::of(text, &error))
}

/// The dialect of all rules.
pub(super) fn bytes() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

impl Rule {
    /// Compiles one.
    pub fn new(mut text: RuleText) -> Result<Self, RuleError> {
        text.pattern = text.pattern.replace("{{address}}", ADDRESS);
        for name in [&text.name, &text.service] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
                return Err(RuleError::Name(name.chars().take(80).collect()));
            }
        }
        let compiled = |pattern: &str, is_whole| {
            compile(pattern, is_whole).map_err(|error| RuleError::Pattern { rule: text.name.clone(), error })
        };
        let (program, message) = (compiled(&text.program, true)?, compiled(&text.pattern, false)?);
        let names = |regex: &Regex| -> Vec<String> {
            regex.group_info().pattern_names(PatternID::ZERO).flatten().map(ToOwned::to_owned).collect()
        };
        let is_known = |group: &str| FACTS.contains(&group) || WORDS.contains(&group);
        let unknown = names(&message).into_iter().find(|group| !is_known(group));
        let unknown = unknown.or_else(|| names(&program).into_iter().find(|group| group != "service"));
        if let Some(group) = unknown {
            return Err(RuleError::Group { rule: text.name, group });
        }
        let has_client = names(&message).iter().any(|group| group == "address" || group == "session");
        if !has_client && !text.ignore {
            return Err(RuleError::NoAddress(text.name));
        }
        Ok(Self { text, program, message })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.text.name
    }

    /// What was written.
    pub const fn text(&self) -> &RuleText {
        &self.text
    }

    /// The service, if this rule is about messages of a program.
    pub(super) fn service_of(&self, program: &[u8]) -> Option<String> {
        let mut groups = self.program.create_captures();
        self.program.captures(program, &mut groups);
        let named = || groups.get_group_by_name("service").and_then(|span| program.get(span.range()));
        groups.is_match().then(|| named().map_or_else(|| self.text.service.clone(), printable))
    }

    /// What a message says by this rule; nothing if it does not match.
    pub(super) fn read<'a>(&self, message: &'a [u8]) -> Option<Reading<'a>> {
        let groups = self.groups(message)?;
        let bytes = |name| groups.get_group_by_name(name).and_then(|span| message.get(span.range()));
        let text = |name| bytes(name).and_then(|bytes| core::str::from_utf8(bytes).ok());
        let number = |name| text(name).and_then(|text| text.parse::<u32>().ok());
        let count = match (number("total"), number("passed")) {
            (Some(total), passed) => total.saturating_sub(passed.unwrap_or(0)),
            (None, _) => number("count").unwrap_or(1),
        };
        let account = bytes("account").map(account_name).filter(|account| !account.is_empty());
        Some(Reading {
            address: text("address").and_then(|text| text.parse().ok()).map(|ip| ClientAddr::new(ip).ip()),
            count: count.min(COUNT_LIMIT),
            service: bytes("service").map(printable),
            account,
            session: bytes("session"),
            stamp: bytes("time").and_then(Stamp::take).map(|(stamp, _)| stamp),
        })
    }

    /// Where in a message that matches a client's own words are.
    pub fn words(&self, message: &[u8]) -> Vec<Span> {
        let groups = self.groups(message);
        let span = |name: &&str| groups.as_ref().and_then(|groups| groups.get_group_by_name(name));
        WORDS.iter().filter_map(span).collect()
    }

    /// How many bytes of a message it goes along with.
    pub(super) fn follows(&self, message: &[u8]) -> usize {
        let dfa = DFA::builder()
            .syntax(bytes())
            .thompson(thompson::Config::new().utf8(false))
            .build(&format!(r"\A(?:{})", self.text.pattern));
        // What has been compiled once can be compiled again; if not, nothing can be said.
        let Ok(dfa) = dfa else { return 0 };
        let mut cache = dfa.create_cache();
        let input = Input::new(message).anchored(Anchored::Yes);
        let Ok(mut state) = dfa.start_state_forward(&mut cache, &input) else { return 0 };
        for (place, byte) in message.iter().enumerate() {
            match dfa.next_state(&mut cache, state, *byte) {
                Ok(next) if !next.is_dead() && !next.is_quit() => state = next,
                Ok(_) | Err(_) => return place,
            }
        }
        message.len()
    }

    fn groups(&self, message: &[u8]) -> Option<Captures> {
        let mut groups = self.message.create_captures();
        self.message.captures(Input::new(message).anchored(Anchored::Yes), &mut groups);
        groups.is_match().then_some(groups)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use alloc::string::ToString as _;

    use super::*;

    pub(in super::super) fn written(program: &str, pattern: &str) -> RuleText {
        RuleText {
            name: "r".to_owned(),
            program: program.to_owned(),
            service: "smtp".to_owned(),
            event: Kind::BadAuthentication,
            pattern: pattern.to_owned(),
            ignore: false,
            introduction: false,
            summary: false,
            samples: Vec::new(),
        }
    }

    #[test]
    fn groups_become_a_reading() {
        let rule = |pattern: &str| Rule::new(written("p(?:/(?<service>a|b))?", pattern)).unwrap();
        let full =
            rule(r"(?<service>\w+): from x\[{{address}}\] for (?<account>.*) (?<passed>\d+)/(?<total>\d+)$");
        let read = full.read(b"imap: from x[::ffff:192.0.2.7] for a\xff\x1bb 2/5").unwrap();
        let address = read.address.map(|ip| ip.to_string());
        assert_eq!((read.service.as_deref(), address.as_deref()), (Some("imap"), Some("192.0.2.7")));
        assert_eq!((read.account.as_deref(), read.count), (Some("a??b"), 3));
        assert_eq!(full.read(b"imap: from x[192.0.2.7] for a 2/2").unwrap().count, 0);
        assert!(full.read(b"imap: from x[1.2.3] for a 0/2").unwrap().address.is_none());
        assert!(full.read(b"y imap: from x[192.0.2.7] for a 0/2").is_none(), "not at the beginning");
        assert_eq!(full.service_of(b"p/a").as_deref(), Some("a"));
        assert_eq!(full.service_of(b"p").as_deref(), Some("smtp"));
        assert_eq!(full.service_of(b"p/c"), None);
        let counted = rule(r"x {{address}} (?<count>\d+)");
        assert_eq!(counted.read(b"x ::1 4294967295").unwrap().count, COUNT_LIMIT);
        assert_eq!(counted.read(b"x ::1 99999999999").unwrap().count, 1);
    }

    #[test]
    fn a_rule_with_a_mistake_is_refused_with_a_remedy() {
        let refused = |text: RuleText| Rule::new(text).unwrap_err().to_string();
        assert!(refused(written("p", "x")).contains("{{address}}"));
        assert!(refused(written("p", "(?<address>x)(?<adress>y)")).contains("`adress`"));
        assert!(refused(written("(?<x>p)", "(?<address>x)")).contains("`x`"));
        assert!(refused(written("p", "(?<address>x")).contains("unclosed group"));
        assert!(refused(written("p", &"x".repeat(PATTERN_LIMIT + 1))).contains("4096"));
        assert!(
            refused(RuleText { name: "a b".to_owned(), ..written("p", "(?<address>x)") }).contains("`a b`")
        );
    }
}
