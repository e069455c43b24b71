//! One service: what all of its connections share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use filter_core::admin::ServiceView;
use filter_core::client::ClientAddr;
use filter_core::service::ServiceName;
use filter_core::smtp::session::Patience;
use ipnet::IpNet;
use tokio::net::TcpListener;

use super::header::HeaderError;
use super::{Backend, Edge, Traffic, listener};
use crate::config::ServiceConfig;
use crate::ips::{Arrival, BookId, Counts};
use crate::pace::Pace;

/// One service.
#[derive(Debug)]
pub struct Service {
    pub(super) edge: Arc<Edge>,
    pub(super) backend: Backend,
    pub(super) patience: Patience,
    pub(super) book: BookId,
    pub(super) traffic: Traffic,
    pub(super) name: ServiceName,
    proxy_from: Vec<IpNet>,
    balancers: Pace,
}

impl Service {
    /// A service of an edge of this name that counts its sessions in this book.
    pub fn new(edge: Arc<Edge>, config: &ServiceConfig, name: &str, book: BookId) -> Self {
        Self {
            edge,
            backend: Backend::new(config, name),
            patience: config.patience,
            book,
            traffic: Traffic::default(),
            // What the configuration takes for a name is one.
            name: ServiceName::new(&config.name).unwrap_or(ServiceName::UNKNOWN),
            proxy_from: config.proxy_from.clone(),
            balancers: Pace::new(),
        }
    }

    /// Accepts connections until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        listener::serve(self, listener).await;
    }

    /// Looks after its mail servers until the task is dropped.
    pub async fn watch(self: Arc<Self>) {
        self.backend.watch().await;
    }

    /// A client that comes here.
    pub(super) const fn arrival(&self, client: ClientAddr) -> Arrival {
        Arrival::new(client, self.name, self.book)
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// What has come to it.
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What is behind it.
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The book that its sessions are counted in.
    pub const fn book(&self) -> BookId {
        self.book
    }

    /// What `status` says of it now. Takes what it always says.
    pub fn view(&self, fixed: &ServiceView, counts: &Counts) -> ServiceView {
        let own = (self.book != BookId::SHARED).then(|| counts.books.get(self.book.0).cloned());
        ServiceView {
            mail_servers: self.backend.view(),
            sessions: own.flatten(),
            messages: self.traffic.messages(),
            ..fixed.clone()
        }
    }

    /// Whether connections from an address begin with a PROXY header that is to be believed.
    pub(super) fn is_balancer(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxy_from.iter().any(|network| network.contains(&address))
    }

    /// A load balancer's header did not come, or cannot be read. That is for the log, and nobody's offence: no client is
    /// known yet.
    pub(super) fn complain_of_balancer(&self, balancer: SocketAddr, error: &HeaderError) {
        if self.balancers.is_due() {
            tracing::warn!(
                service = %self.name,
                balancer = %balancer.ip().to_canonical(),
                %error,
                "a connection of a load balancer is closed; make it send the PROXY protocol, or take it out of `proxy_from`"
            );
        }
    }
}
