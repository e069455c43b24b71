//! The prefix of a log line: when, and by which program.
//!
//! A line of a syslog names its program behind the host. A line of a program's own file does not, and whoever names the
//! file says which it is. The two are never mixed up by themselves: text that a client chose could otherwise name a program.

use super::Stamp;

/// A line in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written, if it says so.
    pub stamp: Option<Stamp>,
    /// The program's name, such as `postfix/smtpd`.
    pub program: &'a [u8],
    /// The program with its number, such as `postfix/smtpd[123]`, as far as it is known: what one of them says belongs together.
    pub process: &'a [u8],
    /// What the program says.
    pub message: &'a [u8],
}

impl<'a> Line<'a> {
    /// A line of a syslog: RFC 3164 as it is written to files (with that time or ISO 8601), or RFC 5424. Nothing if it is none.
    pub fn of_syslog(line: &'a [u8]) -> Option<Self> {
        let line = trimmed(line);
        if let Some(line) = line.strip_prefix(b"<") {
            let end = memchr::memchr(b'>', line).filter(|end| *end <= 3)?;
            let line = &line[end + 1..];
            return line.strip_prefix(b"1 ").map_or_else(|| Self::of_file(line), Self::of_wire);
        }
        Self::of_file(line)
    }

    /// A line of a program's own file, with its time in front or without.
    pub fn of_program(line: &'a [u8], program: &'a [u8]) -> Self {
        let line = trimmed(line);
        match Stamp::take(line) {
            Some((stamp, message)) => {
                Self { stamp: Some(stamp), program, process: program, message: message.trim_ascii_start() }
            }
            None => Self { stamp: None, program, process: program, message: line },
        }
    }

    /// `TIME HOST PROGRAM[PID]: MESSAGE`
    fn of_file(line: &'a [u8]) -> Option<Self> {
        let (stamp, rest) = Stamp::take(line)?;
        let (host, rest) = word(rest)?;
        if !host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(byte))
            || host.ends_with(b":")
        {
            return None;
        }
        let whole = rest;
        let length = rest.iter().position(|byte| b"[: ".contains(byte))?;
        let (program, rest) = rest.split_at(length);
        // Some write a space before the number.
        let rest = rest.strip_prefix(b" ").filter(|rest| rest.starts_with(b"[")).unwrap_or(rest);
        let rest = match rest.strip_prefix(b"[") {
            Some(number) => {
                let length = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
                number[length..].strip_prefix(b"]")?
            }
            None => rest,
        };
        let process = &whole[..whole.len() - rest.len()];
        let message = rest.strip_prefix(b":")?;
        let message = message.strip_prefix(b" ").unwrap_or(message);
        (!program.is_empty()).then_some(Self { stamp: Some(stamp), program, process, message })
    }

    /// `TIME HOST PROGRAM PID ID DATA MESSAGE` (RFC 5424 section 6)
    fn of_wire(line: &'a [u8]) -> Option<Self> {
        let (stamp, rest) = match line.strip_prefix(b"- ") {
            Some(rest) => (None, rest),
            None => Stamp::take(line).map(|(stamp, rest)| (Some(stamp), rest))?,
        };
        let (_host, whole) = word(rest)?;
        let (program, rest) = word(whole)?;
        let (number, rest) = word(rest)?;
        let process = &whole[..=program.len() + number.len()];
        let (_id, rest) = word(rest)?;
        let message = past_data(rest)?;
        let message = message.strip_prefix("\u{feff}".as_bytes()).unwrap_or(message);
        Some(Self { stamp, program, process, message })
    }
}

/// Whatever ends the line, and no more: spaces may mean something.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', text).filter(|end| *end > 0)?;
    Some((&text[..end], &text[end + 1..]))
}

/// What is behind the structured data, which is `-` or elements in brackets.
fn past_data(text: &[u8]) -> Option<&[u8]> {
    let mut rest = match text.strip_prefix(b"-") {
        Some(rest) => rest,
        None => text,
    };
    while rest.starts_with(b"[") {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = rest.iter().position(|byte| {
            let ends = *byte == b']' && !is_quoted;
            if *byte == b'"' && !is_escaped {
                is_quoted = !is_quoted;
            }
            is_escaped = *byte == b'\\' && !is_escaped;
            ends
        })?;
        rest = &rest[end + 1..];
    }
    rest.strip_prefix(b" ").or_else(|| rest.is_empty().then_some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Option<(&str, &str)> {
        let line = Line::of_syslog(line.as_bytes())?;
        let text = |bytes| core::str::from_utf8(bytes).unwrap();
        Some((text(line.program), text(line.message)))
    }

    #[test]
    fn the_program_is_found_behind_every_prefix() {
        let want = Some(("postfix/smtpd", "connect from unknown[192.0.2.7]"));
        for prefix in [
            "Nov 24 15:22:27 mx postfix/smtpd[123]: ",
            "Nov 24 15:22:27 mx.example.net postfix/smtpd: ",
            "2026-11-24T15:22:27.123456+00:00 mx postfix/smtpd[123]: ",
            "<22>Nov 24 15:22:27 mx postfix/smtpd[123]: ",
            "<22>1 2026-11-24T15:22:27.003Z mx postfix/smtpd 123 - - ",
            "<22>1 2026-11-24T15:22:27.003Z mx postfix/smtpd 123 ID [a@1 b=\"x]\\\"y\"][c@1] \u{feff}",
            "<22>1 - mx postfix/smtpd - - - ",
        ] {
            assert_eq!(parts(&[prefix, "connect from unknown[192.0.2.7]\r\n"].concat()), want, "{prefix}");
        }
        let process = |line: &'static str| Line::of_syslog(line.as_bytes()).unwrap().process;
        assert_eq!(process("Nov 24 15:22:27 mx postfix/smtpd[123]: x"), b"postfix/smtpd[123]");
        assert_eq!(process("<22>1 - mx postfix/smtpd 123 - - x"), b"postfix/smtpd 123");
        assert_eq!(parts("Nov 24 15:22:27 mx sogod [9]: x"), Some(("sogod", "x")));
        assert_eq!(parts("Nov 24 15:22:27 mx dovecot: "), Some(("dovecot", "")));
    }

    #[test]
    fn a_line_of_something_else_names_no_program() {
        for line in [
            "",
            "\n",
            "postfix/smtpd[1]: x",
            "Nov 24 15:22:27 mx",
            "Nov 24 15:22:27 mx last message repeated 2 times",
            // Exim's own file, in which the client chose the name behind HELO.
            "2026-11-24 15:22:27 H=(x) postfix/smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.9]: 554",
            "2026-11-24 15:22:27 SMTP syntax error in \"postfix/smtpd[1]: x\" H=[192.0.2.7]",
            "<22>1 2026-11-24T15:22:27Z mx postfix/smtpd 1 - [open x",
            "<9999>Nov 24 15:22:27 mx a: b",
        ] {
            assert_eq!(parts(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_of_a_known_program_is_its_message() {
        let line = Line::of_program(b"2026-11-24 15:22:27 H=(x) [192.0.2.7] rejected\n", b"exim");
        assert_eq!((line.message, line.stamp.is_some()), (&b"H=(x) [192.0.2.7] rejected"[..], true));
        let line = Line::of_program(b"192.0.2.7 - - [x] y", b"nginx");
        assert_eq!((line.message, line.stamp), (&b"192.0.2.7 - - [x] y"[..], None));
    }
}
