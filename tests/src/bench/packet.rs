//! The price of one packet, in nanoseconds above an empty XDP program.

use std::time::Duration;

use anyhow::{Result, ensure};
use filter_common::limits;
use filter_common::packet::Source;
use filter_core::decision::Change;
use filter_core::time::Instant;
use filter_user::kernel::{Capacity, Filter, Settings};

use super::choice::Choice;
use super::crowd::{Crowd, Family, PORT, blocks, frame, network};
use super::report::{Cell, Report, Table, count};
use super::rig::{Program, Rig};
use super::sample::{ROUNDS, Sample, processor_time};
use crate::world::World;

/// Lengths of the list.
const SIZES: [usize; 5] = [0, 1000, 100_000, 1_000_000, 5_000_000];
/// The length at which drops are measured.
const LONG: usize = 1_000_000;
/// Longest list in one trie: to free a longer one keeps a processor busy for seconds.
const LONGEST_TRIE: usize = 1_000_000;
/// Blocked prefixes, when drops are measured: as many as public lists have.
const PREFIXES: usize = 10_000;
/// Sources that take turns when it is about cold packets: they touch most of a gate, which is larger than the second
/// cache of most processors.
const SEATS: usize = 1 << 18;
/// Bytes that one load is tried in: half a gate, a gate, two and sixteen of them.
const PANES: [usize; 4] = [2 << 20, 4 << 20, 8 << 20, 64 << 20];
/// Packets of one round; about 50 ms.
const PACKETS: u32 = 1 << 20;

const INNOCENT_NOTE: &str = "\
ns above an empty XDP program in the same place: median of 9 rounds (best in brackets), BPF_PROG_TEST_RUN, 2^20 packets
a round, processor time. hot: one packet again and again. cold: 262,144 sources take turns, neighbouring packets may
overlap as in a driver's poll. near: not blocked, but a blocked one in the same /24 (IPv6: /48). LPM: every entry in
one trie, no gate, which is how most published block lists do it. one load: a program that reads the source and loads one
word at a place that depends on it, from memory of that size: what no list that is larger than a cache can be cheaper than.";

const DROP_NOTE: &str = "\
as above, IPv4, one million hosts and 10,000 prefixes (/24) on the list. cold: sources at random from the whole list.";

/// What two programs differ by.
struct Gap {
    median: f64,
    best: f64,
}

impl Gap {
    /// Both measured in turns, so that both see the same machine.
    fn of(mut base: impl FnMut() -> Result<f64>, mut subject: impl FnMut() -> Result<f64>) -> Result<Self> {
        let (mut bases, mut subjects) = (Sample::default(), Sample::default());
        for _ in 0..ROUNDS {
            bases.add(base()?);
            subjects.add(subject()?);
        }
        Ok(Self { median: subjects.median() - bases.median(), best: subjects.best() - bases.best() })
    }

    fn cell(&self) -> Cell {
        Cell::Spread { middle: self.median, best: self.best, decimals: 1 }
    }
}

/// A filter over pins of its own, with the rig beside it.
struct Trial<'a> {
    rig: &'a mut Rig,
    filter: Filter,
}

impl Trial<'_> {
    /// One packet again and again, through the filter as it is called by a driver.
    fn hot(&mut self, from: Source) -> Result<Cell> {
        let frame = frame(from);
        let Self { rig, filter } = self;
        let gap = Gap::of(
            || rig.time_alone("nothing", &frame, PACKETS),
            || {
                let seconds = processor_time(|| Ok(filter.try_on(&frame, PACKETS).map(drop)?))?;
                Ok(seconds * 1e9 / f64::from(PACKETS))
            },
        )?;
        Ok(gap.cell())
    }

    /// Many sources.
    fn cold(&mut self, program: Program, sources: &[Source]) -> Result<Cell> {
        cold(self.rig, program, sources)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<()> {
        let refused = self.filter.apply(changes);
        ensure!(refused.is_empty(), "{} changes were refused, first {:?}", refused.len(), refused[0]);
        Ok(())
    }
}

fn cold(rig: &mut Rig, program: Program, sources: &[Source]) -> Result<Cell> {
    rig.seat(sources, 0)?;
    let frame = frame(sources[0]);
    let rig = std::cell::RefCell::new(rig);
    let time = |program| rig.borrow_mut().time(program, &frame, PACKETS);
    Ok(Gap::of(|| time(Program::Nothing), || time(program))?.cell())
}

fn hot(rig: &mut Rig, program: &str, from: Source) -> Result<Cell> {
    let frame = frame(from);
    let rig = std::cell::RefCell::new(rig);
    let time = |program| rig.borrow_mut().time_alone(program, &frame, PACKETS);
    Ok(Gap::of(|| time("nothing"), || time(program))?.cell())
}

/// What one load costs, whatever it is good for.
fn floor(family: Family, table: &mut Table) -> Result<()> {
    let strangers = Crowd::new(family).innocents(SEATS);
    for bytes in PANES {
        let mut rig = Rig::load_with_panes(SEATS, bytes)?;
        let mut cells = vec![
            Cell::Text(family.name().to_owned()),
            Cell::Text(format!("one load, {} MiB", bytes >> 20)),
            hot(&mut rig, "glance", strangers[0])?,
            Cell::Missing("-"),
            cold(&mut rig, Program::Glance, &strangers)?,
        ];
        cells.extend([Cell::Missing("-"), Cell::Missing("-"), Cell::Missing("-")]);
        tell(&cells);
        table.row(cells);
    }
    Ok(())
}

