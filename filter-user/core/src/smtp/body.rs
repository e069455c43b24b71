//! The end of a message.
//!
//! Only CR LF `.` CR LF ends what follows a 354 (RFC 5321 section 4.1.1.4). Every server that took something else for
//! it could be made to read a second message out of the first (CVE-2023-51764, -51765, -51766). A bare CR, a bare LF
//! and a NUL are faults here as in commands, so whatever passes means the same to every server behind us.
//!
//! [`BodyScanner`] looks at bytes, and never changes or keeps them. [`Body`] is a message under the rules of its service, which may
//! have it mended instead ([`crate::smtp::mender`]), or a chunk checked ([`StrayEnds`]).

use bytes::BytesMut;

use crate::smtp::bounds::{Bounds, LineEnds};
use crate::smtp::line::Fault;
use crate::smtp::mender::{Mender, Place};
use crate::smtp::plain::{BLOCK, is_plain};

/// Looks for the end of one message, however its bytes are cut.
#[derive(Debug)]
pub struct BodyScanner {
    place: Place,
    /// Bytes of the line so far.
    column: usize,
    /// Longest line without its CR LF.
    limit: usize,
    /// Dots that the mail server takes off again.
    stuffing: u64,
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
    /// A scanner at the first byte behind the 354. Takes the longest line with its CR LF; 0: any.
    pub const fn new(text_line: usize) -> Self {
        let limit = if text_line == 0 { usize::MAX } else { text_line.saturating_sub(2) };
        Self { place: Place::Start, column: 0, limit, stuffing: 0 }
    }

    /// Takes the next bytes of the message.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scanned, Fault> {
        let (length, ended) = self.walk(bytes);
        ended.map(|ended| Scanned { length, ended })
    }

    /// How many bytes are faultless, and whether the message ends behind them or what is wrong there.
    fn walk(&mut self, bytes: &[u8]) -> (usize, Result<bool, Fault>) {
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            if self.skim(block) {
                continue;
            }
            let (length, ended) = self.step(block);
            if ended != Ok(false) {
                return (number * BLOCK + length, ended);
            }
        }
        (bytes.len(), Ok(false))
    }

    /// Takes a whole block of plain lines. False: nothing is taken, for something in it may matter.
    fn skim(&mut self, block: &[u8]) -> bool {
        let before = match self.place {
            Place::Start => b'\n',
            Place::Inside => b' ',
            Place::Cr => b'\r',
            Place::Dot | Place::DotCr => return false,
        };
        if self.limit.saturating_sub(self.column) < block.len() || !is_plain(before, block) {
            return false;
        }
        self.column = match memchr::memrchr(b'\n', block) {
            Some(end) => block.len() - 1 - end,
            None => self.column + block.len(),
        };
        self.place = match block.last() {
            Some(b'\r') => Place::Cr,
            Some(b'\n') => Place::Start,
            _ => Place::Inside,
        };
        true
    }

    /// The same as [`Self::walk`], from one byte that matters to the next.
    fn step(&mut self, bytes: &[u8]) -> (usize, Result<bool, Fault>) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            self.place = match (self.place, byte) {
                (Place::DotCr, b'\n') => return (at + 1, Ok(true)),
                (Place::Cr, b'\n') => {
                    self.column = 0;
                    Place::Start
                }
                (Place::Cr | Place::DotCr, _) => return (at, Err(Fault::BareCr)),
                (_, b'\n') => return (at, Err(Fault::BareLf)),
                (_, 0) => return (at, Err(Fault::Nul)),
                (Place::Start, b'.') => {
                    self.column = 1;
                    Place::Dot
                }
                (Place::Dot, b'\r') => Place::DotCr,
                (_, b'\r') => Place::Cr,
                (Place::Start | Place::Dot | Place::Inside, _) => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    // Nothing in between can change the place, so jump to what can.
                    let run = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                    self.stuffing += u64::from(self.place == Place::Dot);
                    let room = self.limit.saturating_sub(self.column);
                    if run > room {
                        return (at + room, Err(Fault::TooLong));
                    }
                    self.column += run;
                    at += run;
                    self.place = Place::Inside;
                    continue;
                }
            };
            at += 1;
        }
        (bytes.len(), Ok(false))
    }
}

/// A message behind a 354, under the rules of its service.
#[derive(Debug)]
pub struct Body {
    reader: Reader,
    /// Bytes that have gone on.
    passed: u64,
    /// Whether a dot has looked like the end and was not.
    disguised: bool,
}

#[derive(Debug)]
enum Reader {
    Strict(BodyScanner),
    Lenient(Mender),
}

