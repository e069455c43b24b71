//! Every dialogue script over real sockets: a client in the internet, the real agent on the gateway, a mail server that says
//! what the script says. The agent, the world and the mail server's port are the same for all of them; each script has a client of its own.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use filter_core::offence::Kind;
use filter_core::script::{Fate, Script, Step};
use filter_tests::agent::{Agent, ask};
use filter_tests::client::Client;
use filter_tests::process::wait_until;
use filter_tests::world::{GATEWAY_V6, MAIL, World};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The services that scripts name, as `filter-user/core/src/script/tests.rs` builds them.
const SERVICES: [(&str, u16, &str); 5] = [
    ("smtp", 25, ""),
    ("lenient", 2501, "line_ends = \"normalize\"\n"),
    (
        "small",
        2502,
        "maximum_message_size = 1000\nmaximum_recipients = 100\nmaximum_errors = 5\nmaximum_commands = 20\n",
    ),
    ("brief", 2503, "client_timeout = \"1s\"\n"),
    ("slow", 2504, "greet_delay = \"1s\"\n"),
];

/// How a client reaches a service.
trait Wire: Read + Write {
    /// The client will send no more.
    fn half_close(&mut self) -> Result<()>;
}

impl Wire for TcpStream {
    fn half_close(&mut self) -> Result<()> {
        Ok(self.shutdown(Shutdown::Write)?)
    }
}

/// Opens a connection from an address to a port of the gateway.
type Transport = fn(&World, &str, u16) -> Result<Box<dyn Wire>>;

fn plain(world: &World, from: &str, port: u16) -> Result<Box<dyn Wire>> {
    let stream = Client::connect_on(world, from, port)?.into_stream()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Box::new(stream))
}

fn sections() -> String {
    let service = |(name, port, settings): (&str, u16, &str)| {
        if name == "smtp" {
            return "client_address = \"none\"\n".to_owned();
        }
        format!("[services.{name}]\nlisten = [\"[{GATEWAY_V6}]:{port}\"]\n{settings}")
    };
    let others = "[detection]\nlocal_domains = [\"example.test\"]\ntrap_recipients = [\"trap@example.test\"]\n\
                  [ips]\nclient_error_block_threshold = 1000000\n";
    SERVICES.map(service).concat() + others
}

fn scripts() -> Result<Vec<Script>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    paths
        .iter()
        .map(|path| Script::parse(&fs::read_to_string(path)?).with_context(|| path.display().to_string()))
        .collect()
}

/// One end of a dialogue: what it must get, and how much of that it has.
struct End<S> {
    stream: S,
    expected: Vec<u8>,
    got: Vec<u8>,
}

impl<S: Read> End<S> {
    fn new(stream: S) -> Self {
        Self { stream, expected: Vec::new(), got: Vec::new() }
    }

    /// Reads until it has all that it must have got by now.
    fn catch_up(&mut self) -> Result<()> {
        while self.got.len() < self.expected.len() {
            if !self.read()? {
                break;
            }
        }
        self.compare()
    }

    /// Reads until the other end closes.
    fn read_out(&mut self) -> Result<()> {
        while self.read()? {}
        self.compare()
    }

    fn read(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error).with_context(|| self.describe()),
        };
        self.got.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    fn compare(&self) -> Result<()> {
        ensure!(self.got == self.expected, self.describe());
        Ok(())
    }

    fn describe(&self) -> String {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        format!("must be {:?}\nis      {:?}", text(&self.expected), text(&self.got))
    }
}

