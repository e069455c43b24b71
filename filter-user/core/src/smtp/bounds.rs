//! How much one session may ask for, and how its lines must end.

/// What becomes of a line that does not end with CR LF.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LineEnds {
    /// The session ends with a reply (RFC 5321 section 2.3.8).
    #[default]
    Reject,
    /// It is mended before it goes on: a bare LF becomes CR LF, a bare CR and a NUL of a message become blanks. What the mail
    /// server is sent is as clean as with [`LineEnds::Reject`].
    Normalize,
}

/// Bytes of a message's end, which are none of its size (RFC 1870 section 5).
pub(super) const END_SIZE: u64 = b".\r\n".len() as u64;

/// The bounds of a service's sessions. A zero is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// What becomes of stray line ends.
    pub line_ends: LineEnds,
    /// Longest line of a message in bytes, its CR LF included. RFC 5321 section 4.5.3.1.6 says 1000, and many honest
    /// messages have longer ones.
    pub text_line: usize,
    /// Recipients of one transaction; RFC 5321 section 4.5.3.1.8 wants room for 100.
    pub recipients: u32,
    /// Size of a message in bytes, counted as RFC 1870 section 5 does.
    pub message_size: u64,
    /// Commands refused with a 5xx since the last message that was accepted, by us or by the mail server. RFC 5321 section 7.8 lets a
    /// server close the connection of whoever tries addresses.
    pub errors: u32,
    /// Commands since the last message that was accepted; recipients and chunks have bounds of their own and are none of them.
    pub commands: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            line_ends: LineEnds::Reject,
            text_line: 65_536,
            recipients: 1000,
            message_size: 150 << 20,
            errors: 100,
            commands: 1000,
        }
    }
}

impl Bounds {
    /// The size with its end beyond which a message is too big; 0: none is.
    pub(super) const fn beyond_size(&self) -> u64 {
        if self.message_size == 0 { 0 } else { self.message_size.saturating_add(END_SIZE) }
    }

    /// Whether CHUNKING is not offered: the size of a chunk is said before anybody can see what there is to mend in it, so whoever would
    /// send chunks sends with DATA, and has his lines mended.
    pub(super) const fn withholds_chunking(&self) -> bool {
        matches!(self.line_ends, LineEnds::Normalize)
    }

    /// Whether a message of this size is too big.
    pub(super) const fn is_too_big(&self, size: u64) -> bool {
        self.message_size > 0 && size > self.message_size
    }
}
