//! A Postfix that refuses whatever it can, on the gateway, with the real programs that it asks: a resolver with a DNS list in it,
//! who judges SPF, and milters that know spam and viruses.
//!
//! The list `dnsbl.test` has [`LISTED`]; nobody may send for `client.example`. A message with [`SPAM`] in it is spam, and one with
//! [`VIRUS`] is infected.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::namespace::Namespace;
use crate::postfix;
use crate::process::{Process, wait_until};
use crate::unpacked;
use crate::world::{GATEWAY_V4, World};

/// Who is on the DNS list.
pub const LISTED: &str = "203.0.113.20";
/// What makes a message spam.
pub const SPAM: &str = "cheap pills of the lab";
/// What makes a message infected.
pub const VIRUS: &str = "a virus of the lab";

/// The port that asks DNS list and SPF, takes no HELO of `localhost`, and ends a session at the third error or after two seconds without a
/// command.
pub const SMTPD: u16 = 2601;
/// The port that takes one connection of a client at a time, and one within an hour.
pub const LIMITED: u16 = 2602;
/// The port whose milters name spam and viruses.
pub const MILTERS: u16 = 2603;
/// The port whose milter refuses and does not say why.
pub const BRIEF: u16 = 2604;
/// The port whose milter is not there.
pub const DEAD: u16 = 2605;
/// The port that cannot judge logins, because whom it asks is not there.
pub const LOGINS: u16 = 2606;
/// Postscreen's port, also over IPv6.
pub const POSTSCREEN: u16 = 2610;

/// A running one.
#[derive(Debug)]
pub struct Strict {
    directory: PathBuf,
    _processes: Vec<Process>,
}

impl Strict {
    /// Starts all of it in the world's `gateway` name space.
    pub fn start(world: &World) -> Result<Self> {
        let directory = world.scratch().join("strict");
        let signature: Vec<_> = VIRUS.bytes().map(|byte| format!("{byte:02x}")).collect();
        write(&directory.join("signatures"), "lab.ndb", &format!("Lab.Test:0:*:{}\n", signature.concat()))?;
        let at = directory.display();
        for (name, text) in [
            (
                "clamd.conf",
                format!(
                    "Foreground yes\nDatabaseDirectory {at}/signatures\nTCPSocket 3310\nTCPAddr 127.0.0.1\n"
                ),
            ),
            ("named.conf", [&milter(8891), "RejectMsg Infected by %v\n"].concat()),
            ("brief.conf", milter(8892)),
            (
                "rspamd.conf",
                format!("{RSPAMD}regexp {{ LAB {{ re = \"/{SPAM}/{{body}}\"; score = 20; }} }}\n"),
            ),
        ] {
            write(&directory, name, &text)?;
        }
        let backwards: Vec<_> = LISTED.rsplit('.').collect();
        let dnsmasq = format!(
            "exec dnsmasq -k -u root -C /dev/null --no-resolv --no-hosts --listen-address=127.0.0.1 --bind-interfaces \
             --local=/#/ --host-record={0}.dnsbl.test,127.0.0.2 --txt-record={0}.dnsbl.test,listed \
             --txt-record=client.example,'v=spf1 -all'",
            backwards.join(".")
        );
        let mut processes = Vec::new();
        for (name, command, port) in [
            ("dnsmasq", dnsmasq, 53),
            ("clamd", format!("exec clamd -c {at}/clamd.conf"), 3310),
            ("named", format!("exec clamav-milter -c {at}/named.conf"), 8891),
            ("brief", format!("exec clamav-milter -c {at}/brief.conf"), 8892),
            (
                "rspamd",
                format!("mkdir -p /var/lib/rspamd && exec rspamd -i -f -u root -g root -c {at}/rspamd.conf"),
                11332,
            ),
        ] {
            processes.push(judge(&world.gateway, &directory.join(name), &command, ("127.0.0.1", port))?);
        }
        let postfix = directory.join("postfix");
        postfix::configure(&postfix, postfix::main_cf, &services())?;
        write(&postfix.join("etc/sasl"), "helpless.conf", HELPLESS)?;
        let command = format!("exec {} -d -c {}", postfix::MASTER, postfix.join("etc").display());
        processes.push(judge(&world.gateway, &directory.join("master"), &command, (GATEWAY_V4, SMTPD))?);
        // It opens one port after the other.
        for port in [SMTPD, LIMITED, MILTERS, BRIEF, DEAD, LOGINS, POSTSCREEN] {
            wait_until("Postfix listening", Duration::from_secs(20), || {
                world.gateway.enter(|| Ok(TcpStream::connect((GATEWAY_V4, port)).is_ok()))
            })?;
        }
        // Postfix first: whom it asks must be there as long as it asks.
        processes.reverse();
        Ok(Self { directory, _processes: processes })
    }

