//! What a replay came to, in a sentence or two: the one that an administrator decides by.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Compared, Outcome, Side, Successes};
use crate::client::fmt_network;

/// Clients that the sentence names.
const NAMED: usize = 3;

impl Outcome {
    /// How many clients more and fewer would have been blocked, and which of them were perhaps honest.
    pub fn summary(&self) -> String {
        let mut sentences: Vec<String> = [(Side::Replayed, "more"), (Side::InForce, "fewer")]
            .into_iter()
            .filter_map(|(side, word)| self.sentence(side, word))
            .collect();
        if sentences.is_empty() {
            sentences.push(match self.both {
                0 => "nobody would have been blocked, and nobody was".to_string(),
                1 => "the same client would have been blocked".to_string(),
                both => format!("the same {both} clients would have been blocked"),
            });
        }
        sentences.join("; ")
    }

    fn sentence(&self, side: Side, word: &str) -> Option<String> {
        let clients = self.clients.iter().filter(|client| client.side() == side);
        let (count, honest): (usize, Vec<&Compared>) =
            clients.fold((0, Vec::new()), |(count, mut honest), client| {
                if client.succeeded.count() > 0 {
                    honest.push(client);
                }
                (count + 1, honest)
            });
        let start = match count {
            0 => return None,
            1 => format!("1 client {word} would have been blocked"),
            count => format!("{count} clients {word} would have been blocked"),
        };
        if honest.is_empty() {
            let who = if count == 1 { "it neither" } else { "none of them" };
            return Some(format!("{start}, and {who} logged in {} delivered mail meanwhile", or(count)));
        }
        let names: Vec<_> = honest.iter().take(NAMED).map(|client| named(client)).collect();
        let more = if honest.len() > NAMED { ", …" } else { "" };
        Some(format!(
            "{start}, and {} of them logged in or delivered mail meanwhile: {}{more}",
            honest.len(),
            names.join(", ")
        ))
    }
}

const fn or(count: usize) -> &'static str {
    if count == 1 { "nor" } else { "or" }
}

fn named(client: &Compared) -> String {
    let mut name = String::new();
    // Writing into a string does not fail.
    let _ = fmt_network(&client.network, &mut name);
    let Successes { logins, messages } = client.succeeded;
    let words = [counted(logins, "login"), counted(messages, "message")];
    let words: Vec<_> = words.into_iter().flatten().collect();
    format!("{name} ({})", words.join(", "))
}

fn counted(count: u32, word: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        count => Some(format!("{count} {word}s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Blocked;
    use crate::time::Timestamp;

    fn outcome(clients: Vec<Compared>) -> Outcome {
        let count = |side| clients.iter().filter(|client| client.side() == side).count() as u64;
        Outcome {
            offences: 1,
            first: None,
            last: None,
            both: count(Side::Both),
            only_in_force: count(Side::InForce),
            only_replayed: count(Side::Replayed),
            not_told_apart: 0,
            clients,
        }
    }

    fn client(host: u8, side: Side, logins: u32, messages: u32) -> Compared {
        let blocked = || Some(Blocked { first: Timestamp::from_millis(0), times: 1, score: None });
        Compared {
            network: crate::client::host([192, 0, 2, host].into()),
            in_force: blocked().filter(|_| side != Side::Replayed),
            replayed: blocked().filter(|_| side != Side::InForce),
            succeeded: Successes { logins, messages },
        }
    }

    #[test]
    fn who_would_be_harmed_is_named() {
        let new = |host, logins, messages| client(host, Side::Replayed, logins, messages);
        assert_eq!(
            outcome([new(1, 0, 3), new(2, 1, 0), new(3, 0, 0)].to_vec()).summary(),
            "3 clients more would have been blocked, and 2 of them logged in or delivered mail meanwhile: \
             192.0.2.1 (3 messages), 192.0.2.2 (1 login)"
        );
        let fewer = [new(1, 0, 0), client(4, Side::InForce, 0, 0), client(5, Side::InForce, 0, 0)];
        assert_eq!(
            outcome(fewer.to_vec()).summary(),
            "1 client more would have been blocked, and it neither logged in nor delivered mail meanwhile; \
             2 clients fewer would have been blocked, and none of them logged in or delivered mail meanwhile"
        );
        let five = (1..=5).map(|host| new(host, 0, 1)).collect();
        assert!(outcome(five).summary().ends_with("192.0.2.3 (1 message), …"));
        assert_eq!(
            outcome([client(1, Side::Both, 0, 0)].to_vec()).summary(),
            "the same client would have been blocked"
        );
        assert_eq!(outcome(Vec::new()).summary(), "nobody would have been blocked, and nobody was");
    }
}