/// What was taken of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes at the front of the input that belong to the message.
    pub length: usize,
    /// What goes on instead of them, if they are to be mended.
    pub text: Option<BytesMut>,
    /// Whether the message ended there.
    pub ended: bool,
    /// What is wrong behind them and cannot be mended.
    pub fault: Option<Fault>,
    /// What was mended first.
    pub mended: Option<Fault>,
    /// Whether a dot looked like the end of the message and was not, for the first time.
    pub disguised: bool,
}

impl Body {
    /// A message of which nothing has come yet.
    pub const fn new(bounds: &Bounds) -> Self {
        let reader = match bounds.line_ends {
            LineEnds::Reject => Reader::Strict(BodyScanner::new(bounds.text_line)),
            LineEnds::Normalize => Reader::Lenient(Mender::new(bounds.text_line)),
        };
        Self { reader, passed: 0, disguised: false }
    }

    /// Takes what of the next bytes is as it should be, or all of them if they are to be mended. The last byte taken is at most the one
    /// with which the size passes `limit`; 0: any. So nothing depends on how many bytes happen to come together.
    pub fn take(&mut self, bytes: &[u8], limit: u64) -> Taken {
        let room = if limit == 0 { u64::MAX } else { (limit + 1).saturating_sub(self.size()) };
        let piece = match &self.reader {
            Reader::Strict(_) => room,
            // What is mended grows: by less than five bytes for one, and three for what was held back.
            Reader::Lenient(_) => room / 8,
        };
        let piece = usize::try_from(piece.max(1)).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get(..piece).unwrap_or_default();
        match &mut self.reader {
            Reader::Strict(scanner) => {
                let (length, ended) = scanner.walk(bytes);
                let (fault, ended) = (ended.err(), ended == Ok(true));
                self.passed += length as u64;
                Taken { length, text: None, ended, fault, mended: None, disguised: false }
            }
            Reader::Lenient(mender) => {
                let mut text = BytesMut::with_capacity(bytes.len());
                let mended = mender.mend(bytes, &mut text);
                self.passed += text.len() as u64;
                let (length, text) = (mended.taken, Some(text));
                let disguised = mended.disguised && !self.disguised;
                self.disguised |= disguised;
                Taken { length, text, ended: mended.ended, fault: None, mended: mended.fault, disguised }
            }
        }
    }

    /// Size of the message so far as RFC 1870 section 5 counts it: without the dots that only carry it.
    pub const fn size(&self) -> u64 {
        self.passed.saturating_sub(match &self.reader {
            Reader::Strict(scanner) => scanner.stuffing,
            Reader::Lenient(mender) => mender.stuffing(),
        })
    }
}

/// Looks for stray line ends in the chunks of a message, which RFC 3030 section 3 forbids without BINARYMIME; that is never offered.
#[derive(Debug, Default, Clone, Copy)]
pub struct StrayEnds {
    /// Whether the last byte was a CR.
    cr: bool,
}

