//! `/metrics`: every number that is worth a curve, for Prometheus and its kin.
//!
//! Labels have the values of a closed list, or come from the configuration; never from a client. So the number of series
//! is bounded whatever happens. What is written here is counted elsewhere, by whoever owns it.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use filter_core::admin::{Gauge, SessionsView};
use filter_core::limits::Pool;
use filter_core::offence::Kind;

use super::{Agent, Problem};
use crate::edge::Service;
use crate::ids::IdsLog;
use crate::ips::{BookId, Counts, Reason, Request};
use crate::kernel::{CounterView, LinkView, Mode, View};
use crate::telemetry::exposition::{Exposition, Form, Metric};
use crate::telemetry::{histogram, process};

/// Answers with all of them, in the form that was asked for.
pub(super) async fn show(State(agent): State<Agent>, headers: HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = Form::accepted(accept);
    let counts = agent.inbox.ask(Request::Count).await.ok_or_else(Problem::stopping)?;
    let (links, counters) = kernel(&agent).await;
    let mut to = Exposition::new(form);
    let fixed = &agent.fixed;
    to.gauge("gatepost_build_info", "Always 1; the version is in the label.")
        .put(&[("version", &fixed.version)], 1);
    to.gauge("gatepost_enforcing", "1: blocks are enforced; 0: observe mode.")
        .put(&[], u8::from(fixed.mode == "enforce"));
    sessions(&mut to, &agent, &counts);
    mail_servers(&mut to, &agent);
    decisions(&mut to, &agent, &counts);
    packets(&mut to, &counts, &links, &counters);
    store(&mut to, &agent);
    to.histogram(&histogram::SESSION);
    to.histogram(&histogram::CONNECT);
    to.histogram(&histogram::DECISION);
    to.histogram(&histogram::KERNEL_WRITE);
    to.histogram(&histogram::STORE_COMMIT);
    process::write(&mut to);
    Ok(([(header::CONTENT_TYPE, form.content_type())], to.finish()).into_response())
}

/// Where the filter is, and its counters; empty if there is none, or its maps cannot be read.
async fn kernel(agent: &Agent) -> (Vec<LinkView>, Vec<CounterView>) {
    if agent.fixed.interfaces.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let Ok(view) = View::open(agent.fixed.pin_directory.as_ref()) else { return (Vec::new(), Vec::new()) };
    (view.links().await.unwrap_or_default(), view.counters().unwrap_or_default())
}

fn sessions(to: &mut Exposition, agent: &Agent, counts: &Counts) {
    let services = || agent.services.iter().map(|service| (service.name(), service.traffic()));
    let mut open = to.gauge("gatepost_sessions_open", "Open sessions, by service and pool.");
    for (service, traffic) in services() {
        for pool in Pool::ALL {
            open.put(&[("service", service), ("pool", pool.name())], traffic.open(pool));
        }
    }
    let mut admitted =
        to.counter("gatepost_sessions_admitted", "Sessions since the start, by service and pool.");
    for (service, traffic) in services() {
        for pool in Pool::ALL {
            admitted.put(&[("service", service), ("pool", pool.name())], traffic.admitted(pool));
        }
    }
    let mut refused =
        to.counter("gatepost_refusals", "Connections answered 421 at accept, by service and reason.");
    for (service, traffic) in services() {
        for reason in Reason::ALL {
            refused.put(&[("service", service), ("reason", reason.name())], traffic.refused(reason));
        }
    }
    let mut messages = to.counter("gatepost_messages", "Messages that mail servers have accepted.");
    for (service, traffic) in services() {
        messages.put(&[("service", service)], traffic.messages());
    }
    places(to, agent, counts);
}

/// The books: places taken, and the limits.
fn places(to: &mut Exposition, agent: &Agent, counts: &Counts) {
    let books: Vec<_> =
        counts.books.iter().enumerate().map(|(number, view)| (book(agent, BookId(number)), view)).collect();
    let each = |metric: &mut Metric<'_>, number: fn(Gauge) -> u64| {
        for (book, SessionsView { total, incoming, reserved, .. }) in &books {
            for (limit, gauge) in [("total", total), ("incoming", incoming), ("reserved", reserved)] {
                metric.put(&[("book", book), ("limit", limit)], number(*gauge));
            }
        }
    };
    each(
        &mut to.gauge("gatepost_session_places_taken", "Places taken, by session book and limit."),
        |gauge| gauge.used,
    );
    let mut limit = to.gauge(
        "gatepost_session_places_limit",
        "Places there are, by session book and limit; per-address: 0 means no limit.",
    );
    each(&mut limit, |gauge| gauge.limit);
    for ((book, _), per_address) in books.iter().zip(&counts.per_address) {
        limit.put(&[("book", book), ("limit", "per-address")], per_address);
    }
}

