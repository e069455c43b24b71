//! The TCP side of the API and the pages: its socket, and its certificate if it has one.

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::AgentError;
use crate::config::Config;
use crate::control::Door;
use crate::renewal::Renewal;
use crate::tls::{Front, OldestVersion};
use crate::web;

/// The socket, open and not yet read.
pub(super) struct Entrance {
    listener: TcpListener,
    renewal: Option<Arc<Renewal>>,
}

impl Entrance {
    /// Opens what the configuration names, if it names anything.
    pub(super) async fn prepare(config: &Config) -> Result<Option<Self>, AgentError> {
        let Some(address) = config.web.listen else { return Ok(None) };
        let listener = web::bind(address, "web").await?;
        let files = Some(&config.web.certificates[..]).filter(|files| !files.is_empty());
        let front = files.map(|files| Front::load(files, OldestVersion::default())).transpose()?;
        let renewal = front.map(|front| Arc::new(Renewal::new("web", front)));
        Ok(Some(Self { listener, renewal }))
    }

    /// What it presents.
    pub(super) fn renewal(&self) -> Option<Arc<Renewal>> {
        self.renewal.clone()
    }

    /// How `status` tells of it.
    pub(super) fn door(&self) -> Option<Door> {
        Door::new(&self.listener, self.renewal())
    }

    /// Begins to answer.
    pub(super) fn serve(self, router: Router) -> JoinHandle<()> {
        match self.renewal {
            Some(renewal) => tokio::spawn(web::serve_tls(self.listener, router, renewal)),
            None => tokio::spawn(web::serve(self.listener, router)),
        }
    }
}
