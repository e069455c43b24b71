//! The SMTP edge: listeners, connections to the mail server, and the driver between them.
//!
//! Nothing here has an opinion: who may come in is the ips task's to say, what the bytes mean is
//! [`filter_core::smtp::session`]'s.

mod backend;
mod driver;
mod listener;
mod refusal;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use filter_core::smtp::login::LoginKey;
use filter_core::smtp::session::Patience;
use filter_core::smtp::voice::Voice;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use backend::Backend;
pub use listener::EdgeError;

use crate::ips::Inbox;
use crate::secret;

/// Refused connections that may wait to read their refusal; beyond it they are closed at once.
const REFUSALS_AT_ONCE: usize = 1000;

/// What every connection shares.
#[derive(Debug)]
pub struct Edge {
    inbox: Inbox,
    backend: Backend,
    voice: Arc<Voice>,
    patience: Patience,
    refusals: Arc<Semaphore>,
    messages: AtomicU64,
    login_key: LoginKey,
}

impl Edge {
    /// An edge that asks this inbox, relays to this mail server and speaks in this voice.
    pub fn new(inbox: Inbox, backend: Backend, voice: Arc<Voice>, patience: Patience) -> Self {
        let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
        let login_key = LoginKey(secret::number(), secret::number());
        Self { inbox, backend, voice, patience, refusals, messages: AtomicU64::new(0), login_key }
    }

    /// Opens a listening socket.
    pub fn bind(address: SocketAddr) -> Result<TcpListener, EdgeError> {
        listener::bind(address)
    }

    /// Accepts connections until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        listener::serve(self, listener).await;
    }

    /// Messages that the mail server has accepted.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// The mail server.
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }
}
