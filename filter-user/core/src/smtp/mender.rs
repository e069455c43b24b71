//! Mends the lines of a message for a mail server that hears only clean ones.
//!
//! Old programs end lines with LF alone. Handed on as they are, such lines would leave it to each server whether a dot between
//! them ends the message (CVE-2023-51764, -51765, -51766). Here that is decided once: only CR LF `.` CR LF ends the message.
//! Each line goes on with CR LF; a lone dot that does not end the message gets another one, which the mail server takes off again
//! (RFC 5321 section 4.5.2); a bare CR and a NUL become blanks; a line that is too long is broken as a header is folded (RFC 5322 section 2.2.3).
//!
//! It holds back at most one dot and one CR.

use bytes::{BufMut, BytesMut};

use crate::smtp::line::Fault;

/// Where a reader of a message stands between two bytes. The mender holds back the dot and the CR that it stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
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

/// Mends one message, however its bytes are cut.
#[derive(Debug)]
pub struct Mender {
    place: Place,
    /// Whether the line before ended with CR LF.
    clean: bool,
    /// Bytes of the line that have gone on.
    column: usize,
    /// Longest line without its CR LF.
    limit: usize,
    /// Dots that the mail server takes off again.
    stuffing: u64,
}

/// What was mended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Mended {
    /// Bytes of the input that were taken.
    pub taken: usize,
    /// Whether the message ended there.
    pub ended: bool,
    /// What was wrong first.
    pub fault: Option<Fault>,
    /// Whether a lone dot did not end the message for want of a CR or an LF around it.
    pub disguised: bool,
}

impl Mender {
    /// A mender at the first byte behind the 354. Takes the longest line with its CR LF, at least 100 bytes; 0: any.
    pub const fn new(text_line: usize) -> Self {
        let limit = match text_line {
            0 => usize::MAX,
            line if line < 100 => 98,
            line => line - 2,
        };
        Self { place: Place::Start, clean: true, column: 0, limit, stuffing: 0 }
    }

    /// Dots so far that the mail server takes off again.
    pub const fn stuffing(&self) -> u64 {
        self.stuffing
    }

    /// Takes the next bytes of the message and appends what goes on to `out`.
    pub fn mend(&mut self, bytes: &[u8], out: &mut BytesMut) -> Mended {
        let mut mended = Mended::default();
        while let Some(&byte) = bytes.get(mended.taken) {
            mended.taken += 1;
            match (self.place, byte) {
                (Place::DotCr, b'\n') if self.clean => {
                    out.put_slice(b".\r\n");
                    mended.ended = true;
                    return mended;
                }
                (Place::DotCr | Place::Dot, b'\n') => {
                    mended.disguised = true;
                    self.stuffing += 1;
                    self.put(b"..", out);
                    self.end_line(self.place == Place::DotCr, out, &mut mended);
                }
                (Place::Dot, b'\r') => self.place = Place::DotCr,
                (Place::Start, b'.') => self.place = Place::Dot,
                (Place::Start | Place::Inside, b'\r') => self.place = Place::Cr,
                (Place::Cr, b'\n') => self.end_line(true, out, &mut mended),
                (Place::Start | Place::Inside, b'\n') => self.end_line(false, out, &mut mended),
                (place, _) => {
                    self.stuffing += u64::from(matches!(place, Place::Dot | Place::DotCr));
                    let held: &[u8] = match place {
                        Place::Dot => b".",
                        Place::DotCr => b". ",
                        Place::Cr => b" ",
                        Place::Start | Place::Inside => b"",
                    };
                    self.put(held, out);
                    if matches!(place, Place::DotCr | Place::Cr) {
                        mended.fault.get_or_insert(Fault::BareCr);
                    }
                    match byte {
                        b'\r' => self.place = Place::Cr,
                        0 => {
                            mended.fault.get_or_insert(Fault::Nul);
                            self.place = Place::Inside;
                            self.put(b" ", out);
                        }
                        _ => {
                            let rest = bytes.get(mended.taken - 1..).unwrap_or_default();
                            let run = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                            mended.taken += run - 1;
                            self.place = Place::Inside;
                            if self.put(rest.get(..run).unwrap_or_default(), out) {
                                mended.fault.get_or_insert(Fault::TooLong);
                            }
                        }
                    }
                }
            }
        }
        mended
    }

