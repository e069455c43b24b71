//! The ways from a client to the mail server: Gatepost, and proxies that read nothing. In the clear, or with TLS that ends at the proxy.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};

use crate::agent::Agent;
use crate::namespace::Namespace;
use crate::process::{Process, wait_until};
use crate::tls::{self, Authority};
use crate::world::{GATEWAY_V4, MAIL, World};

/// Where nginx answers everybody 421.
pub const NGINX_REFUSES: &str = "203.0.113.1:2503";

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// None: the gateway forwards packets.
    Direct,
    /// Ours.
    Gatepost,
    /// HAProxy in TCP mode.
    HaProxy,
    /// nginx with its stream module.
    Nginx,
}

impl Proxy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Gatepost, Self::HaProxy, Self::Nginx];

    /// Its name in a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Gatepost => "gatepost",
            Self::HaProxy => "HAProxy, mode tcp",
            Self::Nginx => "nginx, stream",
        }
    }

    /// Where clients connect to.
    pub fn address(self) -> String {
        match self {
            Self::Direct => format!("{MAIL}:25"),
            Self::Gatepost => format!("{GATEWAY_V4}:25"),
            Self::HaProxy => format!("{GATEWAY_V4}:2501"),
            Self::Nginx => format!("{GATEWAY_V4}:2502"),
        }
    }

    /// Those that TLS ends at.
    pub const TERMINATING: [Self; 3] = [Self::Gatepost, Self::HaProxy, Self::Nginx];

    /// Where clients of these connect to with TLS.
    pub fn tls_address(self) -> String {
        match self {
            Self::Direct | Self::Gatepost => format!("{GATEWAY_V4}:465"),
            Self::HaProxy => format!("{GATEWAY_V4}:2511"),
            Self::Nginx => format!("{GATEWAY_V4}:2512"),
        }
    }

    /// Where a client in the clear has TLS put around what it says, in the internet; it is the same program for all.
    pub fn wrapped_address(self) -> String {
        let port = match self {
            Self::Direct | Self::Gatepost => 2601,
            Self::HaProxy => 2602,
            Self::Nginx => 2603,
        };
        format!("127.0.0.1:{port}")
    }
}

/// The name in the certificate that all of them present.
pub const NAME: &str = "mx.example.test";

/// All of them, at work in one world, each with as many threads as the machine has processors.
#[derive(Debug)]
pub struct Proxies<'world> {
    gatepost: Agent<'world>,
    haproxy: Process,
    nginx: Process,
    authority: Authority,
}

/// Limits that nothing here runs into.
pub const OPEN: &str = "\
client_address = \"none\"
[sessions]
maximum_sessions = 50000
maximum_incoming_sessions = 50000
maximum_sessions_per_address = 0
[ips]
# The clients of a bench go without QUIT, and come again.
unfinished_session_multiplier = 0
";

impl<'world> Proxies<'world> {
    /// Starts all; the mail server need not be there yet.
    pub fn start(world: &'world World) -> Result<Self> {
        raise_descriptors()?;
        forward_packets(world)?;
        let authority = Authority::new(&world.scratch().join("tls"))?;
        let files = authority.sign("gateway", &[NAME])?;
        let (listen, certificates) = (Proxy::Gatepost.tls_address(), tls::setting(&files));
        let service =
            format!("[services.submissions]\nlisten = [\"{listen}\"]\ntls = \"implicit\"\n{certificates}");
        let (certificate, key) = files;
        let gatepost = Agent::start(world, &format!("{OPEN}{service}"))?;
        let pair = world.scratch().join("tls/pair.pem");
        fs::write(&pair, [fs::read(&certificate)?, fs::read(&key)?].concat())?;
        let haproxy = start(&world.gateway, world, "haproxy", &["-db", "-f"], &haproxy_settings(&pair))?;
        wait_for(&world.gateway, &Proxy::HaProxy.address())?;
        let nginx = start_nginx(world, Some((&certificate, &key)))?;
        Ok(Self { gatepost, haproxy, nginx, authority })
    }

    /// Who has signed what they present.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Time that a proxy has been at work since its start.
    pub fn processor_time(&self, proxy: Proxy) -> Result<Duration> {
        self.process(proxy).map_or(Ok(Duration::ZERO), processor_time)
    }

    /// Bytes of its own that a proxy holds in memory.
    pub fn memory(&self, proxy: Proxy) -> Result<u64> {
        self.process(proxy).map_or(Ok(0), memory)
    }

    fn process(&self, proxy: Proxy) -> Option<u32> {
        match proxy {
            Proxy::Direct => None,
            Proxy::Gatepost => Some(self.gatepost.id()),
            Proxy::HaProxy => Some(self.haproxy.id()),
            Proxy::Nginx => Some(self.nginx.id()),
        }
    }
}

