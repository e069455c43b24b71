//! A connection as a session's driver uses it: read into the session, write out of it, and wait for either; with TLS between, once
//! that has begun.
//!
//! Nothing is read that nobody asked for, and in the clear nothing is copied on the way: the session takes the bytes where they
//! were read. A stream that waits holds no buffer, unless the other side does not take what is sealed for it already.

use std::io;

use tokio::io::{AsyncWriteExt, Interest, Ready};
use tokio::net::TcpStream;

use crate::tls::{Layer, Protection, TlsError};

/// Bytes read at once.
const READ_SIZE: usize = 16_384;

/// Whether a side may send more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// It has said that it will not.
    Ended,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The other side has gone.
    #[error("the connection ended in the middle of the TLS handshake")]
    Ended,
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    layer: Option<Box<Layer>>,
}

impl Stream {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self { socket, layer: None }
    }

    /// How it is protected; none: it is not.
    pub(super) fn protection(&self) -> Option<Protection> {
        self.layer.as_ref().and_then(|layer| layer.protection())
    }

    /// Begins TLS. After an error nothing can be said any more.
    pub(super) async fn secure(&mut self, layer: Layer) -> Result<(), HandshakeError> {
        let layer = self.layer.insert(Box::new(layer));
        loop {
            let outcome = layer.shake();
            while !layer.outgoing().is_empty() {
                self.socket.writable().await?;
                send_some(layer, &self.socket)?;
            }
            outcome?;
            if !layer.is_handshaking() {
                return Ok(());
            }
            self.socket.readable().await?;
            match receive(layer, &self.socket) {
                Ok(0) => return Err(HandshakeError::Ended),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        }
    }

    /// Hands over what has come. `WouldBlock` if nothing has.
    pub(super) fn try_read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<Flow> {
        let Some(layer) = &mut self.layer else {
            let mut buffer = [0; READ_SIZE];
            return match self.socket.try_read(&mut buffer)? {
                0 => Ok(Flow::Ended),
                count => {
                    take(buffer.get(..count).unwrap_or_default());
                    Ok(Flow::Open)
                }
            };
        };
        if layer.has_early() {
            take(&layer.take_early());
            return Ok(Flow::Open);
        }
        // Without a last word TLS is cut off, which in SMTP cuts off nothing: every command and message has an end of its own.
        if layer.has_ended() || receive(layer, &self.socket)? == 0 {
            return Ok(Flow::Ended);
        }
        layer.open(take).map_err(io::Error::other)?;
        Ok(if layer.has_ended() { Flow::Ended } else { Flow::Open })
    }

    /// Sends what the connection takes now, at least a byte. `WouldBlock` if it takes nothing.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(layer) = &mut self.layer else { return self.socket.try_write(bytes) };
        // One lot at a time: what is sealed is memory that nobody else counts.
        send_some(layer, &self.socket)?;
        if !layer.outgoing().is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = layer.seal(bytes).map_err(io::Error::other)?;
        send_some(layer, &self.socket)?;
        Ok(count)
    }

    /// Sends what is sealed and has not been sent, as far as the connection takes it now.
    pub(super) fn try_flush(&mut self) -> io::Result<()> {
        match &mut self.layer {
            Some(layer) => send_some(layer, &self.socket),
            None => Ok(()),
        }
    }

    /// Waits until it can be read, if that is wanted, or written, if there is something to write. If neither is, for ever.
    pub(super) async fn ready(&self, read: bool, write: bool) -> io::Result<Ready> {
        let sealed = self.layer.as_ref().is_some_and(|layer| !layer.outgoing().is_empty());
        if read && self.layer.as_ref().is_some_and(|layer| layer.has_early() || layer.has_ended()) {
            return Ok(Ready::READABLE);
        }
        let interest = match (read, write || sealed) {
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
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(layer) = &mut self.layer else { return self.socket.write_all(bytes).await };
        while !bytes.is_empty() || !layer.outgoing().is_empty() {
            self.socket.write_all(layer.outgoing()).await?;
            layer.sent(layer.outgoing().len());
            if !bytes.is_empty() {
                let count = layer.seal(bytes).map_err(io::Error::other)?;
                bytes = bytes.get(count..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        if let Some(layer) = &mut self.layer {
            layer.close().map_err(io::Error::other)?;
            self.write_all(&[]).await?;
        }
        self.socket.shutdown().await
    }

    /// The connection without what was on it.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }
}

/// Reads what has come; says how much.
fn receive(layer: &mut Layer, socket: &TcpStream) -> io::Result<usize> {
    let count = socket.try_read_buf(layer.incoming());
    layer.release();
    count
}

/// Sends what is sealed, as far as the connection takes it now, which may be nothing.
fn send_some(layer: &mut Layer, socket: &TcpStream) -> io::Result<()> {
    while !layer.outgoing().is_empty() {
        match socket.try_write(layer.outgoing()) {
            Ok(count) => layer.sent(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
