//! The metrics without a token, for a Prometheus on the same machine: `listen` in `[metrics]`.
//!
//! Off by default. Whoever can reach loopback learns how busy the gateway is, and nothing about any client. A name that is not
//! ours is refused here, too: a browser on this machine might be asking for a stranger's page.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};
use tower::ServiceExt as _;

use super::client::Doorplate;
use super::health;
use crate::config::Config;
use crate::control::{Agent, Problem};

/// What it needs.
#[derive(Debug, Clone)]
struct Open {
    doorplate: Arc<Doorplate>,
    api: Router,
}

/// Metrics and health, and nothing else.
pub fn metrics_router(config: &Config, agent: Agent) -> Router {
    let open = Open { doorplate: Arc::new(Doorplate::new(config)), api: crate::control::router(agent) };
    Router::new().fallback(routing::get(answer)).with_state(open)
}

async fn answer(State(open): State<Open>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if let Some(answer) = health::answer(&open.api, request.method().clone(), &path).await {
        return answer;
    }
    if !open.doorplate.is_ours(request.headers()) {
        let detail = "this is not a name of this gateway; use its address";
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response();
    }
    if path != "/metrics" {
        let detail = "here are only /metrics, /health/live and /health/ready";
        return Problem::new(StatusCode::NOT_FOUND, detail).into_response();
    }
    let Ok(answer) = open.api.oneshot(request).await;
    answer
}
