//! Health over TCP, for balancers and orchestrators: without a name, a user or a token, and without a word of what is wrong.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tower::ServiceExt as _;

use crate::control::Problem;

/// The answer, if health was asked for.
pub(super) async fn answer(api: &Router, method: Method, path: &str) -> Option<Response> {
    let asks = matches!(method, Method::GET | Method::HEAD);
    if !asks || !matches!(path, "/health/live" | "/health/ready") {
        return None;
    }
    let inner = Request::get(path).body(Body::empty()).ok()?;
    let Ok(answer) = api.clone().oneshot(inner).await;
    if answer.status().is_success() {
        return Some(answer);
    }
    let detail = "not healthy; `gatepost health` on the gateway says why";
    Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response())
}
