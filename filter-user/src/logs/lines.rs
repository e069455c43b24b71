//! Bytes into lines, none longer than the rules look at.

use filter_core::logs::LINE_LIMIT;

/// What has been read and not yet made into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    held: Vec<u8>,
    /// The line is too long, and the rest of it is thrown away as it comes.
    is_skipping: bool,
    /// Bytes of it that have been thrown away.
    skipped: u64,
}

/// A piece of a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A whole line without its end.
    Line(&'a [u8]),
    /// A line that is too long. It is not looked at: where it is cut off, a client may have chosen what stands there.
    TooLong,
}

impl Lines {
    /// Takes bytes in; gives each line that they end, and how many bytes of the log lie before the next one.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut piece: impl FnMut(Piece<'_>, u64)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            let length = self.skipped + (self.held.len() + line.len()) as u64;
            let line = &line[..line.len() - 1];
            if self.is_skipping || self.held.len() + line.len() > LINE_LIMIT {
                piece(Piece::TooLong, length);
            } else if self.held.is_empty() {
                piece(Piece::Line(line), length);
            } else {
                self.held.extend_from_slice(line);
                piece(Piece::Line(&self.held), length);
            }
            self.forget();
        }
        if self.is_skipping || self.held.len() + bytes.len() > LINE_LIMIT {
            self.skipped += (self.held.len() + bytes.len()) as u64;
            self.held.clear();
            self.is_skipping = true;
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// The log has ended: what is held is its last line, though nothing ends it.
    pub(crate) fn finish(&mut self, mut piece: impl FnMut(Piece<'_>, u64)) {
        let length = self.pending();
        if self.is_skipping {
            piece(Piece::TooLong, length);
        } else if !self.held.is_empty() {
            piece(Piece::Line(&self.held), length);
        }
        self.forget();
    }

    /// Bytes of a line that has not ended.
    pub(crate) fn pending(&self) -> u64 {
        self.skipped + self.held.len() as u64
    }

    /// Begins anew.
    pub(crate) fn forget(&mut self) {
        self.held.clear();
        (self.is_skipping, self.skipped) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<Option<Vec<u8>>>, u64, u64) {
        let (mut lines, mut found, mut length) = (Lines::default(), Vec::new(), 0);
        for chunk in chunks {
            lines.take(chunk, |piece, bytes| {
                length += bytes;
                found.push(match piece {
                    Piece::Line(line) => Some(line.to_vec()),
                    Piece::TooLong => None,
                });
            });
        }
        (found, length, lines.pending())
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_and_the_next_one_is_read() {
        let huge = vec![b'x'; 3 * LINE_LIMIT];
        let (found, length, pending) = lines(&[b"a\n", &huge, b"y\nb", b"c\n", &huge]);
        assert_eq!(found, [Some(b"a".to_vec()), None, Some(b"bc".to_vec())]);
        assert_eq!((length, pending), (2 + 3 * LINE_LIMIT as u64 + 2 + 3, 3 * LINE_LIMIT as u64));
        let (longest, more) = (vec![b'x'; LINE_LIMIT], vec![b'x'; LINE_LIMIT + 1]);
        assert!(lines(&[&longest, b"\n"]).0[0].is_some());
        assert!(lines(&[&more, b"\n"]).0[0].is_none());
    }

    proptest! {
        #[test]
        fn however_it_comes_in_the_lines_are_the_same(text in "[a\n]{0,60}", cuts in prop::collection::vec(0..60_usize, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            let (found, length, pending) = lines(&chunks);
            let mut want: Vec<_> = bytes.split(|byte| *byte == b'\n').map(|line| Some(line.to_vec())).collect();
            prop_assert_eq!(pending, want.pop().flatten().map_or(0, |line| line.len() as u64));
            prop_assert_eq!(found, want);
            prop_assert_eq!(length + pending, bytes.len() as u64);
        }
    }
}
