//! `gatepost status`.

use filter_core::admin::{
    CertificateView, Gauge, InterfaceView, KernelTotals, LogView, SessionsView, StatusView,
};

use super::table::{self, Table, bytes, duration, time};
use super::{Failure, Output};
use crate::clock;
use crate::control::Client;

pub(super) async fn show(client: &Client, output: Output) -> Result<(), Failure> {
    let status: StatusView = client.get("/api/v1/status").await?;
    if output.json {
        return table::json(&status);
    }
    let up = duration(clock::now().wall.since(status.started));
    let sessions = &status.sessions;
    // What came of connections is counted in the book that they were for.
    let books = || status.services.iter().filter_map(|service| service.sessions.as_ref()).chain([sessions]);
    let sum = |number: fn(&SessionsView) -> u64| books().map(number).sum::<u64>();
    let place = |place: &InterfaceView| {
        let program = place.program.map_or_else(String::new, |id| format!(", program {id}"));
        let since = place.attached.map_or_else(String::new, |since| format!(", since {}", time(since)));
        format!("{} ({}{program}{since})", place.name, place.mode)
    };
    let places: Vec<_> = status.interfaces.iter().map(place).collect();
    let kernel = match places.as_slice() {
        [] => "off: blocks are enforced at accept only".to_owned(),
        places => format!("{}, pinned in {}", places.join(", "), status.pin_directory),
    };
    let mut table =
        Table::new(&["gatepost", &format!("{} as {}, {} mode", status.version, status.name, status.mode)]);
    let mut row = |name: &str, value: String| table.row(&[name, &value]);
    row("running", format!("for {up}, since {}", time(status.started)));
    for service in &status.services {
        row(&format!("service {}", service.name), format!("listens on {}", service.listen.join(", ")));
        for server in &service.mail_servers {
            row("  mail server", format!("{} ({})", server.address, health(server.up)));
        }
        row("  TLS", service.tls.clone());
        certificates(&service.certificates, service.certificate_problem.as_deref(), &mut row);
        if let Some(sessions) = &service.sessions {
            row("  sessions", pools(sessions));
        }
    }
    if let Some(web) = &status.web {
        row("web admin", web.url.clone());
        certificates(&web.certificates, web.certificate_problem.as_deref(), &mut row);
    }
    row("kernel filter", kernel);
    for place in &status.interfaces {
        if let Some(reason) = &place.fallback {
            row("  not native", reason.clone());
        }
    }
    if let Some(totals) = status.kernel {
        let KernelTotals { passed, dropped, dropped_bytes } = totals;
        row("  packets", format!("{dropped} dropped ({}), {passed} passed", bytes(dropped_bytes)));
    }
    row("sessions", pools(sessions));
    row(
        "since start",
        format!(
            "{} sessions, {} messages, {} over a limit, {} refused as blocked",
            sum(|book| book.admitted),
            status.messages,
            sum(|book| book.overflowed),
            sum(|book| book.refused)
        ),
    );
    row("offences", format!("{} since start, {} clients with a score", status.offences, status.watched));
    for log in &status.logs {
        row(&format!("log {}", log.source), read(log));
        if let Some(problem) = &log.problem {
            row("TROUBLE", format!("{}: {problem}", log.source));
        }
    }
    row("block list", status.blocks.to_string());
    row("never-block list", status.never.to_string());
    row("state", status.state_directory.clone());
    for (count, what) in [
        (status.kernel_pending, "changes that the kernel has not taken"),
        (status.store_pending, "changes that wait for the disk"),
        (status.store_failures, "changes that did not reach the disk"),
        (status.events_lost, "events that did not reach the event log"),
        (status.ids_lost, "lines that did not reach the IDS log"),
        (status.offences_lost, "offences that could not be judged in time"),
    ] {
        if count > 0 {
            row("TROUBLE", format!("{count} {what}"));
        }
    }
    Ok(table.print()?)
}

/// What is presented, and why it is not what is in the files.
fn certificates(presented: &[CertificateView], problem: Option<&str>, row: &mut impl FnMut(&str, String)) {
    for certificate in presented {
        row("  certificate", certificate_summary(certificate));
    }
    if let Some(problem) = problem {
        row("TROUBLE", format!("{problem}; the certificate before is still presented"));
    }
}

/// How far a log has been read, and what it has said.
fn read(log: &LogView) -> String {
    let LogView { state, behind, lines, matches, counted, known, .. } = log;
    let others = [
        (log.logged, "blocked nobody"),
        (log.too_old, "too old"),
        (log.refused, "of our own addresses"),
        (log.unreadable, "lines unreadable"),
        (log.cuts, "times cut off"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0);
    let others: Vec<_> = others.map(|(count, what)| format!(", {count} {what}")).collect();
    let others = others.concat();
    let state = if state.is_empty() { "begins" } else { state };
    format!(
        "{state}; {lines} lines, {matches} matched: {counted} counted, {known} known already{others}; {} behind",
        bytes(*behind)
    )
}

/// For whom a certificate is, and for how long.
pub(super) fn certificate_summary(certificate: &CertificateView) -> String {
    let names = certificate.names.join(" ");
    let until = time(certificate.until);
    let left = certificate.until.since(clock::now().wall);
    if left.is_zero() {
        format!("{names}, ended {until}: RENEW IT NOW")
    } else if certificate.ends_soon {
        format!("{names}, until {until}: RENEW IT, it ends in {}", duration(left))
    } else {
        format!("{names}, until {until}")
    }
}

/// The places of one session book.
fn pools(sessions: &SessionsView) -> String {
    let gauge = |gauge: Gauge| format!("{} of {}", gauge.used, gauge.limit);
    format!(
        "{}; incoming {}, {} in reserved places; local {}",
        gauge(sessions.total),
        gauge(sessions.incoming),
        gauge(sessions.reserved),
        sessions.local
    )
}

const fn health(up: Option<bool>) -> &'static str {
    match up {
        Some(true) => "answers",
        Some(false) => "does not answer",
        None => "not asked yet",
    }
}
