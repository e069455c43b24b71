//! The judge against the rules in their plainest form, on frames that the parser has read.

extern crate std;

use core::cell::Cell;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::model::{Cargo, Entry, Lists, Sketch};
use crate::packet::{Parsed, parse};

const NOW: u64 = 1_000_000;

fn source() -> impl Strategy<Value = Source> {
    // Few bits that differ, high and low, so that networks of every length lie inside each other.
    let v4 = (0_u8..2, 0_u8..4).prop_map(|(high, low)| Source::V4([10, high, 0, low]));
    let v6 = (0_u8..2, 0_u8..4, 0_u8..2).prop_map(|(high, middle, low)| {
        Source::V6([0x20, 1, high, 0, 0, 0, 0, middle, 0, 0, 0, 0, 0, 0, 0, low])
    });
    prop_oneof![v4, v6]
}

fn entry() -> impl Strategy<Value = Entry> {
    let ends = prop_oneof![Just(0), Just(NOW), Just(NOW + 1), Just(u64::MAX)];
    let graces = prop_oneof![3 => Just(0), 1 => Just(NOW + 1)];
    let lengths = prop_oneof![0_u32..=128, Just(32), Just(64), Just(24), Just(31), Just(128), Just(63)];
    (source(), lengths, ends, graces, 0_u32..2).prop_map(|(network, length, until, grace_until, courtesy)| {
        let longest = if let Source::V4(_) = network { 32 } else { 128 };
        Entry {
            network,
            length: length.min(longest),
            until,
            grace_until: Cell::new(grace_until),
            courtesy: Cell::new(courtesy),
            packets: Cell::new(0),
        }
    })
}

/// Entries of which no two are for the same network.
fn list() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(entry(), 0..12).prop_map(|list| {
        let mut distinct: Vec<Entry> = Vec::new();
        for entry in list {
            let is_known = |known: &Entry| known.length == entry.length && known.covers(entry.network);
            if !distinct.iter().any(is_known) {
                distinct.push(entry);
            }
        }
        distinct
    })
}

fn cargo() -> impl Strategy<Value = Cargo> {
    let tcp = (prop_oneof![3 => Just(25_u16), 1 => Just(80)], any::<bool>());
    prop_oneof![
        4 => tcp.prop_map(|(port, opens)| Cargo::Tcp { port, opens }),
        1 => Just(Cargo::LaterFragment),
        1 => Just(Cargo::NeighbourDiscovery),
        1 => Just(Cargo::Other),
    ]
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let from = prop_oneof![30 => source().prop_map(Some), 1 => Just(None)];
    let keep = prop_oneof![4 => Just(None), 1 => (0_usize..140).prop_map(Some)];
    (from, 0_usize..4, 0_usize..11, cargo(), any::<bool>(), 0_usize..64, keep).prop_map(
        |(from, tags, extras, cargo, first_fragment, padding, keep)| Sketch {
            from,
            tags,
            extras,
            cargo,
            first_fragment,
            padding,
            keep,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn every_packet_against_every_nesting_is_judged_by_the_rules(
        blocks in list(), nevers in list(), observe: bool, drop_all: bool, sketch in sketch(),
    ) {
        let rules = Lists { blocks, nevers, now: NOW, observe, drop_all, port: 25 };
        let tables = rules.clone();
        let expected = rules.expected(&sketch);
        let frame = sketch.frame();
        let reason = match parse(&frame[..]) {
            Parsed::NotIp => Reason::NotIp,
            Parsed::Unparsed => Reason::Unparsed,
            Parsed::Packet(packet) => {
                let judgement = judge(packet.source(), || packet.payload(&frame[..]), &&tables);
                if let Some(entry) = judgement.entry {
                    entry.packets.set(entry.packets.get() + 1);
                }
                judgement.reason
            }
        };
        prop_assert_eq!(reason, expected);
        for (rule, table) in rules.blocks.iter().zip(&tables.blocks) {
            prop_assert_eq!(rule.packets.get(), table.packets.get(), "another entry was counted than {:?}", rule);
            prop_assert_eq!(rule.courtesy.get(), table.courtesy.get());
        }
    }
}
