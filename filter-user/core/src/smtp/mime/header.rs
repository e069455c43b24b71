//! One field Content-Type or Content-Disposition, read byte by byte (RFC 2045 section 5.1, RFC 2183, RFC 2231).
//!
//! Values may be quoted, folded, commented, continued over several parameters, encoded in three ways, and broken in more. What
//! does not matter is not kept, whatever its length.

use alloc::vec::Vec;

use super::Finding;
use super::name::{decode_extended, decode_words};

/// Longest value that is kept, in bytes. File systems end at 255; a longer name than this is [`Finding::Unreadable`].
pub const VALUE_LIMIT: usize = 4096;
/// Longest type, and longest name of a parameter, that is compared.
const WORD_LIMIT: usize = 48;
/// Parts of continued names that are kept (RFC 2231 section 3).
const SECTIONS_LIMIT: usize = 64;

/// What a parameter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Name,
    FileName,
    Boundary,
}

/// A part of a continued value.
#[derive(Debug)]
struct Section {
    of: Use,
    number: u16,
    extended: bool,
    value: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The type, before the first parameter.
    Type,
    /// Behind blanks in or after it.
    TypeGap,
    /// The name of a parameter.
    Name,
    /// Between `=` and the value.
    Before,
    /// A value without quotes.
    Token,
    Quoted,
    /// Behind a backslash in quotes.
    Escaped,
    /// Behind quotes.
    After,
}

/// A field that is being read.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about what has been read")]
pub(super) struct Header {
    is_type: bool,
    state: State,
    /// Open parentheses of a comment, and whether a backslash stands before the next byte.
    comment: u32,
    comment_escape: bool,
    media: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
    too_long: bool,
    was_quoted: bool,
    boundary: Vec<u8>,
    sections: Vec<Section>,
}

/// What a Content-Type says.
#[derive(Debug)]
pub(super) struct Kind {
    media: Vec<u8>,
    boundary: Vec<u8>,
}

impl Kind {
    pub(super) fn is_multipart(&self) -> bool {
        self.media.starts_with(b"multipart/")
    }

    pub(super) fn is_digest(&self) -> bool {
        self.media == b"multipart/digest"
    }

    pub(super) fn is_message(&self) -> bool {
        self.media.starts_with(b"message/")
    }

    pub(super) fn is_partial(&self) -> bool {
        self.media == b"message/partial"
    }

    pub(super) fn boundary(&self) -> &[u8] {
        &self.boundary
    }
}

