//! A connection as a session's driver uses it: read into the session, write out of it, and wait for either; with TLS between, once
//! that has begun.
//!
//! Nothing is read that nobody asked for, and in the clear nothing is copied on the way: the session takes the bytes where they
//! were read. A stream that waits holds no buffer, unless the other side does not take what is sealed for it already. The kernel is
//! asked once for what one packet brought: where less came than there was room for, nothing is left.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use nix::libc;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::{Layer, Protection, TlsError};

/// Bytes read at once: few enough to stay in the processor's nearest caches until they have been looked at and sent on.
const READ_SIZE: usize = 32_768;

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
    /// Its sides take turns, so what one says is acknowledged by what the other says to it, not by a packet in front of that. The
    /// connection stands already: else this would hold back the acknowledgement that makes it stand.
    pub(super) fn new(socket: TcpStream) -> io::Result<Self> {
        SockRef::from(&socket).set_tcp_quickack(false)?;
        Ok(Self { socket, layer: None })
    }

    /// How it is protected; none: it is not.
    pub(super) fn protection(&self) -> Option<Protection> {
        self.layer.as_ref().and_then(|layer| layer.protection())
    }

    /// Begins TLS. After an error nothing can be said any more.
    pub(super) async fn secure(&mut self, layer: Layer) -> Result<(), HandshakeError> {
        let Self { socket, layer: own } = self;
        let layer = own.insert(Box::new(layer));
        loop {
            let outcome = layer.shake();
            poll_fn(|cx| poll_send(layer, socket, cx)).await?;
            outcome?;
            if !layer.is_handshaking() {
                return Ok(());
            }
            if poll_fn(|cx| poll_receive(layer, socket, cx)).await? == 0 {
                return Err(HandshakeError::Ended);
            }
        }
    }

    /// Hands over what has come.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<Flow>> {
        let Self { socket, layer } = self;
        let Some(layer) = layer else {
            #[expect(
                clippy::large_stack_arrays,
                reason = "nobody clears it, and nothing waits while it is there"
            )]
            let mut room = [const { MaybeUninit::uninit() }; READ_SIZE];
            let mut buffer = ReadBuf::uninit(&mut room);
            ready!(Pin::new(socket).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(Flow::Ended));
            }
            take(buffer.filled());
            return Poll::Ready(Ok(Flow::Open));
        };
        if layer.has_early() {
            take(&layer.take_early());
            return Poll::Ready(Ok(Flow::Open));
        }
        // Without a last word TLS is cut off, which in SMTP cuts off nothing: every command and message has an end of its own.
        if layer.has_ended() || ready!(poll_receive(layer, socket, cx))? == 0 {
            return Poll::Ready(Ok(Flow::Ended));
        }
        layer.open(take).map_err(io::Error::other)?;
        Poll::Ready(Ok(if layer.has_ended() { Flow::Ended } else { Flow::Open }))
    }

    /// Sends what the connection takes now, at least a byte.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { socket, layer } = self;
        let Some(layer) = layer else { return Pin::new(socket).poll_write(cx, bytes) };
        // One lot at a time: what is sealed is memory that nobody else counts.
        ready!(poll_send(layer, socket, cx))?;
        let count = layer.seal(bytes).map_err(io::Error::other)?;
        match poll_send(layer, socket, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    /// Sends what is sealed and has not been sent.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, layer } = self;
        layer.as_mut().map_or(Poll::Ready(Ok(())), |layer| poll_send(layer, socket, cx))
    }

    /// Waits for something to come, and hands it over.
    pub(super) async fn read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<Flow> {
        poll_fn(|cx| self.poll_read(cx, &mut take)).await
    }

    /// Sends all of it.
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends the last there is to say, if anything, and in the same packet that nothing more will be sent: two would wake the other
    /// side twice.
    pub(super) async fn finish(&mut self, mut last: &[u8]) -> io::Result<()> {
        let Self { socket, layer } = self;
        if let Some(layer) = layer {
            while !last.is_empty() {
                poll_fn(|cx| poll_send(layer, socket, cx)).await?;
                let count = layer.seal(last).map_err(io::Error::other)?;
                last = last.get(count..).unwrap_or_default();
            }
            layer.close().map_err(io::Error::other)?;
            hold(socket, layer.outgoing()).await?;
            layer.sent(layer.outgoing().len());
        } else {
            hold(socket, last).await?;
        }
        socket.shutdown().await
    }

    /// The connection without what was on it.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }
}

/// Sends all of it as far as it fills packets; the rest goes with what comes next.
async fn hold(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let send = || SockRef::from(socket).send_with_flags(bytes, libc::MSG_MORE);
        let count = socket.async_io(Interest::WRITABLE, send).await?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Reads what has come; says how much.
fn poll_receive(layer: &mut Layer, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    // Room is made when there is something to put there.
    ready!(socket.poll_read_ready(cx))?;
    let count = pin!(socket.read_buf(layer.incoming())).poll(cx);
    layer.release();
    count
}

/// Sends what is sealed.
fn poll_send(layer: &mut Layer, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    while !layer.outgoing().is_empty() {
        match ready!(Pin::new(&mut *socket).poll_write(cx, layer.outgoing()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => layer.sent(count),
        }
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn last_words_arrive_whole_however_many() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        for length in [0, 1, 16 << 20] {
            let last = vec![b'x'; length];
            let mut stream = Stream::new(TcpStream::connect(listener.local_addr()?).await?)?;
            let (mut far_end, _) = listener.accept().await?;
            let mut heard = Vec::new();
            let (said, listened) = tokio::join!(stream.finish(&last), far_end.read_to_end(&mut heard));
            said?;
            assert_eq!(listened?, length);
            assert_eq!(heard, last);
        }
        Ok(())
    }
}
