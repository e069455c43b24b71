//! Starting and stopping, in the order in which one part needs another.
//!
//! Sockets come first: a port in use must be known before the filter is attached. Then the disk and the kernel, which
//! the engine brings to one state, and then the first client. Stopping goes the other way round, and leaves the filter
//! where it is: it protects the gateway while no agent runs.

mod books;
mod entrance;
mod error;
mod filter;
mod introduction;
mod reload;
mod reporters;
mod supervisor;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use filter_core::access::Rates;
use filter_core::engine::{Engine, Held};
use filter_core::smtp::voice::Voice;
use filter_core::time::Now;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;
use crate::config::{Config, ServiceConfig};
use crate::control::{self, Access};
use crate::edge::{Edge, Lanes, Protection, Service};
use crate::ids::IdsLog;
use crate::ips::{Enforcer, Inbox, Ips, Request};
use crate::kernel::{self, Filter, KernelError, Surroundings};
use crate::logs::Logs;
use crate::store::{Store, StoreError, Stored};
use crate::web;

use entrance::Entrance;
pub use error::AgentError;
pub use filter::{built_in, load_alone};
pub use reload::{ReloadError, Reloader};
use reporters::Reporters;

/// How long open sessions may take to hear that the agent stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// Everything that can be refused before the kernel filter is touched.
struct Prepared {
    /// Those of each service.
    listeners: Vec<Vec<TcpListener>>,
    /// That of each service.
    protections: Vec<Protection>,
    control: UnixListener,
    surroundings: Surroundings,
    store: Store,
    stored: Stored,
    web: Option<Entrance>,
    metrics: Option<TcpListener>,
    reporters: Reporters,
}

