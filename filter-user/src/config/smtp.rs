//! How SMTP is relayed: section `[smtp]`.

use std::net::SocketAddr;
use std::time::Duration;

use filter_core::smtp::session::Patience;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::value::{socket, span};

/// How SMTP is relayed.
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where to relay to.
    pub mail_server: SocketAddr,
    /// How the mail server learns the client's address.
    pub client_address: ClientAddress,
    /// How long each side may take.
    pub patience: Patience,
}

/// How the client's address is handed on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAddress {
    /// PROXY protocol version 2, before anything else on the connection.
    #[default]
    ProxyV2,
    /// Not at all: the mail server sees every client as the gateway.
    None,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Smtp {
    listen: Option<Spanned<Vec<Spanned<String>>>>,
    mail_server: Option<Spanned<String>>,
    client_address: ClientAddress,
    client_timeout: Option<Spanned<String>>,
    server_timeout: Option<Spanned<String>>,
}

impl Smtp {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<SmtpConfig, ConfigError> {
        let listen = match self.listen {
            None => vec![SocketAddr::from(([0_u16; 8], 2525))],
            Some(list) if list.get_ref().is_empty() => {
                let message = "name at least one address to listen on, such as \"[::]:25\"".to_owned();
                return Err(place.value(Some(list.span()), "listen", message));
            }
            Some(list) => {
                let read = |text| socket("listen", text, "[::]:25", place);
                list.get_ref().iter().map(read).collect::<Result<_, _>>()?
            }
        };
        let mail_server = match self.mail_server {
            None => SocketAddr::from(([127, 0, 0, 1], 25)),
            Some(text) => socket("mail_server", &text, "127.0.0.1:10025", place)?,
        };
        let patience = Patience::default();
        let second = Duration::from_secs(1);
        Ok(SmtpConfig {
            listen,
            mail_server,
            client_address: self.client_address,
            patience: Patience {
                client: span("client_timeout", self.client_timeout, second, place)?
                    .unwrap_or(patience.client),
                server: span("server_timeout", self.server_timeout, second, place)?
                    .unwrap_or(patience.server),
            },
        })
    }
}
