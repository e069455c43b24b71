//! The routes of the API.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use filter_core::admin::{
    BlockView, COMMENT_LIMIT, InterfaceView, KernelTotals, LONGEST_BLOCK_MINUTES, ListRequest, LogView,
    Removed, StatusView,
};
use filter_core::decision::Never;
use filter_core::engine::Refusal;
use filter_core::notation::parse_network;
use ipnet::IpNet;
use serde::Deserialize;
use tokio::sync::watch;

use super::{Access, Author, Problem, access, events, import};
use crate::agent::{ReloadError, Reloader};
use crate::edge::Service;
use crate::ids::IdsLog;
use crate::ips::{Inbox, Request};
use crate::kernel::{Mode, View};
use crate::store::Store;

/// Largest body of a request, in bytes.
const BODY_LIMIT: usize = 65_536;

/// What the routes need of the agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The way to the engine.
    pub inbox: Inbox,
    /// The way to the disk.
    pub store: Store,
    /// Who may ask over TCP, and the audit trail.
    pub access: Access,
    /// The services of the SMTP edge.
    pub services: Arc<[Arc<Service>]>,
    /// The way to another configuration.
    pub reloader: Arc<Reloader>,
    /// The file for other tools, if there is one.
    pub ids: Option<IdsLog>,
    /// The logs of other programs that are read.
    pub logs: Arc<[watch::Receiver<LogView>]>,
    /// What does not change while the agent runs; the counts in it are filled in per request.
    pub fixed: Arc<StatusView>,
}

pub(super) type Answer<T> = Result<Json<T>, Problem>;

/// Every route of the API; who asks stands in the request already.
pub fn router(agent: Agent) -> Router {
    let audit = middleware::from_fn_with_state(agent.access.clone(), access::record);
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/blocks", get(list_blocks).post(add_block).delete(remove_block))
        .merge(import::router())
        .merge(access::router())
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/why", get(events::why))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/never", get(list_nevers).post(add_never).delete(remove_never))
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "there is no such route; see /api/v1/status")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(audit)
        .with_state(agent)
}

async fn status(State(agent): State<Agent>) -> Answer<StatusView> {
    let counts = agent.inbox.ask(Request::Count).await.ok_or_else(Problem::stopping)?;
    let (interfaces, kernel) = kernel(&agent.fixed).await;
    let services = agent.fixed.services.iter().zip(agent.services.iter());
    let services = services.map(|(view, service)| service.view(view, &counts)).collect();
    Ok(Json(StatusView {
        interfaces,
        kernel,
        services,
        sessions: counts.books.first().cloned().unwrap_or_else(|| agent.fixed.sessions.clone()),
        kernel_pending: counts.kernel_pending,
        store_pending: agent.store.pending(),
        store_failures: agent.store.lost(),
        events_lost: agent.store.events_lost(),
        logs: agent.logs.iter().map(|log| log.borrow().clone()).collect(),
        ids_lost: agent.ids.as_ref().map_or(0, IdsLog::lost),
        blocks: counts.blocks,
        never: counts.never,
        watched: counts.watched,
        offences: counts.offences,
        offences_lost: agent.inbox.lost(),
        messages: agent.services.iter().map(|service| service.messages()).sum(),
        ..StatusView::clone(&agent.fixed)
    }))
}

/// Where the filter is and what it has done, as the kernel knows it now.
async fn kernel(fixed: &StatusView) -> (Vec<InterfaceView>, Option<KernelTotals>) {
    let mut interfaces = fixed.interfaces.clone();
    if interfaces.is_empty() {
        return (interfaces, None);
    }
    let Ok(view) = View::open(Path::new(&fixed.pin_directory)) else { return (interfaces, None) };
    for link in view.links().await.unwrap_or_default() {
        if let Some(interface) = interfaces.iter_mut().find(|interface| interface.name == link.interface) {
            link.mode.map_or("gone", Mode::name).clone_into(&mut interface.mode);
            interface.program = link.program;
            interface.attached = link.attached;
        }
    }
    let totals = view.counters().ok().map(|counters| {
        let (dropped, passed): (Vec<_>, Vec<_>) = counters.into_iter().partition(|counter| counter.dropped);
        KernelTotals {
            passed: passed.iter().map(|counter| counter.packets).sum(),
            dropped: dropped.iter().map(|counter| counter.packets).sum(),
            dropped_bytes: dropped.iter().map(|counter| counter.bytes).sum(),
        }
    });
    (interfaces, totals)
}

