//! One reply of the mail server.
//!
//! A reply is one or more lines of the same code (RFC 5321 section 4.2). It is taken whole before anything is done
//! with it, and handed on byte for byte. A mail server that breaks this grammar is out of step with us, and nothing
//! that it says afterwards can be trusted to answer what we asked.

use crate::smtp::line;

/// Longest line of a reply. RFC 5321 section 4.5.3.1.5 says 512; servers with long texts are met in practice.
pub const LINE_LIMIT: usize = 4096;
/// Longest reply, in bytes.
pub const REPLY_LIMIT: usize = 65_536;

/// Class, subject and detail (RFC 3463 section 2), as in `5.7.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

/// The sense of a reply; its text stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The three digits (RFC 5321 section 4.2).
    pub code: u16,
    /// The enhanced status code behind it (RFC 2034 section 4), if the server gives one.
    pub enhanced: Option<EnhancedCode>,
    /// All lines, as received.
    pub bytes: &'a [u8],
}

impl Reply<'_> {
    /// Whether the server did what was asked (2xx).
    pub const fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether the server wants more (3xx).
    pub const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Whether the server refused for good (5xx). A 4xx is never held against a client.
    pub const fn is_refusal(&self) -> bool {
        self.code / 100 == 5
    }

    /// The text of the first line, behind the codes.
    pub fn text(&self) -> &[u8] {
        let first = self.bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        first.get(4..).unwrap_or_default()
    }
}

/// The mail server said something that is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mail server sent something that is not an SMTP reply")]
pub struct Malformed;

/// Looks for a whole reply at the front of `buffer`; none: more bytes must come.
pub fn front(buffer: &[u8]) -> Result<Option<Reply<'_>>, Malformed> {
    let mut length = 0;
    let mut code = None;
    loop {
        let rest = buffer.get(length..).unwrap_or_default();
        let size = match line::front(rest, LINE_LIMIT) {
            line::Front::Line(size) => size,
            line::Front::Partial if buffer.len() < REPLY_LIMIT => return Ok(None),
            line::Front::Partial | line::Front::Fault(_) => return Err(Malformed),
        };
        let line = rest.get(..size).ok_or(Malformed)?;
        let this = code_of(line)?;
        if code.is_some_and(|first| first != this) || length + size > REPLY_LIMIT {
            return Err(Malformed);
        }
        code = Some(this);
        length += size;
        match line.get(3) {
            Some(b'-') => {}
            Some(b' ' | b'\r') => {
                let bytes = buffer.get(..length).ok_or(Malformed)?;
                return Ok(Some(Reply { code: this, enhanced: enhanced_of(line, this), bytes }));
            }
            _ => return Err(Malformed),
        }
    }
}

fn code_of(line: &[u8]) -> Result<u16, Malformed> {
    let &[first @ b'2'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9'] = line.get(..3).ok_or(Malformed)?
    else {
        return Err(Malformed);
    };
    let digit = |byte: u8| u16::from(byte - b'0');
    Ok(digit(first) * 100 + digit(second) * 10 + digit(third))
}

/// RFC 2034 section 4: the code is the first word of the text, and its class is that of the basic code.
fn enhanced_of(line: &[u8], code: u16) -> Option<EnhancedCode> {
    let word = line.get(4..)?.split(u8::is_ascii_whitespace).next()?;
    let mut numbers = core::str::from_utf8(word).ok()?.split('.').map(|number| {
        let plain = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| number.parse::<u16>().ok()).flatten()
    });
    let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let whole = numbers.next().is_none() && class == code / 100;
    whole.then(|| u8::try_from(class).ok()).flatten().map(|class| EnhancedCode(class, subject, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_taken_whole() {
        assert_eq!(front(b"250-a\r\n250-b\r\n250"), Ok(None));
        let reply = front(b"250-a\r\n250 b\r\n220 x\r\n").unwrap().unwrap();
        assert_eq!((reply.code, reply.bytes), (250, &b"250-a\r\n250 b\r\n"[..]));
        assert_eq!(front(b"354\r\n").unwrap().unwrap().code, 354);
    }

    #[test]
    fn the_enhanced_code_agrees_with_the_basic_one() {
        let enhanced = |bytes| front(bytes).unwrap().unwrap().enhanced;
        assert_eq!(enhanced(b"550 5.1.1 <x>: unknown\r\n"), Some(EnhancedCode(5, 1, 1)));
        assert_eq!(enhanced(b"550 5.7.1\r\n"), Some(EnhancedCode(5, 7, 1)));
        assert_eq!(enhanced(b"550 4.1.1 odd\r\n"), None);
        assert_eq!(enhanced(b"550 No such user\r\n"), None);
        assert_eq!(enhanced(b"220 1.2.3.4 ready\r\n"), None);
    }

    #[test]
    fn what_is_no_reply_is_not_guessed_at() {
        for bytes in
            [&b"hello\r\n"[..], b"250-a\r\n251 b\r\n", b"250 a\n", b"99 a\r\n", b"650 a\r\n", b"250_a\r\n"]
        {
            assert_eq!(front(bytes), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(front(&b"250-x\r\n".repeat(REPLY_LIMIT / 7 + 1)), Err(Malformed));
    }
}
