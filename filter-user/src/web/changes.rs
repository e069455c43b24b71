//! Changing the two lists by forms: what is dangerous is asked about first, what was removed can be put back.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use filter_core::admin::{BlockView, ListRequest, Removed, Why};
use filter_core::decision::Never;
use filter_core::import::{ENTRIES_LIMIT, ImportEntry, ImportRequest, Outcome};
use filter_core::notation::parse_network;
use maud::html;

use super::Web;
use super::api::{Api, encode};
use super::fields::Fields;
use super::page::{Page, csrf};
use super::value::{network, number};
use crate::control::{Identity, Notice, Problem, Undo};
use crate::ips::List;

const CONFLICT: u16 = 409;

pub(super) async fn add_block(State(web): State<Web>, api: Api, fields: Fields) -> Response {
    add(&web, &api, &fields, List::Blocks).await
}

pub(super) async fn add_never(State(web): State<Web>, api: Api, fields: Fields) -> Response {
    add(&web, &api, &fields, List::Never).await
}

pub(super) async fn remove_blocks(State(web): State<Web>, api: Api, fields: Fields) -> Response {
    remove(&web, &api, &fields, List::Blocks).await
}

pub(super) async fn remove_nevers(State(web): State<Web>, api: Api, fields: Fields) -> Response {
    remove(&web, &api, &fields, List::Never).await
}

/// The route of the API, and the page.
const fn places(list: List) -> (&'static str, &'static str) {
    match list {
        List::Blocks => ("/api/v1/blocks", "/blocks"),
        List::Never => ("/api/v1/never", "/never"),
    }
}

async fn add(web: &Web, api: &Api, fields: &Fields, list: List) -> Response {
    let (route, page) = places(list);
    let back = fields.back(page);
    let request = match request(fields) {
        Ok(request) => request,
        Err(fault) => return told(web, api, &back, fault_of(fault)).await,
    };
    if list == List::Blocks
        && !fields.has("confirmed")
        && let Some(danger) = danger(&request, &api.identity)
    {
        return confirm(api, &request, &back, &danger).into_response();
    }
    let outcome = match list {
        List::Blocks => api.post(route, &request).await.map(|view: BlockView| told_block(&view)),
        List::Never => api.post(route, &request).await.map(|never: Never| {
            let until = never.until.map_or_else(
                || "for good".to_owned(),
                |until| format!("for {}", super::value::duration(until.since(never.since))),
            );
            format!("{} is never blocked, {until}.", network(&never.network))
        }),
    };
    match outcome {
        Ok(text) => told(web, api, &back, Notice { text, ..Notice::default() }).await,
        Err(problem) if problem.status == CONFLICT && !request.force => {
            confirm_list(api, list, &request, &back, &problem.detail).into_response()
        }
        Err(problem) => told(web, api, &back, fault_of(problem.detail)).await,
    }
}

fn told_block(view: &BlockView) -> String {
    let span = super::value::duration(view.block.until.since(view.block.since));
    let mut text = format!("{} is blocked for {span}.", network(&view.block.network));
    if let Some(never) = &view.overridden_by {
        text.extend([" It has no effect as long as ", &network(never), " is never blocked."]);
    }
    text
}

fn request(fields: &Fields) -> Result<ListRequest, String> {
    Ok(ListRequest {
        network: fields.text("network").to_owned(),
        minutes: fields.number("minutes")?,
        until: None,
        comment: fields.text("comment").to_owned(),
        force: fields.has("force"),
        feed: None,
    })
}

/// What whoever asks might not have meant.
fn danger(request: &ListRequest, identity: &Identity) -> Option<String> {
    let network = parse_network(&request.network).ok()?;
    network.contains(&identity.address).then(|| {
        format!(
            "You are signed in from {}, which is in there. Its connections to the protected ports would be dropped.",
            identity.address
        )
    })
}

fn confirm(api: &Api, request: &ListRequest, back: &str, danger: &str) -> Page {
    confirm_list(api, List::Blocks, request, back, danger)
}

/// Asks once more.
fn confirm_list(api: &Api, list: List, request: &ListRequest, back: &str, danger: &str) -> Page {
    let (_, page) = places(list);
    let verb = if list == List::Blocks { "Block" } else { "Never block" };
    let minutes = request.minutes.map(|minutes| minutes.to_string()).unwrap_or_default();
    let title = format!("{verb} {}?", request.network);
    let content = html! {
        div.head { h1 { (title) } }
        div.card {
            p.notice.warn role="alert" { (danger) }
            form.bar method="post" action={ (page) "/add" } {
                (csrf(api.identity.csrf.as_deref().unwrap_or_default()))
                input type="hidden" name="network" value=(request.network);
                input type="hidden" name="minutes" value=(minutes);
                input type="hidden" name="comment" value=(request.comment);
                input type="hidden" name="back" value=(back);
                input type="hidden" name="confirmed" value="yes";
                input type="hidden" name="force" value="yes";
                a.button href=(back) { "Leave it as it is" }
                button.danger type="submit" { (verb) " it all the same" }
            }
        }
    };
    Page::new(api, page, title, content)
}

