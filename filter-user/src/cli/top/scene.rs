//! What `gatepost top` shows: the answers of the agent, and what has changed between two of them.

use std::time::{Duration, Instant};

use filter_core::admin::{Gauge, SessionsView, StatusView};
use filter_core::event::Event;
use filter_core::neighbourhood::{Nearest, Watched};

/// Events that are kept on the screen.
pub(super) const EVENTS: usize = 50;
/// Seconds of the plot of drops.
const PLOTTED: usize = 120;

/// How the clients are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Score,
    Address,
}

/// Everything on the screen.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) status: Option<StatusView>,
    pub(super) clients: Vec<Watched>,
    pub(super) threshold: u32,
    pub(super) events: Vec<Event>,
    /// Packets dropped per second, the latest last.
    pub(super) drops: Vec<u64>,
    pub(super) order: Order,
    /// Why there is nothing new.
    pub(super) trouble: Option<String>,
    before: Option<(Instant, u64)>,
}

impl Scene {
    pub(super) const fn new() -> Self {
        Self {
            status: None,
            clients: Vec::new(),
            threshold: 0,
            events: Vec::new(),
            drops: Vec::new(),
            order: Order::Score,
            trouble: None,
            before: None,
        }
    }

    /// Takes what the agent says at a time.
    pub(super) fn take(&mut self, status: StatusView, nearest: Nearest, events: Vec<Event>, at: Instant) {
        let dropped = status.kernel.map_or(0, |kernel| kernel.dropped);
        if let Some((since, before)) = self.before {
            let span = at.saturating_duration_since(since).max(Duration::from_millis(1));
            let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            self.drops.push(dropped.saturating_sub(before).saturating_mul(1000) / millis);
            let too_many = self.drops.len().saturating_sub(PLOTTED);
            self.drops.drain(..too_many);
        }
        self.before = Some((at, dropped));
        self.status = Some(status);
        self.threshold = nearest.threshold;
        self.clients = nearest.clients;
        self.sort();
        self.events = events;
        self.trouble = None;
    }

    /// Changes the order of the clients.
    pub(super) fn turn(&mut self) {
        self.order = if self.order == Order::Score { Order::Address } else { Order::Score };
        self.sort();
    }

    fn sort(&mut self) {
        match self.order {
            Order::Score => self.clients.sort_by_key(|client| std::cmp::Reverse(client.score)),
            Order::Address => self.clients.sort_by_key(|client| client.scope),
        }
    }

    /// Every limit that there is, with a name.
    pub(super) fn gauges(&self) -> Vec<(String, Gauge)> {
        let Some(status) = &self.status else { return Vec::new() };
        let own =
            status.services.iter().filter_map(|service| Some((&*service.name, service.sessions.as_ref()?)));
        let books = [("", &status.sessions)].into_iter().chain(own);
        books.flat_map(|(name, book)| of(name, book)).collect()
    }
}

fn of(name: &str, book: &SessionsView) -> Vec<(String, Gauge)> {
    let word = |what: &str| if name.is_empty() { what.to_owned() } else { format!("{name} {what}") };
    let mut gauges = vec![(word("all"), book.total), (word("incoming"), book.incoming)];
    if book.reserved.limit > 0 {
        gauges.push((word("reserved"), book.reserved));
    }
    gauges
}
