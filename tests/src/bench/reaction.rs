//! From the mail server's refusal that crosses the threshold to the entry in the kernel.
//!
//! The agent is the real one, in a world of its own. The mail server is a thread of this process: it takes the time before
//! it writes the last refusal, and then looks into the kernel's map until the client is there. So both ends are one clock.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use filter_core::admin::Removed;
use filter_user::control;
use filter_user::kernel::View;
use ipnet::IpNet;

use super::report::{Cell, Report, Table};
use crate::agent::{Agent, ask};
use crate::client::Client;
use crate::world::{MAIL, World};

/// Blocks that are measured with each load.
const BLOCKS: usize = 300;
/// Who is blocked, again and again.
const BLOCKED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Who misbehaves all the time and is never blocked.
const EXEMPT: &str = "203.0.113.32/27";
/// The recipient whose refusal crosses the threshold.
const LAST: &str = "last@elsewhere.test";
/// How long an entry is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

const NOTE: &str = "\
microseconds by the clock, of 300 blocks, one after another. entry: from before the mail server writes the refusal that
crosses the threshold, through the agent, until the client is in the kernel's map, looked for whenever nobody else wants the processor. told: until
the client has read its 421. The load are sessions that are refused recipients as fast as they can ask, each an offence.
Mail server, clients, agent and the look into the map share the processors of this machine.";

/// Measures quiet and under load.
pub fn measure(report: &mut Report) -> Result<()> {
    let world = World::new()?;
    let (entries, found) = channel();
    let listener = world.mail.enter(|| Ok(TcpListener::bind((MAIL, 25))?))?;
    let kernel = Arc::new(OnceLock::new());
    let maps = Arc::clone(&kernel);
    std::thread::spawn(move || serve(&listener, &maps, &entries));
    let agent =
        Agent::start(&world, "client_address = \"none\"\nmaximum_errors = 0\nmaximum_commands = 0\n")?;
    // Once: to map the tables takes milliseconds.
    ensure!(kernel.set(View::open(world.pins())?).is_ok(), "the maps are open already");
    ask(&world, &["never", "add", EXEMPT])?;
    let heads = ["load", "offences/s", "entry p50", "entry p99", "entry max", "told p50", "told p99"];
    let mut table = Table::new("from the refusal to the kernel", NOTE, &heads);
    for sessions in [0, 1, 4, 16] {
        let cells = under_load(&world, &found, sessions)?;
        // Told at once, too: the whole takes minutes.
        println!("react: {}", cells.iter().map(Cell::print).collect::<Vec<_>>().join(", "));
        table.row(cells);
    }
    report.add(&table);
    agent.stop()
}

fn under_load(world: &World, found: &Receiver<Duration>, sessions: u8) -> Result<Vec<Cell>> {
    let stop = AtomicBool::new(false);
    let (mut entry, mut told) = (Vec::new(), Vec::new());
    let rate = std::thread::scope(|scope| {
        let stop = &stop;
        let load: Vec<_> = (0..sessions)
            .map(|number| scope.spawn(move || misbehave(world, &format!("203.0.113.{}", 33 + number), stop)))
            .collect();
        // Whatever comes of it, the load is told to stop.
        let rate = measured(world, found, &mut entry, &mut told);
        stop.store(true, Ordering::Relaxed);
        for thread in load {
            thread.join().map_err(|_| anyhow::anyhow!("a session panicked"))??;
        }
        rate
    })?;
    entry.sort_by(f64::total_cmp);
    told.sort_by(f64::total_cmp);
    let at = |sorted: &[f64], percent: usize| Cell::Figure(sorted[(sorted.len() - 1) * percent / 100], 0);
    let who = format!("{sessions} sessions");
    let mut row = vec![Cell::Text(who), Cell::Figure(rate, 0)];
    row.extend([at(&entry, 50), at(&entry, 99), at(&entry, 100), at(&told, 50), at(&told, 99)]);
    Ok(row)
}

/// Microseconds of each block; says how many offences there were in a second.
fn measured(
    world: &World,
    found: &Receiver<Duration>,
    entry: &mut Vec<f64>,
    told: &mut Vec<f64>,
) -> Result<f64> {
    let (start, before) = (Instant::now(), offences(world)?);
    for _ in 0..BLOCKS {
        let (is_there, has_heard) = one_block(world, found)?;
        entry.push(is_there.as_secs_f64() * 1e6);
        told.push(has_heard.as_secs_f64() * 1e6);
    }
    let seen = u32::try_from(offences(world)? - before)?;
    Ok(f64::from(seen) / start.elapsed().as_secs_f64())
}

/// A client is refused ten times, blocked, told and let in again: until its entry, and until it was told.
fn one_block(world: &World, found: &Receiver<Duration>) -> Result<(Duration, Duration)> {
    let mut client = Client::greeted(world, &BLOCKED.to_string())?;
    client.ask("MAIL FROM:<sender@client.example>", 250)?;
    for _ in 0..9 {
        client.ask("RCPT TO:<someone@elsewhere.test>", 554)?;
    }
    let start = Instant::now();
    client.send(&format!("RCPT TO:<{LAST}>\r\n"))?;
    while client.read()?.code != 421 {}
    let told = start.elapsed();
    let entry = found.recv_timeout(PATIENCE).context("the client did not come into the kernel")?;
    let socket = control::Client::new(&world.scratch().join("state/control.sock"));
    let route = format!("/api/v1/blocks?network={BLOCKED}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(socket.delete::<Removed>(&route))?;
    Ok((entry, told))
}

fn offences(world: &World) -> Result<u64> {
    ask(world, &["status"])?["offences"].as_u64().context("no offences")
}

/// Asks for recipients and is refused, as fast as it goes.
fn misbehave(world: &World, from: &str, stop: &AtomicBool) -> Result<()> {
    let mut client = Client::greeted(world, from)?;
    client.ask("MAIL FROM:<sender@client.example>", 250)?;
    while !stop.load(Ordering::Relaxed) {
        client.ask("RCPT TO:<someone@elsewhere.test>", 554)?;
    }
    client.quit()
}

/// A mail server that relays for nobody; ends with the process.
fn serve(listener: &TcpListener, kernel: &Arc<OnceLock<View>>, entries: &Sender<Duration>) {
    for stream in listener.incoming().flatten() {
        let (kernel, entries) = (Arc::clone(kernel), entries.clone());
        // A session that breaks is noticed by the client's side.
        std::thread::spawn(move || drop(talk(stream, &kernel, &entries)));
    }
}

fn talk(stream: TcpStream, kernel: &OnceLock<View>, entries: &Sender<Duration>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    writer.write_all(b"220 mail.example.test ESMTP\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let reply: &[u8] = match line.get(..4) {
            Some("RCPT") => b"554 5.7.1 Relay access denied\r\n",
            Some("QUIT") => b"221 2.0.0 Bye\r\n",
            _ => b"250 2.0.0 Ok\r\n",
        };
        if line.contains(LAST) {
            let kernel = kernel.get().context("the maps are not open yet")?;
            let blocked = IpNet::from(IpAddr::from(BLOCKED));
            let start = Instant::now();
            writer.write_all(reply)?;
            while kernel.block(&blocked).is_none() {
                ensure!(start.elapsed() < PATIENCE, "no entry");
                // Whoever is to make the entry must not wait for this thread's turn to end.
                std::thread::yield_now();
            }
            entries.send(start.elapsed())?;
        } else {
            writer.write_all(reply)?;
        }
    }
    Ok(())
}
