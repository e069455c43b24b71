//! The PROXY header that a load balancer puts before a connection: who the client is, and where it wanted to go.
//!
//! It is read only from those who are listed for it, and required of them: a receiver must not guess (section 2 of the
//! protocol's text). Nothing behind it is taken out of the socket, since that is the client's, or TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a header may take; the protocol's text asks for 3 seconds at least.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest header of version 2 that is read; addresses take 52 bytes, the rest are extensions.
const HEADER_LIMIT: usize = 4096;
/// Longest header of version 1 (section 2.1).
const LINE_LIMIT: usize = 107;
/// The first bytes of version 2 (section 2.2), which version 1 cannot begin with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, and the length of what follows.
const FIXED: usize = 16;

/// Both ends of a connection, as the client knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// Who connects.
    pub(super) client: SocketAddr,
    /// Where to.
    pub(super) local: SocketAddr,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("no PROXY header came within {HEADER_TIMEOUT:?}")]
    Late,
    #[error("the connection ended before its PROXY header")]
    Ended,
    #[error("what came is no PROXY header of at most {HEADER_LIMIT} bytes")]
    Malformed,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Reads the header of a connection; `own` are the ends of the connection itself.
pub(super) async fn read(stream: &mut TcpStream, own: Peer) -> Result<Peer, HeaderError> {
    timeout(HEADER_TIMEOUT, take(stream, own)).await.map_err(|_| HeaderError::Late)?
}

async fn take(stream: &mut TcpStream, own: Peer) -> Result<Peer, HeaderError> {
    let mut header = Vec::with_capacity(LINE_LIMIT);
    let mut piece = [0; HEADER_LIMIT];
    loop {
        let seen = match stream.peek(&mut piece).await? {
            0 => return Err(HeaderError::Ended),
            seen => seen,
        };
        let before = header.len();
        header.extend_from_slice(piece.get(..seen).unwrap_or_default());
        let end = end(&header)?;
        let count = end.map_or(seen, |end| end.saturating_sub(before).min(seen));
        stream.read_exact(piece.get_mut(..count).unwrap_or_default()).await?;
        if let Some(end) = end {
            return parse(header.get(..end).unwrap_or_default(), own).ok_or(HeaderError::Malformed);
        }
    }
}

/// Where a header ends; none: more must come. What cannot become a header is an error at once.
fn end(bytes: &[u8]) -> Result<Option<usize>, HeaderError> {
    let alike = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    if alike(SIGNATURE) {
        let Some(&[high, low]) = bytes.get(FIXED - 2..FIXED) else { return Ok(None) };
        let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
        return match length {
            ..=HEADER_LIMIT => Ok((bytes.len() >= length).then_some(length)),
            _ => Err(HeaderError::Malformed),
        };
    }
    if !alike(b"PROXY ") {
        return Err(HeaderError::Malformed);
    }
    let line = bytes.get(..LINE_LIMIT).unwrap_or(bytes);
    match line.iter().position(|byte| *byte == b'\n') {
        Some(place) => Ok(Some(place + 1)),
        None if bytes.len() < LINE_LIMIT => Ok(None),
        None => Err(HeaderError::Malformed),
    }
}

