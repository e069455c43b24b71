//! Lines between the parts of a message (RFC 2046 section 5.1).

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Longest boundary that is compared; RFC 2046 section 5.1.1 allows 70 bytes.
const BOUNDARY_LIMIT: usize = 70;
/// Bytes of a line that may be a boundary.
pub(super) const LINE_LIMIT: usize = 160;
/// Multiparts that may be open at once; mail servers follow 100 (Postfix: `mime_nesting_limit`).
const NESTING_LIMIT: usize = 100;

/// What a line that begins with a dash is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Some line.
    Text,
    /// The beginning of a part.
    Part,
    /// The end of the last part.
    Close,
}

/// The multiparts that are open, the innermost last.
#[derive(Debug)]
pub(super) struct Boundaries {
    open: Vec<Box<[u8]>>,
    /// A multipart named none: any line may be one.
    any: bool,
}

impl Boundaries {
    pub(super) const fn new() -> Self {
        Self { open: Vec::new(), any: false }
    }

    /// Whether no line can begin a part.
    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty() && !self.any
    }

    /// A multipart begins; whether there is room for it.
    pub(super) fn push(&mut self, boundary: &[u8]) -> bool {
        let boundary = boundary.get(..BOUNDARY_LIMIT).unwrap_or(boundary).trim_ascii_end();
        if boundary.is_empty() {
            self.any = true;
        } else if !self.open.iter().any(|known| **known == *boundary) {
            if self.open.len() >= NESTING_LIMIT {
                return false;
            }
            self.open.push(boundary.into());
        }
        true
    }

    /// Says what a line is, and closes what it closes. Some programs take a line for a boundary that only begins like one; such
    /// a line begins a part and closes nothing.
    pub(super) fn meet(&mut self, line: &[u8]) -> Line {
        let Some(rest) = line.strip_prefix(b"--") else { return Line::Text };
        let whole = |known: &[u8]| {
            let suffix = rest.strip_prefix(known)?;
            matches!(suffix, b"" | b"--").then_some(!suffix.is_empty())
        };
        let met = self.open.iter().enumerate().rev().find_map(|(place, known)| Some((place, whole(known)?)));
        if let Some((place, closes)) = met {
            // A closed boundary stays until an outer one comes: some programs take it up again.
            self.open.truncate(place + 1);
            return if closes { Line::Close } else { Line::Part };
        }
        if self.any || self.open.iter().any(|known| rest.starts_with(known)) {
            Line::Part
        } else {
            Line::Text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_boundary_closes_the_inner_ones() {
        let mut open = Boundaries::new();
        assert!(open.is_empty() && open.push(b"outer") && open.push(b"inner") && open.push(b"outer"));
        assert_eq!(open.meet(b"--inner"), Line::Part);
        assert_eq!(open.meet(b"--inner--"), Line::Close);
        assert_eq!(open.meet(b"--innermost"), Line::Part);
        assert_eq!(open.meet(b"--outer"), Line::Part);
        assert_eq!(open.meet(b"--inner"), Line::Text);
        assert_eq!((open.meet(b"-outer"), open.meet(b"--oute")), (Line::Text, Line::Text));
    }

    #[test]
    fn without_a_boundary_any_line_may_be_one() {
        let mut open = Boundaries::new();
        assert!(open.push(b"") && !open.is_empty());
        assert_eq!(open.meet(b"--whatever"), Line::Part);
    }

    #[test]
    fn no_more_are_open_than_the_limit() {
        let mut open = Boundaries::new();
        assert!((0..100_u32).all(|number| open.push(alloc::format!("b{number}").as_bytes())));
        assert!(!open.push(b"one more") && open.push(b"b0"));
    }
}
