//! The loop: one message in, its effects out, until the agent stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use filter_core::admin::{Gauge, SessionsView};
use filter_core::client::ClientAddr;
use filter_core::decision::{Block, Origin};
use filter_core::detect::Probes;
use filter_core::engine::{Effect, Engine, Manner};
use filter_core::event::Event;
use filter_core::limits::{Limits, Overflow};
use filter_core::offence::{Kind, Offence};
use filter_core::report::{Reception, Report};
use filter_core::smtp::voice::Voice;
use filter_core::time::Instant;
use tokio::sync::mpsc;

use super::enforcer::Enforcer;
use super::sessions::{Ledger, Sessions};
use super::{Admission, Arrival, Counts, Inbox, List, Look, Message, Reload, Request, journal};
use crate::clock;
use crate::ids::IdsLog;
use crate::pace::Pace;
use crate::store::{Entry, Mark, Store};

/// Longest sleep between two looks at the boot clock, which tokio's own clock does not follow through suspend.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The replies that end or refuse sessions, shared by all who hear them.
#[derive(Debug, Clone)]
pub struct Replies {
    too_many_from_address: Arc<str>,
    too_many: Arc<str>,
    blocked: Arc<str>,
    blocked_login: Arc<str>,
    shutting_down: Arc<str>,
}

impl From<&Voice> for Replies {
    fn from(voice: &Voice) -> Self {
        Self {
            too_many_from_address: voice.too_many_from_address.as_str().into(),
            too_many: voice.too_many.as_str().into(),
            blocked: voice.blocked.as_str().into(),
            blocked_login: voice.blocked_login.as_str().into(),
            shutting_down: voice.shutting_down.as_str().into(),
        }
    }
}

impl Replies {
    /// What a client hears that this block refuses.
    const fn to_blocked(&self, block: &Block) -> &Arc<str> {
        match block.origin {
            Origin::Login => &self.blocked_login,
            Origin::Smtp | Origin::Manual => &self.blocked,
        }
    }
}

/// The owner of the engine, the books and the kernel's lists.
#[derive(Debug)]
pub struct Ips {
    engine: Engine,
    enforcer: Enforcer,
    store: Store,
    ids: Option<IdsLog>,
    sessions: Sessions,
    replies: Replies,
    messages: mpsc::UnboundedReceiver<Message>,
    backlog: Arc<AtomicUsize>,
    offences: u64,
    probes: Probes,
    /// How far logs have been read, to be written with the next events.
    marks: Vec<Mark>,
    /// About reports that are none of a client.
    complaints: Pace,
    closing: bool,
}

impl Ips {
    /// The task, and the way to it; nothing is enforced yet. One session book for each of the limits, the shared one first.
    pub fn new(engine: Engine, store: Store, limits: Vec<Limits>, replies: Replies) -> (Self, Inbox) {
        let (sender, messages) = mpsc::unbounded_channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        let sessions = Sessions::new(limits, sender.downgrade());
        let inbox =
            Inbox { messages: sender, backlog: Arc::clone(&backlog), lost: Arc::new(AtomicU64::new(0)) };
        let ips = Self {
            engine,
            enforcer: Enforcer::new(None),
            store,
            ids: None,
            sessions,
            replies,
            messages,
            backlog,
            offences: 0,
            probes: Probes::default(),
            marks: Vec::new(),
            complaints: Pace::new(),
            closing: false,
        };
        (ips, inbox)
    }

    /// With a file for other tools.
    #[must_use]
    pub fn reported_to(mut self, ids: Option<IdsLog>) -> Self {
        self.ids = ids;
        self
    }

    /// With a way into the kernel; the engine's waiting effects are carried out at once.
    #[must_use]
    pub fn enforced_by(mut self, enforcer: Enforcer) -> Self {
        self.enforcer = enforcer;
        self.carry_out();
        self
    }

