//! What a reply says in words.
//!
//! Servers quote what clients gave them: addresses, host names, the names of attachments. Whoever chooses those must not choose
//! how a reply is understood, so what stands in angle brackets or looks like a name in the network is taken out first.

use alloc::string::String;

use crate::smtp::reply::Reply;

/// The words of a reply in lower case, with one blank before and behind each.
#[derive(Debug)]
pub(super) struct Words(String);

impl Words {
    /// Reads all lines of a reply.
    pub(super) fn of(reply: &Reply<'_>) -> Self {
        let mut words = String::from(" ");
        let mut quoted = false;
        for line in reply.bytes.split(|byte| *byte == b'\n') {
            let text = line.get(4..).unwrap_or_default();
            for token in text.split(u8::is_ascii_whitespace) {
                let opens = token.contains(&b'<');
                let closes = token.contains(&b'>');
                if !quoted && !opens && !is_name(token) {
                    push(&mut words, token);
                }
                quoted = (quoted || opens) && !closes;
            }
        }
        Self(words)
    }

    /// Whether a word begins like this, or words follow each other like this.
    pub(super) fn say(&self, phrase: &str) -> bool {
        self.0
            .match_indices(phrase)
            .any(|(at, _)| self.0.get(..at).is_some_and(|before| before.ends_with(' ')))
    }

    /// Whether any of these is said.
    pub(super) fn say_any(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.say(phrase))
    }
}

/// Addresses, host names and URLs have a dot or an `@` inside.
fn is_name(token: &[u8]) -> bool {
    let inner = token.trim_ascii_end().strip_suffix(b".").unwrap_or(token);
    inner.contains(&b'@') || inner.windows(2).any(|pair| pair[0] == b'.' && pair[1].is_ascii_alphanumeric())
}

fn push(words: &mut String, token: &[u8]) {
    for part in
        token.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'/').filter(|part| !part.is_empty())
    {
        words.extend(part.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        words.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::reply::front;

    fn words(reply: &str) -> Words {
        Words::of(&front(reply.as_bytes()).unwrap().unwrap())
    }

    #[test]
    fn what_a_client_chose_is_not_read() {
        for reply in [
            "550 5.7.1 <virus@spam.example>: no\r\n",
            "550 5.7.1 <\"a virus\" spam>: no\r\n",
            "550 blocked, see https://spam.example/virus\r\n",
            "550 virus@spam: no\r\n",
        ] {
            assert!(!words(reply).say_any(&["spam", "virus"]), "{reply}");
        }
    }

    #[test]
    fn words_are_read_whatever_stands_around_them() {
        let said = words("554-5.7.0 Reject, id=1-2 - INFECTED: Eicar\r\n554 5.7.0 Client host blocked.\r\n");
        assert!(said.say("infected") && said.say("client host") && said.say("block") && !said.say("lient"));
    }
}
