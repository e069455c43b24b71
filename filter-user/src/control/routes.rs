//! The routes of the API.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::{Json, Router, middleware};
use filter_core::admin::{
    BlockView, COMMENT_LIMIT, ChangeRequest, Coverage, InterfaceView, KernelTotals, LONGEST_BLOCK_MINUTES,
    ListRequest, LogView, Removed, StatusView,
};
use filter_core::decision::Never;
use filter_core::engine::{FEED_LIMIT, is_feed};
use filter_core::event::Event;
use filter_core::listed::Listed;
use filter_core::neighbourhood::Nearest;
use filter_core::notation::parse_network;
use filter_core::open::{Ended, OpenSessions};
use filter_core::smtp::login::LoginKey;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::change::{Changed, blocked, done, exempted, unblocked, unexempted};
use super::contract::{Contract, DOCUMENT};
use super::settings::{About, PolicyView, Settings};
use super::statistics::Statistics;
use super::{
    Access, Author, Door, Problem, access, change, events, follow, health, import, listed, metrics, reports,
    sessions, settings, statistics,
};
use crate::agent::{ReloadError, Reloader};
use crate::clock;
use crate::edge::Service;
use crate::ids::IdsLog;
use crate::ips::{Inbox, Request};
use crate::kernel::{Mode, View};
use crate::replay;
use crate::store::Store;

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
    /// What only so many may do at a time.
    pub turns: Turns,
    /// The TCP side, if there is one.
    pub web: Option<Door>,
    /// What credentials of reports are hashed with.
    pub login_key: LoginKey,
    /// The logs of other programs that are read.
    pub logs: Arc<[watch::Receiver<LogView>]>,
    /// What does not change while the agent runs; the counts in it are filled in per request.
    pub fixed: Arc<StatusView>,
}

/// What only so many may do at a time.
#[derive(Debug, Clone)]
pub struct Turns {
    /// Following the event log.
    pub(super) readers: Arc<Semaphore>,
    /// Replaying it.
    pub(super) replays: Arc<Semaphore>,
    /// Looking at the whole of the last day.
    pub(super) statistics: Arc<statistics::Latest>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            readers: Arc::new(Semaphore::new(follow::READERS_LIMIT)),
            replays: Arc::new(Semaphore::new(1)),
            statistics: Arc::default(),
        }
    }
}

pub(super) type Answer<T> = Result<Json<T>, Problem>;

/// Every route of the API; who asks stands in the request already.
pub fn router(agent: Agent) -> Router {
    let audit = middleware::from_fn_with_state(agent.access.clone(), access::record);
    // The document describes itself, so it is there only when all routes are.
    let document = Arc::new(OnceLock::new());
    let text = Arc::clone(&document);
    let (router, described) = routes(move || text.get().cloned().unwrap_or(Value::Null));
    // Nobody else sets it.
    let _ = document.set(described);
    router.layer(audit).with_state(agent)
}

/// The description of every route, as the agent serves it.
pub fn document() -> Value {
    routes(|| Value::Null).1
}

/// Every route, and their description; it is shown by what is said here.
fn routes(shown: impl FnOnce() -> Value + Clone + Send + Sync + 'static) -> (Router<Agent>, Value) {
    let show = move || async move { Json(shown()) };
    let contract = Contract::new().get(DOCUMENT, show, |told| told.does("This document").answers::<Value>());
    lists(access::describe(reports::describe(import::describe(watching(looking(contract)))))).finish()
}

/// What programs look at that have formats of their own.
fn watching(contract: Contract) -> Contract {
    contract
        .get("/metrics", metrics::show, |told| {
            told.does("Every number that is worth a curve, for Prometheus")
                .answers_as::<String>(&["text/plain", "application/openmetrics-text"])
        })
        .get("/health/live", health::live, |told| {
            told.does("Whether the engine answers").answers::<health::Healthy>().for_everybody()
        })
        .get("/health/ready", health::ready, |told| {
            told.does("Whether the agent can do what it is for").answers::<health::Healthy>().for_everybody()
        })
}

