//! One session from accept to close: its two connections, and what happens around the moving of bytes ([`super::relay`]).
//!
//! A connection that breaks is something that happened to the session, never a way around it: what the session has to report
//! is reported.

use std::future::poll_fn;
use std::net;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use filter_core::client::ClientAddr;
use filter_core::event::Success;
use filter_core::offence::printable;
use filter_core::smtp::event::{Event, Side};
use filter_core::smtp::session::{Session, TlsFault};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::alarm::{Alarm, until};
use super::backend::{Chosen, Opened};
use super::header::Peer;
use super::relay::{Relay, Turn, poll_client, sanction};
use super::stream::{Flow, HandshakeError, Stream};
use super::{Service, refusal};
use crate::clock;
use crate::ips::{Live, Place};

/// How long a client may take to accept our last words.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a mail server that takes no more may still be heard: it may have said why.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// Drives one session from accept to close.
pub(super) async fn run(service: Arc<Service>, client: net::TcpStream, peer: Peer, mut place: Place) {
    let mut client = match TcpStream::from_std(client).and_then(Stream::new) {
        Ok(client) => client,
        Err(error) => return tracing::warn!(%error, "a connection cannot be waited for"),
    };
    let visit = service.traffic.enter(place.pool);
    let edge = &service.edge;
    let session = Session::new(Arc::clone(&edge.voice), service.patience, clock::instant());
    let greet_delay = if place.is_strange { service.greet_delay } else { Duration::ZERO };
    let mut session = session
        .with_greet_delay(greet_delay)
        .with_login_key(edge.login_key)
        .with_rules(Arc::clone(&edge.rules))
        .with_bounds(service.bounds)
        .with_tls(service.tls);
    place.live.begin(service.name, peer.client);
    if session.poll_tls() {
        secure(&service, &mut session, &mut client, &mut place).await;
    }
    let mut alarm = Alarm::default();
    let connected = connect(&service, &mut session, &mut client, peer, &mut place, &mut alarm).await;
    let chosen = connected.as_ref().map(|(_, chosen)| *chosen);
    let live = Arc::clone(&place.live);
    let reporter = Reporter { service: &service, client: ClientAddr::new(peer.client.ip()), chosen, live };
    if let Some(mail_server) = chosen.and_then(|chosen| service.backend.address(chosen)) {
        reporter.live.connected(mail_server);
    }
    let mut opened = connected.map(|(opened, _)| opened);
    if let Some(Opened { stream, said }) = &mut opened {
        if !said.is_empty() {
            session.handle_server(said, clock::instant());
        }
        relay(&reporter, &mut session, &mut client, stream, &mut place, &mut alarm).await;
    }
    reporter.report(&mut session);
    reporter.live.note(&session);
    let last_words = session.outgoing(Side::Client);
    // A client that does not take them has been told enough.
    let told = matches!(alarm.within(LAST_WORDS, client.finish(last_words)).await, Some(Ok(())));
    // The client is waiting, the mail server is not.
    drop(opened);
    drop(place);
    drop(visit);
    if told {
        refusal::linger(client.into_socket(), &mut alarm).await;
    }
}

/// Begins TLS with the client. While it goes on nothing else is heard but that the session ends: there is no way to say why.
async fn secure(service: &Service, session: &mut Session, client: &mut Stream, place: &mut Place) {
    let Some(renewal) = service.renewal() else { return session.handle_tls_failed(TlsFault::Abandoned) };
    let layer = match renewal.front().accept() {
        Ok(layer) => layer,
        Err(error) => {
            tracing::error!(%error, "TLS cannot begin");
            return session.handle_tls_failed(TlsFault::Abandoned);
        }
    };
    let deadline = until(session.poll_timeout());
    tokio::select! {
        outcome = client.secure(layer) => match outcome {
            Ok(()) => {
                if let Some(protection) = client.protection() {
                    place.live.secured(protection);
                }
                tracing::debug!(protection = ?client.protection(), "TLS has begun");
                session.handle_tls(clock::instant());
            }
            Err(HandshakeError::Tls(error)) if !error.is_distrust() => {
                session.handle_tls_failed(TlsFault::Impossible(printable(error.to_string().as_bytes())));
            }
            Err(error) => {
                if let HandshakeError::Tls(error) = &error {
                    renewal.complain_of_distrust(error);
                }
                session.handle_tls_failed(TlsFault::Abandoned);
            }
        },
        reply = &mut place.sanction => sanction(session, reply),
        () = sleep(deadline) => session.handle_timeout(clock::instant()),
    }
}

