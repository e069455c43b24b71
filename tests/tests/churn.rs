//! Entries come and go by the hundred thousand while packets flow: no standing block lets a packet through, no innocent
//! loses one, and at the end nothing is left that nobody put there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use filter_common::model::{Cargo, Sketch};
use filter_common::packet::Source;
use filter_common::reason::Verdict;
use filter_core::decision::{Change, Origin};
use filter_core::time::Instant;
use filter_tests::world::World;
use filter_user::clock;
use filter_user::kernel::{Capacity, Filter, Probe, Settings, View};
use ipnet::IpNet;

const CHANGES: usize = 200_000;
const LARGEST_BATCH: usize = 2000;
/// Hosts that come at once and stay, and after how many changes: each time more than the buckets that the table uses are for.
const CROWDS: [(usize, u32); 2] = [(CHANGES / 4, 30_000), (CHANGES / 4 * 3, 200_000)];

/// A sender that is blocked throughout, or one that never is; both live beside the entries that come and go.
struct Sender {
    frame: Vec<u8>,
    verdict: Verdict,
}

impl Sender {
    fn new(address: IpAddr, verdict: Verdict) -> Self {
        let from = match address {
            IpAddr::V4(address) => Source::V4(address.octets()),
            IpAddr::V6(address) => Source::V6(address.octets()),
        };
        let sketch = Sketch {
            from: Some(from),
            tags: 0,
            extras: 0,
            cargo: Cargo::Tcp { port: 25, opens: true },
            first_fragment: false,
            padding: 0,
            keep: None,
        };
        Self { frame: sketch.frame(), verdict }
    }
}

fn v4(net: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, net, host).into()
}

fn v6(net: u16, host: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, net, host, 0, 0, 0, 1).into()
}

/// What stands throughout: hosts, a /64 in each network, and prefixes beside them.
fn standing() -> Result<Vec<IpNet>> {
    let mut networks = Vec::new();
    for net in 0..=255 {
        networks.push(IpNet::from(v4(net, 1)));
        networks.push(IpNet::new(v4(net, 8), 29)?);
        networks.push(IpNet::new(v6(net.into(), 1), 64)?.trunc());
        networks.push(IpNet::new(v6(net.into(), 0x100), 56)?.trunc());
    }
    Ok(networks)
}

fn senders() -> Vec<Sender> {
    let mut senders = Vec::new();
    for net in 0..=255 {
        for (address, verdict) in [
            (v4(net, 1), Verdict::Drop),
            (v4(net, 9), Verdict::Drop),
            (v4(net, 0), Verdict::Pass),
            (v6(net.into(), 1), Verdict::Drop),
            (v6(net.into(), 0x1aa), Verdict::Drop),
            (v6(net.into(), 0), Verdict::Pass),
        ] {
            senders.push(Sender::new(address, verdict));
        }
    }
    senders
}

/// One that comes and goes: never one of those that stand, and never around an innocent.
fn passer_by(rng: &mut Rng) -> Result<IpNet> {
    let net = rng.u8(..);
    Ok(match rng.u8(0..8) {
        0..=3 => v4(net, rng.u8(16..)).into(),
        4 => IpNet::new(v4(net, 16 * rng.u8(1..16)), 28)?,
        5 => IpNet::new(v6(net.into(), 0x1000 * rng.u16(1..8)), 52)?,
        _ => IpNet::new(v6(net.into(), rng.u16(0x200..)), 64)?.trunc(),
    })
}

fn crowd(size: u32) -> impl Iterator<Item = IpNet> {
    let first = u32::from(Ipv4Addr::new(11, 0, 0, 0));
    (first..first + size).map(|number| IpAddr::from(Ipv4Addr::from(number)).into())
}

fn block(network: IpNet, now: Instant) -> Change {
    Change::Block { network, since: now, until: now.after(Duration::from_hours(1)), origin: Origin::Manual }
}

