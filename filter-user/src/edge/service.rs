//! One service: what all of its connections share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use filter_core::admin::ServiceView;
use filter_core::client::ClientAddr;
use filter_core::service::ServiceName;
use filter_core::smtp::bounds::Bounds;
use filter_core::smtp::line::Fault;
use filter_core::smtp::session::Patience;
use ipnet::IpNet;
use tokio::net::TcpListener;

use super::header::HeaderError;
use super::{Backend, Edge, listener};
use crate::config::ServiceConfig;
use crate::ips::{Arrival, BookId, Counts};
use crate::pace::Pace;

/// One service.
#[derive(Debug)]
pub struct Service {
    pub(super) edge: Arc<Edge>,
    pub(super) backend: Backend,
    pub(super) patience: Patience,
    pub(super) bounds: Bounds,
    /// How long strangers wait for the greeting.
    pub(super) greet_delay: Duration,
    pub(super) book: BookId,
    pub(super) messages: AtomicU64,
    pub(super) name: ServiceName,
    proxy_from: Vec<IpNet>,
    balancers: Pace,
    menders: Pace,
}

impl Service {
    /// A service of an edge of this name that counts its sessions in this book.
    pub fn new(edge: Arc<Edge>, config: &ServiceConfig, name: &str, book: BookId) -> Self {
        Self {
            edge,
            backend: Backend::new(config, name),
            patience: config.patience,
            bounds: config.bounds,
            greet_delay: config.greet_delay,
            book,
            messages: AtomicU64::new(0),
            // What the configuration takes for a name is one.
            name: ServiceName::new(&config.name).unwrap_or(ServiceName::UNKNOWN),
            proxy_from: config.proxy_from.clone(),
            balancers: Pace::new(),
            menders: Pace::new(),
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

    /// Messages that its mail servers have accepted.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// What `status` says of it now. Takes what it always says.
    pub fn view(&self, fixed: &ServiceView, counts: &Counts) -> ServiceView {
        let own = (self.book != BookId::SHARED).then(|| counts.books.get(self.book.0).cloned());
        ServiceView {
            mail_servers: self.backend.view(),
            sessions: own.flatten(),
            messages: self.messages(),
            ..fixed.clone()
        }
    }

    /// Whether connections from an address begin with a PROXY header that is to be believed.
    pub(super) fn is_balancer(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxy_from.iter().any(|network| network.contains(&address))
    }

    /// A client's line was mended before it went on: never in silence, and not once for each line either.
    pub(super) fn tell_of_mending(&self, client: ClientAddr, fault: Fault) {
        if self.menders.is_due() {
            tracing::info!(
                service = %self.name,
                client = %client.ip(),
                ?fault,
                "a client's lines do not end with CR LF and are mended, as `line_ends` says; its program should be repaired"
            );
        }
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
