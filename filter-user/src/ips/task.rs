//! The loop: one message in, its effects out, until the agent stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use filter_core::client::ClientAddr;
use filter_core::decision::{Block, Origin};
use filter_core::detect::Probes;
use filter_core::engine::{Effect, Engine};
use filter_core::event::Event;
use filter_core::limits::{Limits, Overflow};
use filter_core::offence::{Kind, Offence};
use filter_core::recent::Recent;
use filter_core::report::{Reception, Report};
use filter_core::score::FORESEEN;
use filter_core::smtp::voice::Voice;
use filter_core::time::Instant;
use tokio::sync::mpsc;

use super::enforcer::Enforcer;
use super::notices::{Notice, Notices, Read};
use super::sessions::{BookId, Place, Sessions};
use super::{Admission, Arrival, Inbox, Look, Message, Reason, Tally, journal};
use crate::clock;
use crate::ids::IdsLog;
use crate::pace::Pace;
use crate::store::{Entry, Mark, Store};
use crate::telemetry::histogram;

/// Longest sleep between two looks at the boot clock, which tokio's own clock does not follow through suspend.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// How long a client is known that has delivered a message or logged in: a mailing list that writes once a week is.
const WELCOME_SPAN: Duration = Duration::from_hours(8 * 24);

/// The replies that end or refuse sessions, shared by all who hear them.
#[derive(Debug, Clone)]
pub struct Replies {
    too_many_from_address: Arc<str>,
    too_many: Arc<str>,
    blocked: Arc<str>,
    blocked_login: Arc<str>,
    shutting_down: Arc<str>,
    pub(super) session_ended: Arc<str>,
}

impl From<&Voice> for Replies {
    fn from(voice: &Voice) -> Self {
        Self {
            too_many_from_address: voice.too_many_from_address.as_str().into(),
            too_many: voice.too_many.as_str().into(),
            blocked: voice.blocked.as_str().into(),
            blocked_login: voice.blocked_login.as_str().into(),
            shutting_down: voice.shutting_down.as_str().into(),
            session_ended: voice.session_ended.as_str().into(),
        }
    }
}

impl Replies {
    /// What a client hears that this block refuses.
    const fn to_blocked(&self, block: &Block) -> &Arc<str> {
        match block.origin {
            Origin::Login => &self.blocked_login,
            Origin::Smtp | Origin::Manual | Origin::Feed => &self.blocked,
        }
    }
}

/// The owner of the engine, the books and the kernel's lists.
#[derive(Debug)]
pub struct Ips {
    pub(super) engine: Engine,
    pub(super) enforcer: Enforcer,
    pub(super) store: Store,
    ids: Option<IdsLog>,
    pub(super) sessions: Sessions,
    pub(super) replies: Replies,
    messages: mpsc::UnboundedReceiver<Message>,
    notices: Read,
    backlog: Arc<AtomicUsize>,
    pub(super) offences: u64,
    pub(super) tally: Tally,
    probes: Probes,
    /// How far logs have been read, to be written with the next events.
    marks: Vec<Mark>,
    /// About reports that are none of a client.
    complaints: Pace,
    /// Who has delivered a message or logged in.
    welcome: Recent,
    closing: bool,
}

