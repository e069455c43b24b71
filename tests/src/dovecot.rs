//! A real Dovecot on the gateway, with its whole state in the world's scratch folder.
//!
//! IMAP and POP3 on the gateway's address for clients, and the socket by which Postfix asks it for SMTP AUTH. One login
//! (`alice@example.test`, `secret`). It asks an auth-policy server before each login and tells it afterwards, with
//! [`API_KEY`], at [`POLICY`]. It never slows a client down: that is for the gateway to do.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
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
        let directory = world.scratch().join("dovecot");
        fs::create_dir_all(directory.join("mail"))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        chown(directory.join("mail"), Some(NOBODY), Some(NOBODY))?;
        fs::write(directory.join("users"), "alice@example.test:secret\n")?;
        let config = directory.join("dovecot.conf");
        fs::write(&config, configuration(&directory))?;
        let output = fs::File::create(directory.join("master.log"))?;
        let master = world.gateway.enter(|| {
            let mut command = Command::new("/usr/sbin/dovecot");
            command.args(["-F", "-c"]).arg(&config).stdin(Stdio::null());
            command.stdout(output.try_clone()?).stderr(output);
            command.spawn().context("cannot start Dovecot; install the package dovecot-core")
        })?;
        let dovecot = Self { directory, _master: Process::new(master) };
        for port in [143, 110] {
            wait_until("Dovecot listening", Duration::from_secs(20), || {
                world.gateway.enter(|| Ok(TcpStream::connect((GATEWAY_V4, port)).is_ok()))
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

fn configuration(directory: &Path) -> String {
    let at = directory.display();
    format!(
        "base_dir = {at}/run
state_dir = {at}/state
log_path = {at}/dovecot.log
protocols = imap pop3
listen = {GATEWAY_V4}
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{at}/mail/%u
auth_mechanisms = plain login
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {at}/users
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

/// Somebody who reads mail, by IMAP or POP3.
#[derive(Debug)]
pub struct Reader {
    lines: BufReader<TcpStream>,
    is_imap: bool,
}

impl Reader {
    /// Connects to the gateway's port 143 or 110 from one of the internet's addresses, and is greeted.
    pub fn connect(world: &World, from: &str, port: u16) -> Result<Self> {
        let (from, to): (IpAddr, IpAddr) = (from.parse()?, GATEWAY_V4.parse()?);
        let stream = world.internet.enter(|| {
            let to = SocketAddr::new(to, port);
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
            socket.connect_timeout(&to.into(), PATIENCE)?;
            Ok(TcpStream::from(socket))
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = Self { lines: BufReader::new(stream), is_imap: port == 143 };
        let greeting = reader.line()?;
        ensure!(greeting.starts_with("* OK") || greeting.starts_with("+OK"), "greeted with {greeting}");
        Ok(reader)
    }

    /// Tries to log in; says whether it may.
    pub fn log_in(&mut self, account: &str, password: &str) -> Result<bool> {
        if self.is_imap {
            self.say(&format!("a LOGIN {account} {password}"))?;
            loop {
                let line = self.line()?;
                if let Some(answer) = line.strip_prefix("a ") {
                    return Ok(answer.starts_with("OK"));
                }
            }
        }
        self.say(&format!("USER {account}"))?;
        let line = self.line()?;
        ensure!(line.starts_with("+OK"), "after USER: {line}");
        self.say(&format!("PASS {password}"))?;
        Ok(self.line()?.starts_with("+OK"))
    }

    fn say(&mut self, line: &str) -> Result<()> {
        Ok(self.lines.get_mut().write_all(format!("{line}\r\n").as_bytes())?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).context("no answer")?;
        ensure!(count > 0, "the connection was closed instead of an answer");
        Ok(line.trim_end().to_owned())
    }
}
