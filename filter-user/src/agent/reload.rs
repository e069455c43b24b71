//! Reading the configuration again while everything goes on.
//!
//! A file with a mistake changes nothing. What cannot change under open sockets and a loaded filter is named, and takes
//! effect at the next start.

use std::fmt::Debug;

use filter_core::policy::Policy;
use filter_core::smtp::voice::Voice;

use super::books;
use crate::config::{Config, ConfigError, ServiceConfig};
use crate::ips::{Inbox, Reload, Request};

/// Why the configuration in force stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file has a mistake, or cannot be read.
    #[error("{0}; what was in force stays in force")]
    Config(#[from] ConfigError),
    /// Started without a file.
    #[error(
        "the agent runs on built-in defaults, so there is no file to read again; start it with --config FILE"
    )]
    NoFile,
    /// The agent is on its way out.
    #[error("the agent is stopping; what is in the file takes effect when it starts again")]
    Stopping,
}

/// Reads the file that the agent was started with again.
#[derive(Debug)]
pub struct Reloader {
    started_with: Config,
    inbox: Inbox,
}

impl Reloader {
    pub(super) const fn new(started_with: Config, inbox: Inbox) -> Self {
        Self { started_with, inbox }
    }

    /// Puts the file in force; says which of its settings wait for the next start.
    pub async fn reload(&self) -> Result<Vec<&'static str>, ReloadError> {
        let file = self.started_with.file.as_deref().ok_or(ReloadError::NoFile)?;
        let config = Config::load(Some(file))?;
        let replies = (&Voice::new(&self.started_with.name, &config.templates)).into();
        // The kernel's mode was written when the filter was loaded; the engine's must be the same.
        let policy = Policy { observe: self.started_with.policy.observe, ..config.policy.clone() };
        let limits = books::limits_again(&self.started_with, &config);
        let wanted = Box::new(Reload { policy, limits, replies });
        self.inbox.ask(|answer| Request::Reload(wanted, answer)).await.ok_or(ReloadError::Stopping)?;
        let waiting = waiting(&self.started_with, &config);
        tracing::info!(file = %file.display(), ?waiting, "the configuration has been read again");
        Ok(waiting)
    }
}

/// Settings that differ and cannot change while the agent runs.
fn waiting(before: &Config, after: &Config) -> Vec<&'static str> {
    let differ = |name, before: &dyn Debug, after: &dyn Debug| {
        (format!("{before:?}") != format!("{after:?}")).then_some(name)
    };
    let observe = differ("mode", &before.policy.observe, &after.policy.observe);
    let attachments = differ("[attachments]", &before.rules.attachments, &after.rules.attachments);
    let found = [
        differ("name", &before.name, &after.name),
        observe,
        differ("state_directory", &before.state_directory, &after.state_directory),
        differ("control_socket", &before.control_socket, &after.control_socket),
        differ("[kernel]", &before.kernel, &after.kernel),
        differ("[smtp]", &lasting(&before.services, true), &lasting(&after.services, true)),
        differ("[services]", &lasting(&before.services, false), &lasting(&after.services, false)),
        differ(
            "[detection]",
            &(&before.rules.recipients, &before.rules.reply_patterns),
            &(&after.rules.recipients, &after.rules.reply_patterns),
        ),
        // Whoever only observes refuses nothing, so a change of the mode shows in there; it is named already.
        attachments.filter(|_| observe.is_none()),
        differ("[log]", &before.log, &after.log),
        differ("[logs]", &before.logs, &after.logs),
        differ("[web]", &before.web, &after.web),
    ];
    found.into_iter().flatten().collect()
}

/// What of the services cannot change while they listen: of the first one, or of all others. Limits can, if a service has
/// its own before and after.
fn lasting(services: &[ServiceConfig], first: bool) -> Vec<(ServiceConfig, bool)> {
    let (head, others) = services.split_at(services.len().min(1));
    let chosen = if first { head } else { others };
    let strip = |service: &ServiceConfig| {
        (ServiceConfig { limits: None, ..service.clone() }, service.limits.is_some())
    };
    chosen.iter().map(strip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let config = |text: &str| Config::parse(text, None).unwrap();
        let before = config("");
        let after = config(
            "mode = \"observe\"\n[smtp]\nmail_server = \"192.0.2.1:25\"\n[ips]\nrepeat_factor = 2\n[log]\nids_file = \"x\"\n\
             [services.a]\nlisten = [\"[::]:587\"]\n",
        );
        assert_eq!(waiting(&before, &after), ["mode", "[smtp]", "[services]", "[log]"]);
        assert!(waiting(&before, &before).is_empty());
        let own = |maximum: u32| config(&format!("[smtp.sessions]\nmaximum_sessions = {maximum}\n"));
        assert!(waiting(&own(5), &own(6)).is_empty(), "limits change at once");
        assert_eq!(waiting(&before, &own(5)), ["[smtp]"], "books do not");
    }
}
