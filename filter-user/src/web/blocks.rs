//! Block List: who is blocked, why and until when; searching, adding, removing.

use std::net::IpAddr;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use filter_core::admin::{LONGEST_BLOCK_MINUTES, Why};
use filter_core::decision::Origin;
use filter_core::listed::{Listed, ListedBlock, Order};
use filter_core::notation::parse_network;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::Web;
use super::api::{Api, encode};
use super::page::{self, Page, csrf};
use super::pager::{self, Part, ROWS};
use super::value::{client, client_path, duration, left, network, number, origin, rows, time};
use crate::clock;

const HERE: &str = "/blocks";
/// Where blocks come from.
const ORIGINS: [Origin; 4] = [Origin::Smtp, Origin::Login, Origin::Manual, Origin::Feed];
/// How they can be ordered.
const ORDERS: [(Order, &str); 3] =
    [(Order::Since, "the latest first"), (Order::Until, "the next to end"), (Order::Network, "network")];
/// How they are, if nobody has chosen.
const USUAL: Order = Order::Since;

/// Which entries are looked at.
#[derive(Debug, Default, Clone, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// An address, a network, or a part of the reason.
    q: String,
    origin: String,
    sort: String,
    offset: usize,
}

impl Wanted {
    /// What the API is asked. What is no name of anything is left out, as if it had not been chosen.
    fn route(&self) -> String {
        let text = if parse_network(&self.q).is_ok() { "network" } else { "q" };
        let is_origin = ORIGINS.into_iter().any(|origin| origin.name() == self.origin);
        let origin = if is_origin { format!("&origin={}", self.origin) } else { String::new() };
        let order = Order::named(&self.sort).unwrap_or(USUAL).name();
        let q = encode(&self.q);
        format!("/api/v1/blocks/search?{text}={q}{origin}&sort={order}&offset={}&limit={ROWS}", self.offset)
    }

    fn link(&self, offset: usize) -> String {
        let [q, origin, sort] = [&self.q, &self.origin, &self.sort].map(|text| encode(text));
        format!("{HERE}?q={q}&origin={origin}&sort={sort}&offset={offset}")
    }
}

pub(super) async fn show(State(web): State<Web>, api: Api, Query(wanted): Query<Wanted>) -> Response {
    let wanted = Wanted { q: wanted.q.trim().to_owned(), ..wanted };
    let listed: Listed = match api.get(&wanted.route()).await {
        Ok(listed) => listed,
        Err(problem) => return page::problem(&api, HERE, &problem).into_response(),
    };
    let covered = match wanted.q.parse::<IpAddr>() {
        Ok(address) => {
            api.get::<Why>(&format!("/api/v1/why?address={}", encode(&address.to_string()))).await.ok()
        }
        Err(_) => None,
    };
    let Listed { total, matching, blocks } = listed;
    let matching = usize::try_from(matching).unwrap_or(usize::MAX);
    let part = Part { items: blocks, total: matching, offset: wanted.offset };
    let notice = web.access.take(&api.identity).await;
    let content = html! {
        div.head {
            div { h1 { "Block list" } p { "Who is refused, and dropped in the kernel. Every entry ends by itself." } }
            @if api.can_change() { a.button href="#add" { "Block an address" } }
        }
        (search(&wanted))
        @if let Some(why) = &covered { (coverage(why)) }
        section.card aria-label="Entries" { (entries(&api, &wanted, &part, total)) }
        @if api.can_change() { (form(&api, &wanted)) }
    };
    Page::new(&api, HERE, "Block list", content).every(5).with(notice).into_response()
}

fn search(wanted: &Wanted) -> Markup {
    html! {
        form.card role="search" method="get" action=(HERE) {
            div.fields {
                div.wide {
                    label for="q" { "Search, or ask whether an address is covered" }
                    input id="q" name="q" type="search" value=(wanted.q) placeholder="192.0.2.7, 192.0.2.0/24, or words";
                }
                div {
                    label for="origin" { "Origin" }
                    select id="origin" name="origin" {
                        option value="" { "all" }
                        @for origin in ORIGINS {
                            option value=(origin.name()) selected[wanted.origin == origin.name()] { (origin.name()) }
                        }
                    }
                }
                div {
                    label for="sort" { "Sorted by" }
                    select id="sort" name="sort" {
                        @for (order, name) in ORDERS {
                            option value=(order.name()) selected[Order::named(&wanted.sort).unwrap_or(USUAL) == order] { (name) }
                        }
                    }
                }
                div.fit { button.primary type="submit" { "Search" } }
            }
        }
    }
}

