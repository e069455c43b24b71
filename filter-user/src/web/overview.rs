//! Overview: the state at one glance.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use filter_core::admin::{CertificateView, Gauge, SessionsView, StatusView};
use maud::{Markup, html};

use super::api::Api;
use super::page::{self, Page};
use super::value::{bytes, duration, number, time};
use super::{Web, day};
use crate::clock;
use crate::control::Statistics;

/// How full a limit is before it is coloured as near, in percent.
const NEAR: u64 = 80;

pub(super) async fn show(State(web): State<Web>, api: Api) -> Response {
    let status: StatusView = match api.get("/api/v1/status").await {
        Ok(status) => status,
        Err(problem) => return page::problem(&api, "/", &problem).into_response(),
    };
    let statistics = api.get::<Statistics>("/api/v1/statistics").await.ok();
    let notice = web.access.take(&api.identity).await;
    Page::new(&api, "/", "Overview", content(&status, statistics.as_ref()))
        .every(5)
        .with(notice)
        .into_response()
}

fn content(status: &StatusView, statistics: Option<&Statistics>) -> Markup {
    let up = duration(clock::now().wall.since(status.started));
    let is_observing = status.mode == "observe";
    html! {
        div.head {
            div {
                h1 { (status.name) }
                p id="up" data-live { "gatepost " (status.version) ", running for " (up) }
            }
            @if is_observing { span.badge.warn { "observes, enforces nothing" } } @else { span.badge.good { "enforces" } }
        }
        div id="trouble" data-live { (trouble(status)) }
        div.tiles id="tiles" data-live {
            (door("/blocks", status.blocks, "on the block list"))
            (door("/sessions", open_sessions(status), "open sessions"))
            (tile(status.watched, "clients with a score"))
            (tile(status.kernel.map_or(0, |kernel| kernel.dropped), "packets dropped"))
            (tile(status.messages, "messages accepted"))
            (tile(status.offences, "offences since the start"))
        }
        div.grid {
            section.card aria-labelledby="sessions-head" {
                h2 id="sessions-head" { "Sessions against their limits" }
                div id="sessions" data-live { (sessions(status)) }
            }
            section.card aria-labelledby="drops-head" {
                h2 id="drops-head" { "Packets dropped per second" }
                @if status.kernel.is_some() {
                    svg.plot viewBox="0 0 300 100" preserveAspectRatio="none" data-plot="drops" data-caption="drops-now"
                        role="img" aria-labelledby="drops-head" {
                        polygon.area points="" {}
                        polyline.stroke points="" {}
                    }
                    p.muted.small id="drops-now" { "The plot needs a script; the totals are above." }
                } @else {
                    p.empty { b { "No kernel filter" } "Blocks are enforced when a connection is accepted." }
                }
            }
            section.card aria-labelledby="nearest-head" {
                h2 id="nearest-head" { "Nearest to being blocked" }
                div id="nearest" data-live { (told(statistics, day::nearest)) }
            }
            section.card aria-labelledby="day-head" {
                h2 id="day-head" { "Events of the last 24 hours" }
                div id="day" data-live { (told(statistics, day::events)) }
            }
            section.card.broad aria-labelledby="parts-head" {
                h2 id="parts-head" { "Parts" }
                div id="parts" data-live { (parts(status)) }
            }
        }
    }
}

/// What the statistics say, if they can be read.
fn told(statistics: Option<&Statistics>, tell: fn(&Statistics) -> Markup) -> Markup {
    match statistics {
        Some(statistics) => tell(statistics),
        None => {
            html! { p.notice.warn role="alert" { "The event log cannot be read; look at the disk of the state directory." } }
        }
    }
}

/// Those of all books.
fn open_sessions(status: &StatusView) -> u64 {
    let own = status.services.iter().filter_map(|service| service.sessions.as_ref());
    own.map(|sessions| sessions.total.used).sum::<u64>() + status.sessions.total.used
}

/// A tile that leads to what it counts.
fn door(path: &str, count: u64, what: &str) -> Markup {
    html! { a.tile href=(path) { b { (number(count)) } span { (what) } } }
}

fn tile(count: u64, what: &str) -> Markup {
    html! { div.tile { b { (number(count)) } span { (what) } } }
}

fn gauge(name: &str, Gauge { used, limit }: Gauge) -> Markup {
    let is_near = limit > 0 && used * 100 >= limit * NEAR;
    html! {
        div.gauge {
            span { (name) @if is_near { " " span.badge.warn { "nearly full" } } }
            span.num { (number(used)) " of " (number(limit)) }
            meter min="0" max=(limit.max(1)) value=(used) aria-label=(name) { (used) " of " (limit) }
        }
    }
}

