//! Mail servers that are unpacked and not installed: each runs in a mount name space in which its files lie over the
//! machine's own, with users of its own. Nothing that it writes under /var or /run leaves that name space.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Process, wait_until};
use crate::world::{MAIL, World};

/// Lays the files of $1 (unpacked) and $2 (scratch) over the machine's own and becomes what follows.
const OVERLAY: &str = "\
set -e
mount -t overlay overlay -o lowerdir=$1/usr:/usr /usr
mount -t overlay overlay -o lowerdir=$2/etc:/etc /etc
mount -t overlay overlay -o lowerdir=/var,upperdir=$2/var,workdir=$2/work /var
mount -t tmpfs tmpfs /run
shift 2
exec \"$@\"";

/// Which mail server.
#[derive(Debug, Clone, Copy)]
pub enum Unpacked {
    /// Exim.
    Exim,
    /// OpenSMTPD.
    OpenSmtpd,
}

impl Unpacked {
    /// Its port in the world's `mail` name space.
    pub const fn port(self) -> u16 {
        match self {
            Self::Exim => 2526,
            Self::OpenSmtpd => 2527,
        }
    }

    /// Starts one that knows alice, bob and carol at `example.test`, in the world's `mail` name space.
    pub fn start(self, world: &World) -> Result<Process> {
        let files = self.files()?;
        let scratch = world.scratch().join(self.name());
        for folder in ["etc", "var", "work"] {
            fs::create_dir_all(scratch.join(folder))?;
        }
        self.configure(&scratch.join("etc"))?;
        let log = fs::File::create(scratch.join("log"))?;
        let child = world.mail.enter(|| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", OVERLAY, "sh"]).arg(&files).arg(&scratch);
            command.args(["sh", "-c", self.program()]);
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            command.spawn().with_context(|| format!("cannot start {}", self.name()))
        })?;
        let process = Process::new(child);
        let listening = wait_until(self.name(), Duration::from_secs(20), || {
            world.mail.enter(|| Ok(std::net::TcpStream::connect((MAIL, self.port())).is_ok()))
        });
        listening.with_context(|| self.log(world))?;
        Ok(process)
    }

    /// What it has said so far.
    pub fn log(self, world: &World) -> String {
        fs::read_to_string(world.scratch().join(self.name()).join("log")).unwrap_or_default()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Exim => "exim",
            Self::OpenSmtpd => "opensmtpd",
        }
    }

    /// What runs in its name space.
    const fn program(self) -> &'static str {
        match self {
            Self::Exim => {
                "mkdir -p /var/spool/exim4 /var/log/exim4 && chown -R Debian-exim: /var/spool/exim4 /var/log/exim4 && exec exim4 -bdf"
            }
            Self::OpenSmtpd => {
                "mkdir -p /var/lib/opensmtpd/empty /var/spool/smtpd && chmod 711 /var/spool/smtpd && exec smtpd -d -f /etc/smtpd.conf"
            }
        }
    }

    fn users(self) -> &'static [&'static str] {
        match self {
            Self::Exim => &["Debian-exim"],
            Self::OpenSmtpd => &["opensmtpd", "opensmtpq"],
        }
    }

    fn configure(self, etc: &std::path::Path) -> Result<()> {
        for file in ["passwd", "group"] {
            let mut text = fs::read_to_string(format!("/etc/{file}"))?;
            for (user, number) in self.users().iter().zip(64_001..) {
                let rest = if file == "passwd" {
                    format!("{number}::/nonexistent:/bin/false")
                } else {
                    String::new()
                };
                text.extend([*user, ":x:", &number.to_string(), ":", &rest, "\n"]);
            }
            fs::write(etc.join(file), text)?;
        }
        match self {
            Self::Exim => {
                fs::create_dir_all(etc.join("exim4"))?;
                fs::write(etc.join("exim4/exim4.conf"), EXIM)?;
            }
            Self::OpenSmtpd => fs::write(etc.join("smtpd.conf"), OPENSMTPD)?,
        }
        Ok(())
    }

    /// Where set-up has unpacked it: beside the programs that are built.
    fn files(self) -> Result<PathBuf> {
        let own = std::env::current_exe()?;
        let places = own.ancestors().skip(1).take(4).map(|folder| folder.join("lab").join(self.name()));
        places.into_iter().find(|place| place.exists()).with_context(|| {
            format!("{} is not unpacked; run the tests with `cargo xtask test`", self.name())
        })
    }
}

const EXIM: &str = "\
primary_hostname = mail.example.test
smtp_banner = $primary_hostname ESMTP Exim
local_interfaces = 198.51.100.2
daemon_smtp_ports = 2526
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
chunking_advertise_hosts = *
smtputf8_advertise_hosts = *
smtp_accept_max = 0
smtp_enforce_sync = false
acl_smtp_auth = accept
smtp_max_unknown_commands = 10
dsn_advertise_hosts = *
domainlist local_domains = example.test
acl_smtp_rcpt = recipients
begin acl
recipients:
  deny domains = !+local_domains
       message = relay not permitted
  deny !verify = recipient
       message = Unknown user
  accept
begin routers
mailboxes:
  driver = accept
  domains = +local_domains
  local_parts = alice : bob : carol
  transport = mailboxes
begin transports
mailboxes:
  driver = appendfile
  file = /dev/null
  user = nobody
begin retry
begin rewrite
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{alice}}{eq{$auth3}{secret}}}}
  server_set_id = $auth2
";

const OPENSMTPD: &str = "\
table recipients { \"alice\" = \"nobody\", \"bob\" = \"nobody\", \"carol\" = \"nobody\" }
listen on 198.51.100.2 port 2527 hostname mail.example.test
action \"mailboxes\" mda \"/bin/cat\" virtual <recipients>
match from any for domain \"example.test\" action \"mailboxes\"
";
