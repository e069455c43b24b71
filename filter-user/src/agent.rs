//! Starting and stopping, in the order in which one part needs another.
//!
//! Sockets come first: a port in use must be known before the filter is attached. Then the disk and the kernel, which
//! the engine brings to one state, and then the first client. Stopping goes the other way round, and leaves the filter
//! where it is: it protects the gateway while no agent runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use filter_core::admin::{Gauge, InterfaceView, SessionsView, StatusView};
use filter_core::client::host;
use filter_core::decision::Never;
use filter_core::engine::{Engine, Held};
use filter_core::smtp::voice::Voice;
use filter_core::time::Now;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;
use crate::config::{ClientAddress, Config};
use crate::control::{self, ControlError};
use crate::edge::{Backend, Edge, EdgeError};
use crate::ips::{Enforcer, Inbox, Ips, Request};
use crate::kernel::{self, Attachment, Filter, KernelError, Settings, Surroundings};
use crate::store::{Store, StoreError, Stored};

/// How long open sessions may take to hear that the agent stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The SMTP edge.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel filter.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Something that only a broken system refuses.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// A part of the agent ended by itself.
    #[error("the {0} ended by itself; the filter stays attached, please report this with the log")]
    Ended(&'static str),
}

impl AgentError {
    /// Whether more permission would help.
    pub fn is_permission(&self) -> bool {
        let denied = |source: &std::io::Error| source.kind() == std::io::ErrorKind::PermissionDenied;
        match self {
            Self::Edge(error) => matches!(error, EdgeError::Permission(_)),
            Self::Kernel(error) => error.is_permission(),
            Self::Control(ControlError::Open { source, .. })
            | Self::Store(StoreError::Directory { source, .. }) => denied(source),
            Self::Control(ControlError::Taken(_)) | Self::Store(_) | Self::System(_) | Self::Ended(_) => {
                false
            }
        }
    }
}

/// Everything that can be refused before the kernel filter is touched.
struct Prepared {
    listeners: Vec<TcpListener>,
    control: UnixListener,
    surroundings: Surroundings,
    store: Store,
    stored: Stored,
}

/// Runs until a signal asks to stop.
pub async fn run(config: &Config, unload_on_exit: bool) -> Result<(), AgentError> {
    let prepared = prepare(config).await?;
    let outcome = serve(config, prepared).await;
    // Fails only if somebody removed it, and then it need not be removed.
    let _ = std::fs::remove_file(&config.control_socket);
    if unload_on_exit && config.kernel.enabled {
        match kernel::unload(&config.kernel.pin_directory) {
            Ok(_) => tracing::info!("the kernel filter has been taken off"),
            // It was never loaded, and `outcome` says why.
            Err(KernelError::NotLoaded(_)) => {}
            Err(error) => return outcome.and(Err(error.into())),
        }
    }
    outcome
}

async fn prepare(config: &Config) -> Result<Prepared, AgentError> {
    raise_open_files();
    let listeners =
        config.smtp.listen.iter().map(|address| Edge::bind(*address)).collect::<Result<_, _>>()?;
    let control = control::bind(&config.control_socket).await?;
    let surroundings = kernel::surroundings().await?;
    let (store, stored) = Store::open(&config.state_directory)?;
    Ok(Prepared { listeners, control, surroundings, store, stored })
}

async fn serve(config: &Config, prepared: Prepared) -> Result<(), AgentError> {
    let Prepared { listeners, control, surroundings, store, stored } = prepared;
    let (filter, attachments) = load(config, &surroundings).await?;
    let held = filter.as_ref().map_or_else(|| Ok(Held::default()), Filter::held)?;
    let mut engine = Engine::new(config.policy.clone());
    let now = clock::now();
    engine.restore(stored, &held, built_in(config, &surroundings, now), now);
    let voice = Arc::new(Voice::new(&config.name, &config.templates));
    let enforcer = Enforcer::new(filter);
    let (ips, inbox) =
        Ips::new(engine, enforcer, store.clone(), config.limits.clone(), voice.as_ref().into());
    let backend = Backend::new(config.smtp.mail_server, config.smtp.client_address);
    let edge = Arc::new(Edge::new(inbox.clone(), backend, voice, config.smtp.patience));

    let fixed = Arc::new(status(config, &listeners, &attachments, now));
    let routes =
        control::Agent { inbox: inbox.clone(), store: store.clone(), edge: Arc::clone(&edge), fixed };
    greet(config, &listeners, &attachments);
    let mut ips = tokio::spawn(ips.run());
    let mut control = tokio::spawn(control::serve(control, routes));
    let servers: Vec<_> =
        listeners.into_iter().map(|listener| tokio::spawn(Arc::clone(&edge).serve(listener))).collect();

    let ended = tokio::select! {
        stop = stop_signal() => stop.map_err(AgentError::System),
        _ = &mut ips => Err(AgentError::Ended("engine")),
        _ = &mut control => Err(AgentError::Ended("control socket")),
    };
    tracing::info!("stopping");
    for server in servers {
        server.abort();
    }
    inbox.close().await;
    farewell(&inbox).await;
    control.abort();
    store.flushed().await;
    ended
}