/// The answer to "is this address covered?".
fn coverage(why: &Why) -> Markup {
    let standing = &why.standing;
    let address = standing.address;
    let class = if standing.refused_by.is_some() { "notice fault" } else { "notice done" };
    html! {
        div class=(class) id="covered" role="status" {
            span {
                @if let Some(by) = &standing.refused_by {
                    (address) " is covered by the block of " (network(by)) "."
                } @else if let Some(never) = standing.never.first() {
                    (address) " is not blocked: " (network(&never.network)) " is never blocked."
                } @else {
                    (address) " is not blocked. Its score is " (standing.score) " of " (standing.threshold) "."
                }
            }
            a.button href=(client_path(address)) { "Why?" }
        }
    }
}

fn entries(api: &Api, wanted: &Wanted, part: &Part<ListedBlock>, total: u64) -> Markup {
    if total == 0 {
        return html! { p.empty { b { "Nobody is blocked" } "Clients that reach the threshold appear here by themselves." } };
    }
    if part.total == 0 {
        return html! { p.empty { b { "No entry matches" } a href=(HERE) { "Show all " (number(total)) } } };
    }
    if part.items.is_empty() {
        return html! { p.empty { b { "There are fewer entries now" } a href=(wanted.link(0)) { "Back to the first page" } } };
    }
    let now = clock::now().wall;
    let can_change = api.can_change();
    let columns = [
        ("", "fit"),
        ("Network", ""),
        ("Origin", ""),
        ("Left", "num"),
        ("Until", "time"),
        ("Dropped", "num"),
        ("Reason", ""),
        ("By", ""),
        ("", "fit"),
    ];
    let row = |listed: &ListedBlock| {
        let ListedBlock { view, packets, last_drop, .. } = listed;
        let block = &view.block;
        vec![
            html! { @if can_change {
                input type="checkbox" name="network" value=(block.network) aria-label={ "choose " (network(&block.network)) };
            } },
            client(&block.network),
            origin(block.origin),
            left(block.until, now),
            time(block.until),
            html! {
                @match packets {
                    Some(packets) => (number(*packets)),
                    None => span.muted { "at accept" },
                }
                @if let Some(last) = last_drop { div.small.muted { (duration(now.since(*last))) " ago" } }
            },
            html! {
                (block.reason)
                @if let Some(never) = &view.overridden_by {
                    div.small { span.badge.good { "no effect" } " " (network(never)) " is never blocked" }
                }
                @if block.observed { div { span.badge.plain { "observed only" } } }
            },
            html! { (block.author) },
            html! { a.button href=(client_path(block.network.network())) aria-label={ "why is " (network(&block.network)) " blocked" } { "Why?" } },
        ]
    };
    let rows_of: Vec<_> = part.items.iter().map(row).collect();
    html! {
        form method="post" action={ (HERE) "/remove" } {
            (csrf(api.csrf()))
            input type="hidden" name="back" value=(wanted.link(part.offset));
            div id="entries" data-live { (rows("Blocked networks", &columns, &rows_of)) }
            div.bar {
                @if can_change {
                    span.check {
                        label.check hidden { input type="checkbox" data-check-all; "all of this page" }
                        button.danger type="submit" { "Remove the checked" }
                    }
                }
                (pager::links(part, |offset| wanted.link(offset)))
            }
        }
    }
}

fn form(api: &Api, wanted: &Wanted) -> Markup {
    // Who has searched for an address that is not on the list often wants it there.
    let network = parse_network(&wanted.q).map(|_| wanted.q.as_str()).unwrap_or_default();
    html! {
        section.card id="add" aria-labelledby="add-head" {
            h2 id="add-head" { "Block an address or a network" }
            form method="post" action={ (HERE) "/add" } {
                (csrf(api.csrf()))
                div.fields {
                    div.wide {
                        label for="network" { "Address, CIDR or wildcard" }
                        input id="network" name="network" value=(network) required placeholder="192.0.2.7, 192.0.2.0/24, 192.0.2.*"
                            autocapitalize="none" spellcheck="false";
                    }
                    div {
                        label for="minutes" { "Minutes (empty: the usual time)" }
                        input id="minutes" name="minutes" type="number" min="1" max=(LONGEST_BLOCK_MINUTES) inputmode="numeric";
                    }
                    div.wide {
                        label for="comment" { "Why, for whoever asks later" }
                        input id="comment" name="comment" maxlength="500";
                    }
                    div.fit { button.primary type="submit" { "Block" } }
                }
            }
        }
    }
}
