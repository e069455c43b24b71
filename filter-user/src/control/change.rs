//! Changing an entry of a list, and asking whether an address is covered; and how a change is answered, and told of in the audit trail.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use filter_core::admin::{BlockView, ChangeRequest, Coverage, Removed, Standing};
use filter_core::decision::Never;
use filter_core::engine::Refusal;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::Done;
use super::routes::{Agent, Answer, Named, check};
use super::{Author, Problem};
use crate::cli::table::{duration, network as fmt};
use crate::clock;
use crate::ips::Request;

/// The answer of what has changed something, with words for the audit trail.
pub(super) type Changed<T> = Result<(Extension<Done>, Json<T>), Problem>;

type Body = Result<Json<ChangeRequest>, JsonRejection>;

/// Who is asked about.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    /// An address.
    address: String,
}

/// Whether an address is covered, by which entries.
pub(super) async fn test(
    State(agent): State<Agent>,
    query: Result<Query<Address>, QueryRejection>,
) -> Answer<Coverage> {
    let Query(Address { address }) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let address: IpAddr = address.trim().parse().map_err(|_| {
        let detail = "this is not an address; write one like 192.0.2.7 or 2001:db8::7";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    let standing = standing(&agent, address).await?;
    Ok(Json(Coverage {
        address: standing.address,
        refused: standing.enforced && standing.refused_by.is_some(),
        blocks: standing.blocks.iter().map(|view| view.block.network).collect(),
        never: standing.never.iter().map(|never| never.network).collect(),
    }))
}

pub(super) async fn block(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    query: Result<Query<Named>, QueryRejection>,
    body: Body,
) -> Changed<BlockView> {
    let (network, _) = Named::read(query)?;
    let ChangeRequest { minutes, comment } = read(body)?;
    let standing = standing(&agent, network.addr()).await?;
    let found = standing.blocks.into_iter().find(|view| view.block.network == network);
    let Some(BlockView { block, .. }) = found else { return Err(missing(network)) };
    let left = block.until.since(clock::now().wall);
    let span = Some(minutes.map_or(left, |minutes| Duration::from_secs(minutes * 60)));
    let comment = comment.unwrap_or(block.reason);
    // It is on the list already, however wide it is.
    let request = |answer| Request::Block { network, span, comment, author, force: true, answer };
    let what = |view: &BlockView| format!("changed an entry: {}", blocked(view));
    done(&agent, agent.inbox.ask(request).await, what).await
}

pub(super) async fn never(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    query: Result<Query<Named>, QueryRejection>,
    body: Body,
) -> Changed<Never> {
    let (network, _) = Named::read(query)?;
    let ChangeRequest { minutes, comment } = read(body)?;
    let standing = standing(&agent, network.addr()).await?;
    let found = standing.never.into_iter().find(|never| never.network == network);
    let Some(never) = found else { return Err(missing(network)) };
    let now = clock::now().wall;
    let span = match minutes {
        Some(minutes) => Some(Duration::from_secs(minutes * 60)),
        None => never.until.map(|until| until.since(now)),
    };
    let comment = comment.unwrap_or(never.comment);
    let request = |answer| Request::Never { network, span, comment, author, force: true, answer };
    let what = |never: &Never| format!("changed an entry: {}", exempted(never));
    done(&agent, agent.inbox.ask(request).await, what).await
}

async fn standing(agent: &Agent, address: IpAddr) -> Result<Standing, Problem> {
    let address = address.to_canonical();
    let standing = agent.inbox.ask(|answer| Request::Standing(address, answer)).await;
    standing.ok_or_else(Problem::stopping)
}

fn missing(network: IpNet) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, Refusal::NotListed { network, covering: Vec::new() })
}

fn read(body: Body) -> Result<ChangeRequest, Problem> {
    let Json(request) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    if request.minutes.is_none() && request.comment.is_none() {
        return Err(wrong("say what changes: `minutes`, `comment` or both".to_owned()));
    }
    check(request.minutes, request.comment.as_deref().unwrap_or_default()).map_err(wrong)?;
    Ok(request)
}

/// A block in the words of the audit trail.
pub(super) fn blocked(view: &BlockView) -> String {
    let block = &view.block;
    let span = duration(block.until.since(block.since));
    format!("blocked {} for {span}: {}", fmt(&block.network), block.reason)
}

/// An exemption in the words of the audit trail.
pub(super) fn exempted(never: &Never) -> String {
    let until = never.until.map(|until| format!(" for {}", duration(until.since(never.since))));
    let network = fmt(&never.network);
    let why = if never.comment.is_empty() { String::new() } else { format!(": {}", never.comment) };
    format!("never blocks {network}{}{why}", until.as_deref().unwrap_or(" for good"))
}

/// A removal in the words of the audit trail.
pub(super) fn unblocked(removed: &Removed) -> String {
    let network = fmt(&removed.network);
    if removed.was_there {
        format!("unblocked {network}")
    } else {
        format!("unblocked {network}, which was not blocked")
    }
}

/// The same of an exemption.
pub(super) fn unexempted(removed: &Removed) -> String {
    format!("removed the exemption of {}", fmt(&removed.network))
}

/// Answers when the change is durable, with what has been done.
pub(super) async fn done<T>(
    agent: &Agent,
    result: Option<Result<T, Refusal>>,
    what: impl Fn(&T) -> String,
) -> Changed<T> {
    let answer = result.ok_or_else(Problem::stopping)?.map_err(|refusal| {
        let status = match refusal {
            Refusal::NotListed { .. } => StatusCode::NOT_FOUND,
            Refusal::BuiltIn(_) | Refusal::TooWide(_) => StatusCode::CONFLICT,
            Refusal::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Problem::new(status, refusal)
    })?;
    match agent.store.flushed().await {
        Ok(()) => Ok((Extension(Done(what(&answer))), Json(answer))),
        Err(error) => Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, error)),
    }
}
