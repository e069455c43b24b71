//! The judge against a plain reading of the rules: every list walked from end to end.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::reason::Verdict;

const NOW: u64 = 1000;

/// One entry of either list.
#[derive(Debug, Clone, Copy)]
struct Entry {
    network: [u8; 4],
    length: u32,
    until: u64,
    grace_until: u64,
}

impl Entry {
    fn covers(&self, address: [u8; 4]) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.length).unwrap_or(0);
        (u32::from_be_bytes(self.network) ^ u32::from_be_bytes(address)) & mask == 0
    }
}

#[derive(Debug, Clone, Default)]
struct Lists {
    blocks: Vec<Entry>,
    nevers: Vec<Entry>,
    mode: u32,
    drop_all: bool,
}

fn address(source: Source) -> [u8; 4] {
    match source {
        Source::V4(address) => address,
        Source::V6(_) => unreachable!("these lists are IPv4"),
    }
}

impl Lists {
    fn longest(list: &[Entry], source: Source, longest: u32, hosts: bool) -> Option<(usize, &Entry)> {
        let covering = list.iter().enumerate().filter(|(_, entry)| entry.covers(address(source)));
        let fitting = covering.filter(|(_, entry)| entry.length <= longest && (entry.length == 32) == hosts);
        fitting.max_by_key(|(_, entry)| entry.length)
    }
}

impl Tables for Lists {
    type Entry = usize;

    fn settings(&self) -> (u32, bool) {
        (self.mode, self.drop_all)
    }

    fn now(&self) -> u64 {
        NOW
    }

    fn host(&self, source: Source) -> Option<Found<usize>> {
        Self::longest(&self.blocks, source, 32, true).map(found)
    }

    fn prefix(&self, source: Source, longest: u32) -> Option<Found<usize>> {
        Self::longest(&self.blocks, source, longest, false).map(found)
    }

    fn never(&self, source: Source, longest: u32) -> Option<Exempt> {
        let covering =
            self.nevers.iter().filter(|entry| entry.covers(address(source)) && entry.length <= longest);
        let entry = covering.max_by_key(|entry| entry.length)?;
        Some(Exempt { until: entry.until, prefix_len: entry.length })
    }

    fn is_protected(&self, port: u16) -> bool {
        port == 25
    }
}

fn found((entry, block): (usize, &Entry)) -> Found<usize> {
    Found { until: block.until, grace_until: block.grace_until, prefix_len: block.length, entry }
}

/// The rules, said once more in another way: is this packet dropped?
fn dropped(lists: &Lists, flow: &Flow) -> bool {
    let from = address(flow.source);
    let live = |entry: &&Entry| entry.until > NOW && entry.covers(from);
    let is_exempt = lists.nevers.iter().any(|entry| live(&entry));
    let blocks: Vec<_> = lists.blocks.iter().filter(live).collect();
    let Some(deciding) = blocks.iter().max_by_key(|block| block.length) else { return false };
    let in_grace = NOW < deciding.grace_until;
    let reaches = match flow.payload {
        Payload::NeighbourDiscovery => false,
        Payload::Other => lists.drop_all,
        Payload::LaterFragment => !in_grace,
        Payload::Tcp { port, opens } => (lists.drop_all || port == 25) && (opens || !in_grace),
    };
    reaches && !is_exempt && lists.mode == mode::ENFORCE
}

fn entry() -> impl Strategy<Value = Entry> {
    let length = prop_oneof![Just(0), Just(8), Just(16), Just(23), Just(24), Just(25), Just(31), Just(32)];
    (
        length,
        0_u32..4,
        prop_oneof![Just(0), Just(NOW), Just(NOW + 1), Just(u64::MAX)],
        prop_oneof![Just(0), Just(NOW + 1)],
    )
        .prop_map(|(length, low, until, grace_until)| {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            Entry { network: ((0x0a00_0000 | low) & mask).to_be_bytes(), length, until, grace_until }
        })
}

fn list() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(entry(), 0..10).prop_map(|mut list| {
        list.sort_by_key(|entry| (entry.network, entry.length));
        list.dedup_by_key(|entry| (entry.network, entry.length));
        list
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (prop_oneof![Just(25), Just(80)], any::<bool>())
            .prop_map(|(port, opens)| Payload::Tcp { port, opens }),
        Just(Payload::LaterFragment),
        Just(Payload::NeighbourDiscovery),
        Just(Payload::Other),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn every_nesting_is_judged_by_the_rules(
        blocks in list(), nevers in list(), drop_all: bool, observe: bool, low in 0_u32..4, payload in payload(),
    ) {
        let mode = if observe { mode::OBSERVE } else { mode::ENFORCE };
        let lists = Lists { blocks, nevers, mode, drop_all };
        let flow = Flow { source: Source::V4((0x0a00_0000 | low).to_be_bytes()), payload };
        let judgement = judge(&flow, &lists);
        prop_assert_eq!(judgement.reason.verdict() == Verdict::Drop, dropped(&lists, &flow), "{:?}", judgement);
        prop_assert_eq!(judgement.entry.is_some(), matches!(judgement.reason, Reason::DropHost | Reason::DropPrefix | Reason::Observed));
    }
}
