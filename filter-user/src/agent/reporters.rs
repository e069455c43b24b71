//! The ways by which other services tell, while the agent runs.

use filter_core::smtp::login::LoginKey;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::AgentError;
use crate::config::Config;
use crate::ips::Inbox;
use crate::reports::{self, Datagrams};
use crate::secret;

/// Their sockets, open and not yet read.
pub(super) struct Reporters {
    dovecot: Option<TcpListener>,
    datagrams: Option<Datagrams>,
    key: LoginKey,
}

impl Reporters {
    /// Opens what the configuration names.
    pub(super) async fn prepare(config: &Config) -> Result<Self, AgentError> {
        let dovecot = match &config.dovecot {
            Some(dovecot) => Some(reports::bind_dovecot(dovecot.listen).await?),
            None => None,
        };
        let datagrams = Datagrams::open(&config.reports)?;
        Ok(Self { dovecot, datagrams, key: LoginKey(secret::number(), secret::number()) })
    }

    /// What credentials are hashed with.
    pub(super) const fn key(&self) -> LoginKey {
        self.key
    }

    /// Begins to listen.
    pub(super) fn start(self, config: &Config, inbox: &Inbox) -> Vec<JoinHandle<()>> {
        let key = self.key;
        let dovecot = self.dovecot.zip(config.dovecot.clone()).map(|(listener, settings)| {
            tokio::spawn(reports::serve_dovecot(listener, settings, inbox.clone(), key))
        });
        let datagrams = self.datagrams.map(|socket| tokio::spawn(socket.serve(inbox.clone(), key)));
        dovecot.into_iter().chain(datagrams).collect()
    }
}
