//! A browser's connection with our TLS around it, as the HTTP library reads and writes it.
//!
//! The handshake is no step of its own: it goes on as the head of the first request is read, and within the time for it.
//! What came for nobody yet is at most what one reading opens; nothing is sealed before what was sealed earlier has gone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::Layer;

/// What TLS begins with: a record of the handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// What somebody hears who speaks plain HTTP to us.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
                       Content-Length: 60\r\n\r\nThis port speaks TLS; ask with https:// instead of http://.\n";

/// A connection with TLS.
#[derive(Debug)]
pub(super) struct Secured {
    socket: TcpStream,
    layer: Layer,
    /// Opened, and not yet read.
    opened: BytesMut,
    has_closed: bool,
}

impl Secured {
    pub(super) fn new(socket: TcpStream, layer: Layer) -> Self {
        Self { socket, layer, opened: BytesMut::new(), has_closed: false }
    }

    /// Sends what is sealed.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.layer.outgoing().is_empty() {
            ready!(self.socket.poll_write_ready(context))?;
            match self.socket.try_write(self.layer.outgoing()) {
                Ok(count) => self.layer.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what has come, and opens what of it is whole. Says whether more may come.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(self.socket.poll_read_ready(context))?;
        let count = self.socket.try_read_buf(self.layer.incoming());
        self.layer.release();
        match count {
            Ok(0) => return Poll::Ready(Ok(false)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Ready(Ok(true)),
            Err(error) => return Poll::Ready(Err(error)),
        }
        let opened = &mut self.opened;
        let outcome = self.layer.open(|bytes| opened.extend_from_slice(bytes));
        if let Err(error) = outcome {
            // The other side is to hear why, if it still listens.
            let _ = self.poll_drain(context);
            return Poll::Ready(Err(io::Error::other(error)));
        }
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.layer.has_early() {
                let early = self.layer.take_early();
                self.opened.extend_from_slice(&early);
            }
            if !self.opened.is_empty() {
                let count = self.opened.len().min(buffer.remaining());
                buffer.put_slice(self.opened.get(..count).unwrap_or_default());
                self.opened.advance(count);
                return Poll::Ready(Ok(()));
            }
            if self.layer.has_ended() {
                return Poll::Ready(Ok(()));
            }
            // Our side of the handshake goes before the other side can go on.
            if self.layer.is_handshaking() {
                ready!(self.poll_drain(context))?;
            }
            if !ready!(self.poll_receive(context))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(context))?;
        let count = self.layer.seal(bytes).map_err(io::Error::other)?;
        // What does not go at once goes before the next bytes, or when all is to be sent.
        match self.poll_drain(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_closed && !self.layer.is_handshaking() {
            self.layer.close().map_err(io::Error::other)?;
            self.has_closed = true;
        }
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Whether a connection begins as TLS does; none: it has gone. Nothing is taken from it.
pub(super) async fn begins_with_tls(socket: &TcpStream) -> Option<bool> {
    let mut first = [0];
    let count = socket.peek(&mut first).await.ok()?;
    (count > 0).then_some(first == [HANDSHAKE_RECORD])
}

/// Says to somebody who speaks plain HTTP what he should do instead.
pub(super) async fn refuse_plain(socket: &TcpStream) {
    // It fits into any socket's empty buffer; whoever has gone does not need it.
    let _ = socket.writable().await;
    let _ = socket.try_write(PLAIN);
}
