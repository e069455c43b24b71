//! What the agent says of itself: three lines for whoever started it, and the part of `status` that stays as it is.

use std::net::SocketAddr;

use filter_core::admin::{Gauge, InterfaceView, ServiceView, SessionsView, StatusView};
use filter_core::time::Now;
use tokio::net::TcpListener;

use crate::config::{ClientAddress, Config, LogFormat, ServiceConfig};
use crate::kernel::Attachment;

/// What `status` says that does not change while the agent runs.
pub(super) fn status(
    config: &Config,
    listeners: &[Vec<TcpListener>],
    attachments: &[Attachment],
    now: Now,
) -> StatusView {
    let none = Gauge { used: 0, limit: 0 };
    let interface = |attachment: &Attachment| InterfaceView {
        name: attachment.interface.clone(),
        mode: attachment.mode.name().to_owned(),
        fallback: attachment.fallback.clone(),
        program: None,
        attached: None,
    };
    let service = |(service, listeners): (&ServiceConfig, &Vec<TcpListener>)| ServiceView {
        name: service.name.clone(),
        listen: addresses(listeners).iter().map(ToString::to_string).collect(),
        mail_servers: Vec::new(),
        sessions: None,
        messages: 0,
        tls: service.tls.word().to_owned(),
        certificates: Vec::new(),
        certificate_problem: None,
    };
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: config.name.clone(),
        mode: mode(config).to_owned(),
        started: now.wall,
        services: config.services.iter().zip(listeners).map(service).collect(),
        interfaces: attachments.iter().map(interface).collect(),
        kernel: None,
        pin_directory: config.kernel.pin_directory.display().to_string(),
        kernel_pending: 0,
        state_directory: config.state_directory.display().to_string(),
        store_pending: 0,
        store_failures: 0,
        events_lost: 0,
        ids_lost: 0,
        logs: Vec::new(),
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
        web: None,
    }
}

/// A line for each service, and two more: what it does, what the kernel does, how to look at it.
pub(super) fn greet(config: &Config, listeners: &[Vec<TcpListener>], attachments: &[Attachment]) {
    let say = |line: String| say(config.log.format, &line);
    for (service, listeners) in config.services.iter().zip(listeners) {
        // The ports that were found, where a configuration asks for any.
        let bound = ServiceConfig { listen: addresses(listeners), ..service.clone() };
        let which = if config.services.len() > 1 { format!(" ({})", service.name) } else { String::new() };
        say(format!("gatepost{which} {}", bound.summary()));
    }
    let places: Vec<_> =
        attachments.iter().map(|place| format!("{} ({})", place.interface, place.mode.name())).collect();
    let state = config.state_directory.display();
    if places.is_empty() {
        say(format!("no kernel filter: blocks are enforced at accept only; state is kept in {state}"));
    } else {
        let verb = if config.policy.observe { "observes" } else { "drops blocked clients" };
        say(format!("the kernel filter {verb} on {}; state is kept in {state}", places.join(", ")));
    }
    say(format!(
        "look at it with: {} status (or block list, maps list, --help); Ctrl-C stops it",
        how_to_ask(config)
    ));
    if config.services.iter().any(|service| service.client_address == ClientAddress::None) {
        tracing::warn!(
            "the mail server sees every client as this gateway: make sure that it does not relay for it"
        );
    }
}

/// A line for a person at a terminal, or an event for a machine that reads all of them.
#[expect(clippy::print_stdout, reason = "a person at a terminal has just started it")]
fn say(format: LogFormat, line: &str) {
    match format {
        LogFormat::Text => println!("{line}"),
        LogFormat::Json => tracing::info!("{line}"),
    }
}

/// The command of this very program with this very configuration, since neither need be the default.
fn how_to_ask(config: &Config) -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "gatepost".to_owned(), |path| path.display().to_string());
    match &config.file {
        Some(file) => format!("{program} --config {}", file.display()),
        None => program,
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

fn mode(config: &Config) -> &'static str {
    if config.policy.observe { "observe" } else { "enforce" }
}
