//! Telling a mail server who the client is.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};

use crate::config::ClientAddress;
use crate::edge::header::Peer;

/// The PROXY header of a connection, if there is one. Both ends are in the same family: a listener on `[::]` sees IPv4
/// clients as mapped addresses. Without a client, it is our own connection (`LOCAL`, `UNKNOWN`).
pub(super) fn header(how: ClientAddress, peer: Option<Peer>) -> io::Result<Option<Vec<u8>>> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let ends = peer.map(|peer| (canonical(peer.client), canonical(peer.local)));
    Ok(match (how, ends) {
        (ClientAddress::ProxyV2, Some(ends)) => Some(
            v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, ends)
                .build()?,
        ),
        (ClientAddress::ProxyV2, None) => Some(
            v2::Builder::new(
                v2::Version::Two | v2::Command::Local,
                v2::AddressFamily::Unspecified | v2::Protocol::Unspecified,
            )
            .build()?,
        ),
        (ClientAddress::ProxyV1, Some(ends)) => Some(v1::Addresses::from(ends).to_string().into_bytes()),
        (ClientAddress::ProxyV1, None) => Some(v1::Addresses::Unknown.to_string().into_bytes()),
        (ClientAddress::Xclient | ClientAddress::None, _) => None,
    })
}

/// The XCLIENT command for a client, with the attributes that the mail server offers; none: it does not offer to be told
/// the address. The address stands last: behind it the mail server may no longer trust us. HELO and PROTO are not told,
/// since the client's own EHLO follows.
pub(super) fn xclient(offer: &[u8], peer: Peer) -> Option<String> {
    let offered: Vec<_> = offer
        .split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| std::str::from_utf8(line.get(4..)?).ok())
        .map(|line| line.split_ascii_whitespace().map(str::to_ascii_uppercase).collect::<Vec<_>>())
        .find(|words| words.first().is_some_and(|word| word == "XCLIENT"))?;
    let has = |name: &str| offered.iter().skip(1).any(|word| word == name);
    let mut command = "XCLIENT".to_owned();
    if has("NAME") {
        command.push_str(" NAME=[UNAVAILABLE]");
    }
    if has("PORT") {
        command.extend([" PORT=", &peer.client.port().to_string()]);
    }
    let address = match peer.client.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("IPV6:{address}"),
    };
    command.extend([" ADDR=", &address, "\r\n"]);
    has("ADDR").then_some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(client: &str, local: &str) -> Peer {
        Peer { client: client.parse().unwrap(), local: local.parse().unwrap() }
    }

    #[test]
    fn the_header_is_the_protocols_own_layout() {
        let mapped = peer("[::ffff:192.0.2.7]:4711", "[::ffff:198.51.100.1]:25");
        let bytes = header(ClientAddress::ProxyV2, Some(mapped)).unwrap().unwrap();
        let expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x19";
        assert_eq!(bytes, expected);
        let six = peer("[2001:db8::7]:1", "[2001:db8::1]:25");
        let v6 = header(ClientAddress::ProxyV2, Some(six)).unwrap().unwrap();
        assert_eq!((v6.len(), v6[13], v6[15]), (52, 0x21, 36));
        let line = |peer| String::from_utf8(header(ClientAddress::ProxyV1, peer).unwrap().unwrap()).unwrap();
        assert_eq!(line(Some(mapped)), "PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n");
        assert_eq!(line(Some(six)), "PROXY TCP6 2001:db8::7 2001:db8::1 1 25\r\n");
        assert_eq!(header(ClientAddress::None, Some(six)).unwrap(), None);
    }

    #[test]
    fn our_own_connections_name_nobody() {
        let local = header(ClientAddress::ProxyV2, None).unwrap().unwrap();
        assert_eq!(local, b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
        assert_eq!(header(ClientAddress::ProxyV1, None).unwrap().unwrap(), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn xclient_tells_what_is_asked_for_and_the_address_last() {
        let four = peer("[::ffff:192.0.2.7]:4711", "[::]:25");
        let offer = b"250-mail.example\r\n250-PIPELINING\r\n250 xclient NAME addr PROTO HELO PORT\r\n";
        assert_eq!(
            xclient(offer, four).as_deref(),
            Some("XCLIENT NAME=[UNAVAILABLE] PORT=4711 ADDR=192.0.2.7\r\n")
        );
        let six = peer("[2001:db8::7]:1", "[::]:25");
        let six = xclient(b"250-mail.example\r\n250 XCLIENT ADDR\r\n", six);
        assert_eq!(six.as_deref(), Some("XCLIENT ADDR=IPV6:2001:db8::7\r\n"));
        for offer in [&b"250 XCLIENT ADDR\r\n"[..], b"250-a\r\n250 XCLIENT NAME\r\n", b"502 no\r\n", b""] {
            assert_eq!(xclient(offer, four), None);
        }
    }
}
