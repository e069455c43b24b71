//! Lines for other tools: what happened, in a form that the administrator chose.
//!
//! Only what a firewall or a report can act on has a line: offences, blocks and unblocks. One event is one line,
//! whatever a client has put into it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::client::fmt_network;
use crate::event::{Event, What};

/// The format unless the configuration has another one.
pub const DEFAULT_FORMAT: &str = "%T %I %e %E %D";

/// Longest format, in bytes.
pub const FORMAT_LIMIT: usize = 1000;

/// The number of a block in these lines. Offences have their own, from 0 to 199.
const BLOCKED: u16 = 200;
/// The number of an unblock.
const UNBLOCKED: u16 = 201;
/// The number of what would have been a block, had it been enforced.
const WOULD_BE_BLOCKED: u16 = 202;

/// What a line is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFormat {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Time,
    Address,
    Number,
    Name,
    Service,
    Detail,
}

/// Why a text is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A letter that stands for nothing.
    #[error(
        "`%{0}` stands for nothing; write %T (time), %I (address), %e (number), %E (name), %S (service), %D (detail), or %% for a `%`"
    )]
    Unknown(char),
    /// A `%` with nothing behind it.
    #[error("it ends with `%`; write %% for a `%`")]
    Unfinished,
    /// Not one line.
    #[error("it is one line of 1 to {FORMAT_LIMIT} bytes")]
    NotALine,
}

impl LineFormat {
    /// Reads a format.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        if text.trim().is_empty() || text.len() > FORMAT_LIMIT || text.chars().any(breaks) {
            return Err(FormatError::NotALine);
        }
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                plain.push(character);
                continue;
            }
            let part = match characters.next() {
                Some('%') => {
                    plain.push('%');
                    continue;
                }
                Some('T') => Part::Time,
                Some('I') => Part::Address,
                Some('e') => Part::Number,
                Some('E') => Part::Name,
                Some('S') => Part::Service,
                Some('D') => Part::Detail,
                Some(unknown) => return Err(FormatError::Unknown(unknown)),
                None => return Err(FormatError::Unfinished),
            };
            parts.push(Part::Text(core::mem::take(&mut plain)));
            parts.push(part);
        }
        parts.push(Part::Text(plain));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self { parts })
    }

    /// The line for an event that happened at `time`, with its end; none for events that have no line.
    pub fn line(&self, event: &Event, time: &str) -> Option<String> {
        let (number, name, detail) = facts(event)?;
        let mut line = String::new();
        for part in &self.parts {
            // Writing into memory does not fail.
            let _ = match part {
                Part::Text(text) => line.write_str(text),
                Part::Time => line.write_str(time),
                Part::Address => fmt_network(&event.network, &mut line),
                Part::Number => write!(line, "{number}"),
                Part::Name => line.write_str(name),
                Part::Service => match &event.what {
                    What::Offence { service, .. } => line.write_str(service.as_str()),
                    _ => line.write_str("-"),
                },
                Part::Detail if detail.is_empty() => line.write_str("-"),
                Part::Detail => escape(&detail, &mut line),
            };
        }
        line.push('\n');
        Some(line)
    }
}

/// Number, name and detail.
fn facts(event: &Event) -> Option<(u16, &'static str, String)> {
    match &event.what {
        What::Offence { kind, number, .. } => Some((*number, kind.name(), event.what.circumstances())),
        What::Blocked { reason, author, until, enforced, .. } => {
            let seconds = until.since(event.time).as_secs();
            let detail = format!("for {seconds} s, by {author}: {reason}");
            let (number, name) =
                if *enforced { (BLOCKED, "blocked") } else { (WOULD_BE_BLOCKED, "would-be-blocked") };
            Some((number, name, detail))
        }
        What::Unblocked { by, .. } => {
            let detail = by.as_ref().map_or_else(|| "its time had come".to_string(), |by| format!("by {by}"));
            Some((UNBLOCKED, "unblocked", detail))
        }
        _ => None,
    }
}

