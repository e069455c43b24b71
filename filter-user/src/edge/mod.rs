//! The SMTP edge: services with their listeners, connections to the mail server, and the driver between them.
//!
//! Nothing here has an opinion: who may come in is the ips task's to say, what the bytes mean is
//! [`filter_core::smtp::session`]'s.

mod alarm;
mod backend;
mod driver;
mod header;
mod lanes;
mod listener;
mod protection;
mod refusal;
mod relay;
mod service;
mod stream;
mod traffic;

use std::net::SocketAddr;
use std::sync::Arc;

use filter_core::smtp::login::LoginKey;
use filter_core::smtp::rules::Rules;
use filter_core::smtp::voice::Voice;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use backend::Backend;
pub use lanes::Lanes;
pub use listener::EdgeError;
pub use protection::{Protection, ProtectionError};
pub use service::Service;
pub use traffic::Traffic;

use crate::ips::Inbox;
use crate::secret;

use lanes::Entries;

/// Refused connections that may wait to read their refusal; beyond it they are closed at once.
const REFUSALS_AT_ONCE: usize = 1000;
/// Connections of load balancers whose PROXY header is still to come; beyond it they are closed at once.
const HEADERS_AT_ONCE: usize = 1000;

/// What all services share.
#[derive(Debug)]
pub struct Edge {
    inbox: Inbox,
    voice: Arc<Voice>,
    rules: Arc<Rules>,
    refusals: Arc<Semaphore>,
    headers: Arc<Semaphore>,
    login_key: LoginKey,
    lanes: Entries,
}

impl Edge {
    /// An edge that asks this inbox, speaks in this voice, and lets sessions run on these lanes.
    pub fn new(inbox: Inbox, voice: Arc<Voice>, lanes: &Lanes) -> Self {
        Self {
            inbox,
            voice,
            rules: Arc::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE)),
            headers: Arc::new(Semaphore::new(HEADERS_AT_ONCE)),
            login_key: LoginKey(secret::number(), secret::number()),
            lanes: lanes.entries(),
        }
    }

    /// With what an administrator has decided about sessions and messages.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = Arc::new(rules);
        self
    }

    /// Opens a listening socket.
    pub fn bind(address: SocketAddr) -> Result<TcpListener, EdgeError> {
        listener::bind(address)
    }
}
