//! A real Postfix behind the gateway, with its whole state in the world's scratch folder; and one that sends to it.
//!
//! Domain `example.test`, recipients `alice`, `bob` and `carol`, one login (`alice@example.test`, `secret`). Port 25
//! expects the PROXY protocol, as behind Gatepost; port 26 does not; port 27 lets the gateway say who a client is by
//! XCLIENT. Port 28 and 30 are like 25 and 27, with STARTTLS, and port 29 like 25 with TLS from the first byte; [`Postfix::authority`] has signed
//! for `mail.example.test` there. It never slows a client down: that is for the gateway to do, and the tests must see who did it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::User;

use crate::dovecot::Dovecot;
use crate::namespace::{Namespace, succeed};
use crate::process::{Process, wait_until};
use crate::tls::Authority;
use crate::world::{GATEWAY_V4, MAIL, World};

/// What runs all of it.
pub(crate) const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// The recipients that exist.
pub const RECIPIENTS: [&str; 3] = ["alice", "bob", "carol"];

/// Where the one that sends takes messages, in the world's `internet`.
pub const SENDER: (&str, u16) = ("127.0.0.1", 2525);

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix {
    directory: PathBuf,
    authority: Authority,
    _master: Process,
}

impl Postfix {
    /// Starts one in the world's `mail` name space.
    pub fn start(world: &World) -> Result<Self> {
        let directory = world.scratch().join("postfix");
        Self::launch(&world.mail, directory, main_cf, MASTER_CF, (MAIL, 26))
    }

    /// Starts one in the world's `internet` that passes on to the gateway whatever it is given at [`SENDER`].
    pub fn start_sender(world: &World) -> Result<Self> {
        let directory = world.scratch().join("postfix-sender");
        Self::launch(&world.internet, directory, sender_cf, SENDER_MASTER_CF, SENDER)
    }

    fn launch(
        space: &Namespace,
        directory: PathBuf,
        main_cf: fn(&Path) -> String,
        services: &str,
        listens: (&str, u16),
    ) -> Result<Self> {
        let authority = configure(&directory, main_cf, services)?;
        let etc = directory.join("etc");
        let log = fs::File::create(directory.join("master.log"))?;
        let master = space.enter(|| {
            let mut command = Command::new(MASTER);
            command.arg("-d").arg("-c").arg(&etc).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            command.spawn().context("cannot start Postfix")
        })?;
        let postfix = Self { directory, authority, _master: Process::new(master) };
        wait_until("Postfix listening", Duration::from_secs(20), || {
            space.enter(|| Ok(std::net::TcpStream::connect(listens).is_ok()))
        })?;
        Ok(postfix)
    }

    /// Lets Dovecot judge logins, and offers TLS, for which Debian has a certificate on each machine. Returns when it does.
    pub fn ask_dovecot(&self, dovecot: &Dovecot) -> Result<()> {
        let etc = self.directory.join("etc");
        let mut command = Command::new("postconf");
        command.arg("-c").arg(&etc).args(["-e", "smtpd_sasl_type=dovecot", "smtpd_tls_security_level=may"]);
        command.arg("smtpd_tls_cert_file=/etc/ssl/certs/ssl-cert-snakeoil.pem");
        command.arg("smtpd_tls_key_file=/etc/ssl/private/ssl-cert-snakeoil.key");
        command.arg(format!("smtpd_sasl_path={}", dovecot.sasl().display()));
        succeed(&mut command)?;
        succeed(Command::new("postfix").arg("-c").arg(&etc).arg("reload"))
    }

    /// Where it logs.
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("maillog")
    }

    /// The messages that a recipient has.
    pub fn messages(&self, recipient: &str) -> Result<Vec<String>> {
        let new = self.directory.join("mail").join(recipient).join("new");
        if !new.exists() {
            return Ok(Vec::new());
        }
        fs::read_dir(new)?.map(|entry| Ok(fs::read_to_string(entry?.path())?)).collect()
    }

    /// Who has signed its certificate, and signs others.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

