//! Sessions that are held and say nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use super::proxy::NAME;
use crate::agent::ask;
use crate::process::wait_until;
use crate::tls::{Authority, Wire};
use crate::world::World;

/// Sessions that are opened at the same time.
const AT_ONCE: usize = 32;
/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens sessions in the internet, looks at something while they wait, and closes them. With an authority they begin with TLS.
pub(super) fn hold<T: Send>(
    world: &World,
    address: SocketAddr,
    authority: Option<&Authority>,
    held: usize,
    look: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let trust = authority.map(Authority::trust).transpose()?;
    let trust = trust.as_ref();
    world.internet.enter(|| {
        let sessions = std::thread::scope(|scope| {
            let opening: Vec<_> = (0..AT_ONCE)
                .map(|first| {
                    let mine = (first..held).step_by(AT_ONCE);
                    scope.spawn(move || {
                        mine.map(|number| session(number, address, trust)).collect::<Result<Vec<_>>>()
                    })
                })
                .collect();
            let opened = opening.into_iter().map(|thread| match thread.join() {
                Ok(sessions) => sessions,
                Err(_) => Err(anyhow!("a client panicked")),
            });
            opened.collect::<Result<Vec<_>>>()
        })?;
        let count: usize = sessions.iter().map(Vec::len).sum();
        ensure!(count == held, "{count} of {held} sessions");
        look()
    })
}

/// Sessions that have connected where TLS comes first, and do not begin it: the proxy holds one descriptor for each, not two.
pub(super) fn begin(
    world: &World,
    address: SocketAddr,
    numbers: impl Iterator<Item = usize> + Send,
) -> Result<Vec<TcpStream>> {
    world.internet.enter(|| numbers.map(|number| connect(number, address)).collect())
}

/// Waits until the agent counts so many open sessions.
pub(super) fn wait_for_sessions(world: &World, count: usize) -> Result<()> {
    wait_until("all sessions", Duration::from_secs(10), || {
        Ok(ask(world, &["sessions", "list"])?["total"] == count)
    })
}

/// A session that has been greeted and has said EHLO.
fn session(number: usize, address: SocketAddr, trust: Option<&Arc<ClientConfig>>) -> Result<Wire> {
    let mut wire = Wire::Plain(connect(number, address)?);
    if let Some(trust) = trust {
        wire = wire.secure_by(NAME, Arc::clone(trust))?;
    }
    hear(&mut wire, b"220 ")?;
    wire.write_all(b"EHLO client.example\r\n")?;
    hear(&mut wire, b"250 ")?;
    Ok(wire)
}

fn connect(number: usize, address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    let host = u8::try_from(number % 51)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(203, 0, 113, 10 + host), 0)).into())?;
    socket.connect(&address.into()).context("cannot connect")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Reads until the last line of a reply, which begins so.
fn hear(wire: &mut Wire, last: &[u8]) -> Result<()> {
    let mut heard = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        match wire.read(&mut buffer)? {
            0 => bail!("closed after {:?}", String::from_utf8_lossy(&heard)),
            count => heard.extend_from_slice(&buffer[..count]),
        }
        let line = heard.split_inclusive(|byte| *byte == b'\n').next_back().unwrap_or_default();
        if line.starts_with(last) && line.ends_with(b"\n") {
            return Ok(());
        }
    }
}
