//! The block list a page at a time, each entry with what the kernel has dropped by it.

use std::path::Path;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use filter_core::decision::Origin;
use filter_core::listed::{Listed, Order, PAGE_LIMIT, SEARCH_LIMIT, Search};
use filter_core::notation::parse_network;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Problem;
use super::routes::{Agent, Answer};
use crate::ips::Request;
use crate::kernel::View;

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
        let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let network = self.network.filter(|text| !text.is_empty());
        let network = network.as_deref().map(parse_network).transpose();
        let text = self.q.filter(|text| !text.is_empty());
        if text.as_ref().is_some_and(|text| text.len() > SEARCH_LIMIT) {
            return Err(wrong(format!("`q` has at most {SEARCH_LIMIT} bytes")));
        }
        if self.limit.is_some_and(|limit| !(1..=PAGE_LIMIT).contains(&limit)) {
            return Err(wrong(format!("`limit` goes from 1 to {PAGE_LIMIT}")));
        }
        Ok(Search {
            network: network.map_err(|error| wrong(error.to_string()))?,
            text,
            origin: self.origin,
            order: self.sort,
            offset: self.offset,
            limit: self.limit,
        })
    }
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
