//! What every request over TCP goes through: is it meant for us, is anybody let in at all, who asks, and may he.
//!
//! A change that a browser asks for must come from a page of ours: the origin must be this one, and the form (or the
//! header `X-Gatepost-Csrf`) must carry what only pages of this sign-in know.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use filter_core::access::Role;

use super::client::{Visitor, is_own_page};
use super::server::Peer;
use super::{Web, cookie, health, page};
use crate::control::{Author, Identity, Problem};

/// Largest form, in bytes.
const FORM_LIMIT: usize = 262_144;
/// What pages may load, and who may frame them: only what we serve, and nobody.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// For how long a browser asks this host by TLS only: thirty days. It is the whole host, whatever the port, so not its subdomains
/// and not for ever.
const STRICT_TRANSPORT: &str = "max-age=2592000";

/// Lets a request through, or answers it.
pub(super) async fn guard(State(web): State<Web>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody is at the other end");
        return problem.into_response();
    };
    let response = match check(&web, request, peer).await {
        Ok(request) => next.run(request).await,
        Err(answer) => *answer,
    };
    dress(response, &path, peer.has_tls)
}

/// The request, if it may go on; else its answer.
async fn check(web: &Web, mut request: Request, peer: Peer) -> Result<Request, Box<Response>> {
    let path = request.uri().path().to_owned();
    let refuse = |status, detail: &str| Box::new(answer(&path, Problem::new(status, detail)));
    let visitor = web.doorplate.visitor(peer, request.headers());
    // Style sheets tell nobody anything, and the pages that refuse need them.
    let is_asset = path.starts_with("/assets/");
    if !is_asset {
        web.access.admit_address(visitor.address).await.map_err(|wait| Box::new(too_many(&path, wait)))?;
    }
    if let Some(answer) = health::answer(&web.api, request.method().clone(), &path).await {
        return Err(Box::new(answer));
    }
    if !web.doorplate.is_ours(request.headers()) {
        let detail =
            "this is not a name of this gateway; use its address, or add the name to host_names in [web]";
        return Err(refuse(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    request.extensions_mut().insert(visitor);
    if is_asset {
        return Ok(request);
    }
    if !web.access.has_anybody().await {
        let detail =
            "nobody can sign in yet; run `gatepost user add NAME --role administrator` on the gateway";
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && !is_own_page(request.headers()) {
        return Err(refuse(
            StatusCode::FORBIDDEN,
            "this was asked for by a page of another site; nothing is changed",
        ));
    }
    if path == "/sign-in" {
        return Ok(request);
    }
    let Some(identity) = identify(web, request.headers(), visitor).await? else {
        if is_api(&path) || changes {
            return Err(refuse(
                StatusCode::UNAUTHORIZED,
                "sign in first, or show a token (`gatepost token create`) as `Authorization: Bearer …`",
            ));
        }
        return Err(Box::new(Redirect::to("/sign-in").into_response()));
    };
    web.access.admit_account(&identity.name).await.map_err(|wait| Box::new(too_many(&path, wait)))?;
    if changes && let Some(csrf) = &identity.csrf {
        request = carries(request, csrf).await.ok_or_else(|| {
            refuse(
                StatusCode::FORBIDDEN,
                "the form is no longer valid; go back, reload the page, and try again",
            )
        })?;
    }
    if is_api(&path) {
        permit(&identity, request.method(), &path).map_err(|problem| Box::new(problem.into_response()))?;
    }
    request.extensions_mut().insert(ConnectInfo(Author(identity.name.clone())));
    request.extensions_mut().insert(identity);
    Ok(request)
}

/// Whether a path is for programs, and not one of the pages.
fn is_api(path: &str) -> bool {
    path.starts_with("/api/") || path == "/metrics"
}

/// Whether somebody may ask this of the API.
pub(super) fn permit(identity: &Identity, method: &Method, path: &str) -> Result<(), Problem> {
    let needed = Role::needed(method.as_str(), path);
    if identity.role >= needed {
        return Ok(());
    }
    let detail = format!(
        "this takes the role {}, and {} is {}; ask an administrator",
        needed.name(),
        identity.name,
        identity.role.name()
    );
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// Who asks. A token that is wrong is tried once too often at some point, as a password is.
async fn identify(
    web: &Web,
    headers: &HeaderMap,
    visitor: Visitor,
) -> Result<Option<Identity>, Box<Response>> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        let identity = web.access.of_token(token.trim(), visitor.address).await;
        if identity.is_none() {
            web.report_failure(visitor, "token");
            let detail = "this token is wrong or has ended; make another with `gatepost token create`";
            return Err(Box::new(Problem::new(StatusCode::UNAUTHORIZED, detail).into_response()));
        }
        return Ok(identity);
    }
    match cookie::read(headers) {
        Some(secret) => Ok(web.access.of_sign_in(&secret, visitor.address).await),
        None => Ok(None),
    }
}

/// The request again, if it carries what only our own pages know.
async fn carries(request: Request, csrf: &str) -> Option<Request> {
    let is_form = |headers: &HeaderMap| {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
    };
    let shown = request.headers().get("x-gatepost-csrf").and_then(|value| value.to_str().ok());
    if shown == Some(csrf) {
        return Some(request);
    }
    if !is_form(request.headers()) {
        return None;
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, FORM_LIMIT).await.ok()?;
    let pair = format!("csrf={csrf}");
    // The value is made of letters and digits, so its encoding is itself.
    let carried = bytes.split(|byte| *byte == b'&').any(|field| field == pair.as_bytes());
    carried.then(|| Request::from_parts(parts, Body::from(bytes)))
}

/// A refusal as whoever asked can read it.
pub(super) fn answer(path: &str, problem: Problem) -> Response {
    if is_api(path) { problem.into_response() } else { page::alone(&problem) }
}

/// The answer to somebody who asks too often.
fn too_many(path: &str, wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!(
        "too many requests; ask again in {seconds} s, and at most as often as requests_per_second in [web] says"
    );
    let mut response = answer(path, Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// The headers that every answer carries.
fn dress(mut response: Response, path: &str, has_tls: bool) -> Response {
    let headers = response.headers_mut();
    let mut put = |name, value| headers.insert(name, HeaderValue::from_static(value));
    put(header::CONTENT_SECURITY_POLICY, POLICY);
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    // Not `no-referrer`: with it a browser sends the origin of our own forms as `null`.
    put(header::REFERRER_POLICY, "same-origin");
    put(header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    put(header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if !path.starts_with("/assets/") {
        put(header::CACHE_CONTROL, "no-store");
    }
    if has_tls {
        put(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    response
}
