//! Messages through the edge, beside proxies that read nothing.
//!
//! The clients are Postfix's smtp-source in the internet, the mail server is Postfix's smtp-sink behind the gateway. Each proxy
//! stands at a port of its own; direct means that the gateway forwards the packets.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::proxy::{self, Proxies, Proxy};
use super::report::{Cell, Report, Table};
use super::sample::Sample;
use crate::namespace::succeed;
use crate::process::Process;
use crate::world::{MAIL, World};

/// Rounds of each measurement; a round takes seconds, and each asks every proxy.
const ROUNDS: usize = 5;
/// Clients that send at the same time.
const CLIENTS: &str = "20";

const NOTE: &str = "\
messages per second, median of 5 rounds (best), with 20 clients at once; processor: microseconds that the proxy itself takes
for a message, all its threads together. Clients, proxy and mail server share the processors of this machine.
direct: the gateway forwards the packets. HAProxy (mode tcp) and nginx (stream) move bytes and read none of them.";

/// One way of sending.
struct Load {
    title: &'static str,
    messages: u32,
    bytes: u32,
    /// One session for all messages of a client, instead of one for each.
    reuse: bool,
}

const LOADS: [Load; 4] = [
    Load { title: "reused sessions, 1 kB messages", messages: 10_000, bytes: 1_000, reuse: true },
    Load { title: "reused sessions, 100 kB messages", messages: 2_000, bytes: 100_000, reuse: true },
    Load { title: "one message a session, 1 kB", messages: 4_000, bytes: 1_000, reuse: false },
    Load { title: "one message a session, 100 kB", messages: 1_500, bytes: 100_000, reuse: false },
];

/// Measures all of them.
pub fn measure(report: &mut Report) -> Result<()> {
    let world = World::new()?;
    let proxies = Proxies::start(&world)?;
    let sink = start_sink(&world)?;
    for load in &LOADS {
        report.add(&of(&world, &proxies, load)?);
    }
    drop(sink);
    Ok(())
}

fn of(world: &World, proxies: &Proxies<'_>, load: &Load) -> Result<Table> {
    let mut figures = Proxy::ALL.map(|proxy| (proxy, Sample::default(), Sample::default()));
    for _ in 0..ROUNDS {
        for (proxy, seconds, processor) in &mut figures {
            let (taken, busy) = send(world, proxies, *proxy, load)?;
            seconds.add(taken.as_secs_f64());
            processor.add(busy.as_secs_f64());
        }
    }
    let rate = |seconds: f64| f64::from(load.messages) / seconds;
    let peer =
        figures.iter().find(|(proxy, ..)| *proxy == Proxy::HaProxy).map(|(_, seconds, _)| seconds.clone());
    let peer = peer.context("HAProxy was not measured")?;
    let mut table = Table::new(load.title, NOTE, &["proxy", "messages/s", "of HAProxy's", "processor"]);
    for (proxy, seconds, processor) in figures {
        let busy = processor.median() * 1e6 / f64::from(load.messages);
        let own = if proxy == Proxy::Direct { Cell::Missing("none") } else { Cell::Figure(busy, 1) };
        let spread = Cell::Spread { middle: rate(seconds.median()), best: rate(seconds.best()), decimals: 0 };
        let share = Cell::Figure(peer.median() / seconds.median(), 2);
        table.row(vec![Cell::Text(proxy.name().to_owned()), spread, share, own]);
    }
    Ok(table)
}

/// Sends all messages of a load; how long that took, and how much of it the proxy was at work.
fn send(world: &World, proxies: &Proxies<'_>, proxy: Proxy, load: &Load) -> Result<(Duration, Duration)> {
    let (messages, bytes) = (load.messages.to_string(), load.bytes.to_string());
    let mut arguments = vec!["-s", CLIENTS, "-m", &messages, "-l", &bytes, "-f", "sender@client.example"];
    if load.reuse {
        arguments.push("-d");
    }
    let address = proxy.address();
    arguments.extend(["-t", "alice@example.test", &address]);
    let before = proxies.processor_time(proxy)?;
    let start = Instant::now();
    world.internet.enter(|| succeed(Command::new("smtp-source").args(&arguments)))?;
    let taken = start.elapsed();
    Ok((taken, proxies.processor_time(proxy)?.saturating_sub(before)))
}

/// A mail server that takes everything and throws it away.
pub(super) fn start_sink(world: &World) -> Result<Process> {
    let address = format!("{MAIL}:25");
    let child = world.mail.enter(|| {
        let mut command = Command::new("smtp-sink");
        // As somebody who may write nothing.
        command
            .args(["-u", "nobody", "-m", "20000", &address, "1000"])
            .spawn()
            .context("cannot start smtp-sink")
    })?;
    let sink = Process::new(child);
    proxy::wait_for(&world.mail, &address)?;
    Ok(sink)
}
