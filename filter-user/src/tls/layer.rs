//! One connection's TLS: records in, bytes out, and the other way round.
//!
//! It knows no socket. What came is put into [`Layer::incoming`] and turned into bytes by [`Layer::open`]; what is to be sent
//! is turned into records by [`Layer::seal`] and lies in [`Layer::outgoing`] until it has been sent. A connection that waits holds
//! neither buffer: rustls' own connection would keep one of each, which ten thousand idle sessions would pay for.

use std::fmt;

use bytes::{Buf, BytesMut};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CommonState, Error};

use super::TlsError;

/// Room for what is read at once: a whole record (RFC 8446 section 5.2), and most of another.
const READ_SIZE: usize = 32_768;
/// Bytes that are sealed at once: two records.
const WRITE_SIZE: usize = 32_768;
/// What sealing adds at most: 256 bytes for each record (RFC 8446 section 5.2), of which there may be one more than that.
const OVERHEAD: usize = 3 * 256;

/// One connection's TLS.
pub struct Layer {
    connection: Connection,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// What was opened while nobody took it.
    early: BytesMut,
    /// Whether the other side has said that it will send no more.
    ended: bool,
    /// Whether an error has ended it; the library must not be asked anything after that.
    failed: bool,
}

enum Connection {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    /// Such as `TLSv1.3`.
    pub version: &'static str,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.cipher)
    }
}

impl Layer {
    pub(super) fn server(connection: UnbufferedServerConnection) -> Self {
        Self::new(Connection::Server(Box::new(connection)))
    }

    pub(super) fn client(connection: UnbufferedClientConnection) -> Self {
        Self::new(Connection::Client(Box::new(connection)))
    }

    fn new(connection: Connection) -> Self {
        let (incoming, outgoing, early) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
        Self { connection, incoming, outgoing, early, ended: false, failed: false }
    }

