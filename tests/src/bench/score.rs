//! What an offence costs the engine, and a client its memory, beside a hash map that does no more than count.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use filter_core::client::ClientAddr;
use filter_core::engine::{Engine, WATCHED_LIMIT};
use filter_core::event::EventId;
use filter_core::offence::{Kind, Offence};
use filter_core::policy::Policy;
use filter_core::score::{FORESEEN, Scores};
use filter_core::time::{Instant, Now, Timestamp};

use super::crowd::{Crowd, Family};
use super::report::{Cell, Report, Table};
use super::sample::{ROUNDS, Sample, processor_time};

/// Clients that are tracked.
const CLIENTS: usize = 1_000_000;
/// Offences of one round.
const OFFENCES: usize = 1_000_000;
/// Makes this bench a child that says how much memory so many offences take, of a family.
pub const MEMORY_OF: &str = "memory-of";
/// Clients that offend again and again.
const HOT: usize = 10_000;

const NOTE: &str = "\
nanoseconds of one thread's processor time, median of 9 rounds of a million offences (best in brackets), with all that
the engine does: scoring, the event with its text, the decision, and handing every effect out. The offences come from
clients at random, so that each finds its memory cold, and come in groups of 32, as they do when they wait for the engine.
one line of memory: what a random look into as many cache lines as there are clients costs, if nothing waits for it, and if
the next one does; no engine can do without such looks, and this one needs some six of them. counting only: a hash map of std with a number for each
client, and nothing else; scores only: the sliding window without lists, events and effects.";
const MEMORY: &str = "\
bytes of resident memory for each of a million clients with that many offences in the window, each in a fresh process";

/// Measures both.
pub fn measure(report: &mut Report) -> Result<()> {
    let mut table = Table::new(
        "offences, with a million clients tracked",
        NOTE,
        &["offences of", "ns each", "million a second"],
    );
    let hosts = addresses(Family::V4, CLIENTS);
    let mut counts: HashMap<ClientAddr, u64> = hosts.iter().map(|host| (*host, 1)).collect();
    let mut counting = Sample::default();
    for round in 0..ROUNDS {
        let crowd = picks(&hosts, round);
        counting.add(time(|| {
            for host in &crowd {
                *counts.entry(black_box(*host)).or_default() += 1;
            }
        })?);
    }
    row("tracked clients, counting only", &counting, &mut table);

    let (together, in_turn) = floor()?;
    row("one line of memory each, all at once", &together, &mut table);
    row("one line of memory each, one after another", &in_turn, &mut table);
    row("tracked clients, scores only, each by itself", &scores(&hosts)?, &mut table);
    let mut engine = tracking(&hosts, 1);
    row("tracked clients", &rounds(&mut engine, |round| picks(&hosts, round))?, &mut table);
    let mut engine = tracking(&hosts, 1);
    row(
        "few clients, each blocked now and then",
        &rounds(&mut engine, |round| picks(&hosts[..HOT], round))?,
        &mut table,
    );
    let mut engine = tracking(&hosts, 1);
    let strangers = addresses(Family::V4, CLIENTS + ROUNDS * OFFENCES);
    let wave = |round: usize| strangers[CLIENTS + round * OFFENCES..][..OFFENCES].to_vec();
    row("a flood of new addresses", &rounds(&mut engine, wave)?, &mut table);
    let mut engine = tracking(&hosts, 1);
    block(&mut engine, &strangers[CLIENTS..][..CLIENTS])?;
    row(
        "tracked clients, a million others blocked",
        &rounds(&mut engine, |round| picks(&hosts, round))?,
        &mut table,
    );
    drop(engine);
    report.add(&table);

    let mut table = Table::new("memory", MEMORY, &["clients", "1 offence", "2 offences", "10 offences"]);
    for family in [Family::V4, Family::V6] {
        let mut cells = vec![Cell::Text(family.name().to_owned())];
        for offences in ["1", "2", "10"] {
            cells.push(Cell::Figure(in_a_child(family, offences)?, 0));
        }
        table.row(cells);
    }
    report.add(&table);
    Ok(())
}

