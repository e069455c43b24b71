//! The open sessions: their places in the books, and the way to end them.

use std::collections::BTreeMap;
use std::sync::Arc;

use filter_core::client::ClientAddr;
use filter_core::limits::{Book, Limits, Overflow, Permit, Pool};
use ipnet::IpNet;
use tokio::sync::oneshot;

use super::Live;
use super::notices::{Notice, Notices, WeakNotices};
use crate::clock;

/// Names one session for as long as the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(pub(super) u64);

/// Which book a session is counted in: the shared one, or that of a service with limits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookId(pub usize);

impl BookId {
    /// The book of all services without limits of their own.
    pub const SHARED: Self = Self(0);
}

/// Somebody decided that a session ends; this is what its client hears.
pub type Sanction = oneshot::Receiver<Arc<str>>;

/// A session's place. Dropping it gives the place back, however the session went.
#[derive(Debug)]
pub struct Place {
    id: SessionId,
    notices: Notices,
    /// Which pool it was taken from.
    pub pool: Pool,
    /// Resolves when the session is to end.
    pub sanction: Sanction,
    /// Whether its client is neither one of ours nor known by what it did lately.
    pub is_strange: bool,
    /// Where the session tells of itself.
    pub live: Arc<Live>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.notices.leave(Notice::Departure(self.id));
    }
}

#[derive(Debug)]
struct Open {
    client: ClientAddr,
    book: BookId,
    permit: Permit,
    live: Arc<Live>,
    /// Taken when the session has been told to end.
    end: Option<oneshot::Sender<Arc<str>>>,
}

/// One book and its limits.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) book: Book,
    pub(super) limits: Limits,
    /// Sessions since the start.
    pub(super) admitted: u64,
    /// Connections beyond its limits since the start.
    pub(super) overflowed: u64,
    /// Connections refused as blocked since the start.
    pub(super) refused: u64,
}

impl Ledger {
    /// Incoming sessions of one scope; 0: no limit.
    pub(super) const fn per_address(&self) -> u32 {
        self.limits.maximum_sessions_per_address
    }
}

/// All open sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    /// By their [`BookId`]; the shared one is always there.
    books: Vec<Ledger>,
    open: BTreeMap<SessionId, Open>,
    opened: u64,
    notices: WeakNotices,
}

impl Sessions {
    /// One book for each of these limits; the first is the shared one.
    pub(super) fn new(limits: Vec<Limits>, notices: WeakNotices) -> Self {
        let ledger =
            |limits| Ledger { book: Book::default(), limits, admitted: 0, overflowed: 0, refused: 0 };
        Self { books: limits.into_iter().map(ledger).collect(), open: BTreeMap::new(), opened: 0, notices }
    }

    /// Takes a place, if the limits allow it; none: the agent is stopping.
    pub(super) fn admit(&mut self, client: ClientAddr, book: BookId) -> Result<Option<Place>, Overflow> {
        let Some(ledger) = self.books.get_mut(book.0) else { return Ok(None) };
        let permit = ledger.book.admit(client, &ledger.limits)?;
        Ok(self.open(client, book, permit))
    }

    /// Takes a place whatever the limits say.
    pub(super) fn admit_beyond(&mut self, client: ClientAddr, book: BookId) -> Option<Place> {
        let ledger = self.books.get_mut(book.0)?;
        let permit = ledger.book.admit_beyond(client, &ledger.limits);
        self.open(client, book, permit)
    }

    /// Gives the place of a session back.
    pub(super) fn release(&mut self, id: SessionId) {
        if let Some(open) = self.open.remove(&id) {
            self.release_permit(open.book, open.permit);
        }
    }

    fn release_permit(&mut self, book: BookId, permit: Permit) {
        if let Some(ledger) = self.books.get_mut(book.0) {
            ledger.book.release(permit);
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

    /// Tells those of these clients to end, or the one of this number; says which.
    pub(super) fn end_chosen(
        &mut self,
        id: Option<u64>,
        network: Option<IpNet>,
        reply: &Arc<str>,
    ) -> Vec<u64> {
        let is_meant = |other: SessionId, open: &Open| {
            id.is_none_or(|id| id == other.0)
                && network.is_none_or(|network| network.contains(&open.client.ip()))
        };
        let meant = self.open.iter_mut().filter(|(other, open)| is_meant(**other, open));
        // One that has been told already is ending, and nothing has to be done.
        meant
            .map(|(other, open)| {
                if let Some(end) = open.end.take() {
                    let _ = end.send(Arc::clone(reply));
                }
                other.0
            })
            .collect()
    }

    /// Every open session: its number, its client, whether that is local, and where it tells of itself.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, ClientAddr, bool, &Arc<Live>)> {
        self.open.iter().map(|(id, open)| {
            let ledger = self.books.get(open.book.0);
            let local = ledger.is_some_and(|ledger| ledger.limits.is_local(open.client));
            (id.0, open.client, local, &open.live)
        })
    }

    /// Puts other limits in force, book by book; a lowered one ends no session.
    pub(super) fn set_limits(&mut self, limits: Vec<Limits>) {
        for (ledger, limits) in self.books.iter_mut().zip(limits) {
            ledger.limits = limits;
        }
    }

    /// The book, to count in it what came of a connection.
    pub(super) fn ledger(&mut self, book: BookId) -> Option<&mut Ledger> {
        self.books.get_mut(book.0)
    }

    /// All books, the shared one first.
    pub(super) fn ledgers(&self) -> &[Ledger] {
        &self.books
    }

    /// How many sessions are open.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    fn open(&mut self, client: ClientAddr, book: BookId, permit: Permit) -> Option<Place> {
        let Some(notices) = self.notices.upgrade() else {
            self.release_permit(book, permit);
            return None;
        };
        if let Some(ledger) = self.books.get_mut(book.0) {
            ledger.admitted += 1;
        }
        self.opened += 1;
        let id = SessionId(self.opened);
        let (end, sanction) = oneshot::channel();
        let pool = permit.pool();
        let live = Arc::new(Live::new(clock::instant()));
        self.open.insert(id, Open { client, book, permit, live: Arc::clone(&live), end: Some(end) });
        Some(Place { id, notices, pool, sanction, is_strange: true, live })
    }
}