/// The service that a book is of; the first one is for all that have none of their own.
fn book(agent: &Agent, id: BookId) -> &str {
    let own = |service: &&std::sync::Arc<Service>| id != BookId::SHARED && service.book() == id;
    agent.services.iter().find(own).map_or("shared", |service| service.name())
}

fn mail_servers(to: &mut Exposition, agent: &Agent) {
    let mut up = to
        .gauge("gatepost_mail_server_up", "1: took the last connection; 0: did not. Absent: not asked yet.");
    for service in agent.services.iter() {
        for server in service.backend().view() {
            if let Some(is_up) = server.up {
                let labels = [("service", service.name()), ("mail_server", &server.address)];
                up.put(&labels, u8::from(is_up));
            }
        }
    }
    let mut failures = to.counter(
        "gatepost_mail_server_connect_failures",
        "Connections to a mail server at which no session could begin.",
    );
    for service in agent.services.iter() {
        for (server, count) in service.backend().view().iter().zip(service.backend().failures()) {
            failures.put(&[("service", service.name()), ("mail_server", &server.address)], count);
        }
    }
}

fn decisions(to: &mut Exposition, agent: &Agent, counts: &Counts) {
    let mut offences = to.counter("gatepost_offences", "Offences, by kind.");
    for kind in Kind::ALL {
        offences.put(&[("kind", kind.name())], counts.tally.offences(kind));
    }
    to.counter("gatepost_offences_lost", "Offences that could not be judged in time.")
        .put(&[], agent.inbox.lost());
    let mut decisions =
        to.counter("gatepost_decisions", "Decisions about networks, by where they come from.");
    for (decision, origin, count) in counts.tally.decisions() {
        decisions.put(&[("decision", decision.name()), ("origin", origin)], count);
    }
    to.gauge("gatepost_blocks", "Entries of the block list.").put(&[], counts.blocks);
    to.gauge("gatepost_never_blocks", "Entries of the never-block list, built-in ones included.")
        .put(&[], counts.never);
    to.gauge("gatepost_clients_watched", "Clients with a score above zero.").put(&[], counts.watched);
}

fn packets(to: &mut Exposition, counts: &Counts, links: &[LinkView], counters: &[CounterView]) {
    let verdict = |counter: &CounterView| if counter.dropped { "drop" } else { "pass" };
    let mut packets = to.counter(
        "gatepost_kernel_packets",
        "Packets that the kernel filter has judged since its maps were made, by verdict and reason.",
    );
    for counter in counters {
        packets.put(&[("verdict", verdict(counter)), ("reason", counter.reason)], counter.packets);
    }
    let mut bytes = to.counter("gatepost_kernel_bytes", "Bytes of those packets.");
    for counter in counters {
        bytes.put(&[("verdict", verdict(counter)), ("reason", counter.reason)], counter.bytes);
    }
    let mut attached = to.gauge(
        "gatepost_kernel_attached",
        "1: the kernel filter is on this interface; 0: it is gone from it.",
    );
    for link in links {
        let mode = link.mode.map_or("gone", Mode::name);
        attached.put(&[("interface", &link.interface), ("mode", mode)], u8::from(link.mode.is_some()));
    }
    let mut entries = to.gauge("gatepost_kernel_map_entries", "Entries in a map of the kernel filter.");
    for fill in &counts.kernel_fill {
        entries.put(&[("map", fill.map)], fill.entries);
    }
    let mut capacity =
        to.gauge("gatepost_kernel_map_capacity", "Entries that a map of the kernel filter can hold.");
    for fill in &counts.kernel_fill {
        capacity.put(&[("map", fill.map)], fill.capacity);
    }
    to.gauge(
        "gatepost_kernel_changes_pending",
        "Changes that the kernel has not taken; they are tried again.",
    )
    .put(&[], counts.kernel_pending);
}

fn store(to: &mut Exposition, agent: &Agent) {
    let store = &agent.store;
    to.gauge("gatepost_store_queue_entries", "Changes and events on their way to the database.")
        .put(&[], store.queued());
    to.gauge("gatepost_store_changes_pending", "Changes that wait for a disk that takes them.")
        .put(&[], store.pending());
    to.counter("gatepost_store_changes_lost", "Changes that did not reach the disk.").put(&[], store.lost());
    to.counter("gatepost_store_events_lost", "Events that did not reach the event log.")
        .put(&[], store.events_lost());
    to.gauge("gatepost_store_size_bytes", "Size of the database.").put(&[], store.size());
    if let Some(ids) = &agent.ids {
        to.counter("gatepost_ids_lines_lost", "Lines that did not reach the IDS log.")
            .put(&[], IdsLog::lost(ids));
    }
}