    /// Everything that Postfix has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("postfix/maillog")).unwrap_or_default()
    }
}

/// Starts a program that finds the others' files, and the lab's resolver.
fn judge(space: &Namespace, scratch: &Path, command: &str, listens: (&str, u16)) -> Result<Process> {
    write(&scratch.join("etc"), "resolv.conf", "nameserver 127.0.0.1\n")?;
    unpacked::run(space, "judges", scratch, command, listens)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join(name), text)?)
}

fn milter(port: u16) -> String {
    format!(
        "Foreground yes\nMilterSocket inet:{port}@127.0.0.1\nClamdSocket tcp:127.0.0.1:3310\nUser root\nOnInfected Reject\n"
    )
}

/// Without a list of domains, for which it would compile for ten seconds.
const RSPAMD: &str = "\
options { filters = \"regexp\"; url_tld = \"/dev/null\"; dns { nameserver = [\"127.0.0.1\"]; } }
logging { type = \"console\"; }
worker \"rspamd_proxy\" { bind_socket = \"127.0.0.1:11332\"; milter = yes; count = 1; upstream \"own\" { default = yes; self_scan = yes; } }
actions { reject = 15; }
";

/// By this, Cyrus's library asks a saslauthd of which there is none.
const HELPLESS: &str = "pwcheck_method: saslauthd\nsaslauthd_path: /nonexistent/mux\nmech_list: PLAIN\n";

fn services() -> String {
    format!(
        "\
{GATEWAY_V4}:{SMTPD} inet n - n - - smtpd
  -o {{ smtpd_helo_restrictions = check_helo_access inline:{{{{ localhost = REJECT }}}} }}
  -o {{ smtpd_recipient_restrictions = reject_rbl_client dnsbl.test, check_policy_service unix:private/policyd-spf }}
  -o smtpd_hard_error_limit=3
  -o smtpd_timeout=2s
{GATEWAY_V4}:{LIMITED} inet n - n - - smtpd
  -o smtpd_client_connection_count_limit=1
  -o smtpd_client_connection_rate_limit=1
  -o anvil_rate_time_unit=1h
{GATEWAY_V4}:{MILTERS} inet n - n - - smtpd
  -o smtpd_milters=inet:127.0.0.1:11332,inet:127.0.0.1:8891
{GATEWAY_V4}:{BRIEF} inet n - n - - smtpd
  -o smtpd_milters=inet:127.0.0.1:8892
{GATEWAY_V4}:{DEAD} inet n - n - - smtpd
  -o smtpd_milters=inet:127.0.0.1:9
  -o milter_default_action=reject
{GATEWAY_V4}:{LOGINS} inet n - n - - smtpd
  -o smtpd_sasl_path=helpless
{POSTSCREEN} inet n - n - 1 postscreen
  -o postscreen_cache_map=
  -o postscreen_greet_wait=2s
  -o postscreen_greet_action=drop
  -o postscreen_dnsbl_sites=dnsbl.test
  -o postscreen_dnsbl_action=drop
  -o postscreen_pipelining_enable=yes
  -o postscreen_pipelining_action=drop
  -o postscreen_non_smtp_command_enable=yes
  -o postscreen_bare_newline_enable=yes
  -o postscreen_bare_newline_action=drop
  -o postscreen_command_time_limit=2s
  -o postscreen_client_connection_count_limit=1
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
policyd-spf unix - n n - 0 spawn
  user=nobody argv=/usr/bin/policyd-spf
"
    )
}
