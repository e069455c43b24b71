//! Never Block List: who is scored and logged and never blocked.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use filter_core::admin::LONGEST_BLOCK_MINUTES;
use filter_core::decision::Never;
use maud::{Markup, html};

use super::Web;
use super::api::Api;
use super::page::{self, Page, csrf};
use super::value::{client, left, network, rows, time};
use crate::clock;

const HERE: &str = "/never";

pub(super) async fn show(State(web): State<Web>, api: Api) -> Response {
    let nevers: Vec<Never> = match api.get("/api/v1/never").await {
        Ok(nevers) => nevers,
        Err(problem) => return page::problem(&api, HERE, &problem).into_response(),
    };
    let notice = web.access.take(&api.identity).await;
    let content = html! {
        div.head {
            div { h1 { "Never-block list" } p { "Wins over every block, at once. Those on it are still scored and logged." } }
            @if api.can_change() { a.button href="#add" { "Add an address" } }
        }
        section.card aria-label="Entries" { (entries(&api, &nevers)) }
        @if api.can_change() { (form(&api)) }
    };
    Page::new(&api, HERE, "Never-block list", content).every(15).with(notice).into_response()
}

fn entries(api: &Api, nevers: &[Never]) -> Markup {
    let now = clock::now().wall;
    let can_change = api.can_change();
    let columns =
        [("Network", ""), ("Comment", ""), ("By", ""), ("Since", "time"), ("Ends", "time"), ("", "fit")];
    let row = |never: &Never| {
        let until = never.until.map_or_else(|| html! { "stays" }, |until| left(until, now));
        vec![
            client(&never.network),
            html! {
                @if never.built_in { span.badge.good { "built in" } " keeps the gateway reachable" }
                @else if never.comment.is_empty() { span.muted { "none" } } @else { (never.comment) }
            },
            html! { (never.author) },
            time(never.since),
            until,
            html! {
                @if can_change && !never.built_in {
                    form.row-actions method="post" action={ (HERE) "/remove" } {
                        (csrf(api.csrf()))
                        input type="hidden" name="network" value=(never.network);
                        button.danger type="submit" aria-label={ "remove " (network(&never.network)) } { "Remove" }
                    }
                }
            },
        ]
    };
    let all: Vec<_> = nevers.iter().map(row).collect();
    html! { div id="entries" data-live { (rows("Never-blocked networks", &columns, &all)) } }
}

fn form(api: &Api) -> Markup {
    html! {
        section.card id="add" aria-labelledby="add-head" {
            h2 id="add-head" { "Never block an address or a network" }
            form method="post" action={ (HERE) "/add" } {
                (csrf(api.csrf()))
                div.fields {
                    div.wide {
                        label for="network" { "Address, CIDR or wildcard" }
                        input id="network" name="network" required placeholder="192.0.2.7, 192.0.2.0/24, 192.0.2.*"
                            autocapitalize="none" spellcheck="false";
                    }
                    div {
                        label for="minutes" { "Minutes (empty: for good)" }
                        input id="minutes" name="minutes" type="number" min="1" max=(LONGEST_BLOCK_MINUTES) inputmode="numeric";
                    }
                    div.wide {
                        label for="comment" { "Why, for whoever asks later" }
                        input id="comment" name="comment" maxlength="500";
                    }
                    div.fit { button.primary type="submit" { "Never block" } }
                }
            }
        }
    }
}
