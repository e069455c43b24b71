//! Who really asks, and under which name: behind the proxies that are trusted, and against those that only pretend.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use super::server::Peer;
use crate::config::Config;

/// What a request's head must agree with.
#[derive(Debug, Clone)]
pub(super) struct Doorplate {
    names: Vec<String>,
    proxies: Vec<IpNet>,
}

/// Who asks, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visitor {
    /// His address.
    pub(super) address: IpAddr,
    /// Whether nobody on the way can read along.
    pub(super) is_private: bool,
}

impl Doorplate {
    pub(super) fn new(config: &Config) -> Self {
        let mut names = config.web.host_names.clone();
        names.extend([config.name.to_ascii_lowercase(), "localhost".to_owned()]);
        Self { names, proxies: config.web.trusted_proxies.clone() }
    }

    /// Who asks: the last address that no trusted proxy has.
    pub(super) fn visitor(&self, peer: Peer, headers: &HeaderMap) -> Visitor {
        let is_proxy = |address: IpAddr| self.proxies.iter().any(|network| network.contains(&address));
        let mut visitor = Visitor { address: peer.address.ip().to_canonical(), is_private: peer.has_tls };
        if !is_proxy(visitor.address) {
            return visitor;
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Some(scheme) = headers.get("x-forwarded-proto") {
            visitor.is_private = scheme.as_bytes().eq_ignore_ascii_case(b"https");
        }
        for part in text("x-forwarded-for").rsplit(',') {
            let Ok(address) = part.trim().parse::<IpAddr>() else { break };
            visitor.address = address.to_canonical();
            if !is_proxy(visitor.address) {
                break;
            }
        }
        visitor
    }

    /// Whether a browser means us: the name of a stranger's page that points here (DNS rebinding) is none of ours.
    pub(super) fn is_ours(&self, headers: &HeaderMap) -> bool {
        let Some(host) = host(headers) else { return false };
        let name = without_port(host).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok() || self.names.contains(&name)
    }
}

/// Whether a change was asked for by a page of our own, and not by that of a stranger.
pub(super) fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    match (text("origin"), host(headers)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, rest)| rest == host),
        (Some(_), None) => false,
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|value| value.to_str().ok())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn plate() -> Doorplate {
        let text = "name = \"mx.example.net\"\n[web]\nhost_names = [\"Gate.example.net\"]\ntrusted_proxies = \"127.0.0.1, 192.0.2.0/24\"\n";
        Doorplate::new(&Config::parse(text, None).unwrap())
    }

    #[test]
    fn a_strangers_name_that_points_here_is_not_ours() {
        let is_ours = |host| plate().is_ours(&headers(&[("host", host)]));
        for host in ["127.0.0.1:8025", "[::1]:8025", "localhost:8025", "GATE.example.net", "mx.example.net:1"]
        {
            assert!(is_ours(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8025", "localhost.evil.example", "", "127.0.0.1.evil.example"]
        {
            assert!(!is_ours(host), "{host}");
        }
        assert!(!plate().is_ours(&HeaderMap::new()));
    }

    #[test]
    fn a_strangers_page_changes_nothing() {
        let ask = |origin| is_own_page(&headers(&[("host", "gate:8025"), ("origin", origin)]));
        assert!(ask("http://gate:8025") && ask("https://gate:8025"));
        assert!(!ask("http://gate:80") && !ask("http://evil.example") && !ask("null"));
        assert!(!is_own_page(&headers(&[("host", "gate"), ("sec-fetch-site", "cross-site")])));
        assert!(!is_own_page(&headers(&[("host", "gate"), ("sec-fetch-site", "same-site")])));
        assert!(is_own_page(&headers(&[("host", "gate")])));
    }

    #[test]
    fn only_a_trusted_proxy_may_say_who_asks() {
        let forwarded =
            [("x-forwarded-for", "10.9.9.9, 203.0.113.7, 192.0.2.8"), ("x-forwarded-proto", "https")];
        let through = |peer: &str, has_tls, headers: &HeaderMap| {
            plate().visitor(Peer { address: (peer.parse::<IpAddr>().unwrap(), 443).into(), has_tls }, headers)
        };
        let forwarded = headers(&forwarded);
        let proxied = Visitor { address: "203.0.113.7".parse().unwrap(), is_private: true };
        assert_eq!(through("127.0.0.1", false, &forwarded), proxied);
        let direct = Visitor { address: "198.51.100.1".parse().unwrap(), is_private: false };
        assert_eq!(through("198.51.100.1", false, &forwarded), direct);
        assert!(through("198.51.100.1", true, &HeaderMap::new()).is_private, "our own TLS");
        let in_clear = headers(&[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "http")]);
        assert!(
            !through("127.0.0.1", true, &in_clear).is_private,
            "TLS of the proxy's, and none of its client's"
        );
    }
}
