//! Active Sessions: who is connected at this moment, and the buttons that end it.

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use filter_core::admin::StatusView;
use filter_core::notation::parse_network;
use filter_core::open::{Ended, Key, OpenSession, OpenSessions};
use filter_core::smtp::session::State as Doing;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::Web;
use super::api::{Api, encode};
use super::changes::{fault_of, told};
use super::fields::Fields;
use super::page::{self, Page, csrf};
use super::pager::{self, Part, ROWS};
use super::value::{Head, bytes, client_path, duration, number, sorted_rows};
use crate::control::Notice;

const HERE: &str = "/sessions";

/// Which sessions are looked at, and in which order.
#[derive(Debug, Default, Clone, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// An address, a network, or a part of a name.
    q: String,
    service: String,
    state: String,
    sort: String,
    descending: bool,
    offset: usize,
}

impl Wanted {
    fn link(&self, offset: usize) -> String {
        let Self { q, service, state, sort, descending, .. } = self;
        let [q, service, state, sort] = [q, service, state, sort].map(|text| encode(text));
        format!(
            "{HERE}?q={q}&service={service}&state={state}&sort={sort}&descending={descending}&offset={offset}"
        )
    }

    /// What the API is asked. What is no name of anything is left out, as if it had not been chosen.
    fn route(&self) -> String {
        let key = Key::named(&self.sort).unwrap_or_default().name();
        let text = if parse_network(&self.q).is_ok() { "network" } else { "q" };
        let state =
            Doing::named(&self.state).map_or_else(String::new, |state| format!("&state={}", state.name()));
        format!(
            "/api/v1/sessions?{text}={}&service={}{state}&sort={key}&descending={}&offset={}&limit={ROWS}",
            encode(&self.q),
            encode(&self.service),
            self.descending,
            self.offset
        )
    }
}

pub(super) async fn show(State(web): State<Web>, api: Api, Query(wanted): Query<Wanted>) -> Response {
    let wanted = Wanted { q: wanted.q.trim().to_owned(), ..wanted };
    let page: OpenSessions = match api.get(&wanted.route()).await {
        Ok(page) => page,
        Err(problem) => return page::problem(&api, HERE, &problem).into_response(),
    };
    // Only for the names to choose from.
    let status = api.get::<StatusView>("/api/v1/status").await.ok();
    let services: Vec<_> =
        status.iter().flat_map(|status| &status.services).map(|service| service.name.as_str()).collect();
    let notice = web.access.take(&api.identity).await;
    let content = html! {
        div.head {
            div { h1 { "Active sessions" } p { "Who is connected at this moment, and what each of them is doing." } }
        }
        (search(&wanted, &services))
        section.card aria-label="Open sessions" { div id="open" data-live { (open(&api, &wanted, page)) } }
    };
    Page::new(&api, HERE, "Active sessions", content).every(2).with(notice).into_response()
}

fn search(wanted: &Wanted, services: &[&str]) -> Markup {
    html! {
        form.card role="search" method="get" action=(HERE) {
            div.fields {
                div.wide {
                    label for="q" { "Address, network, or part of a name" }
                    input id="q" name="q" type="search" value=(wanted.q) maxlength="200" autocapitalize="none" spellcheck="false"
                        placeholder="192.0.2.7, 192.0.2.0/24, mail.example";
                }
                div {
                    label for="service" { "Service" }
                    select id="service" name="service" {
                        option value="" { "all" }
                        @for name in services { option value=(name) selected[wanted.service == *name] { (name) } }
                    }
                }
                div {
                    label for="state" { "State" }
                    select id="state" name="state" {
                        option value="" { "all" }
                        @for state in Doing::ALL {
                            option value=(state.name()) selected[wanted.state == state.name()] { (state.name()) }
                        }
                    }
                }
                div {
                    label for="sort" { "Sorted by" }
                    select id="sort" name="sort" {
                        @for key in Key::ALL {
                            option value=(key.name()) selected[wanted.sort == key.name()] { (key.name()) }
                        }
                    }
                }
                div.fit.check {
                    input id="descending" type="checkbox" name="descending" value="true" checked[wanted.descending];
                    label for="descending" { "highest first" }
                }
                div.fit { button.primary type="submit" { "Show" } }
            }
        }
    }
}

/// A column: its name, what it is sorted by, and its class.
const COLUMNS: [(&str, Option<Key>, &str); 12] = [
    ("Client", Some(Key::Client), ""),
    ("Service", Some(Key::Service), ""),
    ("State", Some(Key::State), ""),
    ("HELO, account", None, ""),
    ("Mail server", None, ""),
    ("In", Some(Key::Received), "num"),
    ("Out", Some(Key::Sent), "num"),
    ("Mails", Some(Key::Messages), "num"),
    ("Age", Some(Key::Age), "num"),
    ("Idle", Some(Key::Idle), "num"),
    ("Score", Some(Key::Score), "num"),
    ("", None, "fit"),
];

