//! One session between two connections, as far as it can go now.
//!
//! Whatever one side has sent is handed on before anything is waited for, so a command costs a read and a write and its reply the
//! same. Nothing is decided here: what the bytes mean is the session's to say.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use filter_core::smtp::event::Side;
use filter_core::smtp::session::Session;
use filter_core::time::Instant;
use tokio::sync::oneshot::error::RecvError;

use super::alarm::Alarm;
use super::stream::{Flow, Stream};
use crate::clock;
use crate::ips::Sanction;

/// What cannot be done without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing: the session is over.
    Over,
    /// TLS begins with the client.
    Secure,
    /// The mail server is to be told that no more will come.
    SaidAll,
    /// The mail server takes no more, and may have said why.
    Deaf,
}

/// Both sides of one session.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    pub(super) session: &'a mut Session,
    pub(super) client: &'a mut Stream,
    pub(super) server: &'a mut Stream,
    pub(super) sanction: &'a mut Sanction,
    pub(super) alarm: &'a mut Alarm,
    /// Whether the mail server has been told that no more will come.
    pub(super) said_all: bool,
}

impl Relay<'_> {
    /// Moves bytes until nothing is left to move. `report` takes the session's facts each time that something has happened.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut report: impl FnMut(&mut Session)) -> Poll<Turn> {
        // One look at the clock for all that came together.
        let (now, mut quiet) = (clock::instant(), Quiet::default());
        loop {
            if self.session.is_over() {
                return Poll::Ready(Turn::Over);
            }
            if let Err(error) = flush(self.session, self.client, Side::Client, now, cx) {
                lose(self.session, &error);
            }
            let sent = flush(self.session, self.server, Side::Server, now, cx);
            // One that has been given up in the middle of a message may break off as it likes.
            if sent.is_err() && !self.session.has_left_server() {
                return Poll::Ready(Turn::Deaf);
            }
            if self.session.has_said_all() && !self.said_all {
                return Poll::Ready(Turn::SaidAll);
            }
            if self.session.poll_tls() {
                return Poll::Ready(Turn::Secure);
            }
            let moved = self.poll_once(now, &mut quiet, cx);
            report(self.session);
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// Takes what has happened on each side; whether anything has.
    fn poll_once(&mut self, now: Instant, quiet: &mut Quiet, cx: &mut Context<'_>) -> bool {
        if !quiet.sanction {
            if let Poll::Ready(reply) = Pin::new(&mut *self.sanction).poll(cx) {
                sanction(self.session, reply);
                return true;
            }
            quiet.sanction = true;
        }
        let mut moved = false;
        if !quiet.client && self.session.wants(Side::Client) {
            quiet.client = self.poll_client(now, cx).is_pending();
            moved |= !quiet.client;
        }
        if !quiet.server && self.session.wants(Side::Server) {
            quiet.server = self.poll_server(now, cx).is_pending();
            moved |= !quiet.server;
        }
        if !moved && self.alarm.poll(self.session.poll_timeout(), now, cx).is_ready() {
            self.session.handle_timeout(clock::instant());
            moved = true;
        }
        moved
    }

    /// Takes what the client has sent. What of a message can go on goes on from where it was read.
    fn poll_client(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Self { session, client, server, .. } = self;
        let mut sending = Context::from_waker(cx.waker());
        // An error comes again when the rest is to be sent.
        let mut pass = |bytes: &[u8]| match server.poll_write(&mut sending, bytes) {
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        client
            .poll_read(cx, |bytes| session.pass_client(bytes, now, &mut pass))
            .map(|outcome| end_client(session, &outcome, now))
    }

    fn poll_server(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Self { session, server, .. } = self;
        server.poll_read(cx, |bytes| session.handle_server(bytes, now)).map(|outcome| {
            if !matches!(outcome, Ok(Flow::Open)) {
                session.handle_server_closed();
            }
        })
    }
}

/// Who has nothing more to say until the task is woken again.
#[derive(Debug, Default)]
struct Quiet {
    sanction: bool,
    client: bool,
    server: bool,
}

/// Takes what the client has sent, before there is anybody to send it to.
pub(super) fn poll_client(session: &mut Session, client: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
    let now = clock::instant();
    client
        .poll_read(cx, |bytes| session.handle_client(bytes, now))
        .map(|outcome| end_client(session, &outcome, now))
}

/// Takes what became of the client's connection.
fn end_client(session: &mut Session, outcome: &io::Result<Flow>, now: Instant) {
    match outcome {
        Ok(Flow::Open) => {}
        Ok(Flow::Ended) => session.handle_client_closed(now),
        Err(error) => lose(session, error),
    }
}

/// Somebody decided that the session ends.
pub(super) fn sanction(session: &mut Session, reply: Result<Arc<str>, RecvError>) {
    if let Ok(reply) = reply {
        return session.handle_sanction(&reply);
    }
    // The ips task has gone, and with it the reason to go on.
    session.handle_server_closed();
    session.handle_sanction("");
}

/// The client's connection is broken.
fn lose(session: &mut Session, error: &io::Error) {
    tracing::debug!(%error, "a client's connection broke");
    session.handle_client_lost(clock::instant());
}

/// Writes as much as the connection takes now.
fn flush(
    session: &mut Session,
    stream: &mut Stream,
    side: Side,
    now: Instant,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    while !session.outgoing(side).is_empty() {
        match stream.poll_write(cx, session.outgoing(side)) {
            Poll::Ready(count) => session.handle_sent(side, count?, now),
            Poll::Pending => return Ok(()),
        }
    }
    match stream.poll_flush(cx) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Ok(()),
    }
}
