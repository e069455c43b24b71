//! Saying no: one write and a clean close.
//!
//! A socket that is closed with unread bytes resets the connection, and the reset can overtake the reply. So a refused
//! client is given a moment to close first. Only so many may have that moment at once: a flood of refused connections
//! costs no more than accepting and closing them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use filter_core::client::ClientAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Edge, driver};
use crate::ips::Admission;

/// How long a client may take to close after its last reply.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a place that is just being given back may take to arrive.
const SECOND_LOOK: Duration = Duration::from_millis(5);
/// Bytes that are read and thrown away while waiting for the client to close.
const DISCARD_LIMIT: u64 = 65_536;

/// Refuses a connection without holding up the listener.
pub(super) fn refuse(
    edge: &Arc<Edge>,
    stream: TcpStream,
    peer: SocketAddr,
    reply: Arc<str>,
    may_clear: bool,
) {
    let Ok(permit) = Arc::clone(&edge.refusals).try_acquire_owned() else {
        say(&stream, &reply);
        return;
    };
    let edge = Arc::clone(edge);
    tokio::spawn(async move {
        if may_clear && let Some(place) = look_again(&edge, peer).await {
            drop(permit);
            return driver::run(edge, stream, peer, place).await;
        }
        say(&stream, &reply);
        farewell(stream).await;
        drop(permit);
    });
}

/// A client that closes one session and opens the next may be seen in the other order; its place comes back at once.
async fn look_again(edge: &Edge, peer: SocketAddr) -> Option<crate::ips::Place> {
    sleep(SECOND_LOOK).await;
    match edge.inbox.admit(ClientAddr::new(peer.ip())).await {
        Some(Admission::Admitted(place)) => Some(place),
        Some(Admission::Refused { .. }) | None => None,
    }
}

/// One write; a new connection's send buffer has room for it.
fn say(stream: &TcpStream, reply: &str) {
    if let Err(error) = stream.try_write(reply.as_bytes()) {
        tracing::debug!(%error, "a refused client did not hear its reply");
    }
}

/// Closes our half and waits for the client to close its own.
pub(super) async fn farewell(mut stream: TcpStream) {
    let close = async {
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
        tokio::io::copy(&mut (&mut stream).take(DISCARD_LIMIT), &mut tokio::io::sink()).await
    };
    // Whether the client closed, reset or stayed: the socket is dropped now.
    let _ = timeout(FAREWELL, close).await;
}