/// Whether some reader takes a character for the end of a line, or a terminal for a command.
fn breaks(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn escape(text: &str, line: &mut String) -> core::fmt::Result {
    for character in text.chars() {
        if breaks(character) || character == '\\' {
            write!(line, "{}", character.escape_default())?;
        } else {
            line.push(character);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision::Origin;
    use crate::event::EventId;
    use crate::offence::Kind;
    use crate::service::ServiceName;
    use crate::time::Timestamp;

    const TIME: &str = "2026-11-23T04:11:02Z";

    fn event(what: What) -> Event {
        let (id, time) = (EventId(7), Timestamp::from_millis(1_000));
        Event { id, time, network: "192.0.2.7/32".parse().unwrap(), what, answered_by: None }
    }

    fn offence(detail: &str) -> Event {
        let kind = Kind::RelayDenied;
        let (number, detail) = (kind.number(), detail.to_string());
        let (service, account, reported) = (ServiceName::new("submission").unwrap(), None, None);
        let (multiplier, score, failed_logins) = (100, 100, 0);
        event(What::Offence {
            kind,
            number,
            multiplier,
            score,
            detail,
            failed_logins,
            service,
            account,
            reported,
        })
    }

    fn blocked(enforced: bool) -> Event {
        event(What::Blocked {
            origin: Origin::Smtp,
            reason: "score 1000".to_string(),
            author: "engine".to_string(),
            until: Timestamp::from_millis(1_801_000),
            enforced,
            led_by: Vec::new(),
        })
    }

    fn line(format: &str, event: &Event) -> String {
        LineFormat::parse(format).unwrap().line(event, TIME).unwrap()
    }

    #[test]
    fn every_letter_stands_for_its_value() {
        let usual = |event: &Event| line(DEFAULT_FORMAT, event);
        assert_eq!(
            usual(&offence("RCPT TO:<x@y>")),
            "2026-11-23T04:11:02Z 192.0.2.7 1 relay-denied RCPT TO:<x@y>\n"
        );
        assert_eq!(usual(&offence("")), "2026-11-23T04:11:02Z 192.0.2.7 1 relay-denied -\n");
        let block = "2026-11-23T04:11:02Z 192.0.2.7 200 blocked for 1800 s, by engine: score 1000\n";
        assert_eq!(usual(&blocked(true)), block);
        assert!(usual(&blocked(false)).contains(" 202 would-be-blocked "), "observe mode feeds no firewall");
        let by_hand = What::Unblocked { by: Some("root".to_string()), forgave: Vec::new() };
        assert!(usual(&event(by_hand)).ends_with(" 201 unblocked by root\n"));
        assert_eq!(line("100%% %e%E", &offence("")), "100% 1relay-denied\n");
        assert_eq!(line("%S", &offence("")), "submission\n");
        assert_eq!(line("%S", &blocked(true)), "-\n");
    }

    #[test]
    fn what_nobody_can_act_on_has_no_line() {
        let format = LineFormat::parse(DEFAULT_FORMAT).unwrap();
        assert_eq!(format.line(&event(What::NoRoom), TIME), None);
        assert_eq!(format.line(&event(What::Unexempted { by: None }), TIME), None);
    }

    #[test]
    fn other_letters_are_refused() {
        for text in ["%t", "%T %x", "a %", "", " ", "a\nb", "a\u{2028}b", &"x".repeat(FORMAT_LIMIT + 1)] {
            assert!(LineFormat::parse(text).is_err(), "{text:?}");
        }
        let error = LineFormat::parse("%T %x").unwrap_err().to_string();
        assert!(error.contains("`%x`") && error.contains("%D"), "{error}");
    }

    proptest! {
        #[test]
        fn no_client_can_forge_a_line(detail in "(.|[\\r\\n\\x00-\\x1f\\u{85}\\u{2028}\\\\%]){0,40}") {
            let line = line(DEFAULT_FORMAT, &offence(&detail));
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(!body.chars().any(breaks), "{body:?}");
            prop_assert!(body.starts_with("2026-11-23T04:11:02Z 192.0.2.7 1 relay-denied "));
        }

        #[test]
        fn two_details_have_two_lines(one in "[a\\\\n\\n]{0,4}", other in "[a\\\\n\\n]{0,4}") {
            let same = line("%D", &offence(&one)) == line("%D", &offence(&other));
            prop_assert_eq!(same, one == other);
        }

        #[test]
        fn any_text_is_a_format_or_refused(text in ".{0,20}") {
            let _ = LineFormat::parse(&text);
        }
    }
}