fn sessions(status: &StatusView) -> Markup {
    let sessions = &status.sessions;
    html! {
        (gauges(sessions))
        @for service in &status.services {
            @if let Some(own) = &service.sessions {
                h3 { "Service " (service.name) ", with limits of its own" }
                (gauges(own))
            }
        }
        p.muted.small {
            (number(sessions.local)) " local. Since the start: " (number(sessions.admitted)) " admitted, "
            (number(sessions.overflowed)) " over a limit, " (number(sessions.refused)) " refused as blocked."
        }
    }
}

/// One book against its limits.
fn gauges(sessions: &SessionsView) -> Markup {
    html! {
        (gauge("All sessions", sessions.total))
        (gauge("Incoming", sessions.incoming))
        @if sessions.reserved.limit > 0 { (gauge("In reserved places", sessions.reserved)) }
    }
}

fn parts(status: &StatusView) -> Markup {
    html! {
        dl.facts {
            @for service in &status.services {
                dt { "Service " (service.name) }
                dd {
                    div { "listens on " span.mono { (service.listen.join(", ")) } }
                    @for server in &service.mail_servers {
                        div {
                            "relays to " span.mono { (server.address) } " "
                            @match server.up {
                                Some(true) => span.badge.good { "answers" },
                                Some(false) => span.badge.bad { "does not answer" },
                                None => span.badge.plain { "not asked yet" },
                            }
                        }
                    }
                    (certificates(&service.certificates))
                }
            }
            dt { "Kernel filter" }
            dd {
                @for interface in &status.interfaces {
                    div {
                        span.mono { (interface.name) } " " span.badge.good { (interface.mode) }
                        @if let Some(since) = interface.attached { " since " (time(since)) }
                        @if let Some(fallback) = &interface.fallback { div.muted { "not native: " (fallback) } }
                    }
                }
                @if status.interfaces.is_empty() { "off: blocks are enforced at accept only" }
            }
            @if let Some(kernel) = status.kernel {
                dt { "Packets" }
                dd { (number(kernel.dropped)) " dropped (" (bytes(kernel.dropped_bytes)) "), " (number(kernel.passed)) " passed" }
            }
            @if let Some(web) = &status.web {
                dt { "Web admin" }
                dd {
                    span.mono { (web.url) }
                    (certificates(&web.certificates))
                }
            }
            dt { "Never blocked" } dd { (number(status.never)) " entries" }
            dt { "Store" }
            dd {
                span.mono { (status.state_directory) } " "
                @if status.store_pending > 0 { span.badge.bad { "waits for the disk" } } @else { span.badge.good { "up to date" } }
            }
            dt { "Started" } dd { (time(status.started)) }
        }
    }
}

/// What is presented, and until when it is valid.
fn certificates(presented: &[CertificateView]) -> Markup {
    html! {
        @for certificate in presented {
            div {
                "certificate of " span.mono { (certificate.names.join(" ")) } " until " (time(certificate.until))
                @if certificate.ends_soon { " " span.badge.warn { "renew it" } }
            }
        }
    }
}

/// What needs somebody's attention.
fn trouble(status: &StatusView) -> Markup {
    let counts = [
        (status.kernel_pending, "changes that the kernel has not taken; those clients are refused at accept"),
        (status.store_pending, "changes that wait for the disk"),
        (status.store_failures, "changes that did not reach the disk"),
        (status.events_lost, "events that did not reach the event log"),
        (status.ids_lost, "lines that did not reach the IDS log"),
        (status.offences_lost, "offences that could not be judged in time"),
    ];
    html! {
        @for (count, what) in counts {
            @if count > 0 { p.notice.warn role="alert" { (number(count)) " " (what) } }
        }
        @for problem in certificate_problems(status) {
            p.notice.fault role="alert" { (problem) "; the certificate before is still presented." }
        }
        @for server in status.services.iter().flat_map(|service| &service.mail_servers) {
            @if server.up == Some(false) {
                p.notice.fault role="alert" { "The mail server " (server.address) " does not answer." }
            }
        }
    }
}

/// Why certificates in changed files are not presented.
fn certificate_problems(status: &StatusView) -> impl Iterator<Item = &str> {
    let services = status.services.iter().filter_map(|service| service.certificate_problem.as_deref());
    services.chain(status.web.as_ref().and_then(|web| web.certificate_problem.as_deref()))
}
