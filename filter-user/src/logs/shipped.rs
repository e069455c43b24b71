//! The rules that come with the program: a file for each kind of server.

use std::collections::BTreeMap;

use filter_core::logs::RuleText;
use serde::Deserialize;

/// The files, in the order in which their rules are asked.
const FILES: [&str; 5] = [
    include_str!("../../rules/postfix.toml"),
    include_str!("../../rules/dovecot.toml"),
    include_str!("../../rules/exim.toml"),
    include_str!("../../rules/opensmtpd.toml"),
    include_str!("../../rules/webmail.toml"),
];

/// Names for `program` of a log file, of programs whose own files the shipped rules know.
pub const OWN_FILES: [&str; 5] = ["dovecot", "exim", "roundcube", "nginx", "apache2"];

/// A file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Parts of patterns that several of its rules share, as `{{name}}`; a part may use those before it in the alphabet
    /// and after it.
    #[serde(default)]
    parts: BTreeMap<String, String>,
    rules: Vec<RuleText>,
}

/// All of them.
pub fn rules() -> Result<Vec<RuleText>, toml::de::Error> {
    let mut rules = Vec::new();
    for text in FILES {
        let File { parts, rules: written } = toml::from_str(text)?;
        rules.extend(written.into_iter().map(|mut rule| {
            rule.pattern = filled(&rule.pattern, &parts);
            rule.program = filled(&rule.program, &parts);
            rule
        }));
    }
    Ok(rules)
}

/// A pattern with its parts in place.
fn filled(pattern: &str, parts: &BTreeMap<String, String>) -> String {
    let fill = |text: String| {
        parts.iter().fold(text, |text, (name, part)| text.replace(&format!("{{{{{name}}}}}"), part))
    };
    // Twice: parts have parts, and those have none.
    fill(fill(pattern.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock};

    use filter_core::logs::{Book, Line, Reader, Rule, Sample};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_shipped_rule_passes_its_trial() {
        let failed: Vec<_> = BOOK.trial().iter().map(ToString::to_string).collect();
        assert_eq!(failed, [""; 0]);
        let has_part = |rule: &Rule| rule.text().pattern.contains("{{");
        assert!(!BOOK.rules().iter().any(has_part), "a part without a name");
    }

    static BOOK: LazyLock<Arc<Book>> = LazyLock::new(|| Arc::new(Book::new(rules().unwrap()).unwrap()));

    /// The samples in which a client has something to say, each with its rule.
    static WORDED: LazyLock<Vec<(&Rule, &Sample)>> = LazyLock::new(|| {
        let samples = |rule: &'static Rule| rule.text().samples.iter().map(move |sample| (rule, sample));
        let has_words = |(rule, sample): &(&Rule, &Sample)| {
            let line = parsed(sample.then.as_ref().unwrap_or(&sample.line), sample);
            sample.address.is_some() && !rule.words(line.message).is_empty()
        };
        BOOK.rules().iter().flat_map(samples).filter(has_words).collect()
    });

    fn parsed<'a>(text: &'a str, sample: &'a Sample) -> Line<'a> {
        match &sample.program {
            Some(program) => Line::of_program(text.as_bytes(), program.as_bytes()),
            None => Line::of_syslog(text.as_bytes()).unwrap(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn whatever_a_client_writes_it_names_nobody_else(
            pick in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            cuts in prop::collection::vec((0..400_usize, 0..400_usize), 0..5),
        ) {
            let (rule, sample) = pick.get(&WORDED);
            let own = sample.address.unwrap();
            let line = parsed(sample.then.as_ref().unwrap_or(&sample.line), sample);
            let places = rule.words(line.message);
            let place = place.get(&places);
            // Pieces of the very message, with somebody else's address in it.
            let foreign = String::from_utf8_lossy(line.message).replace(&own.to_string(), "198.51.100.99").into_bytes();
            let piece = |(from, to): &(usize, usize)| {
                let (from, to) = (from % foreign.len(), to % foreign.len());
                &foreign[from.min(to)..from.max(to)]
            };
            let words: Vec<&[u8]> = cuts.iter().map(piece).collect();
            let message =
                [&line.message[..place.start], &words.concat(), &line.message[place.end..]].concat();
            let mut reader = Reader::new(Arc::clone(&BOOK));
            if sample.then.is_some() {
                reader.read(&parsed(&sample.line, sample));
            }
            if let Some(found) = reader.read(&Line { message: &message, ..line }) {
                prop_assert_eq!(found.address, own, "{}", String::from_utf8_lossy(&message));
            }
        }

        #[test]
        fn garbage_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), head in 0..4_usize) {
            let heads = ["", "Nov 24 15:22:27 mx postfix/smtpd[1]: ", "<22>1 2026-11-24T15:22:27Z mx dovecot - - ", "2026-11-24 15:22:27 "];
            let line = [heads[head].as_bytes(), &bytes].concat();
            let mut reader = Reader::new(Arc::clone(&BOOK));
            if let Some(line) = Line::of_syslog(&line) {
                reader.explain(&line);
            }
            for program in OWN_FILES {
                reader.read(&Line::of_program(&line, program.as_bytes()));
            }
        }
    }

    #[test]
    fn every_program_with_a_file_of_its_own_has_rules() {
        let rules = rules().unwrap();
        for program in OWN_FILES {
            let sampled = |rule: &RuleText| {
                rule.samples.iter().any(|sample| sample.program.as_deref() == Some(program))
            };
            assert!(rules.iter().any(sampled), "{program}");
        }
    }
}
