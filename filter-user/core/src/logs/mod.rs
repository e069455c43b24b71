//! Log lines as a source of reports: what a line of a mail server or a web mailer says about a client.
//!
//! [`line`](mod@line) finds the program and the message behind the prefix of a log, [`stamp`] reads its time. A [`rule`] is a regular
//! expression for messages of one program, with named groups for the parts that matter; the [`book`] has all rules and
//! finds those that match in one scan; a [`reader`] reads one line after the other. [`trial`] holds each rule against its own samples, as they are and with text in
//! them that a hostile client would choose.
//!
//! What a line says is chosen by clients to a large part. So a rule is anchored at the beginning of the message, and takes the
//! address from where the program writes it. Everything is linear in the length of the line. Nothing is guessed: a line that no
//! rule matches says nothing.

pub mod book;
pub mod line;
mod memory;
pub mod reader;
pub mod rule;
pub mod stamp;
pub mod trial;

pub use book::{Book, RULES_LIMIT};
pub use line::Line;
pub use reader::{Explanation, Near, Outcome, Quiet, Reader};
pub use rule::{Found, Rule, RuleError, RuleText, Sample};
pub use stamp::Stamp;
pub use trial::{Failed, FailedTrial};

/// Longest line that is looked at, in bytes; of a longer one the rest is thrown away and counted.
pub const LINE_LIMIT: usize = 8192;
