//! The task that owns the engine, the session books and the way into the kernel.
//!
//! Everybody else holds an [`Inbox`] and sends messages. One task reads them in order, so an offence that was
//! reported before a departure is judged before the next arrival, and a block is in the kernel before anybody is
//! told of it.

mod enforcer;
mod journal;
mod live;
mod notices;
mod requests;
mod sessions;
mod tally;
mod task;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use filter_core::admin::{BlockView, Removed, SessionsView, Standing};
use filter_core::client::ClientAddr;
use filter_core::decision::Never;
use filter_core::engine::Refusal;
use filter_core::event::{Drop, Success};
use filter_core::import::{Outcome, Wish};
use filter_core::limits::Limits;
use filter_core::listed::{Listed, Search};
use filter_core::login::LoginStanding;
use filter_core::neighbourhood::{Nearest, Neighbourhood};
use filter_core::offence::Offence;
use filter_core::policy::Policy;
use filter_core::report::{Reception, Report};
use filter_core::service::ServiceName;
use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot};

use crate::kernel::Fill;

pub use crate::store::Mark;
pub use enforcer::Enforcer;
pub use live::Live;
pub use sessions::{BookId, Place, Sanction};
pub use tally::{Decision, Tally};
pub use task::{Ips, Replies};

use notices::{Notice, Notices};

/// Offences that may wait to be judged; more are dropped and counted, never anything else.
const BACKLOG_LIMIT: usize = 65_536;

/// Whether a client may come in.
#[derive(Debug)]
pub enum Admission {
    /// It may; its place is given back when this is dropped.
    Admitted(Place),
    /// It may not; this is what it hears.
    Refused {
        /// One line with its CR LF.
        reply: Arc<str>,
        /// Why.
        reason: Reason,
    },
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The client is blocked.
    Blocked,
    /// `maximum_sessions`.
    Total,
    /// `maximum_sessions_per_address`.
    PerAddress,
    /// `maximum_incoming_sessions`, less the reserve for those it is not for.
    Incoming,
    /// The agent is on its way out.
    Stopping,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Blocked, Self::Total, Self::PerAddress, Self::Incoming, Self::Stopping];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Total => "total",
            Self::PerAddress => "per-address",
            Self::Incoming => "incoming",
            Self::Stopping => "stopping",
        }
    }

    /// Whether a place that is being given back at this moment would change the answer.
    pub const fn may_clear(self) -> bool {
        matches!(self, Self::Total | Self::PerAddress | Self::Incoming)
    }
}

/// One of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The block list.
    Blocks,
    /// The never-block list.
    Never,
}

