//! Honest mail while blocked senders flood: what the flood leaves of it, by who drops the flood.
//!
//! Gateway, honest clients and mail server share one processor, the flood is sent by the other. So what the flood takes from the mail
//! is what it costs the gateway.
//!
//! A veth is made to behave as a network card with one queue. All that comes, honest or not, comes through one poll, which an XDP program
//! sees to, if only an empty one. The poll does not have to ask for its processor, as interrupts do not.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;

use super::choice::Choice;
use super::crowd::{Crowd, Family, frame};
use super::feed::addresses;
use super::pace::{Pace, timed};
use super::proxy::OPEN;
use super::relay::start_sink;
use super::report::{Cell, Report, Table};
use super::rig::Rig;
use super::rival::{Dropper, Gatepost, Rival, attached};
use super::sample::Sample;
use super::wire::{PROCESSORS, pin, receive, seat, threaded};
use crate::agent::{Agent, ask, cli};
use crate::namespace::{ip, succeed};
use crate::process::Process;
use crate::world::{GATEWAY_V4, OUT, WAN, World};

/// Blocked senders, all of which send; a power of two.
const SENDERS: usize = 1 << 16;
/// Frames in a second.
const RATES: [u32; 3] = [50_000, 200_000, 600_000];
/// Rounds of each; a round is one without the flood and one with it.
const ROUNDS: usize = 5;
/// How long mail is counted in each of these.
const SPAN: Duration = Duration::from_secs(1);
/// How long a flood may take to begin.
const BEGINNING: Duration = Duration::from_millis(300);
/// Seconds that a flood goes on; longer than mail is counted, for the command line takes time.
const FLOOD: u32 = 3;
/// An interface that mail does not come by: its ends with the clients and with the gateway.
const ASIDE: [&str; 2] = ["aside0", "void0"];

const NOTE: &str = "\
mail/s: honest messages of 1 kB that Gatepost hands on in a second, each in a session of its own, 20 at once; the mail server throws them
away; median of 5 rounds of a second without and a second with the flood. flood: SYNs to port 25 in a second from 65,536
blocked IPv4 sources, evenly in time. dropped: of these, by the dropper's own counter. left: what the flood left of the mail, the median of the
rounds. Gatepost, clients, mail server and the poll of the interface have one processor, the sender of the flood has the other. elsewhere: the flood
comes by another interface, and takes nothing of that processor. floor: an XDP program that drops whatever is not of the
honest clients' network, so what is lost there is the price of the frames themselves. nobody: nothing is listed, and each SYN is answered.";

/// Who drops the flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// A program on an interface that mail does not come by.
    Elsewhere,
    /// A program that knows the honest network, and no list.
    Floor,
    /// One of these; the filter as its agent has it.
    Rival(Rival),
    /// Nobody.
    Nobody,
}

const GUARDS: [Guard; 7] = [
    Guard::Elsewhere,
    Guard::Floor,
    Guard::Rival(Rival::Gatepost),
    Guard::Rival(Rival::NftIngress),
    Guard::Rival(Rival::NftPrerouting),
    Guard::Rival(Rival::IpSet),
    Guard::Nobody,
];

/// What the rows are called.
pub fn names() -> [&'static str; GUARDS.len()] {
    GUARDS.map(Guard::name)
}

/// Measures those that are wanted.
pub fn measure(report: &mut Report, wanted: &Choice) -> Result<()> {
    let heads = ["dropper", "flood/s", "dropped %", "mail/s", "mail/s in it", "left %"];
    let mut table = Table::new("honest mail in a flood", NOTE, &heads);
    for guard in GUARDS.into_iter().filter(|guard| wanted.has(guard.name())) {
        for row in guard.measure().with_context(|| guard.name())? {
            table.row(row);
        }
    }
    report.add(&table);
    Ok(())
}

