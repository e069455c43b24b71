//! A connection as a session's driver uses it: read into the session, write out of it, and wait for either.
//!
//! Nothing is read that nobody asked for, and nothing is copied on the way: the session takes the bytes where they were
//! read. A stream that waits holds no buffer.

use std::io;

use tokio::io::{AsyncWriteExt, Interest, Ready};
use tokio::net::TcpStream;

/// Bytes read at once.
const READ_SIZE: usize = 16_384;

/// Whether a side may send more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// It has said that it will not.
    Ended,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
}

impl Stream {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self { socket }
    }

    /// Hands over what has come. `WouldBlock` if nothing has.
    pub(super) fn try_read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<Flow> {
        let mut buffer = [0; READ_SIZE];
        match self.socket.try_read(&mut buffer)? {
            0 => Ok(Flow::Ended),
            count => {
                take(buffer.get(..count).unwrap_or_default());
                Ok(Flow::Open)
            }
        }
    }

    /// Sends what the connection takes now, at least a byte. `WouldBlock` if it takes nothing.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_write(bytes)
    }

    /// Waits until it can be read, if that is wanted, or written, if there is something to write. If neither is, for ever.
    pub(super) async fn ready(&self, read: bool, write: bool) -> io::Result<Ready> {
        let interest = match (read, write) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => return std::future::pending().await,
        };
        self.socket.ready(interest).await
    }

    /// Waits for something to come, and hands it over.
    pub(super) async fn read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<Flow> {
        loop {
            self.ready(true, false).await?;
            match self.try_read(&mut take) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends all of it.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Says that nothing more will be sent.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.socket.shutdown().await
    }

    /// The connection without what was on it.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }
}