/// What an administrator can ask of the engine.
#[derive(Debug)]
pub enum Request {
    /// Block a network.
    Block {
        /// Who.
        network: IpNet,
        /// For how long; none: the policy's block time.
        span: Option<Duration>,
        /// Why.
        comment: String,
        /// Who asks.
        author: String,
        /// Even if it is very wide.
        force: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<BlockView, Refusal>>,
    },
    /// Block a network, as another program wishes.
    FileBlock {
        /// Who.
        network: IpNet,
        /// For how long; none: the policy's block time.
        span: Option<Duration>,
        /// Why.
        reason: String,
        /// The program.
        feed: String,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<BlockView, Refusal>>,
    },
    /// Remove what a program has filed.
    UnfileBlock {
        /// Of exactly this network.
        network: IpNet,
        /// The program.
        feed: String,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Removed, Refusal>>,
    },
    /// Whether a client may log in at another service.
    MayLogIn(ClientAddr, oneshot::Sender<LoginStanding>),
    /// Remove a block.
    Unblock {
        /// Of exactly this network.
        network: IpNet,
        /// Who asks.
        author: String,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Removed, Refusal>>,
    },
    /// Put many entries on a list.
    Import {
        /// Which list.
        list: List,
        /// At most [`filter_core::import::ENTRIES_LIMIT`].
        wishes: Vec<Wish>,
        /// Who asks.
        author: String,
        /// Say what would happen behind so many new entries, and do nothing.
        dry_run: Option<usize>,
        /// Even if they are very wide.
        force: bool,
        /// Where the outcomes go, in the order of the wishes.
        answer: oneshot::Sender<Vec<Outcome>>,
    },
    /// List the blocks in and around a network.
    Blocks {
        /// Which.
        network: IpNet,
        /// Where they go.
        answer: oneshot::Sender<Vec<BlockView>>,
    },
    /// List the blocks behind a network, or from the beginning, but only so many: the list may hold millions, and whoever is judged
    /// meanwhile waits.
    BlocksAfter {
        /// Behind this one.
        network: Option<IpNet>,
        /// How many.
        limit: usize,
        /// Where they go.
        answer: oneshot::Sender<Vec<BlockView>>,
    },
    /// Search the blocks.
    Search(Search, oneshot::Sender<Listed>),
    /// Exempt a network.
    Never {
        /// Who.
        network: IpNet,
        /// For how long; none: for good.
        span: Option<Duration>,
        /// Why.
        comment: String,
        /// Who asks.
        author: String,
        /// Even if it is very wide.
        force: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Never, Refusal>>,
    },
    /// Remove an exemption.
    ForgetNever {
        /// Of exactly this network.
        network: IpNet,
        /// Who asks.
        author: String,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Removed, Refusal>>,
    },
    /// List the exemptions.
    Nevers {
        /// In and around this network; none: all.
        network: Option<IpNet>,
        /// Where they go.
        answer: oneshot::Sender<Vec<Never>>,
    },
    /// Everything that decides whether an address is blocked.
    Standing(IpAddr, oneshot::Sender<Standing>),
    /// What covers a network, and what lies inside.
    Neighbourhood(IpNet, oneshot::Sender<Neighbourhood>),
    /// Put other numbers and texts in force; scores, lists and sessions stay.
    Reload(Box<Reload>, oneshot::Sender<()>),
    /// The policy in force.
    Policy(oneshot::Sender<Policy>),
    /// Tell sessions to end.
    EndSessions {
        /// The one of this number; none: any.
        id: Option<u64>,
        /// Of clients in this network; none: any.
        network: Option<IpNet>,
        /// Where the numbers of those go that were told.
        answer: oneshot::Sender<Vec<u64>>,
    },
    /// How many clients have a score, those with the highest, and the score that blocks.
    Nearest(oneshot::Sender<Nearest>),
    /// The limits of each book in force.
    Limits(oneshot::Sender<Vec<Limits>>),
    /// Every open session, and the score that blocks.
    Sessions(oneshot::Sender<(Vec<Sighting>, u32)>),
    /// Count everything.
    Count(oneshot::Sender<Counts>),
}

/// One open session, as far as the task knows it.
#[derive(Debug)]
pub struct Sighting {
    /// Names it for as long as the agent runs.
    pub id: u64,
    /// Whether its client is in the No-Auth networks.
    pub local: bool,
    /// The score of its client.
    pub score: u64,
    /// What it tells of itself.
    pub live: Arc<Live>,
}

/// What changes with the configuration.
#[derive(Debug)]
pub struct Reload {
    /// How offences become blocks.
    pub policy: Policy,
    /// How many sessions there may be, for each book.
    pub limits: Vec<Limits>,
    /// What refused clients hear.
    pub replies: Replies,
}

/// What is counted in the task.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Sessions now and since the start, in the shared book and in those of services with limits of their own.
    pub books: Vec<SessionsView>,
    /// All open sessions.
    pub open: u64,
    /// Entries of the block list.
    pub blocks: u64,
    /// Entries of the never-block list.
    pub never: u64,
    /// Scopes with a score above zero.
    pub watched: u64,
    /// Offences since the start.
    pub offences: u64,
    /// Changes that the kernel did not take.
    pub kernel_pending: u64,
    /// What has been decided since the start.
    pub tally: Tally,
    /// How full the maps of the kernel filter are.
    pub kernel_fill: Vec<Fill>,
    /// The limit per address of each book, in their order; 0: none.
    pub per_address: Vec<u32>,
}

/// How often one connection has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    /// Its first refusal has been counted and reported.
    Second,
}

/// Who comes to which service.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The client.
    pub client: ClientAddr,
    /// The service.
    pub service: ServiceName,
    /// The book that its sessions are counted in.
    pub book: BookId,
    look: Look,
}

