//! The end of a message.
//!
//! Only CR LF `.` CR LF ends what follows a 354 (RFC 5321 section 4.1.1.4). Every server that took something else for
//! it could be made to read a second message out of the first (CVE-2023-51764, -51765, -51766). A bare CR, a bare LF
//! and a NUL are faults here as in commands, so whatever passes means the same to every server behind us.
//!
//! Bytes are looked at, never changed and never kept.

use crate::smtp::line::Fault;

/// Where the scanner stands between two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a line.
    Start,
    /// Behind a dot that began a line.
    Dot,
    /// Behind the CR of a line that so far is a lone dot.
    DotCr,
    /// Inside a line.
    Inside,
    /// Behind a CR inside a line.
    Cr,
}

/// Looks for the end of one message, however its bytes are cut.
#[derive(Debug)]
pub struct BodyScanner {
    place: Place,
}

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// Bytes of the input that belong to the message, its end included.
    pub length: usize,
    /// Whether the message ended there.
    pub ended: bool,
}

impl BodyScanner {
    /// A scanner at the first byte behind the 354.
    pub const fn new() -> Self {
        Self { place: Place::Start }
    }

    /// Takes the next bytes of the message.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scanned, Fault> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            self.place = match (self.place, byte) {
                (Place::DotCr, b'\n') => return Ok(Scanned { length: at + 1, ended: true }),
                (Place::Cr, b'\n') => Place::Start,
                (Place::Cr | Place::DotCr, _) => return Err(Fault::BareCr),
                (_, b'\n') => return Err(Fault::BareLf),
                (_, 0) => return Err(Fault::Nul),
                (Place::Start, b'.') => Place::Dot,
                (Place::Dot, b'\r') => Place::DotCr,
                (_, b'\r') => Place::Cr,
                (Place::Start | Place::Dot | Place::Inside, _) => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    // Nothing in between can change the place, so jump to what can.
                    at += memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                    self.place = Place::Inside;
                    continue;
                }
            };
            at += 1;
        }
        Ok(Scanned { length: bytes.len(), ended: false })
    }
}

impl Default for BodyScanner {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Result<Scanned, Fault> {
        BodyScanner::new().scan(bytes)
    }

    #[test]
    fn only_the_whole_sequence_ends_a_message() {
        assert_eq!(scan(b"a\r\n.\r\nQUIT\r\n"), Ok(Scanned { length: 6, ended: true }));
        assert_eq!(scan(b".\r\n"), Ok(Scanned { length: 3, ended: true }));
        for bytes in [&b"..\r\n"[..], b". \r\n", b"a.\r\n", b"a\r\n.", b"a\r\n.\r", b"a\r\n.x\r\n"] {
            assert_eq!(scan(bytes), Ok(Scanned { length: bytes.len(), ended: false }), "{bytes:?}");
        }
    }

    #[test]
    fn disguised_ends_are_faults() {
        for bytes in [&b"a\n.\n"[..], b"a\n.\r\n", b"a\r\n.\n", b"\n"] {
            assert_eq!(scan(bytes), Err(Fault::BareLf), "{bytes:?}");
        }
        for bytes in [&b"a\r.\r\n"[..], b"a\r\n.\r.", b"a\r\r\n.\r\n", b"\r\0"] {
            assert_eq!(scan(bytes), Err(Fault::BareCr), "{bytes:?}");
        }
        assert_eq!(scan(b"a\0b\r\n"), Err(Fault::Nul));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(bytes in proptest::collection::vec(prop::sample::select(b"\r\n.a\0".to_vec()), 0..40), cut in 0_usize..40) {
            let cut = cut.min(bytes.len());
            let mut scanner = BodyScanner::new();
            let first = scanner.scan(&bytes[..cut]);
            let whole = scan(&bytes);
            match first {
                Err(fault) => prop_assert_eq!(whole, Err(fault)),
                Ok(scanned) if scanned.ended => prop_assert_eq!(whole, Ok(scanned)),
                Ok(_) => match scanner.scan(&bytes[cut..]) {
                    Ok(rest) => prop_assert_eq!(whole, Ok(Scanned { length: cut + rest.length, ended: rest.ended })),
                    Err(fault) => prop_assert_eq!(whole, Err(fault)),
                },
            }
        }
    }
}
