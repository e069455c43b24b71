//! The block list: a page at a time, each entry with what the kernel has dropped by it; or the whole of it, as it is read.

use std::path::Path;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use filter_core::decision::Origin;
use filter_core::listed::{Listed, Order, Search};
use futures_util::stream;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::routes::{Agent, Answer, Around};
use super::{Problem, paging};
use crate::ips::Request;
use crate::kernel::View;

/// Entries of the whole list that are read at once.
const PORTION: usize = 1000;

/// Which entries are asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    /// In and around this address, CIDR or wildcard.
    network: Option<String>,
    /// Whose network, reason or author contains this.
    #[schemars(length(max = 200))]
    q: Option<String>,
    /// That come from here.
    origin: Option<Origin>,
    /// In this order: by network, the latest first, or the one that ends next first.
    sort: Order,
    /// Without the first of them.
    offset: usize,
    /// How many at most.
    #[schemars(range(min = 1, max = 10_000))]
    limit: Option<usize>,
}

pub(super) async fn search(
    State(agent): State<Agent>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Answer<Listed> {
    let Query(asked) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let search = asked.check()?;
    let listed = agent.inbox.ask(|answer| Request::Search(search, answer)).await;
    let listed = listed.ok_or_else(Problem::stopping)?;
    let pins = agent.fixed.pin_directory.clone();
    // Each entry is a question or more to the kernel.
    let counted = tokio::task::spawn_blocking(move || count(listed, pins.as_ref())).await;
    counted.map(Json).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}

impl Asked {
    fn check(self) -> Result<Search, Problem> {
        let (network, text) = paging::check(self.network, self.q, self.limit)?;
        Ok(Search {
            network,
            text,
            origin: self.origin,
            order: self.sort,
            offset: self.offset,
            limit: self.limit,
        })
    }
}

/// What is in and around a network, or the whole list. That is sent as it is read, a portion after the other, so that neither memory
/// nor whoever waits for the engine feels how long it is.
pub(super) async fn blocks(
    State(agent): State<Agent>,
    query: Result<Query<Around>, QueryRejection>,
) -> Result<Response, Problem> {
    if let Some(network) = Around::read(query)? {
        let request = |answer| Request::Blocks { network, answer };
        let blocks = agent.inbox.ask(request).await.ok_or_else(Problem::stopping)?;
        return Ok(Json(blocks).into_response());
    }
    let body = Body::from_stream(stream::try_unfold((agent, Place::Beginning), portion));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// How far the list has been sent.
enum Place {
    Beginning,
    Behind(IpNet),
    End,
}

/// The next part of the list as JSON. An error breaks the answer off, so that nobody takes a part of it for the whole.
async fn portion((agent, place): (Agent, Place)) -> Result<Option<(String, (Agent, Place))>, Problem> {
    let (network, mut text) = match place {
        Place::Beginning => (None, "[".to_owned()),
        Place::Behind(network) => (Some(network), String::new()),
        Place::End => return Ok(None),
    };
    let request = |answer| Request::BlocksAfter { network, limit: PORTION, answer };
    let blocks = agent.inbox.ask(request).await.ok_or_else(Problem::stopping)?;
    for (number, view) in blocks.iter().enumerate() {
        if number > 0 || network.is_some() {
            text.push(',');
        }
        let view = serde_json::to_string(view);
        text += &view.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    }
    let next = match blocks.last() {
        Some(last) if blocks.len() == PORTION => Place::Behind(last.block.network),
        _ => {
            text.push(']');
            Place::End
        }
    };
    Ok(Some((text, (agent, next))))
}

/// With what the kernel has dropped, as far as it holds the entries.
fn count(mut listed: Listed, pins: &Path) -> Listed {
    let Ok(view) = View::open(pins) else { return listed };
    for block in &mut listed.blocks {
        let Some(held) = view.block(&block.view.block.network) else { continue };
        block.packets = Some(held.packets);
        block.bytes = Some(held.bytes);
        block.last_drop = held.last_drop;
    }
    listed
}