    fn end_line(&mut self, clean: bool, out: &mut BytesMut, mended: &mut Mended) {
        if !clean {
            mended.fault.get_or_insert(Fault::BareLf);
        }
        out.put_slice(b"\r\n");
        (self.place, self.clean, self.column) = (Place::Start, clean, 0);
    }

    /// Appends bytes of a line and breaks it where it becomes too long; whether it did.
    fn put(&mut self, mut bytes: &[u8], out: &mut BytesMut) -> bool {
        let mut broken = false;
        while bytes.len() > self.limit - self.column {
            let (now, later) = bytes.split_at(self.limit - self.column);
            out.put_slice(now);
            out.put_slice(b"\r\n ");
            (self.column, bytes, broken) = (1, later, true);
        }
        out.put_slice(bytes);
        self.column += bytes.len();
        broken
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;
    use crate::smtp::body::{BodyScanner, Scanned};

    fn mend(text: &str) -> (String, Mended) {
        let mut out = BytesMut::new();
        let mended = Mender::new(100).mend(text.as_bytes(), &mut out);
        (String::from_utf8_lossy(&out).to_string(), mended)
    }

    #[test]
    fn each_line_goes_on_with_cr_lf() {
        let (out, mended) = mend("a\nb\r\n\n..c\n.\r\n");
        assert_eq!(out, "a\r\nb\r\n\r\n..c\r\n..\r\n");
        assert!(!mended.ended && mended.disguised && mended.fault == Some(Fault::BareLf));
        let (out, mended) = mend("a\rb\0c\r\r\n.\r\nQUIT\r\n");
        assert_eq!(out, "a b c \r\n.\r\n");
        assert!(mended.ended && mended.taken == 11 && mended.fault == Some(Fault::BareCr));
    }

    #[test]
    fn a_disguised_end_is_a_line_of_the_message() {
        for text in ["a\n.\n", "a\n.\r\n", "a\r\n.\n"] {
            let (out, mended) = mend(text);
            assert_eq!(out, "a\r\n..\r\n", "{text:?}");
            assert!(mended.disguised && !mended.ended, "{text:?}");
        }
        for (text, expected) in
            [("a\r\n.\r.\r\n", "a\r\n. .\r\n"), ("a\r.\r\n", "a .\r\n"), (".\0\r\n", ". \r\n")]
        {
            let (out, mended) = mend(text);
            assert_eq!((out.as_str(), mended.ended), (expected, false), "{text:?}");
        }
    }

    #[test]
    fn a_clean_message_is_not_touched() {
        let text = "Subject: x\r\n\r\n..dot\r\n. \r\n.\r\n";
        let (out, mended) = mend(text);
        assert_eq!(out, text);
        assert_eq!(mended, Mended { taken: text.len(), ended: true, fault: None, disguised: false });
    }

    #[test]
    fn a_long_line_is_folded() {
        let (out, mended) = mend(&["x".repeat(98), "\r\n".into(), "y".repeat(250), "\r\n".into()].concat());
        let lengths: alloc::vec::Vec<_> = out.split("\r\n").map(str::len).collect();
        assert_eq!((lengths.as_slice(), mended.fault), (&[98, 98, 98, 56, 0][..], Some(Fault::TooLong)));
    }

    proptest! {
        /// Whatever comes, what goes on has no fault and at most the one end, however the bytes are cut.
        #[test]
        fn what_goes_on_is_clean(bytes in proptest::collection::vec(prop::sample::select(b"\r\n.a\0".to_vec()), 0..60), step in 1_usize..9) {
            let mut whole = BytesMut::new();
            let all = Mender::new(0).mend(&bytes, &mut whole);
            let expected = Scanned { length: whole.len(), ended: all.ended };
            prop_assert_eq!(BodyScanner::new(0).scan(&whole), Ok(expected));
            let (mut cut, mut mender) = (BytesMut::new(), Mender::new(0));
            let mut taken = 0;
            for part in bytes.chunks(step) {
                let mended = mender.mend(part, &mut cut);
                taken += mended.taken;
                if mended.ended {
                    break;
                }
            }
            prop_assert_eq!(cut, whole);
            prop_assert_eq!(taken, all.taken);
        }
    }
}
