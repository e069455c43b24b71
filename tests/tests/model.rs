//! The program in the kernel against the rules in their plainest form, packet by packet.
//!
//! Random lists whose networks lie inside each other, with entries that have ended, graces and courtesies; random
//! frames of every form, whole and cut. Each frame's verdict is compared, and after each round the counters by reason
//! and the packets of every entry. 50,000 packets by default, `GATEPOST_MODEL_PACKETS` for more.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use filter_common::model::{Cargo, Entry, Lists, Sketch};
use filter_common::packet::Source;
use filter_common::reason::Reason;
use filter_core::decision::{Change, Origin};
use filter_core::time::Instant;
use filter_tests::world::World;
use filter_user::clock;
use filter_user::kernel::{Capacity, Filter, Settings, View};
use ipnet::IpNet;

/// Far enough from the present for a round, and not before the machine was started.
const AWAY: Duration = Duration::from_secs(20);
const PACKETS_PER_ROUND: usize = 250;
const PORT: u16 = 25;

/// Few bits that differ, high and low, so that networks of every length lie inside each other.
fn source(rng: &mut Rng) -> Source {
    let mut bit = || u8::from(rng.bool());
    if bit() == 0 {
        Source::V4([10, bit(), bit(), bit() << 7 | bit()])
    } else {
        Source::V6([0x20, 1, bit(), bit() << 7, 0, bit(), 0, bit() << 7, 0, 0, 0, 0, 0, 0, 0, bit()])
    }
}

fn network(source: Source, length: u32) -> Result<IpNet> {
    let address = match source {
        Source::V4(address) => IpAddr::from(address),
        Source::V6(address) => IpAddr::from(address),
    };
    Ok(IpNet::new(address, u8::try_from(length)?)?.trunc())
}

/// Entries of which no two are for the same network.
fn list(rng: &mut Rng, most: usize, now: Instant, courtesy: u32) -> Result<BTreeMap<IpNet, Entry>> {
    let mut list = BTreeMap::new();
    for _ in 0..rng.usize(0..=most) {
        let from = source(rng);
        let longest = if matches!(from, Source::V4(_)) { 32 } else { 128 };
        let common = [24, 32, 48, 64, 128, 31, 63, 65];
        let length =
            if rng.bool() { rng.u32(0..=longest) } else { rng.choice(common).unwrap_or(0).min(longest) };
        let has_ended = rng.u8(0..4) == 0;
        let until = if has_ended { now.before(AWAY) } else { now.after(AWAY) };
        let in_grace = rng.u8(0..3) == 0;
        let entry = Entry {
            network: from,
            length,
            until: until.as_nanos(),
            grace_until: Cell::new(if in_grace { now.after(AWAY) } else { now.before(AWAY) }.as_nanos()),
            courtesy: Cell::new(courtesy),
            packets: Cell::new(0),
        };
        list.insert(network(from, length)?, entry);
    }
    Ok(list)
}

fn sketch(rng: &mut Rng) -> Sketch {
    let cargo = match rng.u8(0..8) {
        0 => Cargo::LaterFragment,
        1 => Cargo::NeighbourDiscovery,
        2 => Cargo::Other,
        _ => Cargo::Tcp { port: if rng.u8(0..4) == 0 { 80 } else { PORT }, opens: rng.bool() },
    };
    Sketch {
        from: (rng.u8(0..40) != 0).then(|| source(rng)),
        tags: if rng.bool() { 0 } else { rng.usize(0..=3) },
        extras: if rng.bool() { 0 } else { rng.usize(0..=10) },
        cargo,
        first_fragment: rng.u8(0..6) == 0,
        // Now and then a jumbo frame in several buffers.
        padding: if rng.u8(0..100) == 0 { 9000 } else { rng.usize(0..64) },
        keep: (rng.u8(0..6) == 0).then(|| rng.usize(0..160)),
    }
}

/// How an entry's grace is written: the filter adds its own grace to the beginning of a block.
fn change(network: IpNet, entry: &Entry) -> Change {
    Change::Block {
        network,
        since: Instant::from_nanos(entry.grace_until.get()).before(AWAY),
        until: Instant::from_nanos(entry.until),
        origin: Origin::Manual,
    }
}