/// Reads the configuration again; answers with the settings that wait for the next start.
async fn reload(State(agent): State<Agent>) -> Answer<Vec<&'static str>> {
    agent.reloader.reload().await.map(Json).map_err(|error| {
        let status = match error {
            ReloadError::Config(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ReloadError::NoFile => StatusCode::CONFLICT,
            ReloadError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error)
    })
}

async fn list_blocks(State(agent): State<Agent>) -> Answer<Vec<BlockView>> {
    agent.inbox.ask(Request::Blocks).await.map(Json).ok_or_else(Problem::stopping)
}

async fn list_nevers(State(agent): State<Agent>) -> Answer<Vec<Never>> {
    agent.inbox.ask(Request::Nevers).await.map(Json).ok_or_else(Problem::stopping)
}

async fn add_block(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    body: Result<Json<ListRequest>, JsonRejection>,
) -> Answer<BlockView> {
    let wish = Wish::read(body)?;
    let Wish { network, span, comment, force } = wish;
    let request = |answer| Request::Block { network, span, comment, author, force, answer };
    done(&agent, agent.inbox.ask(request).await).await
}

async fn add_never(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    body: Result<Json<ListRequest>, JsonRejection>,
) -> Answer<Never> {
    let Wish { network, span, comment, force } = Wish::read(body)?;
    let request = |answer| Request::Never { network, span, comment, author, force, answer };
    done(&agent, agent.inbox.ask(request).await).await
}

async fn remove_block(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    query: Result<Query<Named>, QueryRejection>,
) -> Answer<Removed> {
    let network = Named::read(query)?;
    let request = |answer| Request::Unblock { network, author, answer };
    done(&agent, agent.inbox.ask(request).await).await
}

async fn remove_never(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    query: Result<Query<Named>, QueryRejection>,
) -> Answer<Removed> {
    let network = Named::read(query)?;
    let request = |answer| Request::ForgetNever { network, author, answer };
    done(&agent, agent.inbox.ask(request).await).await
}

/// Answers when the change is durable.
async fn done<T>(agent: &Agent, result: Option<Result<T, Refusal>>) -> Answer<T> {
    let answer = result.ok_or_else(Problem::stopping)?.map_err(|refusal| {
        let status = match refusal {
            Refusal::NotListed { .. } => StatusCode::NOT_FOUND,
            Refusal::BuiltIn(_) | Refusal::TooWide(_) => StatusCode::CONFLICT,
            Refusal::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Problem::new(status, refusal)
    })?;
    match agent.store.flushed().await {
        Ok(()) => Ok(Json(answer)),
        Err(error) => Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, error)),
    }
}

/// The network that a removal names.
#[derive(Debug, Deserialize)]
struct Named {
    network: String,
}

impl Named {
    fn read(query: Result<Query<Self>, QueryRejection>) -> Result<IpNet, Problem> {
        let Query(named) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
        parse_network(&named.network).map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error))
    }
}

/// A [`ListRequest`] whose values are possible.
struct Wish {
    network: IpNet,
    span: Option<Duration>,
    comment: String,
    force: bool,
}

impl Wish {
    fn read(body: Result<Json<ListRequest>, JsonRejection>) -> Result<Self, Problem> {
        let Json(request) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
        let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let network = parse_network(&request.network).map_err(|error| wrong(error.to_string()))?;
        check(request.minutes, &request.comment).map_err(wrong)?;
        let span = request.minutes.map(|minutes| Duration::from_secs(minutes * 60));
        Ok(Self { network, span, comment: request.comment, force: request.force })
    }
}

/// Whether an entry can last that long, and have that comment.
pub(super) fn check(minutes: Option<u64>, comment: &str) -> Result<(), String> {
    if minutes.is_some_and(|minutes| !(1..=LONGEST_BLOCK_MINUTES).contains(&minutes)) {
        return Err(format!("minutes go from 1 to {LONGEST_BLOCK_MINUTES}"));
    }
    if comment.len() > COMMENT_LIMIT || comment.chars().any(char::is_control) {
        return Err(format!("a comment is one line of at most {COMMENT_LIMIT} bytes"));
    }
    Ok(())
}
