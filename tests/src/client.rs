//! A small SMTP client with an address of its own choice.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use crate::tls::Wire;
use crate::world::{GATEWAY_V4, GATEWAY_V6, World};

/// How long a client waits for a reply.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it waits for a connection; the kernel sends a second SYN after one second.
const SYN_PATIENCE: Duration = Duration::from_millis(1500);

/// What became of an attempt to connect.
#[derive(Debug)]
pub enum Attempt {
    /// Somebody accepted.
    Connected(Client),
    /// Nobody answered at all: the packets were dropped.
    Silence,
    /// The machine answered that nobody listens.
    Refused,
}

/// A connection to the gateway.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<Wire>,
}

/// A reply: its code, and all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The lines, joined by LF.
    pub text: String,
}

impl Client {
    /// Tries to connect to port 25 of the gateway from one of the internet's addresses.
    pub fn attempt(world: &World, from: &str) -> Result<Attempt> {
        Self::attempt_on(world, from, 25)
    }

    /// Tries to connect to a port of the gateway from one of the internet's addresses.
    pub fn attempt_on(world: &World, from: &str, port: u16) -> Result<Attempt> {
        let from: IpAddr = from.parse()?;
        let gateway: IpAddr = if from.is_ipv4() { GATEWAY_V4 } else { GATEWAY_V6 }.parse()?;
        world.internet.enter(|| connect(from, SocketAddr::new(gateway, port)))
    }

    /// Connects, or fails.
    pub fn connect(world: &World, from: &str) -> Result<Self> {
        Self::connect_on(world, from, 25)
    }

    /// Connects to a port, or fails.
    pub fn connect_on(world: &World, from: &str, port: u16) -> Result<Self> {
        match Self::attempt_on(world, from, port)? {
            Attempt::Connected(client) => Ok(client),
            other => bail!("{from} cannot connect: {other:?}"),
        }
    }

    /// Connects, reads the greeting and says EHLO.
    pub fn greeted(world: &World, from: &str) -> Result<Self> {
        let mut client = Self::connect(world, from)?;
        client.expect(220)?;
        client.ask("EHLO client.example", 250)?;
        Ok(client)
    }

    /// Reads one reply.
    pub fn read(&mut self) -> Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let count = self.reader.read_line(&mut line).context("no reply")?;
            ensure!(count > 0, "the connection was closed instead of a reply");
            let line = line.trim_end().to_owned();
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                break;
            }
        }
        let code = lines.first().and_then(|line| line.get(..3)).and_then(|code| code.parse().ok());
        Ok(Reply { code: code.with_context(|| format!("no reply: {lines:?}"))?, text: lines.join("\n") })
    }

    /// Reads one reply of this code.
    pub fn expect(&mut self, code: u16) -> Result<Reply> {
        let reply = self.read()?;
        ensure!(reply.code == code, "expected {code}, heard {reply:?}");
        Ok(reply)
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &str) -> Result<()> {
        self.send_bytes(bytes.as_bytes())
    }

    /// Sends bytes that are no text.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.reader.get_mut().write_all(bytes)?)
    }

    /// Sends a command and reads a reply of this code.
    pub fn ask(&mut self, command: &str, code: u16) -> Result<Reply> {
        self.send(&format!("{command}\r\n"))?;
        self.expect(code).with_context(|| format!("after {command}"))
    }

    /// Sends a message in a transaction of its own.
    pub fn deliver(&mut self, recipient: &str, subject: &str) -> Result<()> {
        self.ask("MAIL FROM:<sender@client.example>", 250)?;
        self.ask(&format!("RCPT TO:<{recipient}>"), 250)?;
        self.ask("DATA", 354)?;
        self.ask(&format!("Subject: {subject}\r\n\r\nHello.\r\n."), 250)?;
        Ok(())
    }

    /// Says that no more will come, and still listens.
    pub fn half_close(&mut self) -> Result<()> {
        self.reader.get_mut().half_close()
    }

    /// What its bytes go through, of which nothing has been read that is not told yet.
    pub fn into_wire(self) -> Result<Wire> {
        ensure!(self.reader.buffer().is_empty(), "there is more than was read");
        Ok(self.reader.into_inner())
    }

    /// Breaks the connection: a reset instead of a close.
    pub fn reset(self) -> Result<()> {
        let socket = Socket::from(self.reader.into_inner().into_socket());
        Ok(socket.set_linger(Some(Duration::ZERO))?)
    }

    /// Begins TLS at once, with a gateway of this name that the authority in this file has signed for.
    pub fn secure(self, name: &str, authority: &Path) -> Result<Self> {
        Ok(Self { reader: BufReader::new(self.reader.into_inner().secure(name, authority)?) })
    }

    /// Asks for TLS, and says EHLO inside it.
    pub fn start_tls(mut self, name: &str, authority: &Path) -> Result<Self> {
        self.ask("STARTTLS", 220)?;
        let mut client = self.secure(name, authority)?;
        client.ask("EHLO client.example", 250)?;
        Ok(client)
    }

    /// Says goodbye.
    pub fn quit(mut self) -> Result<()> {
        self.ask("QUIT", 221).map(drop)
    }

    /// Whether the other side has closed, having said no more.
    pub fn is_closed(&mut self) -> Result<bool> {
        match self.reader.fill_buf() {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

fn connect(from: IpAddr, to: SocketAddr) -> Result<Attempt> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    match socket.connect_timeout(&to.into(), SYN_PATIENCE) {
        Ok(()) => {
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Attempt::Connected(Client { reader: BufReader::new(Wire::Plain(stream)) }))
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(Attempt::Silence),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(Attempt::Refused),
        Err(error) => Err(error.into()),
    }
}