/// Connects to the mail server while somebody wants it: a client that hangs up must not keep its place for as long as a
/// mail server takes to answer, and a sanction is heard at once.
async fn connect(
    service: &Service,
    session: &mut Session,
    client: &mut Stream,
    peer: Peer,
    place: &mut Place,
    alarm: &mut Alarm,
) -> Option<(Opened, Chosen)> {
    let mut connecting = pin!(service.backend.connect(peer, alarm));
    // A client that half-closed behind what it asked still waits for the answers.
    while !session.is_over() && !session.has_said_all() {
        tokio::select! {
            server = &mut connecting => {
                if server.is_none() {
                    session.handle_server_closed();
                }
                return server;
            }
            () = poll_fn(|cx| if session.wants(Side::Client) { poll_client(session, client, cx) } else { Poll::Pending }) => {}
            reply = &mut place.sanction => sanction(session, reply),
        }
    }
    None
}

/// Relays until the session is over.
async fn relay(
    reporter: &Reporter<'_>,
    session: &mut Session,
    client: &mut Stream,
    server: &mut Stream,
    place: &mut Place,
    alarm: &mut Alarm,
) {
    let mut said_all = false;
    loop {
        let mut relay = Relay {
            session,
            client,
            server: &mut *server,
            sanction: &mut place.sanction,
            alarm: &mut *alarm,
            said_all,
        };
        let turn = poll_fn(|cx| {
            let turn = relay.poll(cx, |session| reporter.report(session));
            reporter.live.note(relay.session);
            turn
        });
        let turn = turn.await;
        match turn {
            Turn::Over => return,
            Turn::Secure => {
                secure(reporter.service, session, client, place).await;
                reporter.report(session);
            }
            Turn::SaidAll => {
                said_all = true;
                let told = timeout(LAST_WORDS, server.finish(&[])).await;
                if !matches!(told, Ok(Ok(()))) && !session.has_left_server() {
                    return hear_out(session, server).await;
                }
            }
            Turn::Deaf => return hear_out(session, server).await,
        }
    }
}

/// Takes what a mail server has said that no longer listens, such as a 421 and why.
async fn hear_out(session: &mut Session, server: &mut Stream) {
    let hear = async {
        while session.wants(Side::Server) {
            let heard = server.read(|bytes| session.handle_server(bytes, clock::instant())).await;
            if !matches!(heard, Ok(Flow::Open)) {
                break;
            }
        }
    };
    // Whether it closed or fell silent: it is not waited for.
    let _ = timeout(LAST_REPLIES, hear).await;
    session.handle_server_closed();
}

/// Hands the session's facts on.
struct Reporter<'a> {
    service: &'a Service,
    client: ClientAddr,
    /// The mail server that was found.
    chosen: Option<Chosen>,
    /// Where the session tells of itself.
    live: Arc<Live>,
}

impl Reporter<'_> {
    fn report(&self, session: &mut Session) {
        let inbox = &self.service.edge.inbox;
        while let Some(event) = session.poll_event() {
            match event {
                Event::Offence(offence) => inbox.report(self.client, offence.at(self.service.name)),
                Event::LoggedIn => inbox.succeeded(self.client, Success::LoggedIn),
                Event::MessageAccepted => {
                    inbox.succeeded(self.client, Success::Delivered);
                    self.service.traffic.deliver();
                    self.live.accepted_message();
                }
                Event::Mended(fault) => self.service.tell_of_mending(self.client, fault),
                Event::ServerFault(fault) => {
                    if let Some(chosen) = self.chosen {
                        self.service.backend.complain(chosen, fault);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use filter_core::smtp::session::Patience;
    use filter_core::smtp::voice::{Templates, Voice};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_mail_server_that_breaks_off_is_heard_out_first() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut server = Stream::new(TcpStream::connect(listener.local_addr()?).await?)?;
        let (mut far_end, _) = listener.accept().await?;
        let voice = Arc::new(Voice::new("mx.example", &Templates::default()));
        let mut session = Session::new(voice, Patience::default(), clock::instant());
        far_end.write_all(b"421 4.7.0 mail.example Too many errors\r\n").await?;
        drop(far_end);
        hear_out(&mut session, &mut server).await;
        assert_eq!(session.outgoing(Side::Client), b"421 4.7.0 mail.example Too many errors\r\n");
        assert!(session.is_over());
        Ok(())
    }
}
