//! Lines of a file that anybody may have written, one at a time and never more of one than [`LINE_LIMIT`].

use std::io::{self, BufRead, BufReader, Read};

/// Longest line, in bytes: an entry with the longest comment, each character of it escaped.
pub(super) const LINE_LIMIT: usize = 8192;

/// The byte order mark that some programs put in front of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The lines of an input, numbered from 1.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// The lines of this input.
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::new(input), number: 0 }
    }

    /// The next line without its end, or why it is none; nothing at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Result<String, String>)>> {
        let mut line = Vec::new();
        let limit = LINE_LIMIT as u64 + 2;
        if self.input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let has_ended = line.ends_with(b"\n");
        if !has_ended {
            // What is longer is thrown away as it comes; at the end of the input there is nothing.
            self.input.skip_until(b'\n')?;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.number == 1 { line.strip_prefix(MARK).unwrap_or(line) } else { line };
        Ok(Some((self.number, checked(line))))
    }
}

fn checked(line: &[u8]) -> Result<String, String> {
    if line.len() > LINE_LIMIT {
        return Err(format!("it is longer than {LINE_LIMIT} bytes"));
    }
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    if text.chars().any(|character| character.is_control() && character != '\t') {
        return Err("there is a control character in it".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut lines = Lines::new(input);
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    fn good(input: &[u8]) -> Vec<String> {
        lines(input).into_iter().filter_map(|(_, line)| line.ok()).collect()
    }

    #[test]
    fn ends_and_marks_of_every_kind_are_taken_off() {
        assert_eq!(good(b"\xef\xbb\xbfa\r\nb\n\nc"), ["a", "b", "", "c"]);
        assert_eq!(good(b""), [""; 0]);
        assert_eq!(
            lines(b"a\n\xef\xbb\xbfb\n")[1].1,
            Ok("\u{feff}b".to_owned()),
            "a mark is at the beginning"
        );
    }

    #[test]
    fn a_bad_line_is_named_and_the_next_one_is_read() {
        let huge = "x".repeat(3 * LINE_LIMIT);
        let input =
            [b"\xff\xfe\na\0b\na\rb\n\x1b[2J\n", huge.as_bytes(), b"\nlast\n", huge.as_bytes()].concat();
        let read = lines(&input);
        let numbers: Vec<_> = read.iter().map(|(number, line)| (*number, line.is_ok())).collect();
        let wanted = [(1, false), (2, false), (3, false), (4, false), (5, false), (6, true), (7, false)];
        assert_eq!(numbers, wanted);
        assert_eq!(read[5].1, Ok("last".to_owned()));
    }

    #[test]
    fn the_longest_line_is_taken_and_one_byte_more_is_not() {
        for end in ["", "\n", "\r\n"] {
            let line = |length| lines(format!("{}{end}", "x".repeat(length)).as_bytes())[0].1.is_ok();
            assert!(line(LINE_LIMIT), "{end:?}");
            assert!(!line(LINE_LIMIT + 1), "{end:?}");
        }
    }

    #[test]
    fn memory_does_not_grow_with_a_line_that_never_ends() {
        let mut lines = Lines::new(io::repeat(b'x').take(1 << 26));
        assert!(lines.next().unwrap().unwrap().1.is_err());
        assert!(lines.next().unwrap().is_none());
    }
}
