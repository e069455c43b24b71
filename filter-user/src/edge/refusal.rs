//! Saying no: one write and a clean close.
//!
//! A socket that is closed with unread bytes resets the connection, and the reset can overtake the reply. So a refused
//! client is given a moment to close first. Only so many may have that moment at once: a flood of refused connections
//! costs no more than accepting and closing them.
//!
//! Where TLS comes first, a reply would be no record of it, and a handshake would cost more than the session that is refused. There
//! the one write is TLS's own word for no.

use std::net;
use std::sync::Arc;
use std::time::Duration;

use filter_core::client::ClientAddr;
use filter_core::smtp::session::Tls;
use nix::libc;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::alarm::Alarm;
use super::header::Peer;
use super::{Service, driver};
use crate::ips::Admission;

/// How long a client may take to close after its last reply.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a place that is just being given back may take to arrive: a client that closes one session and opens the next
/// may be seen in the other order.
const SECOND_LOOK: Duration = Duration::from_millis(5);
/// Bytes that are read and thrown away while waiting for the client to close.
const DISCARD_LIMIT: usize = 65_536;

/// Words that leave before a close, which may be a reset that takes with it what has not left.
const AT_ONCE: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
/// Words in one packet with the end of what we send.
const WITH_THE_END: libc::c_int = AT_ONCE | libc::MSG_MORE;

/// A fatal alert, `access_denied`: the sender has decided not to go on (RFC 8446 section 6.2, in a record of its section 5.1).
const DENIED: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

/// Refuses a connection without holding up the listener.
pub(super) fn refuse(
    service: &Arc<Service>,
    stream: net::TcpStream,
    peer: Peer,
    reply: Arc<str>,
    may_clear: bool,
) {
    let Ok(permit) = Arc::clone(&service.edge.refusals).try_acquire_owned() else {
        say(&stream, words(service, &reply), AT_ONCE);
        return;
    };
    let edge = &service.edge;
    let service = Arc::clone(service);
    edge.lanes.spawn(async move {
        let mut reply = reply;
        if may_clear {
            sleep(SECOND_LOOK).await;
            match service.edge.inbox.admit_after_all(service.arrival(ClientAddr::new(peer.client.ip()))).await
            {
                Some(Admission::Admitted(place)) => {
                    drop(permit);
                    return driver::run(service, stream, peer, place).await;
                }
                // What holds now is what the client hears: it may have been blocked meanwhile.
                Some(Admission::Refused { reply: now, .. }) => reply = now,
                None => {}
            }
        }
        say(&stream, words(&service, &reply), WITH_THE_END);
        if let Ok(stream) = TcpStream::from_std(stream) {
            farewell(stream).await;
        }
        drop(permit);
    });
}

/// What a refused client of a service hears.
fn words<'a>(service: &Service, reply: &'a str) -> &'a [u8] {
    if service.tls == Tls::Implicit { DENIED } else { reply.as_bytes() }
}

/// One write; a new connection's send buffer has room for it.
///
/// Without the runtime, which does not ask the kernel before it believes a socket ready.
fn say(stream: &net::TcpStream, words: &[u8], manner: libc::c_int) {
    if let Err(error) = SockRef::from(stream).send_with_flags(words, manner) {
        tracing::debug!(%error, "a refused client did not hear its reply");
    }
}

/// Closes our half and waits for the client to close its own.
async fn farewell(mut stream: TcpStream) {
    // Fails if the client has gone.
    if stream.shutdown().await.is_ok() {
        linger(stream, &mut Alarm::default()).await;
    }
}

/// Waits for the client to close its half, as ours is.
pub(super) async fn linger(mut stream: TcpStream, alarm: &mut Alarm) {
    let mut nowhere = [0; 256];
    let end = async {
        let mut left = DISCARD_LIMIT;
        loop {
            match stream.read(&mut nowhere).await {
                Ok(count @ 1..) if count < left => left -= count,
                _ => return,
            }
        }
    };
    // Whether the client closed, reset or stayed: the socket is dropped now.
    let _ = alarm.within(FAREWELL, end).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_does_not_wait_for_the_runtime_to_know_the_socket() -> std::io::Result<()> {
        let listener = net::TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let accepted = listener.accept()?.0;
        accepted.set_nonblocking(true)?;
        say(&accepted, b"421 4.3.2 mx.example try later\r\n", AT_ONCE);
        drop(accepted);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await?;
        assert_eq!(heard, "421 4.3.2 mx.example try later\r\n");
        Ok(())
    }
}
