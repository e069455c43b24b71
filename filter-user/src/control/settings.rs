//! What is in force: the agent and what it can do, its policy and limits, where each setting comes from, and how it would be
//! with other numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use filter_core::limits::Limits;
use filter_core::offence::Kind;
use filter_core::policy::{Evaluate, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;
use super::contract::DOCUMENT;
use super::routes::{Agent, Answer};
use crate::clock;
use crate::config::Setting;
use crate::ips::Request;
use crate::replay::{self, Question};

/// Clients that the answer to a replay names; the counts are of all of them.
const CLIENTS_LIMIT: usize = 1000;
/// How long a replay waits for the disk to have taken what was just seen.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// The agent and what it can do.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// The name of the program.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Version of this API.
    pub api: String,
    /// The server's name in replies.
    pub name: String,
    /// Where every route is described.
    pub openapi: String,
    /// What it can do beside the lists: each a word for a part of the API.
    pub capabilities: Vec<String>,
}

pub(super) async fn about(State(agent): State<Agent>) -> Json<About> {
    let mut capabilities = vec![
        "sessions",
        "blocks",
        "never",
        "import",
        "events",
        "follow",
        "why",
        "statistics",
        "policy",
        "config",
    ];
    capabilities.extend(["replay", "reload", "users", "tokens", "audit"]);
    if !agent.fixed.interfaces.is_empty() {
        capabilities.push("kernel");
    }
    Json(About {
        program: "gatepost".to_owned(),
        version: agent.fixed.version.clone(),
        api: "v1".to_owned(),
        name: agent.fixed.name.clone(),
        openapi: DOCUMENT.to_owned(),
        capabilities: capabilities.into_iter().map(str::to_owned).collect(),
    })
}

/// How offences become blocks, and how many sessions there may be.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyView {
    /// `enforce` or `observe`.
    pub mode: String,
    /// The score that blocks.
    pub threshold: u32,
    /// How long an event counts, in seconds.
    pub monitor_period: u64,
    /// How long a block lasts, in seconds.
    pub block_time: u64,
    /// When a score is compared with the threshold: `at-once` or `on-connect`.
    pub evaluate: String,
    /// Failed logins that block; 0: they do not.
    pub failed_login_threshold: u32,
    /// How long a failed login counts, in seconds.
    pub login_monitor_period: u64,
    /// How long a block for failed logins lasts, in seconds.
    pub login_block_time: u64,
    /// What each kind of event costs.
    pub events: Vec<Weight>,
    /// The session limits: the shared ones, then those of services with limits of their own.
    pub limits: Vec<LimitsView>,
}

/// One kind of event, and what it takes to be blocked for it alone.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Weight {
    /// The number that the world knows it by.
    pub number: u16,
    /// Its name.
    pub event: Kind,
    /// The name of its multiplier in the configuration.
    pub setting: String,
    /// What it costs.
    pub multiplier: u32,
    /// How many of these block; none: it is only logged.
    pub blocks_alone_after: Option<u32>,
}

/// The session limits of one book.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LimitsView {
    /// The service that has them to itself; none: all others share them.
    pub service: Option<String>,
    /// All sessions.
    pub maximum_sessions: u32,
    /// Incoming sessions.
    pub maximum_incoming_sessions: u32,
    /// Incoming sessions that only some may take.
    pub sessions_to_reserve: u32,
    /// Incoming sessions of one scope; 0: no limit.
    pub maximum_sessions_per_address: u32,
}

pub(super) async fn policy(State(agent): State<Agent>) -> Answer<PolicyView> {
    let policy = agent.inbox.ask(Request::Policy).await.ok_or_else(Problem::stopping)?;
    let limits = agent.inbox.ask(Request::Limits).await.ok_or_else(Problem::stopping)?;
    // Books are in the order of the services that have one of their own, behind the shared one.
    let own = agent.services.iter().filter(|service| service.has_own_book());
    let owners = std::iter::once(None).chain(own.map(|service| Some(service.name().to_owned())));
    Ok(Json(PolicyView {
        mode: if policy.observe { "observe" } else { "enforce" }.to_owned(),
        threshold: policy.block_threshold,
        monitor_period: policy.monitor_period.as_secs(),
        block_time: policy.block_time.as_secs(),
        evaluate: if policy.evaluate == Evaluate::AtOnce { "at-once" } else { "on-connect" }.to_owned(),
        failed_login_threshold: policy.login.threshold,
        login_monitor_period: policy.login.monitor_period.as_secs(),
        login_block_time: policy.login.block_time.as_secs(),
        events: Kind::ALL.into_iter().map(|kind| weigh(&policy, kind)).collect(),
        limits: owners.zip(&limits).map(|(service, limits)| view(service, limits)).collect(),
    }))
}

