//! `/health/live` and `/health/ready`: for those who only want to know whether to wait, to restart or to send clients here.
//!
//! Alive: the engine answers. Ready: the agent can also do what it is for. What is wrong is said on the control socket; over
//! TCP strangers ask, too, and hear no more than the status.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Agent, Problem};
use crate::ips::{Inbox, Request};
use crate::kernel::View;

/// How long the engine may take to answer; it answers in microseconds unless it is stuck, or drowning.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything is as it should be.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Healthy {
    /// Always true; whoever is not is answered 503.
    healthy: bool,
}

const HEALTHY: Json<Healthy> = Json(Healthy { healthy: true });

/// Whether the engine answers. The listeners are open as long as it does: they are opened before it, and closed after it has
/// been told to stop.
async fn answers(inbox: &Inbox) -> bool {
    tokio::time::timeout(PATIENCE, inbox.ask(Request::Count)).await.is_ok_and(|counts| counts.is_some())
}

pub(super) async fn live(State(agent): State<Agent>) -> Result<Json<Healthy>, Problem> {
    if answers(&agent.inbox).await {
        return Ok(HEALTHY);
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer; see the log"))
}

pub(super) async fn ready(State(agent): State<Agent>) -> Result<Json<Healthy>, Problem> {
    let mut problems = Vec::new();
    if !answers(&agent.inbox).await {
        problems.push("the engine does not answer; see the log".to_owned());
    }
    problems.extend(filter(&agent).await);
    if agent.store.pending() > 0 {
        problems.push("the store cannot be written; look at the disk of the state directory".to_owned());
    }
    if problems.is_empty() {
        return Ok(HEALTHY);
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, problems.join("; ")))
}

/// Where the kernel filter should be and is not.
async fn filter(agent: &Agent) -> Vec<String> {
    let wanted = &agent.fixed.interfaces;
    if wanted.is_empty() {
        return Vec::new();
    }
    let view = match View::open(agent.fixed.pin_directory.as_ref()) {
        Ok(view) => view,
        Err(error) => return vec![error.to_string()],
    };
    let links = view.links().await.unwrap_or_default();
    let is_there = |name: &str| links.iter().any(|link| link.interface == name && link.mode.is_some());
    let missing = wanted.iter().filter(|interface| !is_there(&interface.name));
    missing
        .map(|interface| format!("the kernel filter is not on {}; start the agent again", interface.name))
        .collect()
}