/// Plays a script.
fn play(script: &Script, wire: Box<dyn Wire>, listener: &TcpListener) -> Result<()> {
    let mut client = End::new(wire);
    let mut server = Some(End::new(accept(listener)?));
    let mut sure = true;
    for group in
        script.steps.chunk_by(|one, other| matches!((one, other), (Step::Client(..), Step::Client(..))))
    {
        match group {
            [Step::Client(..), ..] => {
                client.catch_up().context("the client hears")?;
                let mut all = Vec::new();
                for step in group {
                    let Step::Client(bytes, fate) = step else { continue };
                    all.extend_from_slice(bytes);
                    sure &= *fate != Fate::Unsure;
                    if let Some(server) = server.as_mut().filter(|_| *fate == Fate::Passes) {
                        server.expected.extend_from_slice(bytes);
                    }
                }
                client.stream.write_all(&all)?;
            }
            [Step::Passed(bytes)] => {
                server.as_mut().context("the mail server has gone")?.expected.extend_from_slice(bytes);
            }
            [Step::Server(bytes, is_heard)] => {
                let server = server.as_mut().context("the mail server has gone")?;
                if sure {
                    server.catch_up().context("the mail server gets")?;
                }
                server.stream.write_all(bytes)?;
                if *is_heard {
                    client.expected.extend_from_slice(bytes);
                }
            }
            [Step::Own(bytes)] => client.expected.extend_from_slice(bytes),
            [Step::ClientCloses] => {
                client.catch_up().context("the client hears")?;
                client.stream.half_close()?;
            }
            [Step::ServerCloses] => {
                if let Some(mut server) = server.take().filter(|_| sure) {
                    server.catch_up().context("the mail server gets")?;
                }
            }
            _ => {}
        }
    }
    client.catch_up().context("the client hears")?;
    if let Some(mut server) = server {
        if sure {
            server.catch_up().context("the mail server gets")?;
        }
        drop(server);
    }
    // Whatever is said behind the last step would be heard now, but for what a mail server that goes away makes us say.
    let ended = script.steps.contains(&Step::ServerCloses);
    if ended { client.read_out().context("the client hears") } else { Ok(()) }
}

/// The agent's connection.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let begun = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => bail!("the agent does not connect: {error}"),
        }
    }
}

/// What is in the event log of a client, the oldest first.
fn reported(world: &World, address: &str) -> Result<Vec<String>> {
    let log = ask(world, &["events", "--network", address])?;
    let mut events: Vec<_> = log.as_array().context("no events")?.iter().collect();
    events.sort_by_key(|event| event["id"].as_u64());
    Ok(events.iter().filter_map(|event| Some(event["kind"].as_str()?.to_owned())).collect())
}

#[test]
fn each_script_comes_out_as_it_says_over_real_sockets() {
    let outcome = World::new().and_then(|world| {
        let listener = world.mail.enter(|| Ok(TcpListener::bind(SocketAddr::new(MAIL.parse()?, 2600))?))?;
        listener.set_nonblocking(true)?;
        let agent = Agent::start_before(&world, &format!("{MAIL}:2600"), &sections())?;
        let transports: [(&str, Transport); 1] = [("plain", plain)];
        for (place, (name, transport)) in transports.into_iter().enumerate() {
            for (number, script) in scripts()?.iter().enumerate() {
                // One address for each, that nobody's offences mix with another's.
                let from = format!("2001:db8:a:{:x}::1", 0x100 * (place + 1) + number);
                world.internet.ip(&["address", "add", &format!("{from}/128"), "dev", "out0", "nodad"])?;
                let (_, port, _) = SERVICES
                    .into_iter()
                    .find(|(service, ..)| *service == script.service)
                    .with_context(|| format!("no service {}", script.service))?;
                let wire = transport(&world, &from, port)?;
                play(script, wire, &listener)
                    .with_context(|| format!("{name}: {}\n{}", script.title, agent.log()))?;
                // One session without a transaction is no event yet.
                let expected = script.offences.iter().filter(|kind| **kind != Kind::UnfinishedSession);
                let expected: Vec<_> = expected.map(|kind| kind.name()).collect();
                let waited = wait_until("the events", PATIENCE, || {
                    Ok(reported(&world, &from)?.len() >= expected.len())
                });
                let reported = reported(&world, &from)?;
                ensure!(
                    waited.is_ok() && reported == expected,
                    "{name}: {}: {reported:?}, not {expected:?}",
                    script.title
                );
            }
        }
        agent.stop()
    });
    if let Err(error) = outcome {
        panic!("{error:?}");
    }
}