async fn remove(web: &Web, api: &Api, fields: &Fields, list: List) -> Response {
    let (route, page) = places(list);
    let back = fields.back(page);
    let named: Vec<_> = fields.all("network").take(ENTRIES_LIMIT).collect();
    if named.is_empty() {
        return told(web, api, &back, fault_of("Nothing was chosen; check the entries first.".to_owned()))
            .await;
    }
    let kept = match kept(api, list, &named).await {
        Ok(kept) => kept,
        Err(problem) => return told(web, api, &back, fault_of(problem.detail)).await,
    };
    let (mut removed, mut covering, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for name in &named {
        match api.delete::<Removed>(&format!("{route}?network={}", encode(name))).await {
            Ok(done) => {
                covering.extend(done.still_covered_by);
                removed.push(done.network);
            }
            Err(problem) => faults.push(problem.detail),
        }
    }
    let names = |networks: &[ipnet::IpNet]| networks.iter().map(network).collect::<Vec<_>>().join(", ");
    let mut text = match (removed.as_slice(), list) {
        ([], _) => String::new(),
        ([one], List::Blocks) => format!("{} is no longer blocked.", network(one)),
        ([one], List::Never) => format!("{} is no longer on the never-block list.", network(one)),
        (many, _) => format!("{} entries are removed.", many.len()),
    };
    covering.sort_unstable();
    covering.dedup();
    if !covering.is_empty() {
        let covering = names(&covering);
        text.extend([
            " It is still covered by ",
            &covering,
            "; remove that, too, if it is to have an effect.",
        ]);
    }
    if let ([one], List::Blocks) = (removed.as_slice(), list) {
        text += &effect(api, one).await;
    }
    let is_fault = removed.is_empty() && !faults.is_empty();
    faults.truncate(3);
    for fault in faults {
        text.extend([" ", &fault, "."]);
    }
    let entries: Vec<_> = kept
        .into_iter()
        .filter(|entry| parse_network(&entry.network).is_ok_and(|network| removed.contains(&network)))
        .collect();
    let undo = (!entries.is_empty()).then_some(Undo { list, entries });
    told(web, api, &back, Notice { text: text.trim().to_owned(), is_fault, undo }).await
}

/// What a removal has come to, for the first address of the network.
async fn effect(api: &Api, network: &ipnet::IpNet) -> String {
    let address = network.network();
    let route = format!("/api/v1/why?address={}", encode(&address.to_string()));
    let Ok(Why { standing, kernel, .. }) = api.get::<Why>(&route).await else { return String::new() };
    if standing.refused_by.is_some() {
        return String::new();
    }
    let score = format!(" Its score is {} of {}.", number(standing.score), number(standing.threshold.into()));
    match kernel {
        Some(kernel) if kernel.verdict == "drop" => {
            format!(" The kernel still drops its packets ({}).{score}", kernel.reason)
        }
        Some(_) => format!(" The kernel passes its connections.{score}"),
        None => format!(" Its connections are accepted.{score}"),
    }
}

/// The entries of these names as they are now.
async fn kept(api: &Api, list: List, named: &[&str]) -> Result<Vec<ImportEntry>, Problem> {
    let networks: Vec<_> = named.iter().filter_map(|name| parse_network(name).ok()).collect();
    let mut entries = Vec::new();
    for network in networks {
        let address = encode(&network.network().to_string());
        // What covers its first address; its own entry is among them.
        let standing: Why = api.get(&format!("/api/v1/why?address={address}")).await?;
        let entry = match list {
            List::Blocks => {
                standing.standing.blocks.into_iter().find(|view| view.block.network == network).map(
                    |BlockView { block, .. }| ImportEntry {
                        network: block.network.to_string(),
                        until: Some(block.until),
                        minutes: None,
                        comment: block.reason,
                    },
                )
            }
            List::Never => {
                standing.standing.never.into_iter().find(|never| never.network == network).map(|never| {
                    ImportEntry {
                        network: never.network.to_string(),
                        until: never.until,
                        minutes: None,
                        comment: never.comment,
                    }
                })
            }
        };
        entries.extend(entry);
    }
    Ok(entries)
}

pub(super) async fn undo(State(web): State<Web>, api: Api, fields: Fields) -> Response {
    let Some(Undo { list, entries }) = web.access.take_undo(&api.identity).await else {
        let fault = fault_of("There is nothing left to undo.".to_owned());
        return told(&web, &api, &fields.back("/"), fault).await;
    };
    let (route, page) = places(list);
    let count = entries.len();
    let request = ImportRequest { entries, force: true, ..ImportRequest::default() };
    let notice = match api.post::<Vec<Outcome>>(&format!("{route}/import"), &request).await {
        Ok(outcomes) => {
            let reason = outcomes.into_iter().find_map(|outcome| match outcome {
                Outcome::Rejected { reason } => Some(reason),
                _ => None,
            });
            match reason {
                Some(reason) => fault_of(format!("Not everything could be put back: {reason}.")),
                None if count == 1 => {
                    Notice { text: "The entry is back as it was.".to_owned(), ..Notice::default() }
                }
                None => {
                    Notice { text: format!("{count} entries are back as they were."), ..Notice::default() }
                }
            }
        }
        Err(problem) => fault_of(problem.detail),
    };
    told(&web, &api, &fields.back(page), notice).await
}

/// Says what was done on the page that comes next.
pub(super) async fn told(web: &Web, api: &Api, back: &str, notice: Notice) -> Response {
    web.access.leave(&api.identity, notice).await;
    Redirect::to(back).into_response()
}

pub(super) fn fault_of(text: String) -> Notice {
    Notice { text, is_fault: true, undo: None }
}