/// Told at once, too: the whole takes minutes.
fn tell(cells: &[Cell]) {
    println!("packets: {}", cells.iter().map(Cell::print).collect::<Vec<_>>().join(", "));
}

/// Measures packets that pass and packets that are dropped; `wanted` says which families and lengths.
pub fn measure(report: &mut Report, wanted: &Choice) -> Result<()> {
    let heads = ["family", "entries", "hot", "hot near", "cold", "cold near", "LPM hot", "LPM cold"];
    let mut innocents = Table::new("innocent packets", INNOCENT_NOTE, &heads);
    let mut drops =
        Table::new("packets of blocked sources", DROP_NOTE, &["packet", "becomes", "hot", "cold"]);
    for family in [Family::V4, Family::V6].into_iter().filter(|family| wanted.has(family.name())) {
        floor(family, &mut innocents)?;
        for size in SIZES.into_iter().filter(|size| wanted.has_number(*size)) {
            let world = World::new()?;
            let mut rig = Rig::load(SEATS, if size <= LONGEST_TRIE { size } else { 0 })?;
            let mut crowd = Crowd::new(family);
            let listed = crowd.grow(size);
            let filter = Filter::load(&settings(&world, size)?)?;
            rig.find_filter(world.pins())?;
            let mut trial = Trial { rig: &mut rig, filter };
            for part in listed.chunks(1 << 19) {
                trial.apply(&blocks(part))?;
            }
            let (strangers, near) =
                (crowd.innocents(SEATS), crowd.neighbours(if size > 0 { SEATS } else { 0 }));
            let nobody = || Cell::Missing("-");
            let mut cells = vec![
                Cell::Text(family.name().to_owned()),
                Cell::Text(count(size)),
                trial.hot(strangers[0])?,
                near.first().map_or_else(|| Ok(nobody()), |from| trial.hot(*from))?,
                trial.cold(Program::Filter, &strangers)?,
                if near.is_empty() { nobody() } else { trial.cold(Program::Filter, &near)? },
            ];
            if size <= LONGEST_TRIE {
                trial.rig.plant(&listed)?;
                cells.push(hot(trial.rig, "trie", strangers[0])?);
                cells.push(trial.cold(Program::Trie, &strangers)?);
            } else {
                cells.extend([Cell::Missing("not tried"), Cell::Missing("not tried")]);
            }
            tell(&cells);
            innocents.row(cells);
            if size == LONG && family == Family::V4 {
                dropped(&mut trial, &mut crowd, &mut drops)?;
            }
        }
    }
    report.add(&innocents);
    report.add(&drops);
    Ok(())
}

fn dropped(trial: &mut Trial<'_>, crowd: &mut Crowd, table: &mut Table) -> Result<()> {
    let hosts = crowd.blocked(SEATS);
    let mut around = crowd.innocents(PREFIXES);
    let prefixes: Vec<_> = around.iter().map(|source| network(*source, 24)).collect();
    trial.apply(&blocks(&prefixes))?;
    around = around.into_iter().cycle().take(SEATS).collect();
    let mut row = |packet: &str, becomes: &str, hot: Cell, cold: Cell| {
        let cells = vec![Cell::Text(packet.to_owned()), Cell::Text(becomes.to_owned()), hot, cold];
        tell(&cells);
        table.row(cells);
    };
    row("blocked host", "dropped", trial.hot(hosts[0])?, trial.cold(Program::Filter, &hosts)?);
    row("in a blocked prefix", "dropped", trial.hot(around[0])?, trial.cold(Program::Filter, &around)?);
    row(
        "blocked host, LPM",
        "dropped",
        hot(trial.rig, "trie", hosts[0])?,
        trial.cold(Program::Trie, &hosts)?,
    );
    let exempt: Vec<_> = hosts[..limits::NEVER as usize / 2].to_vec();
    let nevers: Vec<_> = exempt.iter().map(|source| never(*source)).collect();
    trial.apply(&nevers)?;
    row("blocked and never-blocked", "passed", trial.hot(exempt[0])?, trial.cold(Program::Filter, &exempt)?);
    Ok(())
}

fn never(source: Source) -> Change {
    Change::Never { network: network(source, 32), until: Instant::FAR_FUTURE, built_in: false }
}

/// No grace and no courtesy: every packet of a blocked source is dropped. Room as by default, or as much as is needed.
pub(super) fn settings(world: &World, size: usize) -> Result<Settings> {
    let (size, default) = (u32::try_from(size)?, Capacity::default());
    Ok(Settings {
        pin_directory: world.pins().to_path_buf(),
        observe: false,
        drop_all: false,
        protected_ports: vec![PORT],
        grace: Duration::ZERO,
        courtesy_replies: 0,
        capacity: Capacity {
            hosts_v4: default.hosts_v4.max(size),
            scopes_v6: default.scopes_v6.max(size),
            ..default
        },
    })
}
