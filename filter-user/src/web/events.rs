//! Event Log: what happened, with filters; followed as it happens, and taken along as a file.

use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use filter_core::event::{Event, What};
use filter_core::notation::parse_network;
use maud::{Markup, html};
use serde::Deserialize;

use super::Web;
use super::api::{Api, encode};
use super::page::{self, Page};
use super::value::{client, event_cost, event_detail, event_name, number, rows, time};
use crate::cli::as_csv;
use crate::clock;
use crate::control::Problem;
use crate::store::PAGE_LIMIT;

const HERE: &str = "/events";
/// Events of one page.
const ROWS: u64 = 100;
/// Spans that one can choose, in minutes, and their names.
const SPANS: [(u64, &str); 5] = [
    (0, "all that is kept"),
    (60, "the last hour"),
    (1440, "the last day"),
    (10_080, "the last 7 days"),
    (43_200, "the last 30 days"),
];

/// Which events are looked at.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    network: String,
    kind: String,
    service: String,
    account: String,
    minutes: u64,
    /// Earlier than this event; 0: the latest.
    before: u64,
    follow: String,
    format: String,
}

impl Wanted {
    fn route(&self, limit: u64) -> String {
        let mut route = format!("/api/v1/events?limit={limit}");
        self.filter(&mut route);
        if self.minutes > 0 {
            let since =
                clock::now().wall.before(std::time::Duration::from_secs(self.minutes.saturating_mul(60)));
            route.extend(["&since=", &since.as_millis().to_string()]);
        }
        if self.before > 0 {
            route.extend(["&before=", &self.before.to_string()]);
        }
        route
    }

    /// Adds whose events, and of which kind.
    fn filter(&self, route: &mut String) {
        if !self.network.trim().is_empty() {
            // As it was typed, if it cannot be read: the API says what is wrong with it.
            let network = parse_network(&self.network)
                .map_or_else(|_| self.network.clone(), |network| network.to_string());
            route.extend(["&network=", &encode(&network)]);
        }
        if !self.kind.is_empty() {
            route.extend(["&kind=", &encode(&self.kind)]);
        }
        for (key, value) in [("service", &self.service), ("account", &self.account)] {
            if !value.trim().is_empty() {
                route.extend(["&", key, "=", &encode(value.trim())]);
            }
        }
    }

    fn link(&self, path: &str, more: &str) -> String {
        let Self { network, kind, service, account, minutes, .. } = self;
        let [network, kind, service, account] = [network, kind, service, account].map(|text| encode(text));
        format!(
            "{path}?network={network}&kind={kind}&service={service}&account={account}&minutes={minutes}{more}"
        )
    }

    /// Where the log is followed.
    fn stream(&self) -> String {
        let mut route = "/api/v1/events/follow?".to_owned();
        self.filter(&mut route);
        route
    }

    fn follows(&self) -> bool {
        !self.follow.is_empty() && self.before == 0
    }
}

pub(super) async fn show(State(web): State<Web>, api: Api, Query(wanted): Query<Wanted>) -> Response {
    let events: Result<Vec<Event>, Problem> = api.get(&wanted.route(ROWS)).await;
    let notice = web.access.take(&api.identity).await;
    let (content, status) = match events {
        Ok(events) => (html! { section.card aria-label="Events" { (list(&wanted, &events)) } }, 200),
        Err(problem) => (html! { p.notice.fault role="alert" { (problem.detail) } }, problem.status),
    };
    let content = html! {
        div.head {
            div { h1 { "Event log" } p { "What clients did, and what was decided about them." } }
            @if wanted.follows() && status == 200 {
                span.badge.good id="following" role="status" data-follow=(wanted.stream()) { "reload to see more" }
            }
        }
        (filters(&wanted))
        (content)
    };
    let every = if wanted.follows() { 2 } else { 0 };
    Page::new(&api, HERE, "Event log", content).every(every).with(notice).of_status(status).into_response()
}

fn filters(wanted: &Wanted) -> Markup {
    html! {
        form.card method="get" action=(HERE) role="search" {
            div.fields {
                div.wide {
                    label for="network" { "Address or network" }
                    input id="network" name="network" value=(wanted.network) placeholder="everybody" autocapitalize="none" spellcheck="false";
                }
                div {
                    label for="kind" { "Kind" }
                    select id="kind" name="kind" {
                        option value="" { "all" }
                        @for name in What::NAMES { option value=(name) selected[wanted.kind == name] { (name) } }
                    }
                }
                div {
                    label for="service" { "Service" }
                    input id="service" name="service" value=(wanted.service) placeholder="all" autocapitalize="none" spellcheck="false";
                }
                div {
                    label for="account" { "Account" }
                    input id="account" name="account" value=(wanted.account) placeholder="all" autocapitalize="none" spellcheck="false";
                }
                div {
                    label for="minutes" { "Time" }
                    select id="minutes" name="minutes" {
                        @for (minutes, name) in SPANS { option value=(minutes) selected[wanted.minutes == minutes] { (name) } }
                    }
                }
                div.fit.check {
                    input id="follow" name="follow" type="checkbox" value="yes" checked[wanted.follows()];
                    label for="follow" { "Follow" }
                }
                div.fit { button.primary type="submit" { "Show" } }
            }
        }
    }
}

fn list(wanted: &Wanted, events: &[Event]) -> Markup {
    let columns =
        [("Time", "time"), ("Client", ""), ("What", ""), ("Detail", ""), ("Costs", "num"), ("Score", "num")];
    let row = |event: &Event| {
        let cost = event_cost(event);
        vec![
            time(event.happened()),
            client(&event.network),
            html! { (event_name(event)) @if event.answered_by.is_some() { " " span.badge.plain { "spent" } } },
            html! { span.small { (event_detail(event)) } },
            html! { @if let Some((cost, _)) = cost { "+" (number(cost.into())) } },
            html! { @if let Some((_, score)) = cost { (number(score)) } },
        ]
    };
    let all: Vec<_> = events.iter().rev().map(row).collect();
    let oldest = events.first().map_or(0, |event| event.id.0);
    html! {
        div id="list" data-live {
            @if all.is_empty() { p.empty { b { "Nothing here" } "No event matches; widen the filter, or wait." } }
            @else { (rows("Events, the newest first", &columns, &all)) }
        }
        div.bar {
            span.check {
                a.button href=(wanted.link("/events/export", "&format=csv")) download { "Export CSV" }
                a.button href=(wanted.link("/events/export", "&format=json")) download { "Export JSON" }
            }
            nav.check aria-label="Pages of the log" {
                @if wanted.before > 0 { a.button href=(wanted.link(HERE, "")) { "The latest" } }
                @if all.len() as u64 == ROWS { a.button href=(wanted.link(HERE, &format!("&before={oldest}"))) { "Earlier" } }
            }
        }
    }
}

/// The same events as a file, the latest of them if there are more than one answer may have.
pub(super) async fn export(api: Api, Query(wanted): Query<Wanted>) -> Response {
    let events: Vec<Event> = match api.get(&wanted.route(PAGE_LIMIT.into())).await {
        Ok(events) => events,
        Err(problem) => return page::problem(&api, HERE, &problem).into_response(),
    };
    let (text, kind, name) = if wanted.format == "csv" {
        (as_csv(&events), "text/csv; charset=utf-8", "attachment; filename=\"events.csv\"")
    } else {
        let text = serde_json::to_string_pretty(&events).unwrap_or_default();
        (text, "application/json", "attachment; filename=\"events.json\"")
    };
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    response
}
