//! `gatepost status`.

use filter_core::admin::{CertificateView, Gauge, InterfaceView, KernelTotals, SessionsView, StatusView};

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
        for certificate in &service.certificates {
            row("  certificate", certificate_summary(certificate));
        }
        if let Some(problem) = &service.certificate_problem {
            row("TROUBLE", format!("{problem}; the certificate before is still presented"));
        }
        if let Some(sessions) = &service.sessions {
            row("  sessions", pools(sessions));
        }
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
