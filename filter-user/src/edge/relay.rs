//! One session between two connections, as far as it can go now.
//!
//! Whatever one side has sent is handed on before anything is waited for, so a command costs a read and a write and its reply the
//! same. Nothing is decided here: what the bytes mean is the session's to say.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use filter_core::smtp::event::Side;
use filter_core::smtp::session::Session;
use filter_core::time::Instant;
use tokio::sync::oneshot::error::RecvError;
use tokio::time::{Sleep, sleep};

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
        loop {
            if self.session.is_over() {
                return Poll::Ready(Turn::Over);
            }
            if let Err(error) = flush(self.session, self.client, Side::Client, cx) {
                lose(self.session, &error);
            }
            let sent = flush(self.session, self.server, Side::Server, cx);
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
            let moved = self.poll_once(cx);
            report(self.session);
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// Takes what has happened on each side; whether anything has.
    fn poll_once(&mut self, cx: &mut Context<'_>) -> bool {
        if let Poll::Ready(reply) = Pin::new(&mut *self.sanction).poll(cx) {
            sanction(self.session, reply);
            return true;
        }
        let mut moved = false;
        if self.session.wants(Side::Client) {
            moved |= poll_client(self.session, self.client, cx).is_ready();
        }
        if self.session.wants(Side::Server) {
            moved |= self.poll_server(cx).is_ready();
        }
        if !moved && self.alarm.poll(self.session.poll_timeout(), cx).is_ready() {
            self.session.handle_timeout(clock::instant());
            moved = true;
        }
        moved
    }

    fn poll_server(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { session, server, .. } = self;
        server.poll_read(cx, |bytes| session.handle_server(bytes, clock::instant())).map(|outcome| {
            if !matches!(outcome, Ok(Flow::Open)) {
                session.handle_server_closed();
            }
        })
    }
}

/// Takes what the client has sent.
pub(super) fn poll_client(session: &mut Session, client: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
    client.poll_read(cx, |bytes| session.handle_client(bytes, clock::instant())).map(
        |outcome| match outcome {
            Ok(Flow::Open) => {}
            Ok(Flow::Ended) => session.handle_client_closed(clock::instant()),
            Err(error) => lose(session, &error),
        },
    )
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
fn flush(session: &mut Session, stream: &mut Stream, side: Side, cx: &mut Context<'_>) -> io::Result<()> {
    while !session.outgoing(side).is_empty() {
        match stream.poll_write(cx, session.outgoing(side)) {
            Poll::Ready(count) => session.handle_sent(side, count?, clock::instant()),
            Poll::Pending => return Ok(()),
        }
    }
    match stream.poll_flush(cx) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Ok(()),
    }
}

/// Wakes a session at its next deadline. Most deadlines only move on, and are looked at again when the first one has come: to set
/// a timer for each command would cost more than the command.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    set: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Alarm {
    /// Ready when this deadline has come.
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (at, sleep) = match &mut self.set {
                Some((at, sleep)) if *at <= deadline => (*at, sleep),
                _ => {
                    let (at, sleep) = self.set.insert((deadline, Box::pin(sleep(until(deadline)))));
                    (*at, sleep)
                }
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.set = None;
            if at == deadline {
                return Poll::Ready(());
            }
        }
    }
}

/// A little more than the time that is left, so that it is over then.
pub(super) fn until(deadline: Instant) -> Duration {
    deadline.since(clock::instant()).saturating_add(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn an_alarm_follows_its_deadline_in_both_directions() {
        let mut alarm = Alarm::default();
        for (first, then) in [
            (Duration::from_hours(1), Duration::from_millis(20)),
            (Duration::ZERO, Duration::from_millis(50)),
        ] {
            let now = clock::instant();
            let (first, then) = (now.after(first), now.after(then));
            let mut begun = false;
            let rings = poll_fn(|cx| {
                if !std::mem::replace(&mut begun, true) {
                    let _ = alarm.poll(first, cx);
                }
                alarm.poll(then, cx)
            });
            tokio::time::timeout(Duration::from_mins(1), rings)
                .await
                .expect("it rings before an hour has passed");
            assert!(clock::instant() >= then, "and not before its time");
        }
    }
}