/// Writes down what one is made of, in a folder of its own; gives who has signed for it.
pub(crate) fn configure(directory: &Path, main_cf: fn(&Path) -> String, services: &str) -> Result<Authority> {
    let user =
        User::from_name("postfix")?.context("there is no user `postfix`; install the package postfix")?;
    for folder in ["etc", "etc/sasl", "queue", "data", "mail"] {
        fs::create_dir_all(directory.join(folder))?;
        fs::set_permissions(directory.join(folder), fs::Permissions::from_mode(0o755))?;
    }
    chown(directory.join("data"), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    chown(directory.join("mail"), Some(NOBODY), Some(NOBODY))?;
    let authority = Authority::new(&directory.join("tls"))?;
    authority.sign("mail", &["mail.example.test"])?;
    fs::write(directory.join("etc/main.cf"), main_cf(directory))?;
    fs::write(directory.join("etc/master.cf"), [services, PARTS].concat())?;
    add_login(&directory.join("etc/sasl"), &user)?;
    // Makes the queue's folders, with the owners that Postfix wants.
    succeed(Command::new("postfix").arg("-c").arg(directory.join("etc")).arg("check"))?;
    Ok(authority)
}

/// Who owns the mailboxes.
const NOBODY: u32 = 65_534;

/// The settings of one that refuses little.
pub(crate) fn main_cf(directory: &Path) -> String {
    let at = directory.display();
    let mailboxes: Vec<_> =
        RECIPIENTS.iter().map(|name| format!("{{ {name}@example.test = {name}/ }}")).collect();
    format!(
        "compatibility_level = 3.6
queue_directory = {at}/queue
data_directory = {at}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {at}/maillog
maillog_file_prefixes = {at}
myhostname = mail.example.test
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = all
disable_dns_lookups = yes
smtpd_peername_lookup = no
virtual_mailbox_domains = example.test
virtual_mailbox_base = {at}/mail
virtual_mailbox_maps = inline:{{ {mailboxes} }}
virtual_uid_maps = static:{NOBODY}
virtual_gid_maps = static:{NOBODY}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {at}/etc/sasl
smtpd_sasl_local_domain = example.test
smtpd_tls_loglevel = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_junk_command_limit = 1000
smtpd_client_connection_count_limit = 0
smtpd_tls_cert_file = {at}/tls/mail.pem
smtpd_tls_key_file = {at}/tls/mail.key
smtpd_tls_received_header = yes
",
        mailboxes = mailboxes.join(", "),
    )
}

fn sender_cf(directory: &Path) -> String {
    let at = directory.display();
    format!(
        "compatibility_level = 3.6
queue_directory = {at}/queue
data_directory = {at}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {at}/maillog
maillog_file_prefixes = {at}
myhostname = sender.example.test
mydestination =
mynetworks = 127.0.0.0/8
disable_dns_lookups = yes
smtpd_peername_lookup = no
relayhost = [{GATEWAY_V4}]:25
"
    )
}

const MASTER_CF: &str = "\
198.51.100.2:25 inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
198.51.100.2:26 inet n - n - - smtpd
198.51.100.2:27 inet n - n - - smtpd
  -o smtpd_authorized_xclient_hosts=198.51.100.1
198.51.100.2:28 inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o smtpd_tls_security_level=may
198.51.100.2:29 inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o smtpd_tls_wrappermode=yes
198.51.100.2:30 inet n - n - - smtpd
  -o smtpd_authorized_xclient_hosts=198.51.100.1
  -o smtpd_tls_security_level=may
";

const SENDER_MASTER_CF: &str = "127.0.0.1:2525 inet n - n - - smtpd\n";

/// What every Postfix is made of. No chroot anywhere: the scratch folder is the whole of it.
const PARTS: &str = "\
cleanup    unix n - n - 0 cleanup
qmgr       unix n - n 300 1 qmgr
tlsmgr     unix - - n 1000? 1 tlsmgr
rewrite    unix - - n - - trivial-rewrite
bounce     unix - - n - 0 bounce
defer      unix - - n - 0 bounce
trace      unix - - n - 0 bounce
verify     unix - - n - 1 verify
proxymap   unix - - n - - proxymap
smtp       unix - - n - - smtp
error      unix - - n - - error
retry      unix - - n - - error
discard    unix - - n - - discard
local      unix - n n - - local
virtual    unix - n n - - virtual
anvil      unix - - n - 1 anvil
scache     unix - - n - 1 scache
postlog    unix-dgram n - n - 1 postlogd
";

fn add_login(directory: &Path, owner: &User) -> Result<()> {
    let database = directory.join("sasldb2");
    let at = database.display();
    let settings = format!(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {at}\nmech_list: PLAIN LOGIN\n"
    );
    fs::write(directory.join("smtpd.conf"), settings)?;
    let mut command = Command::new("saslpasswd2");
    command.args(["-c", "-p", "-f"]).arg(&database).args(["-u", "example.test", "alice"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot run saslpasswd2")?;
    if let Some(mut input) = child.stdin.take() {
        std::io::Write::write_all(&mut input, b"secret")?;
    }
    anyhow::ensure!(child.wait()?.success(), "saslpasswd2 did not add the login");
    Ok(chown(&database, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?)
}