impl Ips {
    /// The task, and the way to it; nothing is enforced yet. One session book for each of the limits, the shared one first.
    pub fn new(engine: Engine, store: Store, limits: Vec<Limits>, replies: Replies) -> (Self, Inbox) {
        let (sender, messages) = mpsc::unbounded_channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        let (notices, read) = Notices::new(sender.clone());
        let sessions = Sessions::new(limits, notices.downgrade());
        let inbox = Inbox {
            messages: sender,
            notices,
            backlog: Arc::clone(&backlog),
            lost: Arc::new(AtomicU64::new(0)),
        };
        let ips = Self {
            engine,
            enforcer: Enforcer::new(None),
            store,
            ids: None,
            sessions,
            replies,
            messages,
            notices: read,
            backlog,
            offences: 0,
            tally: Tally::default(),
            probes: Probes::default(),
            marks: Vec::new(),
            complaints: Pace::new(),
            welcome: Recent::new(WELCOME_SPAN),
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
        let mut waiting = Vec::new();
        loop {
            let sleep = self.next_timeout();
            let mut judging = None;
            tokio::select! {
                biased;
                count = self.messages.recv_many(&mut waiting, FORESEEN) => {
                    if count == 0 {
                        return self.enforcer;
                    }
                    judging = judged(&waiting);
                    self.handle_all(&mut waiting);
                }
                () = tokio::time::sleep(sleep) => {}
            }
            // After messages, too: a stream of them would otherwise keep every entry past its end.
            let now = clock::now();
            self.engine.handle_clock(now);
            if self.engine.poll_timeout().is_some_and(|due| due <= now.instant) {
                self.engine.handle_timeout(now);
            }
            self.carry_out();
            if let Some((count, since)) = judging {
                histogram::DECISION.observe_each(count, since.elapsed());
            }
        }
    }

    fn next_timeout(&self) -> Duration {
        let until = |at: Instant| at.since(clock::instant()).saturating_add(Duration::from_millis(1));
        self.engine.poll_timeout().map_or(LONGEST_SLEEP, until).min(LONGEST_SLEEP)
    }

    /// What has come together. Of offences in a row the effects are carried out together, too; whoever is answered behind
    /// them is answered when what they led to is in the kernel.
    fn handle_all(&mut self, messages: &mut Vec<Message>) {
        while let Some(notice) = self.notices.next() {
            self.note(notice);
        }
        if messages.len() > 1 {
            let client = |message: &Message| match message {
                Message::Offence(client, _) => Some(*client),
                Message::Report(report, _) => Some(report.who),
                _ => None,
            };
            self.engine.foresee(messages.iter().filter_map(client));
        }
        for message in messages.drain(..) {
            let has_no_answer = matches!(
                message,
                Message::Offence(..) | Message::Report(_, None) | Message::Notices | Message::Drop(_)
            );
            if !has_no_answer {
                self.carry_out();
            }
            self.handle(message);
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Arrival(arrival, answer) => {
                if let Some(admission) = self.admit(arrival) {
                    // If the listener has gone, the place in it comes back by itself.
                    let _ = answer.send(admission);
                }
            }
            // They have been taken.
            Message::Notices => {}
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
            Message::Drop(drop) => self.engine.handle_drop(drop, clock::now()),
            Message::Request(request) => self.answer(request),
            Message::Close(done) => {
                self.closing = true;
                self.sessions.end(|_| Some(&self.replies.shutting_down));
                let _ = done.send(());
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Departure(id) => self.sessions.release(id),
            Notice::Success(client, how) => {
                let scope = self.engine.policy().scope_width.scope_of(client);
                self.welcome.note(scope, clock::instant());
                self.engine.handle_success(client, how, clock::now());
            }
        }
    }

    /// Block check, then the session limits; the first that fails answers.
    fn admit(&mut self, arrival: Arrival) -> Option<Admission> {
        let Arrival { client, service, book, look } = arrival;
        let refused = |reply: &Arc<str>, reason| Admission::Refused { reply: Arc::clone(reply), reason };
        if self.closing {
            return Some(refused(&self.replies.shutting_down, Reason::Stopping));
        }
        if look == Look::First {
            self.engine.handle_connect(client, clock::now());
        }
        if let Some(block) = self.engine.refusal(client, clock::instant()) {
            let reply = refused(self.replies.to_blocked(block), Reason::Blocked);
            if let Some(ledger) = self.sessions.ledger(book) {
                ledger.refused += u64::from(look == Look::First);
            }
            return Some(reply);
        }
        let overflow = match self.sessions.admit(client, book) {
            Ok(place) => return place.map(|place| self.introduce(place, client, book)),
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
            let place = self.sessions.admit_beyond(client, book);
            return place.map(|place| self.introduce(place, client, book));
        }
        Some(match overflow {
            Overflow::PerAddress => refused(&self.replies.too_many_from_address, Reason::PerAddress),
            Overflow::Total => refused(&self.replies.too_many, Reason::Total),
            Overflow::Incoming => refused(&self.replies.too_many, Reason::Incoming),
        })
    }

    /// Says of a place whether its client is a stranger.
    fn introduce(&mut self, mut place: Place, client: ClientAddr, book: BookId) -> Admission {
        let scope = self.engine.policy().scope_width.scope_of(client);
        let is_ours = self.sessions.ledger(book).is_some_and(|ledger| ledger.limits.is_familiar(client));
        place.is_strange = !is_ours && !self.welcome.knows(scope, clock::instant());
        Admission::Admitted(place)
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
    pub(super) fn carry_out(&mut self) {
        self.carry_out_telling(journal::write);
    }

    pub(super) fn carry_out_telling(&mut self, tell: impl Fn(&Event)) {
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
                Effect::Count(kind) => self.tally.count(kind),
                Effect::Store(record) => entries.push(Entry::Change(record)),
                Effect::Log(event) => {
                    self.tally.handle(&event);
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
}

/// How many of these messages are judged, and when that begins; none: nobody waits for a decision.
fn judged(messages: &[Message]) -> Option<(u64, std::time::Instant)> {
    let is_judged = |message: &&Message| matches!(message, Message::Offence(..) | Message::Report(..));
    let count = messages.iter().filter(is_judged).count() as u64;
    (count > 0).then(|| (count, std::time::Instant::now()))
}
