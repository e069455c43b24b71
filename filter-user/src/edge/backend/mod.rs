//! The mail servers behind a service: who is asked first, who next, and what each of them is told of the client.
//!
//! They are asked in the order of the configuration, so that the second one is for when the first is down; those that are
//! known to be down come last. To spread mail over several, put them behind one address.

mod dialogue;
mod introduction;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use filter_core::admin::MailServerView;
use filter_core::smtp::event::ServerFault;
use tokio::time::sleep;

use super::alarm::Alarm;
use super::header::Peer;
use crate::config::{ClientAddress, MailServerTls, ServiceConfig};
use crate::tls::Trust;
use server::Server;

pub(super) use server::Opened;

/// How often a mail server that is down is looked at, beside the clients' own attempts.
const CHECK_PAUSE: Duration = Duration::from_secs(10);

/// How a session begins at a mail server.
#[derive(Debug)]
struct Manner {
    client_address: ClientAddress,
    connect_timeout: Duration,
    /// What we call ourselves.
    name: String,
    tls: MailServerTls,
    /// How a mail server proves who it is, if there is TLS with it.
    trust: Option<Trust>,
}

/// Where sessions of a service are relayed to.
#[derive(Debug)]
pub struct Backend {
    servers: Vec<Server>,
    manner: Manner,
}

/// One of a [`Backend`]'s mail servers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen(usize);

impl Backend {
    /// Mail servers that nobody has asked yet; `name` is what we call ourselves.
    pub fn new(config: &ServiceConfig, name: &str, trust: Option<Trust>) -> Self {
        let manner = Manner {
            client_address: config.client_address,
            connect_timeout: config.connect_timeout,
            name: name.to_owned(),
            tls: config.tls.mail_servers,
            trust,
        };
        Self { servers: config.mail_servers.iter().copied().map(Server::new).collect(), manner }
    }

    /// What `status` says of them.
    pub fn view(&self) -> Vec<MailServerView> {
        let view =
            |server: &Server| MailServerView { address: server.address.to_string(), up: server.is_up() };
        self.servers.iter().map(view).collect()
    }

    /// Connections to each of them since the start at which no session could begin, in their order.
    pub fn failures(&self) -> Vec<u64> {
        self.servers.iter().map(Server::failures).collect()
    }

    /// Opens a connection on behalf of a client, to the first mail server that takes it; none: no one does.
    pub(super) async fn connect(&self, peer: Peer, alarm: &mut Alarm) -> Option<(Opened, Chosen)> {
        let order = self.order();
        for (place, chosen) in order.iter().enumerate() {
            // Only where there is another one to ask is the greeting waited for.
            let must_greet = place + 1 < order.len();
            let server = self.servers.get(chosen.0)?;
            match server.open(&self.manner, Some(peer), must_greet, alarm).await {
                Ok(opened) => return Some((opened, *chosen)),
                Err(error) => {
                    tracing::debug!(mail_server = %server.address, %error, "a mail server was passed over");
                }
            }
        }
        None
    }

    /// Where it is.
    pub(super) fn address(&self, chosen: Chosen) -> Option<SocketAddr> {
        self.servers.get(chosen.0).map(|server| server.address)
    }

    /// Logs that a mail server could not be followed.
    pub(super) fn complain(&self, chosen: Chosen, fault: ServerFault) {
        if let Some(server) = self.servers.get(chosen.0) {
            server.complain(fault);
        }
    }

    /// Looks at those that are down, again and again, so that they are asked first as soon as they are back.
    pub(super) async fn watch(&self) {
        loop {
            sleep(CHECK_PAUSE).await;
            for server in self.servers.iter().filter(|server| server.is_up() == Some(false)) {
                if let Ok(mut opened) = server.open(&self.manner, None, true, &mut Alarm::default()).await {
                    // It has answered; whether it hears that we leave does not matter.
                    let _ = opened.stream.write_all(b"QUIT\r\n").await;
                }
            }
        }
    }

    fn order(&self) -> Vec<Chosen> {
        let mut order: Vec<_> = (0..self.servers.len()).collect();
        order.sort_by_key(|place| self.servers.get(*place).and_then(Server::is_up) == Some(false));
        order.into_iter().map(Chosen).collect()
    }
}
