//! One line of a client as a command.
//!
//! Only what changes the framing or the meaning of a reply is told apart; arguments are the mail server's business
//! and go there as they came. A verb stands at the very beginning of its line and ends at a blank. Mail servers are
//! laxer: many skip blanks before the verb, some split at tabs and form feeds, and so they would read a command where
//! we had read none. Such a line is [`Verb::Malformed`].

/// Longest chunk of a BDAT. Mail servers that count in 32 bits, signed or not, must read the same number as we do.
pub const CHUNK_LIMIT: u64 = 1 << 30;

/// What a command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// EHLO: the reply lists extensions (RFC 5321 section 4.1.1.1).
    Ehlo,
    /// HELO: no extensions from here on (RFC 5321 section 4.1.1.1).
    Helo,
    /// MAIL: begins a transaction (RFC 5321 section 4.1.1.2).
    Mail,
    /// RCPT: names one recipient (RFC 5321 section 4.1.1.3).
    Rcpt,
    /// AUTH (RFC 4954 section 4): challenges and answers follow.
    Auth,
    /// `*` instead of an answer to a challenge: the client cancels its AUTH (RFC 4954 section 4). Never the verb of a line.
    CancelAuth,
    /// DATA: after a 354 the message follows (RFC 5321 section 4.1.1.4).
    Data,
    /// BDAT (RFC 3030 section 2): bytes follow without waiting for a reply.
    Bdat {
        /// How many, at most [`CHUNK_LIMIT`].
        size: u64,
        /// Whether they are the message's last.
        last: bool,
    },
    /// BDAT without a size that can be trusted: nobody knows where the chunk ends.
    MalformedBdat,
    /// STARTTLS (RFC 3207 section 4): after a 220 the bytes are TLS.
    StartTls,
    /// RSET: ends the transaction (RFC 5321 section 4.1.1.5).
    Rset,
    /// QUIT (RFC 5321 section 4.1.1.10).
    Quit,
    /// XCLIENT or XFORWARD: the privilege of a trusted front, which is us and not our client.
    Privileged,
    /// Any other command of the standards: one line, one reply.
    Plain,
    /// No command of the standards; it may change the framing, so it is not for the mail server to hear.
    Unknown,
    /// What begins with no verb, or holds control characters.
    Malformed,
}

impl Verb {
    /// Reads the verb of a line; case does not matter (RFC 5321 section 2.4).
    pub fn of(line: &[u8]) -> Self {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        // RFC 5321 section 4.1.2 and RFC 6531 section 3.3 allow printable ASCII and UTF-8, nothing else.
        if line.iter().any(u8::is_ascii_control) {
            return Self::Malformed;
        }
        let (word, argument) =
            line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        if !is_verb(word) {
            return Self::Malformed;
        }
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("EHLO") => Self::Ehlo,
            () if is("HELO") => Self::Helo,
            () if is("MAIL") => Self::Mail,
            () if is("RCPT") => Self::Rcpt,
            () if is("AUTH") => Self::Auth,
            () if is("DATA") => Self::Data,
            () if is("BDAT") => chunk(argument).unwrap_or(Self::MalformedBdat),
            () if is("STARTTLS") => Self::StartTls,
            () if is("QUIT") => Self::Quit,
            () if is("RSET") => Self::Rset,
            () if is("XCLIENT") || is("XFORWARD") => Self::Privileged,
            () if ["NOOP", "VRFY", "EXPN", "HELP", "ETRN"].into_iter().any(is) => Self::Plain,
            () => Self::Unknown,
        }
    }
}

/// The size that a MAIL announces (RFC 1870 section 6), if any; saturates.
pub fn announced_size(line: &[u8]) -> Option<u64> {
    // Parameters stand behind the path, which may hold what looks like one in quotes.
    let path = line.iter().rposition(|byte| *byte == b'>')?;
    let mut words = line.get(path + 1..)?.split(u8::is_ascii_whitespace);
    let digits = words.find_map(|word| {
        let (name, digits) = word.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"SIZE=").then_some(digits)
    })?;
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digit = |sum: u64, byte: &u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    plain.then(|| digits.iter().fold(0, digit))
}

