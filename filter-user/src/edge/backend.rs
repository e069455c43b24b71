//! The mail server behind us: connecting to it, and telling it who the client is.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use filter_core::smtp::event::ServerFault;
use ppp::v2;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::header::Peer;
use super::pace::Pace;
use crate::config::ClientAddress;

/// How long the mail server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// Where sessions are relayed to.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    client_address: ClientAddress,
    health: AtomicU8,
    complaints: Pace,
}

impl Backend {
    /// A mail server that nobody has asked yet.
    pub const fn new(address: SocketAddr, client_address: ClientAddress) -> Self {
        Self { address, client_address, health: AtomicU8::new(UNKNOWN), complaints: Pace::new() }
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it took the last connection; none: nobody has asked.
    pub fn is_up(&self) -> Option<bool> {
        match self.health.load(Ordering::Relaxed) {
            UP => Some(true),
            DOWN => Some(false),
            _ => None,
        }
    }

    /// Opens a connection on behalf of a client.
    pub(super) async fn connect(&self, peer: Peer) -> io::Result<TcpStream> {
        let connecting = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            if self.client_address == ClientAddress::ProxyV2 {
                stream.write_all(&header(peer.client, peer.local)?).await?;
            }
            Ok(stream)
        };
        let result = timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        self.note(&result);
        result
    }

    /// Logs that the mail server could not be followed: clients decide how often it happens.
    pub(super) fn complain(&self, fault: ServerFault) {
        if self.complaints.is_due() {
            tracing::warn!(mail_server = %self.address, "{fault}");
        }
    }

    /// Logs the first failure and the first success after it, not every one between.
    fn note(&self, result: &io::Result<TcpStream>) {
        let health = if result.is_ok() { UP } else { DOWN };
        let before = self.health.swap(health, Ordering::Relaxed);
        match result {
            Err(error) if before != DOWN => {
                tracing::warn!(
                    mail_server = %self.address,
                    %error,
                    "the mail server does not answer; clients hear 421 until it does (see `mail_server` of the service)"
                );
            }
            Ok(_) if before == DOWN => {
                tracing::info!(mail_server = %self.address, "the mail server answers again");
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// The PROXY header of a connection, version 2 (section 2.2 of the protocol's text). Both ends in the same family:
/// a listener on `[::]` sees IPv4 clients as mapped addresses.
fn header(client: SocketAddr, local: SocketAddr) -> io::Result<Vec<u8>> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let addresses = (canonical(client), canonical(local));
    v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, addresses)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_protocols_own_layout() {
        let bytes =
            header("[::ffff:192.0.2.7]:4711".parse().unwrap(), "[::ffff:198.51.100.1]:25".parse().unwrap());
        let expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x19".to_vec();
        assert_eq!(bytes.unwrap(), expected);
        let v6 = header("[2001:db8::7]:1".parse().unwrap(), "[2001:db8::1]:25".parse().unwrap()).unwrap();
        assert_eq!((v6.len(), v6[13], v6[15]), (52, 0x21, 36));
    }
}