impl Guard {
    const fn name(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Floor => "floor",
            Self::Rival(rival) => rival.name(),
            Self::Nobody => "nobody",
        }
    }

    /// A row for each rate.
    fn measure(self) -> Result<Vec<Vec<Cell>>> {
        // Whatever is started has this processor, too.
        pin(0, PROCESSORS[1])?;
        let world = World::new()?;
        receive(&world)?;
        let polls = threaded(&world)?;
        // Where nobody drops it, a SYN is answered.
        world.gateway.ip(&["route", "add", "default", "via", "203.0.113.10"])?;
        let sink = start_sink(&world)?;
        let agent = match self {
            Self::Rival(Rival::Gatepost) => Agent::start(&world, OPEN)?,
            _ => Agent::start_bare(&world, OPEN)?,
        };
        let mut crowd = Crowd::new(Family::V4);
        let listed = crowd.grow(SENDERS);
        let mut dropper = self.prepare(&world, &listed)?;
        let empty = match self {
            Self::Floor | Self::Rival(Rival::Gatepost) => None,
            _ => Some(attached(&world, WAN, Rig::load(1, 0)?, "nothing")?),
        };
        for poll in polls.start(PROCESSORS[1])? {
            succeed(Command::new("chrt").args(["--fifo", "--pid", "1", &poll.to_string()]))?;
        }
        let sources = crowd.blocked(SENDERS);
        let (mut sender, frame) = (Rig::load(SENDERS, 0)?, frame(sources[0]));
        let interface = if self == Self::Elsewhere { ASIDE[0] } else { OUT };
        let pace = world.internet.enter(|| {
            seat(&mut sender, &sources, interface)?;
            Pace::find(&mut sender, &frame)
        })?;
        let mut flood = Flood { world: &world, sender, frame, pace };
        let mut rows = Vec::new();
        for rate in RATES {
            let mut row = vec![Cell::Text(self.name().to_owned())];
            row.extend(flood.measure(rate, dropper.as_deref_mut())?);
            // Told at once, too: the whole takes minutes.
            println!("flood: {}", row.iter().map(Cell::print).collect::<Vec<_>>().join(", "));
            rows.push(row);
        }
        drop((agent, sink, empty));
        Ok(rows)
    }

    /// Puts it in its place.
    fn prepare(self, world: &World, listed: &[IpNet]) -> Result<Option<Box<dyn Dropper>>> {
        Ok(match self {
            Self::Nobody => None,
            Self::Floor => Some(attached(world, WAN, Rig::load(1, 0)?, "strangers")?),
            Self::Elsewhere => {
                let [near, far] = ASIDE;
                let (internet, gateway) = (world.internet.name(), world.gateway.name());
                ip(&[
                    "-n", internet, "link", "add", near, "type", "veth", "peer", "name", far, "netns",
                    gateway,
                ])?;
                world.internet.ip(&["link", "set", near, "up"])?;
                world.gateway.ip(&["link", "set", far, "up"])?;
                Some(attached(world, far, Rig::load(1, 0)?, "everything")?)
            }
            Self::Rival(Rival::Gatepost) => {
                let file = world.scratch().join("blocked");
                fs::write(&file, addresses(listed, "\n"))?;
                let said = cli(world, &["block", "import", &file.to_string_lossy(), "--for", "1h"])?;
                ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
                Some(Box::new(Gatepost::OF_AGENT))
            }
            Self::Rival(rival) => Some(rival.prepare(world, listed)?),
        })
    }
}

/// Blocked senders, and the world that they are in.
struct Flood<'world> {
    world: &'world World,
    sender: Rig,
    frame: Vec<u8>,
    pace: Pace,
}

impl Flood<'_> {
    fn measure(&mut self, rate: u32, mut dropper: Option<&mut (dyn Dropper + 'static)>) -> Result<Vec<Cell>> {
        let (mut quiet, mut loud) = (Sample::default(), Sample::default());
        let (mut rates, mut dropped) = (Sample::default(), Sample::default());
        let world = self.world;
        let mut clients = send_mail(world)?;
        for _ in 0..ROUNDS {
            quiet.add(mail(world)?);
            let mut count = || dropper.as_mut().map_or(Ok(0), |dropper| dropper.dropped(world));
            let before = count()?;
            let (left, sent, in_a_second) = self.during(rate, || mail(world))?;
            ensure!(!clients.has_ended()?, "the honest clients have given up");
            rates.add(in_a_second);
            loud.add(left);
            let gone = u32::try_from(count()? - before)?;
            dropped.add(f64::from(gone) / f64::from(sent) * 100.0);
        }
        let left = loud.over(&quiet);
        Ok(vec![
            Cell::Figure(rates.median(), 0),
            Cell::Figure(dropped.median(), 0),
            Cell::Figure(quiet.median(), 0),
            Cell::Figure(loud.median(), 0),
            Cell::Figure(left.median() * 100.0, 0),
        ])
    }

    /// Does a job while so many frames come in a second; says how many there were, and how many in a second.
    fn during<T>(&mut self, rate: u32, job: impl FnOnce() -> Result<T>) -> Result<(T, u32, f64)> {
        let Self { world, sender, frame, pace } = self;
        let (turns, frames) = (pace.turns(rate), rate * FLOOD);
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| world.internet.enter(|| timed(sender, frame, turns, frames)));
            let outcome = job()?;
            ensure!(!flood.is_finished(), "the flood was over before the mail was counted");
            let seconds = flood.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
            Ok((outcome, frames, f64::from(frames) / seconds))
        })
    }
}

/// Honest clients that send until dropped.
fn send_mail(world: &World) -> Result<Process> {
    let address = format!("{GATEWAY_V4}:25");
    let arguments = ["-s", "20", "-m", "10000000", "-l", "1000", "-f", "sender@client.example"];
    let child = world.internet.enter(|| {
        let mut command = Command::new("smtp-source");
        command.args(arguments).args(["-t", "alice@example.test", &address]);
        command.spawn().context("cannot start smtp-source")
    })?;
    Ok(Process::new(child))
}

/// Messages that are handed on in a second.
fn mail(world: &World) -> Result<f64> {
    std::thread::sleep(BEGINNING);
    let messages = || -> Result<u32> {
        let status = ask(world, &["status"])?;
        let messages = status["services"][0]["messages"].as_u64().context("no count of messages")?;
        Ok(u32::try_from(messages)?)
    };
    let (before, start) = (messages()?, Instant::now());
    std::thread::sleep(SPAN);
    Ok(f64::from(messages()? - before) / start.elapsed().as_secs_f64())
}