    /// Runs until the last [`Inbox`] has gone; gives the kernel filter back.
    pub async fn run(mut self) -> Enforcer {
        loop {
            let sleep = self.next_timeout();
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.handle(message),
                    None => return self.enforcer,
                },
                () = tokio::time::sleep(sleep) => {}
            }
            // After messages, too: a stream of them would otherwise keep every entry past its end.
            let now = clock::now();
            self.engine.handle_clock(now);
            if self.engine.poll_timeout().is_some_and(|due| due <= now.instant) {
                self.engine.handle_timeout(now);
            }
            self.carry_out();
        }
    }

    fn next_timeout(&self) -> Duration {
        let until = |at: Instant| at.since(clock::instant()).saturating_add(Duration::from_millis(1));
        self.engine.poll_timeout().map_or(LONGEST_SLEEP, until).min(LONGEST_SLEEP)
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Arrival(arrival, answer) => {
                if let Some(admission) = self.admit(arrival) {
                    // If the listener has gone, the place in it comes back by itself.
                    let _ = answer.send(admission);
                }
            }
            Message::Departure(id) => self.sessions.release(id),
            Message::Offence(client, offence) => {
                self.backlog.fetch_sub(1, Ordering::Relaxed);
                self.offend(client, offence);
            }
            Message::Report(report, answer) => {
                self.backlog.fetch_sub(1, Ordering::Relaxed);
                let reception = self.hear(*report);
                if let Some(answer) = answer {
                    // Whoever told may have stopped waiting.
                    let _ = answer.send(reception);
                }
            }
            Message::Entry(report, mark, answer) => {
                self.backlog.fetch_sub(1, Ordering::Relaxed);
                let reception = self.hear(*report);
                self.marks.push(mark);
                // The reader may have been stopped.
                let _ = answer.send(reception);
            }
            Message::Mark(mark) => self.marks.push(mark),
            Message::Success(client, how) => self.engine.handle_success(client, how, clock::now()),
            Message::Drop(drop) => self.engine.handle_drop(drop, clock::now()),
            Message::Request(request) => self.answer(request),
            Message::Close(done) => {
                self.closing = true;
                self.sessions.end(|_| Some(&self.replies.shutting_down));
                let _ = done.send(());
            }
        }
    }

    /// Block check, then the session limits; the first that fails answers.
    fn admit(&mut self, arrival: Arrival) -> Option<Admission> {
        let Arrival { client, service, book, look } = arrival;
        let refused =
            |reply: &Arc<str>, may_clear| Admission::Refused { reply: Arc::clone(reply), may_clear };
        if self.closing {
            return Some(refused(&self.replies.shutting_down, false));
        }
        if look == Look::First {
            self.engine.handle_connect(client, clock::now());
        }
        if let Some(block) = self.engine.refusal(client, clock::instant()) {
            let reply = refused(self.replies.to_blocked(block), false);
            if let Some(ledger) = self.sessions.ledger(book) {
                ledger.refused += u64::from(look == Look::First);
            }
            return Some(reply);
        }
        let overflow = match self.sessions.admit(client, book) {
            Ok(place) => return place.map(Admission::Admitted),
            Err(overflow) => overflow,
        };
        if look == Look::First {
            if let Some(ledger) = self.sessions.ledger(book) {
                ledger.overflowed += 1;
            }
            let offence = Offence::new(Kind::SessionOverflow, overflow.name().as_bytes());
            self.offend(client, offence.at(service));
        }
        if self.engine.policy().observe {
            return self.sessions.admit_beyond(client, book).map(Admission::Admitted);
        }
        Some(match overflow {
            Overflow::PerAddress => refused(&self.replies.too_many_from_address, true),
            Overflow::Total | Overflow::Incoming => refused(&self.replies.too_many, true),
        })
    }

    fn offend(&mut self, client: ClientAddr, offence: Offence) {
        let scope = self.engine.policy().scope_width.scope_of(client);
        if offence.kind == Kind::UnfinishedSession && !self.probes.is_repeated(scope, clock::instant()) {
            return;
        }
        self.offences += 1;
        self.engine.handle_offence(client, offence, clock::now());
    }

    /// What another service tells of a client.
    fn hear(&mut self, report: Report) -> Reception {
        let (who, service, source) = (report.who, report.offence.service, report.told.source);
        let shared = self.sessions.ledgers().first();
        let is_local = shared.is_some_and(|ledger| ledger.limits.is_local(who));
        let reception = self.engine.handle_report(report, is_local, clock::now());
        match &reception {
            Reception::Counted | Reception::Logged => self.offences += 1,
            Reception::NotAClient { .. } if self.complaints.is_due() => tracing::warn!(
                address = %who,
                %service,
                source = source.name(),
                "a report: {}",
                reception.sentence()
            ),
            Reception::Known | Reception::TooOld | Reception::NotAClient { .. } => {
                tracing::debug!(address = %who, %service, source = source.name(), "a report: {}", reception.sentence());
            }
        }
        reception
    }

    /// Carries out what the engine wants, in its order.
    fn carry_out(&mut self) {
        self.carry_out_telling(journal::write);
    }

    fn carry_out_telling(&mut self, tell: impl Fn(&Event)) {
        let (mut changes, mut others) = (Vec::new(), Vec::new());
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Kernel(change) => changes.push(change),
                effect => others.push(effect),
            }
        }
        // The kernel first, and in one go: whoever is told of a block is blocked.
        if !changes.is_empty() {
            self.enforcer.apply(&changes);
        }
        let mut entries = Vec::new();
        for effect in others {
            match effect {
                Effect::Kernel(_) => {}
                Effect::EndSessions(network) => {
                    let now = clock::instant();
                    let engine = &self.engine;
                    let replies = &self.replies;
                    self.sessions.end(|client| {
                        let inside = network.contains(&client.ip());
                        engine.refusal(client, now).filter(|_| inside).map(|block| replies.to_blocked(block))
                    });
                }
                Effect::Store(record) => entries.push(Entry::Change(record)),
                Effect::Log(event) => {
                    tell(&event);
                    if let Some(ids) = &self.ids {
                        ids.write(&event);
                    }
                    entries.push(Entry::Event(event));
                }
            }
        }
        entries.extend(self.marks.drain(..).map(Entry::Mark));
        self.store.write(entries);
    }

    fn answer(&mut self, request: Request) {
        let now = clock::now();
        // An administrator who has stopped waiting still gets what was asked for; only the answer is lost.
        match request {
            Request::Block { network, span, comment, author, force, answer } => {
                let mut result = self.engine.block(network, span, comment, author, force, now);
                self.carry_out();
                if let Ok(view) = &mut result {
                    view.kernel_problem = self.enforcer.problem(List::Blocks, network);
                }
                let _ = answer.send(result);
            }
            Request::Unblock { network, author, answer } => {
                let mut result = self.engine.unblock(network, author, now);
                self.carry_out();
                if let Ok(removed) = &mut result {
                    removed.kernel_problem = self.enforcer.problem(List::Blocks, network);
                }
                let _ = answer.send(result);
            }
            Request::Never { network, span, comment, author, force, answer } => {
                let result = self.engine.never(network, span, comment, author, force, now);
                self.carry_out();
                let _ = answer.send(result);
            }
            Request::ForgetNever { network, author, answer } => {
                let mut result = self.engine.forget_never(network, author, now);
                self.carry_out();
                if let Ok(removed) = &mut result {
                    removed.kernel_problem = self.enforcer.problem(List::Never, network);
                }
                let _ = answer.send(result);
            }
            Request::Import { list, wishes, author, dry_run, force, answer } => {
                let manner = Manner { author: &author, dry_run, force };
                let outcomes = match list {
                    List::Blocks => self.engine.import_blocks(wishes, manner, now),
                    List::Never => self.engine.import_nevers(wishes, manner, now),
                };
                self.carry_out_telling(journal::whisper);
                if !dry_run {
                    journal::imported(list, &outcomes, &author);
                }
                let _ = answer.send(outcomes);
            }
            Request::Blocks(answer) => drop(answer.send(self.engine.blocks(now.instant).collect())),
            Request::Nevers(answer) => drop(answer.send(self.engine.nevers().cloned().collect())),
            Request::Standing(address, answer) => {
                drop(answer.send(self.engine.standing(ClientAddr::new(address), now)));
            }
            Request::Neighbourhood(network, answer) => {
                drop(answer.send(self.engine.neighbourhood(network, now)));
            }
            Request::Reload(wanted, answer) => {
                let Reload { policy, limits, replies } = *wanted;
                self.engine.set_policy(policy);
                self.sessions.set_limits(limits);
                self.replies = replies;
                let _ = answer.send(());
            }
            Request::Policy(answer) => drop(answer.send(self.engine.policy().clone())),
            Request::Count(answer) => drop(answer.send(self.count())),
        }
    }

    fn count(&self) -> Counts {
        let (blocks, never, watched) = self.engine.sizes();
        Counts {
            books: self.sessions.ledgers().iter().map(view).collect(),
            open: self.sessions.count() as u64,
            blocks: blocks as u64,
            never: never as u64,
            watched: watched as u64,
            offences: self.offences,
            kernel_pending: self.enforcer.pending(),
        }
    }
}

/// What a session book says of itself.
fn view(ledger: &Ledger) -> SessionsView {
    let (taken, limits) = (ledger.book.taken(), &ledger.limits);
    let gauge = |used: u32, limit: u32| Gauge { used: used.into(), limit: limit.into() };
    SessionsView {
        total: gauge(taken.total(), limits.maximum_sessions),
        incoming: gauge(taken.public + taken.reserved, limits.maximum_incoming_sessions),
        reserved: gauge(taken.reserved, limits.sessions_to_reserve),
        local: taken.local.into(),
        admitted: ledger.admitted,
        overflowed: ledger.overflowed,
        refused: ledger.refused,
    }
}
