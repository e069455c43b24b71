//! Mail servers that are unpacked and not installed: each runs in a mount name space in which its files lie over the
//! machine's own, with users of its own. Nothing that it writes under /var or /run leaves that name space.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::process::{Process, wait_until};
use crate::tls::Authority;
use crate::world::{MAIL, World};

/// Where OpenSMTPD takes logins, inside TLS. Debian 12's cannot sign with OpenSSL 3 (a known fault of 6.8), so it is TLS 1.2 with
/// [`ANONYMOUS`] ciphers.
pub const OPENSMTPD_LOGINS: u16 = 2528;
/// Ciphers that need no signature, as OpenSSL calls them.
pub const ANONYMOUS: &str = "aNULL:@SECLEVEL=0";
/// Where Exim wants to be waited for.
pub const EXIM_STRICT: u16 = 2529;

/// Lays the files of $1 (unpacked) and $2 (scratch) over the machine's own and becomes what follows.
const OVERLAY: &str = "\
set -e
etc=/etc var=/var
[ ! -d $1/etc ] || etc=$1/etc:$etc
[ ! -d $1/var ] || var=$1/var:$var
mount -t overlay overlay -o lowerdir=$1/usr:/usr /usr
mount -t overlay overlay -o lowerdir=$2/etc:$etc /etc
mount -t overlay overlay -o lowerdir=$var,upperdir=$2/var,workdir=$2/work /var
mount -t tmpfs tmpfs /run
shift 2
exec \"$@\"";

/// Runs a command of the shell with the files of an unpacked program over the machine's own, and over those what is in `etc` of a
/// scratch folder, in a name space. What it says goes into `log` there; returns when it takes connections at this place.
pub(crate) fn run(
    space: &Namespace,
    name: &str,
    scratch: &Path,
    command: &str,
    listens: (&str, u16),
) -> Result<Process> {
    let files = files(name)?;
    for folder in ["etc", "var", "work"] {
        fs::create_dir_all(scratch.join(folder))?;
    }
    let log = fs::File::create(scratch.join("log"))?;
    let child = space.enter(|| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "sh", "-c", OVERLAY, "sh"])
            .arg(&files)
            .arg(scratch)
            .args(["sh", "-c", command]);
        unshare.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        unshare.spawn().with_context(|| format!("cannot start {name}"))
    })?;
    let process = Process::new(child);
    let listening = wait_until(name, Duration::from_secs(20), || {
        space.enter(|| Ok(std::net::TcpStream::connect(listens).is_ok()))
    });
    listening.with_context(|| fs::read_to_string(scratch.join("log")).unwrap_or_default())?;
    Ok(process)
}

/// Where set-up has unpacked a program: beside the programs that are built.
fn files(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let places = own.ancestors().skip(1).take(4).map(|folder| folder.join("lab").join(name));
    places
        .into_iter()
        .find(|place| place.exists())
        .with_context(|| format!("{name} is not unpacked; run the tests with `cargo xtask test`"))
}

/// Writes the machine's users and these into a folder.
pub(crate) fn add_users(etc: &Path, users: &[&str]) -> Result<()> {
    for file in ["passwd", "group"] {
        let mut text = fs::read_to_string(format!("/etc/{file}"))?;
        for (user, number) in users.iter().zip(64_001..) {
            let rest =
                if file == "passwd" { format!("{number}::/nonexistent:/bin/false") } else { String::new() };
            text.extend([*user, ":x:", &number.to_string(), ":", &rest, "\n"]);
        }
        fs::write(etc.join(file), text)?;
    }
    Ok(())
}

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
        let scratch = world.scratch().join(self.name());
        self.configure(&scratch)?;
        run(&world.mail, self.name(), &scratch, self.program(), (MAIL, self.port()))
    }

    /// Where it logs.
    pub fn log_file(self, world: &World) -> PathBuf {
        let scratch = world.scratch().join(self.name());
        match self {
            Self::Exim => scratch.join("var/log/exim4/mainlog"),
            Self::OpenSmtpd => scratch.join("log"),
        }
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

    fn configure(self, scratch: &Path) -> Result<()> {
        let etc = scratch.join("etc");
        fs::create_dir_all(&etc)?;
        add_users(&etc, self.users())?;
        match self {
            Self::Exim => {
                fs::create_dir_all(etc.join("exim4"))?;
                fs::write(etc.join("exim4/exim4.conf"), EXIM)?;
            }
            Self::OpenSmtpd => {
                let authority = Authority::new(&scratch.join("tls"))?;
                let (certificate, key) = authority.sign("mail", &["mail.example.test"])?;
                // It takes no key that others may read.
                fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
                let (certificate, key) = (certificate.display(), key.display());
                let pki = format!("pki mail cert \"{certificate}\"\npki mail key \"{key}\"\n");
                fs::write(etc.join("smtpd.conf"), [&pki, OPENSMTPD].concat())?;
            }
        }
        Ok(())
    }
}

const EXIM: &str = "\
primary_hostname = mail.example.test
smtp_banner = $primary_hostname ESMTP Exim
local_interfaces = 198.51.100.2
daemon_smtp_ports = 2526 : 2529
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
chunking_advertise_hosts = *
smtputf8_advertise_hosts = *
smtp_accept_max = 0
pipelining_connect_advertise_hosts =
acl_smtp_connect = connected
acl_smtp_auth = accept
acl_smtp_data = judged
smtp_max_unknown_commands = 10
dsn_advertise_hosts = *
domainlist local_domains = example.test
acl_smtp_rcpt = recipients
begin acl
connected:
  accept condition = ${if eq{$received_port}{2526}}
         control = no_enforce_sync
  accept delay = 1s
judged:
  deny condition = ${if match{$message_body}{cheap pills}}
       message = This message scored 9 spam points.
  deny condition = ${if match{$message_body}{EICAR}}
       message = This message contains malware (Eicar).
  accept
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
smtp ciphers \"aNULL:@SECLEVEL=0\"
table recipients { \"alice\" = \"nobody\", \"bob\" = \"nobody\", \"carol\" = \"nobody\" }
table credentials { \"alice\" = \"$6$lab$U7tAWAwuXqp8cLACBQ35QTGF7uCjzzEs03e8FMoRiyZjDy8Zmzzuwa/SjTWQyNXGGhbJ0MiGct8p1pp/cO.GB0\" }
listen on 198.51.100.2 port 2527 hostname mail.example.test
listen on 198.51.100.2 port 2528 tls pki mail auth-optional <credentials> hostname mail.example.test
action \"mailboxes\" mda \"/bin/cat\" virtual <recipients>
match from any for domain \"example.test\" action \"mailboxes\"
";
