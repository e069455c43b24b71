//! Where a line ends.
//!
//! RFC 5321 section 2.3.8 ends a line with CR LF and with nothing else. A client that ends one with LF alone is very
//! old, or it wants us and the mail server to disagree about where a message ends. So a bare CR, a bare LF and a NUL
//! are faults, never line ends, and what comes behind a fault is not looked at.

use crate::smtp::bounds::LineEnds;

/// Why bytes are not a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An LF without its CR.
    BareLf,
    /// A CR without its LF.
    BareCr,
    /// A NUL.
    Nul,
    /// No line end within the limit.
    TooLong,
}

/// What the bytes at the front of a buffer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// A line of this many bytes, its CR LF included.
    Line(usize),
    /// The beginning of a line; more bytes must come.
    Partial,
    /// Something that no line may hold.
    Fault(Fault),
}

/// Looks for a line at the front of `buffer`, at most `limit` bytes long with its CR LF.
pub fn front(buffer: &[u8], limit: usize) -> Front {
    front_ended(buffer, limit, LineEnds::Reject)
}

/// As [`front`], and if line ends are to be normalized, an LF alone ends a line, too; the bytes stay as they are.
pub fn front_ended(buffer: &[u8], limit: usize, ends: LineEnds) -> Front {
    let seen = buffer.get(..limit).unwrap_or(buffer);
    let full = buffer.len() >= limit;
    let Some(place) = memchr::memchr3(b'\r', b'\n', 0, seen) else {
        return if full { Front::Fault(Fault::TooLong) } else { Front::Partial };
    };
    match (seen.get(place), seen.get(place + 1)) {
        (Some(b'\r'), Some(b'\n')) => Front::Line(place + 2),
        (Some(b'\r'), None) if full => Front::Fault(Fault::TooLong),
        (Some(b'\r'), None) => Front::Partial,
        (Some(b'\r'), Some(_)) => Front::Fault(Fault::BareCr),
        (Some(b'\n'), _) if ends == LineEnds::Normalize => Front::Line(place + 1),
        (Some(b'\n'), _) => Front::Fault(Fault::BareLf),
        _ => Front::Fault(Fault::Nul),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Front) {
        assert_eq!(front(bytes, 16), expected, "{bytes:?}");
    }

    #[test]
    fn only_cr_lf_ends_a_line() {
        check(b"NOOP\r\nQUIT\r\n", Front::Line(6));
        check(b"\r\n", Front::Line(2));
        check(b"NOOP", Front::Partial);
        check(b"NOOP\r", Front::Partial);
        check(b"NOOP\n", Front::Fault(Fault::BareLf));
        check(b"NO\rOP\r\n", Front::Fault(Fault::BareCr));
        check(b"NO\0OP\r\n", Front::Fault(Fault::Nul));
    }

    #[test]
    fn an_lf_alone_is_enough_only_where_it_is_said() {
        let lax = |bytes| front_ended(bytes, 16, LineEnds::Normalize);
        assert_eq!(lax(b"NOOP\nQUIT\r\n"), Front::Line(5));
        assert_eq!(lax(b"NOOP\r\n"), Front::Line(6));
        assert_eq!(lax(b"NO\rOP\n"), Front::Fault(Fault::BareCr));
        assert_eq!(lax(b"NO\0OP\n"), Front::Fault(Fault::Nul));
    }

    #[test]
    fn a_line_may_fill_the_limit_and_no_more() {
        check(b"12345678901234\r\n", Front::Line(16));
        check(b"123456789012345\r\n", Front::Fault(Fault::TooLong));
        check(b"1234567890123456", Front::Fault(Fault::TooLong));
        check(b"123456789012345", Front::Partial);
    }
}
