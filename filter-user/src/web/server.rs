//! The TCP side: connections in, requests out, everything with a limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::control::Problem;

/// Connections at a time; more wait in the kernel.
const CONNECTIONS_LIMIT: usize = 256;
/// How long a browser may take to send the head of a request, and an idle connection stays.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request may take until its answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest head of a request, in bytes.
const HEAD_LIMIT: usize = 32_768;
/// Pause after an accept error.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Why nobody can ask over TCP.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; set `listen` in [{section}] to a free port of this machine")]
pub struct WebError {
    /// Where.
    pub address: SocketAddr,
    /// The section of the configuration that wants it.
    pub section: &'static str,
    /// What the system says.
    pub source: io::Error,
}

/// Opens the socket that a section of the configuration wants.
pub async fn bind(address: SocketAddr, section: &'static str) -> Result<TcpListener, WebError> {
    TcpListener::bind(address).await.map_err(|source| WebError { address, section, source })
}

/// Answers requests until the task is dropped, and every connection with it.
pub async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => drop(connections.spawn(converse(stream, peer, router.clone(), place))),
            Err(error) => {
                tracing::debug!(%error, "a connection to the web admin could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, _place: OwnedSemaphorePermit) {
    let service = service_fn(move |request| answer(request, peer, router.clone()));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_LIMIT);
    // Browsers go away in the middle of things.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    router: Router,
) -> Result<Response, std::convert::Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, router.oneshot(request)).await;
    answer.unwrap_or_else(|_| {
        let detail = "the answer took too long; ask for less at once";
        Ok(Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response())
    })
}
