//! Which rows of a long table somebody wants: `cargo xtask bench kernel -- packet IPv4 1000000`.

use anyhow::{Result, ensure};

/// Words and numbers; of each kind, none means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    words: Vec<String>,
    numbers: Vec<usize>,
}

impl Choice {
    /// Reads what was asked for: numbers are lengths of lists, and the words are some of these.
    pub fn read(arguments: impl Iterator<Item = String>, known: &[&str]) -> Result<Self> {
        let mut choice = Self::default();
        for argument in arguments {
            if let Ok(number) = argument.parse() {
                choice.numbers.push(number);
                continue;
            }
            ensure!(
                known.contains(&argument.as_str()),
                "there is no {argument}; there are {}",
                known.join(", ")
            );
            choice.words.push(argument);
        }
        Ok(choice)
    }

    /// Whether rows of this name are wanted.
    pub fn has(&self, word: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|wanted| wanted == word)
    }

    /// Whether rows of this length are wanted.
    pub fn has_number(&self, number: usize) -> bool {
        self.numbers.is_empty() || self.numbers.contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_of_a_kind_means_all_and_a_word_that_nobody_knows_is_named() {
        let read = |text: &str| Choice::read(text.split_whitespace().map(str::to_owned), &["IPv4", "IPv6"]);
        let one = read("IPv4 1000").unwrap();
        assert!(one.has("IPv4") && !one.has("IPv6") && one.has_number(1000) && !one.has_number(1));
        let all = read("").unwrap();
        assert!(all.has("IPv6") && all.has_number(7));
        assert!(read("IPv5").unwrap_err().to_string().contains("IPv5; there are IPv4, IPv6"));
    }
}
