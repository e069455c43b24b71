//! A client's page: blocked or not, the sum that led to it line by line, and what can be done about it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use filter_core::admin::{BlockView, Standing, Why};
use filter_core::event::Event;
use filter_core::open::OpenSessions;
use maud::{Markup, html};
use serde::Deserialize;

use super::Web;
use super::api::{Api, encode};
use super::page::{self, Page, csrf};
use super::pager::ROWS;
use super::sessions;
use super::value::{
    bytes, client as link, client_path, duration, event_cost, event_detail, event_name, left, network,
    number, origin, rows, time,
};
use crate::clock;
use crate::control::Problem;

/// Which client.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    address: String,
}

pub(super) async fn show(State(web): State<Web>, api: Api, Query(wanted): Query<Wanted>) -> Response {
    let text = wanted.address.trim();
    if text.is_empty() {
        let content = html! { div.head { h1 { "Why is a client blocked?" } } (ask("")) };
        return Page::new(&api, "/client", "Client", content).into_response();
    }
    let Ok(address) = text.parse::<IpAddr>() else {
        let detail = format!("`{text}` is not an address; write one like 192.0.2.7 or 2001:db8::7");
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        return page::problem(&api, "/client", &problem).into_response();
    };
    let why: Why = match api.get(&format!("/api/v1/why?address={}", encode(&address.to_string()))).await {
        Ok(why) => why,
        Err(problem) => return page::problem(&api, "/client", &problem).into_response(),
    };
    let notice = web.access.take(&api.identity).await;
    let address = why.standing.address;
    let scope = encode(&why.standing.scope.to_string());
    let open =
        api.get::<OpenSessions>(&format!("/api/v1/sessions?network={scope}&sort=age&limit={ROWS}")).await;
    let content = html! {
        div.head { div { h1.mono { (address) } p { "scored and blocked as " span.mono { (network(&why.standing.scope)) } } } }
        div id="verdict" data-live { (verdict(&api, &why.standing)) }
        div id="sums" data-live { (sums(&why)) }
        section.card aria-labelledby="sessions-head" {
            h2 id="sessions-head" { "Open sessions" }
            div id="sessions" data-live {
                @match &open {
                    Ok(open) => (sessions::of_client(&api, open, &client_path(address))),
                    Err(problem) => p.notice.warn role="alert" { (problem.detail) },
                }
            }
        }
        div.grid {
            section.card aria-labelledby="kernel-head" {
                h2 id="kernel-head" { "In the kernel" }
                div id="kernel" data-live { (kernel(&why)) }
            }
            section.card aria-labelledby="never-head" {
                h2 id="never-head" { "Never-block entries" }
                (nevers(&why.standing))
            }
        }
        section.card aria-labelledby="timeline-head" {
            h2 id="timeline-head" { "Timeline" }
            div id="timeline" data-live { (timeline(&why)) }
            p.bar { a href={ "/events?network=" (encode(&address.to_string())) } { "All its events" } }
        }
        (ask(""))
    };
    Page::new(&api, "/client", address.to_string(), content).every(5).with(notice).into_response()
}

fn ask(value: &str) -> Markup {
    html! {
        form.card method="get" action="/client" role="search" {
            div.fields {
                div.wide {
                    label for="address" { "Address of a client" }
                    input id="address" name="address" value=(value) required autocapitalize="none" spellcheck="false"
                        placeholder="192.0.2.7 or 2001:db8::7";
                }
                div.fit { button.primary type="submit" { "Why?" } }
            }
        }
    }
}

/// Blocked or not, and one click to the remedy.
fn verdict(api: &Api, standing: &Standing) -> Markup {
    let now = clock::now().wall;
    let address = standing.address;
    let refusing = standing.blocks.iter().find(|view| Some(view.block.network) == standing.refused_by);
    let reached = standing.score.saturating_sub(standing.credit);
    let missing = u64::from(standing.threshold).saturating_sub(reached);
    let class = match refusing {
        Some(_) if standing.enforced => "card verdict blocked",
        Some(_) => "card verdict watch",
        None if reached > 0 => "card verdict watch",
        None => "card verdict",
    };
    html! {
        section class=(class) aria-label="Verdict" {
            @if let Some(view) = refusing {
                p.lead {
                    @if standing.enforced { "Blocked" } @else { "Would be blocked (observe mode)" }
                    " for another " (left(view.block.until, now))
                }
                p { (view.block.reason) }
                p.muted {
                    "by " (view.block.author) " since " (time(view.block.since)) ", until " (time(view.block.until))
                }
            } @else if let (false, Some(never)) = (standing.blocks.is_empty(), standing.never.first()) {
                p.lead { "Not blocked: never-block wins" }
                p { (network(&never.network)) " is never blocked, so the block below has no effect." }
            } @else {
                p.lead { "Not blocked" }
                p { "Its score is " (number(standing.score)) " of " (number(standing.threshold.into())) "; " (number(missing)) " more would block it." }
            }
            @if api.can_change() {
                @if !standing.blocks.is_empty() {
                    p.small.muted { "Unblocking works at once: new connections pass, and the events that led to the block count no more." }
                }
                div.row-actions.left {
                    @for view in &standing.blocks { (unblock(api, view, address)) }
                    @if refusing.is_none() && standing.blocks.is_empty() {
                        form method="post" action="/blocks/add" { (target(api, address)) button.danger type="submit" { "Block it" } }
                    }
                    @if standing.never.is_empty() {
                        form method="post" action="/never/add" { (target(api, address)) button type="submit" { "Never block it" } }
                    }
                }
            }
        }
    }
}

