//! The configuration file as it is written: every setting optional, every value still to be checked. Each section has
//! its file; here is the whole, and what stands before all sections.

use std::collections::BTreeMap;
use std::path::PathBuf;

use filter_core::policy::Policy;
use filter_core::smtp::rules::Rules;
use serde::Deserialize;
use toml::Spanned;

use super::Config;
use super::attachments;
use super::detection::Detection;
use super::dovecot::Dovecot;
use super::error::{ConfigError, Place};
use super::ips::Ips;
use super::kernel::Kernel;
use super::log::Log;
use super::login::Login;
use super::metrics::Metrics;
use super::replies::Replies;
use super::reports::Reports;
use super::service::{self, Service, Shared};
use super::sessions::Sessions;
use super::web::Web;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    name: Option<Spanned<String>>,
    mode: Mode,
    state_directory: Option<PathBuf>,
    control_socket: Option<PathBuf>,
    kernel: Kernel,
    smtp: Service,
    services: BTreeMap<Spanned<String>, Service>,
    sessions: Sessions,
    ips: Ips,
    detection: Detection,
    attachments: attachments::Written,
    login: Login,
    dovecot: Dovecot,
    reports: Reports,
    replies: Replies,
    log: Log,
    web: Web,
    metrics: Metrics,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Enforce,
    Observe,
}

impl File {
    /// Checks every value and fills in what is not there.
    pub(super) fn validate(self, file: Option<PathBuf>, place: &Place<'_>) -> Result<Config, ConfigError> {
        let login = self.login.validate(place)?;
        let (recipients, reply_patterns) = self.detection.validate(place)?;
        let attachments = self.attachments.validate(self.mode == Mode::Observe, place)?;
        let policy = Policy { login, ..self.ips.validate(self.mode == Mode::Observe, place)? };
        let shared = Shared { sessions: &self.sessions, scope_width: policy.scope_width };
        Ok(Config {
            file,
            name: name(self.name, place)?,
            state_directory: self.state_directory.unwrap_or_else(|| "/var/lib/gatepost".into()),
            control_socket: self.control_socket.unwrap_or_else(|| "/run/gatepost/control.sock".into()),
            kernel: self.kernel.validate(place)?,
            services: service::validate(&self.smtp, self.services, &shared, place)?,
            limits: self.sessions.clone().validate(policy.scope_width, place)?,
            policy,
            rules: Rules { recipients, reply_patterns, attachments },
            templates: self.replies.validate(place)?,
            log: self.log.validate(place)?,
            web: self.web.validate(place)?,
            metrics: self.metrics.validate(place)?,
            dovecot: self.dovecot.validate(place)?,
            reports: self.reports.validate(place)?,
        })
    }
}

fn name(name: Option<Spanned<String>>, place: &Place<'_>) -> Result<String, ConfigError> {
    let Some(name) = name else {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        return Ok(host.filter(|name| is_name(name)).unwrap_or_else(|| "gatepost".into()));
    };
    if is_name(name.get_ref()) {
        return Ok(name.into_inner());
    }
    let message = "a name has 1 to 100 letters, digits, dots, hyphens and underscores".to_owned();
    Err(place.value(Some(name.span()), "name", message))
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=100).contains(&text.len()) && text.bytes().all(plain)
}
