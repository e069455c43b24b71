//! Real frames of blocked sources over a veth pair: how many are dropped in a second, and at what price.
//!
//! One processor sends, the other receives: the receiving interface's poll runs in a thread of its own (threaded NAPI),
//! whose processor time the scheduler counts to the nanosecond. So the price of a dropped packet is known even where the
//! sender is the slower of the two.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use filter_common::packet::Source;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::choice::Choice;
use super::crowd::{Crowd, Family, frame};
use super::report::{Cell, Report, Table, count};
use super::rig::Rig;
use super::rival::Rival;
use super::sample::Sample;
use crate::world::{OUT, WAN, World};

/// Lengths of the list, and how many of its entries send.
const FLOODS: [(usize, usize); 4] = [(1, 1), (10_000, 10_000), (1_000_000, 1024), (1_000_000, 1_000_000)];
/// Rounds for each of them.
const ROUNDS: usize = 3;
/// Length of a round.
const ROUND: Duration = Duration::from_millis(500);
/// Frames of one call, of which a round has many.
const FRAMES: u32 = 1 << 17;
/// Turns of an empty loop for which a paced sender idles before each frame.
const PAUSE: u32 = 300;
/// Frames that must all be dropped before anything is measured; as many as the receiving ring has room for at once.
const PROBES: u32 = 128;
/// How long these may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long the last frames of a round may take to arrive.
const SETTLE: Duration = Duration::from_millis(20);
/// The processor that sends, and the one that receives.
pub(super) const PROCESSORS: [usize; 2] = [0, 1];
/// What the frames are addressed to.
const MAC: &str = "02:02:02:02:02:02";

const NOTE: &str = "\
SYNs of blocked IPv4 sources to port 25, 74 bytes, sent by BPF_PROG_TEST_RUN live frames on one processor into a veth
pair; median of 3 rounds of half a second. dropped: million packets a second, by the dropper's own counter. CPU: share of
the receiving processor (threaded NAPI). ns: its processor time per dropped packet, of which `everything` (an XDP program
that counts and drops) is the floor, and `one load` (the same after a load from 64 bytes for each entry) the floor of
whatever remembers all entries. full: million packets a second that this would be at a whole processor. paced: ns where the
sender idles for 300 turns of an empty loop before each frame, and overruns only those that are slower than that.";

/// One round.
struct Round {
    dropped: f64,
    share: f64,
    nanos: f64,
}

/// Measures everybody against everything, or what is wanted of both.
pub fn measure(report: &mut Report, wanted: &Choice) -> Result<()> {
    let heads = ["entries", "senders", "dropper", "dropped", "CPU %", "ns", "full", "paced"];
    let mut table = Table::new("a flood of blocked sources", NOTE, &heads);
    for (size, senders) in FLOODS.into_iter().filter(|(size, _)| wanted.has_number(*size)) {
        for rival in Rival::ALL.into_iter().filter(|rival| wanted.has(rival.name())) {
            let mut row = vec![
                Cell::Text(count(size)),
                Cell::Text(count(senders)),
                Cell::Text(rival.name().to_owned()),
            ];
            if rival.most() < size {
                row.extend(["cannot hold", "", "", "", ""].map(Cell::Missing));
            } else {
                row.extend(flood(rival, size, senders).with_context(|| rival.name())?);
            }
            // Told at once, too: the whole takes minutes.
            println!("wire: {}", row.iter().map(Cell::print).collect::<Vec<_>>().join(", "));
            table.row(row);
        }
    }
    report.add(&table);
    Ok(())
}

