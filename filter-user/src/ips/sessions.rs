//! The open sessions: their places in the books, and the way to end them.

use std::collections::BTreeMap;
use std::sync::Arc;

use filter_core::client::ClientAddr;
use filter_core::limits::{Book, Limits, Overflow, Permit, Taken};
use tokio::sync::{mpsc, oneshot};

use super::Message;

/// Names one session for as long as the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(u64);

/// Somebody decided that a session ends; this is what its client hears.
pub type Sanction = oneshot::Receiver<Arc<str>>;

/// A session's place. Dropping it gives the place back, however the session went.
#[derive(Debug)]
pub struct Place {
    id: SessionId,
    messages: mpsc::UnboundedSender<Message>,
    /// Resolves when the session is to end.
    pub sanction: Sanction,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Fails only when the task has gone, and the books with it.
        let _ = self.messages.send(Message::Departure(self.id));
    }
}

#[derive(Debug)]
struct Open {
    client: ClientAddr,
    permit: Permit,
    /// Taken when the session has been told to end.
    end: Option<oneshot::Sender<Arc<str>>>,
}

/// All open sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    book: Book,
    limits: Limits,
    open: BTreeMap<SessionId, Open>,
    admitted: u64,
    messages: mpsc::WeakUnboundedSender<Message>,
}

impl Sessions {
    pub(super) fn new(limits: Limits, messages: mpsc::WeakUnboundedSender<Message>) -> Self {
        Self { book: Book::default(), limits, open: BTreeMap::new(), admitted: 0, messages }
    }

    /// Takes a place, if the limits allow it.
    pub(super) fn admit(&mut self, client: ClientAddr) -> Result<Option<Place>, Overflow> {
        let permit = self.book.admit(client, &self.limits)?;
        Ok(self.open(client, permit))
    }

    /// Takes a place whatever the limits say.
    pub(super) fn admit_beyond(&mut self, client: ClientAddr) -> Option<Place> {
        let permit = self.book.admit_beyond(client, &self.limits);
        self.open(client, permit)
    }

    /// Gives the place of a session back.
    pub(super) fn release(&mut self, id: SessionId) {
        if let Some(open) = self.open.remove(&id) {
            self.book.release(open.permit);
        }
    }

    /// Tells sessions to end, each with the reply that its client is to hear; none: it goes on.
    pub(super) fn end<'reply>(&mut self, reply: impl Fn(ClientAddr) -> Option<&'reply Arc<str>>) {
        for open in self.open.values_mut() {
            if let Some(reply) = reply(open.client)
                && let Some(end) = open.end.take()
            {
                // Fails if the session is ending anyway.
                let _ = end.send(Arc::clone(reply));
            }
        }
    }

    /// Puts other limits in force; a lowered one ends no session.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) const fn taken(&self) -> Taken {
        self.book.taken()
    }

    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) const fn admitted(&self) -> u64 {
        self.admitted
    }

    fn open(&mut self, client: ClientAddr, permit: Permit) -> Option<Place> {
        let Some(messages) = self.messages.upgrade() else {
            self.book.release(permit);
            return None;
        };
        self.admitted += 1;
        let id = SessionId(self.admitted);
        let (end, sanction) = oneshot::channel();
        self.open.insert(id, Open { client, permit, end: Some(end) });
        Some(Place { id, messages, sanction })
    }
}
