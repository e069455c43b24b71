//! What came to one service, and what became of it: numbers for whoever measures, one atomic addition each.
//!
//! The books decide who comes in ([`crate::ips`]); these only count, for each service, also where several share a book.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use filter_core::limits::Pool;

use crate::ips::Reason;
use crate::telemetry::histogram;

/// The counts of one service since the start.
#[derive(Debug, Default)]
pub struct Traffic {
    open: [AtomicU64; Pool::ALL.len()],
    admitted: [AtomicU64; Pool::ALL.len()],
    refused: [AtomicU64; Reason::ALL.len()],
    messages: AtomicU64,
}

impl Traffic {
    /// A session begins; it has ended when what comes back is dropped.
    pub(super) fn enter(&self, pool: Pool) -> Visit<'_> {
        self.admitted[pool as usize].fetch_add(1, Ordering::Relaxed);
        self.open[pool as usize].fetch_add(1, Ordering::Relaxed);
        Visit { traffic: self, pool, since: Instant::now() }
    }

    /// A connection was refused.
    pub(super) fn refuse(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A mail server has accepted a message.
    pub(super) fn deliver(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// Open sessions that took their place from a pool.
    pub fn open(&self, pool: Pool) -> u64 {
        self.open[pool as usize].load(Ordering::Relaxed)
    }

    /// Sessions since the start that took their place from a pool.
    pub fn admitted(&self, pool: Pool) -> u64 {
        self.admitted[pool as usize].load(Ordering::Relaxed)
    }

    /// Connections that were refused for a reason. One that got in after all, because a place was just being given back, is
    /// counted here, too.
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// Messages that mail servers have accepted.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

/// One session that goes on.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    traffic: &'a Traffic,
    pool: Pool,
    since: Instant,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.traffic.open[self.pool as usize].fetch_sub(1, Ordering::Relaxed);
        histogram::SESSION.observe(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_open_until_it_is_dropped() {
        let traffic = Traffic::default();
        let visit = traffic.enter(Pool::Reserved);
        assert_eq!((traffic.open(Pool::Reserved), traffic.admitted(Pool::Reserved)), (1, 1));
        drop(visit);
        assert_eq!((traffic.open(Pool::Reserved), traffic.admitted(Pool::Reserved)), (0, 1));
        assert_eq!((traffic.open(Pool::Public), traffic.admitted(Pool::Public)), (0, 0));
    }
}