fn weigh(policy: &Policy, event: Kind) -> Weight {
    let multiplier = policy.multipliers.get(event);
    Weight {
        number: event.number(),
        event,
        setting: replay::Setting::Multiplier(event).name(),
        multiplier,
        blocks_alone_after: (multiplier > 0).then(|| policy.block_threshold.div_ceil(multiplier)),
    }
}

fn view(service: Option<String>, limits: &Limits) -> LimitsView {
    LimitsView {
        service,
        maximum_sessions: limits.maximum_sessions,
        maximum_incoming_sessions: limits.maximum_incoming_sessions,
        sessions_to_reserve: limits.sessions_to_reserve,
        maximum_sessions_per_address: limits.maximum_sessions_per_address,
    }
}

/// Every setting, and where it comes from.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The file; none: built-in defaults.
    pub file: Option<String>,
    /// Each with its value, in the order of the shipped file.
    pub settings: Vec<Setting>,
    /// What of it waits for the next start.
    pub waiting: Vec<String>,
}

pub(super) async fn config(State(agent): State<Agent>) -> Json<Settings> {
    Json(Settings::clone(&agent.reloader.settings()))
}

/// Other numbers to judge the log by.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trial {
    /// Compare the last so many seconds; none: all that the log holds.
    #[schemars(range(max = 4_294_967_295_u64))]
    pub since: Option<u32>,
    /// Settings by their names in the configuration, with values as they stand there.
    pub settings: BTreeMap<String, Tried>,
}

/// A value that is tried.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Tried {
    /// A number.
    Number(u32),
    /// A number or a time, such as `30m`.
    Text(String),
}

/// Judges the log by other numbers; changes nothing.
pub(super) async fn replay(
    State(agent): State<Agent>,
    body: Result<Json<Trial>, JsonRejection>,
) -> Answer<replay::Answer> {
    let Json(trial) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let configured = agent.inbox.ask(Request::Policy).await.ok_or_else(Problem::stopping)?;
    let mut tried = configured.clone();
    for (name, value) in &trial.settings {
        let text = match value {
            Tried::Number(number) => number.to_string(),
            Tried::Text(text) => text.clone(),
        };
        let applied = replay::Setting::named(name).and_then(|setting| setting.apply(&text, &mut tried));
        applied.map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    }
    let place = Arc::clone(&agent.turns.replays).try_acquire_owned().map_err(|_| {
        let detail = "another replay is running; ask again in a moment";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let every_never = |answer| Request::Nevers { network: None, answer };
    let nevers = agent.inbox.ask(every_never).await.ok_or_else(Problem::stopping)?;
    // What was just seen may still be on its way to the disk; if that is full, the replay has gaps.
    let _ = tokio::time::timeout(FLUSH_LIMIT, agent.store.flushed()).await;
    let now = clock::now().wall;
    let question = Question {
        configured,
        tried,
        since: trial.since.map(|seconds| now.before(Duration::from_secs(seconds.into()))),
        built_in: nevers.into_iter().filter(|never| never.built_in).collect(),
    };
    let history = agent.store.history().clone();
    let run = move || {
        let _place = place;
        replay::replay(&history, question, |_, _| ())
    };
    let failed = |error: &dyn std::fmt::Display| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let answer = tokio::task::spawn_blocking(run).await.map_err(|error| failed(&error))?;
    let mut answer = answer.map_err(|error| failed(&error))?;
    answer.outcome.clients.truncate(CLIENTS_LIMIT);
    Ok(Json(answer))
}
