//! What an open session tells of itself while it goes on, without asking anybody.
//!
//! Its driver writes, whoever lists sessions reads. What changes with each command are numbers that are simply stored; what
//! changes with an EHLO or a login is a small record. No driver waits for another, or for a reader for longer than it takes to copy
//! that record.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use filter_core::open::{Awaited, OpenSession};
use filter_core::service::ServiceName;
use filter_core::smtp::event::Side;
use filter_core::smtp::session::{Session, State};
use filter_core::time::{Instant, Now};

use crate::tls::Protection;

/// What is shown of TLS between a client and the mail server.
const PASSED_THROUGH: &str = "passed through";

/// One open session; see the head of this module.
#[derive(Debug)]
pub struct Live {
    since: Instant,
    /// A place in [`State::ALL`].
    state: AtomicU8,
    /// Whether the move is the client's.
    client_awaited: AtomicU8,
    received: AtomicU64,
    sent: AtomicU64,
    /// Nanoseconds on the boot clock.
    quiet_since: AtomicU64,
    messages: AtomicU64,
    /// [`Session::introductions`] when `told` was last written.
    introductions: AtomicU32,
    told: Mutex<Told>,
}

/// What is rarely told anew.
#[derive(Debug, Clone)]
struct Told {
    service: ServiceName,
    peer: SocketAddr,
    mail_server: Option<SocketAddr>,
    helo: Option<Box<str>>,
    account: Option<Box<str>>,
    tls: Option<Protection>,
}

impl Live {
    pub(super) fn new(since: Instant) -> Self {
        let told = Told {
            service: ServiceName::UNKNOWN,
            peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            mail_server: None,
            helo: None,
            account: None,
            tls: None,
        };
        Self {
            since,
            state: AtomicU8::new(0),
            client_awaited: AtomicU8::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            quiet_since: AtomicU64::new(since.as_nanos()),
            messages: AtomicU64::new(0),
            introductions: AtomicU32::new(0),
            told: Mutex::new(told),
        }
    }

    /// Where the session came from, and to which service.
    pub fn begin(&self, service: ServiceName, peer: SocketAddr) {
        self.tell(|told| (told.service, told.peer) = (service, peer));
    }

    /// The mail server that was found.
    pub fn connected(&self, mail_server: SocketAddr) {
        self.tell(|told| told.mail_server = Some(mail_server));
    }

    /// TLS has begun, which ends at us.
    pub fn secured(&self, protection: Protection) {
        self.tell(|told| told.tls = Some(protection));
    }

    /// The mail server has accepted a message.
    pub fn accepted_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// How things stand.
    pub fn note(&self, session: &Session) {
        let state = session.state();
        let place = State::ALL.iter().position(|one| *one == state).unwrap_or_default();
        self.state.store(u8::try_from(place).unwrap_or_default(), Ordering::Relaxed);
        self.client_awaited.store((session.awaited() == Side::Client).into(), Ordering::Relaxed);
        self.received.store(session.received(), Ordering::Relaxed);
        self.sent.store(session.sent(), Ordering::Relaxed);
        self.quiet_since.store(session.quiet_since().as_nanos(), Ordering::Relaxed);
        let introductions = session.introductions();
        if introductions != self.introductions.load(Ordering::Relaxed) {
            self.introductions.store(introductions, Ordering::Relaxed);
            self.tell(|told| {
                told.helo = session.helo().map(Into::into);
                told.account = session.account().map(Into::into);
            });
        }
    }

    /// The session as an administrator sees it; what only the task knows is an argument.
    pub fn view(&self, id: u64, local: bool, score: u64, now: Now) -> OpenSession {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let place = usize::from(self.state.load(Ordering::Relaxed));
        let state = State::ALL.get(place).copied().unwrap_or(State::Connecting);
        let quiet_since = Instant::from_nanos(self.quiet_since.load(Ordering::Relaxed));
        let passed_through = (state == State::Opaque).then(|| PASSED_THROUGH.to_owned());
        let is_client = self.client_awaited.load(Ordering::Relaxed) != 0;
        OpenSession {
            id,
            client: told.peer.ip().to_canonical(),
            port: told.peer.port(),
            local,
            service: told.service.as_str().to_owned(),
            tls: told.tls.map(|tls| tls.to_string()).or(passed_through),
            state,
            awaits: if is_client { Awaited::Client } else { Awaited::MailServer },
            helo: told.helo.map(Into::into),
            account: told.account.map(Into::into),
            mail_server: told.mail_server.map(|address| address.to_string()),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            since: now.wall_before(self.since),
            age: now.instant.since(self.since).as_secs(),
            idle: now.instant.since(quiet_since).as_secs(),
            score,
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        // Nobody panics while holding it; and if, what is told is no less true.
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use filter_core::smtp::session::Patience;
    use filter_core::smtp::voice::{Templates, Voice};
    use filter_core::time::Timestamp;

    use super::*;

    #[test]
    fn what_the_driver_notes_is_what_is_seen() {
        let start = Instant::from_nanos(1_000_000_000);
        let voice = Arc::new(Voice::new("mx.example", &Templates::default()));
        let mut session = Session::new(voice, Patience::default(), start);
        let live = Live::new(start);
        live.begin(ServiceName::SMTP, "[::ffff:192.0.2.1]:4000".parse().unwrap());
        live.connected("127.0.0.1:25".parse().unwrap());
        session.handle_server(b"220 mail.example\r\n", start);
        session.handle_client(b"EHLO a.example\r\n", start);
        session.handle_server(b"250 mail.example\r\n", start);
        live.note(&session);
        live.accepted_message();
        let now = Now { instant: start.after(Duration::from_secs(5)), wall: Timestamp::from_millis(10_000) };
        let seen = live.view(7, false, 50, now);
        assert_eq!((seen.client.to_string().as_str(), seen.port, seen.id), ("192.0.2.1", 4000, 7));
        assert_eq!((seen.helo.as_deref(), seen.state), (Some("a.example"), State::Ready));
        assert_eq!((seen.received, seen.messages, seen.age, seen.idle), (16, 1, 5, 5));
        assert_eq!(seen.since, Timestamp::from_millis(5000));
        assert_eq!(seen.mail_server.as_deref(), Some("127.0.0.1:25"));
    }
}
