//! One service: what all of its connections share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use filter_core::admin::ServiceView;
use filter_core::client::ClientAddr;
use filter_core::service::ServiceName;
use filter_core::smtp::bounds::Bounds;
use filter_core::smtp::line::Fault;
use filter_core::smtp::session::{Patience, Tls};
use ipnet::IpNet;
use tokio::net::TcpListener;

use super::header::HeaderError;
use super::{Backend, Edge, Protection, Traffic, listener};
use crate::clock;
use crate::config::ServiceConfig;
use crate::ips::{Arrival, BookId, Counts};
use crate::pace::Pace;
use crate::renewal::Renewal;
use crate::tls::Front;

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
    pub(super) traffic: Traffic,
    pub(super) tls: Tls,
    renewal: Option<Renewal>,
    pub(super) name: ServiceName,
    proxy_from: Vec<IpNet>,
    balancers: Pace,
    menders: Pace,
}

impl Service {
    /// A service of an edge of this name that counts its sessions in this book.
    pub fn new(
        edge: Arc<Edge>,
        config: &ServiceConfig,
        name: &str,
        book: BookId,
        protection: Protection,
    ) -> Self {
        let Protection { front, trust } = protection;
        Self {
            edge,
            backend: Backend::new(config, name, trust),
            tls: config.tls.clients,
            renewal: front.map(|front| Renewal::new(&config.name, front)),
            patience: config.patience,
            bounds: config.bounds,
            greet_delay: config.greet_delay,
            book,
            traffic: Traffic::default(),
            // What the configuration takes for a name is one.
            name: ServiceName::new(&config.name).unwrap_or(ServiceName::UNKNOWN),
            proxy_from: config.proxy_from.clone(),
            balancers: Pace::new(),
            menders: Pace::new(),
        }
    }

    /// Whether it has session limits of its own.
    pub fn has_own_book(&self) -> bool {
        self.book != BookId::SHARED
    }

    /// Accepts connections until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        listener::serve(self, listener).await;
    }

    /// Looks after its mail servers and its certificates until the task is dropped.
    pub async fn watch(self: Arc<Self>) {
        let renew = async {
            match &self.renewal {
                Some(renewal) => renewal.watch().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(self.backend.watch(), renew);
    }

    /// What it is called in the configuration.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(super) const fn renewal(&self) -> Option<&Renewal> {
        self.renewal.as_ref()
    }

    /// What it presents to clients, if TLS with them ends here.
    pub fn front(&self) -> Option<&Front> {
        self.renewal.as_ref().map(Renewal::front)
    }

    /// A client that comes here.
    pub(super) const fn arrival(&self, client: ClientAddr) -> Arrival {
        Arrival::new(client, self.name, self.book)
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
        let own = self.has_own_book().then(|| counts.books.get(self.book.0).cloned());
        ServiceView {
            mail_servers: self.backend.view(),
            sessions: own.flatten(),
            messages: self.traffic.messages(),
            certificates: self.front().map_or_else(Vec::new, |front| front.view(clock::now().wall)),
            certificate_problem: self.front().and_then(Front::problem),
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