fn target(api: &Api, address: IpAddr) -> Markup {
    html! {
        (csrf(api.csrf()))
        input type="hidden" name="network" value=(address);
        input type="hidden" name="back" value=(client_path(address));
    }
}

fn unblock(api: &Api, view: &BlockView, address: IpAddr) -> Markup {
    let of = network(&view.block.network);
    html! {
        form method="post" action="/blocks/remove" {
            (csrf(api.csrf()))
            input type="hidden" name="network" value=(view.block.network);
            input type="hidden" name="back" value=(client_path(address));
            button.primary type="submit" { "Unblock " (of) }
        }
    }
}

/// What led to each block, and what counts now, added up line by line.
fn sums(why: &Why) -> Markup {
    let standing = &why.standing;
    let counted: BTreeSet<_> = standing.counted.iter().collect();
    let now: Vec<_> = why.events.iter().filter(|event| counted.contains(&event.id)).collect();
    let period = duration(Duration::from_secs(standing.monitor_period));
    let threshold = standing.threshold;
    html! {
        @for view in &standing.blocks {
            @let led: Vec<_> = why.events.iter().filter(|event| event.answered_by == Some(view.block.event)).collect();
            section.card.sum {
                h2 { "What led to the block of " (network(&view.block.network)) " " (origin(view.block.origin)) }
                @if led.is_empty() {
                    p.muted { "No events: " (view.block.author) " decided it. “" (view.block.reason) "”" }
                } @else { (sum(&led, threshold)) }
            }
        }
        @if !now.is_empty() {
            section.card.sum {
                h2 { "What counts now, within " (period) }
                (sum(&now, threshold))
                @if standing.credit > 0 { p { "Good behaviour takes " (number(standing.credit)) " off the score." } }
            }
        }
        @if standing.failed_logins > 0 && standing.failed_login_threshold > 0 {
            section.card.sum {
                h2 { "Failed logins" }
                p {
                    (number(standing.failed_logins)) " of " (standing.failed_login_threshold) " that block, within "
                    (duration(Duration::from_secs(standing.login_monitor_period))) "; the same credentials count once."
                }
            }
        }
    }
}

fn sum(events: &[&Event], threshold: u32) -> Markup {
    let columns =
        [("Time", "time"), ("Address", ""), ("What", ""), ("Detail", ""), ("Costs", "num"), ("Sum", "num")];
    let mut total = 0_u64;
    let mut all = Vec::new();
    for event in events {
        let Some((cost, _)) = event_cost(event) else { continue };
        total += u64::from(cost);
        all.push(vec![
            time(event.happened()),
            link(&event.network),
            event_name(event),
            html! { span.mono.small { (event_detail(event)) } },
            html! { "+" (number(cost.into())) },
            html! { b { (number(total)) } },
        ]);
    }
    html! {
        (rows("Events and their sum", &columns, &all))
        p.total { "Together " b { (number(total)) } " of " (number(threshold.into())) " that block." }
    }
}

fn kernel(why: &Why) -> Markup {
    let Some(kernel) = &why.kernel else {
        return html! { p.muted { "There is no kernel filter, or it cannot be read; blocks are enforced at accept." } };
    };
    html! {
        dl.facts {
            dt { "New connections" }
            dd {
                @if kernel.verdict == "drop" { span.badge.bad { "dropped" } } @else { span.badge.good { "passed" } }
                " " span.muted { (kernel.reason) }
            }
            dt { "Dropped so far" }
            dd { (number(kernel.packets)) " packets, " (bytes(kernel.bytes)) }
            dt { "Last drop" }
            dd { @if let Some(last) = kernel.last_drop { (time(last)) } @else { "none yet" } }
        }
    }
}

fn nevers(standing: &Standing) -> Markup {
    if standing.never.is_empty() {
        return html! { p.muted { "None covers it." } };
    }
    html! {
        ul.plain {
            @for never in &standing.never {
                li {
                    span.mono { (network(&never.network)) } " "
                    @if never.built_in { span.badge.good { "built in" } } @else { "by " (never.author) }
                    @if !never.comment.is_empty() { div.muted { (never.comment) } }
                }
            }
        }
    }
}

/// The latest events of the client and of networks around it, the newest first.
fn timeline(why: &Why) -> Markup {
    let mut events: Vec<_> = why.events.iter().chain(&why.history).collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.id));
    events.dedup_by_key(|event| event.id);
    if events.is_empty() {
        return html! { p.empty { b { "Nothing has happened" } "The log knows no event of this client." } };
    }
    let columns = [("Time", "time"), ("What", ""), ("Detail", ""), ("Costs", "num")];
    let row = |event: &&Event| {
        vec![
            time(event.happened()),
            event_name(event),
            html! { span.small { (event_detail(event)) } },
            html! { @if let Some((cost, _)) = event_cost(event) { "+" (number(cost.into())) } },
        ]
    };
    let all: Vec<_> = events.iter().map(row).collect();
    rows("Timeline", &columns, &all)
}
