//! The event log and the answer to "why is this address blocked?".

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use filter_core::admin::{KernelSays, Why};
use filter_core::client::host;
use filter_core::event::{Event, EventId};
use filter_core::neighbourhood::{KernelHolds, WhyNetwork};
use filter_core::notation::parse_network;
use filter_core::time::Timestamp;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;
use super::routes::{Agent, Answer};
use crate::ips::Request;
use crate::kernel::View;
use crate::store::{EventFilter, History};

/// Latest events that `why` shows beside those that count.
const HISTORY: u32 = 20;

/// Which events are asked for; see [`EventFilter`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Of addresses in this network, and of networks around it.
    network: Option<String>,
    /// Of this kind, such as `blocked`.
    kind: Option<String>,
    /// Offences at this service, such as `imap`.
    service: Option<String>,
    /// Offences about this account.
    account: Option<String>,
    /// Not before this time, in milliseconds since 1970.
    since: Option<i64>,
    /// Later than this event, and from there on.
    after: Option<u64>,
    /// Earlier than this event.
    before: Option<u64>,
    /// How many at most; beyond 10,000 that.
    limit: Option<u32>,
}

pub(super) async fn list(
    State(agent): State<Agent>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Vec<Event>> {
    let Query(wanted) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let network = wanted.network.as_deref().map(parse_network).transpose();
    let network = network.map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    let filter = EventFilter {
        network,
        kind: wanted.kind,
        service: wanted.service,
        account: wanted.account,
        since: wanted.since.map(Timestamp::from_millis),
        after: wanted.after.map(EventId),
        before: wanted.before.map(EventId),
        limit: wanted.limit,
    };
    read(&agent, move |history| history.events(&filter)).await.map(Json)
}

/// What is asked about: one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// An address.
    address: Option<String>,
    /// An address, a CIDR or a wildcard.
    network: Option<String>,
}

/// The answer, by what was asked.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Reason {
    Address(Box<Why>),
    Network(Box<WhyNetwork>),
}

pub(super) async fn why(
    State(agent): State<Agent>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Answer<Reason> {
    let Query(asked) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    match (asked.address, asked.network) {
        (Some(address), None) => {
            why_address(&agent, &address).await.map(|why| Json(Reason::Address(Box::new(why))))
        }
        (None, Some(network)) => {
            why_network(&agent, &network).await.map(|why| Json(Reason::Network(Box::new(why))))
        }
        (None, None) | (Some(_), Some(_)) => {
            let detail = "ask about one of both: `address` or `network`";
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

async fn why_network(agent: &Agent, network: &str) -> Result<WhyNetwork, Problem> {
    let network =
        parse_network(network).map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    let neighbourhood = agent.inbox.ask(|answer| Request::Neighbourhood(network, answer)).await;
    let neighbourhood = neighbourhood.ok_or_else(Problem::stopping)?;
    // As below.
    let _ = agent.store.flushed().await;
    let around = EventFilter { network: Some(network), limit: Some(HISTORY), ..EventFilter::default() };
    let history = read(agent, move |history| history.events(&around)).await?;
    let pins = PathBuf::from(&agent.fixed.pin_directory);
    // Reads the whole of both lists, which may be a million entries.
    let kernel = tokio::task::spawn_blocking(move || kernel_holds(&pins, network)).await.ok().flatten();
    Ok(WhyNetwork { neighbourhood, kernel, history })
}

fn kernel_holds(pins: &Path, network: IpNet) -> Option<KernelHolds> {
    let held = View::open(pins).and_then(|view| view.dump(Some(network))).ok()?;
    let blocks: Vec<_> = held.blocks.iter().filter(|block| block.remaining_seconds > 0).collect();
    Some(KernelHolds {
        blocks: blocks.len() as u64,
        never: held.never.len() as u64,
        packets: blocks.iter().map(|block| block.packets).sum(),
        bytes: blocks.iter().map(|block| block.bytes).sum(),
        last_drop: blocks.iter().filter_map(|block| block.last_drop).max(),
    })
}

async fn why_address(agent: &Agent, address: &str) -> Result<Why, Problem> {
    let address: IpAddr = address.trim().parse().map_err(|_| {
        let detail = "this is not an address; write one like 192.0.2.7 or 2001:db8::7";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    let address = address.to_canonical();
    let standing = agent.inbox.ask(|answer| Request::Standing(address, answer)).await;
    let standing = standing.ok_or_else(Problem::stopping)?;
    // What the engine has counted may still be on its way to the disk; if that is full, the answer has gaps.
    let _ = agent.store.flushed().await;
    let answers: Vec<_> =
        standing.blocks.iter().map(|view| view.block.event).filter(|id| id.0 != 0).collect();
    let counted = [standing.counted.clone(), standing.counted_logins.clone()].concat();
    let around = EventFilter { network: Some(host(address)), limit: Some(HISTORY), ..EventFilter::default() };
    let (events, history) = read(agent, move |history| {
        Ok((history.behind(&answers, &[counted, answers.clone()].concat())?, history.events(&around)?))
    })
    .await?;
    let shown: BTreeSet<_> = events.iter().map(|event| event.id).collect();
    let history = history.into_iter().filter(|event| !shown.contains(&event.id)).collect();
    let kernel = kernel(Path::new(&agent.fixed.pin_directory), address);
    Ok(Why { standing, kernel, events, history })
}

fn kernel(pins: &Path, address: IpAddr) -> Option<KernelSays> {
    let view = View::open(pins).and_then(|view| view.get(address)).ok()?;
    let last_drop = view.blocks.iter().filter_map(|block| block.last_drop).max();
    Some(KernelSays {
        verdict: view.verdict.to_owned(),
        reason: view.reason.to_owned(),
        packets: view.blocks.iter().map(|block| block.packets).sum(),
        bytes: view.blocks.iter().map(|block| block.bytes).sum(),
        last_drop,
    })
}

/// Reads the disk where nobody else waits for it.
pub(super) async fn read<T: Send + 'static>(
    agent: &Agent,
    question: impl FnOnce(&History) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let history = agent.store.history().clone();
    let unreadable = |error: &dyn std::fmt::Display| {
        let detail =
            format!("the event log cannot be read: {error}; look at the disk of the state directory");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    };
    match tokio::task::spawn_blocking(move || question(&history)).await {
        Ok(result) => result.map_err(|error| unreadable(&error)),
        Err(error) => Err(unreadable(&error)),
    }
}
