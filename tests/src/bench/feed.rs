//! How long it takes to bring a feed into the kernel and to take part of it out again, beside `nft` and `ipset`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use filter_core::decision::Change;
use filter_user::kernel::Filter;
use ipnet::IpNet;

use super::crowd::{Crowd, Family, blocks};
use super::packet::settings;
use super::report::{Cell, Report, Table};
use super::sample::Sample;
use crate::namespace::succeed;
use crate::world::World;

/// Entries that are brought in.
const FEED: usize = 1_000_000;
/// Entries that are taken out again.
const GONE: usize = 100_000;
/// Rounds; each starts from empty lists.
const ROUNDS: usize = 3;

const NOTE: &str = "\
seconds by the clock, median of 3 rounds (best in brackets), from empty lists; one million IPv4 addresses at random in,
then 100,000 of them out. gatepost: one call of Filter::apply over the list in memory. nft and ipset: one call of the
program over a prepared file. shipped room: as the filter is installed; roomy: with room for four times as many.";

/// Seconds of both steps.
#[derive(Default)]
struct Times {
    fill: Sample,
    remove: Sample,
}

impl Times {
    fn row(&self, who: &str, table: &mut Table) {
        let cell =
            |sample: &Sample| Cell::Spread { middle: sample.median(), best: sample.best(), decimals: 2 };
        table.row(vec![Cell::Text(who.to_owned()), cell(&self.fill), cell(&self.remove)]);
    }
}

/// Measures everybody.
pub fn measure(report: &mut Report) -> Result<()> {
    let listed = Crowd::new(Family::V4).grow(FEED);
    let gone: Vec<_> = listed.iter().copied().step_by(FEED / GONE).collect();
    let mut table = Table::new("a feed of one million addresses", NOTE, &["into", "fill", "remove"]);
    let (mut shipped, mut roomy, mut nft, mut ipset) =
        (Times::default(), Times::default(), Times::default(), Times::default());
    for _ in 0..ROUNDS {
        filter(&listed, &gone, FEED, &mut shipped)?;
        filter(&listed, &gone, FEED * 4, &mut roomy)?;
        nftables(&listed, &gone, &mut nft)?;
        ip_set(&listed, &gone, &mut ipset)?;
    }
    shipped.row("gatepost, shipped room", &mut table);
    roomy.row("gatepost, roomy", &mut table);
    nft.row("nft -f", &mut table);
    ipset.row("ipset restore", &mut table);
    report.add(&table);
    Ok(())
}

fn filter(listed: &[IpNet], gone: &[IpNet], room: usize, times: &mut Times) -> Result<()> {
    let world = World::new()?;
    let mut filter = Filter::load(&settings(&world, room)?)?;
    let (blocks, unblocks) = (blocks(listed), gone.iter().copied().map(Change::Unblock).collect::<Vec<_>>());
    for (changes, sample) in [(blocks, &mut times.fill), (unblocks, &mut times.remove)] {
        let start = Instant::now();
        let refused = filter.apply(&changes);
        sample.add(start.elapsed().as_secs_f64());
        ensure!(refused.is_empty(), "{} changes were refused", refused.len());
    }
    let held = filter.held()?.blocks.len();
    ensure!(held == listed.len() - gone.len(), "the filter holds {held} entries");
    Ok(())
}

fn nftables(listed: &[IpNet], gone: &[IpNet], times: &mut Times) -> Result<()> {
    let world = World::new()?;
    let table = "add table inet lab\nadd set inet lab blocked { type ipv4_addr; size 2097152; }\n";
    let fill = world.scratch().join("fill.nft");
    fs::write(&fill, format!("{table}add element inet lab blocked {{ {} }}\n", addresses(listed, ", ")))?;
    let remove = world.scratch().join("remove.nft");
    fs::write(&remove, format!("delete element inet lab blocked {{ {} }}\n", addresses(gone, ", ")))?;
    for (file, sample) in [(fill, &mut times.fill), (remove, &mut times.remove)] {
        let seconds = world.gateway.enter(|| {
            let start = Instant::now();
            succeed(Command::new("nft").arg("-f").arg(file))?;
            Ok(start.elapsed().as_secs_f64())
        })?;
        sample.add(seconds);
    }
    Ok(())
}

fn ip_set(listed: &[IpNet], gone: &[IpNet], times: &mut Times) -> Result<()> {
    let world = World::new()?;
    let lines = |verb: &str, networks: &[IpNet]| {
        networks.iter().fold(String::new(), |mut text, network| {
            let _ = writeln!(text, "{verb} blocked {}", network.addr());
            text
        })
    };
    let set = "create blocked hash:ip hashsize 1048576 maxelem 2097152\n";
    let fill = world.scratch().join("fill.ipset");
    fs::write(&fill, format!("{set}{}", lines("add", listed)))?;
    let remove = world.scratch().join("remove.ipset");
    fs::write(&remove, lines("del", gone))?;
    for (file, sample) in [(fill, &mut times.fill), (remove, &mut times.remove)] {
        let seconds = world.gateway.enter(|| {
            let start = Instant::now();
            let status = Command::new("ipset")
                .arg("restore")
                .stdin(File::open(file)?)
                .stdout(Stdio::null())
                .status()?;
            ensure!(status.success(), "ipset restore failed");
            Ok(start.elapsed().as_secs_f64())
        })?;
        sample.add(seconds);
    }
    Ok(())
}

/// The addresses of hosts in one line.
pub(super) fn addresses(networks: &[IpNet], between: &str) -> String {
    networks.iter().map(|network| network.addr().to_string()).collect::<Vec<_>>().join(between)
}