/// Runs until a signal asks to stop.
pub async fn run(config: &Config, unload_on_exit: bool) -> Result<(), AgentError> {
    let prepared = prepare(config).await?;
    let outcome = serve(config, prepared, unload_on_exit).await;
    // Fails only if somebody removed it, and then it need not be removed.
    let _ = std::fs::remove_file(&config.control_socket);
    if unload_on_exit && config.kernel.enabled {
        match kernel::unload_own(&config.kernel.pin_directory) {
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
    let bind = |service: &ServiceConfig| {
        service.listen.iter().map(|address| Edge::bind(*address)).collect::<Result<Vec<_>, _>>()
    };
    let listeners = config.services.iter().map(bind).collect::<Result<_, _>>()?;
    let protections = config.services.iter().map(Protection::load).collect::<Result<_, _>>()?;
    let control = control::bind(&config.control_socket).await?;
    let web = Entrance::prepare(config).await?;
    let metrics = bind_for(config.metrics.listen, "metrics").await?;
    let reporters = Reporters::prepare(config).await?;
    let surroundings = kernel::surroundings().await?;
    let (store, stored) = Store::open(&config.state_directory)?;
    Ok(Prepared { listeners, protections, control, surroundings, store, stored, web, metrics, reporters })
}

/// The socket that a section of the configuration wants, if it wants one.
async fn bind_for(
    address: Option<SocketAddr>,
    section: &'static str,
) -> Result<Option<TcpListener>, AgentError> {
    match address {
        Some(address) => Ok(Some(web::bind(address, section).await?)),
        None => Ok(None),
    }
}

async fn serve(config: &Config, prepared: Prepared, is_first_try: bool) -> Result<(), AgentError> {
    let Prepared { listeners, protections, control, surroundings, store, stored, web, metrics, reporters } =
        prepared;
    #[cfg_attr(not(debug_assertions), expect(unused_mut, reason = "release objects have no diagnostics"))]
    let (mut filter, attachments) = filter::load(config, &surroundings).await?;
    #[cfg(debug_assertions)]
    filter.iter_mut().for_each(Filter::follow_diagnostics);
    let held = filter.as_ref().map_or_else(|| Ok(Held::default()), Filter::held)?;
    let mut engine = Engine::new(config.policy.clone());
    let now = clock::now();
    engine.continue_after(stored.last_event);
    engine.remember(stored.past);
    engine.restore((stored.blocks, stored.nevers), &held, built_in(config, &surroundings, now), now);
    recall(&mut engine, &store, now);
    let voice = Arc::new(Voice::new(&config.name, &config.templates));
    let (ips, inbox) = Ips::new(engine, store.clone(), books::limits(config), voice.as_ref().into());
    if let Some(filter) = &filter {
        let inbox = inbox.clone();
        filter.follow_reports(move |drop| inbox.dropped(drop))?;
    }
    let ids = start_ids(config)?;
    let ips = ips.reported_to(ids.clone()).enforced_by(Enforcer::new(filter));
    let lanes = Lanes::start().map_err(AgentError::System)?;
    let edge = Arc::new(Edge::new(inbox.clone(), voice, &lanes).with_rules(config.rules.clone()));
    let books = books::books(config);
    let services: Arc<[_]> = config
        .services
        .iter()
        .zip(books)
        .zip(protections)
        .map(|((service, book), protection)| {
            Arc::new(Service::new(Arc::clone(&edge), service, &config.name, book, protection))
        })
        .collect();

    let logs = follow_logs(config, &store, &inbox)?;
    let fixed = Arc::new(introduction::status(config, &listeners, &attachments, now));
    let renewal = web.as_ref().and_then(Entrance::renewal);
    let reloader = Arc::new(Reloader::new(config.clone(), inbox.clone(), Arc::clone(&services), renewal));
    let routes = control::Agent {
        inbox: inbox.clone(),
        store: store.clone(),
        services: Arc::clone(&services),
        reloader: Arc::clone(&reloader),
        ids: ids.clone(),
        login_key: reporters.key(),
        logs: logs.watchers(),
        access: Access::start(store.clone(), Rates::new(config.web.requests_per_second))
            .map_err(|error| StoreError::unreadable(&config.state_directory, error))?,
        turns: control::Turns::default(),
        web: web.as_ref().and_then(Entrance::door),
        fixed,
    };
    introduction::greet(config, &listeners, &attachments);
    // Who comes is let in where its session may already be.
    let first = lanes.first();
    let mut ips = first.spawn(ips.run());
    let reporters = reporters.start(config, &inbox);
    let web = web.map(|web| web.serve(web::router(config, routes.clone())));
    let metrics = metrics
        .map(|listener| tokio::spawn(web::serve(listener, web::metrics_router(config, routes.clone()))));
    let mut control = tokio::spawn(control::serve(control, routes));
    let pairs = services.iter().zip(listeners).flat_map(|(service, listeners)| {
        listeners.into_iter().map(move |listener| (Arc::clone(service), listener))
    });
    let watchers = services.iter().map(|service| tokio::spawn(Arc::clone(service).watch()));
    let watchers: Vec<_> = watchers.collect();
    let servers: Vec<_> = pairs.map(|(service, listener)| first.spawn(service.serve(listener))).collect();

    supervisor::ready();
    let heart = tokio::spawn(supervisor::watch(inbox.clone(), Arc::clone(&services)));
    let ended = tokio::select! {
        stop = stop_signal(&reloader, is_first_try) => stop.map_err(AgentError::System),
        _ = &mut ips => Err(AgentError::Ended("engine")),
        _ = &mut control => Err(AgentError::Ended("control socket")),
    };
    tracing::info!("stopping");
    supervisor::stopping();
    heart.abort();
    for server in servers.into_iter().chain(watchers) {
        server.abort();
    }
    for other in reporters.into_iter().chain(web).chain(metrics) {
        other.abort();
    }
    logs.stop().await;
    inbox.close().await;
    farewell(&inbox).await;
    control.abort();
    if let Err(error) = store.flushed().await {
        tracing::error!(%error, "stopping");
    }
    if let Some(ids) = ids {
        // What it waits for may be a pipe that nobody reads.
        let _ = tokio::time::timeout(FAREWELL, ids.flushed()).await;
    }
    drop(lanes);
    ended
}

/// Goes on with the scores of the agent before; without its log they begin at zero.
fn recall(engine: &mut Engine, store: &Store, now: Now) {
    match store.history().unanswered(engine.recalls_since(now)) {
        Ok(events) => {
            let counting = engine.recall(events, now);
            tracing::debug!(counting, "events of the log that still count");
        }
        Err(error) => tracing::warn!(%error, "the event log cannot be read; scores begin at zero"),
    }
}

/// Follows the logs of other programs, if there are to be any.
fn follow_logs(config: &Config, store: &Store, inbox: &Inbox) -> Result<Logs, AgentError> {
    if config.logs.is_off() {
        return Ok(Logs::default());
    }
    let book = config.logs.book()?;
    let unreadable = |error| StoreError::unreadable(&config.state_directory, error);
    let marks = store.history().marks().map_err(unreadable)?;
    let period = config.policy.monitor_period.max(config.policy.login.monitor_period);
    Ok(Logs::start(&config.logs, book, &marks, inbox, period.as_secs())?)
}

/// The file for other tools, if there is to be one.
fn start_ids(config: &Config) -> Result<Option<IdsLog>, AgentError> {
    let Some(file) = &config.log.ids_file else { return Ok(None) };
    let ids = IdsLog::start(file, config.log.ids_format.clone())?;
    tokio::spawn(ids.clone().reopen_on_hangup());
    Ok(Some(ids))
}

/// Lets open sessions say their last words, for as long as that may take.
async fn farewell(inbox: &Inbox) {
    let all_gone = async {
        while inbox.ask(Request::Count).await.is_some_and(|counts| counts.open > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Whoever does not listen by then hears the connection break.
    let _ = tokio::time::timeout(FAREWELL, all_gone).await;
}

/// Each session takes two descriptors, and the usual soft limit of 1024 is for programs that use `select`.
fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Waits for a signal to stop; SIGHUP means to read the configuration again, but for somebody who tries the agent out in a
/// terminal it means that the terminal has gone.
async fn stop_signal(reloader: &Reloader, is_first_try: bool) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                if is_first_try {
                    return Ok(());
                }
                if let Err(error) = reloader.reload().await {
                    tracing::error!(%error, "the configuration has not been read again");
                }
            }
        }
    }
}
