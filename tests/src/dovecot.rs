//! A real Dovecot on the gateway, with its whole state in the world's scratch folder.
//!
//! IMAP, POP3, `ManageSieve` and submission on the gateway's address for clients, and the socket by which Postfix asks it for SMTP
//! AUTH. One login (`alice@example.test`, `secret`). It asks an auth-policy server before each login and tells it afterwards, with
//! [`API_KEY`], at [`POLICY`]. It never slows a client down: that is for the gateway to do.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use socket2::{Domain, Socket, Type};

use crate::process::{Process, wait_until};
use crate::world::{GATEWAY_V4, World};

/// Where it asks, in the world's `gateway`.
pub const POLICY: &str = "127.0.0.1:8026";
/// What it shows there.
pub const API_KEY: &str = "the-key-of-the-lab";
/// Who owns the mailboxes.
const NOBODY: u32 = 65_534;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    directory: PathBuf,
    _master: Process,
}

impl Dovecot {
    /// Starts one in the world's `gateway` name space.
    pub fn start(world: &World) -> Result<Self> {
        Self::launch(world, |at| {
            format!("driver = passwd-file\n  args = scheme=PLAIN {}/users", at.display())
        })
    }

    /// Starts one there that cannot judge any login, because whom it asks is not there.
    pub fn start_helpless(world: &World) -> Result<Self> {
        Self::launch(world, |_| "driver = imap\n  args = host=127.0.0.1 port=9".to_owned())
    }

    fn launch(world: &World, judged_by: fn(&Path) -> String) -> Result<Self> {
        let directory = world.scratch().join("dovecot");
        fs::create_dir_all(directory.join("mail"))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        chown(directory.join("mail"), Some(NOBODY), Some(NOBODY))?;
        fs::write(directory.join("users"), "alice@example.test:secret\n")?;
        let config = directory.join("dovecot.conf");
        fs::write(&config, configuration(&directory, &judged_by(&directory)))?;
        let output = fs::File::create(directory.join("master.log"))?;
        let master = world.gateway.enter(|| {
            let mut command = Command::new("/usr/sbin/dovecot");
            command.args(["-F", "-c"]).arg(&config).stdin(Stdio::null());
            command.stdout(output.try_clone()?).stderr(output);
            command.spawn().context("cannot start Dovecot; install the package dovecot-core")
        })?;
        let dovecot = Self { directory, _master: Process::new(master) };
        for service in Service::ALL {
            wait_until("Dovecot listening", Duration::from_secs(20), || {
                world.gateway.enter(|| Ok(TcpStream::connect((GATEWAY_V4, service.port())).is_ok()))
            })?;
        }
        Ok(dovecot)
    }

    /// The socket by which Postfix asks who may log in (`smtpd_sasl_path`).
    pub fn sasl(&self) -> PathBuf {
        self.directory.join("sasl")
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Where it logs.
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("dovecot.log")
    }
}

fn configuration(directory: &Path, judged_by: &str) -> String {
    let at = directory.display();
    format!(
        "base_dir = {at}/run
state_dir = {at}/state
log_path = {at}/dovecot.log
protocols = imap pop3 sieve submission
hostname = mx.example.test
submission_relay_host = 127.0.0.1
listen = {GATEWAY_V4}
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{at}/mail/%u
auth_mechanisms = plain login
auth_failure_delay = 0
auth_verbose = yes
passdb {{
  {judged_by}
}}
userdb {{
  driver = static
  args = uid={NOBODY} gid={NOBODY} home={at}/mail/%u
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {at}/sasl {{
    mode = 0666
  }}
}}
auth_policy_server_url = http://{POLICY}/
auth_policy_server_api_header = X-API-Key: {API_KEY}
auth_policy_hash_nonce = lab
"
    )
}

/// What Dovecot serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// `ManageSieve`.
    Sieve,
    /// Submission.
    Submission,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Imap, Self::Pop3, Self::Sieve, Self::Submission];

    /// Its port.
    pub const fn port(self) -> u16 {
        match self {
            Self::Imap => 143,
            Self::Pop3 => 110,
            Self::Sieve => 4190,
            Self::Submission => 587,
        }
    }

    /// What a line begins with that ends a good answer, and what one begins with that ends a bad one.
    const fn ends(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Imap => (&["* OK", "a OK"], &["a NO", "a BAD"]),
            Self::Pop3 => (&["+OK"], &["-ERR"]),
            Self::Sieve => (&["OK"], &["NO", "BYE"]),
            Self::Submission => (&["220 ", "250 ", "235 "], &["5", "4"]),
        }
    }
}

/// Somebody who has an account, or says so.
#[derive(Debug)]
pub struct Reader {
    lines: BufReader<TcpStream>,
    service: Service,
}

impl Reader {
    /// Connects to a service on the gateway from one of the internet's addresses, and is greeted.
    pub fn connect(world: &World, from: &str, service: Service) -> Result<Self> {
        world.internet.enter(|| Self::dial(from, service))
    }

    /// Connects from one of the addresses of the name space that one is in.
    pub fn dial(from: &str, service: Service) -> Result<Self> {
        let (from, to): (IpAddr, IpAddr) = (from.parse()?, GATEWAY_V4.parse()?);
        let to = SocketAddr::new(to, service.port());
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = Self { lines: BufReader::new(stream), service };
        ensure!(reader.hear()?, "no good greeting");
        if service == Service::Submission {
            ensure!(reader.ask("EHLO client.example")?, "EHLO is refused");
        }
        Ok(reader)
    }

    /// Tries to log in; says whether it may.
    pub fn log_in(&mut self, account: &str, password: &str) -> Result<bool> {
        let plain = BASE64_STANDARD.encode(format!("\0{account}\0{password}"));
        match self.service {
            Service::Imap => self.ask(&format!("a LOGIN \"{account}\" {password}")),
            Service::Pop3 => {
                ensure!(self.ask(&format!("USER {account}"))?, "USER is refused");
                self.ask(&format!("PASS {password}"))
            }
            Service::Sieve => self.ask(&format!("AUTHENTICATE \"PLAIN\" \"{plain}\"")),
            Service::Submission => self.ask(&format!("AUTH PLAIN {plain}")),
        }
    }

    /// Says good-bye, whereupon Dovecot logs the session.
    pub fn log_out(mut self) {
        let command = match self.service {
            Service::Imap => "b LOGOUT",
            Service::Sieve => "LOGOUT",
            Service::Pop3 | Service::Submission => "QUIT",
        };
        // It may have gone first, and then it has logged it.
        let _ = write!(self.lines.get_mut(), "{command}\r\n");
        while matches!(self.line(), Ok(Some(_))) {}
    }

    /// Says a command; says whether it is answered well.
    fn ask(&mut self, command: &str) -> Result<bool> {
        self.lines.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.hear()
    }

    fn hear(&mut self) -> Result<bool> {
        let (good, bad) = self.service.ends();
        while let Some(line) = self.line()? {
            let begins = |ends: &[&str]| ends.iter().any(|end| line.starts_with(end));
            if begins(good) || begins(bad) {
                return Ok(begins(good));
            }
        }
        bail!("the connection was closed instead of an answer")
    }

    fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).context("no answer")?;
        Ok((count > 0).then(|| line.trim_end().to_owned()))
    }
}