fn open(api: &Api, wanted: &Wanted, page: OpenSessions) -> Markup {
    if page.total == 0 {
        return html! { p.empty { b { "No session is open" } "Clients appear here the moment they connect." } };
    }
    if page.matching == 0 {
        return html! { p.empty { b { "No open session matches" } a href=(HERE) { "Show all " (number(page.total)) } } };
    }
    let threshold = page.threshold;
    let back = wanted.link(wanted.offset);
    let rows: Vec<_> = page.sessions.iter().map(|session| row(api, &back, session, threshold)).collect();
    let heads: Vec<_> =
        COLUMNS.into_iter().map(|(name, key, class)| head(wanted, name, key, class)).collect();
    let total = usize::try_from(page.matching).unwrap_or(usize::MAX);
    let part = Part { items: page.sessions, total, offset: wanted.offset };
    html! {
        @if part.items.is_empty() {
            p.empty { b { "There are fewer sessions now" } a href=(wanted.link(0)) { "Back to the first page" } }
        } @else {
            (sorted_rows("Open sessions", &heads, &rows))
            div.bar { span {} (pager::links(&part, |offset| wanted.link(offset))) }
        }
    }
}

/// Those of one client, whose page is where its buttons lead back to.
pub(super) fn of_client(api: &Api, page: &OpenSessions, back: &str) -> Markup {
    if page.sessions.is_empty() {
        return html! { p.muted { "It has no open session." } };
    }
    let rows: Vec<_> = page.sessions.iter().map(|session| row(api, back, session, page.threshold)).collect();
    let heads = COLUMNS.map(|(name, _, class)| Head { name, class, link: None });
    let more = page.matching.saturating_sub(page.sessions.len() as u64);
    html! {
        (sorted_rows("Its open sessions", &heads, &rows))
        @if more > 0 { p.muted { "and " (number(more)) " more" } }
    }
}

/// The name of a column, with the way to sort by it.
fn head(wanted: &Wanted, name: &'static str, key: Option<Key>, class: &'static str) -> Head {
    let link = key.map(|key| {
        let is_sorted = Key::named(&wanted.sort) == Some(key);
        let descending = if is_sorted { !wanted.descending } else { key != Key::Client };
        let link = Wanted { sort: key.name().to_owned(), descending, ..wanted.clone() }.link(0);
        let order = match (is_sorted, wanted.descending) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        };
        (link, order)
    });
    Head { name, class, link }
}

fn row(api: &Api, back: &str, session: &OpenSession, threshold: u32) -> Vec<Markup> {
    let seconds = |count| duration(std::time::Duration::from_secs(count));
    let is_near = session.score * 2 >= u64::from(threshold);
    vec![
        html! {
            div {
                a.mono href=(client_path(session.client)) { (session.client) }
                @if session.local { div.small.muted { "local" } }
            }
        },
        html! { (session.service) },
        html! {
            div {
                span.badge.plain { (session.state.name()) }
                div.small.muted { "awaits the " (session.awaits.name()) }
                @if let Some(tls) = &session.tls { div.small { "TLS " (tls) } }
            }
        },
        html! {
            div {
                @match &session.helo { Some(name) => span.mono { (name) }, None => span.muted { "not said" } }
                @if let Some(account) = &session.account { div.small { "as " (account) } }
            }
        },
        html! {
            @match &session.mail_server { Some(server) => span.mono { (server) }, None => span.muted { "not connected" } }
        },
        html! { (bytes(session.received)) },
        html! { (bytes(session.sent)) },
        html! { (number(session.messages)) },
        html! { (seconds(session.age)) },
        html! { (seconds(session.idle)) },
        html! { @if is_near { span.badge.warn { (number(session.score)) } } @else { (number(session.score)) } },
        html! { @if api.can_change() { (buttons(api, back, session)) } },
    ]
}

fn buttons(api: &Api, back: &str, session: &OpenSession) -> Markup {
    let client = session.client;
    html! {
        form.row-actions.tight method="post" action={ (HERE) "/end" } {
            (csrf(api.csrf()))
            input type="hidden" name="id" value=(session.id);
            input type="hidden" name="network" value=(client);
            input type="hidden" name="back" value=(back);
            button type="submit" aria-label={ "end session " (session.id) " of " (client) } { "End" }
            button.danger type="submit" formaction="/blocks/add" aria-label={ "block " (client) } { "Block" }
            button type="submit" formaction="/never/add" aria-label={ "never block " (client) } { "Never block" }
        }
    }
}

/// Ends one session.
pub(super) async fn end(State(web): State<Web>, api: Api, fields: Fields) -> Response {
    let back = fields.back(HERE);
    let id = match fields.number("id") {
        Ok(Some(id)) => id,
        Ok(None) => return told(&web, &api, &back, fault_of("No session was chosen.".to_owned())).await,
        Err(fault) => return told(&web, &api, &back, fault_of(fault)).await,
    };
    let notice = match api.delete::<Ended>(&format!("/api/v1/sessions?id={id}")).await {
        Ok(_) => Notice {
            text: format!("Session {id} of {} ends; its client may come back.", fields.text("network")),
            ..Notice::default()
        },
        Err(problem) => fault_of(problem.detail),
    };
    told(&web, &api, &back, notice).await
}