/// Letters first; digits and hyphens for private verbs such as `X-EXPS`.
fn is_verb(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_alphabetic)
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// RFC 3030 section 2: `chunk-size [SP LAST]`, decimal digits only.
fn chunk(argument: &[u8]) -> Option<Verb> {
    let text = core::str::from_utf8(argument).ok()?;
    let mut words = text.split_ascii_whitespace();
    let digits = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))?;
    let size = digits.parse().ok().filter(|size| *size <= CHUNK_LIMIT)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some(Verb::Bdat { size, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_whatever_their_case() {
        assert_eq!(Verb::of(b"rCpT TO:<a@b.example>\r\n"), Verb::Rcpt);
        assert_eq!(Verb::of(b"EHLO\r\n"), Verb::Ehlo);
        assert_eq!(Verb::of(b"mail FROM:<>\r\n"), Verb::Mail);
        assert_eq!(Verb::of(b"noop\r\n"), Verb::Plain);
        assert_eq!(Verb::of(b"GET / HTTP/1.1\r\n"), Verb::Unknown);
        assert_eq!(Verb::of(b"XCLIENT ADDR=192.0.2.1\r\n"), Verb::Privileged);
        assert_eq!(Verb::of(b"X-EXPS GSSAPI\r\n"), Verb::Unknown);
    }

    #[test]
    fn a_verb_stands_at_the_beginning_and_ends_at_a_blank() {
        for line in [
            "\r\n",
            " DATA\r\n",
            "\tDATA\r\n",
            "RCPT\tTO:<a@b.example>\r\n",
            "DATA\x0b\r\n",
            "XCLIENT\x0cADDR=x\r\n",
            "DATA\x7f\r\n",
            "RCPT TO:<a\x08@b.example>\r\n",
            "RCPT:TO\r\n",
            "\u{a0}DATA\r\n",
            "RCPT\u{a0}TO\r\n",
            "7BIT\r\n",
        ] {
            assert_eq!(Verb::of(line.as_bytes()), Verb::Malformed, "{line:?}");
        }
        assert_eq!(Verb::of("RCPT TO:<jürgen@b.example>\r\n".as_bytes()), Verb::Rcpt);
        assert_eq!(Verb::of(b"DATA  \r\n"), Verb::Data);
    }

    #[test]
    fn a_size_is_announced_behind_the_path() {
        for (line, expected) in [
            ("MAIL FROM:<a@b> SIZE=100\r\n", Some(100)),
            ("MAIL FROM:<a@b> BODY=8BITMIME size=5\r\n", Some(5)),
            ("MAIL FROM:<> SIZE=99999999999999999999\r\n", Some(u64::MAX)),
            ("MAIL FROM:<\" SIZE=7\"@b>\r\n", None),
            ("MAIL FROM:<a@b> SIZE=-1\r\n", None),
            ("MAIL FROM:<a@b> SIZE=\r\n", None),
            ("MAIL FROM:<a@b>\r\n", None),
            ("MAIL\r\n", None),
        ] {
            assert_eq!(announced_size(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_chunk_has_a_decimal_size() {
        assert_eq!(Verb::of(b"BDAT 1000\r\n"), Verb::Bdat { size: 1000, last: false });
        assert_eq!(Verb::of(b"BDAT 0 last\r\n"), Verb::Bdat { size: 0, last: true });
        assert_eq!(Verb::of(b"BDAT 1073741824\r\n"), Verb::Bdat { size: CHUNK_LIMIT, last: false });
        assert_eq!(Verb::of(b"BDAT 1073741825\r\n"), Verb::MalformedBdat);
        for line in
            ["BDAT\r\n", "BDAT x\r\n", "BDAT -1\r\n", "BDAT +1\r\n", "BDAT 1 2\r\n", "BDAT 1 LAST x\r\n"]
        {
            assert_eq!(Verb::of(line.as_bytes()), Verb::MalformedBdat, "{line}");
        }
        assert_eq!(Verb::of(b"BDAT 99999999999999999999999\r\n"), Verb::MalformedBdat);
    }
}