fn flood(rival: Rival, size: usize, senders: usize) -> Result<Vec<Cell>> {
    let world = World::new()?;
    receive(&world)?;
    let threads = threaded(&world)?;
    let mut crowd = Crowd::new(Family::V4);
    let listed = crowd.grow(size);
    let mut sources = crowd.blocked(senders);
    sources = sources.into_iter().cycle().take(senders.next_power_of_two()).collect();
    let mut dropper = rival.prepare(&world, &listed)?;
    let threads = threads.start(PROCESSORS[1])?;
    let mut sender = Rig::load(sources.len(), 0)?;
    let frame = frame(sources[0]);
    let (mut dropped, mut share, mut nanos) = (Sample::default(), Sample::default(), Sample::default());
    let mut paced = Sample::default();
    world.internet.enter(|| {
        pin(0, PROCESSORS[0])?;
        seat(&mut sender, &sources, OUT)?;
        let before = dropper.dropped(&world)?;
        sender.send(&frame, PROBES)?;
        std::thread::sleep(PATIENCE);
        let first = dropper.dropped(&world)? - before;
        // The floor also drops what the interfaces themselves say to each other.
        ensure!(first >= u64::from(PROBES), "it dropped {first} of {PROBES} packets");
        let mut before = before + first;
        let mut count = || {
            let now = dropper.dropped(&world)?;
            Ok(now - std::mem::replace(&mut before, now))
        };
        for _ in 0..ROUNDS {
            sender.pause(0)?;
            let hurried = round(&mut sender, &frame, &threads, &mut count)?;
            dropped.add(hurried.dropped / 1e6);
            share.add(hurried.share * 100.0);
            nanos.add(hurried.nanos);
            sender.pause(PAUSE)?;
            paced.add(round(&mut sender, &frame, &threads, &mut count)?.nanos);
        }
        Ok(())
    })?;
    Ok(vec![
        Cell::Figure(dropped.median(), 2),
        Cell::Figure(share.median(), 0),
        Cell::Figure(nanos.median(), 0),
        Cell::Figure(1e3 / nanos.median(), 2),
        Cell::Figure(paced.median(), 0),
    ])
}

/// Lets the gateway take frames that come from no socket.
pub(super) fn receive(world: &World) -> Result<()> {
    world.gateway.ip(&["link", "set", WAN, "address", MAC])?;
    // Without a poll, which comes with GRO or an XDP program, a veth takes no frames of this kind.
    world.gateway.run("ethtool", &["-K", WAN, "gro", "on"])
}

/// Lets these sources take turns through an interface of this name space.
pub(super) fn seat(sender: &mut Rig, sources: &[Source], interface: &str) -> Result<()> {
    sender.seat(sources, nix::net::if_::if_nametoindex(interface)?)
}

fn round(
    sender: &mut Rig,
    frame: &[u8],
    threads: &[i32],
    dropped: &mut dyn FnMut() -> Result<u64>,
) -> Result<Round> {
    let (busy, start) = (processor_nanos(threads)?, Instant::now());
    while start.elapsed() < ROUND {
        sender.send(frame, FRAMES)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    std::thread::sleep(SETTLE);
    let busy = processor_nanos(threads)? - busy;
    // Once a round: nft reads a whole set before it tells of a counter beside it.
    let packets = dropped()?;
    ensure!(packets > 0, "nothing was dropped");
    let (packets, busy) = (Duration::from_nanos(packets), Duration::from_nanos(busy));
    let (packets, busy) = (packets.as_secs_f64() * 1e9, busy.as_secs_f64());
    Ok(Round { dropped: packets / seconds, share: busy / seconds, nanos: busy * 1e9 / packets })
}

/// The interface's threads before its poll was started.
pub(super) struct Threads {
    before: BTreeSet<i32>,
}

/// Lets the receiving interface poll in a thread.
pub(super) fn threaded(world: &World) -> Result<Threads> {
    let before = polling_threads();
    // Through `ip netns exec` because that mounts the /sys of the name space.
    let set = format!("echo 1 > /sys/class/net/{WAN}/threaded");
    crate::namespace::ip(&["netns", "exec", world.gateway.name(), "sh", "-c", &set])?;
    Ok(Threads { before })
}

impl Threads {
    /// Those that have appeared, each on this processor.
    pub(super) fn start(self, processor: usize) -> Result<Vec<i32>> {
        let threads: Vec<_> = polling_threads().difference(&self.before).copied().collect();
        ensure!(!threads.is_empty(), "the kernel does not poll {WAN} in a thread");
        for thread in &threads {
            pin(*thread, processor)?;
        }
        Ok(threads)
    }
}

fn polling_threads() -> BTreeSet<i32> {
    let name = format!("napi/{WAN}");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let polls =
        |id: &i32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| comm.starts_with(&name));
    ids.filter(polls).collect()
}

/// Keeps a thread (0: this one) on one processor.
pub(super) fn pin(thread: i32, processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(Pid::from_raw(thread), &set).context("the flood needs two processors")
}

/// What the scheduler has counted of threads: the first figure of `/proc/PID/schedstat`.
fn processor_nanos(threads: &[i32]) -> Result<u64> {
    let mut sum = 0;
    for thread in threads {
        let text = fs::read_to_string(format!("/proc/{thread}/schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>().context("no schedstat")?;
    }
    Ok(sum)
}
