//! Each rule against its own samples: as they are, and with what a hostile client would put into them.
//!
//! A client chooses account, recipient, sender, the name behind HELO and more. For each such place of a sample, it is filled
//! with text that looks like the program's own, with another address in it. Whatever a rule makes of that, it must not name
//! that address.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use regex_automata::Span;

use super::{Book, Line, Reader, Rule, Sample};

/// The address that hostile text names.
const FOREIGN: &str = "198.51.100.99";

/// A sample that does not come to what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule `{rule}`, sample {sample}: {failed}")]
pub struct FailedTrial {
    /// The rule.
    pub rule: String,
    /// Which of its samples, from 1.
    pub sample: usize,
    /// What is wrong.
    pub failed: Failed,
}

/// What is wrong with a sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The line has no prefix that is understood.
    #[error(
        "the line does not begin as one of a syslog; give it `program` if it is from a program's own file"
    )]
    NoLine,
    /// It comes to something else.
    #[error("it comes to {0}; change the pattern or what the sample expects")]
    Other(String),
    /// A client could name somebody else.
    #[error(
        "a client could make it name another address by writing `{0}`; anchor the pattern behind that place, or take the address from before it"
    )]
    Injected(String),
    /// There is none.
    #[error("it has no sample that names an address; add a line that it is for")]
    None,
}

impl Book {
    /// Tries every rule; gives what fails.
    pub fn trial(self: &Arc<Self>) -> Vec<FailedTrial> {
        let mut reader = Reader::new(Arc::clone(self));
        let mut failures = Vec::new();
        for rule in self.rules() {
            let samples = &rule.text().samples;
            let fail = |sample, failed| FailedTrial { rule: rule.name().to_owned(), sample, failed };
            let is_silent = rule.text().ignore || rule.text().introduction;
            if !is_silent && !samples.iter().any(|sample| sample.address.is_some()) {
                failures.push(fail(1, Failed::None));
            }
            for (sample, number) in samples.iter().zip(1..) {
                let failed = one(rule, sample, &mut reader).err();
                failures.extend(failed.map(|failed| fail(number, failed)));
            }
        }
        failures
    }
}

fn one(rule: &Rule, sample: &Sample, reader: &mut Reader) -> Result<(), Failed> {
    reader.forget();
    let mut line = parsed(&sample.line, sample)?;
    if let Some(then) = &sample.then {
        reader.judge(&line);
        line = parsed(then, sample)?;
    }
    let found = reader.read(&line).filter(|found| found.rule == rule.name());
    let Some(address) = sample.address else {
        return found
            .map_or(Ok(()), |found| Err(Failed::Other(format!("{} and should to nothing", found.address))));
    };
    let service = sample.service.as_ref().unwrap_or(&rule.text().service);
    let is_right = found.as_ref().is_some_and(|found| {
        (found.address, &found.account, found.count, &found.service)
            == (address, &sample.account, sample.count.unwrap_or(1), service)
    });
    if !is_right {
        let said = found.map_or_else(
            || "nothing".to_owned(),
            |found| {
                let account = found.account.as_deref().unwrap_or("none");
                format!(
                    "address {}, account {account}, count {}, service {}",
                    found.address, found.count, found.service
                )
            },
        );
        return Err(Failed::Other(said));
    }
    for hostile in hostile(line.message, &rule.words(line.message), &format!("{address}")) {
        let found = reader.read(&Line { message: &hostile.0, ..line });
        if found.is_some_and(|found| found.address != address) {
            return Err(Failed::Injected(String::from_utf8_lossy(&hostile.1).into_owned()));
        }
    }
    Ok(())
}

fn parsed<'a>(text: &'a str, sample: &'a Sample) -> Result<Line<'a>, Failed> {
    match &sample.program {
        Some(program) => Ok(Line::of_program(text.as_bytes(), program.as_bytes())),
        None => Line::of_syslog(text.as_bytes()).ok_or(Failed::NoLine),
    }
}

/// A message with hostile words in each place that a client fills, and those words.
fn hostile(message: &[u8], places: &[Span], own: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut messages = Vec::new();
    for place in places {
        let (before, words, after) =
            (&message[..place.start], &message[place.start..place.end], &message[place.end..]);
        let (foreign_before, foreign_after) = (swapped(before, own), swapped(after, own));
        let whole = swapped(message, own);
        let bracketed = format!("x[{FOREIGN}]");
        let tries: [&[&[u8]]; 9] = [
            &[FOREIGN.as_bytes()],
            &[words, b" ", bracketed.as_bytes()],
            &[bracketed.as_bytes(), b" "],
            &[words, &foreign_after],
            &[words, &foreign_after, &foreign_after],
            &[words, &foreign_after, b" "],
            &[&foreign_before, words],
            &[words, &foreign_after, b": ", &whole],
            &[&whole],
        ];
        for words in tries.map(<[&[u8]]>::concat) {
            messages.push(([before, &words, after].concat(), words));
        }
    }
    messages
}

/// A text with the foreign address in place of its own, and with it at its end if there was none.
fn swapped(text: &[u8], own: &str) -> Vec<u8> {
    let mut swapped = Vec::new();
    let mut rest = text;
    while let Some(place) = memchr::memmem::find(rest, own.as_bytes()) {
        swapped.extend_from_slice(&rest[..place]);
        swapped.extend_from_slice(FOREIGN.as_bytes());
        rest = &rest[place + own.len()..];
    }
    swapped.extend_from_slice(rest);
    swapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::RuleText;
    use crate::logs::rule::tests::written;

    fn trial(pattern: &str, line: &str, address: Option<&str>, account: Option<&str>) -> Vec<String> {
        let sample = Sample {
            line: ["Nov 24 15:22:27 mx p[1]: ", line].concat(),
            then: None,
            program: None,
            address: address.map(|address| address.parse().unwrap()),
            account: account.map(ToOwned::to_owned),
            count: None,
            service: None,
        };
        let text = RuleText { samples: alloc::vec![sample], ..written("p", pattern) };
        let failures = Arc::new(Book::new(alloc::vec![text]).unwrap()).trial();
        failures.into_iter().map(|failed| format!("{failed}")).collect()
    }

    #[test]
    fn a_sample_must_come_to_what_it_says() {
        let good = r"from (?<address>\S+) user (?<account>.*)$";
        assert_eq!(trial(good, "from 192.0.2.7 user bob", Some("192.0.2.7"), Some("bob")), [""; 0]);
        assert!(trial(good, "from 192.0.2.7 user bob", Some("192.0.2.7"), None)[0].contains("account bob"));
        assert!(
            trial(good, "to 192.0.2.7 user bob", Some("192.0.2.7"), None)[0].contains("comes to nothing")
        );
        assert!(trial(good, "to 192.0.2.7 user bob", None, None)[0].contains("no sample"));
        assert_eq!(trial(good, "from 192.0.2.7 user bob", None, None).len(), 2);
    }

    #[test]
    fn a_rule_that_believes_a_client_is_found_out() {
        let line = "user <bob> from 192.0.2.7";
        let tried = |pattern| trial(pattern, line, Some("192.0.2.7"), Some("bob"));
        for believing in [
            r"user <(?<account>.*?)> from (?<address>\S+)",
            r"user <(?<account>[^>]*)> from (?<address>\S+)",
            r"user <(?<account>\w+).*?from (?<address>\S+)",
        ] {
            assert!(tried(believing)[0].contains("another address"), "{believing}");
        }
        assert_eq!(tried(r"user <(?<account>.*)> from (?<address>\S+)$"), [""; 0]);
    }
}
