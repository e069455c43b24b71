//! `gatepost check-config`: what a file means, in the numbers that an administrator thinks in.

use std::net::SocketAddr;
use std::sync::Arc;

use filter_core::admin::CertificateView;
use filter_core::offence::Kind;
use filter_core::policy::Policy;
use serde::Serialize;

use super::status::certificate_summary;
use super::table::{self, Table, duration};
use super::{Failure, Output};
use crate::clock;
use crate::config::{Config, ServiceConfig};
use crate::edge::Protection;
use crate::tls::{Certificates, PairError};

/// A good configuration, in numbers.
#[derive(Debug, Serialize)]
struct Meaning {
    /// None: the built-in defaults.
    file: Option<String>,
    block_threshold: u32,
    monitor_period_seconds: u64,
    block_time_seconds: u64,
    services: Vec<ServiceMeaning>,
    /// None: there is no web admin.
    web: Option<WebMeaning>,
    events: Vec<Weight>,
    /// Log files that are read.
    logs: Vec<String>,
    /// The rules for log lines; each has passed its trial.
    log_rules: Vec<String>,
}

/// One service in words.
#[derive(Debug, Serialize)]
struct ServiceMeaning {
    name: String,
    does: String,
    certificates: Vec<CertificateView>,
}

/// The web admin.
#[derive(Debug, Serialize)]
struct WebMeaning {
    listen: SocketAddr,
    certificates: Vec<CertificateView>,
}

/// One kind of event, and what it takes to be blocked for it alone.
#[derive(Debug, Serialize)]
struct Weight {
    number: u16,
    name: &'static str,
    multiplier: u32,
    /// None: it is only logged.
    blocks_alone_after: Option<u32>,
}

/// The file has been read, so it is good, if its rules for logs are and what it names can be read.
pub(super) fn show(config: &Config, output: Output) -> Result<(), Failure> {
    let rules = tried(config)?;
    let policy = &config.policy;
    let events: Vec<_> = Kind::ALL.into_iter().map(|kind| weigh(policy, kind)).collect();
    let services = config.services.iter().map(describe).collect::<Result<Vec<_>, _>>()?;
    let web = describe_web(config)?;
    let file = config.file.as_ref().map(|file| file.display().to_string());
    if output.json {
        return table::json(&Meaning {
            file,
            block_threshold: policy.block_threshold,
            monitor_period_seconds: policy.monitor_period.as_secs(),
            block_time_seconds: policy.block_time.as_secs(),
            services,
            web,
            events,
            logs: config.logs.files.iter().map(|file| file.path.display().to_string()).collect(),
            log_rules: rules,
        });
    }
    table::line(&format!("{}: good", file.as_deref().unwrap_or("built-in defaults")))?;
    for service in services {
        table::line(&format!("service {}: {}", service.name, service.does))?;
        tell(&service.certificates)?;
    }
    if let Some(web) = web {
        let with = if web.certificates.is_empty() { "plain HTTP" } else { "TLS with our certificate" };
        table::line(&format!("web admin: listens on {}, {with}", web.listen))?;
        tell(&web.certificates)?;
    }
    let own = config.logs.rules.len();
    let sources = config.logs.files.iter().map(|file| file.path.display().to_string());
    let journal = config.logs.journal.as_ref().map(|_| "the journal".to_owned());
    let sources: Vec<_> = sources.chain(journal).collect();
    let reads = if sources.is_empty() { "none".to_owned() } else { sources.join(", ") };
    table::line(&format!(
        "logs that are read: {reads}; {} rules, {own} of them your own; each does what its samples say",
        rules.len()
    ))?;
    table::line(&format!(
        "a client is blocked for {} when its events of the last {} add up to {}:",
        duration(policy.block_time),
        duration(policy.monitor_period),
        policy.block_threshold
    ))?;
    let mut table = Table::new(&["NO.", "EVENT", "MULTIPLIER", "BLOCKS ALONE AFTER"]);
    for Weight { number, name, multiplier, blocks_alone_after } in events {
        let alone = blocks_alone_after
            .map_or_else(|| "never: it is only logged".to_owned(), |count| count.to_string());
        table.row(&[number.to_string(), name.to_owned(), multiplier.to_string(), alone]);
    }
    Ok(table.print()?)
}

/// Says what is presented.
fn tell(certificates: &[CertificateView]) -> Result<(), Failure> {
    for certificate in certificates {
        let summary = certificate_summary(certificate);
        table::line(&format!("  certificate {}: {summary}", certificate.file))?;
    }
    Ok(())
}

/// Tries every rule for log lines on its samples; gives their names.
fn tried(config: &Config) -> Result<Vec<String>, Failure> {
    let wrong = |error: String| Failure::usage(format!("[logs]: {error}"));
    let book = Arc::new(config.logs.book().map_err(|error| wrong(error.to_string()))?);
    if let Some(failed) = book.trial().first() {
        return Err(wrong(failed.to_string()));
    }
    Ok(book.rules().iter().map(|rule| rule.name().to_owned()).collect())
}

fn describe(service: &ServiceConfig) -> Result<ServiceMeaning, Failure> {
    let protection = Protection::load(service)?;
    let sessions = service.limits.as_ref().map_or_else(
        || "session limits shared".to_owned(),
        |limits| {
            format!(
                "session limits of its own: {}, {} incoming",
                limits.maximum_sessions, limits.maximum_incoming_sessions
            )
        },
    );
    let balancers = match service.proxy_from.len() {
        0 => String::new(),
        count => format!("; PROXY headers from {count} networks of load balancers"),
    };
    Ok(ServiceMeaning {
        name: service.name.clone(),
        does: format!("{}; {sessions}{balancers}", service.summary()),
        certificates: protection.front.map_or_else(Vec::new, |front| front.view(clock::now().wall)),
    })
}

fn describe_web(config: &Config) -> Result<Option<WebMeaning>, Failure> {
    let Some(listen) = config.web.listen else { return Ok(None) };
    let unusable = |error: PairError| Failure::usage(format!("[web]: certificates: {error}"));
    let certificates = Certificates::load(&config.web.certificates).map_err(unusable)?;
    Ok(Some(WebMeaning { listen, certificates: certificates.view(clock::now().wall) }))
}

fn weigh(policy: &Policy, kind: Kind) -> Weight {
    let multiplier = policy.multipliers.get(kind);
    let blocks_alone_after = (multiplier > 0).then(|| policy.block_threshold.div_ceil(multiplier));
    Weight { number: kind.number(), name: kind.name(), multiplier, blocks_alone_after }
}
