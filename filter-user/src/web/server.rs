//! The TCP side: connections in, with TLS or without, requests out, everything with a limit.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::secured::{Secured, begins_with_tls, refuse_plain};
use crate::control::Problem;
use crate::renewal::Renewal;

/// Connections at a time; more wait in the kernel.
const CONNECTIONS_LIMIT: usize = 256;
/// How long a browser may take until TLS begins, and to send the head of a request, and an idle connection stays.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request may take until its answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest head of a request, in bytes.
const HEAD_LIMIT: usize = 32_768;
/// Pause after an accept error.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Whether our own TLS is around the connection.
    pub(super) has_tls: bool,
}

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
    accept(&listener, |stream, peer| {
        converse(stream, Peer { address: peer, has_tls: false }, router.clone())
    })
    .await;
}

/// Answers requests inside TLS with this certificate, and looks after it, until the task is dropped.
pub async fn serve_tls(listener: TcpListener, router: Router, renewal: Arc<Renewal>) {
    let requests =
        accept(&listener, |stream, peer| secure(stream, peer, router.clone(), Arc::clone(&renewal)));
    tokio::join!(requests, renewal.watch());
}

/// Takes connections in, as many at a time as there may be.
async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: &TcpListener,
    converse: impl Fn(TcpStream, SocketAddr) -> F,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let conversation = converse(stream, peer);
                connections.spawn(async move {
                    conversation.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the web admin could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Begins TLS; whoever speaks plain HTTP hears that.
async fn secure(stream: TcpStream, address: SocketAddr, router: Router, renewal: Arc<Renewal>) {
    match tokio::time::timeout(HEAD_TIMEOUT, begins_with_tls(&stream)).await {
        Ok(Some(true)) => {}
        Ok(Some(false)) => return refuse_plain(&stream).await,
        Ok(None) | Err(_) => return,
    }
    match renewal.front().accept() {
        Ok(layer) => converse(Secured::new(stream, layer), Peer { address, has_tls: true }, router).await,
        Err(error) => tracing::error!(%error, "TLS of the web admin cannot begin"),
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, peer: Peer, router: Router) {
    let service = service_fn(move |request| answer(request, peer, router.clone()));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_LIMIT);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        // Browsers go away in the middle of things, and do not believe every certificate.
        tracing::debug!(%error, peer = %peer.address, "a connection to the web admin has ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    router: Router,
) -> Result<Response, std::convert::Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, router.oneshot(request)).await;
    answer.unwrap_or_else(|_| {
        let detail = "the answer took too long; ask for less at once";
        Ok(Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response())
    })
}
