//! Listening sockets. An accept error is the kernel's mood and never ends a listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use filter_core::client::ClientAddr;
use nix::errno::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{Edge, driver, refusal};
use crate::ips::Admission;

/// Connections that the kernel may hold before they are accepted.
const ACCEPT_QUEUE: u32 = 1024;
/// Pause after an error that only time cures, such as no free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Somebody else has the port.
    #[error(
        "{0} is in use by another program; stop that one (see `ss -ltnp`) or set `listen` in [smtp] to another port"
    )]
    InUse(SocketAddr),
    /// A port below 1024 without the permission for it.
    #[error("no permission to listen on {0}; run as root, or give the program CAP_NET_BIND_SERVICE")]
    Permission(SocketAddr),
    /// No such address here.
    #[error("{0} is not an address of this machine; set `listen` in [smtp] to one that `ip address` shows")]
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

pub(super) async fn serve(edge: Arc<Edge>, listener: TcpListener) {
    let mut short = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                short = false;
                if !receive(&edge, stream, peer).await {
                    return;
                }
            }
            Err(error) if is_shortage(&error) => {
                if !short {
                    tracing::warn!(%error, "cannot accept connections for now; raise the limit of open files");
                }
                short = true;
                tokio::time::sleep(PAUSE).await;
            }
            // The client has gone before it was accepted.
            Err(error) => tracing::debug!(%error, "a connection could not be accepted"),
        }
    }
}

/// Lets a connection in or refuses it; false when the agent is stopping.
async fn receive(edge: &Arc<Edge>, stream: TcpStream, peer: SocketAddr) -> bool {
    let client = ClientAddr::new(peer.ip());
    match edge.inbox.admit(client).await {
        Some(Admission::Admitted(place)) => {
            drop(tokio::spawn(driver::run(Arc::clone(edge), stream, peer, place)));
        }
        Some(Admission::Refused { reply, may_clear }) => {
            refusal::refuse(edge, stream, peer, reply, may_clear);
        }
        None => return false,
    }
    true
}

fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&Errno::from_raw(code)))
}