    /// Whether bytes cannot be sealed yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.common().is_handshaking()
    }

    /// How it is protected; none: not yet.
    pub fn protection(&self) -> Option<Protection> {
        let common = self.connection.common();
        let version = match common.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => return None,
        };
        let cipher = common.negotiated_cipher_suite()?.suite().as_str()?;
        Some(Protection { version, cipher })
    }

    /// Where what came is to be put.
    pub fn incoming(&mut self) -> &mut BytesMut {
        // What is left here is less than a record, so there is always room.
        self.incoming.reserve(READ_SIZE.saturating_sub(self.incoming.len()).max(1));
        &mut self.incoming
    }

    /// What lies here is not needed, if it is nothing.
    pub fn release(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
    }

    /// What was inside TLS already when the handshake was done; it is the first that came.
    pub fn take_early(&mut self) -> BytesMut {
        std::mem::take(&mut self.early)
    }

    /// Whether there is something for [`Layer::take_early`].
    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Whether the other side has said that it will send no more.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Records to be sent.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// The first `count` bytes of [`Layer::outgoing`] have been sent.
    pub fn sent(&mut self, count: usize) {
        self.outgoing.advance(count.min(self.outgoing.len()));
        if self.outgoing.is_empty() {
            self.outgoing = BytesMut::new();
        }
    }

    /// Goes on with the handshake, as far as what came allows.
    pub fn shake(&mut self) -> Result<(), TlsError> {
        self.drive_alone(Wish::Nothing)
    }

    /// Turns what came into bytes, as far as it is whole. After an error an alert may lie in [`Layer::outgoing`].
    pub fn open(&mut self, take: impl FnMut(&[u8])) -> Result<(), TlsError> {
        self.drive(Wish::Nothing, take)
    }

    /// Turns bytes into records; says how many it took.
    pub fn seal(&mut self, bytes: &[u8]) -> Result<usize, TlsError> {
        let bytes = bytes.get(..WRITE_SIZE).unwrap_or(bytes);
        self.drive_alone(Wish::Seal(bytes))?;
        Ok(bytes.len())
    }

    /// Says that nothing more will be sent.
    pub fn close(&mut self) -> Result<(), TlsError> {
        if self.failed { Ok(()) } else { self.drive_alone(Wish::Close) }
    }

    /// Bytes that it has room for.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity() + self.early.capacity()
    }

    /// Drives while nobody takes what comes.
    fn drive_alone(&mut self, wish: Wish<'_>) -> Result<(), TlsError> {
        let mut early = self.take_early();
        let outcome = self.drive(wish, |bytes| early.extend_from_slice(bytes));
        self.early = early;
        outcome
    }

    /// Lets the library do what it has to, until it waits for the other side or has fulfilled the wish.
    fn drive(&mut self, wish: Wish<'_>, mut take: impl FnMut(&[u8])) -> Result<(), TlsError> {
        if self.failed {
            return Err(Error::HandshakeNotComplete.into());
        }
        let Self { connection, incoming, outgoing, ended, .. } = self;
        let outcome = loop {
            let (used, next) = match connection {
                Connection::Server(one) => turn(one.process_tls_records(incoming), wish, outgoing, &mut take),
                Connection::Client(one) => turn(one.process_tls_records(incoming), wish, outgoing, &mut take),
            };
            incoming.advance(used.min(incoming.len()));
            match next {
                Ok(Next::More) => {}
                Ok(Next::Ended) => *ended = true,
                Ok(Next::Done) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if outcome.is_err() {
            self.collect_alert();
            self.failed = true;
            self.incoming.clear();
        }
        self.release();
        outcome.map_err(TlsError::from)
    }

    /// After an error: what the other side is to hear of it, and nothing more. The library would read what came once more, and it
    /// remembers places in it; to take it away, or to have the same error twice, is a panic (0.23).
    fn collect_alert(&mut self) {
        let Self { connection, incoming, outgoing, .. } = self;
        let nothing = &mut |_: &[u8]| {};
        while connection.common().wants_write() {
            let (used, next) = match connection {
                Connection::Server(one) => {
                    turn(one.process_tls_records(incoming), Wish::Nothing, outgoing, nothing)
                }
                Connection::Client(one) => {
                    turn(one.process_tls_records(incoming), Wish::Nothing, outgoing, nothing)
                }
            };
            incoming.advance(used.min(incoming.len()));
            if next.is_err() {
                return;
            }
        }
    }
}

/// What is to be done as soon as it can be.
#[derive(Clone, Copy)]
enum Wish<'a> {
    Nothing,
    Seal(&'a [u8]),
    Close,
}

/// What follows one turn of the library.
enum Next {
    More,
    /// The other side sends no more.
    Ended,
    /// Nothing, until something comes.
    Done,
}

/// Does what the library asks for; says how much of what came it has used.
fn turn<D>(
    status: UnbufferedStatus<'_, '_, D>,
    wish: Wish<'_>,
    outgoing: &mut BytesMut,
    take: &mut impl FnMut(&[u8]),
) -> (usize, Result<Next, Error>) {
    let UnbufferedStatus { discard: mut used, state } = status;
    let act = || match state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                used += record.discard;
                take(record.payload);
            }
            Ok(Next::More)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            if let Err(EncodeError::InsufficientSize(short)) = data.encode(&mut []) {
                append(outgoing, short.required_size, |room| {
                    data.encode(room).map_err(|_| Error::EncryptError)
                })?;
            }
            Ok(Next::More)
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Next::More)
        }
        ConnectionState::PeerClosed => Ok(Next::Ended),
        ConnectionState::WriteTraffic(mut traffic) => {
            match wish {
                Wish::Nothing => {}
                Wish::Seal(bytes) => append(outgoing, bytes.len() + OVERHEAD, |room| {
                    traffic.encrypt(bytes, room).map_err(|_| Error::EncryptError)
                })?,
                Wish::Close => append(outgoing, OVERHEAD, |room| {
                    traffic.queue_close_notify(room).map_err(|_| Error::EncryptError)
                })?,
            }
            Ok(Next::Done)
        }
        _ if matches!(wish, Wish::Seal(_)) => Err(Error::HandshakeNotComplete),
        _ => Ok(Next::Done),
    };
    let next = act();
    (used, next)
}

/// Appends what is written into at most `size` bytes.
fn append(
    outgoing: &mut BytesMut,
    size: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
) -> Result<(), Error> {
    let before = outgoing.len();
    outgoing.resize(before + size, 0);
    let written = write(outgoing.get_mut(before..).unwrap_or_default());
    outgoing.truncate(before + written.as_ref().map_or(0, |written| *written));
    written.map(drop)
}

impl Connection {
    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("protection", &self.protection()).finish_non_exhaustive()
    }
}