impl StrayEnds {
    /// Looks at the next bytes.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.walk(bytes).1
    }

    /// How many bytes are faultless, and what is wrong behind them.
    pub fn walk(&mut self, bytes: &[u8]) -> (usize, Result<(), Fault>) {
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            if is_plain(if self.cr { b'\r' } else { b' ' }, block) {
                self.cr = block.ends_with(b"\r");
                continue;
            }
            let (length, outcome) = self.step(block);
            if outcome.is_err() {
                return (number * BLOCK + length, outcome);
            }
        }
        (bytes.len(), Ok(()))
    }

    /// The same, from one byte that matters to the next.
    fn step(&mut self, bytes: &[u8]) -> (usize, Result<(), Fault>) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match (self.cr, byte) {
                (true, b'\n') => self.cr = false,
                (true, _) => return (at, Err(Fault::BareCr)),
                (false, b'\r') => self.cr = true,
                (false, b'\n') => return (at, Err(Fault::BareLf)),
                (false, 0) => return (at, Err(Fault::Nul)),
                (false, _) => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    at += memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                    continue;
                }
            }
            at += 1;
        }
        (bytes.len(), Ok(()))
    }

    /// The message ends here.
    pub const fn finish(self) -> Result<(), Fault> {
        if self.cr { Err(Fault::BareCr) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Result<Scanned, Fault> {
        BodyScanner::new(0).scan(bytes)
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

    #[test]
    fn a_line_may_fill_the_limit_and_no_more() {
        let scan = |text: &str| BodyScanner::new(10).scan(text.as_bytes());
        assert!(scan("12345678\r\n.2345678\r\n.\r\n").is_ok_and(|scanned| scanned.ended));
        for text in ["123456789\r\n", "123456789", "a\r\n.23456789\r\n"] {
            assert_eq!(scan(text), Err(Fault::TooLong), "{text:?}");
        }
    }

    #[test]
    fn the_dots_that_carry_a_message_are_not_its_size() {
        for line_ends in [LineEnds::Reject, LineEnds::Normalize] {
            let mut body = Body::new(&Bounds { line_ends, ..Bounds::default() });
            let bytes = b"..a\r\n...\r\nb\r\n.\r\nQUIT\r\n";
            let taken = body.take(bytes, 0);
            assert!(
                taken.ended
                    && taken.mended.is_none()
                    && taken.fault.is_none()
                    && &bytes[taken.length..] == b"QUIT\r\n"
            );
            assert_eq!(body.size(), 14, "4 + 4 + 3 and the end itself");
        }
    }

    #[test]
    fn stray_ends_in_chunks_are_found_however_they_are_cut() {
        for (bytes, expected) in [
            (&b"a\r\nb\r\n"[..], Ok(())),
            (b"a\nb", Err(Fault::BareLf)),
            (b"a\rb", Err(Fault::BareCr)),
            (b"a\r", Err(Fault::BareCr)),
            (b"a\0", Err(Fault::Nul)),
        ] {
            for cut in 0..=bytes.len() {
                let mut ends = StrayEnds::default();
                let found = ends
                    .check(&bytes[..cut])
                    .and_then(|()| ends.check(&bytes[cut..]))
                    .and_then(|()| ends.finish());
                assert_eq!(found, expected, "{bytes:?} {cut}");
            }
        }
    }

    /// A byte at a time, of which no block is made.
    fn crawl(limit: usize, bytes: &[u8]) -> (Result<Scanned, Fault>, u64) {
        let mut scanner = BodyScanner::new(limit);
        for (at, byte) in bytes.iter().enumerate() {
            match scanner.scan(&[*byte]) {
                Ok(Scanned { ended: false, .. }) => {}
                Ok(_) => return (Ok(Scanned { length: at + 1, ended: true }), scanner.stuffing),
                Err(fault) => return (Err(fault), scanner.stuffing),
            }
        }
        (Ok(Scanned { length: bytes.len(), ended: false }), scanner.stuffing)
    }

    const ODD: [&str; 10] = ["", "\r", "\n", "\0", ".", "..", "\r\n.\r\n", "\r\n.x", "\r\n..", "\r\r\n"];

    /// Lines, some of them long, with something odd among them.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let lengths = prop::collection::vec(prop_oneof![9 => 0_usize..90, 1 => 200_usize..1100], 0..60);
        (lengths, prop::sample::select(&ODD), any::<prop::sample::Index>()).prop_map(
            |(lengths, odd, place)| {
                let line = |length| "x".repeat(length).into_bytes().into_iter().chain(*b"\r\n");
                let mut text: Vec<u8> = lengths.into_iter().flat_map(line).collect();
                let place = place.index(text.len() + 1);
                text.splice(place..place, odd.bytes());
                text
            },
        )
    }

    proptest! {
        #[test]
        fn a_message_read_by_the_block_is_as_it_is_byte_by_byte(
            text in text(),
            cut in any::<prop::sample::Index>(),
            limit in prop::sample::select(&[0_usize, 80, 300, 1000]),
        ) {
            let (expected, stuffing) = crawl(limit, &text);
            let mut scanner = BodyScanner::new(limit);
            let (front, back) = text.split_at(cut.index(text.len() + 1));
            let outcome = match scanner.scan(front) {
                Ok(Scanned { ended: false, length }) => scanner
                    .scan(back)
                    .map(|rest| Scanned { length: length + rest.length, ended: rest.ended }),
                outcome => outcome,
            };
            prop_assert_eq!(outcome, expected);
            prop_assert_eq!(scanner.stuffing, stuffing);
        }

        #[test]
        fn a_chunk_read_by_the_block_is_as_it_is_byte_by_byte(text in text()) {
            let (mut whole, mut bytes) = (StrayEnds::default(), StrayEnds::default());
            let fault = text.iter().position(|byte| bytes.check(&[*byte]).is_err());
            let (length, outcome) = whole.walk(&text);
            prop_assert_eq!((length, outcome.is_err()), (fault.unwrap_or(text.len()), fault.is_some()));
            prop_assert_eq!(whole.cr, bytes.cr);
        }

        #[test]
        fn cuts_do_not_matter(bytes in proptest::collection::vec(prop::sample::select(b"\r\n.a\0".to_vec()), 0..40), cut in 0_usize..40) {
            let cut = cut.min(bytes.len());
            let mut scanner = BodyScanner::new(0);
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
