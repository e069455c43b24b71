//! The API and the web admin over TCP: section `[web]`.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::value::{Networks, networks, socket};

/// The API and the web admin over TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// Where it listens; none: there is none.
    pub listen: Option<SocketAddr>,
    /// Names that browsers may reach it by, beside addresses, `localhost` and the server's own name.
    pub host_names: Vec<String>,
    /// Proxies whose word is taken for who asks, and whether by TLS.
    pub trusted_proxies: Vec<IpNet>,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Web {
    listen: Option<Spanned<String>>,
    host_names: Option<Vec<Spanned<String>>>,
    trusted_proxies: Option<Spanned<Networks>>,
}

impl Web {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<WebConfig, ConfigError> {
        let span = self.listen.as_ref().map(Spanned::span);
        let listen = self.listen.map(|text| socket("listen", &text, "127.0.0.1:8025", place)).transpose()?;
        let proxies = self.trusted_proxies.map(|list| networks("trusted_proxies", list, place));
        let trusted_proxies = proxies.transpose()?.unwrap_or_default();
        if listen.is_some_and(|address| !address.ip().to_canonical().is_loopback())
            && trusted_proxies.is_empty()
        {
            let message = "passwords would cross the network in the clear; listen on \"127.0.0.1:8025\" and reach it by \
                           `ssh -L 8025:127.0.0.1:8025`, or name the proxy with TLS in front of it in trusted_proxies";
            return Err(place.value(span, "listen", message.to_owned()));
        }
        let is_name = |name: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            (1..=253).contains(&name.len()) && name.bytes().all(plain)
        };
        let mut host_names = Vec::new();
        for name in self.host_names.unwrap_or_default() {
            if !is_name(name.get_ref()) {
                let message = "write names without scheme and port, such as \"gate.example.net\"".to_owned();
                return Err(place.value(Some(name.span()), "host_names", message));
            }
            host_names.push(name.into_inner().to_ascii_lowercase());
        }
        Ok(WebConfig { listen, host_names, trusted_proxies })
    }
}