fn never(network: IpNet, entry: &Entry) -> Change {
    Change::Never { network, until: Instant::from_nanos(entry.until), built_in: false }
}

fn apply(filter: &mut Filter, changes: &[Change]) -> Result<()> {
    let refused = filter.apply(changes);
    ensure!(refused.is_empty(), "the kernel refused {refused:?}");
    Ok(())
}

fn counters(view: &View) -> Result<BTreeMap<&'static str, u64>> {
    Ok(view.counters()?.into_iter().map(|counter| (counter.reason, counter.packets)).collect())
}

/// One set of lists, and packets against it.
fn round(filter: &mut Filter, view: &View, rng: &mut Rng, settings: &Settings) -> Result<()> {
    let now = clock::instant();
    let blocks = list(rng, 24, now, settings.courtesy_replies)?;
    let nevers = list(rng, 8, now, 0)?;
    let mut wanted: Vec<_> = blocks.iter().map(|(network, entry)| change(*network, entry)).collect();
    wanted.extend(nevers.iter().map(|(network, entry)| never(*network, entry)));
    apply(filter, &wanted)?;
    let lists = Lists {
        blocks: blocks.values().cloned().collect(),
        nevers: nevers.values().cloned().collect(),
        now: now.as_nanos(),
        observe: settings.observe,
        drop_all: settings.drop_all,
        port: PORT,
    };
    let before = counters(view)?;
    let mut expected = BTreeMap::<&str, u64>::new();
    for _ in 0..PACKETS_PER_ROUND {
        let sketch = sketch(rng);
        let reason: Reason = lists.expected(&sketch);
        let (verdict, _) = filter.try_on(&sketch.frame(), 1)?;
        ensure!(verdict == reason.verdict(), "{sketch:?} is {verdict:?} instead of {reason:?} by {lists:?}");
        *expected.entry(reason.name()).or_default() += 1;
    }
    for (reason, after) in counters(view)? {
        let counted = after - before[reason];
        let wanted = expected.get(reason).copied().unwrap_or(0);
        ensure!(counted == wanted, "{counted} packets were {reason}, not {wanted}, by {lists:?}");
    }
    let dump = view.dump(None)?;
    ensure!(
        dump.blocks.len() == blocks.len() && dump.never.len() == nevers.len(),
        "the kernel holds {dump:?}"
    );
    for (block, (network, entry)) in dump.blocks.iter().zip(blocks.keys().zip(&lists.blocks)) {
        ensure!(block.network == *network, "{} instead of {network}", block.network);
        ensure!(block.packets == entry.packets.get(), "{} packets of {entry:?}", block.packets);
    }
    let gone: Vec<_> =
        blocks.into_keys().map(Change::Unblock).chain(nevers.into_keys().map(Change::ForgetNever)).collect();
    apply(filter, &gone)
}

#[test]
fn the_kernel_judges_every_packet_by_the_rules() -> Result<()> {
    let packets = match std::env::var("GATEPOST_MODEL_PACKETS") {
        Ok(text) => text.parse().context("GATEPOST_MODEL_PACKETS is not a number")?,
        Err(_) => 50_000_usize,
    };
    let seed = fastrand::u64(..);
    println!("seed {seed}, {packets} packets");
    let mut rng = Rng::with_seed(seed);
    let world = World::new()?;
    let variants =
        [(false, false, 0), (false, true, 2), (true, false, 1), (false, false, 2), (false, true, 0)];
    for (observe, drop_all, courtesy_replies) in variants {
        let settings = Settings {
            pin_directory: world.pins().to_path_buf(),
            observe,
            drop_all,
            protected_ports: vec![PORT],
            grace: AWAY,
            courtesy_replies,
            capacity: Capacity::default(),
        };
        let mut filter = Filter::load(&settings)?;
        let view = View::open(world.pins())?;
        let mut done = 0;
        while done < packets / variants.len() {
            round(&mut filter, &view, &mut rng, &settings).with_context(|| format!("seed {seed}"))?;
            done += PACKETS_PER_ROUND;
        }
        let left: Vec<_> = view.maps()?.into_iter().filter(|map| map.entries > 0).collect();
        ensure!(left.is_empty(), "every entry is gone, and the maps still hold {left:?}");
    }
    Ok(())
}