/// Starts what puts TLS around the bytes of clients that have none, in the internet.
pub fn start_wrapper(world: &World) -> Result<Process> {
    let wrap = |proxy: Proxy| {
        let (bind, to) = (proxy.wrapped_address(), proxy.tls_address());
        format!("listen {to}\n    bind {bind}\n    server one {to} ssl verify none sni str({NAME})\n")
    };
    let settings = HAPROXY.to_owned() + &Proxy::TERMINATING.map(wrap).concat();
    let wrapper = start(&world.internet, world, "haproxy", &["-db", "-f"], &settings)?;
    wait_for(&world.internet, &Proxy::Gatepost.wrapped_address())?;
    Ok(wrapper)
}

/// Starts nginx, which also refuses whoever asks for that; with a certificate and its key it ends TLS, too.
pub fn start_nginx(world: &World, pair: Option<(&Path, &Path)>) -> Result<Process> {
    let nginx = start(&world.gateway, world, "nginx", &["-c"], &nginx_settings(world.scratch(), pair))?;
    wait_for(&world.gateway, &Proxy::Nginx.address())?;
    Ok(nginx)
}

/// Waits until somebody listens there.
pub(super) fn wait_for(space: &Namespace, address: &str) -> Result<()> {
    let to: SocketAddr = address.parse()?;
    wait_until(address, Duration::from_secs(10), || space.enter(|| Ok(TcpStream::connect(to).is_ok())))
}

/// Sessions that are held at most.
pub const MANY: usize = 10_000;
/// Descriptors that a proxy needs beside those of its sessions.
const OTHERS: u64 = 200;

/// Lets this process and those that it starts have as many descriptors as the machine allows; says how many sessions, with two
/// ends each, that is enough for.
pub fn raise_descriptors() -> Result<usize> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot raise the limit of open files")?;
    Ok(usize::try_from(most.saturating_sub(OTHERS) / 2)?.min(MANY))
}

/// Time that a process and its children have been at work, in ticks of ten milliseconds.
pub fn processor_time(process: u32) -> Result<Duration> {
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
    let mut ticks = 0;
    for id in family(process)? {
        // Fields 14 and 15 of proc_pid_stat(5); the second field, in parentheses, may hold anything.
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (_, fields) = stat.rsplit_once(") ").context("a process without fields")?;
        ticks +=
            fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(Duration::from_millis(ticks * 1000 / u64::try_from(ticks_per_second)?))
}

/// Bytes that a process and its children hold in memory, without what they share with others.
fn memory(process: u32) -> Result<u64> {
    let mut kilobytes = 0;
    for id in family(process)? {
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        kilobytes += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(kilobytes * 1024)
}

fn family(process: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    Ok(std::iter::once(process).chain(children).collect())
}

/// The internet and the mail server see each other through the gateway.
fn forward_packets(world: &World) -> Result<()> {
    world.gateway.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    world.internet.ip(&["route", "replace", "198.51.100.0/24", "via", GATEWAY_V4])?;
    world.mail.ip(&["route", "replace", "203.0.113.0/24", "via", "198.51.100.1"])
}

/// Starts a program of the distribution in a name space, on settings of its own.
fn start(space: &Namespace, world: &World, program: &str, flags: &[&str], settings: &str) -> Result<Process> {
    let file = world.scratch().join(format!("{program}-{}.conf", space.name()));
    fs::write(&file, settings)?;
    let log = fs::File::create(file.with_extension("log"))?;
    let child = space.enter(|| {
        let mut command = Command::new(program);
        command.args(flags).arg(&file).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("cannot start {program}"))
    })?;
    Ok(Process::new(child))
}

const HAPROXY: &str = "\
global
    maxconn 9950
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
";

fn haproxy_settings(pair: &Path) -> String {
    let (bind, secured, pair) = (Proxy::HaProxy.address(), Proxy::HaProxy.tls_address(), pair.display());
    format!(
        "{HAPROXY}frontend smtp
    bind {bind}
    bind {secured} ssl crt {pair}
    default_backend mail
backend mail
    server mail {MAIL}:25
"
    )
}

fn nginx_settings(scratch: &Path, pair: Option<(&Path, &Path)>) -> String {
    let secured = pair.map_or_else(String::new, |(certificate, key)| {
        format!(
            "    server {{
        listen {} ssl;
        ssl_certificate {};
        ssl_certificate_key {};
        proxy_pass {MAIL}:25;
        proxy_timeout 10m;
        tcp_nodelay on;
    }}\n",
            Proxy::Nginx.tls_address(),
            certificate.display(),
            key.display()
        )
    });
    let listen = Proxy::Nginx.address();
    let scratch = scratch.display();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
user root;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx-error.log;
worker_processes auto;
events {{ worker_connections 19900; }}
stream {{
    server {{
        listen {listen};
        proxy_pass {MAIL}:25;
        proxy_timeout 10m;
        tcp_nodelay on;
    }}
    server {{
        listen {NGINX_REFUSES};
        return \"421 4.3.2 mx.example.test Too many connections - try later\\r\\n\";
    }}
{secured}}}
"
    )
}
