//! The server side of Dovecot's auth-policy requests, which is the protocol of weakforced: JSON over HTTP.
//!
//! Dovecot asks before each login (`allow`) and tells afterwards (`report`). A blocked client is refused with status -1;
//! one with many failed logins may be made to wait. Which wrong credentials are the same is known by Dovecot's own hash,
//! of which a keyed hash is kept and nothing else. Who asks without the key learns nothing and tells nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use filter_core::client::ClientAddr;
use filter_core::event::Success;
use filter_core::report::dovecot::{Login, Outcome};
use filter_core::report::{Report, Source, Told};
use filter_core::smtp::login::LoginKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::config::DovecotConfig;
use crate::ips::{Inbox, Request};
use crate::pace::Pace;
use crate::web;

/// Largest body of a request, in bytes; Dovecot's are a few hundred.
const BODY_LIMIT: usize = 16_384;

/// Why nobody listens for Dovecot.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for Dovecot: {source}; set `listen` in [dovecot] to a free port of this machine"
)]
pub struct DovecotError {
    /// Where.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// Opens the socket.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, DovecotError> {
    TcpListener::bind(address).await.map_err(|source| DovecotError { address, source })
}

/// Answers Dovecot until the task is dropped.
pub async fn serve(listener: TcpListener, config: DovecotConfig, inbox: Inbox, key: LoginKey) {
    let secret = Sha256::digest(config.api_key.as_bytes()).into();
    let server = Server { inbox, key, secret, config, complaints: Pace::new(), blind: Pace::new() };
    let router = Router::new()
        .route("/", post(answer))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Arc::new(server));
    web::serve(listener, router).await;
}

#[derive(Debug)]
struct Server {
    inbox: Inbox,
    key: LoginKey,
    secret: [u8; 32],
    config: DovecotConfig,
    /// About requests without the key.
    complaints: Pace,
    /// About requests without the client's address.
    blind: Pace,
}

/// What is asked: `allow` before a login, `report` after it.
#[derive(Debug, Deserialize)]
struct Command {
    command: String,
}

/// What Dovecot is answered: -1 refuses, 0 goes on, more is to wait for so many seconds.
#[derive(Debug, Serialize)]
struct Verdict {
    status: i64,
    msg: &'static str,
}

const GO_ON: Verdict = Verdict { status: 0, msg: "" };

type Answer = (StatusCode, Json<Verdict>);

async fn answer(
    State(server): State<Arc<Server>>,
    Query(Command { command }): Query<Command>,
    headers: HeaderMap,
    body: Result<Json<Login>, JsonRejection>,
) -> Answer {
    let refused = |status, msg| (status, Json(Verdict { status: 0, msg }));
    if !server.is_entitled(&headers) {
        if server.complaints.is_due() {
            tracing::warn!(
                "a request to the port for Dovecot had not the key; set auth_policy_server_api_header there to `api_key`"
            );
        }
        return refused(StatusCode::UNAUTHORIZED, "the key is missing or wrong");
    }
    let login = match body {
        Ok(Json(login)) => login,
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return refused(error.status(), "the body is longer than a request of Dovecot's");
        }
        Err(_) => {
            return refused(
                StatusCode::BAD_REQUEST,
                "the body is a JSON object with login, remote and protocol",
            );
        }
    };
    match command.as_str() {
        "allow" => (StatusCode::OK, Json(server.allow(&login).await)),
        "report" => {
            server.report(&login);
            (StatusCode::OK, Json(GO_ON))
        }
        _ => refused(StatusCode::BAD_REQUEST, "there are the commands allow and report"),
    }
}

impl Server {
    /// Whether a request shows the key, as `X-API-Key`, as a bearer token or as the password of basic authentication.
    fn is_entitled(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = text(header::AUTHORIZATION.as_str()).and_then(|value| value.split_once(' '));
        let shown = match (text("x-api-key"), authorization) {
            (Some(key), _) => key.to_owned(),
            (None, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => token.to_owned(),
            (None, Some((scheme, pair))) if scheme.eq_ignore_ascii_case("basic") => {
                let decoded = BASE64_STANDARD.decode(pair.trim()).unwrap_or_default();
                let decoded = String::from_utf8(decoded).unwrap_or_default();
                decoded.split_once(':').map(|(_, password)| password.to_owned()).unwrap_or_default()
            }
            (None, _) => return false,
        };
        // Hashes of the same length: how many bytes agree is no secret of the key's.
        <[u8; 32]>::from(Sha256::digest(shown.trim().as_bytes())) == self.secret
    }

    /// The client, if Dovecot knows its address.
    fn client(&self, login: &Login) -> Option<ClientAddr> {
        let client = login.client();
        if client.is_none() && self.blind.is_due() {
            tracing::warn!(
                "Dovecot does not say which client logs in; let `auth_policy_request_attributes` have remote=%{{rip}}"
            );
        }
        client
    }

    async fn allow(&self, login: &Login) -> Verdict {
        let Some(client) = self.client(login) else { return GO_ON };
        let Some(entry) = self.inbox.ask(|answer| Request::MayLogIn(client, answer)).await else {
            return GO_ON;
        };
        if entry.is_refused {
            return Verdict { status: -1, msg: "access is temporarily blocked" };
        }
        let waits = self.config.tarpit > 0 && entry.failed_logins >= self.config.tarpit_after.into();
        if waits { Verdict { status: self.config.tarpit.into(), msg: "" } } else { GO_ON }
    }

    fn report(&self, login: &Login) {
        let Some(who) = self.client(login) else { return };
        match login.outcome(self.key) {
            Some(Outcome::Success) => self.inbox.succeeded(who, Success::LoggedIn),
            Some(Outcome::Failure(offence)) => {
                self.inbox.tell(Report { who, offence, told: Told::by(Source::Dovecot) });
            }
            None => {}
        }
    }
}
