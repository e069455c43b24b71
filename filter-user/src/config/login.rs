//! The login component: section `[login]`.

use std::time::Duration;

use filter_core::policy::LoginPolicy;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::value::span;

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Login {
    monitor_period: Option<Spanned<String>>,
    failed_login_threshold: Option<u32>,
    block_time: Option<Spanned<String>>,
}

impl Login {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<LoginPolicy, ConfigError> {
        let standard = LoginPolicy::default();
        let second = Duration::from_secs(1);
        Ok(LoginPolicy {
            monitor_period: span("monitor_period", self.monitor_period, second, place)?
                .unwrap_or(standard.monitor_period),
            threshold: self.failed_login_threshold.unwrap_or(standard.threshold),
            block_time: span("block_time", self.block_time, second, place)?.unwrap_or(standard.block_time),
        })
    }
}
