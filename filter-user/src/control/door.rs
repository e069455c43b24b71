//! The TCP side as `status` tells of it.

use std::net::SocketAddr;
use std::sync::Arc;

use filter_core::admin::WebView;
use tokio::net::TcpListener;

use crate::clock;
use crate::renewal::Renewal;
use crate::tls::Front;

/// Where the API and the web admin are over TCP, and what they present.
#[derive(Debug, Clone)]
pub struct Door {
    address: SocketAddr,
    renewal: Option<Arc<Renewal>>,
}

impl Door {
    /// Of this socket; none: the system does not know where it is.
    pub fn new(listener: &TcpListener, renewal: Option<Arc<Renewal>>) -> Option<Self> {
        Some(Self { address: listener.local_addr().ok()?, renewal })
    }

    /// What `status` says of it now.
    pub(super) fn view(&self) -> WebView {
        let front = self.renewal.as_ref().map(|renewal| renewal.front());
        let scheme = if front.is_some() { "https" } else { "http" };
        WebView {
            url: format!("{scheme}://{}", self.address),
            certificates: front.map_or_else(Vec::new, |front| front.view(clock::now().wall)),
            certificate_problem: front.and_then(Front::problem),
        }
    }
}
