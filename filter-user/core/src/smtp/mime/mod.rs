//! What is attached to a message: names of files, wherever they hide, and parts of cut messages (RFC 2045, 2046, 2183).
//!
//! A message is read as it passes, whatever its size and however its bytes are cut. Nothing of a body is kept: there, one looks
//! from line to line for a boundary, and where no multipart has been begun nothing is looked at at all. Mail programs read broken
//! messages in different ways, so this reads them in every way it can: each name counts that some program may show. It
//! decodes no bodies; what is inside an archive or an encoded message it does not see.

mod boundary;
mod header;
mod name;

use alloc::vec::Vec;

use boundary::{Boundaries, Line};
use header::Header;

pub use header::VALUE_LIMIT;

/// Longest name of a header field that is compared.
const NAME_LIMIT: usize = 24;

/// What was found in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The name of a part, decoded; a part may have several.
    Name(Vec<u8>),
    /// Something that no honest program writes and nobody could judge: a name or a nesting beyond all bounds.
    Unreadable,
    /// A part of a message that was cut into several (RFC 2046 section 5.2.2).
    Partial,
}

/// Where the reader stands between two bytes.
#[derive(Debug)]
enum At {
    /// At the beginning of a line; whether a dot has been taken off.
    Start(bool),
    /// Behind a CR that may end an empty line.
    BlankCr,
    /// In the name of a field.
    Name,
    /// In the value of a field that matters.
    Value,
    /// In a line that begins with `-`.
    Dashes,
    /// In the rest of a line that does not matter.
    Rest,
}

/// Reads one message.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about what has been read")]
pub struct MimeReader {
    /// Whether lines are dot-stuffed (RFC 5321 section 4.5.2); chunks of BDAT are not.
    stuffed: bool,
    at: At,
    in_headers: bool,
    /// The beginning of the current line, where it is of interest.
    line: Vec<u8>,
    header: Option<Header>,
    boundaries: Boundaries,
    /// Whether the headers of a whole message follow those that are being read.
    nests: bool,
    /// Whether these headers have named a type, and whether parts without one are messages (RFC 2046 section 5.1.5).
    typed: bool,
    digest: bool,
}

impl MimeReader {
    /// A reader at the first byte of a message; `stuffed` is whether it comes by DATA.
    pub const fn new(stuffed: bool) -> Self {
        Self {
            stuffed,
            at: At::Start(false),
            in_headers: true,
            line: Vec::new(),
            header: None,
            boundaries: Boundaries::new(),
            nests: false,
            typed: false,
            digest: false,
        }
    }

    /// Takes the next bytes of the message.
    pub fn read(&mut self, bytes: &[u8], found: &mut impl FnMut(Finding)) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if !self.in_headers && self.boundaries.is_empty() {
                // Nothing can begin a part any more.
                return;
            }
            match self.at {
                At::Rest => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    let Some(end) = memchr::memchr(b'\n', rest) else { return };
                    at += end;
                    self.at = At::Start(false);
                }
                At::Value => match byte {
                    b'\n' => self.at = At::Start(false),
                    _ => self.header.iter_mut().for_each(|header| header.push(byte, found)),
                },
                At::Start(undotted) => {
                    if byte == b'.' && self.stuffed && !undotted {
                        self.at = At::Start(true);
                    } else {
                        self.begin_line(byte, found);
                    }
                }
                At::BlankCr if byte == b'\n' => self.end_headers(found),
                At::BlankCr => self.at = At::Rest,
                At::Name => self.name(byte),
                At::Dashes => match byte {
                    b'\n' => self.end_dashes(found),
                    _ if self.line.len() < boundary::LINE_LIMIT => self.line.push(byte),
                    _ => {}
                },
            }
            // The byte that `Rest` stopped at is the line's end, which belongs to it.
            at += 1;
        }
    }

    /// The message has ended.
    pub fn finish(&mut self, found: &mut impl FnMut(Finding)) {
        self.end_header(found);
    }

    /// The first byte of a line.
    fn begin_line(&mut self, byte: u8, found: &mut impl FnMut(Finding)) {
        self.line.clear();
        match byte {
            b'-' => {
                self.line.push(byte);
                self.at = At::Dashes;
            }
            b'\n' if self.in_headers => self.end_headers(found),
            b'\n' => self.at = At::Start(false),
            _ if !self.in_headers => self.at = At::Rest,
            b'\r' => self.at = At::BlankCr,
            // RFC 5322 section 2.2.3: a folded line.
            b' ' | b'\t' => match &mut self.header {
                Some(header) => {
                    header.push(b' ', found);
                    self.at = At::Value;
                }
                None => self.at = At::Rest,
            },
            _ => {
                self.end_header(found);
                self.line.push(byte);
                self.at = At::Name;
            }
        }
    }

    /// One more byte of a field's name.
    fn name(&mut self, byte: u8) {
        match byte {
            b':' => {
                self.header = Header::of(self.line.trim_ascii_end());
                self.at = if self.header.is_some() { At::Value } else { At::Rest };
            }
            // A line that is no field; what the next one is does not depend on it.
            b'\n' => self.at = At::Start(false),
            _ if self.line.len() < NAME_LIMIT => self.line.push(byte),
            _ => self.at = At::Rest,
        }
    }

    /// A field has ended.
    fn end_header(&mut self, found: &mut impl FnMut(Finding)) {
        let Some(header) = self.header.take() else { return };
        let Some(kind) = header.finish(found) else { return };
        self.typed = true;
        self.nests |= kind.is_message();
        self.digest |= kind.is_digest();
        if kind.is_partial() {
            found(Finding::Partial);
        }
        if kind.is_multipart() && !self.boundaries.push(kind.boundary()) {
            found(Finding::Unreadable);
        }
    }

    /// An empty line behind headers.
    fn end_headers(&mut self, found: &mut impl FnMut(Finding)) {
        self.end_header(found);
        self.in_headers = self.nests || (self.digest && !self.typed);
        (self.nests, self.typed) = (false, false);
        if self.in_headers {
            // What follows is a message of its own, whose first part is no digest's.
            self.typed = true;
        }
        self.at = At::Start(false);
    }

    /// A line that begins with a dash has ended: it may be a boundary, in headers too.
    fn end_dashes(&mut self, found: &mut impl FnMut(Finding)) {
        self.at = At::Start(false);
        match self.boundaries.meet(self.line.trim_ascii_end()) {
            Line::Text => {}
            Line::Close => {
                self.end_header(found);
                self.in_headers = false;
            }
            Line::Part => {
                self.end_header(found);
                self.in_headers = true;
                (self.nests, self.typed) = (false, false);
            }
        }
    }
}

#[cfg(test)]
mod tests;