/// What can be looked at, and what is done to all at once.
fn looking(contract: Contract) -> Contract {
    contract
        .get("/api/v1", settings::about, |told| {
            told.does("The agent, its version and what it can do").answers::<About>()
        })
        .get("/api/v1/status", status, |told| told.does("The state at one glance").answers::<StatusView>())
        .get("/api/v1/statistics", statistics::show, |told| {
            told.does("The events of the last day, and who is nearest to being blocked")
                .answers::<Statistics>()
        })
        .get("/api/v1/nearest", nearest, |told| {
            told.does("Clients nearest to the threshold, as they are now").answers::<Nearest>()
        })
        .get("/api/v1/sessions", sessions::list, |told| {
            told.does("Open sessions").asks::<sessions::Asked>().answers::<OpenSessions>()
        })
        .delete("/api/v1/sessions", sessions::end, |told| {
            told.does("Ends sessions; their clients hear a 421").asks::<sessions::Meant>().answers::<Ended>()
        })
        .get("/api/v1/events", events::list, |told| {
            told.does("The event log, oldest first").asks::<events::Wanted>().answers::<Vec<Event>>()
        })
        .get("/api/v1/events/follow", follow::follow, |told| {
            told.does("The event log as it grows, as server-sent events")
                .asks::<follow::Wanted>()
                .answers_as::<String>(&["text/event-stream"])
        })
        .get("/api/v1/why", events::why, |told| {
            told.does("Why an address is blocked, or what covers a network; ask about one of both")
                .asks::<events::Asked>()
                .answers::<events::Reason>()
        })
        .get("/api/v1/policy", settings::policy, |told| {
            told.does("Limits and multipliers in force").answers::<PolicyView>()
        })
        .get("/api/v1/config", settings::config, |told| {
            told.does("Every setting, and where it comes from").answers::<Settings>()
        })
        .post("/api/v1/replay", settings::replay, |told| {
            told.does("Judges the event log by other numbers; changes nothing")
                .takes::<settings::Trial>()
                .answers::<replay::Answer>()
        })
        .post("/api/v1/reload", reload, |told| {
            told.does("Reads the configuration again; answers with the settings that wait for the next start")
                .answers::<Vec<String>>()
        })
}

/// Both lists.
fn lists(contract: Contract) -> Contract {
    const BLOCKS: &str = "/api/v1/blocks";
    const NEVER: &str = "/api/v1/never";
    contract
        .get(BLOCKS, listed::blocks, |told| {
            told.does("The block list, or what of it is in and around a network")
                .asks::<Around>()
                .answers::<Vec<BlockView>>()
        })
        .post(BLOCKS, add_block, |told| {
            told.does("Blocks a network, or changes the entry of exactly this network")
                .takes::<ListRequest>()
                .answers::<BlockView>()
        })
        .patch(BLOCKS, change::block, |told| {
            told.does("Changes the end or the comment of an entry")
                .asks::<Named>()
                .takes::<ChangeRequest>()
                .answers::<BlockView>()
        })
        .delete(BLOCKS, remove_block, |told| {
            told.does("Removes a block").asks::<Named>().answers::<Removed>()
        })
        .get("/api/v1/blocks/search", listed::search, |told| {
            told.does("Blocks that are meant, a page at a time, with what the kernel has dropped")
                .asks::<listed::Asked>()
                .answers::<Listed>()
        })
        .get("/api/v1/blocks/test", change::test, |told| {
            told.does("Whether an address is covered").asks::<change::Address>().answers::<Coverage>()
        })
        .get(NEVER, list_nevers, |told| {
            told.does("The never-block list, or what of it is in and around a network")
                .asks::<Around>()
                .answers::<Vec<Never>>()
        })
        .post(NEVER, add_never, |told| {
            told.does("Exempts a network, or changes the entry of exactly this network")
                .takes::<ListRequest>()
                .answers::<Never>()
        })
        .patch(NEVER, change::never, |told| {
            told.does("Changes the end or the comment of an exemption")
                .asks::<Named>()
                .takes::<ChangeRequest>()
                .answers::<Never>()
        })
        .delete(NEVER, remove_never, |told| {
            told.does("Removes an exemption").asks::<Named>().answers::<Removed>()
        })
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
        messages: agent.services.iter().map(|service| service.traffic().messages()).sum(),
        web: agent.web.as_ref().map(Door::view),
        ..StatusView::clone(&agent.fixed)
    }))
}

async fn nearest(State(agent): State<Agent>) -> Answer<Nearest> {
    agent.inbox.ask(Request::Nearest).await.map(Json).ok_or_else(Problem::stopping)
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
            ReloadError::Config(_) | ReloadError::Certificates(..) => StatusCode::UNPROCESSABLE_ENTITY,
            ReloadError::NoFile => StatusCode::CONFLICT,
            ReloadError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error)
    })
}

