//! How long each side may take, and from when on.

use core::time::Duration;

use crate::time::Instant;

use super::{Presence, Session};

/// How long a client that has said its last byte waits for the mail server's.
pub(super) const FAREWELL: Duration = Duration::from_secs(10);

/// How long each side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a whole command, or for 64 KiB of a message (RFC 5321 section 4.5.3.2.7 asks for 5 minutes).
    pub client: Duration,
    /// For a reply of the mail server (RFC 5321 section 4.5.3.2.6 asks for 10 minutes after a message).
    pub server: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { client: Duration::from_mins(5), server: Duration::from_mins(10) }
    }
}

impl Session {
    /// Moves the deadline: something was completed.
    pub(super) fn rewind(&mut self, now: Instant) {
        if self.presence == Presence::Talking {
            let patience = if self.due.is_empty() { self.patience.client } else { self.patience.server };
            self.deadline = now.after(patience);
        }
    }
}
