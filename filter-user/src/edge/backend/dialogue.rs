//! Asking a mail server something before the session begins there: one command, one reply.

use bytes::{Buf, BytesMut};
use filter_core::offence::printable;
use filter_core::smtp::reply;

use super::server::{OpenError, Opened};
use crate::edge::stream::{Flow, Stream};

/// A reply, kept.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) code: u16,
    /// All its lines.
    pub(super) bytes: Vec<u8>,
}

impl Heard {
    /// Its beginning, safe for a log.
    pub(super) fn text(&self) -> String {
        printable(&self.bytes)
    }
}

/// A connection and what has been read of it. The reply's own bounds are those of the buffer.
#[derive(Debug)]
pub(super) struct Dialogue {
    stream: Stream,
    buffer: BytesMut,
}

impl Dialogue {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Waits for a whole reply.
    pub(super) async fn read(&mut self) -> Result<Heard, OpenError> {
        loop {
            match reply::front(&self.buffer) {
                Ok(Some(reply)) => {
                    let heard = Heard { code: reply.code, bytes: reply.bytes.to_vec() };
                    self.buffer.advance(heard.bytes.len());
                    return Ok(heard);
                }
                Ok(None) => {}
                Err(reply::Malformed) => return Err(OpenError::Malformed),
            }
            let Self { stream, buffer } = self;
            if stream.read(|bytes| buffer.extend_from_slice(bytes)).await? == Flow::Ended {
                return Err(OpenError::Closed);
            }
        }
    }

    /// Sends a line and waits for the reply.
    pub(super) async fn ask(&mut self, line: &str) -> Result<Heard, OpenError> {
        self.stream.write_all(line.as_bytes()).await?;
        self.read().await
    }

    /// The connection, if nothing has come that was not asked for.
    pub(super) fn bare(&mut self) -> Option<&mut Stream> {
        self.buffer.is_empty().then_some(&mut self.stream)
    }

    /// The connection, with what the client is to hear first: this reply, and what came behind it.
    pub(super) fn into_opened(self, said: Heard) -> Opened {
        Opened { stream: self.stream, said: [said.bytes, self.buffer.to_vec()].concat() }
    }
}