async fn list_nevers(
    State(agent): State<Agent>,
    query: Result<Query<Around>, QueryRejection>,
) -> Answer<Vec<Never>> {
    let network = Around::read(query)?;
    let request = |answer| Request::Nevers { network, answer };
    agent.inbox.ask(request).await.map(Json).ok_or_else(Problem::stopping)
}

async fn add_block(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    body: Result<Json<ListRequest>, JsonRejection>,
) -> Changed<BlockView> {
    let wish = Wish::read(body)?;
    let Wish { network, span, comment, force, feed } = wish;
    if let Some(feed) = feed {
        let what = |view: &BlockView| format!("{}, filed by {}", blocked(view), view.block.author);
        let request = |answer| Request::FileBlock { network, span, reason: comment, feed, answer };
        return done(&agent, agent.inbox.ask(request).await, what).await;
    }
    let request = |answer| Request::Block { network, span, comment, author, force, answer };
    done(&agent, agent.inbox.ask(request).await, blocked).await
}

async fn add_never(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    body: Result<Json<ListRequest>, JsonRejection>,
) -> Changed<Never> {
    let Wish { network, span, comment, force, feed: _ } = Wish::read(body)?;
    let request = |answer| Request::Never { network, span, comment, author, force, answer };
    done(&agent, agent.inbox.ask(request).await, exempted).await
}

async fn remove_block(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    query: Result<Query<Named>, QueryRejection>,
) -> Changed<Removed> {
    let (network, feed) = Named::read(query)?;
    if let Some(feed) = feed {
        let request = |answer| Request::UnfileBlock { network, feed, answer };
        return done(&agent, agent.inbox.ask(request).await, unblocked).await;
    }
    let request = |answer| Request::Unblock { network, author, answer };
    done(&agent, agent.inbox.ask(request).await, unblocked).await
}

async fn remove_never(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    query: Result<Query<Named>, QueryRejection>,
) -> Changed<Removed> {
    let (network, _) = Named::read(query)?;
    let request = |answer| Request::ForgetNever { network, author, answer };
    done(&agent, agent.inbox.ask(request).await, unexempted).await
}

/// The network whose entries, in and around it, are wanted; none: all.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Around {
    /// An address, a CIDR or a wildcard.
    network: Option<String>,
}

impl Around {
    pub(super) fn read(query: Result<Query<Self>, QueryRejection>) -> Result<Option<IpNet>, Problem> {
        let Query(Self { network }) =
            query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
        let read = network.map(|text| parse_network(&text)).transpose();
        read.map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error))
    }
}

/// The network that a removal names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// An address, a CIDR or a wildcard.
    network: String,
    /// Of a block: only if this program has filed it.
    feed: Option<String>,
}

impl Named {
    pub(super) fn read(
        query: Result<Query<Self>, QueryRejection>,
    ) -> Result<(IpNet, Option<String>), Problem> {
        let Query(named) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
        let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let network = parse_network(&named.network).map_err(|error| wrong(error.to_string()))?;
        check_feed(named.feed.as_deref()).map_err(wrong)?;
        Ok((network, named.feed))
    }
}

/// A [`ListRequest`] whose values are possible.
struct Wish {
    network: IpNet,
    span: Option<Duration>,
    comment: String,
    force: bool,
    feed: Option<String>,
}

impl Wish {
    fn read(body: Result<Json<ListRequest>, JsonRejection>) -> Result<Self, Problem> {
        let Json(request) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
        let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let network = parse_network(&request.network).map_err(|error| wrong(error.to_string()))?;
        check(request.minutes, &request.comment).map_err(wrong)?;
        check_feed(request.feed.as_deref()).map_err(wrong)?;
        let span = match (request.minutes, request.until) {
            (Some(_), Some(_)) => {
                return Err(wrong("an entry has `until` or `minutes`, not both".to_owned()));
            }
            (Some(minutes), None) => Some(Duration::from_secs(minutes * 60)),
            (None, Some(until)) => match until.since(clock::now().wall) {
                Duration::ZERO => return Err(wrong("`until` is over; name a later time".to_owned())),
                span => Some(span),
            },
            (None, None) => None,
        };
        let ListRequest { comment, force, feed, .. } = request;
        Ok(Self { network, span, comment, force, feed })
    }
}

/// Whether a program can be called so, if one is named.
fn check_feed(feed: Option<&str>) -> Result<(), String> {
    if feed.is_none_or(is_feed) {
        return Ok(());
    }
    Err(format!("a feed has a name of 1 to {FEED_LIMIT} characters without spaces, such as fail2ban/dovecot"))
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