/// Lets open sessions say their last words, for as long as that may take.
async fn farewell(inbox: &Inbox) {
    let all_gone = async {
        while inbox.ask(Request::Count).await.is_some_and(|counts| counts.sessions.total.used > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Whoever does not listen by then hears the connection break.
    let _ = tokio::time::timeout(FAREWELL, all_gone).await;
}

/// Loads the kernel filter and attaches it, without an agent behind it.
pub async fn load(
    config: &Config,
    surroundings: &Surroundings,
) -> Result<(Option<Filter>, Vec<Attachment>), KernelError> {
    if !config.kernel.enabled {
        return Ok((None, Vec::new()));
    }
    let was_there = config.kernel.pin_directory.exists();
    let loaded = load_and_attach(config, surroundings).await;
    if loaded.is_err() && !was_there {
        // Half a filter is none; what was there before is somebody's at work, and stays.
        let _ = kernel::unload(&config.kernel.pin_directory);
    }
    loaded.map(|(filter, attachments)| (Some(filter), attachments))
}

async fn load_and_attach(
    config: &Config,
    surroundings: &Surroundings,
) -> Result<(Filter, Vec<Attachment>), KernelError> {
    let mut filter = Filter::load(&Settings {
        pin_directory: config.kernel.pin_directory.clone(),
        observe: config.policy.observe,
        drop_all: config.kernel.drop_all,
        protected_ports: config.protected_ports(),
        grace: config.kernel.grace,
    })?;
    let mut interfaces = config.kernel.interfaces.clone();
    if interfaces.is_empty() {
        interfaces.push(surroundings.default_interface.clone());
    }
    let mut attachments = Vec::new();
    for interface in &interfaces {
        attachments.push(filter.attach(interface, config.kernel.attach).await?);
    }
    Ok((filter, attachments))
}

/// The never-block entries that keep the gateway reachable, whatever anybody blocks.
pub fn built_in(config: &Config, surroundings: &Surroundings, now: Now) -> Vec<Never> {
    let never = |address: IpAddr, comment: &str| Never {
        network: host(address),
        comment: comment.to_owned(),
        author: "built-in".to_owned(),
        since: now.wall,
        until: None,
        built_in: true,
    };
    let loopback = [[127, 0, 0, 0].into(), std::net::Ipv6Addr::LOCALHOST.into()].map(|address: IpAddr| {
        let network = if address.is_ipv4() { ipnet::IpNet::new_assert(address, 8) } else { host(address) };
        Never { network, ..never(address, "loopback") }
    });
    let own = surroundings.own.iter().filter(|address| !address.is_loopback());
    loopback
        .into_iter()
        .chain(own.map(|address| never(*address, "this gateway")))
        .chain(surroundings.routers.iter().map(|address| never(*address, "default router")))
        .chain([never(config.smtp.mail_server.ip(), "mail server")])
        .filter(|entry| !entry.network.addr().is_loopback() || entry.comment == "loopback")
        .collect()
}

/// What `status` says that does not change while the agent runs.
fn status(config: &Config, listeners: &[TcpListener], attachments: &[Attachment], now: Now) -> StatusView {
    let none = Gauge { used: 0, limit: 0 };
    let interface = |attachment: &Attachment| InterfaceView {
        name: attachment.interface.clone(),
        mode: attachment.mode.name().to_owned(),
    };
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: config.name.clone(),
        mode: mode(config).to_owned(),
        started: now.wall,
        listen: addresses(listeners).iter().map(ToString::to_string).collect(),
        mail_server: config.smtp.mail_server.to_string(),
        mail_server_up: None,
        interfaces: attachments.iter().map(interface).collect(),
        pin_directory: config.kernel.pin_directory.display().to_string(),
        kernel_failures: 0,
        state_directory: config.state_directory.display().to_string(),
        store_failures: 0,
        sessions: SessionsView {
            total: none,
            incoming: none,
            reserved: none,
            local: 0,
            admitted: 0,
            overflowed: 0,
            refused: 0,
        },
        blocks: 0,
        never: 0,
        watched: 0,
        offences: 0,
        offences_lost: 0,
        messages: 0,
    }
}

/// Three lines: what it does, what the kernel does, how to look at it.
#[expect(clippy::print_stdout, reason = "a person at a terminal has just started it")]
fn greet(config: &Config, listeners: &[TcpListener], attachments: &[Attachment]) {
    let listen: Vec<_> = addresses(listeners).iter().map(ToString::to_string).collect();
    let how = match config.smtp.client_address {
        ClientAddress::ProxyV2 => "PROXY protocol v2",
        ClientAddress::None => "without the client's address",
    };
    println!("gatepost listens on {} and relays to {} ({how})", listen.join(", "), config.smtp.mail_server);
    let places: Vec<_> =
        attachments.iter().map(|place| format!("{} ({})", place.interface, place.mode.name())).collect();
    let state = config.state_directory.display();
    if places.is_empty() {
        println!("no kernel filter: blocks are enforced at accept only; state is kept in {state}");
    } else {
        let verb = if config.policy.observe { "observes" } else { "drops blocked clients" };
        println!("the kernel filter {verb} on {}; state is kept in {state}", places.join(", "));
    }
    let socket = config.control_socket.display();
    println!(
        "look at it with: gatepost --socket {socket} status, and gatepost --help for more; Ctrl-C stops it"
    );
    if config.smtp.client_address == ClientAddress::None {
        tracing::warn!(
            "the mail server sees every client as this gateway: make sure that it does not relay for it"
        );
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

fn mode(config: &Config) -> &'static str {
    if config.policy.observe { "observe" } else { "enforce" }
}

/// Each session takes two descriptors, and the usual soft limit of 1024 is for programs that use `select`.
fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Loads and attaches the filter for `gatepost load`, and gives it the built-in never-block entries.
pub async fn load_alone(config: &Config) -> Result<Vec<Attachment>, KernelError> {
    let surroundings = kernel::surroundings().await?;
    let (filter, attachments) = load(config, &surroundings).await?;
    if let Some(mut filter) = filter {
        for never in built_in(config, &surroundings, clock::now()) {
            let until = filter_core::time::Instant::FAR_FUTURE;
            filter.apply(&filter_core::decision::Change::Never {
                network: never.network,
                until,
                built_in: true,
            })?;
        }
    }
    Ok(attachments)
}
