//! Connections that are answered 421 and closed, and what a session costs that is held and says nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::hold::{begin, hold, wait_for_sessions};
use super::proxy::{self, Proxies, Proxy};
use super::relay::start_sink;
use super::report::{Cell, Report, Table, count};
use super::sample::Sample;
use crate::agent::Agent;
use crate::world::{GATEWAY_V4, World};

/// Rounds of each measurement.
const ROUNDS: usize = 5;
/// Connections of one round.
const CONNECTIONS: u32 = 20_000;
/// Connections at the same time.
const AT_ONCE: u32 = 64;
/// Sessions that are held at first; then as many as the machine allows.
const FEW: usize = 1_000;
/// How long all sessions of a round may take to open.
const PATIENCE: Duration = Duration::from_mins(2);

const REFUSALS: &str = "\
connections that are answered 421 in a second, median of 5 rounds (best), from 51 addresses, 64 at once; processor:
microseconds that the server itself takes for one, all its threads together; and how many that would be in a second on one
core. Gatepost has judged and booked each; nginx (stream, return) writes a fixed text.";

const SESSIONS: &str = "\
sessions that have been greeted, have said EHLO and wait; memory: what the server's processes hold of their own (RssAnon)
beyond what they held before, for each session. What the kernel holds for its sockets is not in it. Such a session has two
ends: where a process may not have 20,200 descriptors, the last ones of 10,000 have connected to the port where TLS comes first, and
not begun it, which takes one. The agent counts them all among its sessions; its peers are measured without them.";

/// Measures both.
pub fn measure(report: &mut Report) -> Result<()> {
    let many = proxy::raise_descriptors()?;
    let world = World::new()?;
    let full = Agent::start(&world, "[sessions]\nmaximum_incoming_sessions = 0\n")?;
    let nginx = proxy::start_nginx(&world, None)?;
    let mut table =
        Table::new("421 and close", REFUSALS, &["server", "per second", "processor", "per second and core"]);
    for (name, process, address) in [
        ("gatepost", full.id(), format!("{GATEWAY_V4}:25")),
        ("nginx, stream, return", nginx.id(), proxy::NGINX_REFUSES.to_owned()),
    ] {
        table.row(refusals(&world, name, process, address.parse()?)?);
    }
    report.add(&table);
    drop((full, nginx));

    let sink = start_sink(&world)?;
    for (title, tls) in [("idle sessions", false), ("idle sessions, TLS", true)] {
        let mut table = Table::new(title, SESSIONS, &["proxy", "sessions", "KiB each"]);
        for (held, beginning) in [(FEW, 0), (many, proxy::MANY - many)] {
            // What a program has once had, it may keep; so each number has programs of its own.
            let proxies = Proxies::start(&world)?;
            for proxy in Proxy::TERMINATING {
                let beginning = if proxy == Proxy::Gatepost { beginning } else { 0 };
                let sessions = match beginning {
                    0 => count(held),
                    _ => format!("{}, {beginning} of them before TLS", count(held + beginning)),
                };
                table.row(vec![
                    Cell::Text(proxy.name().to_owned()),
                    Cell::Text(sessions),
                    Cell::Figure(memory_of_each(&world, &proxies, proxy, tls, (held, beginning))?, 1),
                ]);
            }
        }
        report.add(&table);
    }
    drop(sink);
    Ok(())
}

/// KiB that a proxy takes for each of so many sessions, the second number of which do not begin.
fn memory_of_each(
    world: &World,
    proxies: &Proxies<'_>,
    proxy: Proxy,
    tls: bool,
    (held, beginning): (usize, usize),
) -> Result<f64> {
    let (address, authority) =
        if tls { (proxy.tls_address(), Some(proxies.authority())) } else { (proxy.address(), None) };
    let before = proxies.memory(proxy)?;
    let after = hold(world, address.parse()?, authority, held, || {
        let silent = begin(world, proxy.tls_address().parse()?, held..held + beginning)?;
        if proxy == Proxy::Gatepost {
            wait_for_sessions(world, held + beginning)?;
        }
        let after = proxies.memory(proxy)?;
        drop(silent);
        Ok(after)
    })?;
    #[expect(clippy::cast_precision_loss, reason = "memory sizes are far below 2^53")]
    let each = after.saturating_sub(before) as f64 / 1024.0 / (held + beginning) as f64;
    Ok(each)
}

fn refusals(world: &World, name: &str, process: u32, address: SocketAddr) -> Result<Vec<Cell>> {
    let (mut seconds, mut processor) = (Sample::default(), Sample::default());
    for _ in 0..ROUNDS {
        let (start, before) = (Instant::now(), proxy::processor_time(process)?);
        world.internet.enter(|| in_runtime(knock(address)))?;
        seconds.add(start.elapsed().as_secs_f64());
        processor.add((proxy::processor_time(process)?.saturating_sub(before)).as_secs_f64());
    }
    let each = |sample: f64| f64::from(CONNECTIONS) / sample;
    let busy = processor.median();
    Ok(vec![
        Cell::Text(name.to_owned()),
        Cell::Spread { middle: each(seconds.median()), best: each(seconds.best()), decimals: 0 },
        Cell::Figure(busy * 1e6 / f64::from(CONNECTIONS), 1),
        Cell::Figure(each(busy), 0),
    ])
}

/// Connects, hears 421 and the close, again and again.
async fn knock(address: SocketAddr) -> Result<()> {
    let mut clients = JoinSet::new();
    for client in 0..AT_ONCE {
        clients.spawn(async move {
            for round in 0..CONNECTIONS.div_ceil(AT_ONCE) {
                let mut stream = connect(client + round, address).await?;
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.context("the answer broke off")?;
                ensure!(heard.starts_with(b"421 "), "heard {:?}", String::from_utf8_lossy(&heard));
            }
            Ok(())
        });
    }
    all(clients).await
}

async fn connect(number: u32, address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    let host = u8::try_from(number % 51)?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(203, 0, 113, 10 + host), 0)))?;
    socket.connect(address).await.context("cannot connect")
}

async fn all(mut clients: JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}

fn in_runtime<T>(job: impl Future<Output = Result<T>>) -> Result<T> {
    // On this thread, because it is in the name space.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, job).await.context("too slow to be measured")? })
}
