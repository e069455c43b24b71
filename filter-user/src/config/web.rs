//! The API and the web admin over TCP: section `[web]`.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::tls::certificates;
use super::value::{Networks, networks, socket};
use crate::tls::CertificateFiles;

/// Requests that an address, and a user or token, may make in a second, without a word about it.
const REQUESTS_PER_SECOND: u32 = 20;

/// The API and the web admin over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebConfig {
    /// Where it listens; none: there is none.
    pub listen: Option<SocketAddr>,
    /// Names that browsers may reach it by, beside addresses, `localhost` and the server's own name.
    pub host_names: Vec<String>,
    /// Proxies whose word is taken for who asks, and whether by TLS.
    pub trusted_proxies: Vec<IpNet>,
    /// What it presents to browsers; none: it speaks plain HTTP.
    pub certificates: Vec<CertificateFiles>,
    /// Requests that an address, and a user or token, may make in a second; 0: as many as they like.
    pub requests_per_second: u32,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Web {
    listen: Option<Spanned<String>>,
    host_names: Option<Vec<Spanned<String>>>,
    trusted_proxies: Option<Spanned<Networks>>,
    certificates: Option<Spanned<Vec<CertificateFiles>>>,
    requests_per_second: Option<u32>,
}

impl Web {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<WebConfig, ConfigError> {
        let span = self.listen.as_ref().map(Spanned::span);
        let listen = self.listen.map(|text| socket("listen", &text, "127.0.0.1:8025", place)).transpose()?;
        let proxies = self.trusted_proxies.map(|list| networks("trusted_proxies", list, place));
        let trusted_proxies = proxies.transpose()?.unwrap_or_default();
        let certificates = certificates(self.certificates, place)?;
        let is_outside = listen.is_some_and(|address| !address.ip().to_canonical().is_loopback());
        if is_outside && trusted_proxies.is_empty() && certificates.is_empty() {
            let message = "passwords would cross the network in the clear; give it certificates = [{ certificate = \
                           \"/etc/gatepost/fullchain.pem\", key = \"/etc/gatepost/privkey.pem\" }], or listen on \
                           \"127.0.0.1:8025\" and reach it by `ssh -L 8025:127.0.0.1:8025`, or name the proxy with TLS in \
                           front of it in trusted_proxies";
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
        let requests_per_second = self.requests_per_second.unwrap_or(REQUESTS_PER_SECOND);
        Ok(WebConfig { listen, host_names, trusted_proxies, certificates, requests_per_second })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn beyond_loopback_it_wants_tls_of_its_own_or_of_a_proxy() {
        let parse = |text: &str| Config::parse(&format!("[web]\n{text}"), Some("gatepost.toml".into()));
        let listen = "listen = \"192.0.2.1:8025\"\n";
        let error = parse(listen).unwrap_err().to_string();
        for word in ["gatepost.toml:2", "in the clear", "certificates = [{", "ssh -L", "trusted_proxies"] {
            assert!(error.contains(word), "`{word}` is missing in: {error}");
        }
        let own = "certificates = [{ certificate = \"a.pem\", key = \"a.key\" }]\n";
        assert_eq!(parse(&format!("{listen}{own}")).unwrap().web.certificates.len(), 1);
        assert!(parse(&format!("{listen}trusted_proxies = \"192.0.2.2\"\n")).is_ok());
        assert!(parse("listen = \"127.0.0.1:8025\"\n").unwrap().web.certificates.is_empty());
        let error = parse("certificates = [{ certificate = \"a.pem\" }]\n").unwrap_err().to_string();
        assert!(error.contains("gatepost.toml:2") && error.contains("key"), "{error}");
    }
}
