//! Every dialogue script over real sockets: a client in the internet, the real agent on the gateway, a mail server that says
//! what the script says. The agent, the world and the mail server's port are the same for all of them; each script has a client of its own.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use filter_core::offence::Kind;
use filter_core::script::{Fate, Script, Step, Transport};
use filter_tests::agent::{Agent, ask};
use filter_tests::client::Client;
use filter_tests::process::wait_until;
use filter_tests::tls::{Authority, Wire, setting};
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

/// The name of the gateway's certificate.
const NAME: &str = "mx.example.test";

/// What a service is called, and its port, where clients come by this transport.
fn address(service: &str, port: u16, transport: Transport) -> (String, u16) {
    match transport {
        Transport::Plain => (service.to_owned(), port),
        Transport::StartTls => (format!("{service}-starttls"), 10_000 + port),
        Transport::Implicit => (format!("{service}-implicit"), 20_000 + port),
    }
}

/// The services, and each of them once more for each transport.
fn sections(authority: &Authority) -> Result<String> {
    let certificates = setting(&authority.sign("gateway", &[NAME])?);
    let mut text = "client_address = \"none\"\n".to_owned();
    for (service, port, settings) in SERVICES {
        for transport in Transport::ALL {
            let (name, port) = address(service, port, transport);
            if name == "smtp" {
                continue;
            }
            let tls = match transport {
                Transport::Plain => String::new(),
                Transport::StartTls => format!("tls = \"terminate\"\n{certificates}"),
                Transport::Implicit => format!("tls = \"implicit\"\n{certificates}"),
            };
            let listen = format!("listen = [\"[{GATEWAY_V6}]:{port}\"]");
            text.extend([&format!("[services.{name}]\n{listen}\n"), settings, &tls]);
        }
    }
    Ok(text
        + "[detection]\nlocal_domains = [\"example.test\"]\ntrap_recipients = [\"trap@example.test\"]\n\
           [ips]\nclient_error_block_threshold = 1000000\n")
}

/// Both ends of a session, and what of the script is still to be played there.
struct Session<'a> {
    client: End<Wire>,
    server: End<TcpStream>,
    steps: &'a [Step],
}

impl<'a> Session<'a> {
    /// Lets a client in. Where STARTTLS must be asked for, the script's greeting comes before it, and its EHLO inside it.
    fn begin(
        script: &'a Script,
        transport: Transport,
        client: Client,
        authority: &Authority,
        listener: &TcpListener,
    ) -> Result<Self> {
        let ca = authority.file();
        let (wire, server, steps) = match transport {
            Transport::Plain => (client.into_wire()?, accept(listener)?, &script.steps[..]),
            Transport::Implicit => {
                (client.secure(NAME, &ca)?.into_wire()?, accept(listener)?, &script.steps[..])
            }
            Transport::StartTls => {
                let Some((Step::Server(greeting, true), steps)) = script.steps.split_first() else {
                    bail!("there is no greeting to ask for TLS after; say `only` and why");
                };
                let (mut client, mut server) = (client, End::new(accept(listener)?));
                server.stream.write_all(greeting)?;
                client.expect(220)?;
                let hello = "EHLO before.tls.example\r\n";
                client.send(hello)?;
                server.expected.extend_from_slice(hello.as_bytes());
                server.catch_up()?;
                server.stream.write_all(b"250 mail.example.test\r\n")?;
                ensure!(client.expect(250)?.text.contains("STARTTLS"), "STARTTLS is not offered");
                client.ask("STARTTLS", 220)?;
                (client.secure(NAME, &ca)?.into_wire()?, server.stream, steps)
            }
        };
        wire.set_patience(PATIENCE)?;
        Ok(Self { client: End::new(wire), server: End::new(server), steps })
    }
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

/// Plays what is left of a script.
fn play(session: Session<'_>) -> Result<()> {
    let Session { mut client, server, steps } = session;
    let mut server = Some(server);
    let mut sure = true;
    for group in steps.chunk_by(|one, other| matches!((one, other), (Step::Client(..), Step::Client(..)))) {
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
    let ended = steps.contains(&Step::ServerCloses);
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
        let authority = Authority::new(&world.scratch().join("tls"))?;
        let agent = Agent::start_before(&world, &format!("{MAIL}:2600"), &sections(&authority)?)?;
        for (place, transport) in Transport::ALL.into_iter().enumerate() {
            let name = transport.name();
            for (number, script) in scripts()?.iter().enumerate() {
                if !script.transports.contains(&transport) {
                    continue;
                }
                // One address for each, that nobody's offences mix with another's.
                let from = format!("2001:db8:a:{:x}::1", 0x100 * (place + 1) + number);
                world.internet.ip(&["address", "add", &format!("{from}/128"), "dev", "out0", "nodad"])?;
                let (service, port, _) = SERVICES
                    .into_iter()
                    .find(|(service, ..)| *service == script.service)
                    .with_context(|| format!("no service {}", script.service))?;
                let client = Client::connect_on(&world, &from, address(service, port, transport).1)?;
                Session::begin(script, transport, client, &authority, &listener)
                    .and_then(play)
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