impl Header {
    /// The field of this name, if it matters.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let is_type = name.eq_ignore_ascii_case(b"content-type");
        (is_type || name.eq_ignore_ascii_case(b"content-disposition")).then(|| Self {
            is_type,
            state: State::Type,
            comment: 0,
            comment_escape: false,
            media: Vec::new(),
            name: Vec::new(),
            value: Vec::new(),
            too_long: false,
            was_quoted: false,
            boundary: Vec::new(),
            sections: Vec::new(),
        })
    }

    /// Takes one byte of the value, folds undone.
    pub(super) fn push(&mut self, byte: u8, found: &mut impl FnMut(Finding)) {
        // The CR of the line's end; anywhere else it is nothing that a program would show.
        if byte == b'\r' {
            return;
        }
        if self.comment > 0 {
            return self.comment(byte);
        }
        match (self.state, byte) {
            (State::Quoted, b'\\') => self.state = State::Escaped,
            (State::Quoted, b'"') => self.state = State::After,
            (State::Quoted, _) => self.keep(byte),
            (State::Escaped, _) => {
                self.keep(byte);
                self.state = State::Quoted;
            }
            (State::Type | State::TypeGap | State::Name | State::Before | State::After, b'(') => {
                self.comment = 1;
            }
            (_, b';') => {
                self.end_parameter(found);
                self.state = State::Name;
            }
            // A disposition that was forgotten: its place is taken by a parameter.
            (State::Type | State::TypeGap, b'=') => {
                self.name.clone_from(&self.media);
                self.state = State::Before;
            }
            (State::Type | State::TypeGap, b' ' | b'\t') => {
                let begun = !self.media.is_empty();
                self.state = if begun { State::TypeGap } else { State::Type };
            }
            // A forgotten semicolon; blanks around the slash are an older standard's.
            (State::TypeGap, _) if byte != b'/' && !self.media.ends_with(b"/") => {
                self.state = State::Name;
                add_word(&mut self.name, byte);
            }
            (State::Type | State::TypeGap, _) => {
                self.state = State::Type;
                add_word(&mut self.media, byte);
            }
            (State::Name, b'=') => self.state = State::Before,
            (State::Name, _) => add_word(&mut self.name, byte),
            (State::Before | State::After, b' ' | b'\t') => {}
            (State::Before | State::After, b'"') => {
                self.was_quoted = true;
                self.state = State::Quoted;
            }
            (State::Before | State::After | State::Token, _) => {
                self.state = State::Token;
                self.keep(byte);
            }
        }
    }

    /// Ends the field: hands out the names that are complete only now, and says what a Content-Type says.
    pub(super) fn finish(mut self, found: &mut impl FnMut(Finding)) -> Option<Kind> {
        self.end_parameter(found);
        for of in [Use::FileName, Use::Name] {
            self.join(of, found);
        }
        let boundary = self.joined(Use::Boundary, false).filter(|_| self.boundary.is_empty());
        let boundary = boundary.unwrap_or_else(|| core::mem::take(&mut self.boundary));
        self.is_type.then_some(Kind { media: self.media, boundary })
    }

    fn comment(&mut self, byte: u8) {
        match byte {
            _ if self.comment_escape => self.comment_escape = false,
            b'\\' => self.comment_escape = true,
            b'(' => self.comment = self.comment.saturating_add(1),
            b')' => self.comment -= 1,
            _ => {}
        }
    }

    /// Keeps a byte of a value that matters.
    fn keep(&mut self, byte: u8) {
        if self.value.len() < VALUE_LIMIT {
            if self.value.is_empty() && parameter(&self.name).is_none() {
                return;
            }
            self.value.push(byte);
        } else {
            self.too_long = true;
        }
    }

    fn end_parameter(&mut self, found: &mut impl FnMut(Finding)) {
        let unterminated = matches!(self.state, State::Quoted | State::Escaped);
        let value = core::mem::take(&mut self.value);
        let name = core::mem::take(&mut self.name);
        let too_long = core::mem::take(&mut self.too_long);
        let quoted = core::mem::take(&mut self.was_quoted);
        let Some((of, number, extended)) = parameter(&name) else { return };
        if too_long && of != Use::Boundary {
            found(Finding::Unreadable);
        }
        if number.is_some() || (extended && of == Use::Boundary) {
            let section = Section { of, number: number.unwrap_or(0), extended, value };
            if self.sections.len() < SECTIONS_LIMIT {
                self.sections.push(section);
            } else {
                found(Finding::Unreadable);
            }
            return;
        }
        if of == Use::Boundary {
            self.boundary = value.trim_ascii().to_vec();
            return;
        }
        if extended {
            found(Finding::Name(decode_extended(&value, true)));
        }
        if !quoted {
            // A strict program takes the first word of it.
            let first = value.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            if first.len() < value.trim_ascii().len() && !first.is_empty() {
                found(Finding::Name(decode_words(first)));
            }
        }
        if unterminated && let Some(first) = value.split(|byte| *byte == b';').next() {
            found(Finding::Name(decode_words(first)));
        }
        if !value.is_empty() {
            found(Finding::Name(decode_words(&value)));
        }
    }

    /// Hands out a name that came in parts: all of them, and those before the first gap.
    fn join(&self, of: Use, found: &mut impl FnMut(Finding)) {
        let all = self.joined(of, false);
        let unbroken = self.joined(of, true).filter(|unbroken| Some(unbroken) != all.as_ref());
        for name in [all, unbroken].into_iter().flatten() {
            found(Finding::Name(decode_words(&name)));
        }
    }

    fn joined(&self, of: Use, up_to_gap: bool) -> Option<Vec<u8>> {
        let mut sections: Vec<_> = self.sections.iter().filter(|section| section.of == of).collect();
        sections.sort_by_key(|section| section.number);
        sections.first()?;
        let mut joined = Vec::new();
        let mut expected = 0_u16;
        for section in sections {
            if up_to_gap && section.number != expected {
                break;
            }
            expected = section.number.saturating_add(1);
            if section.extended {
                joined.extend(decode_extended(&section.value, joined.is_empty()));
            } else {
                joined.extend_from_slice(&section.value);
            }
        }
        Some(joined)
    }
}

/// Types and names of parameters have no blanks and no case.
fn add_word(word: &mut Vec<u8>, byte: u8) {
    if !byte.is_ascii_whitespace() && word.len() < WORD_LIMIT {
        word.push(byte.to_ascii_lowercase());
    }
}

/// What a parameter is for, its place among continued ones, and whether it is encoded (RFC 2231).
fn parameter(name: &[u8]) -> Option<(Use, Option<u16>, bool)> {
    let mut parts = name.split(|byte| *byte == b'*');
    let of = match parts.next()? {
        b"name" => Use::Name,
        b"filename" => Use::FileName,
        b"boundary" => Use::Boundary,
        _ => return None,
    };
    let number = |text: &[u8]| core::str::from_utf8(text).ok()?.parse().ok();
    Some(match (parts.next(), parts.next()) {
        (None, _) => (of, None, false),
        (Some(b""), _) => (of, None, true),
        (Some(text), None) => (of, Some(number(text).unwrap_or(u16::MAX)), false),
        (Some(text), Some(_)) => (of, Some(number(text).unwrap_or(u16::MAX)), true),
    })
}