/// What a whole header says. `LOCAL` and `UNKNOWN` are the balancer speaking for itself, such as a health check.
fn parse(header: &[u8], own: Peer) -> Option<Peer> {
    let peer = |client: SocketAddr, local: SocketAddr| {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Peer { client: canonical(client), local: canonical(local) }
    };
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Some(match header.addresses {
            v1::Addresses::Tcp4(of) => peer(
                (of.source_address, of.source_port).into(),
                (of.destination_address, of.destination_port).into(),
            ),
            v1::Addresses::Tcp6(of) => peer(
                (of.source_address, of.source_port).into(),
                (of.destination_address, of.destination_port).into(),
            ),
            v1::Addresses::Unknown => own,
        }),
        HeaderResult::V2(Ok(header)) => match (header.command, header.protocol, header.addresses) {
            (v2::Command::Local, ..) => Some(own),
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(of)) => Some(peer(
                (of.source_address, of.source_port).into(),
                (of.destination_address, of.destination_port).into(),
            )),
            (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(of)) => Some(peer(
                (of.source_address, of.source_port).into(),
                (of.destination_address, of.destination_port).into(),
            )),
            // A client without an address of the internet has none that could be judged.
            (v2::Command::Proxy, ..) => None,
        },
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    fn own() -> Peer {
        Peer { client: "10.0.0.1:1".parse().unwrap(), local: "10.0.0.2:25".parse().unwrap() }
    }

    fn parsed(header: &[u8]) -> Option<Peer> {
        assert_eq!(end(header).unwrap(), Some(header.len()));
        parse(header, own())
    }

    const V2: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x19\x04\x00\x01x";

    #[test]
    fn both_versions_name_the_client() {
        let expected =
            Peer { client: "192.0.2.7:4711".parse().unwrap(), local: "198.51.100.1:25".parse().unwrap() };
        assert_eq!(parsed(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"), Some(expected));
        assert_eq!(parsed(V2), Some(expected));
        let v6 = parsed(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n").unwrap();
        assert_eq!(v6.client, "[2001:db8::7]:4711".parse().unwrap());
        let mapped = parsed(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4711 25\r\n").unwrap();
        assert_eq!(mapped, expected, "a client is its canonical address");
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        assert_eq!(parsed(b"PROXY UNKNOWN\r\n"), Some(own()));
        assert_eq!(parsed(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"), Some(own()));
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_known() {
        for bytes in [
            &b"E"[..],
            b"EHLO x\r\n",
            b"PROXX",
            b"\r\n\r\n\0\r\nQUIX",
            &[b"PROXY ", &[b'1'; 101][..]].concat(),
        ] {
            assert!(end(bytes).is_err(), "{bytes:?}");
        }
        assert!(end(&[SIGNATURE, b"\x21\x11\xff\xff"].concat()).is_err(), "longer than anybody needs");
        for header in [
            &b"PROXY TCP4 192.0.2.7\r\n"[..],
            b"PROXY TCP4 a b 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n",
        ] {
            assert_eq!(parsed(header), None, "{header:?}");
        }
        let datagram =
            [SIGNATURE, b"\x21\x12\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x19"].concat();
        assert_eq!(parsed(&datagram), None);
    }

    #[tokio::test]
    async fn what_follows_the_header_stays_in_the_socket_however_it_comes() -> anyhow::Result<()> {
        for header in [b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n", V2] {
            for cut in [1, 6, 12, 15, header.len() - 1, header.len()] {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let mut balancer = TcpStream::connect(listener.local_addr()?).await?;
                let (mut accepted, _) = listener.accept().await?;
                let whole = [header, b"EHLO a\r\n"].concat();
                let (first, rest) = whole.split_at(cut);
                balancer.write_all(first).await?;
                let reading = tokio::spawn(async move { (read(&mut accepted, own()).await, accepted) });
                tokio::task::yield_now().await;
                balancer.write_all(rest).await?;
                balancer.shutdown().await?;
                let (peer, stream) = reading.await?;
                let mut accepted = stream;
                assert_eq!(peer?.client, "192.0.2.7:4711".parse()?);
                let mut left = String::new();
                accepted.read_to_string(&mut left).await?;
                assert_eq!(left, "EHLO a\r\n");
            }
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_that_ends_or_speaks_smtp_has_no_header() -> anyhow::Result<()> {
        for (said, expected) in
            [(&b""[..], "ended"), (b"PROXY TCP4", "ended"), (b"EHLO a\r\n", "no PROXY header")]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let mut balancer = TcpStream::connect(listener.local_addr()?).await?;
            let (mut accepted, _) = listener.accept().await?;
            balancer.write_all(said).await?;
            drop(balancer);
            let error = read(&mut accepted, own()).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_than_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), which in 0..3_usize) {
            let bytes = [[&b""[..], SIGNATURE, b"PROXY "][which], &bytes[..]].concat();
            if let Ok(Some(end)) = end(&bytes) {
                prop_assert!(end <= bytes.len());
                let _ = parse(&bytes[..end], own());
            }
        }
    }
}
