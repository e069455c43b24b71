//! The audit trail: one line for each request that changed something, whichever socket it came by.
//!
//! What became of a list is told in full by the event log, with its author; here stands what was asked for, by whom and from where.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::{Access, Identity};
use crate::control::Author;

/// Longest line that a request's own address makes, in bytes.
const LINE_LIMIT: usize = 500;

/// What a request has done, in words; a route puts it into its answer where its address does not say it.
#[derive(Debug, Clone)]
pub struct Done(pub String);

/// Notes what was done, after it was. Reports are told of by the event log, and would push everything else out of the trail.
pub(in crate::control) async fn record(
    State(access): State<Access>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let author = request.extensions().get::<ConnectInfo<Author>>().cloned();
    let origin = request.extensions().get::<Identity>().map(|identity| identity.address.to_string());
    let line = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    let asked_only =
        reads || ["POST /api/v1/replay", "POST /api/v1/reports"].iter().any(|told| line.starts_with(told));
    if let Some(ConnectInfo(Author(author))) = author
        && !asked_only
        && response.status().is_success()
    {
        let done = response.extensions().get::<Done>().map(|Done(what)| what.clone());
        let what = done.unwrap_or_else(|| line.chars().take(LINE_LIMIT).collect());
        access.note(&author, origin.as_deref().unwrap_or("control socket"), what);
    }
    response
}
