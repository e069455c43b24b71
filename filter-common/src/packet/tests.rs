//! Frames of every form, cut at every length.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const V4: [u8; 4] = [192, 0, 2, 7];
const V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

fn ethernet(tags: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = std::vec![0xee; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 5]);
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

fn ipv4_packet(options: usize, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = std::vec![0x45 + u8::try_from(options).unwrap(), 0, 0, 0, 0, 0];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(V4);
    packet.extend([198, 51, 100, 1]);
    packet.extend(std::vec![1; options * 4]);
    packet.extend(payload);
    packet
}

fn ipv6_packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = std::vec![0x60, 0, 0, 0, 0, 0, next, 64];
    packet.extend(V6);
    packet.extend([0; 16]);
    packet.extend(payload);
    packet
}

fn segment(port: u16, flags: u8) -> Vec<u8> {
    let mut segment = std::vec![0x12, 0x34];
    segment.extend(port.to_be_bytes());
    segment.extend([0; 8]);
    segment.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    segment
}

fn check(frame: &[u8], source: Source, payload: Payload) {
    assert_eq!(read(frame), Some((source, Some(payload))));
}

/// The sender, and what the packet carries if that can be read.
fn read(frame: &[u8]) -> Option<(Source, Option<Payload>)> {
    match parse(frame) {
        Parsed::Packet(packet) => {
            assert_eq!(Packet::from_numbers(packet.to_numbers()), packet);
            Some((packet.source(), packet.payload(frame)))
        }
        Parsed::NotIp | Parsed::Unparsed => None,
    }
}

const OPENS: Payload = Payload::Tcp { port: 25, opens: true };

#[test]
fn plain_and_tagged_frames_are_read() {
    for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
        check(&ethernet(tags, 0x0800, &ipv4_packet(0, 0, 6, &segment(25, SYN))), Source::V4(V4), OPENS);
        check(&ethernet(tags, 0x86dd, &ipv6_packet(6, &segment(25, SYN))), Source::V6(V6), OPENS);
    }
    let three = ethernet(&[0x88a8, 0x8100, 0x8100], 0x0800, &ipv4_packet(0, 0, 6, &segment(25, SYN)));
    assert_eq!(parse(&three[..]), Parsed::Unparsed);
}

#[test]
fn only_a_syn_without_ack_opens() {
    for (flags, opens) in [(SYN, true), (SYN | ACK, false), (ACK, false), (SYN | 0x40, true), (0x04, false)] {
        let frame = ethernet(&[], 0x0800, &ipv4_packet(0, 0, 6, &segment(25, flags)));
        check(&frame, Source::V4(V4), Payload::Tcp { port: 25, opens });
    }
}

#[test]
fn options_and_extension_headers_are_skipped() {
    check(&ethernet(&[], 0x0800, &ipv4_packet(10, 0, 6, &segment(25, SYN))), Source::V4(V4), OPENS);
    let mut chain = std::vec![43, 0, 0, 0, 0, 0, 0, 0]; // hop by hop, then routing
    chain.extend([51, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // routing of 16 bytes, then authentication
    chain.extend([44, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // 24 bytes, then fragment
    chain.extend([6, 0, 0, 1, 0, 0, 0, 0]); // the first fragment
    chain.extend(segment(25, SYN));
    check(&ethernet(&[], 0x86dd, &ipv6_packet(0, &chain)), Source::V6(V6), OPENS);
    let endless = [60, 0, 0, 0, 0, 0, 0, 0].repeat(20);
    check(&ethernet(&[], 0x86dd, &ipv6_packet(60, &endless)), Source::V6(V6), Payload::LaterFragment);
}

#[test]
fn later_fragments_are_told_apart() {
    let v4 = ethernet(&[], 0x0800, &ipv4_packet(0, 0x2001, 6, &segment(25, SYN)));
    check(&v4, Source::V4(V4), Payload::LaterFragment);
    let first = ethernet(&[], 0x0800, &ipv4_packet(0, 0x2000, 6, &segment(25, SYN)));
    check(&first, Source::V4(V4), OPENS);
    let short_first = ethernet(&[], 0x0800, &ipv4_packet(0, 0x2000, 6, &segment(25, SYN)[..8]));
    check(&short_first, Source::V4(V4), Payload::Tcp { port: 25, opens: false });
    let v6 = ethernet(&[], 0x86dd, &ipv6_packet(44, &[6, 0, 0, 8, 0, 0, 0, 0, 9, 9]));
    check(&v6, Source::V6(V6), Payload::LaterFragment);
}

#[test]
fn what_is_not_tcp_is_told_apart() {
    check(&ethernet(&[], 0x0800, &ipv4_packet(0, 0, 17, &[0; 8])), Source::V4(V4), Payload::Other);
    for kind in [132, 138, 128] {
        check(&ethernet(&[], 0x86dd, &ipv6_packet(58, &[kind, 0])), Source::V6(V6), Payload::Other);
    }
    for kind in 133..=137 {
        check(
            &ethernet(&[], 0x86dd, &ipv6_packet(58, &[kind, 0])),
            Source::V6(V6),
            Payload::NeighbourDiscovery,
        );
    }
    assert_eq!(parse(&ethernet(&[], 0x0806, &[0; 28])[..]), Parsed::NotIp);
    for strange in [ipv6_packet(6, &[0; 20]), std::vec![0x41; 40]] {
        let payload = read(&ethernet(&[], 0x0800, &strange)).and_then(|(_, payload)| payload);
        assert_eq!(payload, None, "{strange:?}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_read_the_same_or_not_at_all() {
    let frames = [
        ethernet(&[0x8100], 0x0800, &ipv4_packet(3, 0, 6, &segment(25, ACK))),
        ethernet(&[], 0x86dd, &ipv6_packet(0, &[&[6, 0, 0, 0, 0, 0, 0, 0][..], &segment(25, ACK)].concat())),
    ];
    for frame in frames {
        let (source, whole) = read(&frame).unwrap();
        assert!(whole.is_some());
        for length in 0..frame.len() {
            // Flags may be missing: a first fragment may end behind the ports.
            let same = |payload| {
                payload == whole || matches!(payload, None | Some(Payload::Tcp { opens: false, .. }))
            };
            let cut = read(&frame[..length]);
            assert!(cut.is_none_or(|(from, payload)| from == source && same(payload)), "{length}: {cut:?}");
        }
    }
}

proptest! {
    #[test]
    fn noise_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in prop::sample::select(std::vec![0x0800_u16, 0x86dd, 0x8100, 0])) {
        let _ = read(&bytes);
        let _ = read(&ethernet(&[], kind, &bytes));
    }
}
