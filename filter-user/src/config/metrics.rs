//! Metrics without a token: section `[metrics]`.

use std::net::SocketAddr;

use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::value::socket;

/// Metrics without a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where they are; none: only with a token, and on the control socket.
    pub listen: Option<SocketAddr>,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    listen: Option<Spanned<String>>,
}

impl Metrics {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<MetricsConfig, ConfigError> {
        let Some(text) = self.listen else { return Ok(MetricsConfig::default()) };
        let address = socket("listen", &text, "127.0.0.1:9925", place)?;
        if !address.ip().to_canonical().is_loopback() {
            let message = "metrics without a token are for this machine only; listen on \"127.0.0.1:9925\", or let \
                           Prometheus read /metrics of [web] with a token (`gatepost token create`)";
            return Err(place.value(Some(text.span()), "listen", message.to_owned()));
        }
        Ok(MetricsConfig { listen: Some(address) })
    }
}