/// Measures memory in a process of its own: what an allocator has kept of earlier engines would be taken for nothing.
fn in_a_child(family: Family, offences: &str) -> Result<f64> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child.args([MEMORY_OF, family.name(), offences]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The child's part: bytes for each client.
pub fn memory(family: &str, offences: &str) -> Result<f64> {
    let family = if family == Family::V4.name() { Family::V4 } else { Family::V6 };
    let hosts = addresses(family, CLIENTS);
    let before = resident()?;
    let engine = tracking(&hosts, offences.parse()?);
    let grown = u32::try_from(resident()?.saturating_sub(before) / 1024)?;
    ensure!(engine.sizes().2 == CLIENTS, "not everybody is tracked");
    Ok(f64::from(grown) * 1024.0 / f64::from(u32::try_from(CLIENTS)?))
}

fn row(who: &str, sample: &Sample, table: &mut Table) {
    let rate = 1e3 / sample.median();
    let time = Cell::Spread { middle: sample.median(), best: sample.best(), decimals: 0 };
    table.row(vec![Cell::Text(who.to_owned()), time, Cell::Figure(rate, 2)]);
}

/// So many addresses, each another scope.
fn addresses(family: Family, count: usize) -> Vec<ClientAddr> {
    Crowd::new(family).grow(count).into_iter().map(|network| ClientAddr::new(network.addr())).collect()
}

/// Clients at random, as many as there are offences in a round.
fn picks(hosts: &[ClientAddr], round: usize) -> Vec<ClientAddr> {
    let mut rng = Rng::with_seed(round as u64);
    std::iter::repeat_with(|| hosts[rng.usize(..hosts.len())]).take(OFFENCES).collect()
}

/// A microsecond after the one before: all rounds are over within the window, and nothing grows old.
fn at(number: usize) -> Now {
    let span = Duration::from_micros(number as u64);
    let (instant, wall) = (Instant::from_nanos(0), Timestamp::from_millis(1_800_000_000_000));
    Now { instant: instant.after(span), wall: wall.after(span) }
}

/// An engine that has seen every client offend so many times.
fn tracking(hosts: &[ClientAddr], offences: usize) -> Engine {
    let mut engine = Engine::new(Policy::default());
    for _ in 0..offences {
        for host in hosts {
            engine.handle_offence(*host, Offence::new(Kind::SyntaxError, b"HELP"), at(0));
            while engine.poll_effect().is_some() {}
        }
    }
    engine
}

fn block(engine: &mut Engine, hosts: &[ClientAddr]) -> Result<()> {
    for host in hosts {
        let (network, now) = (filter_core::client::host(host.ip()), at(0));
        let hour = Some(Duration::from_hours(1));
        engine.block(network, hour, String::new(), String::new(), false, now)?;
        while engine.poll_effect().is_some() {}
    }
    Ok(())
}

/// The score alone, without list, event and effect.
fn scores(hosts: &[ClientAddr]) -> Result<Sample> {
    let (policy, mut sample) = (Policy::default(), Sample::default());
    let mut scores = Scores::new(WATCHED_LIMIT);
    let mut add = |host: ClientAddr, number: usize| {
        let (scope, id) = (policy.scope_width.scope_of(host), EventId(number as u64));
        black_box(scores.add(scope, 50, id, policy.monitor_period, at(number).instant));
    };
    for host in hosts {
        add(*host, 0);
    }
    for round in 0..ROUNDS {
        let crowd = picks(hosts, round);
        sample.add(time(|| {
            for (number, host) in (round * OFFENCES..).zip(&crowd) {
                add(*host, number);
            }
        })?);
    }
    Ok(sample)
}

fn rounds(engine: &mut Engine, crowd: impl Fn(usize) -> Vec<ClientAddr>) -> Result<Sample> {
    let mut sample = Sample::default();
    let mut number = 0;
    for round in 0..ROUNDS {
        let clients = crowd(round);
        let offence = |_: &ClientAddr| Offence::new(Kind::BadLocalRcpt, b"nobody@example.test");
        let mut offences = clients.iter().map(offence).collect::<Vec<_>>().into_iter();
        sample.add(time(|| {
            for group in clients.chunks(FORESEEN) {
                engine.foresee(group.iter().copied());
                for (client, offence) in group.iter().zip(&mut offences) {
                    engine.handle_offence(*client, offence, at(number));
                    number += 1;
                    while let Some(effect) = engine.poll_effect() {
                        black_box(effect);
                    }
                }
            }
        })?);
    }
    Ok(sample)
}

/// Looks into a random line of as many as there are clients: all at once, and one after another.
fn floor() -> Result<(Sample, Sample)> {
    let lines: Vec<[u64; 8]> = (0..CLIENTS as u64).map(|line| [line; 8]).collect();
    let (mut together, mut in_turn) = (Sample::default(), Sample::default());
    for round in 0..ROUNDS {
        let mut rng = Rng::with_seed(round as u64);
        let places: Vec<_> = std::iter::repeat_with(|| rng.usize(..lines.len())).take(OFFENCES).collect();
        together.add(time(|| {
            black_box(places.iter().fold(0, |sum: u64, place| sum.wrapping_add(lines[*place][0])));
        })?);
        in_turn.add(time(|| {
            // Where the next look goes is not known before the one before it has come back.
            black_box(places.iter().fold(0, |last: usize, place| {
                let seen = lines[place ^ (black_box(last) & 1)][0];
                usize::from(seen > u64::MAX / 2)
            }));
        })?);
    }
    Ok((together, in_turn))
}

/// Nanoseconds of processor time for each offence of a round.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn time(job: impl FnOnce()) -> Result<f64> {
    let seconds = processor_time(|| {
        job();
        Ok(())
    })?;
    Ok(seconds * 1e9 / OFFENCES as f64)
}

/// Bytes of memory that this process has.
fn resident() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