fn apply(filter: &mut Filter, changes: &[Change]) -> Result<()> {
    let refused = filter.apply(changes);
    ensure!(refused.is_empty(), "the kernel refused {refused:?}");
    Ok(())
}

/// Sends until told to stop; says how many packets were judged.
fn flow(probe: &Probe, senders: &[Sender], stop: &AtomicBool, seen: &AtomicU64) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        for sender in senders {
            let (verdict, _) = probe.try_on(&sender.frame, 1)?;
            ensure!(
                verdict == sender.verdict,
                "{verdict:?} instead of {:?}: {:x?}",
                sender.verdict,
                sender.frame
            );
            seen.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn networks(view: &View) -> Result<BTreeSet<IpNet>> {
    Ok(view.dump(None)?.blocks.into_iter().map(|block| block.network).collect())
}

#[test]
fn entries_that_come_and_go_disturb_nobody_and_leave_nothing() -> Result<()> {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let world = World::new()?;
    let settings = Settings {
        pin_directory: world.pins().to_path_buf(),
        observe: false,
        drop_all: false,
        protected_ports: vec![25],
        grace: Duration::ZERO,
        courtesy_replies: 0,
        capacity: Capacity::default(),
    };
    let mut filter = Filter::load(&settings)?;
    let now = clock::instant();
    let standing = standing()?;
    apply(&mut filter, &standing.iter().map(|network| block(*network, now)).collect::<Vec<_>>())?;
    let (stop, seen, senders) = (AtomicBool::new(false), AtomicU64::new(0), senders());
    let probe = filter.probe()?;
    let mut present = BTreeSet::new();
    let mut filter = Some(filter);
    let outcome = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| flow(&probe, &senders, &stop, &seen));
        let mut churn = || -> Result<()> {
            let mut done = 0;
            while done < CHANGES && !traffic.is_finished() {
                let batch = rng.usize(1..=LARGEST_BATCH);
                let comes = rng.bool();
                let mut changes = Vec::new();
                for _ in 0..batch {
                    let network = passer_by(&mut rng)?;
                    if comes && present.insert(network) {
                        changes.push(block(network, now));
                    } else if !comes && present.remove(&network) {
                        changes.push(Change::Unblock(network));
                    }
                }
                apply(filter.as_mut().context("no filter")?, &changes)?;
                let was = done;
                done += changes.len();
                for (_, size) in CROWDS.iter().filter(|(at, _)| (was..done).contains(at)) {
                    let new: Vec<_> = crowd(*size).filter(|network| present.insert(*network)).collect();
                    let changes: Vec<_> = new.into_iter().map(|network| block(network, now)).collect();
                    apply(filter.as_mut().context("no filter")?, &changes)?;
                }
                if was <= CHANGES / 2 && done > CHANGES / 2 {
                    // The agent is restarted, and takes over what the last one left.
                    drop(filter.take());
                    filter = Some(Filter::load(&settings)?);
                }
            }
            Ok(())
        };
        let outcome = churn();
        stop.store(true, Ordering::Relaxed);
        outcome.and(traffic.join().map_err(|_| anyhow::anyhow!("the traffic panicked"))?)
    });
    outcome.with_context(|| format!("seed {seed}"))?;
    let packets = seen.load(Ordering::Relaxed);
    println!("{packets} packets were judged meanwhile");
    ensure!(packets > 1000, "only {packets} packets were judged meanwhile");

    let mut filter = filter.context("no filter")?;
    let view = View::open(world.pins())?;
    let wanted: BTreeSet<_> = present.iter().chain(&standing).copied().collect();
    ensure!(networks(&view)? == wanted, "seed {seed}: the kernel does not hold what was wanted");
    apply(&mut filter, &wanted.into_iter().map(Change::Unblock).collect::<Vec<_>>())?;
    let left: Vec<_> = view.maps()?.into_iter().filter(|map| map.entries > 0).collect();
    ensure!(left.is_empty(), "seed {seed}: every entry is gone, and the maps still hold {left:?}");
    Ok(())
}