impl Arrival {
    /// A new connection.
    pub const fn new(client: ClientAddr, service: ServiceName, book: BookId) -> Self {
        Self { client, service, book, look: Look::First }
    }
}

#[derive(Debug)]
enum Message {
    Arrival(Arrival, oneshot::Sender<Admission>),
    /// There are many notices.
    Notices,
    Offence(ClientAddr, Offence),
    /// Somebody else tells of an offence, and may want to hear what became of it.
    Report(Box<Report>, Option<oneshot::Sender<Reception>>),
    /// A log says the same, and has been read so far.
    Entry(Box<Report>, Mark, oneshot::Sender<Reception>),
    /// A log has been read so far.
    Mark(Mark),
    /// The kernel tells of a drop.
    Drop(Drop),
    Request(Request),
    /// End every session with a reply, admit no more, and say when it is done.
    Close(oneshot::Sender<()>),
}

/// The way to the task; cheap to clone.
///
/// Unbounded, because a departure must never be lost; what fills it is bounded elsewhere: arrivals wait for their
/// answer, departures follow admissions, mail servers take messages, requests come from few connections, and offences have [`BACKLOG_LIMIT`].
#[derive(Debug, Clone)]
pub struct Inbox {
    messages: mpsc::UnboundedSender<Message>,
    notices: Notices,
    backlog: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl Inbox {
    /// Asks whether a client may come in; none: the agent is stopping.
    pub async fn admit(&self, arrival: Arrival) -> Option<Admission> {
        let (answer, wait) = oneshot::channel();
        self.messages.send(Message::Arrival(arrival, answer)).ok()?;
        wait.await.ok()
    }

    /// Asks once more about a connection that was refused; it is not refused twice in the books.
    pub async fn admit_after_all(&self, arrival: Arrival) -> Option<Admission> {
        self.admit(Arrival { look: Look::Second, ..arrival }).await
    }

    /// Reports an offence; never waits.
    pub fn report(&self, client: ClientAddr, offence: Offence) {
        self.enqueue(Message::Offence(client, offence));
    }

    /// Hands on what another service tells; never waits.
    pub fn tell(&self, report: Report) {
        self.enqueue(Message::Report(Box::new(report), None));
    }

    /// Hands on what another service tells, and says what became of it; none: the agent is stopping, or has too much to
    /// judge already.
    pub async fn tell_and_hear(&self, report: Report) -> Option<Reception> {
        let (answer, wait) = oneshot::channel();
        self.enqueue(Message::Report(Box::new(report), Some(answer)));
        wait.await.ok()
    }

    /// Hands on what a log says, and notes how far it has been read, in one transaction with the event; says what became of the
    /// report. None: the agent is stopping, or has too much to judge already, and nothing is noted.
    pub async fn tell_marked(&self, report: Report, mark: Mark) -> Option<Reception> {
        let (answer, wait) = oneshot::channel();
        if self.backlog.load(Ordering::Relaxed) >= BACKLOG_LIMIT {
            return None;
        }
        self.enqueue(Message::Entry(Box::new(report), mark, answer));
        wait.await.ok()
    }

    /// Notes how far a log has been read; never waits.
    pub fn mark(&self, mark: Mark) {
        // Fails only when the agent is stopping; the log is then read again from the mark before.
        let _ = self.messages.send(Message::Mark(mark));
    }

    fn enqueue(&self, message: Message) {
        if self.backlog.fetch_add(1, Ordering::Relaxed) >= BACKLOG_LIMIT {
            self.backlog.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            // Fails only when the agent is stopping, and then nobody counts any more.
            let _ = self.messages.send(message);
        }
    }

    /// Reports good behaviour, to be heard of before the next decision; never waits.
    pub fn succeeded(&self, client: ClientAddr, how: Success) {
        self.notices.leave(Notice::Success(client, how));
    }

    /// Tells of a drop; never waits.
    pub fn dropped(&self, drop: Drop) {
        // As in `report`.
        let _ = self.messages.send(Message::Drop(drop));
    }

    /// Asks on behalf of an administrator; none: the agent is stopping.
    pub async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        self.messages.send(Message::Request(request(answer))).ok()?;
        wait.await.ok()
    }

    /// Ends all sessions and admits no more.
    pub async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.messages.send(Message::Close(done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// Offences that were dropped because too many were waiting.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
