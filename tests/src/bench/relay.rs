//! Messages through the edge, beside proxies that read nothing.
//!
//! The clients are Postfix's smtp-source in the internet, the mail server is Postfix's smtp-sink behind the gateway. Each proxy
//! stands at a port of its own; direct means that the gateway forwards the packets. smtp-source knows no TLS: where TLS is measured,
//! a HAProxy in the internet puts it around the bytes of all clients, whichever proxy they go to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::choice::Choice;
use super::proxy::{self, Proxies, Proxy};
use super::report::{Cell, Report, Table};
use super::sample::Sample;
use crate::namespace::succeed;
use crate::process::Process;
use crate::world::{MAIL, World};

/// Rounds of each measurement; a round takes seconds, and asks every proxy, each time beginning with another one.
const ROUNDS: usize = 7;
/// Clients that send at the same time.
const CLIENTS: &str = "20";

const NOTE: &str = "\
messages per second, median of 7 rounds (best), with 20 clients at once; of HAProxy's: the median of what it was in each round;
processor: microseconds that the proxy itself takes for a message, all its threads together. Clients, proxy and mail server
share the processors of this machine.
direct: the gateway forwards the packets. HAProxy (mode tcp) and nginx (stream) move bytes and read none of them.
TLS: it ends at the proxy, and begins in one program for all clients, which shares the processors, too.";

/// One way of sending.
struct Load {
    /// What it is called where rows are chosen.
    name: &'static str,
    title: &'static str,
    messages: u32,
    bytes: u32,
    /// What the message is.
    matter: Matter,
    /// One session for all messages of a client, instead of one for each.
    reuse: bool,
    tls: bool,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matter {
    /// One text, in which there is nothing to look for.
    Text,
    /// A multipart with a file attached to it, whose every line may be a boundary.
    Attachment,
}

use Matter::{Attachment, Text};

const LOADS: [Load; 8] = [
    Load::new("small", "reused sessions, 1 kB messages", 10_000, 1_000, Text).reused(),
    Load::new("large", "reused sessions, 100 kB messages", 2_000, 100_000, Text).reused(),
    Load::new(
        "attachment",
        "reused sessions, 100 kB messages with an attachment",
        2_000,
        100_000,
        Attachment,
    )
    .reused(),
    Load::new("single-small", "one message a session, 1 kB", 4_000, 1_000, Text),
    Load::new("single-large", "one message a session, 100 kB", 1_500, 100_000, Text),
    Load::new("tls-small", "TLS, reused sessions, 1 kB messages", 8_000, 1_000, Text).reused().secured(),
    Load::new("tls-large", "TLS, reused sessions, 100 kB messages", 1_000, 100_000, Text).reused().secured(),
    Load::new("tls-single-small", "TLS, one message a session, 1 kB", 2_000, 1_000, Text).secured(),
];

/// What the rows are called.
pub const NAMES: [&str; LOADS.len()] = {
    let mut names = [""; LOADS.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = LOADS[place].name;
        place += 1;
    }
    names
};

impl Load {
    const fn new(name: &'static str, title: &'static str, messages: u32, bytes: u32, matter: Matter) -> Self {
        Self { name, title, messages, bytes, matter, reuse: false, tls: false }
    }

    const fn reused(self) -> Self {
        Self { reuse: true, ..self }
    }

    const fn secured(self) -> Self {
        Self { tls: true, ..self }
    }

    /// Who is measured.
    const fn proxies(&self) -> &'static [Proxy] {
        if self.tls { &Proxy::TERMINATING } else { &Proxy::ALL }
    }
}

/// Measures those that are wanted.
pub fn measure(report: &mut Report, choice: &Choice) -> Result<()> {
    let world = World::new()?;
    let proxies = Proxies::start(&world)?;
    let (sink, wrapper) = (start_sink(&world)?, proxy::start_wrapper(&world)?);
    let attached = write_attached(world.scratch())?;
    for load in LOADS.iter().filter(|load| choice.has(load.name)) {
        report.add(&of(&world, &proxies, load, &attached)?);
    }
    drop((sink, wrapper));
    Ok(())
}

/// Writes a message of 100 kB, most of which is a file in base64 (RFC 2045 section 6.8).
fn write_attached(folder: &Path) -> Result<PathBuf> {
    let file = folder.join("attached");
    let lines =
        "JVBERi0xLjcKJeLjz9MKMSAwIG9iago8PCAvVHlwZSAvQ2F0YWxvZyAvUGFnZXMgMiAwIFIgPj4K\n".repeat(1_280);
    let text = format!(
        "From: sender@client.example\nSubject: a file\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=\"=_one\"\n\n--=_one\nContent-Type: text/plain\n\nHello.\n\
         --=_one\nContent-Type: application/pdf; name=\"a.pdf\"\nContent-Transfer-Encoding: base64\n\
         Content-Disposition: attachment; filename=\"a.pdf\"\n\n{lines}--=_one--\n"
    );
    fs::write(&file, text)?;
    Ok(file)
}

fn of(world: &World, proxies: &Proxies<'_>, load: &Load, attached: &Path) -> Result<Table> {
    let mut figures: Vec<_> =
        load.proxies().iter().map(|proxy| (*proxy, Sample::default(), Sample::default())).collect();
    for round in 0..ROUNDS {
        let begin = round % figures.len();
        let (later, sooner) = figures.split_at_mut(begin);
        for (proxy, seconds, processor) in sooner.iter_mut().chain(later) {
            let (taken, busy) = send(world, proxies, *proxy, load, attached)?;
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
        let share = Cell::Figure(peer.over(&seconds).median(), 2);
        table.row(vec![Cell::Text(proxy.name().to_owned()), spread, share, own]);
    }
    Ok(table)
}

/// Sends all messages of a load; how long that took, and how much of it the proxy was at work.
fn send(
    world: &World,
    proxies: &Proxies<'_>,
    proxy: Proxy,
    load: &Load,
    attached: &Path,
) -> Result<(Duration, Duration)> {
    let (messages, bytes) = (load.messages.to_string(), load.bytes.to_string());
    let attached = attached.to_string_lossy();
    let mut arguments = vec!["-s", CLIENTS, "-m", &messages, "-f", "sender@client.example"];
    arguments.extend(match load.matter {
        Text => ["-l", &bytes],
        Attachment => ["-F", &attached],
    });
    if load.reuse {
        arguments.push("-d");
    }
    let address = if load.tls { proxy.wrapped_address() } else { proxy.address() };
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
