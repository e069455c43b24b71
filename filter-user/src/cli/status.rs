//! `gatepost status`.

use filter_core::admin::{Gauge, InterfaceView, KernelTotals, StatusView};

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
    let gauge = |gauge: Gauge| format!("{} of {}", gauge.used, gauge.limit);
    let sessions = &status.sessions;
    let mail_server = match status.mail_server_up {
        Some(true) => "answers",
        Some(false) => "does not answer",
        None => "not asked yet",
    };
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
    row("listening", status.listen.join(", "));
    row("mail server", format!("{} ({mail_server})", status.mail_server));
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
    row("sessions", gauge(sessions.total));
    row(
        "  incoming",
        format!("{}, {} in reserved places", gauge(sessions.incoming), gauge(sessions.reserved)),
    );
    row("  local", sessions.local.to_string());
    row(
        "since start",
        format!(
            "{} sessions, {} messages, {} over a limit, {} refused as blocked",
            sessions.admitted, status.messages, sessions.overflowed, sessions.refused
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
