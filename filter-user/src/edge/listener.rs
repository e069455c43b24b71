//! Listening sockets. An accept error is the kernel's mood and never ends a listener.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use filter_core::client::ClientAddr;
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::header::{self, HeaderError, Peer};
use super::{Service, driver, refusal};
use crate::ips::Admission;
use crate::pace::Pace;

/// Connections that the kernel may hold before they are accepted.
const ACCEPT_QUEUE: u32 = 1024;
/// Pause after an error that only time cures, such as no free descriptors, and after any that repeats itself.
const PAUSE: Duration = Duration::from_millis(100);

/// Errors in a row, other than shortages, after which it is said aloud.
const ERRORS_BEFORE_WARNING: u32 = 10;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Somebody else has the port.
    #[error(
        "{0} is in use by another program; stop that one (see `ss -ltnp`) or set `listen` of the service to another port"
    )]
    InUse(SocketAddr),
    /// A port below 1024 without the permission for it.
    #[error("no permission to listen on {0}; run as root, or give the program CAP_NET_BIND_SERVICE")]
    Permission(SocketAddr),
    /// No such address here.
    #[error(
        "{0} is not an address of this machine; set `listen` of the service to one that `ip address` shows"
    )]
    NotHere(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, EdgeError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for the last sessions' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        // Connections have it from here. A client sends small commands and waits, to which Nagle would only add.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        socket.listen(ACCEPT_QUEUE)
    };
    open().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => EdgeError::InUse(address),
        io::ErrorKind::PermissionDenied => EdgeError::Permission(address),
        io::ErrorKind::AddrNotAvailable => EdgeError::NotHere(address),
        _ => EdgeError::Other(address, error),
    })
}

pub(super) async fn serve(service: Arc<Service>, listener: TcpListener) {
    let bound = listener.local_addr().ok();
    // A connection is the reactor's of the lane that it will be on, not of the one that accepts it.
    let listener = match detach(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be waited for"),
    };
    // Descriptors come and go one by one: what is said of a shortage is not said each time that one was free in between.
    let (mut trouble, complaints) = (Trouble::default(), Pace::new());
    loop {
        match accept(&listener).await {
            Ok((stream, client)) => {
                trouble = Trouble::default();
                let peer = Peer { client, local: local(&stream, bound).unwrap_or(client) };
                if !receive(&service, stream, peer).await {
                    return;
                }
            }
            Err(error) => {
                let shortage = is_shortage(&error);
                let step = trouble.next(shortage);
                match (step.complain && complaints.is_due(), shortage) {
                    (true, true) => {
                        tracing::warn!(%error, "cannot accept connections for now; raise the limit of open files");
                    }
                    (true, false) => tracing::warn!(%error, "cannot accept connections for now"),
                    (false, _) => tracing::debug!(%error, "a connection could not be accepted"),
                }
                if step.pause {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The listener, of which only its readiness is tokio's.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe for the sake of types whose descriptor changes; this one's does not"
)]
fn detach(listener: TcpListener) -> io::Result<AsyncFd<mio::net::TcpListener>> {
    AsyncFd::new(mio::net::TcpListener::from_std(listener.into_std()?))
}

/// Takes a connection that does not block, in one call of the kernel.
async fn accept(listener: &AsyncFd<mio::net::TcpListener>) -> io::Result<(net::TcpStream, SocketAddr)> {
    let (stream, peer) = listener.async_io(Interest::READABLE, mio::net::TcpListener::accept).await?;
    Ok((stream.into(), peer))
}

/// Where a connection came to, which is asked only where the listener has many addresses.
fn local(stream: &net::TcpStream, bound: Option<SocketAddr>) -> io::Result<SocketAddr> {
    bound.filter(|bound| !bound.ip().is_unspecified()).map_or_else(|| stream.local_addr(), Ok)
}

/// Accept errors in a row. One may be a client that has gone before it was accepted; more are the listener's own, and
/// must neither spin nor fill the log.
#[derive(Debug, Default)]
struct Trouble {
    errors: u32,
    complained: bool,
}

/// What to do about an accept error.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    complain: bool,
    pause: bool,
}

impl Trouble {
    fn next(&mut self, shortage: bool) -> Step {
        self.errors = self.errors.saturating_add(1);
        let pause = shortage || self.errors > 1;
        // Several in a row are still no news while clients come and go quickly.
        let lasting = shortage || self.errors > ERRORS_BEFORE_WARNING;
        let complain = lasting && !self.complained;
        self.complained |= complain;
        Step { complain, pause }
    }
}

/// Lets a connection in or refuses it; false when the agent is stopping.
async fn receive(service: &Arc<Service>, stream: net::TcpStream, peer: Peer) -> bool {
    let address = peer.client;
    if !service.is_balancer(address.ip()) {
        return admit(service, stream, peer).await;
    }
    // Whose connection it is stands in its first bytes, which the listener does not wait for. Beyond the bound the
    // connection is closed unheard.
    if let Ok(permit) = Arc::clone(&service.edge.headers).try_acquire_owned() {
        let edge = &service.edge;
        let service = Arc::clone(service);
        edge.lanes.spawn(async move {
            match read_header(stream, peer).await {
                Ok((stream, peer)) => {
                    drop(permit);
                    admit(&service, stream, peer).await;
                }
                Err(error) => service.complain_of_balancer(address, &error),
            }
        });
    }
    true
}

async fn read_header(stream: net::TcpStream, own: Peer) -> Result<(net::TcpStream, Peer), HeaderError> {
    let mut stream = TcpStream::from_std(stream)?;
    let peer = header::read(&mut stream, own).await?;
    Ok((stream.into_std()?, peer))
}

/// Asks whether the client may come in; false when the agent is stopping.
async fn admit(service: &Arc<Service>, stream: net::TcpStream, peer: Peer) -> bool {
    let client = ClientAddr::new(peer.client.ip());
    match service.edge.inbox.admit(service.arrival(client)).await {
        Some(Admission::Admitted(place)) => {
            service.edge.lanes.spawn(driver::run(Arc::clone(service), stream, peer, place));
        }
        Some(Admission::Refused { reply, reason }) => {
            service.traffic.refuse(reason);
            refusal::refuse(service, stream, peer, reply, reason.may_clear());
        }
        None => return false,
    }
    true
}

/// Whether it is this machine that lacks something: descriptors, or memory.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_repeats_itself_never_spins_and_is_said_once() {
        for shortage in [false, true] {
            let mut trouble = Trouble::default();
            assert_eq!(trouble.next(shortage), Step { complain: shortage, pause: shortage });
            let later: Vec<_> = (0..100).map(|_| trouble.next(shortage)).collect();
            assert!(later.iter().all(|step| step.pause));
            assert_eq!(later.iter().filter(|step| step.complain).count(), usize::from(!shortage));
        }
    }
}
