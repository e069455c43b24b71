//! The other end of the control socket, for the command line.

use std::io;
use std::path::{Path, PathBuf};

use axum::http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::Problem;

/// Largest answer that is taken, in bytes: a block list of two million entries.
const ANSWER_LIMIT: usize = 1 << 30;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers on the socket.
    #[error(
        "the agent is not running (nobody answers on {0}); start it with `gatepost run`, or use what works without it: `gatepost maps`, `replay`, `backup`, `check-config`"
    )]
    NotRunning(PathBuf),
    /// The socket belongs to somebody else.
    #[error("no permission for the control socket {0}; run this as the user of the agent, such as with sudo")]
    Permission(PathBuf),
    /// The agent does not do what was asked.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// The connection broke, or the other end is no agent.
    #[error("the agent did not answer on {path}: {reason}; is another program using that socket?")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// Asks the agent.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client of the agent behind this socket.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// Reads something.
    pub async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, route, Bytes::new()).await
    }

    /// Reads a text.
    pub async fn text(&self, route: &str) -> Result<String, ClientError> {
        let body = self.fetch(Method::GET, route, Bytes::new()).await?;
        String::from_utf8(body.into()).map_err(|error| self.broken(&error))
    }

    /// Adds something.
    pub async fn post<T: DeserializeOwned>(
        &self,
        route: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(&error))?;
        self.ask(Method::POST, route, body.into()).await
    }

    /// Changes something.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        route: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(&error))?;
        self.ask(Method::PATCH, route, body.into()).await
    }

    /// Removes something.
    pub async fn delete<T: DeserializeOwned>(&self, route: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, route, Bytes::new()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let body = self.fetch(method, route, body).await?;
        serde_json::from_slice(&body).map_err(|error| self.broken(&error))
    }

    /// Asks, and takes whatever answer says that it went well.
    async fn fetch(&self, method: Method, route: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(self.path.clone())
            }
            io::ErrorKind::PermissionDenied => ClientError::Permission(self.path.clone()),
            _ => self.broken(&error),
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(route)
            .header(header::HOST, "gatepost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| self.broken(&error))?.to_bytes();
        driver.abort();
        if status.is_success() {
            return Ok(body);
        }
        Err(serde_json::from_slice(&body).map_or_else(|error| self.broken(&error), ClientError::Refused))
    }

    fn broken(&self, reason: &impl ToString) -> ClientError {
        ClientError::Broken { path: self.path.clone(), reason: reason.to_string() }
    }
}
